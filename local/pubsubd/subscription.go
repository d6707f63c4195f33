package pubsubd

import (
	"context"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// Stats are the figures of one subscription since the server started, replayed
// messages included: Published = Acked + Outstanding + Backlog.
type Stats struct {
	// Published counts messages that entered the subscription.
	Published int64
	// Acked counts messages that left it.
	Acked int64
	// Outstanding counts messages under lease.
	Outstanding int64
	// Backlog counts messages that wait to be handed out, again or for the first
	// time.
	Backlog int64
	// Redelivered counts deliveries after a message's first.
	Redelivered int64
	// OldestUnacked is the publish time of the oldest message in Outstanding or
	// Backlog; zero if there is none.
	OldestUnacked time.Time
}

// subscription is the queue of one subscription: ready items in the order of
// publishing, given-back ones before them, and leased ones in one list for each
// lease duration, so that every list is in the order of expiry and each step
// costs the same whatever the backlog.
type subscription struct {
	number uint64 // names the subscription in the log
	name   string
	clock  func() time.Duration

	mu     sync.Mutex
	config *pubsubpb.Subscription // replaced, never changed
	closed bool

	ready     list
	again     list
	leased    []*leaseList
	leases    map[uint64]*item // by lease number; expired ones too until handed out again
	lastLease uint64
	waiting   []*consumer

	published, acked, redelivered int64
}

// leaseList holds the items leased for one duration.
type leaseList struct {
	list
	duration time.Duration
}

// consumer is a Pull call or a streaming pull. Its subscription's lock guards
// all but wake.
type consumer struct {
	// wake gets a value when it is worth calling take again.
	wake chan struct{}
	// queued says that the consumer is in subscription.waiting.
	queued bool
	// messages and bytes are under lease to the consumer.
	messages, bytes int
}

func newConsumer() *consumer { return &consumer{wake: make(chan struct{}, 1)} }

func (c *consumer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// delivery is one message on its way to a consumer.
type delivery struct {
	item  *item
	lease uint64
	// again says that the message had been handed out before.
	again bool
}

// limits bound what take hands out.
type limits struct {
	messages, bytes int
	// heldMessages and heldBytes bound what the consumer may have under lease;
	// 0 is no bound. One message is handed out whatever its size if the consumer
	// holds none.
	heldMessages, heldBytes int
}

// newSubscription returns an empty one. Lease numbers begin at lease: above all
// of earlier runs, so that their acknowledgement ids mean nothing here.
func newSubscription(number uint64, config *pubsubpb.Subscription, lease uint64, clock func() time.Duration) *subscription {
	return &subscription{
		number:    number,
		name:      config.GetName(),
		clock:     clock,
		config:    config,
		leases:    map[uint64]*item{},
		lastLease: lease,
	}
}

// add appends messages whose publish records are in seg.
func (s *subscription) add(msgs []*message, seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range msgs {
		it := &item{msg: m, segment: seg}
		if s.closed {
			seg.release(it)
			continue
		}
		s.ready.push(it)
	}
	if s.closed {
		return
	}
	s.published += int64(len(msgs))
	s.wakeNext()
}

// take leases messages to c for the given duration. With nothing to hand out it
// queues c, which gets a wake when that changes; c must then call take again or
// leave. It takes nothing for a context that is done. The last result says that
// the subscription has been deleted.
func (s *subscription) take(ctx context.Context, c *consumer, lim limits, lease time.Duration) (out []delivery, deleted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, true
	}
	if ctx.Err() != nil {
		return nil, false
	}
	now := s.clock()
	s.expire(now)
	target := s.leaseList(lease)
	room, bytes := lim.messages, 0
	if lim.heldMessages > 0 {
		room = min(room, lim.heldMessages-c.messages)
	}
	if room > 0 {
		out = make([]delivery, 0, min(room, s.again.n+s.ready.n))
	}
	full := room <= 0
	for len(out) < room {
		it := s.again.head
		if it == nil {
			it = s.ready.head
		}
		if it == nil {
			break
		}
		size := it.msg.size
		if len(out) > 0 && bytes+size > lim.bytes {
			full = true
			break
		}
		if lim.heldBytes > 0 && c.messages > 0 && c.bytes+size > lim.heldBytes {
			full = true
			break
		}
		bytes += size
		out = append(out, s.lease(it, c, target, now))
	}
	if len(out) == 0 && !full && !c.queued {
		c.queued = true
		s.waiting = append(s.waiting, c)
	}
	s.wakeNext()
	return out, false
}

// lease moves a waiting item to a lease list under a new lease number.
func (s *subscription) lease(it *item, c *consumer, target *leaseList, now time.Duration) delivery {
	delete(s.leases, it.lease) // an expired one
	s.lastLease++
	d := delivery{item: it, lease: s.lastLease, again: it.delivered}
	it.remove()
	it.lease, it.deadline, it.holder = s.lastLease, now+target.duration, c
	c.messages++
	c.bytes += it.msg.size
	if it.delivered {
		s.redelivered++
	}
	it.delivered = true
	target.push(it)
	s.leases[it.lease] = it
	return d
}

// holds reports whether a delivery's message is still unacknowledged and has not
// been handed out anew.
func (s *subscription) holds(d delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leases[d.lease] == d.item
}

// waitingBytes is the size of the messages that wait to be handed out.
func (s *subscription) waitingBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready.bytes + s.again.bytes
}

// putBack undoes deliveries that did not reach the consumer.
func (s *subscription) putBack(ds []delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range ds {
		it, ok := s.leases[d.lease]
		if !ok {
			continue
		}
		s.giveBack(it)
		if !d.again {
			it.delivered = false
		} else {
			s.redelivered--
		}
	}
	s.wakeNext()
}

// leave ends a consumer's wait. A wake that it may have been given is passed on.
func (s *subscription) leave(c *consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, c); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		c.queued = false
	}
	s.wakeNext()
}

// ack removes the messages of the leases for good, ignores leases that it does
// not know, and returns the ids of the messages removed.
func (s *subscription) ack(leases []uint64) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	ids := make([]uint64, 0, len(leases))
	for _, l := range leases {
		it, ok := s.leases[l]
		if !ok {
			continue
		}
		delete(s.leases, l)
		s.drop(it)
		it.remove()
		it.segment.release(it)
		ids = append(ids, it.msg.id)
	}
	s.acked += int64(len(ids))
	return ids
}

// extend sets the deadline of the leases to d from now; 0 gives the messages
// back. Leases that it does not know are ignored. durations holds one for each
// lease.
func (s *subscription) extend(leases []uint64, durations []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := s.clock()
	for i, l := range leases {
		it, ok := s.leases[l]
		switch {
		case !ok:
		case durations[i] == 0:
			s.giveBack(it)
		default:
			target := s.leaseList(durations[i])
			it.remove()
			it.deadline = now + target.duration
			target.push(it)
		}
	}
	s.wakeNext()
}

// giveBack ends a lease before its time.
func (s *subscription) giveBack(it *item) {
	delete(s.leases, it.lease)
	it.lease = 0
	s.drop(it)
	it.remove()
	s.again.push(it)
}

// drop takes the item off its holder's account.
func (s *subscription) drop(it *item) {
	if c := it.holder; c != nil {
		it.holder = nil
		c.messages--
		c.bytes -= it.msg.size
		c.signal()
	}
}

// tick makes expired leases available.
func (s *subscription) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.clock())
	s.wakeNext()
}

func (s *subscription) expire(now time.Duration) {
	for _, l := range s.leased {
		for it := l.head; it != nil && it.deadline <= now; it = l.head {
			s.drop(it)
			it.remove()
			s.again.push(it)
		}
	}
}

// wakeNext wakes one waiting consumer if there is something to take. Whoever
// takes wakes the next, so one is enough.
func (s *subscription) wakeNext() {
	if len(s.waiting) == 0 || s.ready.n+s.again.n == 0 {
		return
	}
	c := s.waiting[0]
	s.waiting = slices.Delete(s.waiting, 0, 1)
	c.queued = false
	c.signal()
}

func (s *subscription) leaseList(d time.Duration) *leaseList {
	for _, l := range s.leased {
		if l.duration == d {
			return l
		}
	}
	l := &leaseList{duration: d}
	s.leased = append(s.leased, l)
	return l
}

// close drops all messages and wakes all consumers.
func (s *subscription) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.each(func(it *item) {
		it.in = nil
		it.segment.release(it)
	})
	s.ready, s.again, s.leased = list{}, list{}, nil
	clear(s.leases)
	for _, c := range s.waiting {
		c.queued = false
		c.signal()
	}
	s.waiting = nil
}

// each calls f for every unacknowledged item. f may not move items.
func (s *subscription) each(f func(*item)) {
	walk := func(l *list) {
		for it := l.head; it != nil; it = it.next {
			f(it)
		}
	}
	for _, l := range s.leased {
		walk(&l.list)
	}
	walk(&s.again)
	walk(&s.ready)
}

// stats returns the subscription's figures.
func (s *subscription) stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.clock())
	st := Stats{
		Published:   s.published,
		Acked:       s.acked,
		Backlog:     int64(s.ready.n + s.again.n),
		Redelivered: s.redelivered,
	}
	older := func(it *item) {
		if st.OldestUnacked.IsZero() || it.msg.published.Before(st.OldestUnacked) {
			st.OldestUnacked = it.msg.published
		}
	}
	for _, l := range s.leased {
		st.Outstanding += int64(l.n)
		for it := l.head; it != nil; it = it.next {
			older(it)
		}
	}
	for it := s.again.head; it != nil; it = it.next {
		older(it)
	}
	if s.ready.head != nil { // in the order of publishing
		older(s.ready.head)
	}
	s.wakeNext()
	return st
}

// settings returns the subscription's present configuration, not to be changed.
func (s *subscription) settings() *pubsubpb.Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

// configure replaces the subscription's configuration.
func (s *subscription) configure(config *pubsubpb.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config = config
}
