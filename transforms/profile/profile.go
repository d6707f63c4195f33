package profile

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

// Field numbers of pixelbeam.v1.ProfileUpdate and CampaignCounter; a test
// compares them with the messages.
const (
	fieldUserID      = 1
	fieldWindowStart = 2
	fieldCounters    = 3
	fieldFirstSeen   = 4
	fieldLastSeen    = 5
	fieldDeviceType  = 6 // ... os, browser, country and page_url follow.

	fieldCampaignID    = 1
	fieldEventType     = 2
	fieldCount         = 3
	fieldLastEventTime = 4
)

// attributes is the number of fields of a group's value, in the order of the
// fields of ProfileUpdate from device_type on.
const attributes = 5

// appendKey appends user, campaign and event type. The user comes first, so
// that the groups of a user are neighbours in a set.
func appendKey(dst []byte, r *impression.Record) []byte {
	dst = distinct.AppendField(dst, r.UserID)
	dst = distinct.AppendField(dst, r.CampaignID)
	return distinct.AppendField(dst, r.EventType)
}

func appendValue(dst []byte, r *impression.Record) []byte {
	for _, a := range [attributes][]byte{r.DeviceType, r.OS, r.Browser, r.Country, r.PageURL} {
		dst = distinct.AppendField(dst, a)
	}
	return dst
}

// shard returns the shard of a user, in [0, shards).
func shard(user []byte, shards int) int64 {
	return int64(xxhash.Sum64(user) % uint64(shards))
}

// updates calls emit with one pixelbeam.v1.ProfileUpdate, in wire format, for
// every user whose groups were restated.
func updates(r *distinct.Restatement, emit func([]byte)) error {
	for groups := r.Groups; len(groups) > 0; {
		user, _, ok := distinct.CutField(groups[0].Key)
		if !ok {
			return distinct.ErrCorrupt
		}
		n := 1
		for n < len(groups) {
			next, _, ok := distinct.CutField(groups[n].Key)
			if !ok {
				return distinct.ErrCorrupt
			}
			if !bytes.Equal(next, user) {
				break
			}
			n++
		}
		update, err := appendUpdate(nil, user, r.WindowStart, groups[:n])
		if err != nil {
			return err
		}
		emit(update)
		groups = groups[n:]
	}
	return nil
}

// appendUpdate appends the update of one user. Of groups that end at the same
// time the last in key order gives the attributes.
func appendUpdate(dst, user []byte, windowStart int64, groups []distinct.Group) ([]byte, error) {
	dst = appendField(dst, fieldUserID, user)
	dst = appendInt(dst, fieldWindowStart, windowStart)
	first, latest := groups[0].First, &groups[0]
	var counter []byte
	for i := range groups {
		g := &groups[i]
		_, rest, _ := distinct.CutField(g.Key)
		campaign, rest, ok1 := distinct.CutField(rest)
		event, _, ok2 := distinct.CutField(rest)
		if !ok1 || !ok2 {
			return nil, distinct.ErrCorrupt
		}
		counter = appendField(counter[:0], fieldCampaignID, campaign)
		counter = appendField(counter, fieldEventType, event)
		counter = appendInt(counter, fieldCount, g.Count)
		counter = appendInt(counter, fieldLastEventTime, g.Last)
		dst = appendField(dst, fieldCounters, counter)
		first = min(first, g.First)
		if g.Last >= latest.Last {
			latest = g
		}
	}
	dst = appendInt(dst, fieldFirstSeen, first)
	dst = appendInt(dst, fieldLastSeen, latest.Last)
	value := latest.Value
	for i := range attributes {
		attribute, rest, ok := distinct.CutField(value)
		if !ok {
			return nil, distinct.ErrCorrupt
		}
		value = rest
		dst = appendField(dst, protowire.Number(fieldDeviceType+i), attribute)
	}
	return dst, nil
}

// appendField appends a string or message field, unless it is empty.
func appendField(dst []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendBytes(dst, v)
}

func appendInt(dst []byte, field protowire.Number, v int64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(v))
}
