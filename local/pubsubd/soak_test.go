package pubsubd

import (
	"os"
	"runtime"
	"testing"
)

// TestNothingGrows passes 80 MB of messages through a server whose segments are 4
// MB, and looks at what is left in memory and on disk.
func TestNothingGrows(t *testing.T) {
	const rounds, batch, segmentBytes = 50, 1000, 4 << 20
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, SegmentBytes: segmentBytes})
	_, subs := adminClients(t, s)
	msgs := make([]Message, batch)
	for i := range msgs {
		msgs[i] = entry()
	}
	round := func() {
		if _, err := s.Publish(testTopic, msgs...); err != nil {
			t.Fatal(err)
		}
		for left := batch; left > 0; {
			got := pullOnce(t, subs, batch)
			ack(t, subs, got...)
			left -= len(got)
		}
	}
	round() // buffers grow to their size
	before := heap()
	for range rounds {
		round()
	}
	if grown := heap() - before; grown > rounds*batch*entryBytes/10 {
		t.Errorf("memory has grown by %d bytes", grown)
	}
	waitFor(t, func() bool { return diskBytes(t, dir) <= 2*segmentBytes })
	wantStats(t, s, Stats{Published: (rounds + 1) * batch, Acked: (rounds + 1) * batch})
}

// heap returns the bytes in use after garbage collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools keep lives one collection longer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func diskBytes(t *testing.T, dir string) (total int64) {
	t.Helper()
	for _, name := range segmentsIn(t, dir) {
		if info, err := os.Stat(name); err == nil { // else trimmed meanwhile
			total += info.Size()
		}
	}
	return total
}
