package distinct

import (
	"container/list"
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

// merged are the sets of windows that were written last, so that the next pane of
// one has not to read what the state holds.
//
// The state is the truth: it says which panes came, by a hash of them all, and a set
// that is kept is used only if it was made of the same panes in the same order.
// After a bundle that failed, or when another worker had the window in between, the
// hashes differ and the state is read.
var merged = &mergedSets{room: maxMerged}

type mergedSets struct {
	mu     sync.Mutex
	room   int // bytes left
	byName map[string]*list.Element
	order  list.List // of mergedSet, the last used in front
}

type mergedSet struct {
	name  string
	chain chained
	set   []byte
}

// get returns the set that was made of the panes of a chain. It must not be
// written to.
func (m *mergedSets) get(name string, of chained) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.byName[name]
	if e == nil || e.Value.(*mergedSet).chain != of {
		return nil, false
	}
	m.order.MoveToFront(e)
	return e.Value.(*mergedSet).set, true
}

// put keeps a set, which must not be written to from then on.
func (m *mergedSets) put(name string, of chained, set []byte) {
	if cap(set) > len(set)+len(set)/8 {
		set = slices.Clone(set)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(name)
	for m.room < len(set) && m.order.Len() > 0 {
		m.remove(m.order.Back().Value.(*mergedSet).name)
	}
	if m.room < len(set) {
		return
	}
	m.room -= len(set)
	if m.byName == nil {
		m.byName = make(map[string]*list.Element)
	}
	m.byName[name] = m.order.PushFront(&mergedSet{name, of, set})
}

// forget drops a set.
func (m *mergedSets) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(name)
}

func (m *mergedSets) remove(name string) {
	if e := m.byName[name]; e != nil {
		m.room += len(e.Value.(*mergedSet).set)
		m.order.Remove(e)
		delete(m.byName, name)
	}
}
