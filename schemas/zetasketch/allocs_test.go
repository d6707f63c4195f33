//go:build !race

package zetasketch

import (
	"strconv"
	"testing"
)

// A sketch that is used again allocates nothing. Not under the race detector, which
// has sync.Pool forget things at random.
func TestReuseDoesNotAllocate(t *testing.T) {
	var s Sketch
	ids := make([]string, 300)
	for i := range ids {
		ids[i] = "user-" + strconv.Itoa(i)
	}
	var b []byte
	allocs := testing.AllocsPerRun(100, func() {
		s.Reset()
		for _, id := range ids {
			s.Add(id)
		}
		b, _ = s.AppendBinary(b[:0])
		if err := s.UnmarshalBinary(b); err != nil {
			t.Error(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a sketch that is used again", allocs)
	}
}
