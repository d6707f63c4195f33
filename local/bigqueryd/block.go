package bigqueryd

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"unsafe"
)

// block holds the rows of one append request as columns, in the layout of
// DuckDB's vectors, so that they are appended by copying memory. Texts longer
// than 12 bytes stay in the arena, to which the columns point.
type block struct {
	rows    int
	bytes   int // size of the rows as sent
	columns []*column
	arena   []byte
	pin     runtime.Pinner
	pool    *sync.Pool // where release puts it, for the next request
}

// column is one column of a block, or of the elements of a column.
type column struct {
	field    field
	width    int // bytes of one value; 0 for a RECORD
	n        int // values so far
	data     []byte
	valid    []uint64  // bit set
	children []*column // fields of a RECORD, or the one element of a repeated field
}

func newColumns(fields []field) []*column {
	out := make([]*column, len(fields))
	for i, f := range fields {
		out[i] = newColumn(f)
	}
	return out
}

func newColumn(f field) *column {
	c := &column{field: f, width: 8}
	if f.mode == repeated {
		c.width = 16 // offset and length
		c.children = []*column{newColumn(f.element())}
		return c
	}
	switch f.kind {
	case kindRecord:
		c.width = 0
		c.children = newColumns(f.fields)
	case kindString, kindJSON, kindBytes, kindNumeric:
		c.width = 16
	case kindBool:
		c.width = 1
	case kindDate:
		c.width = 4
	}
	return c
}

// prepare empties the block for rows of size bytes altogether.
func (b *block) prepare(size int) {
	b.rows, b.bytes = 0, size
	for _, c := range b.columns {
		c.reset()
	}
	b.arena = slices.Grow(b.arena[:0], size)
	if size > 0 {
		// DuckDB's vectors will hold pointers into the arena.
		b.pin.Pin(unsafe.SliceData(b.arena))
	}
}

// reset empties the column and keeps its memory.
func (c *column) reset() {
	c.n, c.data, c.valid = 0, c.data[:0], c.valid[:0]
	for _, child := range c.children {
		child.reset()
	}
}

// keep copies row into the arena, which must have room for it.
func (b *block) keep(row []byte) []byte {
	start := len(b.arena)
	b.arena = append(b.arena, row...)
	return b.arena[start:len(b.arena):len(b.arena)]
}

// release ends the use of the block.
func (b *block) release() {
	b.pin.Unpin()
	b.pool.Put(b)
}

// slot makes row the last value of the column, marks it valid and returns its
// bytes. row is n, or n-1 to replace the last value.
func (c *column) slot(row int) []byte {
	if row == c.n {
		c.n++
		need := c.n * c.width
		if need > cap(c.data) {
			c.data = slices.Grow(c.data, max(c.width, len(c.data)))
		}
		c.data = c.data[:need]
		if row%64 == 0 {
			c.valid = append(c.valid, 0)
		}
	}
	c.valid[row/64] |= 1 << (row % 64)
	return c.data[row*c.width : (row+1)*c.width]
}

// setNull makes row, which must be n, NULL; a repeated column becomes empty.
func (c *column) setNull(row int) {
	s := c.slot(row)
	clear(s)
	if c.field.mode == repeated {
		binary.NativeEndian.PutUint64(s, uint64(c.children[0].n))
		return
	}
	c.valid[row/64] &^= 1 << (row % 64)
	for _, child := range c.children {
		child.setNull(row)
	}
}

func (c *column) setInt64(row int, v int64) {
	binary.NativeEndian.PutUint64(c.slot(row), uint64(v))
}

func (c *column) setInt32(row int, v int32) {
	binary.NativeEndian.PutUint32(c.slot(row), uint32(v))
}

func (c *column) setBool(row int, v bool) {
	s := c.slot(row)
	s[0] = 0
	if v {
		s[0] = 1
	}
}

func (c *column) setInt128(row int, v int128) {
	s := c.slot(row)
	binary.NativeEndian.PutUint64(s, v.lo)
	binary.NativeEndian.PutUint64(s[8:], uint64(v.hi))
}

// setBytes stores a DuckDB string_t: see bytesAt. v must lie in the block's
// arena.
func (c *column) setBytes(row int, v []byte) {
	s := c.slot(row)
	clear(s)
	binary.NativeEndian.PutUint32(s, uint32(len(v)))
	copy(s[4:], v[:min(len(v), 12)])
	if len(v) > 12 {
		binary.NativeEndian.PutUint64(s[8:], uint64(uintptr(unsafe.Pointer(unsafe.SliceData(v)))))
	}
}

// addElement makes room for one more element of a repeated column in row and
// returns the element column and the element's position in it.
func (c *column) addElement(row int) (*column, int) {
	child := c.children[0]
	if row == c.n {
		s := c.slot(row)
		binary.NativeEndian.PutUint64(s, uint64(child.n))
		binary.NativeEndian.PutUint64(s[8:], 0)
	}
	s := c.data[row*16+8 : row*16+16]
	binary.NativeEndian.PutUint64(s, binary.NativeEndian.Uint64(s)+1)
	return child, child.n
}

// entry returns offset and length of the elements of row.
func (c *column) entry(row int) (offset, length int) {
	return int(binary.NativeEndian.Uint64(c.data[row*16:])), int(binary.NativeEndian.Uint64(c.data[row*16+8:]))
}
