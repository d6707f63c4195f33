package pipeline

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// Of a runner in this process the state of open windows is most of the heap. It has no
// pointers, so collecting garbage costs the same however much there is of it, and need
// not wait until the heap has doubled, as Go's default GOGC=100 has it.
const (
	// heapSlack is how much garbage there may be in any case, in bytes.
	heapSlack = 256 << 20
	// Garbage may be from leastGC to mostGC percent of what is alive. Less than that
	// saves little and takes more than a tenth of a microsecond an entry.
	leastGC, mostGC = 50, 100
	heapInterval    = time.Second
)

// gcPercent is the GOGC for live bytes of heap.
func gcPercent(live uint64) int {
	return int(min(mostGC, max(leastGC, heapSlack*100/max(1, live))))
}

// boundGarbage sets GOGC by the size of the heap until it is told to stop, unless the
// environment sets it.
func boundGarbage() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(mostGC)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		tick := time.NewTicker(heapInterval)
		defer tick.Stop()
		for present := mostGC; ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			metrics.Read(live)
			// Setting it stops the program for a moment.
			if p := gcPercent(live[0].Value.Uint64()); p > present+present/8 || p < present-present/8 {
				debug.SetGCPercent(p)
				present = p
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
		debug.SetGCPercent(before)
	})
}
