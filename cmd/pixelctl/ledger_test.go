package main

import (
	"context"
	"strings"
	"testing"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/schemas"
)

// localTables starts a BigQuery with all tables and views that commands find by
// the data folder ".", and returns how to run a statement on it.
func localTables(t *testing.T) (*bigqueryd.Server, func(sql string)) {
	t.Helper()
	isolate(t)
	return startTables(t, bigqueryd.Options{})
}

// startTables starts a local BigQuery with all tables, which the working directory
// names. do runs a statement.
func startTables(t testing.TB, opts bigqueryd.Options) (_ *bigqueryd.Server, do func(sql string)) {
	t.Helper()
	server, err := bigqueryd.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if err := server.CreateDataset(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.Tables() {
		if err := server.CreateTable(t.Context(), "d", table); err != nil {
			t.Fatal(err)
		}
	}
	for _, view := range schemas.Views() {
		if err := server.CreateView(t.Context(), "d", view); err != nil {
			t.Fatal(view.Name, err)
		}
	}
	e := cli.Endpoints{BigQueryREST: server.RESTEndpoint(), BigQueryStorage: server.GRPCEndpoint(), Project: server.Project(), Dataset: "d"}
	if err := e.Write("."); err != nil {
		t.Fatal(err)
	}
	return server, func(sql string) {
		t.Helper()
		if got := run(context.Background(), "", "query", "--data=.", sql); got.code != 0 {
			t.Fatalf("%s: %s", sql, got.errors)
		}
	}
}

func TestLedger(t *testing.T) {
	_, do := localTables(t)
	// Minute 10:00 has 3 deliveries of 2 entries, 1 rejected, 1 ignored; its
	// earlier pane does not count, nor do bundles that failed and had less.
	do(`INSERT INTO ledger (minute, part, pane, read, impressions, rejected, ignored, duplicates, too_late, unmatched) VALUES
		(TIMESTAMP '2026-01-15 10:00:00+00', '0', 0, 1, 1, 0, 0, 0, 0, 0),
		(TIMESTAMP '2026-01-15 10:00:00+00', '0', 1, 2, 2, 0, 0, 0, 0, 0),
		(TIMESTAMP '2026-01-15 10:00:00+00', '0', 1, 3, 3, 0, 0, 1, 0, 0),
		(TIMESTAMP '2026-01-15 10:00:00+00', '0', 1, 2, 2, 0, 0, 0, 0, 0),
		(TIMESTAMP '2026-01-15 10:00:00+00', '-1', 0, 2, 0, 1, 1, 0, 0, 0)`)
	do(`INSERT INTO impressions (insert_id, event_time) VALUES
		('a', TIMESTAMP '2026-01-15 10:00:01+00'), ('a', TIMESTAMP '2026-01-15 10:00:01+00'), ('b', TIMESTAMP '2026-01-15 10:00:59+00')`)
	do(`INSERT INTO impression_counts (window_start, window_end, gross, invalid, net, clicks, part, pane) VALUES
		(TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', 1, 0, 1, 0, 0, 0),
		(TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', 1, 0, 1, 0, 0, 1),
		(TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', 2, 0, 2, 0, 0, 1),
		(TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', 1, 0, 1, 0, 0, 1)`)
	do(`INSERT INTO rejected_entries (receive_time, reason, detail, stage, payload, source) VALUES
		(TIMESTAMP '2026-01-15 10:00:30+00', 'invalid_json', 'd', 'parse', b'x', 'm1'),
		(TIMESTAMP '2026-01-15 10:00:30+00', 'invalid_json', 'd', 'parse', b'x', 'm1')`)
	ledger := func(args ...string) result {
		return run(t.Context(), "", append([]string{"ledger", "--data=.", "--from=2026-01-15", "--to=2026-01-16"}, args...)...)
	}
	got := ledger("--format=csv")
	want := "minute,read,impressions,rejected,ignored,duplicates,too_late,unmatched,recovered,rows,gross,status\n" +
		"2026-01-15T10:00:00.000000Z,5,3,1,1,1,0,0,0,2,2,balanced\n"
	if got.code != 0 || got.out != want || !strings.Contains(got.errors, "read 5 = impressions 3 + rejected 1 + ignored 1") {
		t.Fatalf("exit code %d\n%s\n%s\nwant\n%s", got.code, got.out, got.errors, want)
	}

	// An entry that was too late is in impressions only, and that is right.
	do(`INSERT INTO ledger (minute, part, pane, read, impressions, rejected, ignored, duplicates, too_late, unmatched) VALUES
		(TIMESTAMP '2026-01-15 10:00:00+00', 'late-x', 0, 1, 1, 0, 0, 0, 0, 1),
		(TIMESTAMP '2026-01-15 10:00:00+00', 'uncounted-x', 0, 0, 0, 0, 0, 0, 1, 0),
		(TIMESTAMP '2026-01-15 10:00:00+00', 'uncounted-x', 0, 0, 0, 0, 0, 0, 1, 0)`)
	do(`INSERT INTO impressions (insert_id, event_time) VALUES ('c', TIMESTAMP '2026-01-15 10:00:02+00')`)
	if got := ledger("--format=csv"); got.code != 0 || !strings.Contains(got.out, ",6,4,1,1,1,1,1,0,3,2,balanced\n") {
		t.Errorf("exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}

	for _, test := range []struct{ break_, mend, want string }{
		{"INSERT INTO impressions (insert_id, event_time) VALUES ('x', TIMESTAMP '2026-01-15 10:00:03+00')",
			"DELETE FROM impressions WHERE insert_id = 'x'", "impressions has 1 rows that the ledger does not know"},
		{"UPDATE impression_counts SET gross = 9 WHERE pane = 1", "UPDATE impression_counts SET gross = 2 WHERE pane = 1", "impression_counts has 6 too many"},
		{"UPDATE impression_counts SET gross = 1 WHERE pane = 1", "UPDATE impression_counts SET gross = 2 WHERE pane = 1", "impression_counts lacks 1"},
		{"UPDATE ledger SET ignored = 4 WHERE part = '-1'", "UPDATE ledger SET ignored = 1 WHERE part = '-1'", "read 6, but the outcomes are 9"},
		{"UPDATE ledger SET impressions = 7, read = 7 WHERE part = '0' AND pane = 1 AND duplicates = 1", "UPDATE ledger SET impressions = 3, read = 3 WHERE part = '0' AND pane = 1 AND duplicates = 1", "impressions lacks 3 rows"},
		{"UPDATE rejected_entries SET source = 'm2' WHERE reason = 'invalid_json' AND detail = 'none'", "SELECT 1", ""},
		{"INSERT INTO rejected_entries (receive_time, reason, detail, stage, payload, source) VALUES (TIMESTAMP '2026-01-15 10:00:30+00', 'too_large', 'd', 'parse', b'x', 'm3')",
			"DELETE FROM rejected_entries WHERE source = 'm3'", "rejected_entries has 2"},
	} {
		do(test.break_)
		got := ledger()
		if test.want == "" {
			if got.code != 0 {
				t.Errorf("%s: exit code %d: %s", test.break_, got.code, got.out)
			}
		} else if got.code != cli.ExitFailure || !strings.Contains(got.out, test.want) || !strings.Contains(got.errors, "1 minute is wrong") {
			t.Errorf("%s: exit code %d, want %q in\n%s\n%s", test.break_, got.code, test.want, got.out, got.errors)
		}
		do(test.mend)
	}
	if got := run(t.Context(), "", "ledger", "--data=.", "--from=2026-01-15", "--to=2026-01-14"); got.code == 0 || !strings.Contains(got.errors, "is not before") {
		t.Errorf("exit code %d: %s", got.code, got.errors)
	}
	if got := run(t.Context(), "", "ledger", "--data=.", "--from=yesterday"); got.code != cli.ExitUsage {
		t.Errorf("exit code %d: %s", got.code, got.errors)
	}
}

// Rows in tables of groups are rows, in the books and for a restatement.
func TestLedgerAndRestateWithGroups(t *testing.T) {
	server, do := localTables(t)
	if err := server.CreateTable(t.Context(), "d", schemas.GroupSeed()); err != nil {
		t.Fatal(err)
	}
	for _, view := range schemas.GroupedViews() {
		if err := server.CreateView(t.Context(), "d", view); err != nil {
			t.Fatal(view.Name, err)
		}
	}
	do("CREATE TABLE impressions_for_retail AS SELECT * FROM impressions")
	do(`INSERT INTO impressions (insert_id, event_time, event_type, invalid_reasons) VALUES ('a', TIMESTAMP '2026-01-15 10:00:01+00', 'impression', [])`)
	// The advertiser moved between two deliveries of b.
	for _, table := range []string{"impressions", "impressions_for_retail"} {
		do(`INSERT INTO ` + table + ` (insert_id, event_time, event_type, advertiser_id, invalid_reasons) VALUES ('b', TIMESTAMP '2026-01-15 10:00:02+00', 'impression', 'acme', [])`)
	}
	do(`INSERT INTO impressions_for_retail (insert_id, event_time, event_type, advertiser_id, invalid_reasons) VALUES ('c', TIMESTAMP '2026-01-15 10:00:03+00', 'impression', 'acme', [])`)
	do(`INSERT INTO ledger (minute, part, pane, read, impressions, rejected, ignored, duplicates, too_late, unmatched) VALUES
		(TIMESTAMP '2026-01-15 10:00:00+00', '0', 0, 4, 4, 0, 0, 1, 0, 0)`)
	during := []string{"--data=.", "--from=2026-01-15T10:00", "--to=2026-01-15T10:01"}
	if got := run(t.Context(), "", append([]string{"restate", "--profiles=false", "--parts=1"}, during...)...); got.code != 0 || !strings.Contains(got.out, "Read 3 impressions of 1 windows") {
		t.Errorf("exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}
	if got := run(t.Context(), "", append([]string{"ledger", "--format=csv"}, during...)...); got.code != 0 || !strings.Contains(got.out, ",4,4,0,0,1,0,0,0,3,3,balanced\n") {
		t.Errorf("exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}
	quality := `SELECT advertiser_id, entries, total FROM data_quality WHERE problem = 'duplicate'`
	if got := run(t.Context(), "", "query", "--data=.", "--format=csv", quality); got.out != "advertiser_id,entries,total\nacme,1,3\n" {
		t.Errorf("copies:\n%s%s", got.out, got.errors)
	}
}

// A minute that has just ended may still change.
func TestLedgerOpenMinute(t *testing.T) {
	_, do := localTables(t)
	do(`INSERT INTO impressions (insert_id, event_time) VALUES ('a', TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 MINUTE))`)
	got := run(t.Context(), "", "ledger", "--data=.")
	if got.code != 0 || !strings.Contains(got.out, "open: impressions has 1 rows") || !strings.Contains(got.errors, "1 minute is open") {
		t.Errorf("exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}
	if got := run(t.Context(), "", "ledger", "--data=.", "--settled"); got.code != cli.ExitFailure {
		t.Errorf("settled: exit code %d\n%s\n%s", got.code, got.out, got.errors)
	}
}

// The views of periods add up, and know whom they saw.
func TestCountViews(t *testing.T) {
	_, do := localTables(t)
	do(`INSERT INTO impressions (insert_id, event_time, user_id) VALUES ('a', TIMESTAMP '2026-01-15 10:00:01+00', 'u1')`)
	for _, row := range []string{
		"TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', 'acme', 'impression', 3, 1, 2, 0, 0, 0, (SELECT HLL_COUNT.INIT(x) FROM UNNEST(['u1', 'u2']) AS x)",
		"TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', 'acme', 'impression', 4, 1, 3, 0, 1, 0, (SELECT HLL_COUNT.INIT(x) FROM UNNEST(['u2', 'u3']) AS x)",
		"TIMESTAMP '2026-01-15 11:00:00+00', TIMESTAMP '2026-01-15 11:01:00+00', 'acme', 'click', 1, 0, 1, 1, 0, 0, NULL",
		"TIMESTAMP '2026-01-12 00:00:00+00', TIMESTAMP '2026-01-12 00:01:00+00', 'acme', 'impression', 1, 0, 1, 0, 0, 0, (SELECT HLL_COUNT.INIT(x) FROM UNNEST(['u1']) AS x)",
		"TIMESTAMP '2026-01-11 23:59:00+00', TIMESTAMP '2026-01-12 00:00:00+00', 'acme', 'impression', 1, 0, 1, 0, 0, 0, (SELECT HLL_COUNT.INIT(x) FROM UNNEST(['u1']) AS x)",
	} {
		do("INSERT INTO impression_counts (window_start, window_end, advertiser_id, event_type, gross, invalid, net, clicks, part, pane, sketch) SELECT " + row)
	}
	for sql, want := range map[string]string{
		"SELECT FORMAT_TIMESTAMP('%H:%M', window_start) AS t, event_type, gross, net, clicks, HLL_COUNT.EXTRACT(sketch) AS reach FROM impression_counts_current WHERE DATE(window_start) = DATE '2026-01-15' ORDER BY window_start": "t,event_type,gross,net,clicks,reach\n10:00,impression,7,5,0,3\n11:00,click,1,1,1,0\n",
		"SELECT FORMAT_TIMESTAMP('%d %H', hour) AS h, gross, invalid, reach FROM impression_counts_per_hour ORDER BY hour":                                                                                                          "h,gross,invalid,reach\n11 23,1,0,1\n12 00,1,0,1\n15 10,7,2,3\n15 11,1,0,0\n",
		"SELECT day, event_type, gross, reach FROM impression_counts_per_day ORDER BY day, event_type":                                                                                                                              "day,event_type,gross,reach\n2026-01-11,impression,1,1\n2026-01-12,impression,1,1\n2026-01-15,click,1,0\n2026-01-15,impression,7,3\n",
		"SELECT week, event_type, gross, clicks, reach FROM impression_counts_per_week ORDER BY week, event_type":                                                                                                                   "week,event_type,gross,clicks,reach\n2026-01-05,impression,1,0,1\n2026-01-12,click,1,1,0\n2026-01-12,impression,8,0,3\n",
		"SELECT day, advertiser_id, event_type, gross FROM impression_counts_per_advertiser ORDER BY day, event_type":                                                                                                               "day,advertiser_id,event_type,gross\n2026-01-11,acme,impression,1\n2026-01-12,acme,impression,1\n2026-01-15,acme,click,1\n2026-01-15,acme,impression,7\n",
	} {
		if got := run(t.Context(), "", "query", "--data=.", "--format=csv", sql); got.out != want {
			t.Errorf("%s\n%s%s\nwant\n%s", sql, got.out, got.errors, want)
		}
	}
}
