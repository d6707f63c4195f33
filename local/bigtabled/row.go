package bigtabled

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"unsafe"
)

// change is what one or more writes do to a row. Changes compose: merge of an
// older and a newer one is again a change, and it does not matter in which groups
// a sequence of them is merged. So a write needs no read, and the store may merge
// changes whenever it likes. A row is a change that nothing is older than.
type change struct {
	clear     bool       // deletes all that is older
	deletions []deletion // of what is older; sorted by compareDeletions, no repeats
	columns   []column   // sorted by family and qualifier, no repeats
}

// deletion deletes cells of older changes: a whole family, or those of a column
// with start <= timestamp < end, in microseconds; end 0 is infinity.
type deletion struct {
	family     uint32
	whole      bool
	qualifier  []byte
	start, end int64
}

// column is what a change has in one column.
type column struct {
	family    uint32
	qualifier []byte
	// floor, if above 0, deletes the older changes' cells with a lower timestamp;
	// it is how families of one version get rid of what a write replaces.
	floor int64
	cells []cell // newest timestamp first, no repeats
}

type cell struct {
	micros int64
	value  []byte
}

func compareColumns(a, b column) int {
	return cmp.Or(cmp.Compare(a.family, b.family), bytes.Compare(a.qualifier, b.qualifier))
}

func compareDeletions(a, b deletion) int {
	if a.family != b.family {
		return cmp.Compare(a.family, b.family)
	}
	if a.whole != b.whole { // the whole family comes first
		if a.whole {
			return -1
		}
		return 1
	}
	return cmp.Or(bytes.Compare(a.qualifier, b.qualifier), cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
}

// memory is where cells and columns of changes lie that are decoded or merged. It
// may serve again when none of them is needed any more.
type memory struct {
	cells   []cell
	columns []column
}

// takeCells returns an empty slice with room for n.
func (m *memory) takeCells(n int) []cell {
	m.cells = room(m.cells, n)
	at := len(m.cells)
	m.cells = m.cells[:at+n]
	return m.cells[at : at : at+n]
}

// takeColumns returns an empty slice with room for n.
func (m *memory) takeColumns(n int) []column {
	m.columns = room(m.columns, n)
	at := len(m.columns)
	m.columns = m.columns[:at+n]
	return m.columns[at : at : at+n]
}

// room returns s if it has room for n more, else an empty slice that has, and for
// more to come. What was taken of s stays with whom it was given to.
func room[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return make([]T, 0, max(n, min(2*cap(s), 1024), 8))
}

// reset makes the memory serve again. It keeps no pointers, for they may be into
// memory of the store.
func (m *memory) reset() {
	clear(m.cells)
	clear(m.columns)
	m.cells, m.columns = m.cells[:0], m.columns[:0]
}

// size is about how many bytes the memory has.
func (m *memory) size() int {
	return cap(m.cells)*int(unsafe.Sizeof(cell{})) + cap(m.columns)*int(unsafe.Sizeof(column{}))
}

// merge returns what older and then newer do. The result shares their memory, and
// takes more of m.
func merge(older, newer change, m *memory) change {
	if newer.clear {
		return newer
	}
	out := change{clear: older.clear}
	switch {
	case out.clear:
		// All that deletions are about is gone.
	case len(older.deletions) == 0:
		out.deletions = newer.deletions
	case len(newer.deletions) == 0:
		out.deletions = older.deletions
	default:
		out.deletions = slices.Concat(older.deletions, newer.deletions)
		slices.SortFunc(out.deletions, compareDeletions)
		out.deletions = slices.CompactFunc(out.deletions, func(a, b deletion) bool { return compareDeletions(a, b) == 0 })
	}
	a, b := older.columns, newer.columns
	out.columns = m.takeColumns(len(a) + len(b))
	for len(a) > 0 || len(b) > 0 {
		order := -1
		switch {
		case len(a) == 0:
			order = 1
		case len(b) > 0:
			order = compareColumns(a[0], b[0])
		}
		if order > 0 {
			out.columns = append(out.columns, b[0])
			b = b[1:]
			continue
		}
		col := a[0]
		a = a[1:]
		col.cells = newer.survivors(col)
		if order == 0 {
			if floor := b[0].floor; floor > 0 {
				col.cells = col.cells[:from(col.cells, floor)]
				col.floor = max(col.floor, floor)
			}
			col.cells = mergeCells(col.cells, b[0].cells, m)
			b = b[1:]
		}
		if len(col.cells) > 0 || col.floor > 0 {
			out.columns = append(out.columns, col)
		}
	}
	return out
}

// from returns how many cells have a timestamp of at least micros.
func from(cells []cell, micros int64) int {
	return sort.Search(len(cells), func(i int) bool { return cells[i].micros < micros })
}

// survivors returns the cells of an older column that c's deletions leave. It does
// not change them.
func (c change) survivors(col column) []cell {
	if len(c.deletions) == 0 {
		return col.cells
	}
	i, _ := slices.BinarySearchFunc(c.deletions, col.family, func(d deletion, family uint32) int { return cmp.Compare(d.family, family) })
	rest := c.deletions[i:]
	if len(rest) == 0 || rest[0].family != col.family {
		return col.cells
	}
	if rest[0].whole {
		return nil
	}
	i, _ = slices.BinarySearchFunc(rest, col, func(d deletion, col column) int {
		return cmp.Or(cmp.Compare(d.family, col.family), bytes.Compare(d.qualifier, col.qualifier))
	})
	cells := col.cells
	for _, d := range rest[i:] {
		if d.family != col.family || !bytes.Equal(d.qualifier, col.qualifier) {
			break
		}
		first, last := 0, from(cells, d.start)
		if d.end > 0 {
			first = from(cells, d.end)
		}
		if first < last {
			cells = slices.Concat(cells[:first], cells[last:])
		}
	}
	return cells
}

func mergeCells(older, newer []cell, m *memory) []cell {
	if len(older) == 0 {
		return newer
	}
	if len(newer) == 0 {
		return older
	}
	out := m.takeCells(len(older) + len(newer))
	for len(older) > 0 && len(newer) > 0 {
		switch {
		case newer[0].micros >= older[0].micros:
			if newer[0].micros == older[0].micros {
				older = older[1:]
			}
			out = append(out, newer[0])
			newer = newer[1:]
		default:
			out = append(out, older[0])
			older = older[1:]
		}
	}
	return append(append(out, older...), newer...)
}

// mergeAll merges changes, oldest first, in time that grows little faster than
// their size, however many they are. It overwrites the slice.
func mergeAll(changes []change, m *memory) change {
	if len(changes) == 0 {
		return change{}
	}
	for len(changes) > 1 {
		half := changes[:0]
		for i := 0; i < len(changes); i += 2 {
			if i+1 == len(changes) {
				half = append(half, changes[i])
				break
			}
			half = append(half, merge(changes[i], changes[i+1], m))
		}
		changes = half
	}
	return changes[0]
}

// row returns what c makes of an empty row.
func (c change) row(m *memory) change {
	out := change{columns: m.takeColumns(len(c.columns))}
	for _, col := range c.columns {
		if len(col.cells) > 0 {
			col.floor = 0
			out.columns = append(out.columns, col)
		}
	}
	return out
}

// The encoding of a change: one byte, 1 if it clears; the number of deletions;
// for each the family, doubled, plus 1 if it is of a column, and then qualifier,
// start and end; for each column the family times 4 plus the kind of its floor,
// the qualifier, the floor if its kind says so, the number of cells, and for each
// timestamp and value. Numbers are varints, byte strings have their length first.
const (
	floorNone   = 0
	floorNewest = 1 // the timestamp of the first cell
	floorGiven  = 2
)

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func (c change) append(dst []byte) []byte {
	first := byte(0)
	if c.clear {
		first = 1
	}
	dst = append(dst, first)
	dst = binary.AppendUvarint(dst, uint64(len(c.deletions)))
	for _, d := range c.deletions {
		if d.whole {
			dst = binary.AppendUvarint(dst, uint64(d.family)<<1)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(d.family)<<1|1)
		dst = appendBytes(dst, d.qualifier)
		dst = binary.AppendUvarint(dst, uint64(d.start))
		dst = binary.AppendUvarint(dst, uint64(d.end))
	}
	for _, col := range c.columns {
		kind := uint64(floorNone)
		switch {
		case col.floor == 0:
		case len(col.cells) > 0 && col.cells[0].micros == col.floor:
			kind = floorNewest
		default:
			kind = floorGiven
		}
		dst = binary.AppendUvarint(dst, uint64(col.family)<<2|kind)
		dst = appendBytes(dst, col.qualifier)
		if kind == floorGiven {
			dst = binary.AppendUvarint(dst, uint64(col.floor))
		}
		dst = binary.AppendUvarint(dst, uint64(len(col.cells)))
		for _, cell := range col.cells {
			dst = binary.AppendUvarint(dst, uint64(cell.micros))
			dst = appendBytes(dst, cell.value)
		}
	}
	return dst
}

var errDamaged = errors.New("bigtabled: damaged row")

// decoder reads an encoding. Past its end or after an error it gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// count reads the number of what follows, each of which takes a byte or more.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

// decode borrows from b, and takes of m.
func decode(b []byte, m *memory) (change, error) {
	var c change
	if len(b) == 0 || b[0] > 1 {
		return c, errDamaged
	}
	c.clear = b[0] == 1
	d := decoder{b: b[1:]}
	if n := d.count(); n > 0 {
		c.deletions = make([]deletion, n)
		for i := range c.deletions {
			v := d.uvarint()
			del := deletion{family: uint32(v >> 1), whole: v&1 == 0}
			if !del.whole {
				del.qualifier = d.bytes()
				del.start, del.end = int64(d.uvarint()), int64(d.uvarint())
			}
			c.deletions[i] = del
		}
	}
	first := len(m.columns)
	for len(d.b) > 0 {
		v := d.uvarint()
		col := column{family: uint32(v >> 2), qualifier: d.bytes()}
		kind := v & 3
		if kind == floorGiven {
			col.floor = int64(d.uvarint())
		}
		n := d.count()
		col.cells = m.takeCells(n)
		for range n {
			col.cells = append(col.cells, cell{micros: int64(d.uvarint()), value: d.bytes()})
		}
		if kind == floorNewest {
			if n == 0 {
				return c, errDamaged
			}
			col.floor = col.cells[0].micros
		}
		m.columns = append(m.columns, col)
	}
	c.columns = m.columns[first:len(m.columns):len(m.columns)]
	if d.bad {
		return c, errDamaged
	}
	return c, nil
}
