// Command pixelbeam is the job: it reads load balancer log entries of an
// advertising pixel, from files or Pub/Sub, and writes impressions, counts and
// profiles. It is also the binary that a runner ships to its workers, so it is
// pure Go and does nothing costly before Beam takes over.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow"
	//lint:ignore SA1019 users run their tests on it, so it has to work
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/spf13/cobra"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/pipeline"
	"pixelbeam/transforms/impression"
)

func main() {
	cmd := command()
	// Launchers and runners may write flags as package flag allows it, with which
	// Beam's programs read them.
	os.Args = append(os.Args[:1], cli.GoStyle(cmd, os.Args[1:])...)
	cli.Main(cmd)
}

const long = `Turns the load balancer logs of an advertising pixel into data.

Log entries come from files (--input, a batch job) or from Pub/Sub
(--subscription, a streaming job). Impressions, counts per minute and rejected
entries go to BigQuery (--bigquery_dataset), profiles to Bigtable
(--bigtable_instance), and all rows to JSON files if wanted (--output_json).

Ctrl-C drains a streaming job that runs on this machine.`

const examples = `  # A first look, without any service:
  pixelbeam --input='logs/*.json' --output_json=out

  # The same on Beam's simplest runner:
  pixelbeam --runner=direct --input=logs/ --output_json=out

  # Streaming on this machine, against a local Pixelbeam (make run):
  pixelbeam --project=pixelbeam-local --subscription=NAME --pubsub_endpoint=HOST:PORT \
    --bigquery_dataset=pixelbeam --bigquery_endpoint=http://HOST:PORT \
    --bigquery_storage_endpoint=HOST:PORT`

func command() *cobra.Command {
	opts := pipeline.DefaultOptions()
	opts.Version = cli.Build().String()
	own := flag.NewFlagSet("pixelbeam", flag.ContinueOnError)
	own.StringVar(&opts.Runner, "runner", opts.Runner, "where to run: `prism` (this machine), direct (this machine, batch), dataflow or flink")
	opts.RegisterFlags(own)
	var quiet bool
	own.BoolVar(&quiet, "quiet", false, "no progress on standard error")
	var b boot
	b.register(own)
	var profiler string
	own.StringVar(&profiler, "pprof", "", "`address` for Go's profiler of this process, at /debug/pprof/; none: no profiler")

	cmd := &cobra.Command{
		Use:     "pixelbeam",
		Short:   "The Pixelbeam job: pixel log entries in, impressions, counts and profiles out",
		Long:    long,
		Example: examples,
		Args:    cobra.ArbitraryArgs, // the check tells of them, with all else
	}
	cli.GoFlags(cmd, "", own)
	cli.GoFlags(cmd, "Beam and runner flags", flag.CommandLine)
	cli.Underscores(cmd)
	var l *launch
	var f *flinkLaunch
	// check returns all that is wrong with the command line, joined.
	check := func() error {
		given := cmd.Flags().Changed
		opts.Project = flag.Lookup("project").Value.String()
		opts.Runner = runner(opts.Runner, given("runner"))
		errs := []error{checkArgs(cmd.Flags().Args()), opts.Validate(), checkRunnerFlags(opts.Runner, given), checkBeamFlags(flag.CommandLine)}
		switch opts.Runner {
		case pipeline.RunnerDataflow:
			l = &launch{opts: opts, set: flag.CommandLine, given: given}
			errs = append(errs, l.defaults(), l.check())
		case pipeline.RunnerFlink:
			f = &flinkLaunch{opts: &opts, set: flag.CommandLine, given: given}
			errs = append(errs, f.defaults(), f.check())
			submission.options, submission.log = f.runnerOptions(), cmd.ErrOrStderr()
		default:
			errs = append(errs, checkLocalCredentials(&opts))
		}
		return errors.Join(errs...)
	}
	cli.CheckFlags(cmd, check)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if b.asked() {
			return b.run(cmd.Context(), cmd.ErrOrStderr())
		}
		onWorker(cmd.Context())
		beam.Init() // On a worker this serves, and never returns.
		if err := check(); err != nil {
			return cli.Usage(err)
		}
		pipeline.Quiet(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
		if l != nil {
			return l.submit(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		}
		if f != nil {
			if err := f.checkName(cmd.Context(), cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		if !quiet && local(opts.Runner) {
			stop := progress(cmd.ErrOrStderr())
			defer stop()
		}
		if profiler != "" {
			if err := cli.StartProfiler(profiler); err != nil {
				return err
			}
		}
		if err := pipeline.CheckTables(cmd.Context(), opts); err != nil {
			return err
		}
		result, err := pipeline.Run(cmd.Context(), opts)
		if err != nil {
			return err
		}
		if err := cmd.Context().Err(); err != nil && !opts.Streaming() {
			return err
		}
		if len(result) == 0 {
			return nil // The runner went on without us, or counts elsewhere.
		}
		return errors.Join(result.Write(cmd.OutOrStdout()), result.Balance())
	}
	return cmd
}

// runner returns the runner by the name that package pipeline knows: launchers use
// the names that Beam's other SDKs have, such as DataflowRunner. Without one, a
// template, which only Dataflow knows, is for Dataflow.
func runner(name string, given bool) string {
	if !given && flag.Lookup("template_location").Value.String() != "" {
		return pipeline.RunnerDataflow
	}
	return strings.TrimSuffix(strings.ToLower(name), "runner")
}

// local tells whether a runner works in this process, whose totals are the
// job's.
func local(runner string) bool {
	return runner == pipeline.RunnerPrism || runner == pipeline.RunnerDirect
}

// progress prints what was read, now and then, until stop is called.
func progress(w io.Writer) (stop func()) {
	ticker := time.NewTicker(10 * time.Second)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				t := impression.ProcessTotals()
				fmt.Fprintf(w, "read %d entries: %d impressions, %d rejected, %d ignored\n",
					t.Read(), t.Impressions, sum(t.Rejected), sum(t.Ignored))
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(done)
	}
}

func sum[K comparable](m map[K]int64) (n int64) {
	for _, c := range m {
		n += c
	}
	return n
}
