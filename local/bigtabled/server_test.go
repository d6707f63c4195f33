package bigtabled

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"pixelbeam/schemas"
)

// serveVar makes this test binary a server on the folder it names, so that a
// test can kill it.
const serveVar = "BIGTABLED_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveVar); dir != "" {
		s, err := Start("127.0.0.1:0", Options{Dir: dir, GCInterval: 50 * time.Millisecond})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(s.Addr())
		for range time.Tick(50 * time.Millisecond) {
			if err := s.store.Flush(); err != nil {
				fmt.Println("error:", err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

const (
	project  = "p"
	instance = "i"
)

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s, err := Start("127.0.0.1:0", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func restart(t *testing.T, s *Server) *Server {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return start(t, s.opts)
}

func dial(t *testing.T, addr string) option.ClientOption {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return option.WithGRPCConn(conn)
}

func open(t *testing.T, addr, table string) *bigtable.Table {
	t.Helper()
	c, err := bigtable.NewClientWithConfig(t.Context(), project, instance,
		bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, dial(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.Open(table)
}

func admin(t *testing.T, addr string) *bigtable.AdminClient {
	t.Helper()
	c, err := bigtable.NewAdminClient(t.Context(), project, instance, dial(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// profiles starts a server with the table of profiles.
func profiles(t *testing.T, opts Options) (*Server, *bigtable.Table) {
	t.Helper()
	s := start(t, opts)
	ensure(t, s)
	return s, open(t, s.Addr(), schemas.Profiles().Table)
}

func ensure(t *testing.T, s *Server) {
	t.Helper()
	if err := s.EnsureTable(t.Context(), project, instance, schemas.Profiles()); err != nil {
		t.Fatal(err)
	}
}

// dump reads a table as lines of key, column, time in milliseconds and value.
func dump(t *testing.T, table *bigtable.Table, opts ...bigtable.ReadOption) []string {
	t.Helper()
	var out []string
	err := table.ReadRows(t.Context(), bigtable.InfiniteRange(""), func(r bigtable.Row) bool {
		for _, family := range []string{"c", "f", "l"} {
			for _, item := range r[family] {
				out = append(out, fmt.Sprintf("%s %s@%d=%q", r.Key(), item.Column, item.Timestamp.Time().UnixMilli(), item.Value))
			}
		}
		return true
	}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func set(family, column string, millis int64, value string) *bigtable.Mutation {
	m := bigtable.NewMutation()
	m.Set(family, column, bigtable.Timestamp(millis*1000), []byte(value))
	return m
}

// now is a time that no GC rule condemns, in milliseconds.
var now = time.Now().UnixMilli()

func TestWritesSurviveRestart(t *testing.T) {
	s, table := profiles(t, Options{})
	ctx := t.Context()
	var keys []string
	var muts []*bigtable.Mutation
	for i := range 1000 {
		m := set("c", "7#impression", now, "one")
		m.Set("c", "7#impression", bigtable.Timestamp((now-60_000)*1000), []byte("two"))
		m.Set("l", "os", bigtable.Timestamp((now-5)*1000), []byte("Android"))
		m.Set("f", "first_seen", bigtable.Timestamp(backwards(now)*1000), []byte("first"))
		keys, muts = append(keys, fmt.Sprintf("user%04d", i)), append(muts, m)
	}
	if errs, err := table.ApplyBulk(ctx, keys, muts); err != nil || errs != nil {
		t.Fatal(errs, err)
	}
	if err := table.Apply(ctx, "user0003", set("c", "7#impression", now, "rewritten")); err != nil {
		t.Fatal(err)
	}
	del := bigtable.NewMutation()
	del.DeleteRow()
	if err := table.Apply(ctx, "user0004", del); err != nil {
		t.Fatal(err)
	}
	del = bigtable.NewMutation()
	del.DeleteTimestampRange("c", "7#impression", 0, bigtable.Timestamp(now*1000))
	if err := table.Apply(ctx, "user0005", del); err != nil {
		t.Fatal(err)
	}
	cond := bigtable.NewCondMutation(bigtable.ValueFilter("rewritten"), set("l", "browser", now, "Firefox"), set("l", "browser", now, "none"))
	for _, key := range []string{"user0003", "user0006"} {
		if err := table.Apply(ctx, key, cond); err != nil {
			t.Fatal(err)
		}
	}
	served := bigtable.NewMutation()
	served.Set("l", "device_type", bigtable.ServerTime, []byte("tv"))
	if err := table.Apply(ctx, "user0007", served); err != nil {
		t.Fatal(err)
	}

	before := dump(t, table)
	want := []string{
		fmt.Sprintf("user0003 c:7#impression@%d=\"rewritten\"", now),
		fmt.Sprintf("user0003 c:7#impression@%d=\"two\"", now-60_000),
		fmt.Sprintf("user0003 f:first_seen@%d=\"first\"", backwards(now)),
		fmt.Sprintf("user0003 l:browser@%d=\"Firefox\"", now),
		fmt.Sprintf("user0003 l:os@%d=\"Android\"", now-5),
		fmt.Sprintf("user0005 c:7#impression@%d=\"one\"", now),
		fmt.Sprintf("user0005 f:first_seen@%d=\"first\"", backwards(now)),
		fmt.Sprintf("user0005 l:os@%d=\"Android\"", now-5),
	}
	var got []string
	for _, line := range before {
		if strings.HasPrefix(line, "user0003") || strings.HasPrefix(line, "user0004") || strings.HasPrefix(line, "user0005") {
			got = append(got, line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	// Twice: once from the log, once from tables.
	for range 2 {
		s = restart(t, s)
		if diff := cmp.Diff(before, dump(t, open(t, s.Addr(), "profiles"))); diff != "" {
			t.Fatalf("after a restart (-before +after):\n%s", diff)
		}
		collect(t, s)
	}
}

// TestStats counts: 3 rows with 4 cells in one request, then one row of one.
func TestStats(t *testing.T) {
	s, table := profiles(t, Options{})
	two := set("l", "os", now, "Android")
	two.Set("l", "browser", bigtable.Timestamp(now*1000), []byte("Chrome"))
	if errs, err := table.ApplyBulk(t.Context(), []string{"a", "b", "c"}, []*bigtable.Mutation{two, set("l", "os", now, "iOS"), set("l", "os", now, "iOS")}); err != nil || errs != nil {
		t.Fatal(errs, err)
	}
	if err := table.Apply(t.Context(), "a", set("l", "os", now, "iOS")); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.RowsWritten != 4 || st.CellsWritten != 5 {
		t.Errorf("Stats() = %d rows, %d cells; want 4 and 5", st.RowsWritten, st.CellsWritten)
	}
	if size := size(t, s.opts.Dir); st.DiskBytes == 0 || st.DiskBytes > size {
		t.Errorf("Stats() = %d bytes on disk; want above 0 and not above the folder's %d", st.DiskBytes, size)
	}
	if err := table.Apply(t.Context(), "a", set("c", "n", now-91*24*3600_000, "old")); err != nil {
		t.Fatal(err)
	}
	s.gc.ended(collect(t, s), nil)
	if st := s.Stats(); st.Collections != 1 || st.CellsCollected != 1 || st.CollectError != nil {
		t.Errorf("Stats() = %d cells in %d collections, error %v; want 1 and 1", st.CellsCollected, st.Collections, st.CollectError)
	}
}

// collect collects garbage and moves all that was written into tables, which it
// compacts; it returns how many cells were condemned.
func collect(t *testing.T, s *Server) int64 {
	t.Helper()
	cells, err := s.collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	return cells
}

// TestKill writes from several clients until the server is killed, and then looks
// for every acknowledged cell. Meanwhile the server writes tables and collects
// garbage again and again.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	// acked holds per row the highest acknowledged number; a row's writes come
	// one after another.
	acked := map[string]uint64{}
	var mu sync.Mutex
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), serveVar+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var addr string
		if _, err := fmt.Fscanln(out, &addr); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			ac := admin(t, addr)
			if err := ac.CreateTable(t.Context(), "profiles"); err != nil {
				t.Fatal(err)
			}
			if err := ac.CreateColumnFamily(t.Context(), "profiles", "c"); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		var clients sync.WaitGroup
		killed := make(chan struct{})
		for client := range 4 {
			table := open(t, addr, "profiles")
			clients.Go(func() {
				for n := uint64(1 + 1_000_000*round); ; n++ {
					value := binary.BigEndian.AppendUint64(nil, n)
					var keys []string
					var muts []*bigtable.Mutation
					for i := range 100 {
						keys = append(keys, fmt.Sprintf("client%d-%02d", client, i))
						muts = append(muts, set("c", "n", now, string(value)))
					}
					if errs, err := table.ApplyBulk(ctx, keys, muts); err != nil || errs != nil {
						return
					}
					mu.Lock()
					for _, key := range keys {
						acked[key] = n
					}
					enough := n == uint64(150+1_000_000*round)
					mu.Unlock()
					if enough && client == 0 {
						close(killed)
					}
				}
			})
		}
		select {
		case <-killed:
		case <-ctx.Done():
			t.Error("the clients did not get far enough in time")
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		cancel() // or the clients would go on trying
		clients.Wait()

		s := start(t, Options{Dir: dir})
		got := map[string]uint64{}
		err = open(t, s.Addr(), "profiles").ReadRows(t.Context(), bigtable.InfiniteRange(""), func(r bigtable.Row) bool {
			got[r.Key()] = binary.BigEndian.Uint64(r["c"][0].Value)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for key, n := range acked {
			// The write in flight at the kill may be there or not.
			if got[key] != n && got[key] != n+1 {
				t.Errorf("round %d: %s = %d, acknowledged was %d", round, key, got[key], n)
			}
		}
		if files, err := filepath.Glob(filepath.Join(dir, "*.sst")); round == 2 && len(files) == 0 {
			t.Errorf("no table was written: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFaults(t *testing.T) {
	refused := status.Error(codes.InvalidArgument, "refused by test")
	var mu sync.Mutex
	unavailable := 2
	lost := 1
	var seen []int
	s, table := profiles(t, Options{
		Fault: func(method string, n int) error {
			mu.Lock()
			defer mu.Unlock()
			if method != "MutateRows" {
				return nil
			}
			seen = append(seen, n)
			if n <= unavailable {
				return status.Error(codes.Unavailable, "down by test")
			}
			return nil
		},
		EntryFault: func(key string) error {
			if key == "bad" {
				return refused
			}
			return nil
		},
		AckFault: func(method string) error {
			mu.Lock()
			defer mu.Unlock()
			if method == "MutateRow" && lost > 0 {
				lost--
				return status.Error(codes.Aborted, "ack lost by test")
			}
			return nil
		},
	})
	errs, err := table.ApplyBulk(t.Context(), []string{"a", "bad", "c"},
		[]*bigtable.Mutation{set("l", "os", now, "1"), set("l", "os", now, "2"), set("l", "os", now, "3")})
	if err != nil || len(errs) != 3 || errs[0] != nil || status.Code(errs[1]) != codes.InvalidArgument || errs[2] != nil {
		t.Errorf("ApplyBulk = %v, %v; want only the second refused", errs, err)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, seen); diff != "" {
		t.Errorf("requests seen by Fault (-want +got):\n%s", diff)
	}
	// The client does not repeat a write at server time, so the lost answer shows.
	served := bigtable.NewMutation()
	served.Set("l", "os", bigtable.ServerTime, []byte("4"))
	if err := table.Apply(t.Context(), "d", served); status.Code(err) != codes.Aborted {
		t.Errorf("Apply whose ack is lost = %v, want %v", err, codes.Aborted)
	}
	s = restart(t, s)
	got := dump(t, open(t, s.Addr(), "profiles"))
	for i, line := range got {
		got[i], _, _ = strings.Cut(line, "@")
	}
	if diff := cmp.Diff([]string{"a l:os", "c l:os", "d l:os"}, got); diff != "" {
		t.Errorf("rows after the faults (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	s, table := profiles(t, Options{})
	add := bigtable.NewMutation()
	add.AddIntToCell("c", "n", bigtable.Timestamp(now*1000), 1)
	part := set("l", "os", now, "part")
	part.Set("nofamily", "x", bigtable.Timestamp(now*1000), nil)
	many := bigtable.NewMutation()
	for range maxMutations + 1 {
		many.Set("l", "os", bigtable.Timestamp(now*1000), nil)
	}
	tests := []struct {
		name string
		key  string
		mut  *bigtable.Mutation
		want codes.Code
	}{
		{"unknown family, with nothing of the entry applied", "k", part, codes.NotFound},
		{"negative time", "k", set("l", "os", -5, ""), codes.InvalidArgument},
		{"long key", strings.Repeat("k", maxKey+1), set("l", "os", now, ""), codes.InvalidArgument},
		{"no key", "", set("l", "os", now, ""), codes.InvalidArgument},
		{"long column", "k", set("l", strings.Repeat("c", maxQualifier+1), now, ""), codes.InvalidArgument},
		{"aggregate", "k", add, codes.Unimplemented},
		{"too many mutations", "k", many, codes.InvalidArgument},
		{"none", "k", bigtable.NewMutation(), codes.InvalidArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := table.Apply(t.Context(), test.key, test.mut); status.Code(err) != test.want {
				t.Errorf("Apply = %v, want %v", err, test.want)
			}
		})
	}
	rmw := bigtable.NewReadModifyWrite()
	rmw.Increment("nofamily", "n", 1)
	if _, err := table.ApplyReadModifyWrite(t.Context(), "k", rmw); status.Code(err) != codes.NotFound {
		t.Errorf("ApplyReadModifyWrite of an unknown family = %v, want %v", err, codes.NotFound)
	}
	if got := dump(t, table); got != nil {
		t.Errorf("refused writes left %q", got)
	}
	if err := open(t, s.Addr(), "other").Apply(t.Context(), "k", set("l", "os", now, "")); status.Code(err) != codes.NotFound {
		t.Errorf("Apply to an unknown table = %v, want %v", err, codes.NotFound)
	}
	// The server is whole after all that.
	if err := table.Apply(t.Context(), "k", set("l", "os", now, "good")); err != nil {
		t.Error(err)
	}
}

func TestUnsupportedMethodsDoNotCrash(t *testing.T) {
	s, _ := profiles(t, Options{})
	for name, call := range map[string]func() error{
		"backups": func() error {
			return admin(t, s.Addr()).CreateBackup(t.Context(), "profiles", "cluster", "backup", time.Now().Add(time.Hour))
		},
		"table protection": func() error {
			return admin(t, s.Addr()).UpdateTableWithDeletionProtection(t.Context(), "profiles", bigtable.Protected)
		},
	} {
		if err := call(); status.Code(errors.Unwrap(err)) != codes.Unimplemented && status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v, want %v", name, err, codes.Unimplemented)
		}
	}
}

// TestReadWhileColumnsAreAdded reads a row to which a writer adds columns at the
// front: each read must show every column once that was there before it.
func TestReadWhileColumnsAreAdded(t *testing.T) {
	_, table := profiles(t, Options{})
	const columns = 300
	var mu sync.Mutex
	written := 0
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range columns {
			if err := table.Apply(t.Context(), "k", set("c", fmt.Sprintf("%04d", columns-i), now, "x")); err != nil {
				t.Error(err)
			}
			mu.Lock()
			written = i + 1
			mu.Unlock()
		}
	})
	for last := 0; last < columns && !t.Failed(); {
		mu.Lock()
		last = written
		mu.Unlock()
		row, err := table.ReadRow(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, item := range row["c"] {
			seen[item.Column]++
			if seen[item.Column] > 1 {
				t.Errorf("%s came %d times", item.Column, seen[item.Column])
			}
		}
		for i := range last {
			if column := fmt.Sprintf("c:%04d", columns-i); seen[column] == 0 {
				t.Errorf("%s is missing of %d", column, last)
			}
		}
	}
	writer.Wait()
}

// benchTable serves a table of profiles and returns a client's view of it.
// Memory of reads serves again: those that go on at once, of rows of all sizes, with
// filters that copy, while the store merges, see the cells of their rows only.
func TestReadsAtOnce(t *testing.T) {
	s, table := profiles(t, Options{})
	const rows = 40
	key := func(i int) string { return fmt.Sprintf("row-%02d", i) }
	value := func(i, version int) string {
		return strings.Repeat(fmt.Sprintf("%s %d ", key(i), version), 1+i*i)
	}
	write := func(from int) {
		for version := from; version < from+3; version++ {
			var keys []string
			var muts []*bigtable.Mutation
			for i := range rows {
				m := bigtable.NewMutation()
				for j := range 1 + i {
					m.Set("c", "n", bigtable.Timestamp(1000*(version*100+j)), []byte(value(i, version)))
				}
				m.Set("l", "os", bigtable.Timestamp(1000*version), []byte(value(i, version)))
				keys, muts = append(keys, key(i)), append(muts, m)
			}
			if errs, err := table.ApplyBulk(t.Context(), keys, muts); err != nil || errs != nil {
				t.Error(errs, err)
			}
			if err := s.store.Flush(); err != nil {
				t.Error(err)
			}
		}
	}
	write(0)
	filter := bigtable.InterleaveFilters(
		bigtable.ChainFilters(bigtable.FamilyFilter("l"), bigtable.LatestNFilter(1)),
		bigtable.InterleaveFilters(bigtable.FamilyFilter("c"), bigtable.ColumnFilter("o.*")),
	)
	check := func(row bigtable.Row) bool {
		var i int
		if _, err := fmt.Sscanf(row.Key(), "row-%d", &i); err != nil {
			t.Error(err)
		}
		if len(row["c"]) < 3*(1+i) || len(row["l"]) != 2 {
			t.Errorf("%s has %d and %d cells, want %d or more, and the same twice", row.Key(), len(row["c"]), len(row["l"]), 3*(1+i))
		}
		for _, cell := range append(row["c"], row["l"]...) {
			if !strings.HasPrefix(string(cell.Value), row.Key()+" ") || strings.Count(string(cell.Value), row.Key()) != 1+i*i {
				t.Errorf("%s has the value %.50q", row.Key(), cell.Value)
			}
		}
		return true
	}
	var reads sync.WaitGroup
	for g := range 4 {
		reads.Go(func() {
			for i := range 60 {
				var set bigtable.RowSet = bigtable.RowList{key((i * 7) % rows)}
				if i%10 == g {
					set = bigtable.InfiniteRange("")
				}
				if err := table.ReadRows(t.Context(), set, check, bigtable.RowFilter(filter)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	write(3)
	reads.Wait()
}

func benchTable(b *testing.B) (*Server, *bigtable.Table) {
	s, err := Start("127.0.0.1:0", Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	if err := s.EnsureTable(b.Context(), project, instance, schemas.Profiles()); err != nil {
		b.Fatal(err)
	}
	conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	c, err := bigtable.NewClientWithConfig(b.Context(), project, instance, bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, option.WithGRPCConn(conn))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return s, c.Open("profiles")
}

const benchRows = 1000 // in a request

// writeProfiles writes the nth request: one minute of 1,000 of 50,000 users.
func writeProfiles(b *testing.B, table *bigtable.Table, n int) {
	var keys []string
	var muts []*bigtable.Mutation
	at := now + int64(n)
	for i := range benchRows {
		m := set("c", "20000007#impression", at/60_000*60_000+int64(n/50)*60_000, "12345678")
		for _, column := range []string{"device_type", "os", "browser", "country", "page_url", "last_seen"} {
			m.Set("l", column, bigtable.Timestamp(at*1000), []byte("some value"))
		}
		m.Set("f", "first_seen", bigtable.Timestamp(backwards(at)*1000), []byte("12345678"))
		keys, muts = append(keys, schemas.ProfileKey(fmt.Sprintf("user%d", n%50*benchRows+i))), append(muts, m)
	}
	if errs, err := table.ApplyBulk(b.Context(), keys, muts); err != nil || errs != nil {
		b.Fatal(errs, err)
	}
}

func BenchmarkApplyBulk(b *testing.B) {
	_, table := benchTable(b)
	n := 0
	for b.Loop() {
		writeProfiles(b, table, n)
		n++
	}
	b.ReportMetric(float64(benchRows*b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkReadRow reads profiles of ten minutes each, by the client.
func BenchmarkReadRow(b *testing.B) {
	_, table := benchTable(b)
	for n := range 500 {
		writeProfiles(b, table, n)
	}
	n := 0
	for b.Loop() {
		row, err := table.ReadRow(b.Context(), schemas.ProfileKey(fmt.Sprintf("user%d", n*7919%50_000)))
		if err != nil || len(row["c"]) != 10 {
			b.Fatalf("%v, %v; want 10 minutes", row, err)
		}
		n++
	}
}
