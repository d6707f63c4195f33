package load

import (
	"sync"
	"time"
)

// tick is the step in which messages are published.
const tick = 10 * time.Millisecond

// queue is the subscription's messages, by number.
type queue struct {
	rate        float64
	count       int64
	ackDeadline time.Duration
	started     chan struct{} // closed by the first take

	mu      sync.Mutex
	start   time.Time // of publishing; zero before
	stopped int64     // messages published when publishing was stopped; -1 before
	next    int64     // the first that was never delivered
	again   []int64   // to be delivered again
	chunks  []*chunk
	gone    int // chunks before are acknowledged and nil

	acked, ackedAgain, delivered, redelivered, nacked, extended int64
}

// chunk is the state of consecutive messages, which goes when all are
// acknowledged.
type chunk struct {
	published int64 // when the first was, where the job sets the pace
	unacked   int
	lease     [chunkSize]uint32 // when it ends, in milliseconds since start; or one of:
}

const (
	chunkSize = 4096

	leaseAcked  = 0 // acknowledged
	leaseNone   = 1 // not delivered, or to be delivered again
	firstMillis = 2 // leases end after this
)

func newQueue(opts Options) *queue {
	return &queue{rate: opts.Rate, count: opts.Count, ackDeadline: opts.AckDeadline, started: make(chan struct{}), stopped: -1}
}

// published returns how many messages there have been. The first pull begins the
// publishing. mu is held.
func (q *queue) published(now time.Time) int64 {
	if q.stopped >= 0 {
		return q.stopped
	}
	if q.start.IsZero() {
		return 0
	}
	if q.rate == 0 {
		return q.count
	}
	n := int64(now.Sub(q.start).Truncate(tick).Seconds() * q.rate)
	if q.count > 0 {
		n = min(n, q.count)
	}
	return n
}

// stop ends the publishing; what was published stays.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = q.published(time.Now())
}

// take leases up to limit messages and appends their numbers and times of
// publishing, in microseconds since the Unix epoch.
func (q *queue) take(limit int, into []delivery) []delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.start.IsZero() {
		q.start = now
		close(q.started)
	}
	until := q.millis(now.Add(q.ackDeadline))
	lease := func(n int64) {
		c := q.chunk(n)
		c.lease[n%chunkSize] = until
		into = append(into, delivery{n, q.publishTime(c, n)})
	}
	for len(q.again) > 0 && len(into) < limit {
		n := q.again[0]
		q.again = q.again[1:]
		if c := q.chunk(n); c != nil && c.lease[n%chunkSize] == leaseNone {
			lease(n)
			q.redelivered++
		}
	}
	for end := q.published(now); q.next < end && len(into) < limit; q.next++ {
		if q.next%chunkSize == 0 {
			c := &chunk{published: now.UnixMicro(), unacked: chunkSize}
			for i := range c.lease {
				c.lease[i] = leaseNone
			}
			q.chunks = append(q.chunks, c)
		}
		lease(q.next)
	}
	q.delivered += int64(len(into))
	return into
}

// delivery is a message on its way to the job.
type delivery struct{ number, published int64 }

func (q *queue) publishTime(c *chunk, n int64) int64 {
	if q.rate == 0 {
		return c.published + n%chunkSize
	}
	return q.start.UnixMicro() + int64(float64(n)/q.rate*1e6)
}

// chunk returns the chunk of a message that has been delivered, or nil if all of
// it is acknowledged.
func (q *queue) chunk(n int64) *chunk {
	if i := n / chunkSize; i < int64(len(q.chunks)) {
		return q.chunks[i]
	}
	return nil
}

// ack acknowledges a message. Deliveries of it that are still under way are
// acknowledged too, as the service may.
func (q *queue) ack(n int64) {
	if n < 0 || n >= q.next {
		return
	}
	c := q.chunk(n)
	if c == nil || c.lease[n%chunkSize] == leaseAcked {
		q.ackedAgain++
		return
	}
	c.lease[n%chunkSize] = leaseAcked
	q.acked++
	if c.unacked--; c.unacked == 0 {
		q.chunks[n/chunkSize] = nil
		for q.gone < len(q.chunks) && q.chunks[q.gone] == nil {
			q.gone++
		}
	}
}

// modify moves the end of a lease; a duration of 0 gives the message back.
func (q *queue) modify(n int64, now time.Time, d time.Duration) {
	if n < 0 || n >= q.next {
		return
	}
	c := q.chunk(n)
	if c == nil || c.lease[n%chunkSize] < firstMillis {
		return
	}
	if d == 0 {
		c.lease[n%chunkSize] = leaseNone
		q.again = append(q.again, n)
		q.nacked++
		return
	}
	c.lease[n%chunkSize] = q.millis(now.Add(d))
	q.extended++
}

// expire ends the leases that are over.
func (q *queue) expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.millis(time.Now())
	for i := q.gone; i < len(q.chunks); i++ {
		c := q.chunks[i]
		if c == nil {
			continue
		}
		for j, end := range c.lease {
			if end >= firstMillis && end <= now {
				c.lease[j] = leaseNone
				q.again = append(q.again, int64(i)*chunkSize+int64(j))
			}
		}
	}
}

func (q *queue) millis(t time.Time) uint32 {
	return firstMillis + uint32(t.Sub(q.start).Milliseconds())
}
