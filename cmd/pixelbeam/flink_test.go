package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/traffic"
	"pixelbeam/pipeline"
)

// startJobServer starts Prism as a job server, for which a job server of Flink can
// be taken that knows no Flink options.
func startJobServer(t *testing.T) (addr string) {
	t.Helper()
	lis, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	port := lis.Addr().(*net.TCPAddr).Port
	lis.Close()
	if _, err := prism.CreateJobServer(t.Context(), prism.Options{Port: port}); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("localhost:%d", port)
}

// A job submitted to a job server runs by workers of a pool, which fetch the
// program that was staged, and its counters come back.
func testJobServer(t *testing.T, c *cloud) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	var entries bytes.Buffer
	g := traffic.New(traffic.DefaultOptions())
	if err := traffic.Write(&entries, g, 500); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "entries.jsonl"), entries.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := c.run(t, "--runner=FlinkRunner", "--endpoint="+startJobServer(t),
		"--environment_type=EXTERNAL", "--environment_config="+startWorkerPool(t, c.binary),
		"--input="+filepath.Join(dir, "entries.jsonl"), "--output_json="+filepath.Join(dir, "out"))
	if code != cli.ExitOK || !strings.Contains(stderr, "Submitted job: ") {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	if !strings.Contains(stdout, "Read 500 = impressions ") {
		t.Errorf("not all was counted:\n%s", stdout)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), workerFolder+"*", "*pixelbeam")); err != nil || len(left) > 0 {
		t.Errorf("workers left their programs: %q (%v)", left, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "out", "impressions-*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Errorf("the workers wrote no rows (%v)", err)
	}
}

// The runner's options are those of the flags, and --flink_options has the last
// word.
func TestFlinkOptions(t *testing.T) {
	defer flagValues()()
	opts := pipeline.DefaultOptions()
	opts.Runner, opts.Project, opts.Subscription, opts.BigQueryDataset = pipeline.RunnerFlink, "p-test", "logs", "ads"
	opts.FlinkSavepoint = "file:///s/savepoint-1"
	opts.FlinkOptions = map[string]any{"max_bundle_time_mills": 7.0, "state_backend": "rocksdb"}
	l := &flinkLaunch{opts: &opts, set: flag.CommandLine, given: func(string) bool { return false }}
	if err := l.defaults(); err != nil {
		t.Fatal(err)
	}
	if err := l.check(); err != nil {
		t.Fatal(err)
	}
	options, err := jobOptions(l.runnerOptions())
	if err != nil {
		t.Fatal(err)
	}
	got := options.AsMap()
	for name, want := range map[string]any{
		"streaming": true, "job_name": "pixelbeam", "flink_master": "localhost:8081", "checkpointing_interval": 10_000.0,
		"fail_on_checkpointing_errors": true, "savepoint_path": "file:///s/savepoint-1", "max_bundle_time_mills": 7.0, "state_backend": "rocksdb",
	} {
		if got["beam:option:"+name+":v1"] != want {
			t.Errorf("%s is %v, want %v", name, got["beam:option:"+name+":v1"], want)
		}
	}
	if opts.FlinkJob != "pixelbeam" {
		t.Errorf("workers ask for the checkpoints of the job %q", opts.FlinkJob)
	}
}

// All that is wrong with a launch on Flink is said at once.
func TestFlinkErrorsComeTogether(t *testing.T) {
	defer flagValues()()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), command(), []string{
		"--runner=flink", "--project=p-test", "--subscription=logs", "--bigquery_dataset=ads", "--endpoint=nowhere",
		"--environment_type=EXTERNAL", "--flink_master=ftp://x", "--flink_checkpoint_interval=1ms", "--shards=0",
	}, &stdout, &stderr)
	if code != cli.ExitUsage {
		t.Errorf("exit %d, want %d", code, cli.ExitUsage)
	}
	for _, want := range []string{"--endpoint=nowhere", "--environment_config=host:port", "--flink_master", "--flink_checkpoint_interval=1ms", "--shards=0"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in:\n%s", want, stderr.String())
		}
	}
}

// A second job of a name is not launched: Flink is asked for checkpoints by it.
func TestFlinkJobNameIsTaken(t *testing.T) {
	defer flagValues()()
	flink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/jobs/overview" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, `{"jobs":[{"jid":"1","name":"pixelbeam","state":"RESTARTING"}]}`)
	}))
	defer flink.Close()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), command(), []string{
		"--runner=flink", "--project=p-test", "--subscription=logs", "--bigquery_dataset=ads", "--flink_master=" + flink.URL,
	}, &stdout, &stderr)
	if code != cli.ExitFailure || !strings.Contains(stderr.String(), "a job named pixelbeam runs already") || !strings.Contains(stderr.String(), "--flink_savepoint") {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
}
