// Command flinktest is make flink-test: it runs the streaming job on a Flink
// cluster of this machine, one job manager and two task managers, between the
// local Pub/Sub, BigQuery and Bigtable, and compares the tables with what was
// published, exactly:
//
//   - undisturbed,
//   - with the task manager that reads killed under load,
//   - with its worker killed alone,
//   - with both task managers killed,
//   - with all of Flink killed, and a new cluster that goes on from the last checkpoint,
//   - with the job stopped with a savepoint under load, and launched again from it.
//
// Flink and the job server are fetched once, into the user's cache.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pixelbeam/cmd/internal/cli"
)

func main() { cli.Main(command()) }

// config is the command line.
type config struct {
	job, next   string
	rate        float64
	duration    time.Duration
	interval    time.Duration
	parallelism int
	patience    time.Duration
	keep        bool
}

func command() *cobra.Command {
	c := config{}
	cmd := &cobra.Command{
		Use:   "flinktest",
		Short: "Run the job on Flink, kill its parts, go on from a savepoint, and count",
		Long: `Runs the job on a Flink cluster of this machine, kills under load a task manager, a
worker, both task managers, and all of Flink, stops the job with a savepoint and goes
on from that, and compares the tables with what was published.

It needs Java 11 or 17. What it fetches lies in the user's cache from then on:
Flink ` + flinkVersion + ` from PyPI, by pip, unless FLINK_HOME has a folder with Flink's lib/; and
` + jobServerArtifact + `
from Maven Central, by mvn, unless FLINK_JOB_SERVER has the path of a job server's jar.`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&c.job, "job", "bin/pixelbeam", "`program` of the job")
	fs.StringVar(&c.next, "next-job", "", "`program` that goes on from the savepoint, such as another build; none: the same")
	fs.Float64Var(&c.rate, "rate", 1000, "entries published per `second`")
	fs.DurationVar(&c.duration, "duration", 40*time.Second, "how `long` each part publishes")
	fs.DurationVar(&c.interval, "checkpoint-interval", 5*time.Second, "`time` between checkpoints")
	fs.IntVar(&c.parallelism, "parallelism", 2, "`number` of subtasks, and of a task manager's slots")
	fs.DurationVar(&c.patience, "patience", 4*time.Minute, "how `long` to wait for what must come")
	fs.BoolVar(&c.keep, "keep", false, "leave the folder with logs, checkpoints and tables")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if c.rate <= 0 || c.duration <= 0 || c.interval < 100*time.Millisecond || c.parallelism < 1 {
			return cli.Usagef("--rate, --duration and --parallelism must be above 0, --checkpoint-interval at least 100ms")
		}
		return run(cmd.Context(), &c, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func run(ctx context.Context, c *config, stdout, stderr io.Writer) (err error) {
	tools, err := fetch(ctx, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pixelbeam-flink-")
	if err != nil {
		return err
	}
	defer func() {
		if c.keep || err != nil {
			fmt.Fprintf(stderr, "Logs, checkpoints and tables are in %s\n", dir)
		} else {
			os.RemoveAll(dir)
		}
	}()
	cloud, err := startCloud(ctx, dir)
	if err != nil {
		return err
	}
	defer cloud.close()
	cluster, err := startCluster(ctx, tools, c, dir)
	if err != nil {
		return err
	}
	defer cluster.close()
	fmt.Fprintf(stderr, "Flink %s with 2 task managers: %s\n", flinkVersion, cluster.url)
	t := &trial{c: c, dir: dir, cloud: cloud, cluster: cluster, out: stdout, log: stderr}
	return t.run(ctx)
}
