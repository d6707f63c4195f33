package distinct

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// ID identifies an entry: 127 bits of a hash of (insertId, event time), and one
// flag, which every copy of an entry carries alike.
type ID [16]byte

// NewID makes an id of a 128-bit hash, of which the lowest bit gives way to the
// flag.
func NewID(high, low uint64, flagged bool) ID {
	var id ID
	binary.BigEndian.PutUint64(id[:8], high)
	low &^= 1
	if flagged {
		low |= 1
	}
	binary.BigEndian.PutUint64(id[8:], low)
	return id
}

// Hash returns 64 bits of the id.
func (id ID) Hash() uint64 { return binary.BigEndian.Uint64(id[:8]) }

// Flagged tells whether the entry's flag is set.
func (id ID) Flagged() bool { return id[15]&1 == 1 }

// Builder collects the entries of one bundle, shard and window. The zero value
// is an empty builder. It is not safe for concurrent use.
type Builder struct {
	groups map[string]*group
}

type group struct {
	ids         []ID
	members     []uint64
	first, last int64
	lastID      ID
	value       []byte
}

// Add puts an entry, with its event time in microseconds since the Unix epoch,
// into the group of a key. The group keeps the value of its last entry, by event
// time and then by id. Key and value are copied.
func (b *Builder) Add(key []byte, id ID, at int64, value []byte) {
	b.add(key, id, at, value)
}

// AddMember is Add, and puts a member into the group: a hash, other than 0, of
// whom the entry is of. All copies of an entry have the same member. 0 is none.
func (b *Builder) AddMember(key []byte, id ID, member uint64, at int64, value []byte) {
	g := b.add(key, id, at, value)
	if member != 0 {
		g.members = append(g.members, member)
	}
}

func (b *Builder) add(key []byte, id ID, at int64, value []byte) *group {
	if b.groups == nil {
		b.groups = make(map[string]*group)
	}
	g := b.groups[string(key)]
	if g == nil {
		g = &group{first: at, last: at, lastID: id, value: bytes.Clone(value)}
		b.groups[string(key)] = g
	} else {
		g.first = min(g.first, at)
		if later(at, id, g.last, g.lastID) {
			g.last, g.lastID = at, id
			g.value = append(g.value[:0], value...)
		}
	}
	g.ids = append(g.ids, id)
	return g
}

// Empty tells whether nothing was added.
func (b *Builder) Empty() bool { return len(b.groups) == 0 }

// Append appends the encoded set to dst.
func (b *Builder) Append(dst []byte) []byte {
	keys := make([]string, 0, len(b.groups))
	for key := range b.groups {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, strings.Compare)
	for _, key := range keys {
		g := b.groups[key]
		slices.SortFunc(g.ids, compareIDs)
		g.ids = slices.Compact(g.ids)
		dst = appendString(dst, []byte(key))
		dst = binary.AppendUvarint(dst, uint64(len(g.ids)))
		for i := range g.ids {
			dst = append(dst, g.ids[i][:]...)
		}
		slices.Sort(g.members)
		g.members = slices.Compact(g.members)
		dst = binary.AppendUvarint(dst, uint64(len(g.members)))
		for _, m := range g.members {
			dst = binary.BigEndian.AppendUint64(dst, m)
		}
		dst = appendTail(dst, g.first, g.last, g.lastID[:], g.value)
	}
	return dst
}

// Group is one group of a merged set. Its slices are valid during the call of
// the visitor only.
type Group struct {
	Key []byte
	// Count is the number of distinct entries, Flagged how many of them have the
	// flag.
	Count, Flagged int64
	// Members are the distinct members, in ascending order, 8 bytes each, big
	// endian.
	Members []byte
	// First and Last are event times in microseconds since the Unix epoch; Value
	// is the value of the last entry.
	First, Last int64
	Value       []byte
}

// ErrCorrupt says that bytes are not an encoded set.
var ErrCorrupt = errors.New("distinct: corrupt set")

// Merge appends to dst the union of two encoded sets, and calls visit, in order
// of key, for every group of the union that differs from the group of the same
// key in a: what set b restates. visit may be nil.
func Merge(dst, a, b []byte, visit func(Group)) ([]byte, error) {
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
			order = bytes.Compare(x.key, y.key)
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
	if len(sets) == 0 {
		return nil, nil
	}
	sets = slices.Clone(sets)
	for len(sets) > 1 {
		half := sets[:0]
		for i := 0; i < len(sets); i += 2 {
			if i+1 == len(sets) {
				half = append(half, sets[i])
				break
			}
			merged, err := Merge(make([]byte, 0, len(sets[i])+len(sets[i+1])), sets[i], sets[i+1], nil)
			if err != nil {
				return nil, err
			}
			half = append(half, merged)
		}
		sets = half
	}
	// A round validates what it merges; a single set still has to be read.
	return Merge(make([]byte, 0, len(sets[0])), nil, sets[0], nil)
}

// neighbours returns the groups of an encoded set whose key begins with the same
// field as that of one of changed, which are in order of key. A field is encoded
// with its length first, so such keys are next to each other.
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
		first, ok1 := firstField(p.key)
		of, ok2 := firstField(changed[0].Key)
		if !ok1 || !ok2 {
			return nil, ErrCorrupt
		}
		for len(changed) > 0 && bytes.Compare(of, first) < 0 {
			if changed = changed[1:]; len(changed) > 0 {
				if of, ok2 = firstField(changed[0].Key); !ok2 {
					return nil, ErrCorrupt
				}
			}
		}
		if len(changed) > 0 && bytes.Equal(of, first) {
			g := p.group()
			g.Key, g.Value, g.Members = bytes.Clone(g.Key), bytes.Clone(g.Value), bytes.Clone(g.Members)
			out = append(out, g)
		}
	}
}

// firstField returns the first field of a key with its length.
func firstField(key []byte) ([]byte, bool) {
	_, rest, ok := CutField(key)
	return key[:len(key)-len(rest)], ok
}

// Sizes of an encoded id and of a member.
const (
	idSize     = 16
	memberSize = 8
)

// part is one encoded group; its slices borrow from the set.
type part struct {
	ok                   bool
	raw, key, ids, value []byte
	members              []byte
	first, last          int64
	lastID               []byte
}

// next reads the group at the head of set and moves set past it.
func (p *part) next(set *[]byte) error {
	s := *set
	if len(s) == 0 {
		*p = part{}
		return nil
	}
	var ok [6]bool
	p.key, s, ok[0] = cutString(s)
	p.ids, s, ok[1] = cutArray(s, idSize)
	p.members, s, ok[2] = cutArray(s, memberSize)
	p.first, s, ok[3] = cutVarint(s)
	p.last, s, ok[4] = cutVarint(s)
	if ok != [6]bool{true, true, true, true, true, false} || len(p.ids) == 0 || len(s) < idSize {
		return ErrCorrupt
	}
	p.lastID, s = s[:idSize], s[idSize:]
	p.value, s, ok[5] = cutString(s)
	if !ok[5] {
		return ErrCorrupt
	}
	p.raw, p.ok = (*set)[:len(*set)-len(s)], true
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
	m := part{key: x.key, first: min(x.first, y.first), last: x.last, lastID: x.lastID, value: x.value}
	if y.last > x.last || (y.last == x.last && bytes.Compare(y.lastID, x.lastID) > 0) {
		m.last, m.lastID, m.value = y.last, y.lastID, y.value
	}
	dst = appendString(dst, x.key)
	dst, m.ids = appendUnion(dst, x.ids, y.ids, idSize)
	dst, m.members = appendUnion(dst, x.members, y.members, memberSize)
	if visit != nil && len(m.ids) != len(x.ids) {
		visit(m.group())
	}
	return appendTail(dst, m.first, m.last, m.lastID, m.value)
}

// appendUnion appends the union of two ascending arrays of elements of a size,
// after its length, and returns the elements too.
func appendUnion(dst, a, b []byte, size int) (all, union []byte) {
	// The length comes before the elements, and is known after them.
	n := unionSize(a, b, size)
	dst = binary.AppendUvarint(dst, uint64(n))
	start := len(dst)
	for len(a) > 0 && len(b) > 0 {
		c := bytes.Compare(a[:size], b[:size])
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
	if n == 0 {
		return dst, nil
	}
	return dst, dst[start:]
}

func unionSize(a, b []byte, size int) int {
	n := 0
	for len(a) > 0 && len(b) > 0 {
		c := bytes.Compare(a[:size], b[:size])
		if c <= 0 {
			a = a[size:]
		}
		if c >= 0 {
			b = b[size:]
		}
		n++
	}
	return n + (len(a)+len(b))/size
}

func later(at int64, id ID, last int64, lastID ID) bool {
	return at > last || (at == last && compareIDs(id, lastID) > 0)
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }

func appendTail(dst []byte, first, last int64, lastID, value []byte) []byte {
	dst = binary.AppendVarint(dst, first)
	dst = binary.AppendVarint(dst, last)
	dst = append(dst, lastID...)
	return appendString(dst, value)
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
	if used <= 0 || n > uint64(len(s)-used)/uint64(size) {
		return nil, nil, false
	}
	if n == 0 {
		return nil, s[used:], true
	}
	end := used + int(n)*size
	return s[used:end:end], s[end:], true
}

func cutVarint(s []byte) (v int64, rest []byte, ok bool) {
	v, size := binary.Varint(s)
	if size <= 0 {
		return 0, nil, false
	}
	return v, s[size:], true
}
