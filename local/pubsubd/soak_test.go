package pubsubd

import (
	"bytes"
	"fmt"
	"maps"
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

// TestBacklogTakesLittleMemory lets 80 MB of messages wait, restarts, and reads
// them all.
func TestBacklogTakesLittleMemory(t *testing.T) {
	const rounds, batch = 50, 1000
	opts := Options{Dir: t.TempDir(), SegmentBytes: 4 << 20, WaitingBytes: 1 << 20}
	s := start(t, opts)
	msgs := make([]Message, batch)
	before := heap()
	for round := range rounds {
		for i := range msgs {
			msgs[i] = entry()
			copy(msgs[i].Data, fmt.Sprintf("%05d", round*batch+i))
		}
		if _, err := s.Publish(testTopic, msgs...); err != nil {
			t.Fatal(err)
		}
	}
	const most = rounds * batch * entryBytes / 3
	if grown := heap() - before; grown > most {
		t.Errorf("the backlog takes %d bytes of memory", grown)
	}
	closeServer(t, s)
	s = start(t, opts)
	if grown := heap() - before; grown > most {
		t.Errorf("after a restart the backlog takes %d bytes of memory", grown)
	}
	_, subs := adminClients(t, s)
	want := entry()
	for n := 0; n < rounds*batch; {
		got := pullOnce(t, subs, batch)
		for _, m := range got {
			copy(want.Data, fmt.Sprintf("%05d", n))
			if !bytes.Equal(m.GetMessage().GetData(), want.Data) || !maps.Equal(m.GetMessage().GetAttributes(), want.Attributes) {
				t.Fatalf("message %d is %.20q...", n, m.GetMessage().GetData())
			}
			n++
		}
		ack(t, subs, got...)
	}
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
