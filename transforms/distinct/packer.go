package distinct

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
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
// one element for a few shards and not every entry. The zero value is empty.
type Packer struct {
	windows map[place]*packedWindow
	// recent are the windows of recentStart by shard, as indexed by recentIndex:
	// most entries are of the minute that the one before was of.
	recent      []*packedWindow
	recentStart int64
	free        []*packedWindow
	entries     int
	// Scratch of Flush: sets of a lane, one after another, and where each ends.
	sets []byte
	ends []int
}

// place names a shard's window by its start.
type place struct{ shard, start int64 }

type packedWindow struct {
	Builder
	entries  int
	earliest int64 // event time
}

// recentIndex is the place of a shard in Packer.recent: 0, -1, 1, -2 and so on.
func recentIndex(shard int64) uint64 { return uint64(shard<<1 ^ shard>>63) }

// maxRecent bounds the shards that Packer.recent has places for.
const maxRecent = 1 << 10

// lane returns the lane of a shard. Four shards travel and wait together, in a lane:
// what a bundle costs on its way to the windows is the same for each element, and a
// bundle has an element for each lane. Windows are merged and written by shard.
// Shards below 0 have lanes of their own.
func lane(shard int64) int64 { return shard >> 2 }

// onTimeShare is the share of a pack that may be older than its timestamp, one in
// ten: the sources hold the watermark for nine tenths of what they read.
const onTimeShare = 10

// Emit is how a Packer hands out what it packed: timestamp, lane of shards, sets by
// window and shard. The timestamp is the earliest event time of the windows that
// hold nine tenths of the entries. The watermark waits for what is under way, so it
// does not pass an entry because it was packed with later ones; and neither does
// what is far in the future hold back the rest, which Prism keeps behind timers that
// are earlier.
type Emit = func(beam.EventTime, int64, []byte)

// Add puts an entry into the set of its shard and window; see Builder.Add. It
// emits everything when the packer is full.
func (p *Packer) Add(shard int64, key []byte, id ID, at int64, value []byte, emit Emit) {
	p.at(shard, at).Add(key, id, at, value)
	p.added(emit)
}

// AddMember puts an entry with a member into the set of its shard and window; see
// Builder.AddMember. It emits everything when the packer is full.
func (p *Packer) AddMember(shard int64, key []byte, id ID, member uint32, at int64, emit Emit) {
	p.at(shard, at).AddMember(key, id, member)
	p.added(emit)
}

// AddCopy puts a copy of an entry into the set of its shard and window; see
// Builder.AddCopy. It emits everything when the packer is full.
func (p *Packer) AddCopy(shard int64, key []byte, id ID, copy uint64, at int64, emit Emit) {
	p.at(shard, at).AddCopy(key, id, copy)
	p.added(emit)
}

// at returns the set that takes an entry.
func (p *Packer) at(shard, at int64) *packedWindow {
	start := WindowStart(at)
	if start != p.recentStart {
		clear(p.recent)
		p.recentStart = start
	}
	i := recentIndex(shard)
	if i >= uint64(len(p.recent)) {
		if i >= maxRecent {
			return p.window(place{shard, start}, at)
		}
		p.recent = append(p.recent, make([]*packedWindow, i+1-uint64(len(p.recent)))...)
	}
	w := p.recent[i]
	if w == nil {
		w = p.window(place{shard, start}, at)
		p.recent[i] = w
		return w
	}
	w.earliest = min(w.earliest, at)
	w.entries++
	return w
}

// window finds or makes the set of a place, for an entry.
func (p *Packer) window(name place, at int64) *packedWindow {
	w := p.windows[name]
	if w == nil {
		if p.windows == nil {
			p.windows = make(map[place]*packedWindow)
		}
		if n := len(p.free); n > 0 {
			w, p.free = p.free[n-1], p.free[:n-1]
		} else {
			w = new(packedWindow)
		}
		w.earliest = at
		p.windows[name] = w
	}
	w.earliest = min(w.earliest, at)
	w.entries++
	return w
}

func (p *Packer) added(emit Emit) {
	if p.entries++; p.entries >= maxPacked {
		p.Flush(emit)
	}
}

// Flush emits all sets and empties the packer. Call it in FinishBundle.
func (p *Packer) Flush(emit Emit) {
	places := slices.SortedFunc(maps.Keys(p.windows), func(a, b place) int {
		return cmp.Or(cmp.Compare(lane(a.shard), lane(b.shard)), cmp.Compare(a.start, b.start), cmp.Compare(a.shard, b.shard))
	})
	for len(places) > 0 {
		n, of := 1, lane(places[0].shard)
		for n < len(places) && lane(places[n].shard) == of {
			n++
		}
		p.sets, p.ends = p.sets[:0], p.ends[:0]
		for _, name := range places[:n] {
			p.sets = p.windows[name].Append(p.sets)
			p.ends = append(p.ends, len(p.sets))
		}
		pack := make([]byte, 0, len(p.sets)+n*maxWindowHead)
		from := 0
		for i, end := range p.ends {
			pack = appendWindow(pack, places[i].start, places[i].shard, p.sets[from:end])
			from = end
		}
		emit(mtime.FromTime(time.UnixMicro(p.timestamp(places[:n]))), of, pack)
		places = places[n:]
	}
	for _, w := range p.windows {
		w.Reset()
		w.entries = 0
		p.free = append(p.free, w)
	}
	clear(p.windows)
	clear(p.recent)
	p.entries = 0
}

// timestamp is the event time of a pack of sets, which are in order of time; see
// Emit.
func (p *Packer) timestamp(places []place) int64 {
	all, before := 0, 0
	for _, name := range places {
		all += p.windows[name].entries
	}
	for len(places) > 0 {
		earliest, n := int64(math.MaxInt64), 0
		for n < len(places) && places[n].start == places[0].start {
			w := p.windows[places[n]]
			before += w.entries
			earliest = min(earliest, w.earliest)
			n++
		}
		if places = places[n:]; before > all/onTimeShare || len(places) == 0 {
			return earliest
		}
	}
	return 0 // of nothing, which is not emitted
}

// maxWindowHead is the most that appendWindow adds to a set.
const maxWindowHead = 3 * binary.MaxVarintLen64

// appendWindow appends a set behind the start of its window and its shard, as
// varints.
func appendWindow(dst []byte, start, shard int64, set []byte) []byte {
	dst = binary.AppendVarint(dst, start)
	return appendString(binary.AppendVarint(dst, shard), set)
}

// WindowSet is the set of one shard's window of a pack.
type WindowSet struct {
	Start int64 // microseconds since the Unix epoch
	Shard int64
	Set   []byte
}

// Windows returns the sets of a pack, in ascending order of window. They borrow
// from it.
func Windows(pack []byte) ([]WindowSet, error) {
	var out []WindowSet
	for len(pack) > 0 {
		var w WindowSet
		var ok1, ok2, ok3 bool
		w.Start, pack, ok1 = cutVarint(pack)
		w.Shard, pack, ok2 = cutVarint(pack)
		w.Set, pack, ok3 = cutString(pack)
		if !ok1 || !ok2 || !ok3 || w.Start != WindowStart(w.Start) {
			return nil, ErrCorrupt
		}
		out = append(out, w)
	}
	return out, nil
}
