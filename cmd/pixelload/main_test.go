package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/load"
	"pixelbeam/pipeline"
)

// asJob makes this test binary be the job: "run" does what it should, "lossy"
// ignores every impression, "broken" ends at once.
const asJob = "PIXELLOAD_TEST_JOB"

func TestMain(m *testing.M) {
	switch os.Getenv(asJob) {
	case "":
		os.Exit(m.Run())
	case "broken":
		os.Exit(3)
	}
	if err := runJob(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runJob() error {
	opts := pipeline.DefaultOptions()
	opts.RegisterFlags(flag.CommandLine)
	if flag.Lookup("project") == nil {
		flag.String("project", "", "")
	}
	flag.Parse()
	beam.Init()
	opts.Project = flag.Lookup("project").Value.String()
	if os.Getenv(asJob) == "lossy" {
		opts.PixelPaths = []string{"/elsewhere.gif"}
	}
	if err := opts.Validate(); err != nil {
		return err
	}
	pipeline.Quiet(slog.New(slog.DiscardHandler))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	_, err := pipeline.Run(ctx, opts)
	return err
}

// measure runs the command on this test binary as the job.
func measure(t *testing.T, kind string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(asJob, kind)
	var out, errOut bytes.Buffer
	code = cli.Run(t.Context(), command(), append(args, "--", self, "--counts=false"), &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestMeasuresAJob(t *testing.T) {
	for name, args := range map[string][]string{
		"all at once": {"--count=20000"},
		"at a rate":   {"--rate=5000", "--duration=2s", "--interval=500ms"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := measure(t, "run", args...)
			if code != cli.ExitOK || !strings.Contains(stdout, "The books balance.") {
				t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
			}
			for _, want := range []string{
				`Sustained: \d+ entries/s, .*servers \d+\.\d\d us`,
				`Job, whole process: \d+\.\d s CPU .*, peak memory [1-9]\d* MiB`,
				`Messages: published (\d+), acknowledged \d+ \(0 repeatedly\)`,
				`missing 0, once more 0, unexpected 0`,
			} {
				if !regexp.MustCompile(want).MatchString(stdout) {
					t.Errorf("no %q in:\n%s", want, stdout)
				}
			}
			if name == "at a rate" && !strings.Contains(stderr, " waiting") {
				t.Errorf("no progress:\n%s", stderr)
			}
		})
	}
}

// A job that loses entries fails the measurement.
func TestLossIsFound(t *testing.T) {
	code, stdout, stderr := measure(t, "lossy", "--count=3000")
	if code != cli.ExitFailure || !strings.Contains(stderr, "impressions have no row") || strings.Contains(stdout, "The books balance.") {
		t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestJobThatDoesNotRun(t *testing.T) {
	code, _, stderr := measure(t, "broken", "--count=10")
	if code != cli.ExitFailure || !strings.Contains(stderr, "before it pulled") || !strings.Contains(stderr, "exit status 3") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	var out, errOut bytes.Buffer
	code = cli.Run(t.Context(), command(), []string{"--count=10", "--", "/nowhere/pixelbeam"}, &out, &errOut)
	if code != cli.ExitFailure || !strings.Contains(errOut.String(), "make build") {
		t.Errorf("exit %d: %s", code, errOut.String())
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"--rate=-1"}, {"--rate=10", "--duration=0s"}, {"--count=1", "--late=2"}} {
		var out, errOut bytes.Buffer
		if code := cli.Run(t.Context(), command(), args, &out, &errOut); code != cli.ExitUsage {
			t.Errorf("%q: exit %d, want %d: %s", args, code, cli.ExitUsage, errOut.String())
		}
	}
}

// Without a job the flags that connect one are printed.
func TestPrintsFlags(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var errOut bytes.Buffer
	out := writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte("--subscription="+load.Subscription)) && bytes.Contains(b, []byte("--bigtable_endpoint=127.0.0.1:")) {
			cancel()
		}
		return len(b), nil
	})
	if code := cli.Run(ctx, command(), []string{"--count=1", "--profiles"}, out, &errOut); code != cli.ExitFailure || ctx.Err() == nil {
		t.Errorf("exit %d: %s", code, errOut.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
