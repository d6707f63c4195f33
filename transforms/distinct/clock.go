package distinct

import (
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// clock is what a shard knows of the watermark, and when it wants to be told
// more. All times are in microseconds since the Unix epoch; unset is none.
//
// Beam tells a DoFn of the watermark by firing timers only. A shard's timer is
// therefore always set while one of its windows is open, for no later than the
// first of them closes, and the time of the last one that fired is a bound that the
// watermark has passed. It is durable, so that what is late, and what too late, does
// not depend on which worker asks. The timer holds the watermark of what follows at
// its own time: so that does not pass the lateness of a window that is open here.
type clock struct {
	// passed is the time of the last timer that fired.
	passed int64
	// armed is the time of the timer that is set.
	armed int64
	// ends are the ends of the windows seen that are open, ascending.
	ends []int64
	// late says that late sets wait.
	late bool
}

const unset = math.MinInt64

func newClock() clock { return clock{passed: unset, armed: unset} }

// append appends the encoded clock.
func (c *clock) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, c.passed)
	dst = binary.AppendVarint(dst, c.armed)
	if c.late {
		dst = append(dst, 1)
	} else {
		dst = append(dst, 0)
	}
	before := int64(0)
	for _, end := range c.ends {
		dst = binary.AppendVarint(dst, (end-before)/windowMicros)
		before = end
	}
	return dst
}

// decode reads an encoded clock.
func (c *clock) decode(s []byte) error {
	var ok1, ok2 bool
	c.passed, s, ok1 = cutVarint(s)
	c.armed, s, ok2 = cutVarint(s)
	if !ok1 || !ok2 || len(s) == 0 {
		return ErrCorrupt
	}
	c.late, s = s[0] == 1, s[1:]
	for end := int64(0); len(s) > 0; {
		windows, rest, ok := cutVarint(s)
		if !ok {
			return ErrCorrupt
		}
		end += windows * windowMicros
		c.ends, s = append(c.ends, end), rest
	}
	return nil
}

// open notes that the window that ends at end is open.
func (c *clock) open(end int64) {
	if i, found := slices.BinarySearch(c.ends, end); !found {
		c.ends = slices.Insert(c.ends, i, end)
	}
}

// pass notes that the timer that was set has fired, and forgets the windows that
// are closed by then.
func (c *clock) pass(lateness int64) {
	c.passed, c.armed = max(c.passed, c.armed), unset
	closed := 0
	for closed < len(c.ends) && c.ends[closed]+lateness <= c.passed {
		closed++
	}
	c.ends = slices.Delete(c.ends, 0, closed)
}

// schedule says when windows are written.
type schedule struct {
	// lateness is how long after its end a window takes entries, early how often
	// it is written before its end; 0 is never. Microseconds.
	lateness, early int64
}

func newSchedule(o Options) schedule {
	return schedule{o.AllowedLateness.Microseconds(), o.EarlyFirings.Microseconds()}
}

// Timeliness of a set.
type timeliness int

const (
	onTime  timeliness = iota // its window has not ended
	late                      // its window has ended and is open
	tooLate                   // its window is closed
)

// judge says how timely a set of the window that begins at start is.
func (s schedule) judge(c *clock, start int64) timeliness {
	end := start + windowMicros
	switch {
	case c.passed == unset || end > c.passed:
		return onTime
	case end > c.passed-s.lateness:
		return late
	}
	return tooLate
}

// tick is the first time after t at which windows that have not ended are
// written: every early interval, and at the end of each minute.
func (s schedule) tick(t int64) int64 {
	minute := WindowStart(t) + windowMicros
	if s.early <= 0 || s.early >= windowMicros {
		return minute
	}
	intoWindow := t - WindowStart(t)
	return min(minute, WindowStart(t)+(intoWindow/s.early+1)*s.early)
}

// arm makes the timer fire at t, unless it will before; it tells whether it has
// to be set.
func (c *clock) arm(t int64) bool {
	if c.armed != unset && c.armed <= t {
		return false
	}
	c.armed = t
	return true
}

func microTime(micros int64) time.Time { return time.UnixMicro(micros) }
