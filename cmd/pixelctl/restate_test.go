package main

import (
	"strings"
	"testing"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigtabled"
	"pixelbeam/schemas"
)

// Windows are restated from the raw rows, once, and only where they differ.
func TestRestate(t *testing.T) {
	server, do := localTables(t)
	profiles, err := bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { profiles.Close() })
	if err := profiles.EnsureTable(t.Context(), server.Project(), "i", schemas.Profiles()); err != nil {
		t.Fatal(err)
	}
	e := cli.Endpoints{
		BigQueryREST: server.RESTEndpoint(), BigQueryStorage: server.GRPCEndpoint(), Bigtable: profiles.Addr(),
		Project: server.Project(), Dataset: "d", Instance: "i",
	}
	if err := e.Write("."); err != nil {
		t.Fatal(err)
	}
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
	if got := restate(); got.code != 0 || strings.Contains(got.out, "wrote 0 counts") {
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
	for _, args := range [][]string{{"--parts=-1"}, {"--at_once=1s"}, {"--from=2026-01-15", "--to=2026-01-15"}} {
		if got := run(t.Context(), "", append([]string{"restate", "--data=."}, args...)...); got.code != cli.ExitUsage {
			t.Errorf("%v: exit code %d: %s", args, got.code, got.errors)
		}
	}
}
