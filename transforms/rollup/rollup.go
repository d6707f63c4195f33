package rollup

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/schemas/zetasketch"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

// Dimensions are what impressions are counted by: the fields of
// pixelbeam.v1.ImpressionCount from advertiser_id on, in their order. An absent one
// is empty.
type Dimensions [8][]byte

// Field numbers of pixelbeam.v1.ImpressionCount; a test compares them with the
// message.
const (
	fieldWindowStart    = 1
	fieldWindowEnd      = 2
	fieldFirstDimension = 3
	fieldGross          = 11
	fieldInvalid        = 12
	fieldNet            = 13
	fieldSketch         = 14
	fieldPart           = 15
	fieldPane           = 16
	fieldClicks         = 17
)

// eventTypeDimension is the place of event_type in a key, and click its value for
// clicks.
const (
	eventTypeDimension = 7
	click              = "click"
)

// Add adds an impression to the set of its window and part.
func Add(set *distinct.Builder, r *impression.Record) {
	d := dimensionsOf(r)
	set.AddMember(d.AppendKey(nil), r.ID(), member(r))
}

// member is what sketches keep of an impression's user. 0 is none.
func member(r *impression.Record) uint32 {
	if len(r.UserID) == 0 {
		return 0
	}
	return zetasketch.SparseValue(zetasketch.Fingerprint(r.UserID))
}

// dimensionsOf returns the dimensions of an impression, which are borrowed.
func dimensionsOf(r *impression.Record) Dimensions {
	return Dimensions{
		r.AdvertiserID, r.CampaignID, r.CreativeID, r.PlacementID,
		r.SiteID, r.Country, r.DeviceType, r.EventType,
	}
}

// AppendKey appends the key of a group. It is one field, that holds the fields of
// the dimensions, because the groups of a set are in the order of a first field's
// hash, which this way differs for each.
func (d *Dimensions) AppendKey(dst []byte) []byte {
	n := 0
	for _, v := range d {
		n += protowire.SizeBytes(len(v))
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, v := range d {
		dst = distinct.AppendField(dst, v)
	}
	return dst
}

// Part returns the part that counts an entry, in [0, parts). The id is a hash.
func Part(r *impression.Record, parts int) int64 {
	return int64(uint64(r.IDHigh) % uint64(parts))
}

// An Encoder makes rows of restatements. It is not safe for concurrent use.
type Encoder struct {
	sketch *zetasketch.Sketch
}

// NewEncoder returns an encoder.
func NewEncoder() (*Encoder, error) {
	sketch, err := zetasketch.New(zetasketch.String, zetasketch.DefaultPrecision)
	if err != nil {
		return nil, fmt.Errorf("sketch: %w", err)
	}
	return &Encoder{sketch}, nil
}

// AppendRow appends the pixelbeam.v1.ImpressionCount of one group of a
// restatement, in wire format.
func (e *Encoder) AppendRow(dst []byte, r *distinct.Restatement, g *distinct.Group) ([]byte, error) {
	dst = appendInt(dst, fieldWindowStart, r.WindowStart)
	dst = appendInt(dst, fieldWindowEnd, r.WindowEnd)
	key, _, ok := distinct.CutField(g.Key)
	if !ok {
		return nil, distinct.ErrCorrupt
	}
	clicks := int64(0)
	for i := range len(Dimensions{}) {
		field, rest, ok := distinct.CutField(key)
		if !ok {
			return nil, distinct.ErrCorrupt
		}
		if key = rest; len(field) > 0 {
			dst = protowire.AppendTag(dst, protowire.Number(fieldFirstDimension+i), protowire.BytesType)
			dst = protowire.AppendBytes(dst, field)
		}
		if i == eventTypeDimension && string(field) == click {
			clicks = g.Count
		}
	}
	dst = appendInt(dst, fieldGross, g.Count)
	dst = appendInt(dst, fieldInvalid, g.Flagged)
	dst = appendInt(dst, fieldNet, g.Count-g.Flagged)
	if len(g.Members) > 0 {
		e.sketch.Reset()
		for m := g.Members; len(m) > 0; m = m[distinct.MemberSize:] {
			if err := e.sketch.AddSparseValue(binary.BigEndian.Uint32(m)); err != nil {
				return nil, fmt.Errorf("sketch: %w", err)
			}
		}
		sketch, err := e.sketch.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("sketch: %w", err)
		}
		dst = protowire.AppendTag(dst, fieldSketch, protowire.BytesType)
		dst = protowire.AppendBytes(dst, sketch)
	}
	dst = appendInt(dst, fieldPart, r.Shard)
	dst = appendInt(dst, fieldPane, r.Pane)
	return appendInt(dst, fieldClicks, clicks), nil
}

func appendInt(dst []byte, field protowire.Number, v int64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(v))
}
