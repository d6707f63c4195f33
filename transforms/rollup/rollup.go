package rollup

import (
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

// dimensions is the number of fields of a key, in the order of the fields of
// pixelbeam.v1.ImpressionCount from advertiser_id on.
const dimensions = 8

// Field numbers of pixelbeam.v1.ImpressionCount; a test compares them with the
// message.
const (
	fieldWindowStart    = 1
	fieldWindowEnd      = 2
	fieldFirstDimension = 3
	fieldGross          = 11
	fieldInvalid        = 12
	fieldNet            = 13
	fieldPart           = 15
	fieldPane           = 16
)

// appendKey appends the dimensions of an impression.
func appendKey(dst []byte, r *impression.Record) []byte {
	for _, d := range [dimensions][]byte{
		r.AdvertiserID, r.CampaignID, r.CreativeID, r.PlacementID,
		r.SiteID, r.Country, r.DeviceType, r.EventType,
	} {
		dst = distinct.AppendField(dst, d)
	}
	return dst
}

// shard returns the shard of an entry, in [0, shards). The id is a hash.
func shard(r *impression.Record, shards int) int64 {
	return int64(uint64(r.IDHigh) % uint64(shards))
}

// appendRow appends the pixelbeam.v1.ImpressionCount of one group of a
// restatement, in wire format.
func appendRow(dst []byte, r *distinct.Restatement, g *distinct.Group) ([]byte, error) {
	dst = appendInt(dst, fieldWindowStart, r.WindowStart)
	dst = appendInt(dst, fieldWindowEnd, r.WindowEnd)
	key := g.Key
	for i := range dimensions {
		field, rest, ok := distinct.CutField(key)
		if !ok {
			return nil, distinct.ErrCorrupt
		}
		if key = rest; len(field) > 0 {
			dst = protowire.AppendTag(dst, protowire.Number(fieldFirstDimension+i), protowire.BytesType)
			dst = protowire.AppendBytes(dst, field)
		}
	}
	dst = appendInt(dst, fieldGross, g.Count)
	dst = appendInt(dst, fieldInvalid, g.Flagged)
	dst = appendInt(dst, fieldNet, g.Count-g.Flagged)
	dst = appendInt(dst, fieldPart, r.Shard)
	return appendInt(dst, fieldPane, r.Pane), nil
}

func appendInt(dst []byte, field protowire.Number, v int64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(v))
}
