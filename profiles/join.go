package profiles

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// joiner bounds how many requests are under way. Reads that come when there are as
// many wait, and those that wait for the same period go together, in one request,
// when one of the others ends. So a read waits for no longer than it must, and the
// more reads there are the less each of them costs.
type joiner struct {
	most int // requests at once
	do   func(ctx context.Context, keys []string, period Period) (result, error)

	mu      sync.Mutex
	running int
	waiting []*group // the oldest first
}

// result is what a request found. An error of one row is not one of the others.
type result struct {
	profiles map[string]*Profile // by row key
	broken   map[string]error    // by row key
}

// group is reads that go together.
type group struct {
	period Period
	keys   []string // of all reads, as they came
	reads  []*read

	gone   int    // how many of the reads wait no more
	cancel func() // ends the request, if it has begun
}

type read struct {
	ctx  context.Context
	keys []string
	done chan struct{} // closed when the rest is set
	result
	err error
}

// get reads the rows of keys, at most maxKeys of them, sorted.
func (j *joiner) get(ctx context.Context, keys []string, period Period) (result, error) {
	j.mu.Lock()
	if j.most == 0 || j.running < j.most {
		j.running++
		j.mu.Unlock()
		defer j.next()
		return j.do(ctx, keys, period)
	}
	r := &read{ctx: ctx, keys: keys, done: make(chan struct{})}
	g := j.groupFor(len(keys), period)
	g.keys, g.reads = append(g.keys, keys...), append(g.reads, r)
	j.mu.Unlock()
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		j.mu.Lock()
		defer j.mu.Unlock()
		if g.gone++; g.gone == len(g.reads) && g.cancel != nil {
			g.cancel()
		}
		return result{}, ctx.Err()
	}
}

// groupFor returns a group of a period that has room for n keys.
func (j *joiner) groupFor(n int, period Period) *group {
	for _, g := range j.waiting {
		if len(g.keys)+n <= maxKeys && g.period.From.Equal(period.From) && g.period.To.Equal(period.To) {
			return g
		}
	}
	g := &group{period: period}
	j.waiting = append(j.waiting, g)
	return g
}

// next is called when a request has ended.
func (j *joiner) next() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) == 0 {
		j.running--
		return
	}
	g := j.waiting[0]
	j.waiting = slices.Delete(j.waiting, 0, 1)
	go func() {
		defer j.next()
		j.run(g)
	}()
}

// run reads for a group, which no read joins any more.
func (j *joiner) run(g *group) {
	if len(g.reads) == 1 {
		g.reads[0].run(j, g.period)
		return
	}
	keys := slices.Clone(g.keys)
	slices.Sort(keys)
	keys = slices.Compact(keys)
	ctx, cancel := g.context()
	defer cancel()
	j.mu.Lock()
	g.cancel = cancel
	if g.gone == len(g.reads) {
		cancel()
	}
	j.mu.Unlock()
	found, err := j.do(ctx, keys, g.period)
	if status.Code(err) == codes.InvalidArgument {
		// One of them asks what Bigtable does not take: the others must not pay.
		for _, r := range g.reads {
			r.run(j, g.period)
		}
		return
	}
	for _, r := range g.reads {
		r.result, r.err = found, err
		close(r.done)
	}
}

func (r *read) run(j *joiner, period Period) {
	r.result, r.err = j.do(r.ctx, r.keys, period)
	close(r.done)
}

// context returns a context that ends when the last of the reads would end.
func (g *group) context() (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(g.reads[0].ctx)
	var latest time.Time
	for _, r := range g.reads {
		deadline, ok := r.ctx.Deadline()
		if !ok {
			return context.WithCancel(ctx)
		}
		if deadline.After(latest) {
			latest = deadline
		}
	}
	return context.WithDeadline(ctx, latest)
}
