package distinct

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/zeebo/xxh3"
)

// ID identifies an entry: 79 bits of a hash of (insertId, event time), and one
// flag, which every copy of an entry carries alike.
//
// Two entries are taken for one if their ids are equal within a group of a shard's
// window. At 100,000 entries a second that all fall into one group of 16 shards, a
// set has 375,000 ids, or 7e10 pairs, of which one collides with a chance of 1.2e-13:
// in a year of such minutes, with one of 1e-6, and then one impression is missing
// from the counts. 80 bits instead of 128 make a third of the state.
type ID [idSize]byte

// NewID makes an id of the 64 high bits of a hash and the 15 highest bits of its low
// half, and the flag.
func NewID(high, low uint64, flagged bool) ID {
	var id ID
	binary.BigEndian.PutUint64(id[:8], high)
	binary.BigEndian.PutUint16(id[8:], uint16(low>>48)&^1)
	if flagged {
		id[idSize-1] |= 1
	}
	return id
}

// Hash returns 64 bits of the id.
func (id ID) Hash() uint64 { return binary.BigEndian.Uint64(id[:8]) }

// Flagged tells whether the entry's flag is set.
func (id ID) Flagged() bool { return id[idSize-1]&1 == 1 }

// Group is one group of a merged set. Its slices borrow from the sets that were
// merged and from the merged one: they hold as long as nobody writes to those.
type Group struct {
	Key []byte
	// Count is the number of distinct entries, Flagged how many of them have the
	// flag.
	Count, Flagged int64
	// Members are the distinct members, in ascending order, 8 bytes each, big
	// endian.
	Members []byte
	// First and Last are event times in microseconds since the Unix epoch; Value
	// is the value of the last entry. They are of the entries that were added with a
	// value.
	First, Last int64
	Value       []byte
}

// ErrCorrupt says that bytes are not an encoded set.
var ErrCorrupt = errors.New("distinct: corrupt set")

// Merge appends to dst the union of two encoded sets, and calls visit, in order
// of the set, for every group of the union that differs from the group of the same
// key in a: what set b restates. visit may be nil.
func Merge(dst, a, b []byte, visit func(Group)) ([]byte, error) {
	dst = slices.Grow(dst, len(a)+len(b))
	var x, y part
	if err := x.next(&a); err != nil {
		return nil, err
	}
	if err := y.next(&b); err != nil {
		return nil, err
	}
	for x.ok || y.ok {
		order := 0
		switch {
		case !y.ok:
			order = -1
		case !x.ok:
			order = 1
		default:
			order = compareKeys(x.order, x.key, y.order, y.key)
		}
		var err error
		switch {
		case order < 0:
			dst = append(dst, x.raw...)
			err = x.next(&a)
		case order > 0:
			dst = append(dst, y.raw...)
			if visit != nil {
				visit(y.group())
			}
			err = y.next(&b)
		default:
			dst = mergeGroup(dst, &x, &y, visit)
			if err = x.next(&a); err == nil {
				err = y.next(&b)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// MergeAll returns the union of encoded sets. It merges in rounds of pairs, so
// that each byte is copied log2(len(sets)) times.
func MergeAll(sets [][]byte) ([]byte, error) {
	switch len(sets) {
	case 0:
		return nil, nil
	case 1: // a copy, that has been read
		return Merge(nil, nil, sets[0], nil)
	}
	sets = slices.Clone(sets)
	for len(sets) > 1 {
		half := sets[:0]
		for i := 0; i < len(sets); i += 2 {
			if i+1 == len(sets) {
				half = append(half, sets[i])
				break
			}
			merged, err := Merge(nil, sets[i], sets[i+1], nil)
			if err != nil {
				return nil, err
			}
			half = append(half, merged)
		}
		sets = half
	}
	return sets[0], nil
}

// neighbours returns the groups of an encoded set whose key begins with the same
// field as that of one of changed, which are in the order of a set: in that such
// keys are next to each other.
func neighbours(set []byte, changed []Group) ([]Group, error) {
	var out []Group
	var p part
	for {
		if err := p.next(&set); err != nil {
			return nil, err
		}
		if !p.ok || len(changed) == 0 {
			return out, nil
		}
		first, ok := firstField(p.key)
		if !ok {
			return nil, ErrCorrupt
		}
		for len(changed) > 0 {
			of, ok := firstField(changed[0].Key)
			if !ok {
				return nil, ErrCorrupt
			}
			order := compareKeys(orderOf(changed[0].Key), of, p.order, first)
			if order == 0 {
				out = append(out, p.group())
			}
			if order >= 0 {
				break
			}
			changed = changed[1:]
		}
	}
}

// firstField returns the first field of a key with its length.
func firstField(key []byte) ([]byte, bool) {
	_, rest, ok := CutField(key)
	return key[:len(key)-len(rest)], ok
}

// orderOf is the hash of a key's first field by which groups are in order: numbers
// are compared sooner than keys. A key that has no fields is one.
func orderOf(key []byte) uint64 {
	if field, _, ok := CutField(key); ok {
		return xxh3.Hash(field)
	}
	return xxh3.Hash(key)
}

// compareKeys compares keys that have the given orders.
func compareKeys(order uint64, key []byte, order2 uint64, key2 []byte) int {
	switch {
	case order < order2:
		return -1
	case order > order2:
		return 1
	}
	return bytes.Compare(key, key2)
}

// Sizes of an encoded id and of a member.
const (
	idSize     = 10
	memberSize = 8
)

// part is one encoded group; its slices borrow from the set.
type part struct {
	ok       bool
	order    uint64
	raw, key []byte
	ids      []byte
	members  []byte
	tail
}

// tail is what a group knows of its entries that were added with a value; has says
// that there is one.
type tail struct {
	has           bool
	first, last   int64
	lastID, value []byte
}

// hasTail is added to twice the number of ids.
const hasTail = 1

// next reads the group at the head of set and moves set past it.
func (p *part) next(set *[]byte) error {
	s := *set
	*p = part{}
	if len(s) == 0 {
		return nil
	}
	var ok1, ok2, ok3 bool
	p.key, s, ok1 = cutString(s)
	n, used := binary.Uvarint(s)
	if !ok1 || used <= 0 {
		return ErrCorrupt
	}
	p.ids, s, ok2 = cutElements(s[used:], n>>1, idSize)
	p.members, s, ok3 = cutArray(s, memberSize)
	if !ok2 || !ok3 || len(p.ids) == 0 {
		return ErrCorrupt
	}
	if n&hasTail != 0 {
		p.has = true
		p.first, s, ok1 = cutVarint(s)
		p.last, s, ok2 = cutVarint(s)
		if !ok1 || !ok2 || len(s) < idSize {
			return ErrCorrupt
		}
		p.lastID, s = s[:idSize:idSize], s[idSize:]
		if p.value, s, ok3 = cutString(s); !ok3 {
			return ErrCorrupt
		}
	}
	p.raw, p.ok = (*set)[:len(*set)-len(s)], true
	p.order = orderOf(p.key)
	*set = s
	return nil
}

func (p *part) group() Group {
	g := Group{Key: p.key, Count: int64(len(p.ids) / idSize), Members: p.members, First: p.first, Last: p.last, Value: p.value}
	for i := idSize - 1; i < len(p.ids); i += idSize {
		g.Flagged += int64(p.ids[i] & 1)
	}
	return g
}

// mergeGroup appends the union of two groups of one key.
func mergeGroup(dst []byte, x, y *part, visit func(Group)) []byte {
	m := part{key: x.key, tail: x.tail.union(y.tail)}
	dst = appendString(dst, x.key)
	flags := 0
	if m.has {
		flags = hasTail
	}
	dst, m.ids = appendUnion(dst, x.ids, y.ids, idSize, 1, flags)
	dst, m.members = appendUnion(dst, x.members, y.members, memberSize, 0, 0)
	if visit != nil && len(m.ids) != len(x.ids) {
		visit(m.group())
	}
	return m.append(dst)
}

func (t tail) union(o tail) tail {
	switch {
	case !o.has:
		return t
	case !t.has:
		return o
	}
	u := t
	if o.last > t.last || (o.last == t.last && bytes.Compare(o.lastID, t.lastID) > 0) {
		u = o
	}
	u.first = min(t.first, o.first)
	return u
}

// append appends the tail, if there is one.
func (t *tail) append(dst []byte) []byte {
	if !t.has {
		return dst
	}
	dst = binary.AppendVarint(dst, t.first)
	dst = binary.AppendVarint(dst, t.last)
	dst = append(dst, t.lastID...)
	return appendString(dst, t.value)
}

// appendUnion appends the union of two ascending arrays of elements of a size of 8
// bytes or more, after its length, which is shifted and has flags added. It returns
// the elements too.
func appendUnion(dst, a, b []byte, size, shift, flags int) (all, union []byte) {
	header := func(n int) uint64 { return uint64(n/size<<shift + flags) }
	if len(b) == 0 {
		a, b = b, a
	}
	if len(a) == 0 {
		dst = append(binary.AppendUvarint(dst, header(len(b))), b...)
		return dst, tailOf(dst, len(b))
	}
	// The length comes before the elements, and is known after them: most often it
	// takes as many bytes as if there were no duplicates.
	from := len(dst)
	dst = binary.AppendUvarint(dst, header(len(a)+len(b)))
	start := len(dst)
	for len(a) > 0 && len(b) > 0 {
		c := compareElements(a, b, size)
		if c <= 0 {
			dst = append(dst, a[:size]...)
			a = a[size:]
		} else {
			dst = append(dst, b[:size]...)
		}
		if c >= 0 {
			b = b[size:]
		}
	}
	dst = append(dst, a...)
	dst = append(dst, b...)
	n := len(dst) - start
	var encoded [binary.MaxVarintLen64]byte
	width := binary.PutUvarint(encoded[:], header(n))
	copy(dst[from:], encoded[:width])
	if from+width < start {
		copy(dst[from+width:], dst[start:])
		dst = dst[:from+width+n]
	}
	return dst, tailOf(dst, n)
}

// tailOf returns the last n bytes of s; nil if n is 0.
func tailOf(s []byte, n int) []byte {
	if n == 0 {
		return nil
	}
	return s[len(s)-n : len(s) : len(s)]
}

// compareElements compares the first elements of two arrays.
func compareElements(a, b []byte, size int) int {
	x, y := binary.BigEndian.Uint64(a), binary.BigEndian.Uint64(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return bytes.Compare(a[8:size], b[8:size])
}

func compareIDs(a, b ID) int { return compareElements(a[:], b[:], idSize) }

func appendString(dst, s []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func cutString(s []byte) (value, rest []byte, ok bool) {
	n, size := binary.Uvarint(s)
	if size <= 0 || n > uint64(len(s)-size) {
		return nil, nil, false
	}
	end := size + int(n)
	return s[size:end:end], s[end:], true
}

// cutArray returns the elements of a size that s begins with, and what follows.
func cutArray(s []byte, size int) (elements, rest []byte, ok bool) {
	n, used := binary.Uvarint(s)
	if used <= 0 {
		return nil, nil, false
	}
	return cutElements(s[used:], n, size)
}

// cutElements returns n elements of a size, and what follows.
func cutElements(s []byte, n uint64, size int) (elements, rest []byte, ok bool) {
	if n > uint64(len(s))/uint64(size) {
		return nil, nil, false
	}
	if n == 0 {
		return nil, s, true
	}
	end := int(n) * size
	return s[:end:end], s[end:], true
}

func cutVarint(s []byte) (v int64, rest []byte, ok bool) {
	v, size := binary.Varint(s)
	if size <= 0 {
		return 0, nil, false
	}
	return v, s[size:], true
}
