package source

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"

	"pixelbeam/transforms/logentry"
)

const (
	// pullGrace is how long pulls under way may go on when the reader stops,
	// because a cancelled pull leaves its messages leased. Pulls that find
	// messages are back long before; only idle ones wait.
	pullGrace = 2 * time.Second
	// flushLimit is how long a reader that stops waits for the last
	// acknowledgements.
	flushLimit = 30 * time.Second
	// warnInterval is the least time between two warnings of a reader.
	warnInterval = 10 * time.Second
)

// checkpointPatience is how long a reader on Flink waits for a checkpoint before it
// says so.
var checkpointPatience = 2 * time.Minute

// batch is the messages of one pull.
type batch struct {
	ackIDs   []string
	messages []logentry.Message // gone once delivered
	earliest beam.EventTime     // of the messages
	sample   []int64            // of their event times, in milliseconds

	leased time.Time // when the lease began or was extended; guarded by leases
	acked  bool      // handed over to be acknowledged; guarded by leases
}

// reader pulls from one subscription, on behalf of one restriction, between
// and during the bundles of the readPubSubFn that it belongs to. DoFns come and
// go with bundles, so readers live in a registry of the process.
//
// Messages go through it like this: a puller puts a batch into the queue; a
// bundle takes it out; when the bundle is known to be taken by the runner, the
// batch is acknowledged, on Flink when a checkpoint has it too. From pull to
// acknowledgement leases holds it.
type reader struct {
	id  string
	cfg PubSubConfig

	// The reader ends in three steps: it is told to stop, pulls under way are
	// cancelled, it is closed.
	active, pullCtx, ctx             context.Context
	cancelActive, cancelPull, cancel context.CancelFunc
	stopOnce, closeOnce              sync.Once
	unwatch                          func() bool // takes it off its runner's context

	counts counts
	warned atomic.Int64 // Unix nanoseconds of the last warning

	pullMax int            // messages asked for in a pull
	slots   chan struct{}  // one for each batch that may be pulled or queued
	wake    chan struct{}  // signals a change to the bundle that waits
	pulls   sync.WaitGroup // of what fills the queue
	leasing sync.WaitGroup // of leases

	mu              sync.Mutex
	client          *pubsub.SubscriptionAdminClient
	flink           *flinkWatch // nil but on Flink
	leases          *leases     // nil until connected
	attempt         *attempt    // that reads; nil but on Flink
	holds           holds       // on Flink
	err             error       // why the reader can never work
	queue           []*batch
	pullers         []pullState
	pulling         int // pullers that run, or will once connected
	bundle          int64
	delivered       []*batch // of bundle, whose outputs the runner may not have taken
	times           eventTimes
	watermarkMillis int64
	reported        totals // to Beam
	lastEvent       int64
}

// pullState is what a puller's last responses say about the backlog.
type pullState struct {
	// empty is when the last response arrived, if it was empty; zero if not.
	// What this puller gets later was not there then.
	empty time.Time
	// run is the number of empty responses since anything was last pulled by
	// any puller.
	run int
}

// newReader starts a reader. It works until it is stopped or closed, or ctx,
// the runner's, is over.
func newReader(ctx context.Context, id string, cfg PubSubConfig) *reader {
	pullMax := min(pullSize, cfg.MaxBundle)
	r := &reader{
		id:              id,
		cfg:             cfg,
		pullMax:         pullMax,
		slots:           make(chan struct{}, cfg.Pullers+cfg.MaxBundle/pullMax),
		wake:            make(chan struct{}, 1),
		pullers:         make([]pullState, cfg.Pullers),
		pulling:         cfg.Pullers,
		watermarkMillis: mtime.MinTimestamp.Milliseconds(),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.pullCtx, r.cancelPull = context.WithCancel(r.ctx)
	r.active, r.cancelActive = context.WithCancel(r.pullCtx)
	if cfg.Flink != nil {
		r.flink = newFlinkWatch(*cfg.Flink, r.warnf)
		r.leasing.Go(func() { r.flink.run(r.ctx, r.followed) })
	}
	r.pulls.Go(r.run)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwatch = context.AfterFunc(ctx, r.close)
	return r
}

// run connects and starts the pullers.
func (r *reader) run() {
	l, err := r.connect()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.signal()
	if l == nil {
		r.err = err
		r.pulling = 0
		return
	}
	r.leases = l
	r.leasing.Go(func() { l.run(r.ctx) })
	for i := range r.pullers {
		r.pulls.Go(func() { r.pull(i) })
	}
}

// connect returns the leases of a subscription that exists. Without an error it
// returns nil only if the reader was stopped meanwhile.
func (r *reader) connect() (*leases, error) {
	client, err := newClient(r.ctx, r.cfg)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.client = client
	r.mu.Unlock()
	for wait := (backoff{}); ; {
		duration, err := leaseOf(r.pullCtx, client, r.cfg.Subscription)
		if err == nil {
			return newLeases(client, r.cfg.Subscription, duration, &r.counts, r.warnf), nil
		}
		if r.active.Err() != nil {
			return nil, nil
		}
		if refused(err) {
			return nil, explain(err, r.cfg)
		}
		r.warnf("%s: waiting for Pub/Sub: %v", r.cfg.Subscription, err)
		if !wait.wait(r.active) {
			return nil, nil
		}
	}
}

// stop ends the pulling. What is queued is still delivered.
func (r *reader) stop() {
	r.stopOnce.Do(func() {
		r.cancelActive()
		time.AfterFunc(pullGrace, r.cancelPull)
	})
}

// fail ends the pulling because the reader can never work.
func (r *reader) fail(err error) {
	r.mu.Lock()
	r.err = err
	r.mu.Unlock()
	r.stop()
}

// close ends the reader without waiting for anything to be delivered: what was
// settled is acknowledged, everything else given back.
func (r *reader) close() {
	r.closeOnce.Do(func() {
		r.stop()
		r.mu.Lock()
		r.unwatch()
		r.mu.Unlock()
		r.giveBack() // at once: the process may be about to end
		r.pulls.Wait()
		r.giveBack()
		r.cancel()
		r.leasing.Wait()
		r.mu.Lock()
		client := r.client
		r.mu.Unlock()
		if client != nil {
			client.Close()
		}
		readers.remove(r)
	})
}

// giveBack forgets what is queued and what was delivered and not settled, and
// returns when the server knows it and has the acknowledgements.
func (r *reader) giveBack() {
	r.mu.Lock()
	l := r.leases
	r.queue, r.delivered = nil, nil
	r.holds.drop()
	r.mu.Unlock()
	if l != nil {
		l.nackRest()
		l.flush(flushLimit)
	}
}

// settle is told that the runner has taken the bundle of that number and all before
// it. Whatever else was delivered belongs to a bundle that failed. On Flink, a is the
// attempt that reads, and the error is that of one that the job has gone on without.
func (r *reader) settle(a *attempt, number int64) error {
	now := time.Now()
	r.mu.Lock()
	l, batches, taken := r.leases, r.delivered, r.bundle == number
	r.delivered = nil
	if r.flink == nil {
		r.mu.Unlock()
		switch {
		case len(batches) == 0:
		case taken:
			l.ack(batches)
		default:
			l.nack(batches)
		}
		return nil
	}
	var undone, safe []*batch
	if taken {
		r.holds.add(number, batches, now)
	} else {
		undone = batches
	}
	undone = append(undone, r.holds.rewind(number)...)
	if r.attempt != a {
		r.attempt = a
		if a.began.IsZero() {
			a.began = now
		}
		r.holds.again(now)
	}
	superseded := a.superseded.Load()
	if c := r.flink.latest(); c != nil && !superseded {
		superseded = !a.follows(c)
		if !superseded && a.era == c.era {
			safe = r.holds.release(c)
		}
	}
	r.mu.Unlock()
	if len(undone) > 0 {
		l.nack(undone)
	}
	if len(safe) > 0 {
		l.ack(safe)
	}
	if superseded {
		r.close()
		return errSuperseded
	}
	return nil
}

// followed is told of each answer of Flink. A reader that the job has gone on
// without may never be resumed, so it gives back what it holds at once.
func (r *reader) followed(c *checkpoints) {
	r.mu.Lock()
	superseded := r.attempt != nil && !r.attempt.follows(c)
	oldest, held := r.holds.oldest(), r.holds.size
	r.mu.Unlock()
	switch {
	case superseded:
		go r.close() // which waits for the caller
	case held > 0 && time.Since(oldest) > checkpointPatience:
		r.warnf("%s: %d messages have waited for a checkpoint of the job %s since %s, the last complete one is %d: does Flink make them (--flink_checkpoint_interval), and do they fail?",
			r.cfg.Subscription, held, r.cfg.Flink.Job, oldest.UTC().Format(time.TimeOnly), c.completed)
	}
}

// awaitCheckpoint waits until a bundle may be read, for at most until the deadline,
// and tells whether it may: on Flink, when an answer of this attempt's time says that
// there is a checkpoint to go back to.
func (r *reader) awaitCheckpoint(ctx context.Context, a *attempt, deadline time.Time) bool {
	if r.flink == nil {
		return true
	}
	may := func() bool {
		c := r.flink.latest()
		r.mu.Lock()
		defer r.mu.Unlock()
		return c != nil && c.asOf.After(a.began) && a.follows(c) && c.leads()
	}
	for !may() {
		if !time.Now().Before(deadline) || !sleep(ctx, flinkPollMin) {
			if time.Since(a.began) > checkpointPatience {
				r.warnf("%s: nothing is read until a checkpoint of the job %s is complete: does Flink make them (--flink_checkpoint_interval), and do they fail?", r.cfg.Subscription, r.cfg.Flink.Job)
			}
			return false
		}
	}
	return true
}

// full tells whether as many messages wait for a checkpoint as may.
func (r *reader) full() bool {
	if r.flink == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.holds.size >= r.cfg.Flink.MaxHeld
}

// deliver is told what a bundle is made of.
func (r *reader) deliver(number int64, batches []*batch) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bundle, r.delivered = number, batches
	for _, b := range batches {
		r.times.add(now, b.sample)
		r.lastEvent = max(r.lastEvent, slices.Max(b.sample))
	}
}

// next returns a batch of at most limit messages that it takes from the queue,
// waiting for one until the deadline. It returns nil if there is none, or the
// first is larger, or there will be none. A batch larger than any that was
// asked for is returned all the same.
func (r *reader) next(ctx context.Context, limit int, deadline time.Time) *batch {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		r.mu.Lock()
		if len(r.queue) > 0 {
			var b *batch
			if n := len(r.queue[0].messages); n <= limit || n > r.pullMax {
				b = r.queue[0]
				r.queue[0] = nil
				r.queue = r.queue[1:]
			}
			r.mu.Unlock()
			return b
		}
		ended := r.pulling == 0 && len(r.holds.list) == 0
		r.mu.Unlock()
		if ended {
			return nil
		}
		select {
		case <-r.wake:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// keep says that a batch from next is delivered, which makes room for another.
func (r *reader) keep() { <-r.slots }

// unread puts a batch from next back at the head of the queue.
func (r *reader) unread(b *batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = slices.Insert(r.queue, 0, b)
}

// pulled hands a response of puller i, which may be empty, to the bundles.
func (r *reader) pulled(i int, b *batch) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(b.messages) == 0 {
		r.pullers[i].empty = now
		r.pullers[i].run++
		return
	}
	for i := range r.pullers {
		r.pullers[i].run = 0
	}
	r.pullers[i].empty = time.Time{}
	r.queue = append(r.queue, b)
	r.signal()
}

// pullerDone is called when a puller ends.
func (r *reader) pullerDone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulling--
	r.signal()
}

// signal wakes the bundle that waits in next, if one does.
func (r *reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// failure is why the reader can never work, or nil.
func (r *reader) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// over says whether no puller is left, and everything pulled is delivered and
// settled.
func (r *reader) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pulling == 0 && len(r.queue) == 0 && len(r.delivered) == 0 && len(r.holds.list) == 0
}

// idle says whether every puller has had at least run empty responses since
// anything was pulled, and everything pulled is acknowledged.
func (r *reader) idle(run int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pullers {
		if p.run < run {
			return false
		}
	}
	return len(r.queue) == 0 && len(r.delivered) == 0 && len(r.holds.list) == 0 && (r.leases == nil || r.leases.settled())
}

// stopIfIdle stops a reader that is to read until its backlog is empty.
func (r *reader) stopIfIdle() {
	if r.cfg.UntilIdle && r.idle(r.cfg.IdleResponses) && readers.idleCondition() {
		r.stop()
	}
}

// watermark returns how far event time has come, in milliseconds since the Unix
// epoch.
//
// While data flow, they say it: a low quantile of the recent event times, less
// the slack. Beyond that the watermark moves only when the backlog is known to
// have been empty: at the time by which every puller has had an empty response
// and nothing since, and nothing is queued. An empty response tells nothing
// about what other pulls have found, so one alone is not enough.
func (r *reader) watermark(now time.Time) int64 {
	slack := int64(r.cfg.SlackMillis)
	r.mu.Lock()
	defer r.mu.Unlock()
	ms := mtime.MinTimestamp.Milliseconds()
	if low, ok := r.times.low(now, r.queue); ok {
		ms = min(low, now.UnixMilli()) - slack
	}
	if len(r.queue) > 0 {
		return ms
	}
	empty := now
	for _, p := range r.pullers {
		if p.empty.IsZero() {
			return ms
		}
		if p.empty.Before(empty) {
			empty = p.empty
		}
	}
	return max(ms, empty.UnixMilli()-slack)
}

func (r *reader) noteWatermark(ms int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watermarkMillis = ms
}

// warnf logs a warning, unless the reader has logged one just now.
func (r *reader) warnf(format string, args ...any) {
	now, last := time.Now().UnixNano(), r.warned.Load()
	if now-last > int64(warnInterval) && r.warned.CompareAndSwap(last, now) {
		log.Warnf(context.Background(), format, args...)
	}
}
