package source

import (
	"slices"
	"sync/atomic"
	"time"
)

// earliest is the lowest watermark that is reported, in milliseconds: what a
// protobuf Timestamp can say at least, the year 1.
const earliest = -62135596800000

// watermarkEstimator holds the watermark of a Pub/Sub reader, in milliseconds
// since the Unix epoch. It never goes back. It is safe for concurrent use.
type watermarkEstimator struct {
	ms atomic.Int64
}

// CurrentWatermark implements Beam's WatermarkEstimator.
func (we *watermarkEstimator) CurrentWatermark() time.Time {
	return time.UnixMilli(max(earliest, we.ms.Load()))
}

func (we *watermarkEstimator) advance(ms int64) {
	for {
		old := we.ms.Load()
		if ms <= old || we.ms.CompareAndSwap(old, ms) {
			return
		}
	}
}

const (
	// sampleStride is the distance of the messages whose event times are
	// sampled from a batch.
	sampleStride = 32
	// sampleWindow is how long a delivered batch counts as recent.
	sampleWindow = time.Second
	// onTime is the share of recent messages that may be older than the
	// watermark: what is behind nine tenths of the others is late, and must not
	// stop the clock for them.
	onTime = 10 // one in ten
)

// eventTimes samples the event times of what was delivered lately. It is not
// safe for concurrent use.
type eventTimes struct {
	recent []sample
}

type sample struct {
	delivered time.Time
	ms        []int64
}

func (e *eventTimes) add(now time.Time, ms []int64) {
	e.recent = append(e.recent, sample{now, ms})
}

// low returns the event time that one in onTime messages is older than, of
// those delivered within sampleWindow and those that wait. It is false if there
// are none.
func (e *eventTimes) low(now time.Time, waiting []*batch) (ms int64, ok bool) {
	e.recent = slices.DeleteFunc(e.recent, func(s sample) bool { return now.Sub(s.delivered) > sampleWindow })
	var all []int64
	for _, s := range e.recent {
		all = append(all, s.ms...)
	}
	for _, b := range waiting {
		all = append(all, b.sample...)
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return all[len(all)/onTime], true
}
