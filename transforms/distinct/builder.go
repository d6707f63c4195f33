package distinct

import (
	"bytes"
	"encoding/binary"
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
	entries []entryOf
	bytes   []byte // of keys and values
	// table finds groups by the hash of their key: 1 and more are indexes of groups
	// plus 1, probed linearly. Its size is a power of two.
	table []uint32
	// Scratch of Append.
	sorted  []uint32
	ids     []ID
	members []uint64
}

type group struct {
	order, hash uint64 // of the key's first field, of all of the key
	key, value  piece
	head        uint32 // index of the last entry added, plus 1
	ids         uint32 // how many entries
	// Of entries with a value:
	hasTail     bool
	lastID      ID
	first, last int64
}

// piece is a place in Builder.bytes.
type piece struct{ from, to int }

type entryOf struct {
	member uint64
	next   uint32 // index of the entry added before to the same group, plus 1
	id     ID
}

// Add puts an entry, with its event time in microseconds since the Unix epoch,
// into the group of a key. The group keeps the value of its last entry, by event
// time and then by id. Key and value are copied.
func (b *Builder) Add(key []byte, id ID, at int64, value []byte) {
	g := b.add(key, id, 0)
	if !g.hasTail {
		g.hasTail, g.first, g.last, g.lastID = true, at, at, id
		g.value = b.put(g.value, value)
		return
	}
	g.first = min(g.first, at)
	if at > g.last || (at == g.last && compareIDs(id, g.lastID) > 0) {
		g.last, g.lastID = at, id
		g.value = b.put(g.value, value)
	}
}

// AddMember puts an entry into the group of a key, and a member: a hash, other
// than 0, of whom the entry is of. All copies of an entry have the same member. 0 is
// none. The key is copied.
func (b *Builder) AddMember(key []byte, id ID, member uint64) { b.add(key, id, member) }

// add adds an entry and returns its group, which holds until the next call.
func (b *Builder) add(key []byte, id ID, member uint64) *group {
	g := b.group(key)
	b.entries = append(b.entries, entryOf{member, g.head, id})
	g.head = uint32(len(b.entries))
	g.ids++
	return g
}

// put copies a value, over the old one if it fits.
func (b *Builder) put(old piece, value []byte) piece {
	if n := len(value); n <= old.to-old.from {
		old.to = old.from + n
		copy(b.of(old), value)
		return old
	}
	from := len(b.bytes)
	b.bytes = append(b.bytes, value...)
	return piece{from, len(b.bytes)}
}

func (b *Builder) of(p piece) []byte { return b.bytes[p.from:p.to] }

// group finds or makes the group of a key.
func (b *Builder) group(key []byte) *group {
	if len(b.groups)*2 >= len(b.table) {
		b.grow()
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
		if old := &b.groups[b.table[at]-1]; old.hash == g.hash && bytes.Equal(b.of(old.key), key) {
			return old
		}
	}
	g.key = b.put(piece{}, key)
	b.groups = append(b.groups, g)
	b.table[at] = uint32(len(b.groups))
	return &b.groups[len(b.groups)-1]
}

// grow makes the table twice as large.
func (b *Builder) grow() {
	b.table = make([]uint32, max(64, 2*len(b.table)))
	mask := uint64(len(b.table) - 1)
	for i := range b.groups {
		at := b.groups[i].hash & mask
		for b.table[at] != 0 {
			at = (at + 1) & mask
		}
		b.table[at] = uint32(i + 1)
	}
}

// Empty tells whether nothing was added.
func (b *Builder) Empty() bool { return len(b.groups) == 0 }

// Reset empties the builder, and keeps its memory.
func (b *Builder) Reset() {
	clear(b.table)
	b.groups, b.entries, b.bytes = b.groups[:0], b.entries[:0], b.bytes[:0]
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
	dst = slices.Grow(dst, len(b.bytes)+len(b.entries)*(idSize+memberSize)+len(b.groups)*4)
	for _, i := range b.sorted {
		dst = b.appendGroup(dst, &b.groups[i])
	}
	return dst
}

func (b *Builder) appendGroup(dst []byte, g *group) []byte {
	b.ids, b.members = b.ids[:0], b.members[:0]
	for e := g.head; e != 0; {
		entry := &b.entries[e-1]
		b.ids = append(b.ids, entry.id)
		if entry.member != 0 {
			b.members = append(b.members, entry.member)
		}
		e = entry.next
	}
	if g.ids > 1 {
		slices.SortFunc(b.ids, compareIDs)
		b.ids = slices.Compact(b.ids)
		slices.Sort(b.members)
		b.members = slices.Compact(b.members)
	}
	dst = appendString(dst, b.of(g.key))
	header := uint64(len(b.ids)) << 1
	if g.hasTail {
		header |= hasTail
	}
	dst = binary.AppendUvarint(dst, header)
	for i := range b.ids {
		dst = append(dst, b.ids[i][:]...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.members)))
	for _, m := range b.members {
		dst = binary.BigEndian.AppendUint64(dst, m)
	}
	t := tail{g.hasTail, g.first, g.last, g.lastID[:], b.of(g.value)}
	return t.append(dst)
}
