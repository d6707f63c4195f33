package bigqueryd

/*
#include <stdlib.h>

void bigqueryd_sketch(void *info, void *input, void *output);
*/
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"pixelbeam/schemas/zetasketch"
)

// sketchFunction is a DuckDB function behind one of GoogleSQL's HLL_COUNT
// functions. DuckDB's Go bindings have no aggregate functions of one's own:
// aggregates are functions of list(x).
type sketchFunction struct {
	name   string
	params []*valueType
	result mapping.Type
	// value computes a result from the arguments of a row: int64, []byte or nil.
	value func(args []any) (any, error)
}

func listOf(t mapping.Type) *valueType {
	return &valueType{duck: mapping.TypeList, elem: &valueType{duck: t}}
}

// sketchFunctions are registered in every database. Calls reach them by their
// index.
var sketchFunctions = []sketchFunction{
	{"hll_count_init", []*valueType{listOf(mapping.TypeVarchar), {duck: mapping.TypeBigInt}}, mapping.TypeBlob, initSketch},
	{"hll_count_init", []*valueType{listOf(mapping.TypeBlob), {duck: mapping.TypeBigInt}}, mapping.TypeBlob, initSketch},
	{"hll_count_init", []*valueType{listOf(mapping.TypeBigInt), {duck: mapping.TypeBigInt}}, mapping.TypeBlob, initSketch},
	{"hll_count_merge", []*valueType{listOf(mapping.TypeBlob)}, mapping.TypeBigInt, func(args []any) (any, error) {
		s, err := mergeSketches(args[0])
		if s == nil {
			return int64(0), err
		}
		return s.Estimate(), nil
	}},
	{"hll_count_merge_partial", []*valueType{listOf(mapping.TypeBlob)}, mapping.TypeBlob, func(args []any) (any, error) {
		s, err := mergeSketches(args[0])
		if s == nil {
			return nil, err
		}
		return s.MarshalBinary()
	}},
	{"hll_count_extract", []*valueType{{duck: mapping.TypeBlob}}, mapping.TypeBigInt, func(args []any) (any, error) {
		if args[0] == nil {
			return int64(0), nil
		}
		var s zetasketch.Sketch
		if err := s.UnmarshalBinary(args[0].([]byte)); err != nil {
			return nil, err
		}
		return s.Estimate(), nil
	}},
}

// initSketch is HLL_COUNT.INIT(list, precision): NULL without a value.
func initSketch(args []any) (any, error) {
	p, ok := args[1].(int64)
	if !ok {
		return nil, fmt.Errorf("the precision is NULL")
	}
	s, err := zetasketch.New(zetasketch.Unknown, int(p))
	if err != nil {
		return nil, err
	}
	for _, v := range args[0].(listValue) {
		switch v := v.(type) {
		case string:
			s.Add(v)
		case []byte:
			s.AddBytes(v)
		case int64:
			s.AddInt64(v)
		}
	}
	if s.NumValues() == 0 {
		return nil, nil
	}
	return s.MarshalBinary()
}

// mergeSketches merges those that are not NULL; nil if there is none.
func mergeSketches(list any) (*zetasketch.Sketch, error) {
	var sum *zetasketch.Sketch
	var part zetasketch.Sketch
	for _, v := range list.(listValue) {
		data, ok := v.([]byte)
		if !ok {
			continue
		}
		if sum == nil {
			sum = &zetasketch.Sketch{}
			if err := sum.UnmarshalBinary(data); err != nil {
				return nil, err
			}
			continue
		}
		if err := part.UnmarshalBinary(data); err != nil {
			return nil, err
		}
		if err := sum.Merge(&part); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// registerSketches makes the functions known to the connection's database.
func registerSketches(c *connection) error {
	sets := map[string]mapping.ScalarFunctionSet{}
	for i, f := range sketchFunctions {
		set, ok := sets[f.name]
		if !ok {
			set = mapping.CreateScalarFunctionSet(f.name)
			defer mapping.DestroyScalarFunctionSet(&set)
			sets[f.name] = set
		}
		function := f.create(i)
		state := mapping.AddScalarFunctionToSet(set, function)
		mapping.DestroyScalarFunction(&function)
		if state == mapping.StateError {
			return fmt.Errorf("bigqueryd: DuckDB refused an overload of the function %s", f.name)
		}
	}
	for name, set := range sets {
		if mapping.RegisterScalarFunctionSet(c.c, set) == mapping.StateError {
			return fmt.Errorf("bigqueryd: DuckDB refused the function %s", name)
		}
	}
	return nil
}

// create makes the function with index i.
func (f *sketchFunction) create(i int) mapping.ScalarFunction {
	function := mapping.CreateScalarFunction()
	mapping.ScalarFunctionSetName(function, f.name)
	for _, p := range f.params {
		logical := mapping.CreateLogicalType(p.duck)
		if p.elem != nil {
			mapping.DestroyLogicalType(&logical)
			elem := mapping.CreateLogicalType(p.elem.duck)
			logical = mapping.CreateListType(elem)
			mapping.DestroyLogicalType(&elem)
		}
		mapping.ScalarFunctionAddParameter(function, logical)
		mapping.DestroyLogicalType(&logical)
	}
	result := mapping.CreateLogicalType(f.result)
	mapping.ScalarFunctionSetReturnType(function, result)
	mapping.DestroyLogicalType(&result)
	mapping.ScalarFunctionSetSpecialHandling(function) // NULL is for value to treat
	index := C.malloc(C.size_t(unsafe.Sizeof(C.int(0))))
	*(*C.int)(index) = C.int(i)
	mapping.ScalarFunctionSetExtraInfo(function, index, C.free)
	mapping.ScalarFunctionSetFunction(function, C.bigqueryd_sketch)
	return function
}

//export bigqueryd_sketch
func bigqueryd_sketch(info, input, output unsafe.Pointer) {
	call := mapping.FunctionInfo{Ptr: info}
	f := &sketchFunctions[*(*C.int)(mapping.ScalarFunctionGetExtraInfo(call))]
	if err := f.run(mapping.DataChunk{Ptr: input}, mapping.Vector{Ptr: output}); err != nil {
		mapping.ScalarFunctionSetError(call, err.Error())
	}
}

// run computes the results of a chunk of rows.
func (f *sketchFunction) run(input mapping.DataChunk, output mapping.Vector) error {
	args := make([]any, len(f.params))
	readers := make([]reader, len(f.params))
	for i, p := range f.params {
		readers[i] = newReader(p, mapping.DataChunkGetVector(input, mapping.IdxT(i)))
	}
	for row := range int(mapping.DataChunkGetSize(input)) {
		for i := range readers {
			var err error
			if args[i], err = readers[i].value(row); err != nil {
				return err
			}
		}
		v, err := f.value(args)
		if err != nil {
			return err
		}
		switch v := v.(type) {
		case int64:
			*(*int64)(unsafe.Add(mapping.VectorGetData(output), row*8)) = v
		case []byte:
			mapping.VectorAssignStringElementLen(output, mapping.IdxT(row), v)
		default:
			mapping.VectorEnsureValidityWritable(output)
			mapping.ValiditySetRowInvalid(mapping.VectorGetValidity(output), mapping.IdxT(row))
		}
	}
	return nil
}
