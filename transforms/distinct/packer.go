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
	shards  map[int64]*packed
	entries int
}

// packed are the sets of a shard, by the start of their window.
type packed struct {
	sets map[int64]*Builder
	// earliest is the first event time of each window.
	earliest map[int64]int64
}

// Emit is how a Packer hands out what it packed: timestamp, shard, sets by
// window. The timestamp is the earliest event time that is not late for the rest
// of the bundle: of the last window and the one before it. So the watermark, which
// waits for what is under way, does not pass an entry because it was packed with
// later ones.
type Emit = func(beam.EventTime, int64, []byte)

// Add puts an entry into the set of its shard and window; see Builder.Add. It
// emits everything when the packer is full.
func (p *Packer) Add(shard int64, key []byte, id ID, at int64, value []byte, emit Emit) {
	p.AddMember(shard, key, id, 0, at, value, emit)
}

// AddMember is Add with a member; see Builder.AddMember.
func (p *Packer) AddMember(shard int64, key []byte, id ID, member uint64, at int64, value []byte, emit Emit) {
	if p.shards == nil {
		p.shards = make(map[int64]*packed)
	}
	s := p.shards[shard]
	if s == nil {
		s = &packed{make(map[int64]*Builder), make(map[int64]int64)}
		p.shards[shard] = s
	}
	start := WindowStart(at)
	b := s.sets[start]
	if b == nil {
		b = new(Builder)
		s.sets[start], s.earliest[start] = b, at
	}
	s.earliest[start] = min(s.earliest[start], at)
	b.AddMember(key, id, member, at, value)
	if p.entries++; p.entries >= maxPacked {
		p.Flush(emit)
	}
}

// Flush emits all sets and empties the packer. Call it in FinishBundle.
func (p *Packer) Flush(emit Emit) {
	for _, shard := range slices.Sorted(maps.Keys(p.shards)) {
		s := p.shards[shard]
		starts := slices.Sorted(maps.Keys(s.sets))
		last := starts[len(starts)-1]
		at := s.earliest[last]
		if before, ok := s.earliest[last-windowMicros]; ok {
			at = before
		}
		var data []byte
		for _, start := range starts {
			data = appendWindow(data, start, s.sets[start].Append(nil))
		}
		emit(mtime.FromTime(time.UnixMicro(at)), shard, data)
	}
	clear(p.shards)
	p.entries = 0
}

// appendWindow appends a set with the start of its window, as a varint, before
// it.
func appendWindow(dst []byte, start int64, set []byte) []byte {
	return appendString(binary.AppendVarint(dst, start), set)
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
