package distinct

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/zeebo/xxh3"
)

// ID identifies an entry: 63 bits of a hash of (insertId, event time), and in the
// lowest bit a flag, which every copy of an entry carries alike.
//
// Two entries are taken for one if their ids are equal within a group of a shard's
// window; the shard is chosen by other bits. At 100,000 entries a second that all fall
// into one group of 16 shards, a set has 375,000 ids, or 7e10 pairs, of which one
// collides with a chance of 7.6e-9: that is one entry in 16 years, of 3e12 a year,
// missing from the counts. At 1,000,000 a second in 270 shards it is one in 3 years.
type ID uint64

// NewID makes an id of 63 bits of a hash and the flag.
func NewID(hash uint64, flagged bool) ID {
	id := ID(hash &^ 1)
	if flagged {
		id |= 1
	}
	return id
}

// Flagged tells whether the entry's flag is set.
func (id ID) Flagged() bool { return id&1 == 1 }

// CopyBits is how many bits tell the copies of an entry apart. Two copies of the 2,000
// a second that an entry had before, say, are taken for one once in 17 years.
const CopyBits = 40

// Group is one group of a merged set. Its slices borrow from the sets that were
// merged and from the merged one: they hold as long as nobody writes to those.
type Group struct {
	Key []byte
	// Count is the number of distinct entries, Flagged how many of them have the
	// flag.
	Count, Flagged int64
	// Copies is the number of distinct copies of them; Count, if they were added
	// without.
	Copies int64
	// Members are the distinct members, in ascending order, MemberSize bytes each, big
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
			var m part
			if dst, m, err = mergeGroup(dst, &x, &y); err != nil {
				break
			}
			if visit != nil && len(m.ids) != len(x.ids) {
				visit(m.group())
			}
			err = errors.Join(x.next(&a), y.next(&b))
		}
		if err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// MergeAll returns the union of encoded sets. It reads each group once, whatever the
// number of sets.
func MergeAll(sets [][]byte) ([]byte, error) {
	size := 0
	heads := make(headHeap, 0, len(sets))
	for _, set := range sets {
		size += len(set)
		h := &head{rest: set}
		if err := h.next(&h.rest); err != nil {
			return nil, err
		}
		if h.ok {
			heads = append(heads, h)
		}
	}
	for i := len(heads)/2 - 1; i >= 0; i-- {
		heads.down(i)
	}
	dst := make([]byte, 0, size)
	var same []part
	var scratch []byte
	for len(heads) > 0 {
		same = same[:0]
		for {
			h := heads[0]
			same = append(same, h.part)
			if err := h.next(&h.rest); err != nil {
				return nil, err
			}
			if !h.ok {
				last := len(heads) - 1
				heads[0] = heads[last]
				heads = heads[:last]
			}
			heads.down(0)
			if len(heads) == 0 || compareKeys(heads[0].order, heads[0].key, same[0].order, same[0].key) != 0 {
				break
			}
		}
		// Groups of one key are merged the smallest first, so that a large one is copied
		// once, and many of a size log2(len(same)) times.
		scratch = scratch[:0]
		for len(same) > 2 {
			x, y := smallestTwo(same)
			if need := len(x.raw) + len(y.raw); need > cap(scratch)-len(scratch) {
				scratch = make([]byte, 0, max(need, 2*cap(scratch))) // what it held is still borrowed
			}
			var err error
			if scratch, *x, err = mergeGroup(scratch, x, y); err != nil {
				return nil, err
			}
			*y = same[len(same)-1]
			same = same[:len(same)-1]
		}
		if len(same) == 1 {
			dst = append(dst, same[0].raw...)
			continue
		}
		var err error
		if dst, _, err = mergeGroup(dst, &same[0], &same[1]); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// smallestTwo returns the smallest two of two groups or more, in bytes.
func smallestTwo(groups []part) (first, second *part) {
	first, second = &groups[0], &groups[1]
	for i := 2; i < len(groups); i++ {
		if len(first.raw) > len(second.raw) {
			first, second = second, first
		}
		if g := &groups[i]; len(g.raw) < len(second.raw) {
			second = g
		}
	}
	return first, second
}

// head is the first group of a set that is not yet merged, and the groups after it.
type head struct {
	part
	rest []byte
}

// headHeap has the group that comes first in the order of a set at its root.
type headHeap []*head

// down puts the element at i in its place below.
func (h headHeap) down(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if compareKeys(h[child].order, h[child].key, h[first].order, h[first].key) < 0 {
				first = child
			}
		}
		if first == i {
			return
		}
		h[i], h[first] = h[first], h[i]
		i = first
	}
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

// Sizes of an encoded id, of a copy, which follows its entry's id, and of a member.
const (
	idSize     = 8
	copySize   = CopyBits / 8
	MemberSize = 4
)

// part is one encoded group; its slices borrow from the set.
type part struct {
	ok       bool
	order    uint64
	raw, key []byte
	ids      []byte // and copies
	size     int    // of each
	members  []byte
	tail
}

// tail is what a group knows of its entries that were added with a value; has says
// that there is one.
type tail struct {
	has         bool
	first, last int64
	lastID      ID
	value       []byte
}

// Flags below the number of ids.
const (
	hasTail = 1 << iota
	hasCopies
	flagBits = iota
)

// sizeOfIDs is the size of ids with the given flags.
func sizeOfIDs(flags uint64) int {
	if flags&hasCopies != 0 {
		return idSize + copySize
	}
	return idSize
}

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
	p.size = sizeOfIDs(n)
	p.ids, s, ok2 = cutElements(s[used:], n>>flagBits, p.size)
	p.members, s, ok3 = cutArray(s, MemberSize)
	if !ok2 || !ok3 || len(p.ids) == 0 {
		return ErrCorrupt
	}
	if n&hasTail != 0 {
		p.has = true
		p.first, s, ok1 = cutVarint(s)
		p.last, s, ok2 = cutVarint(s)
		p.last += p.first
		if !ok1 || !ok2 || len(s) < idSize {
			return ErrCorrupt
		}
		p.lastID, s = ID(binary.BigEndian.Uint64(s)), s[idSize:]
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
	g := Group{Key: p.key, Copies: int64(len(p.ids) / p.size), Members: p.members, First: p.first, Last: p.last, Value: p.value}
	before, distinct := uint64(0), int64(0)
	for ids := p.ids; len(ids) >= p.size; ids = ids[p.size:] {
		id := binary.BigEndian.Uint64(ids)
		if id == before && distinct > 0 {
			continue // a copy
		}
		before = id
		distinct++
		g.Flagged += int64(id & 1)
	}
	g.Count = distinct
	return g
}

// mergeGroup appends the union of two groups of one key and returns it.
func mergeGroup(dst []byte, x, y *part) ([]byte, part, error) {
	if x.size != y.size {
		return nil, part{}, ErrCorrupt
	}
	from := len(dst)
	m := part{ok: true, order: x.order, key: x.key, size: x.size, tail: x.tail.union(y.tail)}
	dst = appendString(dst, x.key)
	flags := 0
	if m.has {
		flags |= hasTail
	}
	if m.size != idSize {
		flags |= hasCopies
	}
	dst, m.ids = appendUnion(dst, x.ids, y.ids, m.size, flagBits, flags)
	dst, m.members = appendUnion(dst, x.members, y.members, MemberSize, 0, 0)
	dst = m.append(dst)
	m.raw = dst[from:len(dst):len(dst)]
	return dst, m, nil
}

func (t tail) union(o tail) tail {
	switch {
	case !o.has:
		return t
	case !t.has:
		return o
	}
	u := t
	if o.last > t.last || (o.last == t.last && o.lastID > t.lastID) {
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
	dst = binary.AppendVarint(dst, t.last-t.first)
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.lastID))
	return appendString(dst, t.value)
}

// appendUnion appends the union of two ascending arrays of elements of a size, of
// members, ids, or ids and copies, after its length, which is shifted and has flags
// added. It returns the elements too.
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
	if len(a) < len(b) {
		a, b = b, a
	}
	few := len(b) < len(a)/manyTimes
	for len(a) > 0 && len(b) > 0 {
		order := compareElements(a, b, size)
		if order < 0 {
			n := size
			if few {
				n = seek(a, b, size)
			}
			dst = append(dst, a[:n]...)
			a = a[n:]
			continue
		}
		if order == 0 {
			a = a[size:]
		}
		dst = append(dst, b[:size]...)
		b = b[size:]
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

// manyTimes is how many times as long as the other an array is that is searched for
// where the other's elements belong.
const manyTimes = 8

// seek returns how many bytes of a are elements less than the first of b. It tries
// steps that double.
func seek(a, b []byte, size int) int {
	n := len(a) / size
	low, high := 0, 1 // elements before low are less; that at high, if there is one, may be
	for high <= n && compareElements(a[(high-1)*size:], b, size) < 0 {
		low, high = high, 2*high
	}
	high = min(high-1, n)
	for low < high { // the first that is not less is in [low, high]
		mid := int(uint(low+high) / 2)
		if compareElements(a[mid*size:], b, size) < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low * size
}

// compareElements compares the first elements of two arrays.
func compareElements(a, b []byte, size int) int {
	if size < 8 {
		return cmp.Compare(binary.BigEndian.Uint32(a), binary.BigEndian.Uint32(b))
	}
	x, y := binary.BigEndian.Uint64(a), binary.BigEndian.Uint64(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return bytes.Compare(a[8:size], b[8:size])
}

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
