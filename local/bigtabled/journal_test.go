package bigtabled

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/google/go-cmp/cmp"

	"pixelbeam/schemas"
)

// TestTornTail cuts or spoils the log's last record in every way that the end of
// a process or a disk can: the records before it must be there, and the server
// must take new ones.
func TestTornTail(t *testing.T) {
	s, table := profiles(t, Options{})
	for _, key := range []string{"a", "b"} {
		if err := table.Apply(t.Context(), key, set("l", "os", now, "Android")); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Stats().LogBytes
	whole := dump(t, table)
	if err := table.Apply(t.Context(), "last", set("l", "os", now, "Android")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(s.opts.Dir, logName(1)))
	if err != nil {
		t.Fatal(err)
	}
	spoilt := func(at int, b byte) []byte {
		out := slices.Clone(log)
		out[at] ^= b
		return out
	}
	tests := map[string][]byte{
		"a byte short":       log[:len(log)-1],
		"header only":        log[:before+headerLen],
		"half a header":      log[:before+3],
		"wrong byte":         spoilt(len(log)-1, 1),
		"absurd length":      spoilt(int(before)+3, 0xff),
		"wrong checksum":     spoilt(int(before)+5, 1),
		"zeros":              append(slices.Clone(log[:before]), make([]byte, 4096)...),
		"zeros short of one": append(slices.Clone(log[:before]), make([]byte, headerLen)...),
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, logName(1)), content, 0o644); err != nil {
				t.Fatal(err)
			}
			s := start(t, Options{Dir: dir})
			if got, want := s.Stats().TornBytes, int64(len(content))-before; got != want {
				t.Errorf("TornBytes = %d, want %d", got, want)
			}
			table := open(t, s.Addr(), "profiles")
			if diff := cmp.Diff(whole, dump(t, table)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if err := table.Apply(t.Context(), "new", set("l", "os", now, "Android")); err != nil {
				t.Fatal(err)
			}
			s = restart(t, s)
			if got := s.Stats().TornBytes; got != 0 {
				t.Errorf("TornBytes after another restart = %d, want 0", got)
			}
			if got := dump(t, open(t, s.Addr(), "profiles")); len(got) != 3 {
				t.Errorf("rows after another restart: %q, want 3", got)
			}
		})
	}
	t.Run("empty file", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, logName(1)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		ensure(t, restart(t, start(t, Options{Dir: dir})))
	})
}

// TestDamage: what no torn write explains is not passed over in silence.
func TestDamage(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string // in the error
	}{
		{"foreign file", map[string]string{logName(1): strings.Repeat("what is this? ", 10)}, "the file starts with"},
		{"missing log", map[string]string{snapshotName(2): fileMagic, logName(2): fileMagic, logName(4): fileMagic}, logName(3) + " is missing"},
		{"cut snapshot", map[string]string{snapshotName(2): fileMagic + "abc", logName(2): fileMagic}, errTorn.Error()},
		{"cut log before the last", map[string]string{logName(1): fileMagic + "abc", logName(2): fileMagic}, errTorn.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Start("127.0.0.1:0", Options{Dir: dir})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start = %v, want an error with %q", err, test.want)
			}
		})
	}
}

// TestInterruptedCompaction starts from the states that a kill can leave behind
// while a log is being compacted.
func TestInterruptedCompaction(t *testing.T) {
	// The history: log 1, compacted to snapshot 2, log 2.
	s, table := profiles(t, Options{})
	for i := range 20 {
		if err := table.Apply(t.Context(), fmt.Sprint("user", i), set("c", "n", now, "old")); err != nil {
			t.Fatal(err)
		}
	}
	log1 := read(t, s, logName(1))
	if err := s.compactNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := table.Apply(t.Context(), "user3", set("c", "n", now, "new")); err != nil {
		t.Fatal(err)
	}
	want := dump(t, table)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	log2, snapshot2 := read(t, s, logName(2)), read(t, s, snapshotName(2))

	tests := []struct {
		name  string
		files map[string]string
	}{
		{"the next log has begun", map[string]string{logName(1): log1, logName(2): log2}},
		{"the snapshot is half written", map[string]string{logName(1): log1, logName(2): log2, snapshotName(2) + temporary: snapshot2[:100]}},
		{"the snapshot is there, the log not yet removed", map[string]string{logName(1): log1, logName(2): log2, snapshotName(2): snapshot2}},
		{"two snapshots", map[string]string{snapshotName(1): log1, logName(1): log1, logName(2): log2, snapshotName(2): snapshot2}},
		{"done", map[string]string{logName(2): log2, snapshotName(2): snapshot2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s := start(t, Options{Dir: dir})
			// The same once more, after whatever the start tidied up.
			for range 2 {
				if diff := cmp.Diff(want, dump(t, open(t, s.Addr(), "profiles"))); diff != "" {
					t.Fatalf("rows (-want +got):\n%s", diff)
				}
				s = restart(t, s)
			}
		})
	}
}

func read(t *testing.T, s *Server, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.opts.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestCompaction rewrites the same rows from several clients until the log was
// compacted several times, and compares what a restart brings back.
func TestCompaction(t *testing.T) {
	const compactBytes = 100 << 10
	s, table := profiles(t, Options{CompactBytes: compactBytes})
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for n := int64(1); s.Stats().Compactions < 5; n++ {
				var keys []string
				var muts []*bigtable.Mutation
				for i := range 50 {
					m := set("c", "n", now, fmt.Sprint(n))
					m.Set("l", "last_seen", bigtable.Timestamp((now+n)*1000), fmt.Append(nil, n))
					m.Set("f", "first_seen", bigtable.Timestamp(schemas.FirstVersion(now+n)*1000), fmt.Append(nil, n))
					if i == 0 {
						m.DeleteRow()
						m.Set("c", fmt.Sprint(n), bigtable.Timestamp(now*1000), nil)
					}
					keys, muts = append(keys, fmt.Sprintf("%d-%02d", w, i)), append(muts, m)
				}
				if errs, err := table.ApplyBulk(t.Context(), keys, muts); err != nil || errs != nil {
					t.Error(errs, err)
					return
				}
			}
		})
	}
	writers.Wait()
	// Older versions than a family keeps may go at any time.
	newest := bigtable.RowFilter(bigtable.LatestNFilter(1))
	want := dump(t, table, newest)
	if err := s.Stats().CompactError; err != nil {
		t.Error(err)
	}
	s = restart(t, s)
	if diff := cmp.Diff(want, dump(t, open(t, s.Addr(), "profiles"), newest)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	// A log grows by what comes during a compaction, but not without end.
	if got := size(t, s.opts.Dir); got > 20*compactBytes {
		t.Errorf("%d bytes on disk for %d cells", got, len(want))
	}
}

// TestVersions: a family of one version holds the newest, in whatever order
// writes come; steady rewriting leaves no older ones behind, even unread.
func TestVersions(t *testing.T) {
	s, table := profiles(t, Options{})
	apply := func(m *bigtable.Mutation) {
		t.Helper()
		if err := table.Apply(t.Context(), "k", m); err != nil {
			t.Fatal(err)
		}
	}
	line := func(column string, millis int64, value string) string {
		return fmt.Sprintf("k %s@%d=%q", column, millis, value)
	}
	for n := range int64(10) {
		apply(set("l", "os", now+n, fmt.Sprint(n)))
		apply(set("c", "n", now+n, fmt.Sprint(n)))
		// First values: the later the event, the older the version.
		apply(set("f", "first_seen", schemas.FirstVersion(now+n), fmt.Sprint(n)))
	}
	got := dump(t, table)
	if n := len(got); n != 10+10+1 {
		t.Errorf("%d cells, want 10 counters, 10 versions of the first event, 1 latest value: %q", n, got)
	}
	// The counters stay, all of them; the late versions go with a compaction.
	apply(set("l", "os", now-100, "late"))
	if err := s.compactNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	var want []string
	for n := int64(9); n >= 0; n-- {
		want = append(want, line("c:n", now+n, fmt.Sprint(n)))
	}
	want = append(want, line("f:first_seen", schemas.FirstVersion(now), "0"), line("l:os", now+9, "9"))
	if diff := cmp.Diff(want, dump(t, table)); diff != "" {
		t.Errorf("after a compaction (-want +got):\n%s", diff)
	}
	s = restart(t, s)
	if diff := cmp.Diff(want, dump(t, open(t, s.Addr(), "profiles"))); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
}

// TestMaxAge writes a counter that is too old, which stays until a compaction,
// and comes once when it is written again.
func TestMaxAge(t *testing.T) {
	s, table := profiles(t, Options{})
	old := now - 91*24*3600_000
	for range 2 {
		if err := table.Apply(t.Context(), "k", set("c", "n", old, "old")); err != nil {
			t.Fatal(err)
		}
		if err := table.Apply(t.Context(), "k", set("c", "m", now, "new")); err != nil {
			t.Fatal(err)
		}
		want := []string{fmt.Sprintf("k c:m@%d=\"new\"", now), fmt.Sprintf("k c:n@%d=\"old\"", old)}
		if diff := cmp.Diff(want, dump(t, table)); diff != "" {
			t.Errorf("before a compaction (-want +got):\n%s", diff)
		}
		if err := s.compactNow(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[:1], dump(t, table)); diff != "" {
			t.Errorf("after a compaction (-want +got):\n%s", diff)
		}
	}
}

func TestGCInterval(t *testing.T) {
	s, table := profiles(t, Options{GCInterval: 10 * time.Millisecond})
	if err := table.Apply(t.Context(), "k", set("c", "n", now-91*24*3600_000, "old")); err != nil {
		t.Fatal(err)
	}
	// Only the ticker can end this; go test's timeout says if it does not.
	for dump(t, table) != nil || s.Stats().Compactions == 0 {
	}
}

// TestFailedCompaction takes the snapshot's place away: the log goes on, and
// nothing is lost.
func TestFailedCompaction(t *testing.T) {
	s, table := profiles(t, Options{})
	if err := table.Apply(t.Context(), "a", set("l", "os", now, "Android")); err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(s.opts.Dir, snapshotName(2)+temporary)
	if err := os.Mkdir(blocked, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.compactNow(t.Context()); err == nil {
		t.Fatal("compaction to a folder's name: no error")
	}
	if err := table.Apply(t.Context(), "b", set("l", "os", now, "Android")); err != nil {
		t.Fatal(err)
	}
	want := dump(t, table)
	for range 2 {
		s = restart(t, s)
		if diff := cmp.Diff(want, dump(t, open(t, s.Addr(), "profiles"))); diff != "" {
			t.Errorf("after a restart (-before +after):\n%s", diff)
		}
		if err := s.compactNow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if logs, _, err := scan(s.opts.Dir); err != nil || len(logs) != 1 {
		t.Errorf("logs %v, %v; want one after a compaction", logs, err)
	}
}

// TestFailedLog closes the log under the server: writes fail, reads go on, and
// what fails is not applied.
func TestFailedLog(t *testing.T) {
	s, table := profiles(t, Options{})
	if err := table.Apply(t.Context(), "a", set("l", "os", now, "Android")); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.journal.file.Close()
	s.mu.Unlock()
	served := bigtable.NewMutation()
	served.Set("l", "os", bigtable.ServerTime, nil) // which the client does not retry
	for range 2 {
		if err := table.Apply(t.Context(), "b", served); err == nil {
			t.Error("a write that was not logged was acknowledged")
		}
	}
	want := []string{fmt.Sprintf("a l:os@%d=\"Android\"", now)}
	if diff := cmp.Diff(want, dump(t, table)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	s.Close()
	s = start(t, Options{Dir: s.opts.Dir})
	if diff := cmp.Diff(want, dump(t, open(t, s.Addr(), "profiles"))); diff != "" {
		t.Errorf("rows after a restart (-want +got):\n%s", diff)
	}
}
