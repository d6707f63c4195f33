// Command pixellocal is Pixelbeam on one machine: the pixel, Pub/Sub, BigQuery,
// Bigtable and Storage on loopback, and the job that turns requests into rows,
// in one process.
package main

import (
	"flag"
	"log/slog"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/pipeline"
)

func main() { cli.Main(command()) }

const long = `Runs all of Pixelbeam on this machine, without a cloud.

It serves the pixel and a sample page, publishes a log entry for every request as
a load balancer does, and runs the same job as Dataflow would: rows in BigQuery
tables, counts per minute, profiles in Bigtable. The services speak the real
protocols on loopback, so that Google's clients and pixelctl can talk to them.

Everything that was acknowledged is in the data folder and survives a crash; the
tables lie in pixelbeam.duckdb there. Windows that were open in a crash are lost,
their rows are not.

Ctrl-C drains: what was published is written, then the totals are printed.`

const examples = `  # The pixel on port 8080, and 50 generated entries a second:
  pixellocal --data data --traffic 50 --http 127.0.0.1:8080

  # Log entries from files, to the end:
  pixellocal --data data --entries 'logs/*.json' --until-idle

  # 200,000 generated entries, as fast as possible, to the end:
  pixellocal --data data --count 200000 --until-idle`

// config is the command line.
type config struct {
	data      string
	entries   []string
	untilIdle bool
	rate      float64
	count     int64
	seed      uint64
	http      string
	duration  time.Duration
	dataset   string
	ports     ports
	verbose   bool
	pprof     string
	job       pipeline.Options
}

// ports are the addresses of the services.
type ports struct{ pubsub, bigtable, bigQuery, bigQueryStorage, storage string }

func command() *cobra.Command {
	var c config
	c.job = pipeline.DefaultOptions()
	c.job.Shards = 2
	c.job.Version = cli.Build().String()
	cmd := &cobra.Command{
		Use:     "pixellocal",
		Short:   "All of Pixelbeam on this machine",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&c.data, "data", cli.DefaultData, "`folder` of tables, profiles and logs; made if missing")
	fs.StringSliceVar(&c.entries, "entries", nil, "publish log entries from `files` (JSON lines, globs, .gz)")
	fs.BoolVar(&c.untilIdle, "until-idle", false, "exit when everything published has been written")
	fs.Float64Var(&c.rate, "traffic", 0, "generated entries per `second`")
	fs.Int64Var(&c.count, "count", 0, "publish this `number` of generated entries as fast as possible")
	fs.Uint64Var(&c.seed, "seed", 1, "`seed` of generated entries")
	fs.DurationVar(&c.duration, "duration", 0, "drain and exit after this `time`")
	fs.StringVar(&c.http, "http", "127.0.0.1:8080", "`address` of the pixel, the sample page and the status page")
	cli.FlagGroup(cmd, "Job flags", func(fs *pflag.FlagSet) {
		fs.StringSliceVar(&c.job.PixelPaths, "pixel_paths", c.job.PixelPaths, "request `paths` of the pixel")
		fs.Var(ipValue{&c.job.IP}, "ip", "what becomes of client addresses: truncate, keep or drop")
		fs.Var(pipeline.UserAgentRulesFlag{Rules: &c.job.UserAgentRules}, "user_agent_rules", "regexes.yaml `file` of uap-core in place of the embedded rules; --version names both")
		fs.StringVar(&c.job.TableSuffixBy, "table_suffix_by", "", "`advertiser`: impressions of advertisers that are in a group of --advertiser_groups go to a table impressions_for_GROUP; none: all go to impressions")
		fs.Var(pipeline.AdvertiserGroupsFlag{File: &c.job.AdvertiserGroups}, "advertiser_groups", "CSV `file` with lines ADVERTISER,GROUP, for --table_suffix_by=advertiser")
		fs.BoolVar(&c.job.Counts, "counts", c.job.Counts, "count impressions per minute into impression_counts")
		fs.BoolVar(&c.job.Ledger, "ledger", c.job.Ledger, "keep the books of what was read, per minute, in the table ledger")
		fs.DurationVar(&c.job.AllowedLateness, "allowed_lateness", c.job.AllowedLateness, "how long after its end a window takes late entries")
		fs.DurationVar(&c.job.EarlyFirings, "early_firings", c.job.EarlyFirings, "how often a window that has not ended is written; 0: at its end only")
		fs.IntVar(&c.job.Shards, "shards", c.job.Shards, "parts that a window is aggregated in")
		fs.StringVar(&c.job.OutputJSON, "output_json", "", "`folder` for the same rows as JSON lines")
	})
	cli.FlagGroup(cmd, "Service flags", func(fs *pflag.FlagSet) {
		fs.StringVar(&c.dataset, "dataset", "pixelbeam", "BigQuery `dataset`")
		fs.StringVar(&c.ports.pubsub, "pubsub_addr", "127.0.0.1:8085", "`address` of Pub/Sub; a free port if taken")
		fs.StringVar(&c.ports.bigtable, "bigtable_addr", "127.0.0.1:8086", "`address` of Bigtable; a free port if taken")
		fs.StringVar(&c.ports.bigQuery, "bigquery_addr", "127.0.0.1:9050", "`address` of BigQuery's REST API; a free port if taken")
		fs.StringVar(&c.ports.bigQueryStorage, "bigquery_storage_addr", "127.0.0.1:9060", "`address` of BigQuery's Storage Write API; a free port if taken")
		fs.StringVar(&c.ports.storage, "storage_addr", "127.0.0.1:4443", "`address` of Cloud Storage; a free port if taken")
		fs.StringVar(&c.pprof, "pprof", "", "`address` for Go's profiler, at /debug/pprof/; none: no profiler")
		fs.BoolVar(&c.verbose, "verbose", false, "log what the services say")
	})
	// Both spellings of a flag are one.
	fs.SetNormalizeFunc(normalize)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.validate(); err != nil {
			return cli.Usage(err)
		}
		// Beam reads its options from the standard flags; there are none.
		if err := flag.CommandLine.Parse(nil); err != nil {
			return err
		}
		beam.Init()
		level := slog.LevelWarn
		if c.verbose {
			level = slog.LevelInfo
		}
		pipeline.Quiet(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
		return run(cmd.Context(), &c, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}
