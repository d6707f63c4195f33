package bigqueryd

import (
	"context"
	"sync"
	"time"
)

// maxJobs and maxJobBytes bound what is remembered of finished jobs.
const (
	maxJobs     = 200
	maxJobBytes = 256 << 20
)

// job is one run of a statement.
type job struct {
	id      string
	query   string
	dataset string
	dryRun  bool
	labels  map[string]string
	created time.Time
	cancel  context.CancelFunc
	done    chan struct{}

	// Set before done is closed.
	ended   time.Time
	outcome *outcome
	err     error
}

// finished reports whether the job is done.
func (j *job) finished() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// jobs remembers the latest jobs; results of older ones are gone.
type jobs struct {
	mu      sync.Mutex
	byID    map[string]*job
	order   []*job
	running sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc
}

func newJobs() *jobs {
	j := &jobs{byID: map[string]*job{}}
	j.ctx, j.stop = context.WithCancel(context.Background())
	return j
}

// start runs j in the background. false means that there is a job of that id.
func (s *jobs) start(j *job, run func(ctx context.Context) (*outcome, error)) bool {
	ctx, cancel := context.WithCancel(s.ctx)
	j.cancel, j.done, j.created = cancel, make(chan struct{}), time.Now()
	s.mu.Lock()
	if s.byID[j.id] != nil {
		s.mu.Unlock()
		cancel()
		return false
	}
	s.byID[j.id] = j
	s.order = append(s.order, j)
	s.running.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		defer cancel()
		j.outcome, j.err = run(ctx)
		j.ended = time.Now()
		close(j.done)
		s.forget()
	}()
	return true
}

// forget removes the oldest finished jobs beyond the bounds; the latest stays.
func (s *jobs) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	var keep []*job
	for i := len(s.order) - 1; i >= 0; i-- {
		j := s.order[i]
		if j.finished() {
			n++
			if j.outcome != nil {
				size += j.outcome.size
			}
			if n > 1 && (n > maxJobs || size > maxJobBytes) {
				delete(s.byID, j.id)
				continue
			}
		}
		keep = append(keep, j)
	}
	for i, k := 0, len(keep)-1; i < k; i, k = i+1, k-1 {
		keep[i], keep[k] = keep[k], keep[i]
	}
	s.order = keep
}

func (s *jobs) get(id string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// latest returns the jobs, latest first.
func (s *jobs) latest() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*job, 0, len(s.order))
	for i := len(s.order) - 1; i >= 0; i-- {
		out = append(out, s.order[i])
	}
	return out
}

// wait cancels what runs and waits for it.
func (s *jobs) wait() {
	s.stop()
	s.running.Wait()
}
