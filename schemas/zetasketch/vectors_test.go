package zetasketch

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// vector is a line of testdata/vectors.jsonl.gz, which testdata/vectors makes
// with Google's Java implementation.
type vector struct {
	// A hash of one of three.
	Hash  string
	Text  *string
	Bytes []byte // or a sketch's
	Int64 *int64
	Int32 *int32

	// A sketch.
	Name      string
	Recipe    *recipe
	Size      int
	SHA256    string
	Estimate  int64
	NumValues int64 `json:"num_values"`

	// A growing sketch: values, size, estimate, the first 4 bytes of the digest.
	Curve  [][4]int64
	Type   string
	Prefix string
	P, SP  int

	// Estimates of made-up states.
	Linear []int
	Limit  int
	Dense  []int64
	Value  byte
}

type recipe struct {
	Type  string
	P, SP int
	Steps []struct {
		Prefix   string
		From, To int
		Texts    []string
		Merge    *recipe
	}
}

var valueTypes = map[string]ValueType{"string": String, "bytes": String, "int64": Uint64, "int32": Uint32}

func eachVector(t *testing.T, f func(v vector)) {
	t.Helper()
	file, err := os.Open("testdata/vectors.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		f(v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if n < 1000 {
		t.Errorf("%d vectors, fewer than the program makes", n)
	}
}

// addValue adds the i-th value of a prefix as testdata/vectors does.
func addValue(s *Sketch, kind, prefix string, i int, buffer []byte) []byte {
	switch kind {
	case "string":
		s.Add(prefix + strconv.Itoa(i))
	case "bytes":
		buffer = strconv.AppendInt(append(buffer[:0], prefix...), int64(i), 10)
		s.AddBytes(buffer)
	case "int64":
		s.AddInt64(int64(i))
	case "int32":
		s.AddHash(fingerprint32(uint32(i)))
	}
	return buffer
}

// follow makes the sketch of a recipe.
func follow(t *testing.T, r *recipe) *Sketch {
	t.Helper()
	s, err := newSketch(valueTypes[r.Type], r.P, r.SP)
	if err != nil {
		t.Fatal(err)
	}
	var buffer []byte
	for _, step := range r.Steps {
		if step.Merge != nil {
			if err := s.Merge(follow(t, step.Merge)); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range step.Texts {
			s.Add(text)
		}
		for i := step.From; i < step.To; i++ {
			buffer = addValue(s, r.Type, step.Prefix, i, buffer)
		}
		for i := step.From; i > step.To; i-- {
			buffer = addValue(s, r.Type, step.Prefix, i, buffer)
		}
	}
	return s
}

func marshal(t testing.TB, s *Sketch) []byte {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHashesOfGoogle(t *testing.T) {
	n := 0
	eachVector(t, func(v vector) {
		if v.Hash == "" {
			return
		}
		n++
		var got uint64
		switch {
		case v.Text != nil:
			got = Fingerprint(*v.Text)
			if b := Fingerprint([]byte(*v.Text)); b != got {
				t.Errorf("%q: as bytes %x, as a string %x", *v.Text, b, got)
			}
		case v.Int64 != nil:
			got = fingerprint64(uint64(*v.Int64))
		case v.Int32 != nil:
			got = fingerprint32(uint32(*v.Int32))
		default:
			got = Fingerprint(v.Bytes)
		}
		if hash := fmt.Sprintf("%016x", got); hash != v.Hash {
			t.Errorf("%+v: hash %s", v, hash)
		}
	})
	if n < 200 {
		t.Errorf("%d hashes", n)
	}
}

func TestSketchesOfGoogle(t *testing.T) {
	n := 0
	eachVector(t, func(v vector) {
		if v.Recipe == nil {
			return
		}
		n++
		s := follow(t, v.Recipe)
		check := func(how string, s *Sketch) {
			got := marshal(t, s)
			digest := sha256.Sum256(got)
			if len(v.Bytes) > 0 && !bytes.Equal(got, v.Bytes) {
				t.Errorf("%s, %s: bytes\n%x, want\n%x", v.Name, how, got, v.Bytes)
			}
			if len(got) != v.Size || hex.EncodeToString(digest[:]) != v.SHA256 {
				t.Errorf("%s, %s: %d bytes of digest %x, want %d of %s", v.Name, how, len(got), digest, v.Size, v.SHA256)
			}
			if e := s.Estimate(); e != v.Estimate {
				t.Errorf("%s, %s: estimate %d, want %d", v.Name, how, e, v.Estimate)
			}
			if s.NumValues() != v.NumValues {
				t.Errorf("%s, %s: %d values, want %d", v.Name, how, s.NumValues(), v.NumValues)
			}
		}
		check("made", s)
		var parsed Sketch
		if err := parsed.UnmarshalBinary(marshal(t, s)); err != nil {
			t.Errorf("%s: %v", v.Name, err)
			return
		}
		check("parsed", &parsed)
	})
	if n < 1000 {
		t.Errorf("%d sketches", n)
	}
}

func TestCurvesOfGoogle(t *testing.T) {
	n := 0
	eachVector(t, func(v vector) {
		if v.Curve == nil {
			return
		}
		n++
		s, err := newSketch(valueTypes[v.Type], v.P, v.SP)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		var buffer []byte
		for _, point := range v.Curve {
			if testing.Short() && point[0] > 200_000 {
				break
			}
			for ; i < int(point[0]); i++ {
				buffer = strconv.AppendInt(append(buffer[:0], v.Prefix...), int64(i), 10)
				s.AddBytes(buffer)
			}
			got := marshal(t, s)
			digest := sha256.Sum256(got)
			found := [4]int64{int64(i), int64(len(got)), s.Estimate(), int64(binary.BigEndian.Uint32(digest[:]))}
			if found != point {
				t.Errorf("p %d, %s: values, size, estimate and digest are %d, want %d", v.P, v.Prefix, found, point)
			}
		}
	})
	if n < 15 {
		t.Errorf("%d curves", n)
	}
}

func TestEstimatesOfGoogle(t *testing.T) {
	n := 0
	eachVector(t, func(v vector) {
		switch {
		case v.Linear != nil:
			n++
			at := 0
			for i := range v.Limit + 1 {
				for at < len(v.Linear) && v.Linear[at] <= i {
					at++
				}
				if got, want := estimateSparse(uint8(v.SP), i), int64(i+at); got != want {
					t.Errorf("sparse precision %d, %d values: %d, want %d", v.SP, i, got, want)
				}
			}
		case v.Dense != nil:
			n++
			registers := make([]byte, 1<<v.P)
			want := int64(0)
			for k, d := range v.Dense {
				if k > 0 {
					registers[k-1] = v.Value
				}
				want += d
				if testing.Short() && k%16 != 0 {
					continue
				}
				if got := estimateDense(uint8(v.P), registers); got != want {
					t.Errorf("precision %d, %d registers of %d: %d, want %d", v.P, k, v.Value, got, want)
				}
			}
		}
	})
	if n != 9 {
		t.Errorf("%d lists", n)
	}
}
