package distinct

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/zeebo/xxh3"
)

// Builder collects the entries of one bundle, shard and window. The zero value
// is an empty builder. It is not safe for concurrent use.
//
// Most groups of a bundle have one entry, so a group must cost little: groups, keys,
// values and entries lie one after another, and are used again after Reset.
type Builder struct {
	groups  []group
	tails   []tailOfGroup
	entries []entryOf
	bytes   []byte // of keys and values
	last    uint32 // index of the group that was added to last
	// table finds groups by the hash of their key: the index of a group plus 1, and
	// above it the upper half of the hash, probed linearly. Its size is a power of
	// two.
	table []uint64
	// Scratch of Append.
	sorted  []uint32
	copies  []copyOf
	members []uint32
}

type group struct {
	order, hash uint64 // of the key's first field, of all of the key
	key         piece
	head        uint32 // index of the last entry added, plus 1
	ids         uint32 // how many entries
	tail        uint32 // index of the tail plus 1, of a group with values
	copies      bool
}

// tailOfGroup is what is kept of entries with a value.
type tailOfGroup struct {
	value       piece
	lastID      ID
	first, last int64
}

// piece is a place in Builder.bytes.
type piece struct{ from, to uint32 }

// entryOf is an entry that was added, with a copy or a member.
type entryOf struct {
	id    ID
	extra uint64
	next  uint32 // index of the entry added before to the same group, plus 1
}

type copyOf struct {
	id   ID
	copy uint64
}

// Add puts an entry, with its event time in microseconds since the Unix epoch,
// into the group of a key. The group keeps the value of its last entry, by event
// time and then by id. Key and value are copied.
func (b *Builder) Add(key []byte, id ID, at int64, value []byte) {
	g := b.add(key, id, 0)
	if g.tail == 0 {
		b.tails = append(b.tails, tailOfGroup{first: at, last: at, lastID: id, value: b.put(piece{}, value)})
		g.tail = uint32(len(b.tails))
		return
	}
	t := &b.tails[g.tail-1]
	t.first = min(t.first, at)
	if at > t.last || (at == t.last && id > t.lastID) {
		t.last, t.lastID = at, id
		t.value = b.put(t.value, value)
	}
}

// AddMember puts an entry into the group of a key, and a member: a hash, other
// than 0, of whom the entry is of. All copies of an entry have the same member. 0 is
// none. The key is copied.
func (b *Builder) AddMember(key []byte, id ID, member uint32) { b.add(key, id, uint64(member)) }

// AddCopy puts a copy of an entry into the group of a key: the group counts entries
// and copies. The lowest CopyBits of copy, a hash, tell the copies of an entry apart.
// All entries of the group must be added so. The key is copied.
func (b *Builder) AddCopy(key []byte, id ID, copy uint64) {
	b.add(key, id, copy&(1<<CopyBits-1)).copies = true
}

// add adds an entry and returns its group, which holds until the next call.
func (b *Builder) add(key []byte, id ID, extra uint64) *group {
	g := b.group(key)
	b.entries = append(b.entries, entryOf{id, extra, g.head})
	g.head = uint32(len(b.entries))
	g.ids++
	return g
}

// put copies a value, over the old one if it fits.
func (b *Builder) put(old piece, value []byte) piece {
	if n := uint32(len(value)); n <= old.to-old.from {
		old.to = old.from + n
		copy(b.of(old), value)
		return old
	}
	from := len(b.bytes)
	if uint64(from+len(value)) > math.MaxUint32 {
		panic("distinct: a set of more than 4 GiB: use more shards")
	}
	b.bytes = append(b.bytes, value...)
	return piece{uint32(from), uint32(len(b.bytes))}
}

func (b *Builder) of(p piece) []byte { return b.bytes[p.from:p.to] }

// group finds or makes the group of a key.
func (b *Builder) group(key []byte) *group {
	if len(b.groups)*2 >= len(b.table) {
		b.grow()
	}
	if int(b.last) < len(b.groups) && bytes.Equal(b.of(b.groups[b.last].key), key) {
		return &b.groups[b.last]
	}
	g := group{}
	if field, rest, ok := CutField(key); ok {
		g.order = xxh3.Hash(field)
		if g.hash = g.order; len(rest) > 0 {
			g.hash = xxh3.HashSeed(rest, g.order)
		}
	} else {
		g.order = xxh3.Hash(key)
		g.hash = g.order
	}
	mask := uint64(len(b.table) - 1)
	at := g.hash & mask
	for ; b.table[at] != 0; at = (at + 1) & mask {
		if b.table[at]>>32 != g.hash>>32 {
			continue
		}
		i := uint32(b.table[at]) - 1
		if old := &b.groups[i]; old.hash == g.hash && bytes.Equal(b.of(old.key), key) {
			b.last = i
			return old
		}
	}
	g.key = b.put(piece{}, key)
	b.last = uint32(len(b.groups))
	b.groups = append(b.groups, g)
	b.table[at] = slot(g.hash, b.last)
	return &b.groups[b.last]
}

// slot is the entry of the table for a group.
func slot(hash uint64, index uint32) uint64 { return hash>>32<<32 | uint64(index+1) }

// grow makes the table twice as large.
func (b *Builder) grow() {
	b.table = make([]uint64, max(64, 2*len(b.table)))
	mask := uint64(len(b.table) - 1)
	for i := range b.groups {
		hash := b.groups[i].hash
		at := hash & mask
		for b.table[at] != 0 {
			at = (at + 1) & mask
		}
		b.table[at] = slot(hash, uint32(i))
	}
}

// Empty tells whether nothing was added.
func (b *Builder) Empty() bool { return len(b.groups) == 0 }

// Reset empties the builder, and keeps its memory.
func (b *Builder) Reset() {
	clear(b.table)
	b.groups, b.tails, b.entries, b.bytes = b.groups[:0], b.tails[:0], b.entries[:0], b.bytes[:0]
	b.last = 0
}

// Append appends the encoded set to dst.
func (b *Builder) Append(dst []byte) []byte {
	b.sorted = b.sorted[:0]
	for i := range b.groups {
		b.sorted = append(b.sorted, uint32(i))
	}
	slices.SortFunc(b.sorted, func(i, j uint32) int {
		x, y := &b.groups[i], &b.groups[j]
		switch {
		case x.order < y.order:
			return -1
		case x.order > y.order:
			return 1
		}
		return bytes.Compare(b.of(x.key), b.of(y.key))
	})
	dst = slices.Grow(dst, len(b.bytes)+len(b.entries)*(idSize+copySize)+len(b.groups)*4)
	for _, i := range b.sorted {
		dst = b.appendGroup(dst, &b.groups[i])
	}
	return dst
}

func (b *Builder) appendGroup(dst []byte, g *group) []byte {
	b.copies, b.members = b.copies[:0], b.members[:0]
	for e := g.head; e != 0; {
		entry := &b.entries[e-1]
		if g.copies {
			b.copies = append(b.copies, copyOf{entry.id, entry.extra})
		} else {
			b.copies = append(b.copies, copyOf{id: entry.id})
			if entry.extra != 0 {
				b.members = append(b.members, uint32(entry.extra))
			}
		}
		e = entry.next
	}
	if g.ids > 1 {
		slices.SortFunc(b.copies, compareCopies)
		b.copies = slices.Compact(b.copies)
		slices.Sort(b.members)
		b.members = slices.Compact(b.members)
	}
	dst = appendString(dst, b.of(g.key))
	header := uint64(len(b.copies)) << flagBits
	if g.tail != 0 {
		header |= hasTail
	}
	if g.copies {
		header |= hasCopies
	}
	dst = binary.AppendUvarint(dst, header)
	for _, c := range b.copies {
		dst = binary.BigEndian.AppendUint64(dst, uint64(c.id))
		if g.copies {
			dst = append(dst, byte(c.copy>>32), byte(c.copy>>24), byte(c.copy>>16), byte(c.copy>>8), byte(c.copy))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.members)))
	for _, m := range b.members {
		dst = binary.BigEndian.AppendUint32(dst, m)
	}
	if g.tail == 0 {
		return dst
	}
	of := &b.tails[g.tail-1]
	t := tail{true, of.first, of.last, of.lastID, b.of(of.value)}
	return t.append(dst)
}

func compareCopies(x, y copyOf) int {
	switch {
	case x.id < y.id:
		return -1
	case x.id > y.id:
		return 1
	}
	return cmp.Compare(x.copy, y.copy)
}
