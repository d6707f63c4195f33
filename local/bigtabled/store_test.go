package bigtabled

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/cockroachdb/pebble/v2"
	"github.com/google/go-cmp/cmp"
)

// lastLog returns the newest write-ahead log in a folder.
func lastLog(t *testing.T, dir string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no log in %s: %v", dir, err)
	}
	return logs[len(logs)-1]
}

// copyDir copies a folder of files: what a kill would leave at this moment.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestTornTail cuts the log's last record in ways that the end of a process can:
// the records before it must be there, and the server must take new ones.
func TestTornTail(t *testing.T) {
	s, table := profiles(t, Options{})
	for _, key := range []string{"a", "b"} {
		if err := table.Apply(t.Context(), key, set("l", "os", now, "Android")); err != nil {
			t.Fatal(err)
		}
	}
	whole := dump(t, table)
	before := logSize(t, s.opts.Dir)
	if err := table.Apply(t.Context(), "last", set("l", "os", now, "Android")); err != nil {
		t.Fatal(err)
	}
	dir := copyDir(t, s.opts.Dir)
	log, err := os.ReadFile(lastLog(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	end := logSize(t, dir)
	tests := map[string][]byte{
		"a byte short":   log[:end-1],
		"half a record":  log[:(before+end)/2],
		"half a header":  log[:before+3],
		"no record":      log[:before],
		"zeros after it": append(bytes.Clone(log[:before]), make([]byte, 4096)...),
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, dir)
			if err := os.WriteFile(lastLog(t, dir), content, 0o644); err != nil {
				t.Fatal(err)
			}
			s := start(t, Options{Dir: dir})
			table := open(t, s.Addr(), "profiles")
			if diff := cmp.Diff(whole, dump(t, table)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if err := table.Apply(t.Context(), "new", set("l", "os", now, "Android")); err != nil {
				t.Fatal(err)
			}
			s = restart(t, s)
			if got := dump(t, open(t, s.Addr(), "profiles")); len(got) != 3 {
				t.Errorf("rows after another restart: %q, want 3", got)
			}
		})
	}
}

// logSize is how many bytes of the newest log are written: its file may be longer.
func logSize(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(lastLog(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return len(bytes.TrimRight(b, "\x00"))
}

// TestUnusableFolder: what cannot be served is refused, and not passed over.
func TestUnusableFolder(t *testing.T) {
	refused := func(t *testing.T, dir, want string) {
		t.Helper()
		s, err := Start("127.0.0.1:0", Options{Dir: dir})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start = %v, want an error with %q", err, want)
		}
	}
	t.Run("none", func(t *testing.T) { refused(t, "", "Options.Dir is empty") })
	t.Run("earlier format", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "log-00000001"), []byte("pixelbeam bigtabled 1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "delete the folder "+dir)
	})
	t.Run("in use", func(t *testing.T) {
		s, _ := profiles(t, Options{})
		refused(t, s.opts.Dir, s.opts.Dir)
	})
	t.Run("spoilt table file", func(t *testing.T) {
		s, table := profiles(t, Options{})
		if err := table.Apply(t.Context(), "a", set("l", "os", now, "Android")); err != nil {
			t.Fatal(err)
		}
		collect(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(s.opts.Dir, "*.sst"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no table file: %v", err)
		}
		for _, file := range files {
			if err := os.Truncate(file, 10); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, s.opts.Dir, s.opts.Dir)
	})
}

// TestRewriting rewrites the same rows from several clients, with tables written
// and compacted meanwhile, and compares what a restart brings back.
func TestRewriting(t *testing.T) {
	s, table := profiles(t, Options{})
	done := make(chan struct{})
	var compactor, writers sync.WaitGroup
	compactor.Go(func() {
		defer close(done)
		for range 5 {
			collect(t, s)
		}
	})
	for w := range 3 {
		writers.Go(func() {
			for n := int64(1); ; n++ {
				select {
				case <-done:
					return
				default:
				}
				var keys []string
				var muts []*bigtable.Mutation
				for i := range 50 {
					m := set("c", "n", now, fmt.Sprint(n))
					m.Set("l", "last_seen", bigtable.Timestamp((now+n)*1000), fmt.Append(nil, n))
					m.Set("f", "first_seen", bigtable.Timestamp(backwards(now+n)*1000), fmt.Append(nil, n))
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
	compactor.Wait()
	writers.Wait()
	// Each of the others has one counter, the latest value, and the first one.
	newest := bigtable.RowFilter(bigtable.LatestNFilter(1))
	before := dump(t, table, newest)
	if want := 3 * (1 + 49*3); len(before) != want {
		t.Errorf("%d newest cells, want %d", len(before), want)
	}
	collect(t, s)
	if diff := cmp.Diff(before, dump(t, table)); diff != "" {
		t.Errorf("after a collection (-newest before +all after):\n%s", diff)
	}
	s = restart(t, s)
	if diff := cmp.Diff(before, dump(t, open(t, s.Addr(), "profiles"))); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
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
		apply(set("f", "first_seen", backwards(now+n), fmt.Sprint(n)))
	}
	got := dump(t, table)
	if n := len(got); n != 10+10+1 {
		t.Errorf("%d cells, want 10 counters, 10 versions of the first event, 1 latest value: %q", n, got)
	}
	// The counters stay, all of them; the late versions go with a collection.
	apply(set("l", "os", now-100, "late"))
	if got := collect(t, s); got != 9+1 {
		t.Errorf("%d cells collected, want 9 later firsts and 1 late latest", got)
	}
	var want []string
	for n := int64(9); n >= 0; n-- {
		want = append(want, line("c:n", now+n, fmt.Sprint(n)))
	}
	want = append(want, line("f:first_seen", backwards(now), "0"), line("l:os", now+9, "9"))
	if diff := cmp.Diff(want, dump(t, table)); diff != "" {
		t.Errorf("after a collection (-want +got):\n%s", diff)
	}
	s = restart(t, s)
	if diff := cmp.Diff(want, dump(t, open(t, s.Addr(), "profiles"))); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
}

// TestMaxAge writes a counter that is too old, which stays until a collection,
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
			t.Errorf("before a collection (-want +got):\n%s", diff)
		}
		collect(t, s)
		if diff := cmp.Diff(want[:1], dump(t, table)); diff != "" {
			t.Errorf("after a collection (-want +got):\n%s", diff)
		}
	}
}

// TestCollectConf: rules hold on a table made through the admin API, and what a
// dropped family left goes, too.
func TestCollectConf(t *testing.T) {
	s := start(t, Options{})
	ac := admin(t, s.Addr())
	err := ac.CreateTableFromConf(t.Context(), &bigtable.TableConf{TableID: "conf", Families: map[string]bigtable.GCPolicy{
		"c": bigtable.MaxVersionsPolicy(2), "f": bigtable.IntersectionPolicy(bigtable.MaxVersionsPolicy(1), bigtable.MaxAgePolicy(time.Hour)), "l": bigtable.NoGcPolicy(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	table := open(t, s.Addr(), "conf")
	for hours := range int64(4) {
		for _, family := range []string{"c", "f", "l"} {
			if err := table.Apply(t.Context(), "k", set(family, "q", now-hours*3600_000-1, fmt.Sprint(hours))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := ac.DeleteColumnFamily(t.Context(), "conf", "l"); err != nil {
		t.Fatal(err)
	}
	if err := ac.CreateColumnFamily(t.Context(), "conf", "l"); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, s); got != 2+3+4 {
		t.Errorf("%d cells collected, want 2 by versions, 3 by versions and age, 4 dropped", got)
	}
	var got []string
	for _, line := range dump(t, table) {
		got = append(got, line[:len("k c:q")]+line[strings.Index(line, "="):])
	}
	if diff := cmp.Diff([]string{`k c:q="0"`, `k c:q="1"`, `k f:q="0"`}, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := collect(t, s); got != 0 {
		t.Errorf("%d cells collected once more, want none", got)
	}
	// A row without cells goes for good, unless it was written again.
	del := bigtable.NewMutation()
	del.DeleteRow()
	if err := table.Apply(t.Context(), "k", del); err != nil {
		t.Fatal(err)
	}
	collect(t, s)
	if _, _, err := s.store.Get(rowKey(s.tables["projects/p/instances/i/tables/conf"].ID, []byte("k"))); !errors.Is(err, pebble.ErrNotFound) {
		t.Errorf("a row without cells is still stored: %v", err)
	}
}

func TestGCInterval(t *testing.T) {
	s, table := profiles(t, Options{GCInterval: 10 * time.Millisecond})
	if err := table.Apply(t.Context(), "k", set("c", "n", now-91*24*3600_000, "old")); err != nil {
		t.Fatal(err)
	}
	// Only the ticker can end this; go test's timeout says if it does not.
	for dump(t, table) != nil || s.Stats().Collections == 0 {
	}
}

// TestReadModifyWrite increments one counter from several clients at once: none
// may be lost.
func TestReadModifyWrite(t *testing.T) {
	_, table := profiles(t, Options{})
	const clients, each = 4, 50
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				m := bigtable.NewReadModifyWrite()
				m.Increment("c", "n", 2)
				m.AppendValue("l", "log", []byte("x"))
				m.Increment("c", "n", -1)
				row, err := table.ApplyReadModifyWrite(t.Context(), "k", m)
				if err != nil {
					t.Error(err)
					return
				}
				if len(row["c"]) != 1 || len(row["l"]) != 1 {
					t.Errorf("answer is %v, want one cell for each column", row)
				}
			}
		})
	}
	wg.Wait()
	row, err := table.ReadRow(t.Context(), "k", bigtable.RowFilter(bigtable.LatestNFilter(1)))
	if err != nil {
		t.Fatal(err)
	}
	if got := binary.BigEndian.Uint64(row["c"][0].Value); got != clients*each {
		t.Errorf("counter = %d, want %d", got, clients*each)
	}
	if got := len(row["l"][0].Value); got != clients*each {
		t.Errorf("appended %d bytes, want %d", got, clients*each)
	}
	m := bigtable.NewReadModifyWrite()
	m.Increment("l", "log", 1)
	if _, err := table.ApplyReadModifyWrite(t.Context(), "k", m); err == nil {
		t.Error("a text was incremented")
	}
}

// size is the bytes of the files in a folder.
func size(t *testing.T, dir string) int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	return sum
}

// backwards makes a cell version, in milliseconds, that is newer the earlier a
// time is.
func backwards(millis int64) int64 { return 253402300799999 - millis }
