package distinct

import (
	"encoding/binary"
	"math"
	"time"
)

// clock is what a shard knows of the watermark, and when it wants to be told
// more. All times are in microseconds since the Unix epoch; unset is none.
//
// Beam tells a DoFn of the watermark by firing timers only. A shard's timer is
// therefore always set while one of its windows is open, and the time of the last
// one that fired is a bound that the watermark has passed. It is durable, so
// that what is late, and what too late, does not depend on which worker asks.
type clock struct {
	// passed is the time of the last timer that fired.
	passed int64
	// armed is the time of the timer that is set.
	armed int64
	// lastEnd is the end of the last window seen.
	lastEnd int64
	// late says that late sets wait.
	late bool
}

const unset = math.MinInt64

func newClock() clock { return clock{passed: unset, armed: unset, lastEnd: unset} }

// append appends the encoded clock.
func (c *clock) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, c.passed)
	dst = binary.AppendVarint(dst, c.armed)
	dst = binary.AppendVarint(dst, c.lastEnd)
	if c.late {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// decode reads an encoded clock.
func (c *clock) decode(s []byte) error {
	var ok [3]bool
	c.passed, s, ok[0] = cutVarint(s)
	c.armed, s, ok[1] = cutVarint(s)
	c.lastEnd, s, ok[2] = cutVarint(s)
	if ok != [3]bool{true, true, true} || len(s) != 1 {
		return ErrCorrupt
	}
	c.late = s[0] == 1
	return nil
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

// hold is the timestamp at which a timer holds back the watermark of what
// follows: what the shard holds belongs to windows that are open by passed.
func (c *clock) hold() int64 {
	if c.passed == unset {
		return c.armed
	}
	return c.passed
}

func microTime(micros int64) time.Time { return time.UnixMicro(micros) }
