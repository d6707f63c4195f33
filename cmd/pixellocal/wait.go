package main

import (
	"context"
	"time"
)

const (
	// maxBacklog is how far a feed gets ahead of the job.
	maxBacklog = 50_000
	poll       = 20 * time.Millisecond
)

// wait blocks while the job is more than maxBacklog messages behind.
func (f *feed) wait(ctx context.Context) error {
	for {
		s, err := f.pubsub.Stats(subscriptionName)
		if err != nil || s.Backlog+s.Outstanding < maxBacklog {
			return err
		}
		if !sleep(ctx, poll) {
			return nil
		}
	}
}

// sleep returns whether it slept for all of d.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
