package bytescan

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// testSets are the sets in use, and some at the bounds.
var testSets = []struct {
	below  byte
	single string
}{
	{' ', `"\`}, {0, "=&%+"}, {0, "=;%+"}, {0, "a"}, {0x80, "\x7f"}, {1, "\x00\x7f"}, {0x7f, "\x7f"}, {0, "\x0f\x1e\x2d\x3c"},
}

// each calls check for each way to find bytes that this processor has.
func each(check func(name string)) {
	check("selected")
	if useAVX2 {
		useAVX2 = false
		defer func() { useAVX2 = true }()
		check("plain Go")
	}
}

// checkNext compares with a search byte by byte, from every place.
func checkNext(t *testing.T, below byte, single string, data []byte) {
	t.Helper()
	s := NewSet(below, []byte(single)...)
	each(func(name string) {
		var x Index
		// On a used index.
		x.Reset(NewSet(0x80, 'x'), bytes.Repeat([]byte{0xFF}, len(data)+200))
		x.Reset(s, data)
		want := len(data)
		for i := len(data); i >= 0; i-- {
			if i < len(data) && (data[i] < below || data[i] >= 0x80 || bytes.IndexByte([]byte(single), data[i]) >= 0) {
				want = i
			}
			if got := x.Next(i); got != want {
				t.Fatalf("%s, set %#x %q: Next(%d) in %q is %d, want %d", name, below, single, i, data, got, want)
			}
		}
	})
}

func TestNext(t *testing.T) {
	for _, set := range testSets {
		checkNext(t, set.below, set.single, nil)
		// Each byte, at each place of a word at least. What follows the data in
		// memory is in every set.
		for c := range 256 {
			for _, n := range []int{1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 130} {
				memory := bytes.Repeat([]byte{0xFF}, n+64)
				data := memory[:n]
				for i := range data {
					data[i] = 'b'
				}
				data[c*7%n] = byte(c)
				checkNext(t, set.below, set.single, data)
			}
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for n := range 300 {
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(rnd.Uint32())
			}
			checkNext(t, set.below, set.single, data)
		}
	}
}

func TestNewSetRefuses(t *testing.T) {
	for name, make := range map[string]func(){
		"bound":       func() { NewSet(0x81, 'a') },
		"no single":   func() { NewSet(0) },
		"single":      func() { NewSet(0, 0x80) },
		"many single": func() { NewSet(0, []byte("abcde")...) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			make()
		}()
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte("a=b&c=%41+\xff"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, which uint8) {
		set := testSets[int(which)%len(testSets)]
		checkNext(t, set.below, set.single, data)
	})
}

// BenchmarkIndex finds the quotes of an entry's size.
func BenchmarkIndex(b *testing.B) {
	data := bytes.Repeat([]byte(`"requestUrl":"https://pixel.example.com/pixel.gif?cid=7",`), 27)[:1500]
	s := NewSet(' ', '"', '\\')
	each(func(name string) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			var x Index
			for b.Loop() {
				x.Reset(s, data)
				n := 0
				for i := x.Next(0); i < len(data); i = x.Next(i + 1) {
					n++
				}
				if n != bytes.Count(data, []byte{'"'}) {
					b.Fatalf("%d quotes", n)
				}
			}
		})
	})
}
