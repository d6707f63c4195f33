package zetasketch

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// equal compares all but the count of values.
func equal(t *testing.T, what string, a, b *Sketch) {
	t.Helper()
	a.count, b.count = 0, 0
	if !bytes.Equal(marshal(t, a), marshal(t, b)) {
		t.Errorf("%s: bytes differ", what)
	}
	if a.Estimate() != b.Estimate() {
		t.Errorf("%s: estimates %d and %d", what, a.Estimate(), b.Estimate())
	}
}

func clone(t *testing.T, s *Sketch) *Sketch {
	t.Helper()
	c := &Sketch{}
	if err := c.UnmarshalBinary(marshal(t, s)); err != nil {
		t.Fatal(err)
	}
	return c
}

func merged(t *testing.T, sketches ...*Sketch) *Sketch {
	t.Helper()
	m := clone(t, sketches[0])
	for _, s := range sketches[1:] {
		if err := m.Merge(s); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// FuzzMerge makes three sketches of one precision from a seed, of any size around
// the change to registers, and checks that Merge is a union of sets.
func FuzzMerge(f *testing.F) {
	f.Add(uint64(1), uint16(10), uint16(2000), uint16(0), uint8(0))
	f.Add(uint64(2), uint16(300), uint16(380), uint16(370), uint8(0))
	f.Add(uint64(3), uint16(60000), uint16(22000), uint16(23000), uint8(5))
	f.Fuzz(func(t *testing.T, seed uint64, na, nb, nc uint16, p uint8) {
		random := rand.New(rand.NewPCG(seed, 0))
		var all []uint64
		build := func(n uint16) *Sketch {
			s, err := New(String, MinPrecision+int(p%8))
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				h := random.Uint64() >> (seed % 9) // few places too
				all = append(all, h)
				s.AddHash(h)
			}
			return s
		}
		a, b, c := build(na), build(nb), build(nc)
		ab := merged(t, a, b)
		equal(t, "commutative", ab, merged(t, b, a))
		equal(t, "associative", merged(t, ab, c), merged(t, a, merged(t, b, c)))
		equal(t, "idempotent", merged(t, ab, ab, a, b), ab)
		equal(t, "round trip", clone(t, ab), ab)

		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		whole, _ := New(String, a.Precision())
		for i, h := range all {
			whole.AddHash(h)
			if i%5 == 0 {
				whole.AddHash(all[0])
			}
		}
		equal(t, "union", merged(t, a, b, c), whole)
	})
}

// FuzzUnmarshal: what is taken is written back as the same sketch, and merges.
func FuzzUnmarshal(f *testing.F) {
	for _, n := range []int{0, 1, 50, 40000} {
		b, err := users(0, n).MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	small, _ := New(Uint64, 10)
	for i := range 2000 {
		small.AddInt64(int64(i))
	}
	b, _ := small.MarshalBinary()
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Sketch
		if err := s.UnmarshalBinary(data); err != nil {
			return
		}
		if s.Precision() > 16 {
			return // large, and no different
		}
		c := clone(t, &s)
		if !bytes.Equal(marshal(t, c), marshal(t, &s)) || c.Estimate() != s.Estimate() {
			t.Error("a sketch that was written back is another one")
		}
		if s.Estimate() < 0 {
			t.Errorf("estimate %d", s.Estimate())
		}
		for _, p := range []int{10, 15, 16} {
			o, _ := New(s.Type(), p)
			o.AddHash(0x1234567890abcdef)
			if err := o.Merge(&s); err == nil {
				marshal(t, o)
			}
		}
	})
}

// FuzzFingerprint: a string and its bytes have one hash, as have integers.
func FuzzFingerprint(f *testing.F) {
	f.Add("")
	f.Add("a longer text than thirty-two bytes, and another longer than sixty-four")
	f.Fuzz(func(t *testing.T, text string) {
		if Fingerprint(text) != Fingerprint([]byte(text)) || Fingerprint(text) <= 1 {
			t.Errorf("%q: %x and %x", text, Fingerprint(text), Fingerprint([]byte(text)))
		}
		if b := []byte(text); len(b) == 8 && fingerprint64(binary.LittleEndian.Uint64(b)) != Fingerprint(b) {
			t.Errorf("%x", b)
		}
	})
}
