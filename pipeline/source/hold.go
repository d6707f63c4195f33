package source

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// This file decides when a message that was read on Flink may be acknowledged.
//
// Beam's Flink runner resumes a splittable DoFn as soon as its bundle is over: it
// keeps the residual in its keyed state and sets a timer
// (ExecutableStageDoFnOperator, StateAndTimerBundleCheckpointHandler). What the
// bundle sent downstream is safe only once a checkpoint has it; a failure before
// that takes the job back to the last checkpoint, and what was acknowledged
// meanwhile would be gone. (Beam has bundle finalization for this. The Go SDK
// calls it for the first bundle only, and Flink's runner would call it too early:
// at a checkpoint's completion it finalizes every bundle that is over, those after
// the barrier included.)
//
// So a bundle is held until the job manager has said that
//
//  1. a checkpoint is complete whose id is above those of all checkpoints that had
//     begun when the bundle was over. Ids rise with each beginning, and a task takes
//     its snapshot between bundles (DoFnOperator.snapshotState ends the one under
//     way, and what that emits after the barrier is part of the snapshot), so the
//     state, the residual and everything sent downstream until then are in it;
//  2. since the attempt that read the bundle began, the job was not restored. A
//     reader of before may still run, cut off from a job manager that has gone on
//     without it, and later checkpoints do not have its bundles;
//  3. before the bundle was read, some checkpoint was complete already, or the job had
//     been restored from one: with none, a job that fails begins anew without being
//     restored, which 2 would not show. So a job's first checkpoint has nothing of the
//     reader's, which begins after it.
//
// Completed checkpoints that are savepoints do not count: Flink does not go back
// to them.
//
// The job manager answers from a cache, so an answer is of the time of the
// question less the cache's time to live: bundles that were over by then count. No
// assumption is made about how long anything takes, and clocks of different
// machines are not compared.

// errSuperseded ends an attempt that the job has gone on without.
var errSuperseded = errors.New("the job was restored since this reader began: what it holds is given back and read again")

// checkpoints is what the job manager has said of a job's checkpoints.
type checkpoints struct {
	asOf      time.Time // it was so at this time, or later
	era       string    // the job, and what it was last restored from
	restored  bool      // it was restored from something
	begun     int64     // the highest id of those that have begun
	completed int64     // the highest id of those that a failure leads back to; 0: none
}

// attempt is one deployment of the reading task, from its first bundle until it
// fails. A DoFn belongs to one: the runner describes the stage anew, and the
// harness decodes it anew, when a task starts.
type attempt struct {
	began      time.Time
	era        string // of the first answer as of after began; empty before
	superseded atomic.Bool
}

// follows tells whether the attempt is still the job's, as c has it. An attempt is
// superseded for good.
func (a *attempt) follows(c *checkpoints) bool {
	switch {
	case a.superseded.Load():
	case !c.asOf.After(a.began):
		return true
	case a.era == "":
		a.era = c.era
		return true
	case a.era == c.era:
		return true
	}
	a.superseded.Store(true)
	return false
}

// leads tells whether a failure now would lead the job back to some checkpoint.
func (c *checkpoints) leads() bool { return c.completed > 0 || c.restored }

// held is a bundle that is over and not acknowledged.
type held struct {
	number  int64
	batches []*batch
	size    int       // messages
	over    time.Time // the runner has taken it by this time
	after   int64     // the id that a complete checkpoint must be above; 0: not known
}

// holds are the bundles of a reader that wait for a checkpoint, oldest first. It is
// guarded by its reader.
type holds struct {
	list []held
	size int // messages
}

// add holds a bundle that the runner has taken just now.
func (h *holds) add(number int64, batches []*batch, now time.Time) {
	n := 0
	for _, b := range batches {
		n += len(b.ackIDs)
	}
	if n > 0 {
		h.list = append(h.list, held{number: number, batches: batches, size: n, over: now})
		h.size += n
	}
}

// rewind forgets the bundles after number, which a failure undid, and returns
// their batches.
func (h *holds) rewind(number int64) (undone []*batch) {
	n := len(h.list)
	for n > 0 && h.list[n-1].number > number {
		n--
		undone = append(undone, h.list[n].batches...)
		h.size -= h.list[n].size
	}
	h.list = slices.Delete(h.list, n, len(h.list))
	return undone
}

// again has all wait as if they were over just now, for another attempt.
func (h *holds) again(now time.Time) {
	for i := range h.list {
		h.list[i].over, h.list[i].after = now, 0
	}
}

// release applies an answer, of the era of the attempt that reads, and returns the
// batches that may be acknowledged.
func (h *holds) release(c *checkpoints) (safe []*batch) {
	n := 0
	for i := range h.list {
		b := &h.list[i]
		switch {
		case b.after > 0 && c.completed > b.after:
			if i == n { // oldest first, so those before it are safe too
				n++
			}
		case b.after == 0 && c.completed > 0 && c.asOf.After(b.over):
			b.after = c.begun
		}
	}
	for _, b := range h.list[:n] {
		safe = append(safe, b.batches...)
		h.size -= b.size
	}
	h.list = slices.Delete(h.list, 0, n)
	return safe
}

// oldest is when the bundle that waits longest was over, zero if none waits.
func (h *holds) oldest() time.Time {
	if len(h.list) == 0 {
		return time.Time{}
	}
	return h.list[0].over
}

// drop forgets everything; the leases give it back.
func (h *holds) drop() { *h = holds{} }
