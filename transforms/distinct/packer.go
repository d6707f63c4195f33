package distinct

import (
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

// Packer collects the entries of a bundle by shard and window, so that what is
// shuffled is a few packed sets and not every entry. The zero value is empty.
type Packer struct {
	sets    map[packKey]*Builder
	entries int
}

type packKey struct {
	shard int64
	start int64
}

// Emit is how a Packer hands out packed sets: timestamp, shard, encoded set. The
// timestamp is the last millisecond of the set's window, so that packing never
// makes an entry late.
type Emit = func(beam.EventTime, int64, []byte)

// Add puts an entry into the set of its shard and window; see Builder.Add. It
// emits everything when the packer is full.
func (p *Packer) Add(shard int64, key []byte, id ID, at int64, value []byte, emit Emit) {
	k := packKey{shard, WindowStart(at)}
	b := p.sets[k]
	if b == nil {
		if p.sets == nil {
			p.sets = make(map[packKey]*Builder)
		}
		b = new(Builder)
		p.sets[k] = b
	}
	b.Add(key, id, at, value)
	if p.entries++; p.entries >= maxPacked {
		p.Flush(emit)
	}
}

// Flush emits all sets and empties the packer. Call it in FinishBundle.
func (p *Packer) Flush(emit Emit) {
	for k, b := range p.sets {
		emit(mtime.FromTime(time.UnixMicro(k.start+windowMicros))-1, k.shard, b.Append(nil))
	}
	clear(p.sets)
	p.entries = 0
}
