package profiles

import (
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
	cells := row[schemas.FamilyCounters]
	if len(cells) == 0 {
		return nil
	}
	p.windows = make([]window, 0, len(cells))
	names := names{}
	for _, cell := range cells {
		if cell.Column != schemas.FamilyCounters+":"+schemas.ColumnCounters {
			continue
		}
		w := window{start: int64(cell.Timestamp)}
		if err := w.decode(cell.Value, names); err != nil {
			return fmt.Errorf("column %q of %s holds no WindowCounters: %w", cell.Column, cell.Timestamp.Time().UTC().Format(time.RFC3339), err)
		}
		p.windows = append(p.windows, w)
	}
	slices.SortFunc(p.windows, func(a, b window) int { return cmp.Compare(b.start, a.start) })
	return nil
}

// names holds each campaign and event type of a profile once.
type names map[string]string

func (n names) of(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	s := string(b)
	n[s] = s
	return s
}

// decode reads a WindowCounters message. Unknown fields are skipped.
func (w *window) decode(b []byte, names names) error {
	return fields(b, func(num protowire.Number, _ uint64, value []byte) error {
		switch {
		case num == 1 && value != nil:
			c := counter{eventType: Impression, count: 1, last: w.start}
			if err := c.decode(value, w.start, names); err != nil {
				return err
			}
			w.counters = append(w.counters, c)
		case num == 2 && value != nil:
			w.truncated.Windows = 1
			return fields(value, func(num protowire.Number, n uint64, value []byte) error {
				switch {
				case value != nil:
				case num == 1:
					w.truncated.Counters = int64(n)
				case num == 2:
					w.truncated.Events = int64(n)
				case num == 3:
					w.max = int64(n)
				}
				return nil
			})
		}
		return nil
	})
}

// decode reads a CampaignCounter message.
func (c *counter) decode(b []byte, start int64, names names) error {
	return fields(b, func(num protowire.Number, n uint64, value []byte) error {
		switch {
		case num == 1 && value != nil:
			c.campaign = names.of(value)
		case num == 2 && value != nil:
			c.eventType = names.of(value)
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
}

// fields calls visit with each field of a message: n of a varint, value, which is
// not nil, of a string or message.
func fields(b []byte, visit func(num protowire.Number, n uint64, value []byte) error) error {
	for len(b) > 0 {
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
