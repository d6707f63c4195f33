package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/load"
)

const (
	poll = 20 * time.Millisecond
	// behind is how many seconds of the rate may be unacknowledged when
	// publishing ends; a job that keeps up has a bundle or two.
	behind = 3
	// stopPatience is how long a job may take to end after it was told to.
	stopPatience = time.Minute
)

// job is the process under measurement, if pixelload has started it.
type job struct {
	cmd   *exec.Cmd
	ended chan error
}

// startJob starts the job with the flags that connect it to the server.
func startJob(args []string, stdout, stderr io.Writer) (*job, error) {
	j := &job{ended: make(chan error, 1)}
	j.cmd = exec.Command(args[0], args[1:]...)
	j.cmd.Stdout, j.cmd.Stderr = stdout, stderr
	setGroup(j.cmd)
	if err := j.cmd.Start(); err != nil {
		return nil, cli.WithRemedy(fmt.Errorf("start the job: %w", err), "make build builds bin/pixelbeam")
	}
	go func() { j.ended <- j.cmd.Wait() }()
	return j, nil
}

// stop interrupts the job and waits until it has drained.
func (j *job) stop() error {
	if err := j.cmd.Process.Signal(os.Interrupt); err != nil {
		return errors.Join(err, <-j.ended)
	}
	select {
	case err := <-j.ended:
		return err
	case <-time.After(stopPatience):
		_ = j.cmd.Process.Kill()
		return fmt.Errorf("the job did not end within %v of being interrupted: %w", stopPatience, <-j.ended)
	}
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// flags connect a job to the server.
func (c *config) flags(addr string) []string {
	flags := []string{
		"--project=" + load.Project, "--subscription=" + load.Subscription, "--pubsub_endpoint=" + addr,
		"--bigquery_dataset=load", "--bigquery_storage_endpoint=" + addr,
	}
	if c.profiles {
		flags = append(flags, "--bigtable_instance=load", "--bigtable_endpoint="+addr)
	}
	return flags
}

// run measures one job.
func run(ctx context.Context, c *config, args []string, stdout, stderr io.Writer) (err error) {
	server, err := load.Start(c.server)
	if err != nil {
		return cli.Usage(err)
	}
	defer server.Close()
	stderr = &locked{w: stderr} // the job writes there too
	flags := c.flags(server.Addr())
	var j *job
	ended := make(chan error) // of a job that we did not start: never
	if len(args) == 0 {
		fmt.Fprintf(stdout, "Start the job with:\n  %s\nPublishing begins with its first pull.\n", strings.Join(flags, " \\\n  "))
	} else {
		if j, err = startJob(append(args, flags...), stderr, stderr); err != nil {
			return err
		}
		ended = j.ended
		defer func() {
			if j != nil { // we are leaving early
				err = errors.Join(err, j.stop())
			}
		}()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case e := <-ended:
		j = nil
		return fmt.Errorf("the job ended before it pulled: %w", orEarly(e))
	case <-server.Started():
	}

	m := newMeter(c, server, j, stderr)
	for !m.finished() {
		select {
		case <-ctx.Done():
			fmt.Fprintln(stderr, "Interrupted: no more is published.")
			m.publishingEnds()
			ctx = context.WithoutCancel(ctx)
		case e := <-ended:
			j = nil
			return fmt.Errorf("the job ended before all was acknowledged: %w", orEarly(e))
		case <-time.After(poll):
		}
		m.look()
	}
	m.report(stdout)
	errs := []error{m.check()}
	if j != nil {
		process := j.cmd
		errs = append(errs, j.stop())
		j = nil
		fmt.Fprintf(stdout, "Job, whole process: %s\n", usage(process.ProcessState))
	}
	books := server.Books()
	printBooks(stdout, books)
	errs = append(errs, books.Check())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "The books balance.")
	return nil
}

func orEarly(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func printBooks(w io.Writer, b load.Books) {
	fmt.Fprintf(w, "Messages: published %d, acknowledged %d (%d repeatedly), delivered %d (%d again), given back %d, leases extended %d\n",
		b.Published, b.Acked, b.AckedAgain, b.Delivered, b.Redelivered, b.Nacked, b.Extended)
	fmt.Fprintf(w, "Published %d = impressions %d + rejected %d + ignored %d\n", b.Published, b.Impressions, b.Rejected, b.Ignored)
	fmt.Fprintf(w, "Rows: impressions %d (missing %d, once more %d, unexpected %d), rejected_entries %d",
		b.Rows["impressions"], b.Missing, b.Repeated, b.Unexpected, b.Rows["rejected_entries"])
	for _, name := range []string{"impression_counts", load.ProfileRows} {
		if n := b.Rows[name]; n > 0 {
			fmt.Fprintf(w, ", %s %d", name, n)
		}
	}
	fmt.Fprintln(w)
}
