package bigqueryd

import (
	"fmt"
	"math/big"
	"strings"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// valueType is the type of a result column: what it is in BigQuery and how
// DuckDB stores it.
type valueType struct {
	kind   kind
	duck   mapping.Type
	inner  mapping.Type // stored type of a DECIMAL
	scale  int
	elem   *valueType // of a LIST
	fields []typedColumn
}

type typedColumn struct {
	name string
	typ  *valueType
}

// Values as they are read; NULL is nil, STRING is string, INT64 is int64, FLOAT64
// float64, BOOL bool, BYTES []byte.
type (
	timestampValue int64  // microseconds since the Unix epoch
	datetimeValue  int64  // the same, of a civil time taken as UTC
	dateValue      int32  // days since the Unix epoch
	timeValue      int64  // microseconds since midnight
	numericValue   string // plain decimal, without superfluous zeros
	jsonValue      string // JSON text
	intervalValue  struct {
		months, days int32
		micros       int64
	}
	listValue   []any
	recordValue []any // in the order of the type's fields
)

// typeOf returns the BigQuery form of a DuckDB type.
func typeOf(lt mapping.LogicalType) (*valueType, error) {
	t := &valueType{duck: mapping.GetTypeId(lt)}
	switch t.duck {
	case mapping.TypeBoolean:
		t.kind = kindBool
	case mapping.TypeTinyInt, mapping.TypeSmallInt, mapping.TypeInteger, mapping.TypeBigInt, mapping.TypeHugeInt,
		mapping.TypeUTinyInt, mapping.TypeUSmallInt, mapping.TypeUInteger, mapping.TypeUBigInt, mapping.TypeUHugeInt,
		mapping.TypeSQLNull:
		t.kind = kindInt64 // BigQuery types a bare NULL as INT64
	case mapping.TypeFloat, mapping.TypeDouble:
		t.kind = kindFloat64
	case mapping.TypeVarchar:
		t.kind = kindString
		if mapping.LogicalTypeGetAlias(lt) == "JSON" {
			t.kind = kindJSON
		}
	case mapping.TypeBlob:
		t.kind = kindBytes
	case mapping.TypeTimestampTZ:
		t.kind = kindTimestamp
	case mapping.TypeTimestamp:
		t.kind = kindDatetime
	case mapping.TypeDate:
		t.kind = kindDate
	case mapping.TypeTime:
		t.kind = kindTime
	case mapping.TypeInterval:
		t.kind = kindInterval
	case mapping.TypeDecimal:
		t.scale = int(mapping.DecimalScale(lt))
		t.inner = mapping.DecimalInternalType(lt)
		t.kind = kindNumeric
		if t.scale > 9 {
			t.kind = kindBigNumeric
		}
	case mapping.TypeList:
		child := mapping.ListTypeChildType(lt)
		defer mapping.DestroyLogicalType(&child)
		elem, err := typeOf(child)
		if err != nil {
			return nil, err
		}
		if elem.elem != nil {
			return nil, fmt.Errorf("an array of arrays is no BigQuery type")
		}
		t.kind, t.elem = elem.kind, elem
	case mapping.TypeStruct:
		t.kind = kindRecord
		for i := range uint64(mapping.StructTypeChildCount(lt)) {
			child := mapping.StructTypeChildType(lt, mapping.IdxT(i))
			ct, err := typeOf(child)
			mapping.DestroyLogicalType(&child)
			if err != nil {
				return nil, err
			}
			t.fields = append(t.fields, typedColumn{mapping.StructTypeChildName(lt, mapping.IdxT(i)), ct})
		}
	default:
		return nil, fmt.Errorf("DuckDB type %d has no BigQuery form", t.duck)
	}
	return t, nil
}

// fieldsOf returns the BigQuery schema of result columns.
func fieldsOf(columns []typedColumn) []field {
	out := make([]field, 0, len(columns))
	for _, c := range columns {
		f := field{name: c.name, kind: c.typ.kind}
		inner := c.typ
		if inner.elem != nil {
			f.mode, inner = repeated, inner.elem
		}
		if f.kind == kindRecord {
			f.fields = fieldsOf(inner.fields)
		}
		out = append(out, f)
	}
	return out
}

// result is the complete result of a query.
type result struct {
	res     mapping.Result
	columns []typedColumn
}

func (r *result) close() { mapping.DestroyResult(&r.res) }

// each calls f for every row that was not yet fetched. The row is valid during
// the call; its values stay.
func (r *result) each(f func(row []any) error) error {
	row := make([]any, len(r.columns))
	for {
		chunk := mapping.FetchChunk(r.res)
		if chunk.Ptr == nil {
			return nil
		}
		err := r.chunk(chunk, row, f)
		mapping.DestroyDataChunk(&chunk)
		if err != nil {
			return err
		}
	}
}

func (r *result) chunk(chunk mapping.DataChunk, row []any, f func(row []any) error) error {
	readers := make([]reader, len(r.columns))
	for i, c := range r.columns {
		readers[i] = newReader(c.typ, mapping.DataChunkGetVector(chunk, mapping.IdxT(i)))
	}
	for n := range int(mapping.DataChunkGetSize(chunk)) {
		for i := range readers {
			v, err := readers[i].value(n)
			if err != nil {
				return fmt.Errorf("column %s: %w", r.columns[i].name, err)
			}
			row[i] = v
		}
		if err := f(row); err != nil {
			return err
		}
	}
	return nil
}

// reader reads values of one vector.
type reader struct {
	typ      *valueType
	data     unsafe.Pointer
	validity unsafe.Pointer // nil: all valid
	children []reader
}

func newReader(t *valueType, v mapping.Vector) reader {
	r := reader{typ: t, data: mapping.VectorGetData(v), validity: mapping.VectorGetValidity(v)}
	switch {
	case t.elem != nil:
		r.children = []reader{newReader(t.elem, mapping.ListVectorGetChild(v))}
	case t.duck == mapping.TypeStruct:
		for i, f := range t.fields {
			r.children = append(r.children, newReader(f.typ, mapping.StructVectorGetChild(v, mapping.IdxT(i))))
		}
	}
	return r
}

// at returns element i of an array of T at p.
func at[T any](p unsafe.Pointer, i int) T {
	return *(*T)(unsafe.Add(p, uintptr(i)*unsafe.Sizeof(*new(T))))
}

func (r *reader) value(i int) (any, error) {
	if r.validity != nil && at[uint64](r.validity, i/64)>>(i%64)&1 == 0 {
		if r.typ.elem != nil {
			return listValue{}, nil // BigQuery shows a NULL array as an empty one
		}
		return nil, nil
	}
	switch r.typ.duck {
	case mapping.TypeSQLNull:
		return nil, nil
	case mapping.TypeBoolean:
		return at[uint8](r.data, i) != 0, nil
	case mapping.TypeTinyInt:
		return int64(at[int8](r.data, i)), nil
	case mapping.TypeSmallInt:
		return int64(at[int16](r.data, i)), nil
	case mapping.TypeInteger:
		return int64(at[int32](r.data, i)), nil
	case mapping.TypeBigInt:
		return at[int64](r.data, i), nil
	case mapping.TypeUTinyInt:
		return int64(at[uint8](r.data, i)), nil
	case mapping.TypeUSmallInt:
		return int64(at[uint16](r.data, i)), nil
	case mapping.TypeUInteger:
		return int64(at[uint32](r.data, i)), nil
	case mapping.TypeUBigInt:
		return int64Of(int128{lo: at[uint64](r.data, i)})
	case mapping.TypeHugeInt, mapping.TypeUHugeInt:
		// SUM of BIGINT is a HUGEINT; the top bit of a UHUGEINT overflows anyway.
		return int64Of(at[int128](r.data, i))
	case mapping.TypeFloat:
		return float64(at[float32](r.data, i)), nil
	case mapping.TypeDouble:
		return at[float64](r.data, i), nil
	case mapping.TypeVarchar:
		s := string(bytesAt(r.data, i))
		if r.typ.kind == kindJSON {
			return jsonValue(s), nil
		}
		return s, nil
	case mapping.TypeBlob:
		return append([]byte{}, bytesAt(r.data, i)...), nil
	case mapping.TypeTimestampTZ:
		return timestampValue(at[int64](r.data, i)), nil
	case mapping.TypeTimestamp:
		return datetimeValue(at[int64](r.data, i)), nil
	case mapping.TypeDate:
		return dateValue(at[int32](r.data, i)), nil
	case mapping.TypeTime:
		return timeValue(at[int64](r.data, i)), nil
	case mapping.TypeInterval:
		type stored struct {
			months, days int32
			micros       int64
		}
		return intervalValue(at[stored](r.data, i)), nil
	case mapping.TypeDecimal:
		return r.decimal(i), nil
	case mapping.TypeList:
		entry := at[[2]uint64](r.data, i)
		out := make(listValue, entry[1])
		for n := range out {
			v, err := r.children[0].value(int(entry[0]) + n)
			if err != nil {
				return nil, err
			}
			out[n] = v
		}
		return out, nil
	case mapping.TypeStruct:
		out := make(recordValue, len(r.children))
		for n := range out {
			v, err := r.children[n].value(i)
			if err != nil {
				return nil, err
			}
			out[n] = v
		}
		return out, nil
	}
	return nil, fmt.Errorf("DuckDB type %d has no BigQuery form", r.typ.duck)
}

// bytesAt returns the bytes of DuckDB's string_t number i: a length, then either
// up to 12 bytes, or four bytes of prefix and a pointer. They are valid as long
// as the vector.
func bytesAt(data unsafe.Pointer, i int) []byte {
	s := unsafe.Add(data, i*16)
	n := *(*uint32)(s)
	if n <= 12 {
		return unsafe.Slice((*byte)(unsafe.Add(s, 4)), n)
	}
	return unsafe.Slice(*(**byte)(unsafe.Add(s, 8)), n)
}

// int128 is DuckDB's hugeint: two's complement, low half first.
type int128 struct {
	lo uint64
	hi int64
}

func (v int128) big() *big.Int {
	n := new(big.Int).SetInt64(v.hi)
	n.Lsh(n, 64)
	return n.Add(n, new(big.Int).SetUint64(v.lo))
}

func int64Of(v int128) (any, error) {
	if v.hi == int64(v.lo)>>63 {
		return int64(v.lo), nil
	}
	return nil, fmt.Errorf("int64 overflow: %s", v.big())
}

func (r *reader) decimal(i int) numericValue {
	var n *big.Int
	switch r.typ.inner {
	case mapping.TypeSmallInt:
		n = big.NewInt(int64(at[int16](r.data, i)))
	case mapping.TypeInteger:
		n = big.NewInt(int64(at[int32](r.data, i)))
	case mapping.TypeBigInt:
		n = big.NewInt(at[int64](r.data, i))
	default:
		n = at[int128](r.data, i).big()
	}
	return numericValue(formatDecimal(n, r.typ.scale))
}

// formatDecimal writes n / 10^scale as BigQuery does.
func formatDecimal(n *big.Int, scale int) string {
	digits := new(big.Int).Abs(n).String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	s := digits
	if scale > 0 {
		whole, fraction := digits[:len(digits)-scale], strings.TrimRight(digits[len(digits)-scale:], "0")
		s = whole
		if fraction != "" {
			s += "." + fraction
		}
	}
	if n.Sign() < 0 {
		s = "-" + s
	}
	return s
}
