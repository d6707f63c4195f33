package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/local/bigtabled"
	"pixelbeam/local/pubsubd"
	"pixelbeam/local/traffic"
	"pixelbeam/schemas"
	"pixelbeam/transforms/useragent"
)

func TestMain(m *testing.M) { ptest.Main(m) }

const (
	topic        = "projects/p-test/topics/logs"
	subscription = "projects/p-test/subscriptions/logs"
)

// The command, with flags alone, reads a subscription to its end and writes
// tables and profiles by the real clients.
func TestStreamingJob(t *testing.T) {
	t.Run("at least once", func(t *testing.T) {
		testStreamingJob(t, "SELECT COUNT(*) AS n FROM (SELECT DISTINCT insert_id, event_time FROM `ads.impressions`)")
	})
	// The generator repeats entries, and the table itself has each once.
	t.Run("exactly once", func(t *testing.T) {
		testStreamingJob(t, "SELECT COUNT(*) AS n FROM `ads.impressions`", "--bigquery_delivery=exactly_once")
	})
}

// testStreamingJob takes the query of how many impressions there are, and more
// flags.
func testStreamingJob(t *testing.T, impressions string, flags ...string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	pubsub, err := pubsubd.Start("127.0.0.1:0", pubsubd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pubsub.Close()
	if err := pubsub.CreateTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := pubsub.CreateSubscription(subscription, topic); err != nil {
		t.Fatal(err)
	}
	bigQuery, err := bigqueryd.Start(bigqueryd.Options{Project: "p-test"})
	if err != nil {
		t.Fatal(err)
	}
	defer bigQuery.Close()
	if err := bigQuery.CreateDataset(ctx, "ads"); err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.Tables() {
		if err := bigQuery.CreateTable(ctx, "ads", table); err != nil {
			t.Fatal(err)
		}
	}
	bigtable, err := bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer bigtable.Close()
	if err := bigtable.EnsureTable(ctx, "p-test", "i-test", schemas.Profiles()); err != nil {
		t.Fatal(err)
	}

	g := traffic.New(traffic.DefaultOptions())
	for range 3000 {
		var e traffic.Entry
		g.Next(&e)
		m := pubsubd.Message{Data: e.Data}
		if e.Timestamp != "" {
			m.Attributes = map[string]string{"logging.googleapis.com/timestamp": e.Timestamp}
		}
		if _, err := pubsub.Publish(topic, m); err != nil {
			t.Fatal(err)
		}
	}
	want := g.Totals()
	// The largest message that Pub/Sub takes, and one without data.
	for _, m := range []pubsubd.Message{
		{Data: bytes.Repeat([]byte("x"), 9_900_000)},
		{Attributes: map[string]string{"empty": "yes"}, OrderingKey: "key"},
	} {
		if _, err := pubsub.Publish(topic, m); err != nil {
			t.Fatal(err)
		}
	}

	var stdout, stderr bytes.Buffer
	code := cli.Run(ctx, command(), append([]string{
		"--project=p-test", "--subscription=logs", "--pubsub_endpoint=" + pubsub.Addr(), "--until_idle",
		"--bigquery_dataset=ads", "--bigquery_endpoint=" + bigQuery.RESTEndpoint(), "--bigquery_storage_endpoint=" + bigQuery.GRPCEndpoint(),
		"--bigtable_instance=i-test", "--bigtable_endpoint=" + bigtable.Addr(),
	}, flags...), &stdout, &stderr)
	if code != cli.ExitOK {
		t.Fatalf("exit %d\n%s\n%s", code, stdout.String(), stderr.String())
	}
	if !strings.Contains(stdout.String(), "Read 3002 = impressions") {
		t.Errorf("report:\n%s", stdout.String())
	}
	for sql, n := range map[string]int64{
		impressions: want.Impressions,
		"SELECT SUM(gross) AS n FROM `ads.impression_counts`":                                                          want.Impressions,
		"SELECT COUNT(*) AS n FROM `ads.rejected_entries` WHERE LENGTH(payload) = 0 AND reason = 'invalid_json'":       1,
		"SELECT COUNT(*) AS n FROM `ads.rejected_entries` WHERE LENGTH(payload) > 5000000 AND reason = 'invalid_json'": 1,
	} {
		rows, err := bigQuery.Query(ctx, sql)
		if err != nil {
			t.Fatal(err)
		}
		if rows[0]["n"] != n {
			t.Errorf("%s: %v, want %d", sql, rows[0]["n"], n)
		}
	}
	if bigtable.Stats().RowsWritten == 0 {
		t.Error("no profile was written")
	}
	if s, err := pubsub.Stats(subscription); err != nil || s.Acked != 3002 {
		t.Errorf("%d messages acknowledged (%v), want 3002", s.Acked, err)
	}
}

// --version names the user agent rules that the job would apply.
func TestVersionNamesUserAgentRules(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(own, []byte("user_agent_parsers: []\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--version"}, "\nuser agent rules: " + useragent.Version() + "\n"},
		{[]string{"--user_agent_rules", own, "--version"}, "\nuser agent rules: own.yaml sha256:"},
	} {
		var stdout, stderr bytes.Buffer
		if code := cli.Run(t.Context(), command(), test.args, &stdout, &stderr); code != cli.ExitOK {
			t.Errorf("%q: exit %d: %s", test.args, code, stderr.String())
		}
		if !strings.Contains(stdout.String(), test.want) {
			t.Errorf("%q: no %q in:\n%s", test.args, test.want, stdout.String())
		}
	}
}

func TestUsageErrorsComeTogether(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), command(), []string{"--runner=spark", "--shards=0"}, &stdout, &stderr)
	if code != cli.ExitUsage {
		t.Errorf("exit %d, want %d", code, cli.ExitUsage)
	}
	for _, want := range []string{"--runner=spark", "nothing to read", "nowhere to write", "--shards=0", "pixelbeam --help"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in:\n%s", want, stderr.String())
		}
	}
}

// A job that fails says which step failed and why, once, without the runner's plans.
func TestFailedJobIsTold(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "entries.jsonl"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, runner := range []string{"prism", "direct"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMainAsProgram$", "--", "--runner="+runner, "--quiet",
			"--input="+filepath.Join(dir, "entries.jsonl"), "--output_json="+filepath.Join(dir, "entries.jsonl", "out"))
		cmd.Env = append(os.Environ(), "PIXELBEAM_TEST_PROGRAM=1")
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != cli.ExitFailure {
			t.Errorf("%s: %v", runner, err)
		}
		if text := string(out); strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "pixelbeam: job on "+runner+": step sink.json") || !strings.Contains(text, "not a directory") {
			t.Errorf("%s prints:\n%s", runner, text)
		}
	}
}

// TestMainAsProgram is the program, for tests that run it.
func TestMainAsProgram(t *testing.T) {
	if os.Getenv("PIXELBEAM_TEST_PROGRAM") == "" {
		return
	}
	_, args, _ := strings.Cut(strings.Join(os.Args, "\x00"), "\x00--\x00")
	os.Exit(cli.Run(t.Context(), command(), strings.Split(args, "\x00"), os.Stdout, os.Stderr))
}

func TestHelpShowsOursFirst(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := cli.Run(t.Context(), command(), []string{"--help"}, &stdout, &stderr); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	ours, beams := strings.Index(stdout.String(), "--bigquery_dataset"), strings.Index(stdout.String(), "Beam and runner flags")
	if ours < 0 || beams < ours {
		t.Errorf("--bigquery_dataset at %d, Beam's flags at %d", ours, beams)
	}
}
