package profiles

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"cloud.google.com/go/bigtable"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

func (p *Profile) decode(row bigtable.Row) error {
	// The family of a month's first events: the earliest of all months.
	for _, cell := range row[schemas.FamilyFirst] {
		if len(cell.Value) != 8 {
			return fmt.Errorf("column %q holds %d bytes where 8 are a time", cell.Column, len(cell.Value))
		}
		at := time.UnixMicro(int64(binary.BigEndian.Uint64(cell.Value))).UTC()
		if p.FirstSeen.IsZero() || at.Before(p.FirstSeen) {
			p.FirstSeen = at
		}
	}
	for _, cell := range row[schemas.FamilyLatest] {
		if cell.Column != schemas.FamilyLatest+":"+schemas.ColumnLatest {
			continue // of a later version of the layout
		}
		var e pixelbeamv1.LatestEvent
		if err := proto.Unmarshal(cell.Value, &e); err != nil {
			return fmt.Errorf("column %q holds no LatestEvent: %w", cell.Column, err)
		}
		p.LastSeen = time.UnixMicro(e.GetEventTime()).UTC()
		p.DeviceType, p.OS, p.Browser, p.Country, p.PageURL = e.GetDeviceType(), e.GetOs(), e.GetBrowser(), e.GetCountry(), e.GetPageUrl()
	}
	return p.decodeCounters(row[schemas.FamilyCounters])
}

// decodeCounters makes windows of the cells of the counters.
func (p *Profile) decodeCounters(cells []bigtable.ReadItem) error {
	if len(cells) == 0 {
		return nil
	}
	n := 0
	for i := range cells {
		n += countCounters(cells[i].Value)
	}
	p.windows = make([]window, 0, len(cells))
	d := countersDecoder{counters: make([]counter, 0, n)}
	for i := range cells {
		cell := &cells[i]
		if cell.Column != schemas.FamilyCounters+":"+schemas.ColumnCounters {
			continue
		}
		w := window{start: int64(cell.Timestamp), first: int32(len(d.counters))}
		if err := d.window(&w, cell.Value); err != nil {
			return fmt.Errorf("column %q of %s holds no WindowCounters: %w", cell.Column, cell.Timestamp.Time().UTC().Format(time.RFC3339), err)
		}
		w.end = int32(len(d.counters))
		p.windows = append(p.windows, w)
	}
	p.counters, p.names = d.counters, d.names
	newestFirst := func(a, b window) int { return cmp.Compare(b.start, a.start) }
	if !slices.IsSortedFunc(p.windows, newestFirst) {
		slices.SortFunc(p.windows, newestFirst)
	}
	return nil
}

// countCounters returns how many counters a WindowCounters message has, if it is one.
func countCounters(b []byte) int {
	n := 0
	_ = fields(b, func(num protowire.Number, _ uint64, value []byte) error {
		if num == 1 && value != nil {
			n++
		}
		return nil
	})
	return n
}

// countersDecoder collects the counters of all windows of a profile.
type countersDecoder struct {
	counters []counter
	names    names // of campaigns and event types

	lastEvent   []byte // that of the counter before, which is mostly that of the next
	lastEventID int32
}

func (d *countersDecoder) event(name []byte) int32 {
	if d.lastEvent == nil || !bytes.Equal(d.lastEvent, name) {
		d.lastEvent, d.lastEventID = name, d.names.add(name)
	}
	return d.lastEventID
}

// window reads a WindowCounters message. Unknown fields are skipped.
func (d *countersDecoder) window(w *window, b []byte) error {
	return fields(b, func(num protowire.Number, _ uint64, value []byte) error {
		switch {
		case num == 1 && value != nil:
			return d.counter(value, w.start)
		case num == 2 && value != nil:
			if w.cut == nil {
				w.cut = &cut{Truncation: Truncation{Windows: 1}}
			}
			return fields(value, func(num protowire.Number, n uint64, value []byte) error {
				switch {
				case value != nil:
				case num == 1:
					w.cut.Counters = int64(n)
				case num == 2:
					w.cut.Events = int64(n)
				case num == 3:
					w.cut.max = int64(n)
				}
				return nil
			})
		}
		return nil
	})
}

// counter reads a CampaignCounter message of the window that begins at start.
func (d *countersDecoder) counter(b []byte, start int64) error {
	c := counter{count: 1, last: start}
	var campaign []byte
	event := impression
	err := fields(b, func(num protowire.Number, n uint64, value []byte) error {
		switch {
		case num == 1 && value != nil:
			campaign = value
		case num == 2 && value != nil:
			event = value
		case value != nil:
		case num == 3:
			c.count = int64(n)
		case num == 4:
			c.invalid = int64(n)
		case num == 5:
			c.last = start + int64(n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.campaign, c.event = d.names.add(campaign), d.event(event)
	d.counters = append(d.counters, c)
	return nil
}

var impression = []byte(Impression)

// fields calls visit with each field of a message: n of a varint, value, which is
// not nil, of a string or message.
func fields(b []byte, visit func(num protowire.Number, n uint64, value []byte) error) error {
	for len(b) > 0 {
		// Fast path: a number, or up to 127 bytes, in a field whose tag is one byte.
		if len(b) > 1 && b[0] < 0x80 && b[1] < 0x80 && b[0] >= 1<<3 {
			num, n := protowire.Number(b[0]>>3), int(b[1])
			switch kind := protowire.Type(b[0] & 7); {
			case kind == protowire.VarintType:
				b = b[2:]
				if err := visit(num, uint64(n), nil); err != nil {
					return err
				}
				continue
			case kind == protowire.BytesType && n <= len(b)-2:
				value := b[2 : 2+n : 2+n]
				b = b[2+n:]
				if err := visit(num, 0, value); err != nil {
					return err
				}
				continue
			}
		}
		// Slow path.
		num, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var n uint64
		var value []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			if value, size = protowire.ConsumeBytes(b); value == nil {
				value = []byte{}
			}
		default:
			size = protowire.ConsumeFieldValue(num, kind, b)
			num = 0
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if err := visit(num, n, value); err != nil {
			return err
		}
	}
	return nil
}
