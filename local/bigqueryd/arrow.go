package bigqueryd

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// arrowType returns the Arrow type of a field, as the service has it:
// https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details
func arrowType(f field) arrow.DataType {
	if f.mode == repeated {
		return arrow.ListOfField(arrowField("item", f.element()))
	}
	switch f.kind {
	case kindInt64:
		return arrow.PrimitiveTypes.Int64
	case kindFloat64:
		return arrow.PrimitiveTypes.Float64
	case kindBool:
		return arrow.FixedWidthTypes.Boolean
	case kindBytes:
		return arrow.BinaryTypes.Binary
	case kindTimestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case kindDatetime:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case kindDate:
		return arrow.FixedWidthTypes.Date32
	case kindNumeric:
		return &arrow.Decimal128Type{Precision: 38, Scale: 9}
	case kindRecord:
		fields := make([]arrow.Field, 0, len(f.fields))
		for _, c := range f.fields {
			fields = append(fields, arrowField(c.name, c))
		}
		return arrow.StructOf(fields...)
	}
	return arrow.BinaryTypes.String // STRING and JSON
}

func arrowField(name string, f field) arrow.Field {
	out := arrow.Field{Name: name, Type: arrowType(f), Nullable: f.mode == nullable}
	// What Arrow has no type for is told by an extension's name.
	extension := map[kind]string{kindDatetime: "google:sqlType:datetime", kindJSON: "google:sqlType:json"}[f.kind]
	if extension != "" && f.mode != repeated {
		out.Metadata = arrow.MetadataFrom(map[string]string{"ARROW:extension:name": extension})
	}
	return out
}

func arrowSchema(fields []field) *arrow.Schema {
	out := make([]arrow.Field, 0, len(fields))
	for _, f := range fields {
		out = append(out, arrowField(f.name, f))
	}
	return arrow.NewSchema(out, nil)
}

// selectFields returns the fields of a table that names select, in the order of the
// table; a field of a RECORD is named with the RECORD's name and a point before it. No
// names select all.
func selectFields(fields []field, names []string) ([]field, error) {
	if len(names) == 0 {
		return fields, nil
	}
	inner := make(map[int][]string)
	whole := make(map[int]bool)
	for _, name := range names {
		head, rest, nested := strings.Cut(name, ".")
		i := fieldIndex(fields, head)
		switch {
		case i < 0:
			return nil, fmt.Errorf("no such field: %s", name)
		case !nested:
			whole[i] = true
		case fields[i].kind != kindRecord:
			return nil, fmt.Errorf("no such field: %s: %s is no RECORD", name, head)
		default:
			inner[i] = append(inner[i], rest)
		}
	}
	var out []field
	for i, f := range fields {
		if !whole[i] {
			if inner[i] == nil {
				continue
			}
			children, err := selectFields(f.fields, inner[i])
			if err != nil {
				return nil, err
			}
			f.fields = children
		}
		out = append(out, f)
	}
	return out, nil
}

// arrowColumn gathers values of DuckDB's vectors in the layout of an Arrow array.
type arrowColumn struct {
	typ      arrow.DataType
	n, nulls int
	valid    []byte // bit set
	data     []byte // values; of texts, their bytes
	offsets  []byte // int32, of texts and lists: where the next one begins
	children []*arrowColumn
	from     []int // of a RECORD: which of DuckDB's fields the children are
}

// newArrowColumn makes the column of a field, from vectors of type t.
func newArrowColumn(f field, t *valueType) (*arrowColumn, error) {
	c := &arrowColumn{typ: arrowType(f)}
	switch {
	case (f.mode == repeated) != (t.elem != nil):
		return nil, fmt.Errorf("column %s: the table and its rows differ in mode", f.name)
	case f.mode == repeated:
		element, err := newArrowColumn(f.element(), t.elem)
		if err != nil {
			return nil, err
		}
		c.children = []*arrowColumn{element}
	case f.kind == kindRecord:
		for _, child := range f.fields {
			at := -1
			for i := range t.fields {
				if strings.EqualFold(t.fields[i].name, child.name) {
					at = i
				}
			}
			if at < 0 {
				return nil, fmt.Errorf("column %s: no field %s in the rows", f.name, child.name)
			}
			column, err := newArrowColumn(child, t.fields[at].typ)
			if err != nil {
				return nil, err
			}
			c.children, c.from = append(c.children, column), append(c.from, at)
		}
	}
	c.reset()
	return c, nil
}

// reset empties the column. What was made of it keeps its memory.
func (c *arrowColumn) reset() {
	c.n, c.nulls, c.valid, c.data, c.offsets = 0, 0, nil, nil, nil
	switch c.typ.ID() {
	case arrow.STRING, arrow.BINARY, arrow.LIST:
		c.offsets = make([]byte, 4)
	}
	for _, child := range c.children {
		child.reset()
	}
}

// bytes is about what the column takes.
func (c *arrowColumn) bytes() int {
	n := len(c.data) + len(c.offsets) + len(c.valid)
	for _, child := range c.children {
		n += child.bytes()
	}
	return n
}

// mark counts a value, and says whether it is NULL.
func (c *arrowColumn) mark(valid bool) {
	if c.n%8 == 0 {
		c.valid = append(c.valid, 0)
	}
	if valid {
		c.valid[c.n/8] |= 1 << (c.n % 8)
	} else {
		c.nulls++
	}
	c.n++
}

// add adds value i of a vector.
func (c *arrowColumn) add(r *reader, i int) error {
	valid := r.validity == nil || at[uint64](r.validity, i/64)>>(i%64)&1 != 0
	if r.typ.elem != nil {
		c.mark(true) // BigQuery has no NULL arrays
		if valid {
			entry := at[[2]uint64](r.data, i)
			for n := range int(entry[1]) {
				if err := c.children[0].add(&r.children[0], int(entry[0])+n); err != nil {
					return err
				}
			}
		}
		return c.end(c.children[0].n)
	}
	c.mark(valid)
	switch id := c.typ.ID(); id {
	case arrow.STRUCT:
		for n, child := range c.children {
			// The fields of a NULL are NULL.
			if err := child.add(&r.children[c.from[n]], i); err != nil {
				return err
			}
		}
	case arrow.STRING, arrow.BINARY:
		if valid {
			c.data = append(c.data, bytesAt(r.data, i)...)
		}
		return c.end(len(c.data))
	case arrow.BOOL:
		if (c.n-1)%8 == 0 {
			c.data = append(c.data, 0)
		}
		if valid && at[uint8](r.data, i) != 0 {
			c.data[(c.n-1)/8] |= 1 << ((c.n - 1) % 8)
		}
	case arrow.DATE32:
		v := uint32(0)
		if valid {
			v = at[uint32](r.data, i)
		}
		c.data = binary.LittleEndian.AppendUint32(c.data, v)
	case arrow.DECIMAL128:
		var v int128
		if valid {
			v = at[int128](r.data, i)
		}
		c.data = binary.LittleEndian.AppendUint64(c.data, v.lo)
		c.data = binary.LittleEndian.AppendUint64(c.data, uint64(v.hi))
	default:
		v := uint64(0)
		if valid {
			v = at[uint64](r.data, i)
		}
		c.data = binary.LittleEndian.AppendUint64(c.data, v)
	}
	return nil
}

// end notes where a text or a list ends.
func (c *arrowColumn) end(at int) error {
	if uint64(at) >= 1<<31 {
		return fmt.Errorf("a batch of rows is too large for Arrow")
	}
	c.offsets = binary.LittleEndian.AppendUint32(c.offsets, uint32(at))
	return nil
}

// array returns what was gathered. The caller must not add to it.
func (c *arrowColumn) array() arrow.ArrayData {
	valid := memory.NewBufferBytes(c.valid)
	var buffers []*memory.Buffer
	var children []arrow.ArrayData
	for _, child := range c.children {
		children = append(children, child.array())
	}
	switch c.typ.ID() {
	case arrow.STRUCT:
		buffers = []*memory.Buffer{valid}
	case arrow.LIST:
		buffers = []*memory.Buffer{valid, memory.NewBufferBytes(c.offsets)}
	case arrow.STRING, arrow.BINARY:
		buffers = []*memory.Buffer{valid, memory.NewBufferBytes(c.offsets), memory.NewBufferBytes(c.data)}
	default:
		buffers = []*memory.Buffer{valid, memory.NewBufferBytes(c.data)}
	}
	return array.NewData(c.typ, c.n, buffers, children, c.nulls, 0)
}

// recordOf returns the batch of columns of n rows.
func recordOf(schema *arrow.Schema, columns []*arrowColumn, n int) arrow.RecordBatch {
	arrays := make([]arrow.Array, len(columns))
	for i, c := range columns {
		data := c.array()
		arrays[i] = array.MakeFromData(data)
		data.Release()
	}
	return array.NewRecordBatch(schema, arrays, int64(n))
}

// arrowReaders are the readers of a chunk's vectors.
func arrowReaders(columns []typedColumn, chunk mapping.DataChunk) []reader {
	readers := make([]reader, len(columns))
	for i, c := range columns {
		readers[i] = newReader(c.typ, mapping.DataChunkGetVector(chunk, mapping.IdxT(i)))
	}
	return readers
}
