package source

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
)

var (
	pubSubRead       = beam.NewCounter("source", "pubsub_messages_read")
	pubSubAcks       = beam.NewCounter("source", "pubsub_acks")
	pubSubAckRetries = beam.NewCounter("source", "pubsub_ack_retries")
	pubSubNacks      = beam.NewCounter("source", "pubsub_nacks")
	pubSubExtensions = beam.NewCounter("source", "pubsub_lease_extensions")
	pubSubPulls      = beam.NewCounter("source", "pubsub_pulls")
	pubSubPullErrors = beam.NewCounter("source", "pubsub_pull_errors")
)

// counts is what a reader counts, outside of bundles too. Messages but for
// ackRetries, pulls and pullErrors, which are requests.
type counts struct {
	read, acks, ackRetries, nacks, extensions, pulls, pullErrors atomic.Int64
}

// totals is a reading of counts.
type totals struct {
	read, acks, ackRetries, nacks, extensions, pulls, pullErrors int64
}

func (c *counts) load() totals {
	return totals{
		read: c.read.Load(), acks: c.acks.Load(), ackRetries: c.ackRetries.Load(), nacks: c.nacks.Load(),
		extensions: c.extensions.Load(), pulls: c.pulls.Load(), pullErrors: c.pullErrors.Load(),
	}
}

// report adds to Beam's counters what was counted since the last report. Beam
// counts within bundles only.
func (r *reader) report(ctx context.Context) {
	is := r.counts.load()
	r.mu.Lock()
	was := r.reported
	r.reported = is
	r.mu.Unlock()
	pubSubRead.Inc(ctx, is.read-was.read)
	pubSubAcks.Inc(ctx, is.acks-was.acks)
	pubSubAckRetries.Inc(ctx, is.ackRetries-was.ackRetries)
	pubSubNacks.Inc(ctx, is.nacks-was.nacks)
	pubSubExtensions.Inc(ctx, is.extensions-was.extensions)
	pubSubPulls.Inc(ctx, is.pulls-was.pulls)
	pubSubPullErrors.Inc(ctx, is.pullErrors-was.pullErrors)
}

// PubSubStats is what the Pub/Sub readers of this process have done and where
// they stand.
type PubSubStats struct {
	// Read, Acked and Nacked are messages since the process began; those
	// delivered repeatedly count repeatedly.
	Read, Acked, Nacked int64
	// AckRetries is the number of acknowledge requests that were repeated.
	AckRetries int64
	// LeaseExtensions is the number of messages whose deadline was extended,
	// once for each time.
	LeaseExtensions int64
	// PullErrors is the number of pulls that failed.
	PullErrors int64
	// Waiting is the number of messages that are pulled and not yet taken by a
	// bundle.
	Waiting int
	// LastEventTime is the latest event time of those delivered; zero if none.
	LastEventTime time.Time
	// Watermark is the least watermark of the readers; zero if there is none
	// or it has not moved yet.
	Watermark time.Time
	// Readers is the number of readers that have not ended.
	Readers int
	// Idle says that the servers had no messages when last asked, and all that
	// were delivered are acknowledged.
	Idle bool
}

// Stats returns a reading of all Pub/Sub readers of this process. It is safe
// for concurrent use.
func Stats() PubSubStats { return readers.stats() }

func (g *registry) stats() PubSubStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	sum, lastEvent := g.ended, g.lastEvent
	s := PubSubStats{Readers: len(g.running), Idle: true}
	for _, r := range g.running {
		sum = sum.plus(r.counts.load())
		s.Idle = s.Idle && r.idle(1)
		r.mu.Lock()
		for _, b := range r.queue {
			s.Waiting += len(b.messages)
		}
		lastEvent = max(lastEvent, r.lastEvent)
		if w := time.UnixMilli(r.watermarkMillis); r.watermarkMillis > earliest && (s.Watermark.IsZero() || w.Before(s.Watermark)) {
			s.Watermark = w
		}
		r.mu.Unlock()
	}
	s.Read, s.Acked, s.Nacked = sum.read, sum.acks, sum.nacks
	s.AckRetries, s.LeaseExtensions, s.PullErrors = sum.ackRetries, sum.extensions, sum.pullErrors
	if lastEvent != 0 {
		s.LastEventTime = time.UnixMilli(lastEvent)
	}
	return s
}

func (t totals) plus(u totals) totals {
	return totals{
		read: t.read + u.read, acks: t.acks + u.acks, ackRetries: t.ackRetries + u.ackRetries, nacks: t.nacks + u.nacks,
		extensions: t.extensions + u.extensions, pulls: t.pulls + u.pulls, pullErrors: t.pullErrors + u.pullErrors,
	}
}
