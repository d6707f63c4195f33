package bigqueryd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// appender appends blocks to one table by DuckDB's appender, inside the
// connection's transaction.
type appender struct {
	a     mapping.Appender
	types []mapping.LogicalType
	chunk mapping.DataChunk
	roots []writer
	// numbers points at the stream offsets in the chunk: the first column of a
	// staging table, before the fields. nil for other tables.
	numbers  unsafe.Pointer
	fields   []field
	numbered bool
	n        int // rows in chunk
}

var chunkRows = int(mapping.VectorSize())

func newAppender(c *connection, schema, table string, fields []field, numbered bool) (*appender, error) {
	a := &appender{fields: fields, numbered: numbered}
	if mapping.AppenderCreateExt(c.c, catalogName, schema, table, &a.a) == mapping.StateError {
		err := a.failure()
		mapping.AppenderDestroy(&a.a)
		return nil, err
	}
	columns := uint64(mapping.AppenderColumnCount(a.a))
	for i := range columns {
		a.types = append(a.types, mapping.AppenderColumnType(a.a, mapping.IdxT(i)))
	}
	want := len(fields)
	if numbered {
		want++
	}
	if int(columns) != want {
		a.close()
		return nil, fmt.Errorf("bigqueryd: table %s.%s has %d columns, not %d", schema, table, columns, want)
	}
	a.chunk = mapping.CreateDataChunk(a.types)
	a.reset()
	return a, nil
}

func (a *appender) failure() error {
	data := mapping.AppenderErrorData(a.a)
	defer mapping.DestroyErrorData(&data)
	return errors.New(mapping.ErrorDataMessage(data))
}

// reset prepares the chunk for new rows.
func (a *appender) reset() {
	mapping.DataChunkReset(a.chunk)
	a.n = 0
	a.roots = a.roots[:0]
	first := 0
	if a.numbered {
		a.numbers = mapping.VectorGetData(mapping.DataChunkGetVector(a.chunk, 0))
		first = 1
	}
	for i, f := range a.fields {
		a.roots = append(a.roots, newWriter(f, mapping.DataChunkGetVector(a.chunk, mapping.IdxT(first+i))))
	}
}

// append adds the rows of b; offset is the stream offset of the first. b must
// not be released before flush. The table may have grown since b was made.
func (a *appender) append(b *block, offset int64) error {
	for from := 0; from < b.rows; {
		to := min(b.rows, from+chunkRows-a.n)
		for i := range a.fields {
			var c *column
			if i < len(b.columns) {
				c = b.columns[i]
			}
			if err := a.roots[i].copy(c, from, to, a.n); err != nil {
				return err
			}
		}
		if a.numbered {
			numbers := unsafe.Slice((*int64)(a.numbers), chunkRows)
			for i := range to - from {
				numbers[a.n+i] = offset + int64(from+i)
			}
		}
		a.n += to - from
		from = to
		if a.n == chunkRows {
			if err := a.push(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *appender) push() error {
	mapping.DataChunkSetSize(a.chunk, mapping.IdxT(a.n))
	if mapping.AppendDataChunk(a.a, a.chunk) == mapping.StateError {
		return a.failure()
	}
	a.reset()
	return nil
}

// flush hands all rows to the transaction.
func (a *appender) flush() error {
	if a.n > 0 {
		if err := a.push(); err != nil {
			return err
		}
	}
	if mapping.AppenderFlush(a.a) == mapping.StateError {
		return a.failure()
	}
	return nil
}

// close frees the appender. Rows that were not flushed are dropped.
func (a *appender) close() {
	mapping.AppenderClear(a.a)
	mapping.DestroyDataChunk(&a.chunk)
	for i := range a.types {
		mapping.DestroyLogicalType(&a.types[i])
	}
	mapping.AppenderDestroy(&a.a)
}

// writer writes values of one vector.
type writer struct {
	field    field
	width    int
	vector   mapping.Vector
	data     unsafe.Pointer
	validity unsafe.Pointer // nil until a NULL is written
	children []writer       // fields of a RECORD; those of lists are made anew at each copy
}

func newWriter(f field, v mapping.Vector) writer {
	w := writer{field: f, width: newColumn(f).width, vector: v}
	if f.mode != repeated && f.kind == kindRecord {
		for i, c := range f.fields {
			w.children = append(w.children, newWriter(c, mapping.StructVectorGetChild(v, mapping.IdxT(i))))
		}
		return w
	}
	w.data = mapping.VectorGetData(v)
	return w
}

// copy writes rows from to to of c at row at. A nil c stands for a column that
// the block does not know: NULL, or empty if repeated.
func (w *writer) copy(c *column, from, to, at int) error {
	n := to - from
	if n == 0 {
		return nil
	}
	if w.field.mode == repeated {
		return w.copyList(c, from, to, at)
	}
	if c == nil {
		for i := range n {
			w.setInvalid(at + i)
		}
	} else {
		for i := range n {
			if row := from + i; c.valid[row/64]>>(row%64)&1 == 0 {
				w.setInvalid(at + i)
			}
		}
	}
	if w.field.kind == kindRecord {
		for i := range w.children {
			var child *column
			if c != nil && i < len(c.children) {
				child = c.children[i]
			}
			if err := w.children[i].copy(child, from, to, at); err != nil {
				return err
			}
		}
		return nil
	}
	out := unsafe.Slice((*byte)(w.data), (at+n)*w.width)[at*w.width:]
	if c == nil {
		clear(out)
		return nil
	}
	copy(out, c.data[from*w.width:to*w.width])
	return nil
}

func (w *writer) setInvalid(row int) {
	if w.validity == nil {
		mapping.VectorEnsureValidityWritable(w.vector)
		w.validity = mapping.VectorGetValidity(w.vector)
	}
	word := (*uint64)(unsafe.Add(w.validity, row/64*8))
	*word &^= 1 << (row % 64)
}

func (w *writer) copyList(c *column, from, to, at int) error {
	out := unsafe.Slice((*byte)(w.data), (at+to-from)*16)[at*16:]
	have := int(mapping.ListVectorGetSize(w.vector))
	if c == nil {
		for i := range to - from {
			binary.NativeEndian.PutUint64(out[i*16:], uint64(have))
			binary.NativeEndian.PutUint64(out[i*16+8:], 0)
		}
		return nil
	}
	first, _ := c.entry(from)
	last, length := c.entry(to - 1)
	last += length
	for i := range to - from {
		offset, length := c.entry(from + i)
		binary.NativeEndian.PutUint64(out[i*16:], uint64(have+offset-first))
		binary.NativeEndian.PutUint64(out[i*16+8:], uint64(length))
	}
	if first == last {
		return nil
	}
	size := mapping.IdxT(have + last - first)
	if mapping.ListVectorReserve(w.vector, size) == mapping.StateError ||
		mapping.ListVectorSetSize(w.vector, size) == mapping.StateError {
		return errors.New("bigqueryd: no room for array elements")
	}
	// Growing moves the elements' memory.
	child := newWriter(w.field.element(), mapping.ListVectorGetChild(w.vector))
	child.validity = mapping.VectorGetValidity(child.vector)
	return child.copy(c.children[0], first, last, have)
}
