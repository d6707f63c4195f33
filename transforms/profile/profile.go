package profile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

// Field numbers of pixelbeam.v1.ProfileUpdate, LatestEvent, WindowCounters,
// CampaignCounter and TruncatedCounters; a test compares them with the messages.
const (
	fieldUserID      = 1
	fieldWindowStart = 2
	fieldFirstSeen   = 4
	fieldCounters    = 11
	fieldLatest      = 12

	fieldEventTime  = 1
	fieldDeviceType = 2 // ... os, browser, country and page_url follow.

	fieldCounter   = 1
	fieldTruncated = 2

	fieldCampaignID      = 1
	fieldEventType       = 2
	fieldCount           = 3
	fieldInvalid         = 4
	fieldLastEventOffset = 5

	fieldTruncatedCounters = 1
	fieldTruncatedEvents   = 2
	fieldTruncatedMax      = 3
)

// attributes is the number of fields of a group's value, in the order of the
// fields of LatestEvent from device_type on; page is the last of them.
const (
	attributes = 5
	page       = 4
)

// defaultEventType and defaultCount are the defaults of a CampaignCounter, which
// are not written.
const (
	defaultEventType = "impression"
	defaultCount     = 1
)

// maxTruncated is the size of the largest TruncatedCounters field.
const maxTruncated = 2 + 3*(1+binary.MaxVarintLen64)

// appendKey appends user, campaign and event type. The user comes first, so
// that the groups of a user are neighbours in a set.
func appendKey(dst []byte, r *impression.Record) []byte {
	dst = distinct.AppendField(dst, r.UserID)
	dst = distinct.AppendField(dst, r.CampaignID)
	return distinct.AppendField(dst, r.EventType)
}

// appendValue appends the attributes of an event. Of those that are too long it keeps
// what appendLatest needs to cut them, so that the state of a window is bounded.
func appendValue(dst []byte, r *impression.Record) []byte {
	for i, a := range [attributes][]byte{r.DeviceType, r.OS, r.Browser, r.Country, r.PageURL} {
		dst = distinct.AppendField(dst, a[:min(len(a), attributeLimit(i)+1)])
	}
	return dst
}

// attributeLimit is how many bytes of an attribute are written.
func attributeLimit(i int) int {
	if i == page {
		return schemas.MaxPageURL
	}
	return schemas.MaxAttribute
}

// shard returns the shard of a user, in [0, shards).
func shard(user []byte, shards int) int64 {
	return int64(xxhash.Sum64(user) % uint64(shards))
}

// bounded counts what did not fit.
type bounded struct{ windows, counters, events, values int64 }

// encoder makes the updates of a restatement. Its buffers serve again.
type encoder struct {
	bounded
	counters     []counter
	order        []int
	window, item []byte
}

// counter is a group, decoded. Its slices borrow from the group.
type counter struct {
	campaign, event      []byte
	count, invalid, last int64
	size                 int // of the encoded CampaignCounter field
	keep                 bool
}

// updates calls emit with one pixelbeam.v1.ProfileUpdate, in wire format, for
// every user of a restatement, which holds all groups of each.
func (e *encoder) updates(r *distinct.Restatement, emit func([]byte)) error {
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
		update, err := e.appendUpdate(nil, user, r.WindowStart, groups[:n])
		if err != nil {
			return err
		}
		emit(update)
		groups = groups[n:]
	}
	return nil
}

// appendUpdate appends the update of one user. Of groups that end at the same
// time the last in key order is the last event.
func (e *encoder) appendUpdate(dst, user []byte, windowStart int64, groups []distinct.Group) ([]byte, error) {
	first, latest := groups[0].First, &groups[0]
	e.counters = e.counters[:0]
	for i := range groups {
		g := &groups[i]
		_, rest, _ := distinct.CutField(g.Key)
		campaign, rest, ok1 := distinct.CutField(rest)
		event, _, ok2 := distinct.CutField(rest)
		if !ok1 || !ok2 {
			return nil, distinct.ErrCorrupt
		}
		e.counters = append(e.counters, counter{
			campaign: campaign, event: event,
			count: g.Count, invalid: g.Flagged, last: g.Last - windowStart,
		})
		first = min(first, g.First)
		if g.Last >= latest.Last {
			latest = g
		}
	}
	dst = appendField(dst, fieldUserID, user)
	dst = appendInt(dst, fieldWindowStart, windowStart)
	dst = appendInt(dst, fieldFirstSeen, first)
	e.appendCounters()
	dst = appendField(dst, fieldCounters, e.window)
	if err := e.appendLatest(latest); err != nil {
		return nil, err
	}
	return appendField(dst, fieldLatest, e.window), nil
}

// appendCounters makes e.window the WindowCounters of e.counters, of at most
// schemas.MaxWindowCounters bytes. What is kept is a function of the counters.
func (e *encoder) appendCounters() {
	total := 0
	for i := range e.counters {
		c := &e.counters[i]
		e.item = c.append(e.item[:0])
		c.size = protowire.SizeTag(fieldCounter) + protowire.SizeBytes(len(e.item))
		c.keep = true
		total += c.size
	}
	var lost, events, most int64 // counters left out, their sum, the largest
	if total > schemas.MaxWindowCounters {
		room := schemas.MaxWindowCounters - maxTruncated
		for _, i := range e.byCount() {
			c := &e.counters[i]
			if c.keep = c.size <= room; c.keep {
				room -= c.size
				continue
			}
			lost++
			events += c.count
			most = max(most, c.count)
		}
		e.windows++
		e.bounded.counters += lost
		e.bounded.events += events
	}
	e.window = e.window[:0]
	for i := range e.counters {
		if c := &e.counters[i]; c.keep {
			e.item = c.append(e.item[:0])
			e.window = appendField(e.window, fieldCounter, e.item)
		}
	}
	if lost > 0 {
		e.item = appendInt(e.item[:0], fieldTruncatedCounters, lost)
		e.item = appendInt(e.item, fieldTruncatedEvents, events)
		e.item = appendInt(e.item, fieldTruncatedMax, most)
		e.window = appendField(e.window, fieldTruncated, e.item)
	}
}

// byCount returns the indexes of e.counters, the largest counts first, then the
// latest, then in key order.
func (e *encoder) byCount() []int {
	e.order = e.order[:0]
	for i := range e.counters {
		e.order = append(e.order, i)
	}
	slices.SortFunc(e.order, func(i, j int) int {
		a, b := &e.counters[i], &e.counters[j]
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(b.last, a.last), cmp.Compare(i, j))
	})
	return e.order
}

// append appends the CampaignCounter.
func (c *counter) append(dst []byte) []byte {
	dst = appendField(dst, fieldCampaignID, c.campaign)
	if string(c.event) != defaultEventType {
		dst = appendField(dst, fieldEventType, c.event)
	}
	if c.count != defaultCount {
		dst = appendInt(dst, fieldCount, c.count)
	}
	if c.invalid != 0 {
		dst = appendInt(dst, fieldInvalid, c.invalid)
	}
	return appendInt(dst, fieldLastEventOffset, c.last)
}

// appendLatest makes e.window the LatestEvent of the group that has it.
func (e *encoder) appendLatest(g *distinct.Group) error {
	e.window = appendInt(e.window[:0], fieldEventTime, g.Last)
	for i, value := 0, g.Value; i < attributes; i++ {
		attribute, rest, ok := distinct.CutField(value)
		if !ok {
			return distinct.ErrCorrupt
		}
		value = rest
		if limit := attributeLimit(i); len(attribute) > limit {
			attribute = cut(attribute, limit)
			e.values++
		}
		e.window = appendField(e.window, protowire.Number(fieldDeviceType+i), attribute)
	}
	return nil
}

// cut returns as much of a text as fits into limit bytes with an ellipsis.
func cut(text []byte, limit int) []byte {
	n := limit - len("…")
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return append(bytes.Clone(text[:n]), "…"...)
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
