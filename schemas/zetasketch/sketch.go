package zetasketch

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Precisions of the zero Sketch, which are BigQuery's defaults.
const (
	DefaultPrecision       = 15
	DefaultSparsePrecision = 20
)

// Precisions that BigQuery takes. The sparse one is the precision plus 5, and
// MaxSparsePrecision at most, in the sketches that BigQuery makes.
const (
	MinPrecision       = 10
	MaxPrecision       = 24
	MaxSparsePrecision = 25
)

// ValueType is what was counted, by the number that the format gives it
// (DefaultOpsType.Id in aggregator.proto).
type ValueType int32

// The value types that sketches have.
const (
	Unknown ValueType = 0  // nothing was added yet
	Uint32  ValueType = 7  // a 32-bit integer, in sketches that were not made by BigQuery
	Uint64  ValueType = 8  // INT64
	String  ValueType = 11 // STRING and BYTES
)

// String returns the name of the SQL type.
func (t ValueType) String() string {
	switch t {
	case Unknown:
		return "unknown"
	case Uint32:
		return "UINT32"
	case Uint64:
		return "INT64"
	case String:
		return "STRING or BYTES"
	}
	return fmt.Sprintf("value type %d", int32(t))
}

// ErrIncompatible is what Merge returns for sketches that cannot be merged.
var ErrIncompatible = errors.New("zetasketch: sketches cannot be merged")

// Sketch counts distinct values. Its zero value is empty, of type String and of
// BigQuery's default precisions. A Sketch is for one goroutine at a time, also for
// reading: AppendBinary and Estimate put its values in order. Reset keeps its
// memory: one Sketch can make any number of serialized ones without allocating.
type Sketch struct {
	prec  precision // p is 0 in the zero value
	kind  ValueType
	count int64

	// Of a sparse sketch: values[:sorted] are distinct and sorted.
	values []uint32
	sorted int

	// Of a dense sketch, and memory to reuse otherwise: 1<<p registers.
	dense     bool
	registers []byte
}

// New returns an empty sketch for values of type t, with a precision from
// MinPrecision to MaxPrecision and the sparse precision that BigQuery gives it.
func New(t ValueType, p int) (*Sketch, error) {
	return newSketch(t, p, min(p+5, MaxSparsePrecision))
}

func newSketch(t ValueType, p, sp int) (*Sketch, error) {
	switch t {
	case Unknown, Uint32, Uint64, String:
	default:
		return nil, fmt.Errorf("zetasketch: %v is none that a sketch counts", t)
	}
	if p < MinPrecision || p > MaxPrecision {
		return nil, fmt.Errorf("zetasketch: precision %d is not from %d to %d", p, MinPrecision, MaxPrecision)
	}
	if sp != 0 && (sp < p || sp > MaxSparsePrecision) {
		return nil, fmt.Errorf("zetasketch: sparse precision %d is not from the precision %d to %d", sp, p, MaxSparsePrecision)
	}
	s := &Sketch{}
	s.set(t, precision{uint8(p), uint8(sp)})
	return s, nil
}

// set makes the sketch empty, and what its arguments say.
func (s *Sketch) set(t ValueType, prec precision) {
	s.kind, s.prec, s.count = t, prec, 0
	s.values, s.sorted, s.dense = s.values[:0], 0, false
	if prec.sp == 0 {
		s.makeDense()
	}
}

func (s *Sketch) init() {
	if s.prec.p == 0 {
		s.set(String, defaults)
	}
}

// Reset empties the sketch. Its type, precisions and memory stay.
func (s *Sketch) Reset() {
	s.init()
	s.set(s.kind, s.prec)
}

// Type returns what the sketch counts.
func (s *Sketch) Type() ValueType {
	s.init()
	return s.kind
}

// Precision returns the precision p: registers are 1<<p.
func (s *Sketch) Precision() int {
	s.init()
	return int(s.prec.p)
}

// SparsePrecision returns the precision while the sketch is a list, and 0 of a
// sketch that never is one.
func (s *Sketch) SparsePrecision() int {
	s.init()
	return int(s.prec.sp)
}

// NumValues returns how many values were added, repeated ones included. It is part
// of the bytes, and of no estimate.
func (s *Sketch) NumValues() int64 { return s.count }

// Add adds a STRING value, which BigQuery hashes by its UTF-8 bytes. Like AddBytes
// and AddInt64 it panics if the sketch is of another type.
//
// Sketches to which the same set was added, in any order, have the same bytes, but
// for NumValues: a sketch becomes dense in AppendBinary, where its list takes more
// than 3/4 of the bytes of the registers, and before only where the list of any set
// that holds its values would.
func (s *Sketch) Add(value string) {
	s.expect(String)
	s.AddHash(Fingerprint(value))
}

// AddBytes is Add for a value in a slice, which is not kept: a STRING or BYTES.
func (s *Sketch) AddBytes(value []byte) {
	s.expect(String)
	s.AddHash(Fingerprint(value))
}

// AddInt64 adds an INT64 value.
func (s *Sketch) AddInt64(value int64) {
	s.expect(Uint64)
	s.AddHash(fingerprint64(uint64(value)))
}

func (s *Sketch) expect(t ValueType) {
	s.init()
	if s.kind != t {
		if s.kind != Unknown {
			panic(fmt.Sprintf("zetasketch: a value of type %v was added to a sketch of %v", t, s.kind))
		}
		s.kind = t
	}
}

// AddHash adds a value by its Fingerprint.
func (s *Sketch) AddHash(hash uint64) {
	s.init()
	s.count = sum(s.count, 1)
	if s.dense {
		s.raise(s.prec.register(hash))
		return
	}
	s.insert(s.prec.sparse(hash))
}

// SparseValue returns all that a sketch of DefaultPrecision, sparse or not, keeps of a
// value with the given Fingerprint; it is not 0.
func SparseValue(hash uint64) uint32 { return defaults.sparse(hash) }

// AddSparseValue adds a value by its SparseValue, to a sketch of DefaultPrecision. The
// bytes are those that AddHash makes; NumValues counts what was added. The error says
// that v is no such value, or the sketch of another precision.
func (s *Sketch) AddSparseValue(v uint32) error {
	s.init()
	if s.prec != defaults {
		return fmt.Errorf("zetasketch: a sketch of precisions %d and %d takes no sparse value of %d and %d",
			s.prec.p, s.prec.sp, defaults.p, defaults.sp)
	}
	if !s.prec.valid(v) {
		return fmt.Errorf("zetasketch: %#x is no sparse value", v)
	}
	s.count = sum(s.count, 1)
	if s.dense {
		s.raise(s.prec.decode(v))
	} else {
		s.insert(v)
	}
	return nil
}

// defaults are the precisions of the zero Sketch.
var defaults = precision{DefaultPrecision, DefaultSparsePrecision}

// sum adds without overflow: counts of merged sketches can be anything.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// raise makes a register at least r.
func (s *Sketch) raise(register uint32, r uint8) {
	if s.registers[register] < r {
		s.registers[register] = r
	}
}

// minTail is how many values at least are kept unsorted.
const minTail = 64

// insert adds a sparse value of the sketch's own precisions to a sparse sketch.
func (s *Sketch) insert(v uint32) {
	n := len(s.values)
	if n > 0 && s.values[n-1] == v {
		return
	}
	s.values = append(s.values, v)
	if tail := n + 1 - s.sorted; tail > minTail && tail > min(s.sorted, 1<<s.prec.p/4) {
		s.settle()
	}
}

// settle sorts the values and makes the sketch dense if that cannot be avoided.
func (s *Sketch) settle() {
	if s.sorted == len(s.values) {
		return
	}
	sortValues(s.values, int(max(s.prec.sp, s.prec.p+rhoBits))+1)
	n := 0
	for _, v := range s.values {
		if n > 0 && s.prec.same(s.values[n-1], v) {
			n-- // sorted, so v has the larger rho
		}
		s.values[n] = v
		n++
	}
	s.values, s.sorted = s.values[:n], n
	if size, withRho := s.size(); size-withRho > s.limit() {
		// No set that holds these values is smaller: a further value adds a byte
		// or more, and a larger rho moves a value by less than 64, which
		// takes a byte from the difference after it at most.
		s.makeDense()
	}
}

// limit is how many bytes a list of values may take: 3/4 of what registers take. So
// does zetasketch 0.1.0, which is released; its repository, since 2022, makes a
// list of exactly this size dense. BigQuery reads both.
func (s *Sketch) limit() int { return 3 << (s.prec.p - 2) }

// size returns the bytes that the sorted values take, and how many have a rho. It
// returns 0 for lists that are too short to reach the limit at 5 bytes a value.
func (s *Sketch) size() (bytes, withRho int) {
	if 5*len(s.values) < s.limit() {
		return 0, 0
	}
	return s.prec.sizeOf(s.values)
}

// makeDense turns the list into registers.
func (s *Sketch) makeDense() {
	if s.dense {
		return
	}
	s.fill()
	s.dense = true
	s.values, s.sorted = s.values[:0], 0
}

// fill sets the registers from the list.
func (s *Sketch) fill() {
	m := 1 << s.prec.p
	s.registers = slices.Grow(s.registers[:0], m)[:m]
	clear(s.registers)
	for _, v := range s.values {
		s.raise(s.prec.decode(v))
	}
}

// outgrown settles the sketch and reports whether its bytes are those of
// registers, which are filled then.
func (s *Sketch) outgrown() bool {
	s.init()
	if !s.dense {
		s.settle()
	}
	if s.dense {
		return true
	}
	if size, _ := s.size(); size <= s.limit() {
		return false
	}
	s.fill()
	return true
}

// Estimate returns the number of distinct values, as BigQuery's HLL_COUNT.EXTRACT
// does of the sketch's bytes. The standard error is 1.04/sqrt(1<<p), and far less
// while the sketch is sparse.
func (s *Sketch) Estimate() int64 {
	if s.outgrown() {
		return estimateDense(s.prec.p, s.registers)
	}
	return estimateSparse(s.prec.sp, len(s.values))
}

// Merge adds what was added to o, which stays as it is. If precisions differ the
// result has the lower ones; as in ZetaSketch, two sparse sketches of which one has
// the lower precision and the other the lower sparse precision cannot be merged,
// nor can sketches of different types: then the error is ErrIncompatible, and s is
// as it was.
//
// The bytes are those of the union of the sets, in whatever order sketches are
// merged, while all of them are lists. Registers stay registers: where one part was
// serialized with a list of a byte too many, and a value of the union takes a byte
// from it (see settle), Add alone would have stayed a list.
func (s *Sketch) Merge(o *Sketch) error {
	s.init()
	o.init()
	if s.kind != o.kind && s.kind != Unknown && o.kind != Unknown {
		return fmt.Errorf("%w: one is of %v, the other of %v", ErrIncompatible, s.kind, o.kind)
	}
	to := precision{min(s.prec.p, o.prec.p), min(s.prec.sp, o.prec.sp)}
	if !s.dense && !o.dense && to != s.prec && to != o.prec {
		return fmt.Errorf("%w: precisions %d and %d, sparse precisions %d and %d",
			ErrIncompatible, s.prec.p, o.prec.p, s.prec.sp, o.prec.sp)
	}
	s.count = sum(s.count, o.count)
	if s == o {
		return nil
	}
	if s.kind == Unknown {
		s.kind = o.kind
	}
	if o.dense {
		s.makeDense()
	}
	s.downgrade(to)
	if o.dense {
		s.mergeRegisters(o)
		return nil
	}
	for _, v := range o.values {
		switch {
		case s.dense:
			register, r := o.prec.decode(v)
			s.raise(downgradeRegister(o.prec.p, register, r, s.prec.p))
		case o.prec == s.prec:
			s.insert(v)
		default:
			s.insert(o.prec.downgradeSparse(v, s.prec))
		}
	}
	return nil
}

func (s *Sketch) mergeRegisters(o *Sketch) {
	if s.prec.p == o.prec.p {
		to := s.registers
		for i, r := range o.registers[:len(to)] {
			to[i] = max(to[i], r)
		}
		return
	}
	for i, r := range o.registers {
		s.raise(downgradeRegister(o.prec.p, uint32(i), r, s.prec.p))
	}
}

// downgrade lowers the precisions. A sparse sketch may become dense by it.
func (s *Sketch) downgrade(to precision) {
	from := s.prec
	if from == to {
		return
	}
	s.prec = to
	if !s.dense {
		for i, v := range s.values {
			s.values[i] = from.downgradeSparse(v, to)
		}
		s.sorted = 0
		s.settle()
		return
	}
	if from.p == to.p {
		return
	}
	// In place: a register's new place is not after its old one.
	for i, r := range s.registers {
		register, r := downgradeRegister(from.p, uint32(i), r, to.p)
		if i&(1<<(from.p-to.p)-1) == 0 {
			s.registers[register] = 0
		}
		s.raise(register, r)
	}
	s.registers = s.registers[:1<<to.p]
}
