package source

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// A request may carry this many ack ids, and this many bytes of them
	// (requests are limited to 512 KiB).
	maxAckIDs   = 2500
	maxAckBytes = 480 << 10

	// ackers is how many acknowledge calls are under way at once.
	ackers = 4
	// ackTries is how often an acknowledgement is repeated at least that the server
	// refuses. The messages then come again.
	ackTries = 5
	// nackTries is how often giving messages back is repeated. They come again
	// in any case when their lease ends.
	nackTries = 3
)

// leases holds messages that were pulled and not yet acknowledged: it extends
// their ack deadlines, acknowledges them when told to, or gives them back. It
// is safe for concurrent use.
//
// This is the one place that decides when an acknowledgement that the reader
// has asked for is sent: at once. (When the reader asks on Flink, hold.go says.)
type leases struct {
	client       *pubsub.SubscriptionAdminClient
	subscription string
	duration     time.Duration
	counts       *counts
	warn         func(format string, args ...any)

	mu      sync.Mutex
	changed sync.Cond           // of queue, sending and stopped
	held    map[*batch]struct{} // their deadlines are extended
	queue   []*batch            // to be acknowledged; held as well
	sending int                 // how many ackers are at; held as well
	stopped bool
}

func newLeases(client *pubsub.SubscriptionAdminClient, subscription string, duration time.Duration, counts *counts, warn func(string, ...any)) *leases {
	l := &leases{
		client:       client,
		subscription: subscription,
		duration:     duration,
		counts:       counts,
		warn:         warn,
		held:         map[*batch]struct{}{},
	}
	l.changed.L = &l.mu
	return l
}

// run extends and acknowledges until ctx is cancelled.
func (l *leases) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range ackers {
		wg.Go(func() { l.acknowledge(ctx) })
	}
	tick := time.NewTicker(l.duration / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.stopped = true
			l.changed.Broadcast()
			l.mu.Unlock()
			wg.Wait()
			return
		case <-tick.C:
			l.extend(ctx)
		}
	}
}

// hold takes charge of a batch whose lease began just now.
func (l *leases) hold(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.leased = time.Now()
	l.held[b] = struct{}{}
}

// ack has the batches acknowledged.
func (l *leases) ack(batches []*batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range batches {
		b.acked = true
	}
	l.queue = append(l.queue, batches...)
	l.changed.Broadcast()
}

// settled says whether everything that was to be acknowledged has been.
func (l *leases) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) == 0 && l.sending == 0
}

// flush waits until everything that was to be acknowledged has been, for at
// most limit.
func (l *leases) flush(limit time.Duration) {
	deadline := time.Now().Add(limit)
	timer := time.AfterFunc(limit, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue)+l.sending > 0 && !l.stopped && time.Now().Before(deadline) {
		l.changed.Wait()
	}
}

// acknowledge is one acker.
func (l *leases) acknowledge(ctx context.Context) {
	for {
		batches := l.takeQueued()
		if batches == nil {
			return
		}
		var ids []string
		for _, b := range batches {
			ids = append(ids, b.ackIDs...)
		}
		for _, ids := range chunks(ids) {
			l.acknowledgeIDs(ctx, ids)
		}
		l.mu.Lock()
		l.sending -= len(batches)
		for _, b := range batches {
			delete(l.held, b)
		}
		l.changed.Broadcast()
		l.mu.Unlock()
	}
}

// takeQueued waits for batches to acknowledge and returns as many as fill a
// request, or nil once the leases are stopped.
func (l *leases) takeQueued() []*batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.stopped {
		l.changed.Wait()
	}
	if l.stopped {
		return nil
	}
	n, ids := 0, 0
	for n < len(l.queue) && (n == 0 || ids+len(l.queue[n].ackIDs) <= maxAckIDs) {
		ids += len(l.queue[n].ackIDs)
		n++
	}
	batches := l.queue[:n:n]
	l.queue = l.queue[n:]
	l.sending += n
	return batches
}

// acknowledgeIDs repeats one request until it succeeds, is refused for good, or
// ctx is cancelled.
func (l *leases) acknowledgeIDs(ctx context.Context, ids []string) {
	var wait backoff
	begin := time.Now()
	for tries := 1; ; tries++ {
		callCtx, cancel := context.WithTimeout(ctx, otherTimeout)
		err := l.client.Acknowledge(callCtx, &pubsubpb.AcknowledgeRequest{Subscription: l.subscription, AckIds: ids})
		cancel()
		if err == nil {
			l.counts.acks.Add(int64(len(ids)))
			return
		}
		if ctx.Err() != nil {
			return
		}
		again, done, lost, each := unacknowledged(ids, err)
		ids = again
		l.counts.acks.Add(int64(done))
		if lost > 0 {
			l.warn("%s: the leases of %d messages were over when they were acknowledged, and they will come again", l.subscription, lost)
		}
		if len(ids) == 0 {
			return
		}
		// What is refused may be allowed again, or be there again, while the lease lasts.
		final := status.Code(err) == codes.InvalidArgument || time.Since(begin) > l.duration
		if !each && refused(err) && tries >= ackTries && final {
			l.warn("%s: %d messages could not be acknowledged and will come again: %v", l.subscription, len(ids), err)
			return
		}
		l.counts.ackRetries.Add(1)
		l.warn("%s: acknowledging again after %s", l.subscription, status.Convert(err).Message())
		if !wait.wait(ctx) {
			return
		}
	}
}

// unacknowledged returns which of the ids of a failed request to send again, how many
// were acknowledged all the same, how many never can be, and whether the answer was for
// each id by itself, as that of a subscription is that delivers exactly once.
// https://cloud.google.com/pubsub/docs/exactly-once-delivery
func unacknowledged(ids []string, err error) (again []string, done, lost int, each bool) {
	apiErr, ok := apierror.FromError(err)
	if !ok || !slices.ContainsFunc(ids, func(id string) bool { return apiErr.Metadata()[id] != "" }) {
		return ids, 0, 0, false
	}
	results := apiErr.Metadata()
	for _, id := range ids {
		switch result := results[id]; {
		case result == "":
			done++
		case strings.HasPrefix(result, "TRANSIENT_"):
			again = append(again, id)
		default: // PERMANENT_FAILURE_...
			lost++
		}
	}
	return again, done, lost, true
}

// extend renews the leases that are half over.
func (l *leases) extend(ctx context.Context) {
	now := time.Now()
	l.mu.Lock()
	var due []*batch
	for b := range l.held {
		if now.Sub(b.leased) > l.duration/2 {
			due = append(due, b)
		}
	}
	l.mu.Unlock()
	for len(due) > 0 {
		n, ids := 0, []string(nil)
		for n < len(due) && (n == 0 || len(ids)+len(due[n].ackIDs) <= maxAckIDs) {
			ids = append(ids, due[n].ackIDs...)
			n++
		}
		sent := time.Now()
		err := l.modify(ctx, ids, l.duration)
		if err == nil || refused(err) {
			l.mu.Lock()
			for _, b := range due[:n] {
				b.leased = sent
			}
			l.mu.Unlock()
		}
		if err == nil {
			l.counts.extensions.Add(int64(len(ids)))
		} else if ctx.Err() == nil {
			l.warn("%s: %d leases could not be extended: %v", l.subscription, len(ids), err)
		}
		due = due[n:]
	}
}

// nackRest gives everything back that is held and not to be acknowledged.
func (l *leases) nackRest() {
	l.mu.Lock()
	var rest []*batch
	for b := range l.held {
		if !b.acked {
			rest = append(rest, b)
		}
	}
	l.mu.Unlock()
	l.nack(rest)
}

// nack gives batches back, so that the server delivers them again at once.
func (l *leases) nack(batches []*batch) {
	l.mu.Lock()
	var ids []string
	for _, b := range batches {
		ids = append(ids, b.ackIDs...)
		delete(l.held, b)
	}
	l.mu.Unlock()
	// The reader may be stopping because its context is over.
	ctx, cancel := context.WithTimeout(context.Background(), otherTimeout)
	defer cancel()
	for _, ids := range chunks(ids) {
		var wait backoff
		for tries := 1; ; tries++ {
			err := l.modify(ctx, ids, 0)
			if err == nil {
				l.counts.nacks.Add(int64(len(ids)))
				break
			}
			if tries == nackTries || refused(err) || !wait.wait(ctx) {
				l.warn("%s: %d messages could not be given back and will come again when their lease ends: %v", l.subscription, len(ids), err)
				break
			}
		}
	}
}

// modify sets the ack deadline of messages to be d from now.
func (l *leases) modify(ctx context.Context, ids []string, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, otherTimeout)
	defer cancel()
	for _, ids := range chunks(ids) {
		err := l.client.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
			Subscription:       l.subscription,
			AckIds:             ids,
			AckDeadlineSeconds: int32(d / time.Second),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// chunks cuts ack ids into lists that fit a request each.
func chunks(ids []string) [][]string {
	var out [][]string
	start, bytes := 0, 0
	for i, id := range ids {
		size := len(id) + 4 // and its tag and length
		if i-start == maxAckIDs || i > start && bytes+size > maxAckBytes {
			out = append(out, ids[start:i])
			start, bytes = i, 0
		}
		bytes += size
	}
	if start < len(ids) {
		out = append(out, ids[start:])
	}
	return out
}
