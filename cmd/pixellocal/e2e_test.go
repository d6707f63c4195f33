package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/local/traffic"
)

// localPorts let the system choose, so that tests can run side by side.
var localPorts = []string{
	"--http=127.0.0.1:0", "--pubsub_addr=127.0.0.1:0", "--bigtable_addr=127.0.0.1:0",
	"--bigquery_addr=127.0.0.1:0", "--bigquery_storage_addr=127.0.0.1:0", "--storage_addr=127.0.0.1:0",
}

// runToEnd runs pixellocal in this process until it exits by itself.
func runToEnd(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if code := cli.Run(ctx, command(), append(args, localPorts...), &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// tables opens the tables that a run left.
func tables(t *testing.T, dir string) func(sql string) []map[string]any {
	t.Helper()
	s, err := bigqueryd.Start(bigqueryd.Options{Path: filepath.Join(dir, tablesFile), Project: project, HTTPAddr: "127.0.0.1:0", GRPCAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(sql string) []map[string]any {
		t.Helper()
		rows, err := s.Query(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return rows
	}
}

func count(t *testing.T, rows []map[string]any) int64 {
	t.Helper()
	n, err := integer(rows[0]["n"])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Every generated entry is accounted for, and the numbers are those that the
// generator knows.
func TestGeneratedTraffic(t *testing.T) {
	const n = 20_000
	dir := t.TempDir()
	out := runToEnd(t, "--data="+dir, fmt.Sprint("--count=", n), "--until-idle", "--seed=7")
	if !strings.Contains(out, "The books balance.") {
		t.Errorf("totals:\n%s", out)
	}

	opts := traffic.DefaultOptions()
	opts.Seed = 7
	g := traffic.New(opts)
	var e traffic.Entry
	for range n {
		g.Next(&e)
	}
	want := g.Totals()

	query := tables(t, dir)
	if got := count(t, query("SELECT COUNT(*) AS n FROM `pixelbeam.impressions_unique`")); got != want.Impressions {
		t.Errorf("impressions_unique has %d rows, want %d", got, want.Impressions)
	}
	if got := count(t, query("SELECT COUNT(*) AS n FROM `pixelbeam.impressions`")); got != want.Impressions+want.DuplicateImpressions {
		t.Errorf("impressions has %d rows, want %d", got, want.Impressions+want.DuplicateImpressions)
	}
	if got := count(t, query("SELECT SUM(gross) AS n FROM `pixelbeam.impression_counts_current`")); got != want.Impressions {
		t.Errorf("counted %d, want %d", got, want.Impressions)
	}
	rejected := map[string]int64{}
	for _, row := range query("SELECT reason, COUNT(*) AS n FROM `pixelbeam.rejected_entries` GROUP BY reason") {
		rejected[row["reason"].(string)], _ = integer(row["n"])
	}
	if diff := cmp.Diff(want.Rejected, rejected); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	// The ledger knows all of it, and so do clicks and reach.
	ledger := query("SELECT SUM(`read`) AS n, SUM(impressions) AS impressions, SUM(rejected) AS rejected, SUM(ignored) AS ignored," +
		" SUM(duplicates) AS duplicates, SUM(too_late) + SUM(unmatched) AS late FROM `pixelbeam.ledger_current`")[0]
	for column, want := range map[string]int64{
		"n": n, "impressions": want.Impressions + want.DuplicateImpressions, "rejected": sum(want.Rejected),
		"ignored": sum(want.Ignored), "duplicates": want.DuplicateImpressions, "late": 0,
	} {
		if got, err := integer(ledger[column]); err != nil || got != want {
			t.Errorf("ledger: %s %d, want %d (%v)", column, got, want, err)
		}
	}
	for what, sql := range map[string][2]string{
		"clicks":         {"SUM(clicks) AS n", "COUNTIF(event_type = 'click') AS n"},
		"users (sketch)": {"HLL_COUNT.MERGE(sketch) AS n", "HLL_COUNT.EXTRACT(HLL_COUNT.INIT(user_id)) AS n"},
	} {
		got := count(t, query("SELECT "+sql[0]+" FROM `pixelbeam.impression_counts_current`"))
		if want := count(t, query("SELECT "+sql[1]+" FROM `pixelbeam.impressions_unique`")); got != want || want == 0 {
			t.Errorf("%s: counted %d, want %d", what, got, want)
		}
	}
	// Counts per dimension agree with the rows.
	diffs := query("SELECT COUNT(*) AS n FROM (SELECT campaign_id, device_type, event_type, COUNT(*) AS c FROM `pixelbeam.impressions_unique` GROUP BY campaign_id, device_type, event_type) a" +
		" FULL JOIN (SELECT campaign_id, device_type, event_type, SUM(gross) AS c FROM `pixelbeam.impression_counts_current` GROUP BY campaign_id, device_type, event_type) b" +
		" ON IFNULL(a.campaign_id, '') = IFNULL(b.campaign_id, '') AND a.device_type = b.device_type AND a.event_type = b.event_type WHERE IFNULL(a.c, 0) <> IFNULL(b.c, 0)")
	if got := count(t, diffs); got != 0 {
		t.Errorf("%d combinations of dimensions are counted differently", got)
	}
}

// Hostile entries among good ones: the good ones arrive, the bad ones are kept
// Tables of groups are made, told in the totals, and read by the views, also when a
// later run has no groups.
func TestTablesOfGroups(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "groups.csv")
	if err := os.WriteFile(file, []byte("1000,first\n1001,first\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	out := runToEnd(t, "--data", dir, "--count", fmt.Sprint(n), "--until-idle", "--table_suffix_by=advertiser", "--advertiser_groups", file)
	if !strings.Contains(out, "The books balance") {
		t.Errorf("totals:\n%s", out)
	}
	if out := runToEnd(t, "--data", dir, "--count", fmt.Sprint(n/2), "--seed=2", "--until-idle"); !strings.Contains(out, "The books balance") {
		t.Errorf("totals without groups:\n%s", out)
	}
	query := tables(t, dir)
	unique := count(t, query("SELECT COUNT(*) AS n FROM `pixelbeam.impressions_unique`"))
	apart := count(t, query("SELECT COUNT(*) AS n FROM (SELECT DISTINCT insert_id, event_time FROM `pixelbeam.impressions_for_first`)"))
	rest := count(t, query("SELECT COUNT(*) AS n FROM (SELECT DISTINCT insert_id, event_time FROM `pixelbeam.impressions`)"))
	if apart == 0 || unique != apart+rest {
		t.Errorf("%d entries in impressions_unique, %d in the table of the group, %d in impressions", unique, apart, rest)
	}
}

// byte for byte.
func TestHostileEntries(t *testing.T) {
	dir := t.TempDir()
	good := func(id string) string {
		return `{"insertId":"` + id + `","timestamp":"2026-01-15T12:00:00Z","httpRequest":{"requestMethod":"GET","requestUrl":"https://px.example/pixel.gif?cb=1","status":200}}`
	}
	bad := map[string]string{
		"corrupt":   `{"insertId":"c","httpRequest":{"requestUrl`,
		"oversized": strings.TrimSuffix(good("o"), "}") + `,"x":"` + strings.Repeat("y", 300<<10) + `"}`,
		"non-UTF-8": strings.Replace(good("u"), "px.example", "px\xff\xfe.example", 1),
		"nested":    strings.TrimSuffix(good("n"), "}") + `,"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
	}
	lines := []string{good("1"), bad["corrupt"], good("2"), bad["oversized"], bad["non-UTF-8"], good("3"), bad["nested"], good("4")}
	file := filepath.Join(t.TempDir(), "entries.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	runToEnd(t, "--data="+dir, "--entries="+file, "--until-idle")

	query := tables(t, dir)
	if got := count(t, query("SELECT COUNT(*) AS n FROM `pixelbeam.impressions_unique`")); got != 4 {
		t.Errorf("%d good entries arrived, want 4", got)
	}
	kept := map[string]string{}
	for _, row := range query("SELECT reason, TO_BASE64(payload) AS payload FROM `pixelbeam.rejected_entries`") {
		payload, err := base64.StdEncoding.DecodeString(row["payload"].(string))
		if err != nil {
			t.Fatal(err)
		}
		kept[string(payload)] = row["reason"].(string)
	}
	want := map[string]string{
		bad["corrupt"]: "invalid_json", bad["oversized"]: "too_large",
		bad["non-UTF-8"]: "invalid_json", bad["nested"]: "invalid_json",
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("rejected (-want +got):\n%.2000s", diff)
	}
}

// output collects what a running pixellocal prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Without traffic of its own it serves for as long as it was asked to.
func TestDurationWithoutTraffic(t *testing.T) {
	const asked = 2 * time.Second
	started := time.Now()
	runToEnd(t, "--data="+t.TempDir(), "--duration="+asked.String())
	if took := time.Since(started); took < asked {
		t.Errorf("it ended after %v, want %v at least", took, asked)
	}
}

// A job that fails while nothing is published ends it, with the reason.
func TestJobFailsWhileServing(t *testing.T) {
	dir := t.TempDir()
	var out output
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(t.Context(), command(), append([]string{"--data=" + dir}, localPorts...), &out, &out)
	}()
	var at cli.Endpoints
	eventually(t, func() bool {
		var err error
		at, err = cli.ReadEndpoints(dir)
		return err == nil
	}, &out)
	if _, err := restQuery(at, "DROP TABLE impressions"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(at.HTTP + "/pixel.gif?adv=acme&cb=1")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	eventually(t, func() bool { return len(code) > 0 }, &out)
	if c := <-code; c != cli.ExitFailure || !strings.Contains(out.String(), "the job ended") || !strings.Contains(out.String(), "impressions") {
		t.Errorf("exit %d\n%s", c, out.String())
	}
}

// A request for the pixel becomes a row while everything runs, and the drain
// counts and profiles it.
func TestPixelToRow(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out output
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, command(), append([]string{"--data=" + dir}, localPorts...), &out, &out)
	}()
	var at cli.Endpoints
	eventually(t, func() bool {
		var err error
		at, err = cli.ReadEndpoints(dir)
		return err == nil
	}, &out)
	for i := range 3 {
		resp, err := http.Get(fmt.Sprintf("%s/pixel.gif?adv=acme&cid=spring&uid=me&cb=%d", at.HTTP, i))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !bytes.HasPrefix(body, []byte("GIF89a")) {
			t.Fatalf("%s: %q", resp.Status, body)
		}
	}
	eventually(t, func() bool {
		rows, err := restQuery(at, "SELECT COUNT(*) AS n FROM impressions WHERE user_id = 'me' AND campaign_id = 'spring'")
		return err == nil && rows == "3"
	}, &out)
	stop()
	if c := <-code; c != 0 {
		t.Fatalf("exit %d\n%s", c, out.String())
	}
	if !strings.Contains(out.String(), "The books balance.") {
		t.Errorf("totals:\n%s", out.String())
	}
	query := tables(t, dir)
	if got := count(t, query("SELECT SUM(gross) AS n FROM `pixelbeam.impression_counts_current` WHERE campaign_id = 'spring'")); got != 3 {
		t.Errorf("counted %d, want 3", got)
	}
}

// eventually waits for a condition, for 60 s at most.
func eventually(t *testing.T, ok func() bool, out *output) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 60 s; output so far:\n%s", out.String())
		}
	}
}
