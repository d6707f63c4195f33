package edge

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sinkWorkers = 4
	maxBatch    = 500
	// Entries are published again after an error for retryFor at least, with
	// pauses that double from firstPause to lastPause.
	retryFor   = 30 * time.Second
	firstPause = 20 * time.Millisecond
	lastPause  = 2 * time.Second
	// closeTimeout bounds how long close tries to publish what is queued.
	closeTimeout = 15 * time.Second
)

// sink publishes entries in the background.
type sink struct {
	opts   Options
	ctx    context.Context // done when there is no more time
	cancel context.CancelFunc

	mu     sync.RWMutex // held for reading while entries are put into queue
	closed bool
	queue  chan Entry

	workers           sync.WaitGroup
	published, failed atomic.Int64
}

func startSink(opts Options) *sink {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sink{opts: opts, ctx: ctx, cancel: cancel, queue: make(chan Entry, opts.QueueSize)}
	for range sinkWorkers {
		s.workers.Go(s.run)
	}
	return s
}

// put queues an entry. If there is no room it calls full, once, and waits. After
// close the entry is lost and counted as failed.
func (s *sink) put(e Entry, full func()) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		s.failed.Add(1)
		return
	}
	select {
	case s.queue <- e:
	default:
		full()
		s.queue <- e
	}
}

func (s *sink) run() {
	batch := make([]Entry, 0, maxBatch)
	for e := range s.queue {
		batch = append(batch[:0], e)
	more:
		for len(batch) < maxBatch {
			select {
			case e, ok := <-s.queue:
				if !ok {
					break more
				}
				batch = append(batch, e)
			default:
				break more
			}
		}
		s.publish(batch)
	}
}

// publish publishes entries, again and again where it must.
func (s *sink) publish(entries []Entry) {
	giveUp := time.Now().Add(retryFor)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		left, err := s.try(entries)
		s.published.Add(int64(len(entries) - len(left)))
		if err == nil {
			return
		}
		entries = left
		if time.Now().After(giveUp) || s.ctx.Err() != nil {
			s.failed.Add(int64(len(entries)))
			s.opts.Logger.Error("edge: log entries lost: cannot publish them", "entries", len(entries), "error", err)
			return
		}
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
	}
}

// try publishes entries once and returns those that failed and one reason.
func (s *sink) try(entries []Entry) (failed []Entry, err error) {
	if p, ok := s.opts.Publisher.(BatchPublisher); ok {
		if err := p.PublishBatch(s.ctx, entries); err != nil {
			return entries, err
		}
		return nil, nil
	}
	for _, e := range entries {
		if perr := s.opts.Publisher.Publish(s.ctx, e.Data, e.Attributes); perr != nil {
			failed, err = append(failed, e), perr
		}
	}
	return failed, err
}

// close publishes what is queued and reports entries lost, now or before.
func (s *sink) close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.mu.Unlock()
	timeout := time.AfterFunc(closeTimeout, s.cancel)
	s.workers.Wait()
	timeout.Stop()
	s.cancel()
	if n := s.failed.Load(); n > 0 {
		return fmt.Errorf("edge: %d log entries could not be published", n)
	}
	return nil
}
