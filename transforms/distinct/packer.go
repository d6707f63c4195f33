package distinct

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
)

// Window is the length of the fixed windows on event time.
const Window = time.Minute

const windowMicros = int64(Window / time.Microsecond)

// maxPacked bounds the entries that a Packer holds, and so the memory of one
// bundle, whatever its size.
const maxPacked = 50_000

// WindowStart returns the start of the window of an event time, both in
// microseconds since the Unix epoch.
func WindowStart(micros int64) int64 {
	start := micros - micros%windowMicros
	if micros < start {
		start -= windowMicros
	}
	return start
}

// Packer collects the entries of a bundle by shard, so that what is shuffled is
// one element of each shard and not every entry. The zero value is empty.
type Packer struct {
	shards  map[int64]packed
	entries int
}

// packed are the sets of a shard, by the start of their window.
type packed map[int64]*packedWindow

type packedWindow struct {
	Builder
	entries  int
	earliest int64 // event time
}

// onTimeShare is the share of a pack that may be older than its timestamp, one in
// ten: the sources hold the watermark for nine tenths of what they read.
const onTimeShare = 10

// Emit is how a Packer hands out what it packed: timestamp, shard, sets by
// window. The timestamp is the earliest event time of the windows that hold nine
// tenths of the entries. The watermark waits for what is under way, so it does not
// pass an entry because it was packed with later ones; and neither does what is
// far in the future hold back the rest, which Prism keeps behind timers that are
// earlier.
type Emit = func(beam.EventTime, int64, []byte)

// Add puts an entry into the set of its shard and window; see Builder.Add. It
// emits everything when the packer is full.
func (p *Packer) Add(shard int64, key []byte, id ID, at int64, value []byte, emit Emit) {
	p.AddMember(shard, key, id, 0, at, value, emit)
}

// AddMember is Add with a member; see Builder.AddMember.
func (p *Packer) AddMember(shard int64, key []byte, id ID, member uint64, at int64, value []byte, emit Emit) {
	if p.shards == nil {
		p.shards = make(map[int64]packed)
	}
	s := p.shards[shard]
	if s == nil {
		s = make(packed)
		p.shards[shard] = s
	}
	start := WindowStart(at)
	w := s[start]
	if w == nil {
		w = &packedWindow{earliest: at}
		s[start] = w
	}
	w.earliest = min(w.earliest, at)
	w.entries++
	w.AddMember(key, id, member, at, value)
	if p.entries++; p.entries >= maxPacked {
		p.Flush(emit)
	}
}

// Flush emits all sets and empties the packer. Call it in FinishBundle.
func (p *Packer) Flush(emit Emit) {
	for _, shard := range slices.Sorted(maps.Keys(p.shards)) {
		s := p.shards[shard]
		starts := slices.Sorted(maps.Keys(s))
		var data []byte
		for _, start := range starts {
			data = appendWindow(data, start, s[start].Append(nil))
		}
		emit(mtime.FromTime(time.UnixMicro(s.timestamp(starts))), shard, data)
	}
	clear(p.shards)
	p.entries = 0
}

// timestamp is the event time of a pack; see Emit.
func (s packed) timestamp(starts []int64) int64 {
	all, before := 0, 0
	for _, w := range s {
		all += w.entries
	}
	for _, start := range starts {
		if before += s[start].entries; before > all/onTimeShare {
			return s[start].earliest
		}
	}
	return s[starts[len(starts)-1]].earliest
}

// appendWindow appends a set with the start of its window, as a varint, before
// it.
func appendWindow(dst []byte, start int64, set []byte) []byte {
	return appendString(binary.AppendVarint(dst, start), set)
}

// WindowSet is the set of one window of a pack.
type WindowSet struct {
	Start int64 // microseconds since the Unix epoch
	Set   []byte
}

// Windows returns the sets of a pack, in ascending order of window. They borrow
// from it.
func Windows(pack []byte) ([]WindowSet, error) {
	var out []WindowSet
	for len(pack) > 0 {
		start, set, rest, err := cutWindow(pack)
		if err != nil {
			return nil, err
		}
		out = append(out, WindowSet{start, set})
		pack = rest
	}
	return out, nil
}

// cutWindow reads what appendWindow wrote, and returns what follows it.
func cutWindow(s []byte) (start int64, set, rest []byte, err error) {
	start, s, ok := cutVarint(s)
	if ok {
		set, rest, ok = cutString(s)
	}
	if !ok || start != WindowStart(start) {
		return 0, nil, nil, ErrCorrupt
	}
	return start, set, rest, nil
}
