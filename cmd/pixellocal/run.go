package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/traffic"
	"pixelbeam/pipeline"
)

// outcome is how the job ended.
type outcome struct {
	result pipeline.Result
	err    error
}

// run starts everything, waits for the end that the command line asks for, and
// drains: what was published is written before it returns.
func run(ctx context.Context, c *config, stdout, stderr io.Writer) (err error) {
	started := time.Now()
	limitMemory()
	if c.pprof != "" {
		if err := cli.StartProfiler(c.pprof); err != nil {
			return err
		}
	}
	cl, err := startCloud(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.close()) }()

	job := c.options(cl)
	if err := job.Validate(); err != nil {
		return cli.Usage(err)
	}
	web, err := startWeb(c, cl, started)
	if err != nil {
		return err
	}
	defer web.close()
	if err := cl.endpoints(web.addr()).Write(c.data); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cli.RemoveEndpoints(c.data)) }()
	before, err := cl.books(ctx)
	if err != nil {
		return err
	}
	printAddresses(stdout, c, cl.endpoints(web.addr()))

	jobCtx, drain := context.WithCancel(context.WithoutCancel(ctx))
	defer drain()
	ended := make(chan outcome, 1)
	go func() {
		result, err := pipeline.Run(jobCtx, job)
		ended <- outcome{result, err}
	}()
	stopStatus := showStatus(stderr, cl)
	defer stopStatus()

	feedCtx, stopFeed := context.WithCancel(ctx)
	defer stopFeed()
	if c.duration > 0 {
		feedCtx, stopFeed = context.WithTimeout(ctx, c.duration)
		defer stopFeed()
	}
	fed := make(chan error, 1)
	go func() { fed <- c.feed(feedCtx, cl) }()

	// Until all is published, and then for as long as it was asked for.
	var over <-chan struct{}
	for waiting := true; waiting; {
		select {
		case o := <-ended: // It does not end by itself: it failed.
			stopFeed()
			if over == nil {
				err = <-fed
			}
			return errors.Join(fmt.Errorf("the job ended: %w", errOr(o.err, "for no reason it gave")), err)
		case err = <-fed:
			over = feedCtx.Done()
			waiting = err == nil && !c.untilIdle
		case <-over:
			waiting = false
		}
	}
	// Drain: no more requests, then everything published, then the windows.
	web.close()
	if e := cl.waitRead(jobEnded(ended)); e != nil {
		err = errors.Join(err, e)
	}
	drain()
	o := <-ended
	stopStatus()
	if err = errors.Join(err, o.err); err != nil {
		return err
	}
	return printTotals(context.WithoutCancel(ctx), stdout, cl, before, o.result, started)
}

// memoryLimit is what Go's memory may grow to before garbage is collected more
// often than at each doubling of what is in use, in bytes. At 2,000 entries a second
// about half of it is in use.
const memoryLimit = 1 << 30

// limitMemory sets memoryLimit unless the environment sets another.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// jobEnded lets a waiter see that the job ended without taking the outcome.
func jobEnded(ended chan outcome) func() bool {
	return func() bool { return len(ended) > 0 }
}

func errOr(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}

// options are those of the job on the local cloud.
func (c *config) options(cl *cloud) pipeline.Options {
	o := c.job
	e := cl.endpoints("")
	o.Project = project
	o.Subscription = subscriptionName
	o.PubSubEndpoint = e.PubSub
	o.PubSubPullers = 2
	o.HoldWatermark = c.untilIdle
	o.BigQueryDataset = c.dataset
	o.BigQueryEndpoint = e.BigQueryREST
	o.BigQueryStorageEndpoint = e.BigQueryStorage
	o.BigtableInstance = instance
	o.BigtableEndpoint = e.Bigtable
	return o
}

// feed publishes what the command line asks for; nil when all is published or
// ctx ended.
func (c *config) feed(ctx context.Context, cl *cloud) error {
	f := &feed{cl.pubsub}
	if len(c.entries) > 0 {
		if err := f.files(ctx, c.entries); err != nil && !errors.Is(err, ctx.Err()) {
			return err
		}
	}
	opts := traffic.DefaultOptions()
	opts.Seed = c.seed
	if c.count > 0 {
		if err := f.generate(ctx, traffic.New(opts), c.count); err != nil && !errors.Is(err, ctx.Err()) {
			return err
		}
	}
	if c.rate > 0 {
		opts.Live = true
		return traffic.Run(ctx, traffic.New(opts), c.rate, f.send)
	}
	return nil
}

// waitRead waits until the job has read and acknowledged everything.
func (cl *cloud) waitRead(stop func() bool) error {
	for {
		n, err := cl.unread()
		if n == 0 || err != nil || stop() {
			return err
		}
		time.Sleep(poll)
	}
}
