package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"cloud.google.com/go/bigtable"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"pixelbeam/local/traffic"
	"pixelbeam/profiles"
)

// trial is the parts, one after another on the same tables.
type trial struct {
	c       *config
	dir     string
	cloud   *cloud
	cluster *cluster
	out     io.Writer // the figures
	log     io.Writer // progress

	generator *traffic.Generator
	job       string // its id
	program   string
	cpu       *cpuMeter
	before    figures
}

// figures are what the tables hold.
type figures struct {
	raw, unique, counted, rejected, rejectedRaw int64
	profiled, users                             int64
}

func (t *trial) run(ctx context.Context) error {
	opts := traffic.DefaultOptions()
	opts.Live = true
	opts.Users = 5000
	t.generator = traffic.New(opts)
	t.cpu = newCPUMeter()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for watching.Err() == nil {
			t.cpu.look(t.cluster.all)
			pause(watching, 250*time.Millisecond)
		}
	}()
	t.program = t.c.job
	if err := t.launch(ctx, ""); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%-13s %9s %9s %9s %9s %9s %9s %8s %8s %9s\n", "", "published", "rows", "again", "distinct", "counted", "profiled", "rate/s", "us/entry", "recovered")
	for _, part := range []struct {
		name string
		do   func(context.Context) (time.Duration, error)
	}{
		{"undisturbed", nil},
		{"task manager", t.killManager},
		{"worker", t.killWorker},
		{"both managers", t.killManagers},
		{"all of Flink", t.killFlink},
		{"savepoint", t.savepoint},
	} {
		if err := t.part(ctx, part.name, part.do); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	fmt.Fprintln(t.out, "Nothing is lost, and the views, the counts and the profiles hold each impression once.")
	return nil
}

// launch starts the job, from a savepoint if there is one.
func (t *trial) launch(ctx context.Context, savepoint string) error {
	program, err := filepath.Abs(t.program)
	if err != nil {
		return err
	}
	args := append(t.cloud.flags(), "--runner=flink", "--async", "--endpoint="+t.cluster.jobServer, "--flink_master="+t.cluster.url,
		fmt.Sprintf("--parallelism=%d", t.c.parallelism), "--flink_checkpoint_interval="+t.c.interval.String(), "--flink_savepoint="+savepoint)
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("launch %s: %w\n%s", t.program, err, out)
	}
	if t.job, err = t.cluster.job(ctx, t.c.patience); err != nil {
		return err
	}
	return t.cluster.wait(ctx, t.c.patience, "a first checkpoint", func() (bool, error) {
		cp, err := t.cluster.checkpoints(t.job)
		if savepoint != "" && err == nil && cp.Latest.Restored == nil {
			return false, errors.New("the job did not begin from " + savepoint)
		}
		return cp.Counts.Completed > 0, err
	})
}

// part publishes for a while, with something done in the middle, and checks.
func (t *trial) part(ctx context.Context, name string, do func(context.Context) (time.Duration, error)) error {
	fmt.Fprintf(t.log, "%s: publishing %.0f entries/s for %v\n", name, t.c.rate, t.c.duration)
	sent := t.generator.Totals()
	java, workers := t.cpu.used()
	begin := time.Now()
	publishing, stop := context.WithTimeout(ctx, t.c.duration)
	defer stop()
	published := make(chan error, 1)
	go func() { published <- traffic.Run(publishing, t.generator, t.c.rate, t.cloud.publish) }()
	recovered := "-"
	if do != nil {
		pause(ctx, t.c.duration/2)
		d, err := do(ctx)
		if err != nil {
			return err
		}
		recovered = d.Round(100 * time.Millisecond).String()
	}
	if err := <-published; err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.cluster.wait(ctx, t.c.patience, "all messages to be acknowledged", t.acknowledged); err != nil {
		return err
	}
	taken := time.Since(begin)
	javaNow, workersNow := t.cpu.used()
	now, err := t.complete(ctx)
	if err != nil {
		return err
	}
	n := t.generator.Totals().Entries - sent.Entries
	fmt.Fprintf(t.out, "%-13s %9d %9d %9d %9d %9d %9d %8.0f %8.0f %9s\n", name, n, now.raw-t.before.raw,
		now.raw-now.unique-(t.before.raw-t.before.unique)-(t.generator.Totals().DuplicateImpressions-sent.DuplicateImpressions),
		now.unique-t.before.unique, now.counted-t.before.counted, now.profiled-t.before.profiled,
		float64(n)/taken.Seconds(), float64((javaNow-java+workersNow-workers).Microseconds())/float64(n), recovered)
	fmt.Fprintf(t.log, "%s: Flink %.1f s CPU, workers %.1f s\n", name, (javaNow - java).Seconds(), (workersNow - workers).Seconds())
	t.before = now
	return nil
}

func (t *trial) acknowledged() (bool, error) {
	s, err := t.cloud.pubsub.Stats(subscription)
	return s.Backlog+s.Outstanding == 0, err
}

// complete waits until the tables hold what was published, and checks that they
// hold no more.
func (t *trial) complete(ctx context.Context) (now figures, err error) {
	totals := t.generator.Totals()
	want := figures{unique: totals.Impressions, counted: totals.Impressions}
	var rejected int64
	for _, n := range totals.Rejected {
		rejected += n
	}
	waitErr := t.cluster.wait(ctx, t.c.patience, "the counts", func() (bool, error) {
		if now, err = t.read(ctx); err != nil {
			return false, err
		}
		// What is too much stays so.
		if now.unique > want.unique || now.counted > want.counted || now.profiled > now.users {
			return false, fmt.Errorf("too much: %+v, want %+v", now, want)
		}
		pause(ctx, time.Second)
		return now.unique == want.unique && now.counted == want.counted && now.profiled == now.users && now.rejected <= rejected && now.rejectedRaw >= rejected, nil
	})
	if waitErr != nil {
		return now, fmt.Errorf("%w: the tables hold %+v, want %+v and %d rejected", waitErr, now, want, rejected)
	}
	return now, nil
}

func (t *trial) read(ctx context.Context) (f figures, err error) {
	for _, q := range []struct {
		to  *int64
		sql string
	}{
		{&f.raw, "SELECT COUNT(*) AS n FROM `pixelbeam.impressions`"},
		{&f.unique, "SELECT COUNT(*) AS n FROM `pixelbeam.impressions_unique`"},
		{&f.users, "SELECT COUNT(*) AS n FROM `pixelbeam.impressions_unique` WHERE user_id IS NOT NULL"},
		{&f.counted, "SELECT SUM(gross) AS n FROM `pixelbeam.impression_counts_current`"},
		{&f.rejected, "SELECT COUNT(*) AS n FROM (SELECT DISTINCT payload FROM `pixelbeam.rejected_entries`)"},
		{&f.rejectedRaw, "SELECT COUNT(*) AS n FROM `pixelbeam.rejected_entries`"},
	} {
		if *q.to, err = t.cloud.number(ctx, q.sql); err != nil {
			return f, err
		}
	}
	f.profiled, err = t.profiled(ctx)
	return f, err
}

// profiled is the sum of all frequencies in the profiles.
func (t *trial) profiled(ctx context.Context) (n int64, err error) {
	rows, err := t.cloud.bigQuery.Query(ctx, "SELECT DISTINCT user_id FROM `pixelbeam.impressions` WHERE user_id IS NOT NULL")
	if err != nil {
		return 0, err
	}
	var users []string
	for _, r := range rows {
		users = append(users, r["user_id"].(string))
	}
	client, err := bigtable.NewClientWithConfig(ctx, project, instance, bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}},
		option.WithEndpoint(t.cloud.bigtable.Addr()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	reader := profiles.NewReader(client, profiles.Options{})
	now := time.Now()
	period := profiles.Last(24*time.Hour, now.Add(time.Minute))
	for chunk := range slices.Chunk(users, 1000) {
		found, err := reader.GetMany(ctx, chunk, period)
		if err != nil {
			return 0, err
		}
		for _, p := range found {
			for _, c := range p.Counters(period) {
				n += c.Count
			}
			n += p.Truncated(period).Events // of users with many campaigns in a minute
		}
	}
	return n, nil
}

// killManager kills the task manager that reads, with its worker, and starts another
// as a supervisor would.
func (t *trial) killManager(ctx context.Context) (time.Duration, error) {
	return t.disturb(ctx, func() error {
		victim, _ := t.cluster.reading()
		if victim == nil {
			return errors.New("no task manager has a worker")
		}
		fmt.Fprintf(t.log, "kill -9 of %s and its worker\n", victim.name)
		victim.kill()
		return t.cluster.startManager()
	})
}

// killWorker kills the worker that reads, and not its task manager.
func (t *trial) killWorker(ctx context.Context) (time.Duration, error) {
	return t.disturb(ctx, func() error {
		manager, worker := t.cluster.reading()
		if manager == nil {
			return errors.New("no task manager has a worker")
		}
		fmt.Fprintf(t.log, "kill -9 of the worker %d of %s\n", worker, manager.name)
		return syscall.Kill(worker, syscall.SIGKILL)
	})
}

// killManagers kills both task managers and their workers at once, and starts others.
func (t *trial) killManagers(ctx context.Context) (time.Duration, error) {
	return t.disturb(ctx, func() error {
		fmt.Fprintln(t.log, "kill -9 of both task managers and their workers")
		t.cluster.killManagers()
		return errors.Join(t.cluster.startManager(), t.cluster.startManager())
	})
}

// disturb does something on which the job is restored, and returns the time until
// rows were written again.
func (t *trial) disturb(ctx context.Context, do func() error) (time.Duration, error) {
	before, err := t.cluster.checkpoints(t.job)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := do(); err != nil {
		return 0, err
	}
	err = t.cluster.wait(ctx, t.c.patience, "the job to be restored", func() (bool, error) {
		cp, err := t.cluster.checkpoints(t.job)
		return cp.Counts.Restored > before.Counts.Restored, err
	})
	if err != nil {
		return 0, err
	}
	rows, err := t.cloud.number(ctx, "SELECT COUNT(*) AS n FROM `pixelbeam.impressions`")
	if err != nil {
		return 0, err
	}
	if err := t.written(ctx, rows); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// killFlink kills the job manager, the task managers and all workers at once, and
// goes on, in a new cluster, from the last checkpoint that is on the disk.
func (t *trial) killFlink(ctx context.Context) (time.Duration, error) {
	fmt.Fprintln(t.log, "kill -9 of the job manager, both task managers and their workers")
	begin := time.Now()
	t.cluster.jobManager.kill()
	t.cluster.killManagers()
	checkpoint, err := t.cluster.newest(t.job)
	if err != nil {
		return 0, err
	}
	if err := t.cluster.startFlink(ctx); err != nil {
		return 0, err
	}
	return t.resume(ctx, begin, checkpoint)
}

// written waits until there are more rows.
func (t *trial) written(ctx context.Context, rows int64) error {
	return t.cluster.wait(ctx, t.c.patience, "rows to be written again", func() (bool, error) {
		n, err := t.cloud.number(ctx, "SELECT COUNT(*) AS n FROM `pixelbeam.impressions`")
		return n > rows, err
	})
}

// savepoint stops the job with a savepoint, launches it again from that, of another
// build if there is one, and returns the time in which no rows were written.
func (t *trial) savepoint(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	path, err := t.cluster.stop(ctx, t.job, t.c.patience)
	if err != nil {
		return 0, err
	}
	if t.c.next != "" {
		t.program = t.c.next
	}
	return t.resume(ctx, begin, path)
}

// resume launches the job from a savepoint or checkpoint, and returns the time since
// begin until rows were written again.
func (t *trial) resume(ctx context.Context, begin time.Time, path string) (time.Duration, error) {
	fmt.Fprintf(t.log, "going on from %s\n", path)
	rows, err := t.cloud.number(ctx, "SELECT COUNT(*) AS n FROM `pixelbeam.impressions`")
	if err != nil {
		return 0, err
	}
	if err := t.launch(ctx, path); err != nil {
		return 0, err
	}
	if err := t.written(ctx, rows); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// pause waits, or for ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
