package zetasketch

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of AggregatorStateProto, and the values that they have in a sketch.
const (
	fieldType     = 1
	fieldCount    = 2
	fieldVersion  = 3
	fieldKind     = 4
	fieldHLL      = 112
	typeHLL       = 112
	versionHLL    = 2
	sketchMessage = "AggregatorStateProto"
)

// Fields of HyperLogLogPlusUniqueStateProto.
const (
	fieldSparseSize      = 2
	fieldPrecision       = 3
	fieldSparsePrecision = 4
	fieldData            = 5
	fieldSparseData      = 6
	hllMessage           = "HyperLogLogPlusUniqueStateProto"
)

// AppendBinary appends the sketch as BigQuery's HLL_COUNT functions take it, a
// serialized AggregatorStateProto. It returns no error.
func (s *Sketch) AppendBinary(b []byte) ([]byte, error) {
	dense := s.outgrown()
	hll := 2
	if s.prec.sp != 0 {
		hll += 2
	}
	data := len(s.registers)
	if !dense {
		data, _ = s.prec.sizeOf(s.values)
		if len(s.values) > 0 {
			hll += 1 + varintLen(uint64(len(s.values)))
		}
	}
	hll += 1 + varintLen(uint64(data)) + data

	b = slices.Grow(b, hll+32)
	b = append(b, fieldType<<3, typeHLL, fieldCount<<3)
	b = binary.AppendUvarint(b, uint64(s.count))
	b = append(b, fieldVersion<<3, versionHLL)
	if s.kind != Unknown {
		b = append(b, fieldKind<<3, byte(s.kind))
	}
	b = protowire.AppendTag(b, fieldHLL, protowire.BytesType)
	b = binary.AppendUvarint(b, uint64(hll))
	if !dense && len(s.values) > 0 {
		b = append(b, fieldSparseSize<<3)
		b = binary.AppendUvarint(b, uint64(len(s.values)))
	}
	b = append(b, fieldPrecision<<3, s.prec.p)
	if s.prec.sp != 0 {
		b = append(b, fieldSparsePrecision<<3, s.prec.sp)
	}
	if dense {
		b = protowire.AppendTag(b, fieldData, protowire.BytesType)
		b = binary.AppendUvarint(b, uint64(data))
		return append(b, s.registers...), nil
	}
	b = protowire.AppendTag(b, fieldSparseData, protowire.BytesType)
	b = binary.AppendUvarint(b, uint64(data))
	last := uint32(0)
	for _, v := range s.values {
		b = binary.AppendUvarint(b, uint64(v-last))
		last = v
	}
	return b, nil
}

func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// MarshalBinary returns the sketch's bytes (see AppendBinary).
func (s *Sketch) MarshalBinary() ([]byte, error) { return s.AppendBinary(nil) }

// UnmarshalBinary replaces the sketch by the one that was serialized, of which
// nothing is borrowed. It refuses all that is not a sketch: another aggregator or
// version, precisions that BigQuery does not take, registers or sparse values that
// no hash gives, a list that is unsorted or not of the size that is stated. After
// an error the sketch is empty.
func (s *Sketch) UnmarshalBinary(data []byte) error {
	s.init()
	st, err := parseState(data)
	if err == nil {
		err = s.load(st)
	}
	if err != nil {
		s.Reset()
		return fmt.Errorf("zetasketch: not a sketch: %w", err)
	}
	return nil
}

// state is a sketch's message, still unchecked.
type state struct {
	aggregator, count, version, kind uint64
	hasCount, hasHLL                 bool
	sparseSize, p, sp                uint64
	data, sparseData                 []byte
}

func parseState(data []byte) (state, error) {
	st := state{version: 1} // the default of the field
	var inner error
	err := eachField(sketchMessage, data, func(num protowire.Number, v uint64, b []byte, isBytes bool) {
		switch {
		case num == fieldHLL && isBytes:
			st.hasHLL = true
			if err := st.parseHLL(b); err != nil {
				inner = err
			}
		case isBytes:
		case num == fieldType:
			st.aggregator = v
		case num == fieldCount:
			st.count, st.hasCount = v, true
		case num == fieldVersion:
			st.version = v
		case num == fieldKind:
			st.kind = v
		}
	})
	if err == nil {
		err = inner
	}
	return st, err
}

func (st *state) parseHLL(data []byte) error {
	return eachField(hllMessage, data, func(num protowire.Number, v uint64, b []byte, isBytes bool) {
		switch {
		case num == fieldData && isBytes:
			st.data = b
		case num == fieldSparseData && isBytes:
			st.sparseData = b
		case isBytes:
		case num == fieldSparseSize:
			st.sparseSize = v
		case num == fieldPrecision:
			st.p = v
		case num == fieldSparsePrecision:
			st.sp = v
		}
	})
}

// eachField calls f with the varint and length-delimited fields of a message.
func eachField(message string, data []byte, f func(num protowire.Number, v uint64, b []byte, isBytes bool)) error {
	for at := 0; at < len(data); {
		num, wire, n := protowire.ConsumeTag(data[at:])
		if n < 0 {
			return fmt.Errorf("%s, byte %d: %w", message, at, protowire.ParseError(n))
		}
		value := data[at+n:]
		var size int
		switch wire {
		case protowire.VarintType:
			var v uint64
			if v, size = protowire.ConsumeVarint(value); size >= 0 {
				f(num, v, nil, false)
			}
		case protowire.BytesType:
			var b []byte
			if b, size = protowire.ConsumeBytes(value); size >= 0 {
				f(num, 0, b, true)
			}
		default:
			size = protowire.ConsumeFieldValue(num, wire, value)
		}
		if size < 0 {
			return fmt.Errorf("%s, byte %d: field %d: %w", message, at, num, protowire.ParseError(size))
		}
		at += n + size
	}
	return nil
}

// load checks the state and makes the sketch of it.
func (s *Sketch) load(st state) error {
	switch {
	case st.aggregator != typeHLL:
		return fmt.Errorf("the aggregator type is %d, not %d (HYPERLOGLOG_PLUS_UNIQUE)", st.aggregator, typeHLL)
	case st.version != versionHLL:
		return fmt.Errorf("the encoding version is %d, not %d", st.version, versionHLL)
	case !st.hasCount || st.count > math.MaxInt64:
		return fmt.Errorf("num_values is missing or negative")
	case !st.hasHLL:
		return fmt.Errorf("no %s", hllMessage)
	}
	t := ValueType(min(st.kind, math.MaxInt32))
	switch t {
	case Unknown, Uint32, Uint64, String:
	default:
		return fmt.Errorf("%v is none that BigQuery counts", t)
	}
	switch {
	case st.p < MinPrecision || st.p > MaxPrecision:
		return fmt.Errorf("the precision %d is not from %d to %d", st.p, MinPrecision, MaxPrecision)
	case st.sp != 0 && (st.sp < st.p || st.sp > MaxSparsePrecision):
		return fmt.Errorf("the sparse precision %d is not from the precision %d to %d", st.sp, st.p, MaxSparsePrecision)
	case len(st.data) > 0 && len(st.sparseData) > 0:
		return fmt.Errorf("both registers and sparse values")
	case len(st.sparseData) > 0 && st.sp == 0:
		return fmt.Errorf("sparse values without a sparse precision")
	case len(st.sparseData) > 1<<st.p:
		return fmt.Errorf("%d bytes of sparse values, which is more than registers take", len(st.sparseData))
	case len(st.data) > 0 && len(st.data) != 1<<st.p:
		return fmt.Errorf("%d registers, not %d", len(st.data), 1<<st.p)
	case len(st.data) > 0 && st.sparseSize > 0:
		return fmt.Errorf("registers, and a sparse size of %d", st.sparseSize)
	}
	s.set(t, precision{uint8(st.p), uint8(st.sp)})
	if len(st.data) > 0 {
		limit := 65 - s.prec.p
		if i := slices.IndexFunc(st.data, func(r byte) bool { return r > limit }); i >= 0 {
			return fmt.Errorf("register %d is %d, more than %d", i, st.data[i], limit)
		}
		s.registers = append(s.registers[:0], st.data...)
		s.dense = true
	} else if err := s.loadSparse(st.sparseData, st.sparseSize); err != nil {
		return err
	}
	s.count = int64(st.count)
	return nil
}

func (s *Sketch) loadSparse(data []byte, size uint64) error {
	if size > uint64(len(data)) {
		return fmt.Errorf("a sparse size of %d in %d bytes", size, len(data))
	}
	s.values = slices.Grow(s.values, int(size))
	last := uint32(0)
	for len(data) > 0 {
		d, n := binary.Uvarint(data)
		if n <= 0 || d > math.MaxUint32-uint64(last) {
			return fmt.Errorf("sparse value %d: a broken varint", len(s.values))
		}
		v := last + uint32(d)
		if !s.prec.valid(v) {
			return fmt.Errorf("sparse value %d: %#x is none of precisions %d and %d", len(s.values), v, s.prec.p, s.prec.sp)
		}
		if len(s.values) > 0 && (d == 0 || s.prec.same(last, v)) {
			return fmt.Errorf("sparse value %d repeats the one before it", len(s.values))
		}
		s.values = append(s.values, v)
		last = v
		data = data[n:]
	}
	if uint64(len(s.values)) != size {
		return fmt.Errorf("%d sparse values, where the sparse size is %d", len(s.values), size)
	}
	s.sorted = len(s.values)
	return nil
}
