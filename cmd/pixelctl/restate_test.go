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
	if got := run(t.Context(), "", "query", "--data=.", "--format=csv", "SELECT COUNT(*) AS n FROM impression_counts"); got.out != "n\n0\n" {
		t.Errorf("a dry run wrote: %s", got.out)
	}
	expect("first", "Read 5 impressions of 2 windows, wrote ", restate("--parts=2"))
	truth("first")
	expect("again", "wrote 0 counts", restate())
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
