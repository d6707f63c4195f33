// Command pixelload measures a job. It publishes log entries at a rate, takes the
// rows in and drops them, in a process of its own, and says what the job needed
// and whether every entry became what it must.
package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/load"
	"pixelbeam/local/traffic"
)

func main() { cli.Main(command()) }

const long = `Measures a Pixelbeam job on this machine.

It serves a Pub/Sub subscription that is published to at a given rate, and
BigQuery and Bigtable endpoints that take rows and drop them; runs the job given
behind --, with the flags that connect it added; and reports the rate, the job's
CPU time for an entry, its memory, and whether the books balance: each message
acknowledged, each impression's row there, none that should not be. The exit code
is 1 if they do not, or if the job fell behind the rate.

Without a job it prints the flags and waits for one to be started.

The servers and the making of entries cost a third of a core at 100,000 entries a
second; they are not in the job's figures. Publishing begins with the job's first
pull, and the job's start is not in its CPU time.`

const examples = `  # 100,000 entries a second for 10 minutes, rows only:
  pixelload --rate 100000 --duration 10m -- bin/pixelbeam --counts=false

  # The same with counts and profiles, for one minute:
  pixelload --rate 100000 --duration 1m --profiles -- bin/pixelbeam

  # As fast as the job can, 5,000,000 entries:
  pixelload --count 5000000 -- bin/pixelbeam --counts=false`

// config is the command line.
type config struct {
	server   load.Options
	duration time.Duration
	profiles bool
	interval time.Duration
}

func command() *cobra.Command {
	c := config{server: load.Options{Traffic: traffic.DefaultOptions()}}
	cmd := &cobra.Command{
		Use:     "pixelload [flags] [-- JOB [job flags]]",
		Short:   "Measure a job: load in, rows dropped, books checked",
		Long:    long,
		Example: examples,
		Args:    cobra.ArbitraryArgs,
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.Float64Var(&c.server.Rate, "rate", 0, "entries published per `second`; 0: all of --count at once")
	fs.DurationVar(&c.duration, "duration", time.Minute, "how `long` to publish at a rate")
	fs.Int64Var(&c.server.Count, "count", 0, "publish this `number` of entries at most")
	fs.BoolVar(&c.profiles, "profiles", false, "have the job write profiles to Bigtable too")
	fs.StringVar(&c.server.Addr, "addr", "127.0.0.1:0", "`address` of all services")
	fs.DurationVar(&c.interval, "interval", 10*time.Second, "`time` between progress lines, and the span of the least rate")
	cli.FlagGroup(cmd, "Entries", func(fs *pflag.FlagSet) {
		t := &c.server.Traffic
		fs.IntVar(&c.server.Entries, "entries", 20_000, "`number` of different entries, taken in turn")
		fs.Uint64Var(&t.Seed, "seed", t.Seed, "`seed` of the entries")
		fs.IntVar(&t.Users, "users", t.Users, "`number` of users")
		fs.IntVar(&t.Agents, "agents", t.Agents, "`number` of user agents")
		fs.Float64Var(&t.LateShare, "late", t.LateShare, "`share` of entries that are up to --max-lateness old")
		fs.DurationVar(&t.MaxLateness, "max-lateness", t.MaxLateness, "`age` of the oldest late entry")
	})
	cmd.RunE = func(cmd *cobra.Command, job []string) error {
		if c.server.Rate == 0 && c.server.Count == 0 {
			return cli.Usage(errors.New("give --rate, or --count for all at once"))
		}
		if c.interval <= 0 || c.duration <= 0 {
			return cli.Usage(fmt.Errorf("--interval=%v and --duration=%v must be above 0", c.interval, c.duration))
		}
		return run(cmd.Context(), &c, job, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}
