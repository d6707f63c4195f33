package distinct

import (
	"container/heap"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"
)

// version says what panes the state of a shard's window holds.
type version struct {
	panes uint64  // how many came
	size  uint64  // bytes of those in the state
	chain chained // hash of all that came, in order
}

type chained [16]byte

// add notes a pane.
func (v *version) add(pane []byte) {
	v.panes++
	v.size += uint64(len(pane))
	h := xxh3.New()
	_, _ = h.Write(v.chain[:])
	_, _ = h.Write(pane)
	v.chain = h.Sum128().Bytes()
}

func (v *version) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, v.panes)
	dst = binary.AppendUvarint(dst, v.size)
	return append(dst, v.chain[:]...)
}

func (v *version) decode(s []byte) error {
	for _, n := range []*uint64{&v.panes, &v.size} {
		used := 0
		if *n, used = binary.Uvarint(s); used <= 0 {
			return ErrCorrupt
		}
		s = s[used:]
	}
	if len(s) != len(v.chain) {
		return ErrCorrupt
	}
	copy(v.chain[:], s)
	return nil
}

// maxMerged bounds the bytes of merged sets that a process keeps. What does not
// fit is read from the state.
const maxMerged = 128 << 20

// merged are the sets of the latest windows, so that the next pane of one has not to
// read what the state holds. A window is written often while it is open, and seldom
// when it has ended; so where there is no room the earliest goes, and not the one that
// was used last: at a high rate each round of late panes would else put out all that
// the next early firings need.
//
// The state is the truth: it says which panes came, by a hash of them all, and a set
// that is kept is used only if it was made of the same panes in the same order.
// After a bundle that failed, or when another worker had the window in between, the
// hashes differ and the state is read.
var merged = &mergedSets{room: maxMerged}

type mergedSets struct {
	mu     sync.Mutex
	room   int // bytes left
	byName map[string]*mergedSet
	order  byStart
}

type mergedSet struct {
	name  string
	start int64 // of the window
	chain chained
	set   []byte
	index int // in byStart
}

// get returns the set that was made of the panes of a chain. It must not be
// written to.
func (m *mergedSets) get(name string, of chained) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.byName[name]
	if e == nil || e.chain != of {
		return nil, false
	}
	return e.set, true
}

// put keeps the set of a window, which must not be written to from then on.
func (m *mergedSets) put(name string, start int64, of chained, set []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(m.byName[name])
	for m.room < len(set) && len(m.order) > 0 && m.order[0].start < start {
		m.remove(m.order[0])
	}
	if m.room < len(set) {
		return
	}
	if cap(set) > len(set)+len(set)/8 {
		set = slices.Clone(set)
	}
	m.room -= len(set)
	if m.byName == nil {
		m.byName = make(map[string]*mergedSet)
	}
	e := &mergedSet{name: name, start: start, chain: of, set: set}
	m.byName[name] = e
	heap.Push(&m.order, e)
}

// forget drops a set.
func (m *mergedSets) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(m.byName[name])
}

func (m *mergedSets) remove(e *mergedSet) {
	if e != nil {
		m.room += len(e.set)
		heap.Remove(&m.order, e.index)
		delete(m.byName, e.name)
	}
}

// byStart is a heap, the earliest window at its root.
type byStart []*mergedSet

func (h byStart) Len() int           { return len(h) }
func (h byStart) Less(i, j int) bool { return h[i].start < h[j].start }
func (h byStart) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *byStart) Push(x any) {
	e := x.(*mergedSet)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *byStart) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
