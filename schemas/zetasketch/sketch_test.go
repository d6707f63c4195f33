package zetasketch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestZeroSketch(t *testing.T) {
	var s Sketch
	if s.Type() != String || s.Precision() != 15 || s.SparsePrecision() != 20 || s.Estimate() != 0 || s.NumValues() != 0 {
		t.Errorf("the zero sketch is of %v, precisions %d and %d, estimate %d", s.Type(), s.Precision(), s.SparsePrecision(), s.Estimate())
	}
	made, err := New(String, DefaultPrecision)
	if err != nil {
		t.Fatal(err)
	}
	var fresh Sketch
	if !bytes.Equal(marshal(t, &fresh), marshal(t, made)) {
		t.Error("the zero sketch is not the default one")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		t    ValueType
		p    int
		want string
	}{
		{String, 9, "precision 9 is not from 10 to 24"},
		{String, 25, "precision 25 is not from 10 to 24"},
		{4, 15, "value type 4"},
	} {
		if _, err := New(tt.t, tt.p); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%v, %d): %v, want %q", tt.t, tt.p, err, tt.want)
		}
	}
}

func TestAddOfAnotherTypePanics(t *testing.T) {
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "INT64") {
			t.Errorf("panic: %s", got)
		}
	}()
	var s Sketch
	s.AddInt64(1)
}

func TestUnknownTypeBecomesKnown(t *testing.T) {
	s, err := New(Unknown, 15)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := New(Uint64, 15)
	other.AddInt64(1)
	if err := s.Merge(other); err != nil || s.Type() != Uint64 {
		t.Errorf("type %v, error %v", s.Type(), err)
	}
	if !bytes.Equal(marshal(t, s), marshal(t, other)) {
		t.Error("a merge into an empty sketch is not what was merged")
	}
}

func TestMergeRefuses(t *testing.T) {
	sparse := func(kind ValueType, p, sp int) *Sketch {
		s, err := newSketch(kind, p, sp)
		if err != nil {
			t.Fatal(err)
		}
		s.AddHash(1 << 60)
		return s
	}
	for _, tt := range []struct{ a, b *Sketch }{
		{sparse(String, 15, 20), sparse(Uint64, 15, 20)},
		{sparse(String, 12, 22), sparse(String, 15, 20)},
		{sparse(String, 15, 20), sparse(String, 12, 22)},
	} {
		before := marshal(t, tt.a)
		if err := tt.a.Merge(tt.b); !errors.Is(err, ErrIncompatible) {
			t.Errorf("error %v", err)
		}
		if !bytes.Equal(before, marshal(t, tt.a)) {
			t.Error("a refused merge changed the sketch")
		}
	}
	// Registers need no sparse precision.
	a, b := sparse(String, 12, 22), sparse(String, 15, 20)
	b.makeDense()
	if err := a.Merge(b); err != nil || a.Precision() != 12 || a.SparsePrecision() != 20 {
		t.Errorf("precisions %d and %d, error %v", a.Precision(), a.SparsePrecision(), err)
	}
}

func TestMergeWithItself(t *testing.T) {
	for _, n := range []int{0, 5, 40000} {
		s := users(0, n)
		before := s.Estimate()
		if err := s.Merge(s); err != nil || s.Estimate() != before || s.NumValues() != int64(2*n) {
			t.Errorf("%d values: estimate %d and %d, %d values, error %v", n, before, s.Estimate(), s.NumValues(), err)
		}
	}
}

func TestCountDoesNotOverflow(t *testing.T) {
	s, o := &Sketch{count: math.MaxInt64 - 1}, users(0, 5)
	s.prec, s.kind = precision{15, 20}, String
	if err := s.Merge(o); err != nil || s.NumValues() != math.MaxInt64 {
		t.Errorf("%d values, error %v", s.NumValues(), err)
	}
	var parsed Sketch
	if err := parsed.UnmarshalBinary(marshal(t, s)); err != nil || parsed.NumValues() != math.MaxInt64 {
		t.Errorf("%d values, error %v", parsed.NumValues(), err)
	}
}

// users returns a sketch of the users from, ..., to-1.
func users(from, to int) *Sketch {
	s := &Sketch{}
	for i := from; i < to; i++ {
		s.Add("user-" + strconv.Itoa(i))
	}
	return s
}

func TestReuse(t *testing.T) {
	var s Sketch
	for _, n := range []int{3, 40000, 5, 0, 23000, 50000, 1} {
		s.Reset()
		for i := range n {
			s.Add("user-" + strconv.Itoa(i))
		}
		if !bytes.Equal(marshal(t, &s), marshal(t, users(0, n))) {
			t.Errorf("%d values: a sketch that is used again has other bytes", n)
		}
	}
}

// TestDenseIsDecidedBySet builds the one case in which a list can become shorter
// by a value that is added: the value has a larger rho at a place that is there,
// and the difference after it falls below 128.
func TestDenseIsDecidedBySet(t *testing.T) {
	e := precision{10, 15}
	hash := func(index uint32, r uint8) uint64 { return uint64(index)<<(64-10) | 1<<(64-15-r) }
	// Differences of 3 bytes and then 2 bytes each: 128, the least.
	hashes := []uint64{hash(1, 1)}
	limit := 3 << (e.p - 2)
	for size := 3; size <= limit; size += 2 {
		hashes = append(hashes, hash(uint32(2*len(hashes)+1), 1))
	}
	n := len(hashes)
	shorter := hash(uint32(2*(n-2)+1), 2) // 127 before the last
	one, two := &Sketch{}, &Sketch{}
	one.set(String, e)
	two.set(String, e)
	for _, h := range append(slices.Clone(hashes), shorter) {
		one.AddHash(h)
	}
	two.AddHash(shorter)
	for i, h := range hashes {
		two.AddHash(h)
		if i%50 == 0 {
			marshal(t, two)
			two.settle()
		}
	}
	// All but the last hold the list at its longest for a moment.
	three := &Sketch{}
	three.set(String, e)
	for _, h := range hashes {
		three.AddHash(h)
	}
	if !three.outgrown() {
		t.Fatalf("a list of %d bytes is not outgrown", limit)
	}
	three.AddHash(shorter)
	if !bytes.Equal(marshal(t, one), marshal(t, two)) || !bytes.Equal(marshal(t, one), marshal(t, three)) {
		t.Error("the order of values decides the bytes")
	}
	if one.outgrown() {
		t.Error("the list did not become shorter: the case is not built")
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{2, 64, 65, 500, 9000, 22500, 23000, 23500, 24000, 40000} {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = "visitor " + strconv.Itoa(i)
		}
		var want []byte
		for range 4 {
			random.Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			var s Sketch
			for i, id := range ids {
				s.Add(id)
				if i == n/3 {
					s.Estimate() // settles
				}
			}
			got := marshal(t, &s)
			if want == nil {
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d values in another order have other bytes", n)
			}
		}
	}
}

func TestSortValues(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, radixMin - 1, radixMin, 2047, 2048, 9000} {
		for _, width := range []int{16, 22, 31} {
			values := make([]uint32, n)
			for i := range values {
				values[i] = random.Uint32N(1 << width)
			}
			want := slices.Clone(values)
			slices.Sort(want)
			sortValues(values, width)
			if !slices.Equal(values, want) {
				t.Errorf("%d values of %d bits are not sorted", n, width)
			}
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	good := marshal(t, users(0, 3))
	dense := marshal(t, users(0, 40000))
	change := func(b []byte, at int, to ...byte) []byte {
		b = slices.Clone(b)
		copy(b[at:], to)
		return b
	}
	hll := bytes.Index(good, []byte{0x82, 0x07}) + 3
	values := func(count int, vs ...uint32) []byte {
		var data []byte
		last := uint32(0)
		for _, v := range vs {
			data = binary.AppendUvarint(data, uint64(v-last))
			last = v
		}
		body := append([]byte{fieldSparseSize << 3, byte(count), fieldPrecision << 3, 15, fieldSparsePrecision << 3, 20, fieldSparseData<<3 | 2, byte(len(data))}, data...)
		return append(append(slices.Clone(good[:hll-1]), byte(len(body))), body...)
	}
	flag := precision{15, 20}.flag()
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "aggregator type is 0"},
		{"text", []byte("sketch"), "AggregatorStateProto, byte"},
		{"cut short", good[:len(good)-1], "byte 8: field 112: unexpected EOF"},
		{"another aggregator", change(good, 1, 100), "aggregator type is 100"},
		{"another version", change(good, 5, 1), "encoding version is 1"},
		{"another type", change(good, 7, 4), "value type 4"},
		{"precision 9", change(good, hll+3, 9), "precision 9 is not from 10 to 24"},
		{"sparse precision 14", change(good, hll+5, 14), "sparse precision 14"},
		{"sparse precision 26", change(good, hll+5, 26), "sparse precision 26"},
		{"no sparse precision", change(good, hll+5, 0), "without a sparse precision"},
		{"size 2 of 3", change(good, hll+1, 2), "3 sparse values, where the sparse size is 2"},
		{"size 100", change(good, hll+1, 100), "a sparse size of 100 in 9 bytes"},
		{"registers of another precision", change(dense, bytes.Index(dense, []byte{0x18, 15})+1, 16), "32768 registers, not 65536"},
		{"a register too large", change(dense, len(dense)-1, 51), "register 32767 is 51, more than 50"},
		{"equal values", values(2, 33, 33), "repeats"},
		{"two rho of one place", values(2, flag|64|1, flag|64|2), "repeats"},
		{"a place that needs rho", values(1, 32), "0x20 is none"},
		{"rho 0", values(1, flag|64), "is none"},
		{"rho 46", values(1, flag|64|46), "is none"},
		{"beyond all", values(1, flag<<1|1), "is none"},
		{"above the places", values(1, 1<<20|1), "is none"},
	} {
		s := users(0, 10)
		err := s.UnmarshalBinary(tt.data)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if s.Estimate() != 0 || s.NumValues() != 0 {
			t.Errorf("%s: the sketch is not empty after an error", tt.name)
		}
	}
	for _, b := range [][]byte{good, dense, values(1, flag|64|45), append(slices.Clone(good), 0xa0, 0x6, 5)} {
		if err := (&Sketch{}).UnmarshalBinary(b); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestNeverSparse(t *testing.T) {
	s, err := newSketch(String, 12, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		s.Add(strconv.Itoa(i))
	}
	var parsed Sketch
	if err := parsed.UnmarshalBinary(marshal(t, s)); err != nil || parsed.Estimate() != s.Estimate() || parsed.SparsePrecision() != 0 {
		t.Errorf("estimate %d, want %d; error %v", parsed.Estimate(), s.Estimate(), err)
	}
	sum := users(0, 500)
	if err := sum.Merge(s); err != nil || sum.SparsePrecision() != 0 || sum.Precision() != 12 {
		t.Errorf("precisions %d and %d, error %v", sum.Precision(), sum.SparsePrecision(), err)
	}
}

func TestBiasTables(t *testing.T) {
	tables := biasTables()
	for p := biasMin; p <= biasMax; p++ {
		if n := len(tables[p].estimate); n < 180 {
			t.Errorf("precision %d: %d points", p, n)
		}
	}
	for _, text := range []string{"15\t1\n", "9\t1\t2\n", "x\t1\t2\n", "15\tx\t2\n", "15\t1\tx\n"} {
		if _, err := parseBias(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// relativeError is the estimate's, of n users named by a run, in percent.
func relativeError(n int, run string, s *Sketch, buffer []byte) (float64, []byte) {
	s.Reset()
	for i := range n {
		buffer = strconv.AppendInt(append(buffer[:0], run...), int64(i), 10)
		s.AddBytes(buffer)
	}
	return 100 * (float64(s.Estimate()) - float64(n)) / float64(n), buffer
}

// TestReachError compares estimates with the exact numbers, and prints the table:
// go test -run TestReachError -v ./schemas/zetasketch
func TestReachError(t *testing.T) {
	standard := 104 / math.Sqrt(1<<15) // percent
	var s Sketch
	var buffer []byte
	t.Logf("%10s %5s %10s %10s %10s", "users", "runs", "mean %", "rms %", "worst %")
	for _, tt := range []struct {
		n, runs int
		rms     float64 // at most
	}{
		{1_000, 100, 0.1}, {3_000, 100, 0.1}, {10_000, 100, 0.2}, {12_500, 100, 2 * standard}, {30_000, 50, 2 * standard},
		{100_000, 30, 2 * standard}, {300_000, 10, 2 * standard}, {1_000_000, 10, 2 * standard}, {3_000_000, 4, 2 * standard}, {10_000_000, 3, 2 * standard},
	} {
		if testing.Short() && tt.n*tt.runs > 1_000_000 {
			continue
		}
		var mean, square, worst, e float64
		for run := range tt.runs {
			e, buffer = relativeError(tt.n, fmt.Sprintf("run %d user ", run), &s, buffer)
			mean += e / float64(tt.runs)
			square += e * e / float64(tt.runs)
			worst = max(worst, math.Abs(e))
		}
		rms := math.Sqrt(square)
		t.Logf("%10d %5d %10.3f %10.3f %10.3f", tt.n, tt.runs, mean, rms, worst)
		if rms > tt.rms {
			t.Errorf("%d users: root mean square error %.3f %%, more than %.3f", tt.n, rms, tt.rms)
		}
	}
}

// A sketch of sparse values has the bytes of one of the hashes that they were made of,
// whether it is sparse or dense, where a register is found by 15 bits or by 20.
func TestSparseValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	for _, n := range []int{0, 1, 100, 10_000, 300_000} {
		var want, got Sketch
		seen := map[uint32]bool{}
		for i := range n {
			hash := rng.Uint64()
			switch i % 4 {
			case 1:
				hash &= 1<<44 - 1<<rng.IntN(44) | 0xff<<56 // low bits of the index are 0, rho is large
			case 2:
				hash &= 7 << 44
			}
			if i < 3 {
				hash = []uint64{0, 1 << 44, 1<<64 - 1}[i]
			}
			v := SparseValue(hash)
			if v == 0 {
				t.Fatalf("the sparse value of %#x is 0", hash)
			}
			want.AddHash(hash)
			if seen[v] {
				continue // that one has said all that this says
			}
			seen[v] = true
			if err := got.AddSparseValue(v); err != nil {
				t.Fatal(err)
			}
		}
		if got.NumValues() != int64(len(seen)) {
			t.Errorf("%d values were added, not %d", got.NumValues(), len(seen))
		}
		got.count = want.count
		a, err := want.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := got.MarshalBinary(); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%d values: %d bytes, want the %d of hashes (%v)", n, len(b), len(a), err)
		}
	}
	if err := new(Sketch).AddSparseValue(0); err == nil {
		t.Error("0 is no sparse value: no error")
	}
	if err := new(Sketch).AddSparseValue(math.MaxUint32); err == nil {
		t.Error("no error of a value with too many bits")
	}
	other, err := New(String, 14)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.AddSparseValue(1); err == nil {
		t.Error("no error of another precision")
	}
}
