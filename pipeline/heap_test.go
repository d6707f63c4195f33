package pipeline

import (
	"runtime/debug"
	"testing"
)

// A small heap may double; for a large one half of it is enough for garbage.
func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 1 << 20: 100, 256 << 20: 100, 320 << 20: 80, 512 << 20: 50, 1 << 40: 50} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d MiB: GOGC=%d, want %d", live>>20, got, want)
		}
	}
}

// GOGC is as it was when the job has ended, and the environment's holds.
func TestBoundGarbage(t *testing.T) {
	get := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	defer debug.SetGCPercent(debug.SetGCPercent(83))
	t.Setenv("GOGC", "")
	stop := boundGarbage()
	if got := get(); got != mostGC {
		t.Errorf("GOGC=%d, want %d", got, mostGC)
	}
	stop()
	stop()
	if got := get(); got != 83 {
		t.Errorf("GOGC=%d, want the 83 from before", got)
	}
	t.Setenv("GOGC", "83")
	stop = boundGarbage()
	if got := get(); got != 83 {
		t.Errorf("GOGC=%d, want that of the environment, 83", got)
	}
	stop()
}
