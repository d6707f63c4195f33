package source

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Drain makes every Pub/Sub reader of this process, and every one that is
// started in it from now on, come to its end: it pulls no more, delivers what
// it has, acknowledges it, and ends its input, so that the watermark goes to
// the end of time, windows fire, and the job finishes. It does not wait for
// that. Of use where the job runs in this process, as with Prism.
//
// The returned function lifts it for jobs that start later.
func Drain() (undo func()) { return readers.drain() }

// Abort ends every Pub/Sub reader of this process where it is and gives back what
// is not acknowledged, so that it comes again at once and not when its lease is
// over. It is for a process that is told to end.
func Abort() { readers.abort() }

// Wait waits until every Pub/Sub reader of this process has ended, or ctx is
// over, whose error it then returns. A reader ends on its own after its job has;
// a program that does not wait leaves messages that were pulled and not
// delivered to come again only when their lease is over.
func Wait(ctx context.Context) error { return readers.wait(ctx) }

// SetIdleCondition sets what must hold, besides an empty backlog, before a
// reader with UntilIdle ends its input: that publishing is over, say. nil
// removes it. It is called from bundles, several times a second.
func SetIdleCondition(condition func() bool) { readers.setIdleCondition(condition) }

// registry holds the readers of a process.
type registry struct {
	mu        sync.Mutex
	running   map[string]*reader
	ended     totals // of readers that are gone
	lastEvent int64
	gone      chan struct{} // closed and replaced when a reader ends
	draining  int
	condition func() bool
}

var readers = registry{running: map[string]*reader{}, gone: make(chan struct{})}

// get returns the reader of that id, which it starts if there is none: at the
// beginning, or because the worker that had it is gone.
func (g *registry) get(ctx context.Context, id string, cfg PubSubConfig) *reader {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.running[id]
	if !ok {
		r = newReader(ctx, id, cfg)
		g.running[id] = r
		if g.draining > 0 {
			r.stop()
		}
	}
	return r
}

func (g *registry) remove(r *reader) {
	r.mu.Lock()
	last := r.lastEvent
	r.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running[r.id] != r {
		return
	}
	delete(g.running, r.id)
	close(g.gone)
	g.gone = make(chan struct{})
	g.ended = g.ended.plus(r.counts.load())
	g.lastEvent = max(g.lastEvent, last)
}

func (g *registry) drain() (undo func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining++
	for _, r := range g.running {
		r.stop()
	}
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.draining--
	})
}

func (g *registry) abort() {
	g.mu.Lock()
	running := slices.Collect(maps.Values(g.running))
	g.mu.Unlock()
	var closing sync.WaitGroup
	for _, r := range running {
		closing.Go(r.close)
	}
	closing.Wait()
}

func (g *registry) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		n, gone := len(g.running), g.gone
		g.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *registry) setIdleCondition(condition func() bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.condition = condition
}

func (g *registry) idleCondition() bool {
	g.mu.Lock()
	condition := g.condition
	g.mu.Unlock()
	return condition == nil || condition()
}
