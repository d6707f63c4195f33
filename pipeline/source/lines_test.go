package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func readAll(t *testing.T, r *lineReader) []string {
	t.Helper()
	var lines []line
	for {
		l, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	// Formatted only now: a line must survive the reading of later ones.
	var out []string
	for _, l := range lines {
		if cap(l.data) != len(l.data) {
			t.Errorf("the line at %d has room to append into its neighbour", l.offset)
		}
		out = append(out, fmt.Sprintf("%d:%s", l.offset, l.data))
	}
	return out
}

func TestLineReader(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
	}{
		{"empty", "", nil},
		{"one", "a\n", []string{"0:a"}},
		{"no newline at the end", "a\nbc", []string{"0:a", "2:bc"}},
		{"blank lines and returns stay", "\n\r\n\na", []string{"0:", "1:\r", "3:", "4:a"}},
		{"binary", "\x00\xff\n\x00", []string{"0:\x00\xff", "3:\x00"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, readAll(t, newLineReader(strings.NewReader(test.in), 0))); diff != "" {
				t.Error(diff)
			}
			slow := iotest.OneByteReader(strings.NewReader(test.in))
			if diff := cmp.Diff(test.want, readAll(t, newLineReader(slow, 0))); diff != "" {
				t.Errorf("read byte by byte: %s", diff)
			}
		})
	}
}

func TestLineReaderAcrossSlabs(t *testing.T) {
	// Lengths around the slab size, so that newlines fall on every side of its
	// edges.
	var in bytes.Buffer
	var want []string
	for i, n := range []int{slabSize - 2, 0, 1, slabSize - 1, slabSize, slabSize + 1, 3 * slabSize, 5, 2*slabSize - 7, 100} {
		l := strings.Repeat(string(rune('a'+i)), n)
		want = append(want, fmt.Sprintf("%d:%s", in.Len(), l))
		in.WriteString(l + "\n")
	}
	if diff := cmp.Diff(want, readAll(t, newLineReader(&in, 0))); diff != "" {
		t.Error("lines differ")
	}
}

func TestLineReaderCutsLongLines(t *testing.T) {
	tests := []struct {
		name    string
		length  int
		newline string
		cut     bool
	}{
		{"just fits", maxLine, "\n", false},
		{"one too long", maxLine + 1, "\n", true},
		{"far too long", 3*maxLine + 5, "\n", true},
		{"far too long and last", 3*maxLine + 5, "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := "a\n" + strings.Repeat("x", test.length) + test.newline
			if test.newline != "" {
				text += "b\n"
			}
			r := newLineReader(strings.NewReader(text), 0)
			if _, err := r.next(); err != nil {
				t.Fatal(err)
			}
			l, err := r.next()
			if err != nil {
				t.Fatal(err)
			}
			if l.offset != 2 || l.cut != test.cut || len(l.data) != min(test.length, maxLine) || l.data[len(l.data)-1] != 'x' {
				t.Errorf("got %d bytes at %d, cut %v; want %d at 2, cut %v", len(l.data), l.offset, l.cut, min(test.length, maxLine), test.cut)
			}
			l, err = r.next()
			if test.newline == "" {
				if err != io.EOF {
					t.Errorf("after the end: %v, want io.EOF", err)
				}
				return
			}
			if err != nil || string(l.data) != "b" || l.offset != int64(2+test.length+1) {
				t.Errorf("the next line is %q at %d (%v), want \"b\" at %d", l.data, l.offset, err, 2+test.length+1)
			}
		})
	}
}

func TestLineReaderReturnsTheError(t *testing.T) {
	broken := errors.New("broken")
	r := newLineReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), 0)
	if l, err := r.next(); err != nil || string(l.data) != "a" {
		t.Fatalf("got %q, %v", l.data, err)
	}
	if _, err := r.next(); !errors.Is(err, broken) {
		t.Errorf("error = %v, want %v", err, broken)
	}
}
