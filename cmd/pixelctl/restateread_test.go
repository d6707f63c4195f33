package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/schemas"
)

// faultyTables is localTables with a server that asks fault before each request.
func faultyTables(t testing.TB, fault func(method string, n int) error) (*bigqueryd.Server, func(sql string)) {
	t.Helper()
	isolate(t)
	return startTables(t, bigqueryd.Options{Fault: fault})
}

// openRestater returns what a restate command would work with.
func openRestater(t testing.TB, notes io.Writer, change func(*restateFlags)) *restater {
	t.Helper()
	r := &restateFlags{
		queryFlags: queryFlags{place: &place{data: "."}}, now: time.Now, readAPI: readAuto, ledger: true, profiles: true,
		memory: 64, atOnce: time.Hour, table: schemas.Profiles().Table,
		span: span{from: at(t, "2026-01-15T10:00"), to: at(t, "2026-01-15T11:00")},
	}
	if change != nil {
		change(r)
	}
	if err := r.check(notes); err != nil {
		t.Fatal(err)
	}
	client, dataset, err := r.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	restater := &restater{flags: r, client: client, dataset: dataset, notes: notes}
	t.Cleanup(func() {
		restater.close()
		client.Close()
	})
	if err := r.open(t.Context(), restater); err != nil {
		t.Fatal(err)
	}
	return restater
}

func at(t testing.TB, s string) timeFlag {
	t.Helper()
	var f timeFlag
	if err := f.Set(s); err != nil {
		t.Fatal(err)
	}
	return f
}

// readAllRows reads a scan, and returns its rows as texts, in order.
func readAllRows(t *testing.T, r tableReader, s *scan) []string {
	t.Helper()
	var mu sync.Mutex
	var rows []string
	err := r.read(t.Context(), s, func() rowFunc {
		return func(row []field) error {
			mu.Lock()
			defer mu.Unlock()
			var b strings.Builder
			for i, f := range row {
				if f.null && (f.n != 0 || f.text != nil) {
					return fmt.Errorf("a NULL of %s has a value", s.columns[i])
				}
				fmt.Fprintf(&b, "%s=%v %d %q, ", s.columns[i], f.null, f.n, f.text)
			}
			rows = append(rows, b.String())
			return nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows
}

// Queries and read sessions give the same rows, of all columns whose types are counted,
// whatever the values, and although streams break.
func TestReadersAgree(t *testing.T) {
	var broken atomic.Int64
	_, do := faultyTables(t, func(method string, n int) error {
		if method == "ReadRows" && n%3 != 1 { // before the first batch and after it
			broken.Add(1)
			return status.Error(codes.Unavailable, "the stream breaks")
		}
		return nil
	})
	texts := []string{`''`, `NULL`, `'a'`, `'twelve bytes'`, `'thirteen byte'`, `'Zürich 日本 🎉'`, `'\x00\n\t\\\''`, `'null'`, `'` + strings.Repeat("x", 70_000) + `'`}
	for i, text := range texts {
		do(fmt.Sprintf(`INSERT INTO impressions (insert_id, event_time, receive_time, event_type, advertiser_id, campaign_id, user_id, page_url, params, width, cache_hit, invalid_reasons, lint)
			VALUES (%q, TIMESTAMP_ADD(TIMESTAMP '2026-01-15 10:00:00+00', INTERVAL %d MICROSECOND), %s, 'click', %s, %[4]s, %[4]s, %[4]s, JSON '{"k": %[1]q}', %[5]d, %s, %s, %s)`,
			fmt.Sprint("id", i), i*7_654_321, []string{"NULL", "TIMESTAMP '1969-12-31 23:59:59.999999+00'", "TIMESTAMP '2026-01-15 10:00:00.000001+00'"}[i%3], text,
			[]int64{0, -1, 1 << 62}[i%3], []string{"NULL", "TRUE", "FALSE"}[i%3], []string{"[]", "['']", "['a', 'b']"}[i%3], []string{"['x']", "[]", "[]"}[i%3]))
		do(fmt.Sprintf(`INSERT INTO impression_counts (window_start, window_end, campaign_id, gross, invalid, net, clicks, sketch, part, pane) VALUES
			(TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', %s, %d, 0, 1, %s, %s, %[2]d, 0)`,
			text, i, []string{"NULL", "0", "3"}[i%3], []string{"NULL", "b''", `b'\x00\xff'`}[i%3]))
	}
	// Several batches, of a megabyte each.
	const more = 60
	do(fmt.Sprintf(`INSERT INTO impressions (insert_id, event_time, page_url, user_id) SELECT CONCAT('more', CAST(x AS STRING)), TIMESTAMP '2026-01-15 10:59:59.999999+00', REPEAT('y', 70000), REPEAT('ü', x)
		FROM UNNEST(GENERATE_ARRAY(1, %d)) AS x`, more))
	do(fmt.Sprintf(`INSERT INTO impression_counts (window_start, window_end, campaign_id, gross, invalid, net, part, pane) SELECT TIMESTAMP '2026-01-15 10:59:00+00', TIMESTAMP '2026-01-15 11:00:00+00', REPEAT('y', 70000), x, 0, x, x, 0
		FROM UNNEST(GENERATE_ARRAY(1, %d)) AS x`, more))
	// Before and after the range.
	do(`INSERT INTO impressions (insert_id, event_time) VALUES ('before', TIMESTAMP '2026-01-15 09:59:59.999999+00'), ('after', TIMESTAMP '2026-01-15 11:00:00+00')`)
	restater := openRestater(t, io.Discard, nil)
	restater.sessions.(*sessionReader).streams = 2
	for _, table := range []string{"impressions", "impression_counts"} {
		s := &scan{table: table, time: "event_time", from: restater.flags.span.from.Time, to: restater.flags.span.to.Time, columns: []string{"no_such_column"}}
		if table == "impression_counts" {
			s.time = "window_start"
		}
		definition, _ := schemas.LookupTable(table)
		for _, c := range slices.Backward(definition.Columns) { // not in the table's order
			if c.Type != "NUMERIC" && c.Type != "RECORD" {
				s.columns = append(s.columns, c.Name)
			}
		}
		want := readAllRows(t, restater.queries, s)
		got := readAllRows(t, restater.sessions, s)
		if len(want) != len(texts)+more || !slices.Equal(got, want) {
			t.Errorf("%s: by sessions %d rows, by queries %d, of %d\n%.2000q\n%.2000q", table, len(got), len(want), len(texts)+more, got, want)
		}
	}
	if broken.Load() == 0 {
		t.Error("no stream broke")
	}
	// Types that are not counted are refused by both, and not taken for something else.
	for _, r := range []tableReader{restater.queries, restater.sessions} {
		do(`UPDATE impressions SET price = NUMERIC '1.5' WHERE TRUE`)
		err := r.read(t.Context(), &scan{table: "impressions", columns: []string{"event_time", "price"}, time: "event_time", from: restater.flags.span.from.Time, to: restater.flags.span.to.Time},
			func() rowFunc { return func([]field) error { return nil } })
		if !errors.Is(err, errColumns) {
			t.Errorf("%T of a NUMERIC: %v", r, err)
		}
	}
}

// A stream that never comes to an end is given up, with its reason.
func TestReadGivesUp(t *testing.T) {
	_, do := faultyTables(t, func(method string, n int) error {
		if method == "ReadRows" {
			return status.Error(codes.FailedPrecondition, "session expired at noon")
		}
		return nil
	})
	do(`INSERT INTO impressions (insert_id, event_time) VALUES ('a', TIMESTAMP '2026-01-15 10:00:01+00')`)
	got := run(t.Context(), "", "restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10")
	if got.code != cli.ExitFailure || !strings.Contains(got.errors, "session expired at noon") || !strings.Contains(got.errors, "the same command does the rest") {
		t.Errorf("exit code %d: %s", got.code, got.errors)
	}
}

const oneEntry = `INSERT INTO impressions (insert_id, event_time, event_type, campaign_id) VALUES ('a', TIMESTAMP '2026-01-15 10:00:01+00', 'impression', 'c')`

// Where read sessions are not allowed, queries read the same, and the user is told.
func TestRestateFallsBack(t *testing.T) {
	for _, test := range []struct {
		code codes.Code
		want string
	}{
		{codes.PermissionDenied, "bigquery.readsessions.create"},
		{codes.Unimplemented, "the service has no read sessions"},
	} {
		_, do := faultyTables(t, func(method string, n int) error {
			if method == "CreateReadSession" {
				return status.Error(test.code, "not here")
			}
			return nil
		})
		do(oneEntry)
		got := run(t.Context(), "", "restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10", "--read_api=storage")
		if got.code != cli.ExitFailure || !strings.Contains(got.errors, "not here") || !strings.Contains(got.out, "Read 0 impressions") {
			t.Errorf("%v, --read_api=storage: exit code %d: %s%s", test.code, got.code, got.out, got.errors)
		}
		got = run(t.Context(), "", "restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10")
		if got.code != 0 || !strings.Contains(got.errors, test.want) || !strings.Contains(got.errors, "not here; reading by queries instead") ||
			!strings.Contains(got.out, "Read 1 impressions of 1 windows, wrote 1 counts") {
			t.Errorf("%v: exit code %d: %s%s", test.code, got.code, got.out, got.errors)
		}
	}
	// With BigQuery at one place and no Storage API given, nothing goes to the cloud.
	server, do := faultyTables(t, nil)
	do(oneEntry)
	args := []string{"restate", "--project=" + server.Project(), "--dataset=d", "--bigquery_endpoint=" + server.RESTEndpoint(), "--from=2026-01-15T10:00", "--to=2026-01-15T10:10"}
	if got := run(t.Context(), "", args...); got.code != cli.ExitUsage || !strings.Contains(got.errors, "--bigquery_storage_endpoint") {
		t.Errorf("no Storage API: exit code %d: %s", got.code, got.errors)
	}
	if got := run(t.Context(), "", append(args, "--dry_run", "--ledger=false")...); got.code != 0 || !strings.Contains(got.errors, "reading by queries instead") ||
		!strings.Contains(got.out, "Read 1 impressions of 1 windows, would write 1 counts") {
		t.Errorf("no Storage API, a dry run: exit code %d: %s%s", got.code, got.out, got.errors)
	}
}

// lossyReader lacks some rows, as read sessions may of what was written just now.
type lossyReader struct {
	tableReader
	table string
	lost  int
}

func (l *lossyReader) read(ctx context.Context, s *scan, open func() rowFunc) error {
	return l.tableReader.read(ctx, s, func() rowFunc {
		each := open()
		return func(row []field) error {
			if s.table == l.table && l.lost > 0 {
				l.lost--
				return nil
			}
			return each(row)
		}
	})
}

// Rows that a read session lacks are not counted as gone: all are read by queries.
func TestRestateMissesNothingThatWasJustWritten(t *testing.T) {
	for _, table := range []string{"impressions", "impression_counts"} {
		_, do := faultyTables(t, nil)
		do(oneEntry)
		if got := run(t.Context(), "", "restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10"); got.code != 0 {
			t.Fatal(got.errors)
		}
		var notes bytes.Buffer
		restater := openRestater(t, &notes, nil)
		restater.sessions = &lossyReader{restater.sessions, table, 1}
		if err := restater.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if restater.done.rows != 1 || restater.done.counts != 0 || !strings.Contains(notes.String(), "has 0 of the 1 rows that "+table+" has of minute 2026-01-15T10:00:00Z; reading by queries") {
			t.Errorf("%s: %+v\n%s", table, restater.done, &notes)
		}
		restater = openRestater(t, &notes, func(r *restateFlags) { r.readAPI = readStorage })
		restater.sessions = &lossyReader{restater.sessions, table, 1}
		if err := restater.run(t.Context()); err == nil || !strings.Contains(err.Error(), "has 0 of the 1 rows") {
			t.Errorf("%s, --read_api=storage: %v", table, err)
		}
	}
}

// Rows that come while they are read are told of.
func TestRestateTellsOfRowsThatCome(t *testing.T) {
	var do func(string)
	var once sync.Once
	_, do = faultyTables(t, func(method string, n int) error {
		if method == "CreateReadSession" {
			once.Do(func() { do(strings.Replace(oneEntry, "'a'", "'b'", 1)) })
		}
		return nil
	})
	do(oneEntry)
	got := run(t.Context(), "", "restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10", "--parts=1")
	if got.code != 0 || !strings.Contains(got.errors, "1 row of these minutes came meanwhile") || !strings.Contains(got.out, "Read 2 impressions") {
		t.Errorf("exit code %d: %s%s", got.code, got.out, got.errors)
	}
}

// Nothing is left of a store in the folder of temporary files, and its records come
// back as they were, from memory and from the file.
func TestStore(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, memory := range []int{0, 3 << 20, 1 << 30} {
		s := newStore(memory)
		const writers, records = 4, 30_000
		var group sync.WaitGroup
		for w := range writers {
			group.Go(func() {
				to := s.writer()
				for i := range records {
					record := fmt.Sprintf("%d-%d-%s", w, i, strings.Repeat("x", i%100))
					err := to.add(int64(i%3), func(dst []byte) []byte { return append(append(dst, byte(len(record))), record...) })
					if err != nil {
						t.Error(err)
					}
				}
				if err := to.flush(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if (s.spilled() > 0) != (memory < 1<<30) {
			t.Errorf("memory %d: %d bytes in the file", memory, s.spilled())
		}
		total := 0
		for _, start := range s.starts() {
			seen := map[string]bool{}
			w := s.window(start)
			for range 2 { // as often as one likes
				clear(seen)
				err := s.eachRecord(w, func(i int, record []byte) error {
					if i != len(seen) {
						return fmt.Errorf("record %d after %d", i, len(seen))
					}
					seen[string(record)] = true
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if len(seen) != w.records {
				t.Errorf("window %d has %d records, says it has %d", start, len(seen), w.records)
			}
			total += len(seen)
			s.drop(start)
		}
		if total != writers*records || len(s.starts()) != 0 {
			t.Errorf("memory %d: %d records, want %d", memory, total, writers*records)
		}
		s.close()
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestProgress(t *testing.T) {
	var notes bytes.Buffer
	var p progress
	p.say(&notes) // nothing to say
	p.set("rows read", 10)
	p.say(&notes)
	p.add(4)
	p.say(&notes)
	p.say(&notes)
	p.add(6)
	p.say(&notes)
	p.set("windows compared", 3)
	p.add(1)
	p.say(&notes)
	if want := "pixelctl: 4 of 10 rows read\npixelctl: 1 of 3 windows compared\n"; notes.String() != want {
		t.Errorf("said %q, want %q", notes.String(), want)
	}
}

func FuzzComesBefore(f *testing.F) {
	f.Add("a", "b", int64(1), int64(2), true, false)
	f.Add("", "", int64(0), int64(-1), false, false)
	f.Fuzz(func(t *testing.T, campaign, other string, received, later int64, has, hasLater bool) {
		keep := func(campaign string, received int64, has bool) []byte {
			s := newStore(1 << 20)
			w := s.writer()
			row := make([]field, len(rowColumns))
			row[0].n, row[1].text = 1_768_471_200_000_000, []byte("id")
			row[2] = field{null: !has, n: received}
			if !has {
				row[2].n = 0
			}
			row[6].text = []byte(campaign)
			window, err := (&rowKeeper{to: w}).keep(row)
			if err == nil {
				err = w.flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			var kept []byte
			if err := s.eachRecord(s.window(window), func(_ int, record []byte) error { kept = bytes.Clone(record); return nil }); err != nil {
				t.Fatal(err)
			}
			return kept
		}
		a, b := keep(campaign, received, has), keep(other, later, hasLater)
		ab, err1 := comesBefore(a, b)
		ba, err2 := comesBefore(b, a)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a, b) != (!ab && !ba) || ab && ba {
			t.Errorf("%x before %x: %v, the other way %v", a, b, ab, ba)
		}
		// The view's order decides, where it does: NULL first, then the earlier.
		order := cmp.Compare(received, later)
		if has != hasLater {
			order = 1
			if !has {
				order = -1
			}
		} else if !has {
			order = 0
		}
		if order < 0 && !ab || order > 0 && ab {
			t.Errorf("received %d (%v) before %d (%v): %v", received, has, later, hasLater, ab)
		}
	})
}
