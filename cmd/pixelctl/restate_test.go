package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/option"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/local/bigtabled"
	"pixelbeam/schemas"
)

// Windows are restated from the raw rows, once, and only where they differ.
func TestRestate(t *testing.T) {
	server, do := localTables(t)
	startProfiles(t, server)
	// Five entries of two minutes, one of them twice; one is invalid, one a click.
	do(`INSERT INTO impressions (insert_id, event_time, event_type, campaign_id, user_id, device_type, invalid_reasons) VALUES
		('a', TIMESTAMP '2026-01-15 10:00:01+00', 'impression', 'spring', 'ann', 'mobile', []),
		('a', TIMESTAMP '2026-01-15 10:00:01+00', 'impression', 'spring', 'ann', 'mobile', []),
		('b', TIMESTAMP '2026-01-15 10:00:02+00', 'impression', 'spring', 'bob', 'mobile', ['bot']),
		('c', TIMESTAMP '2026-01-15 10:00:59.999999+00', 'click', 'spring', 'ann', 'mobile', []),
		('d', TIMESTAMP '2026-01-15 10:01:00+00', 'impression', NULL, NULL, 'mobile', []),
		('e', TIMESTAMP '2026-01-15 10:01:30+00', 'impression', NULL, 'bob', 'mobile', [])`)
	restate := func(args ...string) result {
		return run(t.Context(), "", append([]string{"restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10"}, args...)...)
	}
	expect := func(what, want string, got result) {
		t.Helper()
		if strings.Contains(got.errors, "by queries") {
			t.Errorf("%s: no read sessions: %s", what, got.errors)
		}
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("%s: exit code %d, want %q in\n%s\n%s", what, got.code, want, got.out, got.errors)
		}
	}
	truth := func(what string) {
		t.Helper()
		got := run(t.Context(), "", "query", "--data=.", "--format=csv",
			`SELECT FORMAT_TIMESTAMP('%M', window_start) AS minute, campaign_id, event_type, gross, invalid, net, clicks, HLL_COUNT.EXTRACT(sketch) AS users
			FROM impression_counts_current WHERE gross > 0 ORDER BY 1, 2, 3`)
		want := "minute,campaign_id,event_type,gross,invalid,net,clicks,users\n00,spring,click,1,0,1,1,1\n00,spring,impression,2,1,1,0,2\n01,,impression,2,0,2,0,1\n"
		if got.out != want {
			t.Errorf("%s: counts\n%s%s\nwant\n%s", what, got.out, got.errors, want)
		}
	}

	// The parts of a combination depend on the hashes of its ids: 3 to 4 rows.
	expect("dry run", "Read 5 impressions of 2 windows, would write ", restate("--dry_run", "--parts=2"))
	expect("dry run", "3 profile updates and 0 ledger entries", restate("--dry_run", "--parts=2")) // there are no books
	if got := run(t.Context(), "", "query", "--data=.", "--format=csv", "SELECT COUNT(*) AS n FROM impression_counts"); got.out != "n\n0\n" {
		t.Errorf("a dry run wrote: %s", got.out)
	}
	expect("first", "3 profile updates", restate("--parts=2"))
	truth("first")
	expect("again", "wrote 0 counts, 0 profile updates and 0 ledger entries", restate())
	expect("again, by single minutes", "wrote 0 counts", restate("--at_once=1m"))
	if got := run(t.Context(), "", "profile", "get", "--data=.", "ann"); got.code != 0 || !strings.Contains(got.out, "2026-01-15T10:00:59.999999Z") {
		t.Errorf("profile: exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}

	// A crash: a window in part, a count of something that never was, and one gone.
	do(`INSERT INTO impression_counts (window_start, window_end, campaign_id, event_type, device_type, gross, invalid, net, clicks, part, pane) VALUES
		(TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', 'spring', 'click', 'mobile', 9, 0, 9, 9, 1, 7),
		(TIMESTAMP '2026-01-15 10:05:00+00', TIMESTAMP '2026-01-15 10:06:00+00', 'ghost', 'impression', 'mobile', 5, 0, 5, 0, 0, 0)`)
	do(`DELETE FROM impression_counts WHERE window_start = TIMESTAMP '2026-01-15 10:01:00+00'`)
	if got := restate(); got.code != 0 || !strings.Contains(got.errors, "no rows: 1, the first 2026-01-15T10:05:00Z. They were left alone") {
		t.Errorf("a window without rows: exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}
	if got := run(t.Context(), "", "query", "--data=.", "--format=csv", "SELECT gross FROM impression_counts_current WHERE campaign_id = 'ghost'"); got.out != "gross\n5\n" {
		t.Errorf("a window without rows: %s%s", got.out, got.errors)
	}
	if got := restate("--zero"); got.code != 0 || strings.Contains(got.out, "wrote 0 counts") {
		t.Errorf("after a crash: exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}
	truth("after a crash")
	expect("once more", "wrote 0 counts", restate())
	// With other parts than the job had, the sums stay.
	if got := restate("--parts=5"); got.code != 0 {
		t.Errorf("other parts: exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}
	truth("other parts")
}

// What a run of the job had not entered into the books when it was killed is entered
// as recovered, once.
func TestRestateLedger(t *testing.T) {
	_, do := localTables(t)
	// Of minute 10:00 the books have one of two entries, twice, and one of three
	// rejected ones; of minute 10:01 nothing; minute 10:02 is right.
	do(`INSERT INTO impressions (insert_id, event_time) VALUES
		('a', TIMESTAMP '2026-01-15 10:00:01+00'), ('b', TIMESTAMP '2026-01-15 10:00:02+00'), ('b', TIMESTAMP '2026-01-15 10:00:02+00'),
		('c', TIMESTAMP '2026-01-15 10:01:00+00'), ('d', TIMESTAMP '2026-01-15 10:02:00+00')`)
	do(`INSERT INTO rejected_entries (receive_time, reason, detail, stage, payload, source) VALUES
		(TIMESTAMP '2026-01-15 10:00:30+00', 'invalid_json', 'd', 'parse', b'x', 'm1'),
		(TIMESTAMP '2026-01-15 10:00:30+00', 'invalid_json', 'd', 'parse', b'x', 'm1'),
		(TIMESTAMP '2026-01-15 10:00:31+00', 'invalid_json', 'd', 'parse', b'x', 'm2'),
		(TIMESTAMP '2026-01-15 10:00:32+00', 'too_large', 'd', 'parse', b'x', 'm3'),
		(TIMESTAMP '2026-01-15 10:00:33+00', 'row_refused', 'd', 'bigquery', b'x', 'm4')`)
	do(`INSERT INTO ledger (minute, part, pane, read, impressions, rejected, ignored, duplicates, too_late, unmatched, rejected_invalid_json) VALUES
		(TIMESTAMP '2026-01-15 10:00:00+00', '0', 0, 9, 9, 0, 0, 0, 0, 0, 0),
		(TIMESTAMP '2026-01-15 10:00:00+00', '0', 1, 3, 2, 1, 0, 1, 0, 0, 1),
		(TIMESTAMP '2026-01-15 10:02:00+00', '0', 0, 1, 1, 0, 0, 0, 0, 0, 0)`)
	command := func(name string, args ...string) result {
		return run(t.Context(), "", append([]string{name, "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10"}, args...)...)
	}
	expect := func(what, want string, got result, code int) {
		t.Helper()
		if got.code != code || !strings.Contains(got.out, want) {
			t.Errorf("%s: exit code %d, want %d and %q in\n%s\n%s", what, got.code, code, want, got.out, got.errors)
		}
	}
	const balanced = "minute,read,impressions,rejected,ignored,duplicates,too_late,unmatched,recovered,rows,gross,status\n" +
		"2026-01-15T10:00:00.000000Z,6,3,3,0,1,0,0,3,2,2,balanced\n" +
		"2026-01-15T10:01:00.000000Z,1,1,0,0,0,0,0,1,1,1,balanced\n" +
		"2026-01-15T10:02:00.000000Z,1,1,0,0,0,0,0,0,1,1,balanced\n"
	expect("before", "impressions has 1 rows that the ledger does not know", command("ledger"), cli.ExitFailure)
	expect("dry run", "would write 3 counts, 0 profile updates and 2 ledger entries (4 entries recovered)", command("restate", "--dry_run", "--parts=1"), 0)
	expect("without the ledger", "0 ledger entries", command("restate", "--ledger=false", "--parts=1"), 0)
	expect("still", "impressions has 1 rows that the ledger does not know", command("ledger"), cli.ExitFailure)
	expect("restate", "2 ledger entries (4 entries recovered)", command("restate"), 0)
	expect("after", balanced, command("ledger", "--format=csv"), 0)
	expect("again", "wrote 0 counts, 0 profile updates and 0 ledger entries (0 entries recovered)", command("restate"), 0)

	// The books of a run come after all; what was recovered is taken back.
	do(`INSERT INTO ledger (minute, part, pane, read, impressions, rejected, ignored, duplicates, too_late, unmatched) VALUES
		(TIMESTAMP '2026-01-15 10:01:00+00', '7', 0, 1, 1, 0, 0, 0, 0, 0)`)
	expect("counted twice", "impressions lacks 1 rows", command("ledger"), cli.ExitFailure)
	expect("taken back", "1 ledger entries (0 entries recovered)", command("restate"), 0)
	expect("at the end", strings.Replace(balanced, "0,0,1,1,1,balanced", "0,0,0,1,1,balanced", 1), command("ledger", "--format=csv"), 0)

	// A row that is gone is no matter of the books: they say so.
	do(`DELETE FROM impressions WHERE insert_id = 'd'`)
	if got := command("restate"); got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.errors)
	}
	expect("a lost row", "impressions lacks 1 rows", command("ledger"), cli.ExitFailure)
}

// What the job may still write is left alone.
func TestRestateRefusesOpenWindows(t *testing.T) {
	_, _ = localTables(t)
	got := run(t.Context(), "", "restate", "--data=.", "--from=2026-01-15", "--to=9999-01-01")
	if got.code != cli.ExitFailure || !strings.Contains(got.errors, "may still write") || !strings.Contains(got.errors, "--settled") {
		t.Errorf("exit code %d: %s", got.code, got.errors)
	}
	for _, args := range [][]string{
		{"--parts=-1"}, {"--at_once=1s"}, {"--from=2026-01-15", "--to=2026-01-15"}, {"--memory=1"}, {"--read_api=rest"}, {"--allowed_lateness=-1s"},
	} {
		if got := run(t.Context(), "", append([]string{"restate", "--data=."}, args...)...); got.code != cli.ExitUsage {
			t.Errorf("%v: exit code %d: %s", args, got.code, got.errors)
		}
	}
}

// A job that allows more lateness may still write what another had closed.
func TestRestateAsksForTheLateness(t *testing.T) {
	_, do := localTables(t)
	do(oneEntry)
	now := time.Date(2026, 1, 15, 10, 30, 0, 0, time.UTC)
	restate := func(lateness time.Duration) error {
		r := &restateFlags{
			readAPI: readAuto, memory: 64, atOnce: time.Hour, now: func() time.Time { return now },
			span: span{from: at(t, "2026-01-15T10:00"), to: at(t, "2026-01-15T10:01"), lateness: lateness},
		}
		return r.check(io.Discard)
	}
	if err := restate(10 * time.Minute); err != nil {
		t.Errorf("10 minutes: %v", err)
	}
	if err := restate(time.Hour); err == nil || !strings.Contains(err.Error(), "may still write windows after 2026-01-15T09:27:00Z") {
		t.Errorf("an hour: %v", err)
	}
}

// What is named in part is taken whole, and said to be; any offset is the same time.
func TestSpan(t *testing.T) {
	for _, test := range []struct{ from, to, wantFrom, wantTo, note string }{
		{"2026-01-15T10:00", "2026-01-15T11:00", "2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z", ""},
		{"2026-01-15 10:00", "2026-01-16", "2026-01-15T10:00:00Z", "2026-01-16T00:00:00Z", ""},
		{"2026-01-15T10:00:30Z", "2026-01-15T10:00:30.000001Z", "2026-01-15T10:00:00Z", "2026-01-15T10:01:00Z",
			"pixelctl: --to=2026-01-15T10:00:30.000001Z is taken as 2026-01-15T10:01:00Z: minutes are whole\n" +
				"pixelctl: --from=2026-01-15T10:00:30Z is taken as 2026-01-15T10:00:00Z: minutes are whole\n"},
		// The hour that a change of clocks repeats is two hours.
		{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", ""},
		{"2026-01-15T10:00:00+05:45", "2026-01-15T10:00:00Z", "2026-01-15T04:15:00Z", "2026-01-15T10:00:00Z", ""},
		{"", "2026-01-15T10:00:20Z", "2026-01-14T10:01:00Z", "2026-01-15T10:01:00Z", "pixelctl: --to=2026-01-15T10:00:20Z is taken as 2026-01-15T10:01:00Z: minutes are whole\n"},
		{"", "", "2026-01-14T12:00:00Z", "2026-01-15T12:00:00Z", ""},
	} {
		var s span
		for text, to := range map[string]*timeFlag{test.from: &s.from, test.to: &s.to} {
			if text != "" {
				*to = at(t, text)
			}
		}
		var notes strings.Builder
		err := s.settle(time.Date(2026, 1, 15, 12, 0, 59, 0, time.UTC), &notes)
		if err != nil || s.from.String() != test.wantFrom || s.to.String() != test.wantTo || notes.String() != test.note {
			t.Errorf("%q to %q: %s to %s, %v, notes %q", test.from, test.to, s.from.String(), s.to.String(), err, notes.String())
		}
	}
}

// The rows of groups are counted whether views read them or not, also those of a table
// that lacks newer columns.
func TestRestateReadsTablesOfGroups(t *testing.T) {
	_, do := localTables(t)
	do(`CREATE TABLE impressions_for_retail (insert_id STRING NOT NULL, event_time TIMESTAMP NOT NULL, event_type STRING, advertiser_id STRING, user_id STRING)`)
	do(`INSERT INTO impressions (insert_id, event_time, event_type, advertiser_id, invalid_reasons) VALUES ('a', TIMESTAMP '2026-01-15 10:00:01+00', 'impression', 'x', ['bot'])`)
	do(`INSERT INTO impressions_for_retail (insert_id, event_time, event_type, advertiser_id) VALUES
		('b', TIMESTAMP '2026-01-15 10:00:01+00', 'impression', 'acme'), ('b', TIMESTAMP '2026-01-15 10:00:01+00', 'impression', 'acme'),
		('a', TIMESTAMP '2026-01-15 10:00:01+00', 'impression', 'x')`) // a row of before its advertiser was in no group
	for _, api := range []string{"storage", "query"} {
		got := run(t.Context(), "", "restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10", "--dry_run", "--read_api="+api)
		if got.code != 0 || !strings.Contains(got.out, "Read 2 impressions of 1 windows, would write 2 counts") {
			t.Errorf("%s: exit code %d: %s%s", api, got.code, got.out, got.errors)
		}
	}
}

// Copies of an entry may differ, as those of a replay with another list do: one
// counts, always the same, whichever came first. impressions_unique takes the one that was
// received first.
func TestRestateCopiesThatDiffer(t *testing.T) {
	const early, late = "TIMESTAMP '2026-01-15 10:00:02+00'", "TIMESTAMP '2026-01-15 10:00:03+00'"
	row := func(received, campaign, user, reasons string) string {
		return fmt.Sprintf(`('a', TIMESTAMP '2026-01-15 10:00:01+00', %s, 'impression', '%s', '%s', %s)`, received, campaign, user, reasons)
	}
	for _, test := range []struct {
		name string
		rows []string
		want string // campaign,gross,invalid
	}{
		{"received first", []string{row(late, "later", "bob", "['bot']"), row(early, "first", "ann", "[]")}, "first,1,0\n"},
		{"NULL first", []string{row(early, "later", "bob", "[]"), row("NULL", "first", "ann", "['bot']")}, "first,1,1\n"},
		{"by what they are", []string{row(early, "a", "ann", "['bot']"), row(early, "b", "bob", "[]"), row(early, "c", "cy", "[]")}, "b,1,0\n"},
	} {
		for _, reverse := range []bool{false, true} {
			server, do := localTables(t)
			startProfiles(t, server)
			rows := slices.Clone(test.rows)
			if reverse {
				slices.Reverse(rows)
			}
			for _, row := range rows {
				do(`INSERT INTO impressions (insert_id, event_time, receive_time, event_type, campaign_id, user_id, invalid_reasons) VALUES ` + row)
			}
			for _, want := range []string{"Read 1 impressions of 1 windows, wrote 1 counts, 1 profile updates", "wrote 0 counts, 0 profile updates"} {
				got := run(t.Context(), "", "restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:10")
				if got.code != 0 || !strings.Contains(got.out, want) {
					t.Errorf("%s: exit code %d: %s%s, want %q", test.name, got.code, got.out, got.errors, want)
				}
			}
			got := run(t.Context(), "", "query", "--data=.", "--format=csv", "SELECT campaign_id, gross, invalid FROM impression_counts_current")
			if got.out != "campaign_id,gross,invalid\n"+test.want {
				t.Errorf("%s: %s%s, want %s", test.name, got.out, got.errors, test.want)
			}
		}
	}
}

// Windows that were right are not touched, however few of the job's parts they have.
func TestRestateFindsTheParts(t *testing.T) {
	for _, parts := range []int{1, 3, 16, 100, 101} {
		_, do := localTables(t)
		var rows []string
		for minute := range 9 {
			for i := range 1 + minute%3 {
				rows = append(rows, fmt.Sprintf(`('%d-%d', TIMESTAMP '2026-01-15 10:%02[1]d:01+00', 'impression', 'u%[2]d')`, minute, i))
			}
		}
		do(`INSERT INTO impressions (insert_id, event_time, event_type, user_id) VALUES ` + strings.Join(rows, ", "))
		restate := func(args ...string) result {
			return run(t.Context(), "", append([]string{"restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T11:00"}, args...)...)
		}
		if got := restate(fmt.Sprintf("--parts=%d", parts)); got.code != 0 || strings.Contains(got.out, "wrote 0 counts") {
			t.Fatalf("%d parts: exit code %d: %s%s", parts, got.code, got.out, got.errors)
		}
		if got := restate(); got.code != 0 || !strings.Contains(got.out, "wrote 0 counts") {
			t.Errorf("%d parts, again: exit code %d: %s%s", parts, got.code, got.out, got.errors)
		}
		// One window is wrong: the others tell.
		do(`INSERT INTO impressions (insert_id, event_time, event_type, user_id) VALUES ('late', TIMESTAMP '2026-01-15 10:04:59+00', 'impression', 'u')`)
		if got := restate(); got.code != 0 || !strings.Contains(got.out, "wrote 1 counts") {
			t.Errorf("%d parts, one entry more: exit code %d: %s%s", parts, got.code, got.out, got.errors)
		}
	}
}

// A job that was started anew with other parts has others from then on.
func TestRestateFindsOtherPartsLater(t *testing.T) {
	_, do := localTables(t)
	var rows []string
	for minute := range 10 {
		for i := range 4 {
			rows = append(rows, fmt.Sprintf(`('%d-%d', TIMESTAMP '2026-01-15 10:%02[1]d:01+00', 'impression')`, minute, i))
		}
	}
	do(`INSERT INTO impressions (insert_id, event_time, event_type) VALUES ` + strings.Join(rows, ", "))
	restate := func(args ...string) result {
		return run(t.Context(), "", append([]string{"restate", "--data=."}, args...)...)
	}
	restate("--from=2026-01-15T10:00", "--to=2026-01-15T10:05", "--parts=16")
	restate("--from=2026-01-15T10:05", "--to=2026-01-15T10:10", "--parts=2")
	if got := restate("--from=2026-01-15T10:00", "--to=2026-01-15T10:10", "--at_once=5m"); got.code != 0 || !strings.Contains(got.out, "Read 40 impressions of 10 windows, wrote 0 counts") {
		t.Errorf("exit code %d: %s%s", got.code, got.out, got.errors)
	}
}

// A restatement that is interrupted, wherever, leaves what the next one ends, with the
// same counts as one that was not.
func TestRestateInterrupted(t *testing.T) {
	var mu sync.Mutex
	var stop context.CancelFunc // at the request of that number
	left := 0
	server, do := faultyTables(t, func(method string, n int) error {
		mu.Lock()
		defer mu.Unlock()
		if method == "AppendRows" || method == "ReadRows" {
			if left--; left == 0 {
				stop()
				return errors.New("gone")
			}
		}
		return nil
	})
	stopAfter := func(requests int) (ctx context.Context) {
		mu.Lock()
		defer mu.Unlock()
		ctx, stop = context.WithCancel(t.Context())
		left = requests
		return ctx
	}
	startProfiles(t, server)
	for minute := range 6 {
		do(fmt.Sprintf(`INSERT INTO impressions (insert_id, event_time, event_type, user_id, campaign_id) VALUES
			('%d-a', TIMESTAMP '2026-01-15 10:%02[1]d:01+00', 'impression', 'ann', 'c'), ('%[1]d-b', TIMESTAMP '2026-01-15 10:%02[1]d:02+00', 'impression', 'bob', 'c')`, minute))
	}
	t.Setenv("TMPDIR", t.TempDir())
	args := []string{"restate", "--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T11:00", "--parts=4"}
	interrupted := 0
	for at := 1; ; at++ {
		do("DELETE FROM impression_counts WHERE window_start >= TIMESTAMP '2026-01-15 10:02:00+00'")
		got := run(stopAfter(at), "", args...)
		stopAfter(0)
		if got.code == 0 {
			break // it came to its end before
		}
		interrupted++
		if !strings.Contains(got.errors, "interrupted") || !strings.Contains(got.errors, "the same command does the rest") {
			t.Errorf("stopped at %d: exit code %d: %s%s", at, got.code, got.out, got.errors)
		}
		if got := run(t.Context(), "", args...); got.code != 0 {
			t.Fatalf("after it was stopped at %d: %s", at, got.errors)
		}
		if got := run(t.Context(), "", args...); !strings.Contains(got.out, "wrote 0 counts, 0 profile updates and 0 ledger entries") {
			t.Errorf("after it was stopped at %d, again: %s%s", at, got.out, got.errors)
		}
	}
	if interrupted < 2 {
		t.Errorf("it was interrupted %d times", interrupted)
	}
	got := run(t.Context(), "", "query", "--data=.", "--format=csv", "SELECT SUM(gross) AS gross, COUNT(*) AS n FROM impression_counts_current WHERE gross > 0")
	if got.out != "gross,n\n12,6\n" {
		t.Errorf("counts %s%s", got.out, got.errors)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// With little memory rows lie in a file and windows are counted in many passes: the
// outcome is the same.
func TestRestateInLittleMemory(t *testing.T) {
	server, do := faultyTables(t, nil)
	startProfiles(t, server)
	do(`INSERT INTO impressions (insert_id, event_time, receive_time, event_type, campaign_id, user_id, page_url, invalid_reasons)
		SELECT CONCAT('id', CAST(MOD(x, 4500) AS STRING)), TIMESTAMP_ADD(TIMESTAMP '2026-01-15 10:00:00+00', INTERVAL MOD(x, 4500) * 40 MILLISECOND),
			TIMESTAMP '2026-01-15 10:05:00+00', 'impression', CONCAT('c', CAST(MOD(x, 7) AS STRING)), CONCAT('u', CAST(MOD(x, 400) AS STRING)),
			REPEAT('https://example.com/', MOD(x, 50)), IF(MOD(x, 11) = 0, ['bot'], [])
		FROM UNNEST(GENERATE_ARRAY(1, 9000)) AS x`) // each entry twice, half of them with another campaign
	restate := func(memory int) *restater {
		restater := openRestater(t, io.Discard, nil)
		restater.flags.memory = memory
		if err := restater.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return restater
	}
	first := restate(1)
	if first.done.rows != 4500 || first.done.windows != 3 || first.done.counts == 0 || first.done.profiles == 0 {
		t.Errorf("%+v", first.done)
	}
	if again := restate(1024); again.done.counts != 0 || again.done.profiles != 0 {
		t.Errorf("with more memory: %+v", again.done)
	}
	got := run(t.Context(), "", "query", "--data=.", "--format=csv", "SELECT SUM(gross) AS gross FROM impression_counts_current")
	if got.out != "gross\n4500\n" {
		t.Errorf("counts %s%s", got.out, got.errors)
	}
}

// Of days whose rows have expired nothing is counted, since all of it would be gone.
func TestRestateRefusesWhatHasExpired(t *testing.T) {
	server, do := localTables(t)
	do(oneEntry)
	client, err := bigquery.NewClient(t.Context(), server.Project(), option.WithEndpoint(server.RESTEndpoint()), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = client.Dataset("d").Table("impressions_for_short").Create(t.Context(), &bigquery.TableMetadata{
		Schema:           bigquery.Schema{{Name: "insert_id", Type: bigquery.StringFieldType}, {Name: "event_time", Type: bigquery.TimestampFieldType}},
		TimePartitioning: &bigquery.TimePartitioning{Type: bigquery.DayPartitioningType, Field: "event_time", Expiration: 48 * time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		now, want string
	}{
		{"2026-01-16T23:59", ""},
		{"2026-01-17T00:00", "rows of before 2026-01-16T00:00:00Z have expired in impressions_for_short, which keeps them for 2 days"},
	} {
		restater := openRestater(t, io.Discard, func(r *restateFlags) { r.now = func() time.Time { return at(t, test.now).Time } })
		err := restater.run(t.Context())
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("at %s: %v, want %q", test.now, err, test.want)
		}
	}
}

// Nothing is asked of times in which there is nothing.
func TestRestateOfFarTimes(t *testing.T) {
	_, do := localTables(t)
	do(oneEntry)
	got := run(t.Context(), "", "restate", "--data=.", "--from=1970-01-01", "--to=9999-12-31", "--settled", "--at_once=1m")
	if got.code != 0 || !strings.Contains(got.out, "Read 1 impressions of 1 windows, wrote 1 counts") {
		t.Errorf("exit code %d: %s%s", got.code, got.out, got.errors)
	}
}

// startProfiles adds a local Bigtable to the local Pixelbeam of the working directory.
func startProfiles(t testing.TB, server *bigqueryd.Server) {
	t.Helper()
	profiles, err := bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { profiles.Close() })
	if err := profiles.EnsureTable(context.Background(), server.Project(), "i", schemas.Profiles()); err != nil {
		t.Fatal(err)
	}
	e := cli.Endpoints{
		BigQueryREST: server.RESTEndpoint(), BigQueryStorage: server.GRPCEndpoint(), Bigtable: profiles.Addr(),
		Project: server.Project(), Dataset: "d", Instance: "i",
	}
	if err := e.Write("."); err != nil {
		t.Fatal(err)
	}
}
