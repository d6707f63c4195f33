package profiles

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"pixelbeam/schemas"
)

// Window is the length of the windows in which events are counted.
const Window = time.Minute

// Event types that recency is about.
const (
	Impression = "impression"
	Click      = "click"
)

// Period is the windows that start at From or later and before To.
type Period struct {
	From, To time.Time
}

// Last returns the period of the windows of the last d until now, those that are
// partly in it included.
func Last(d time.Duration, now time.Time) Period {
	return Period{From: now.UTC().Add(-d).Truncate(Window), To: ceil(now.UTC(), Window)}
}

// covers tells whether all windows of q are windows of p.
func (p Period) covers(q Period) bool {
	return !ceil(q.From, Window).Before(ceil(p.From, Window)) && !ceil(q.To, Window).After(ceil(p.To, Window))
}

// ceil rounds a time up to a multiple of d.
func ceil(t time.Time, d time.Duration) time.Time {
	floor := t.Truncate(d)
	if floor.Before(t) {
		floor = floor.Add(d)
	}
	return floor
}

// MaxPeriod is the longest time back from now that counters are sure to be kept
// for: a day less than their age limit.
func MaxPeriod() time.Duration {
	return time.Duration(layout().Families[schemas.FamilyCounters].MaxAgeDays-1) * 24 * time.Hour
}

// layout is the profile table, read once.
var layout = sync.OnceValue(schemas.Profiles)

// Profile is what is known of one user. A nil profile is that of a user of whom
// nothing is known: its methods may be called. A Profile does not change, and may
// be used by several goroutines at once.
type Profile struct {
	User string
	// FirstSeen is the event time of the user's first event in the last 400 days,
	// LastSeen of the last one, in microseconds; zero where the table has none.
	FirstSeen, LastSeen time.Time
	// DeviceType, OS, Browser, Country and PageURL are what the last event said;
	// empty where it said nothing. A value that was too long ends in "…".
	DeviceType, OS, Browser, Country, PageURL string
	// Period is what was read of the counters: what was asked for, without what is
	// older than counters are kept, or than the newest Options.MaxWindows windows.
	Period Period

	windows  []window  // the newest first
	counters []counter // of all windows
	names    names     // of their campaigns and event types
}

// window is what a user did in one window.
type window struct {
	start      int64 // in microseconds since the Unix epoch
	first, end int32 // its counters are those from first to end
	cut        *cut  // nil if the window is whole
}

// cut is what did not fit into a window.
type cut struct {
	Truncation
	max int64 // the largest of the counters that were left out
}

// counter has numbers for names, so that they are quick to find and to compare,
// and are nothing for the garbage collector to look at.
type counter struct {
	campaign, event      int32
	count, invalid, last int64 // last is an event time in microseconds
}

func (p *Profile) of(w *window) []counter { return p.counters[w.first:w.end] }

// Counter is a user's number of distinct events of one type for one campaign.
type Counter struct {
	Campaign  string // empty for events that name none
	EventType string
	// Count is gross: Invalid of them are invalid traffic.
	Count, Invalid int64
	// Last is the event time of the last of them.
	Last time.Time
}

// Truncation says what did not fit into the windows of a period.
type Truncation struct {
	// Windows is how many windows are not whole, Counters how many counters they
	// lack, and Events the sum of those.
	Windows, Counters, Events int64
}

// Frequency is how often a user had events of one type for one campaign.
type Frequency struct {
	// Count is the number of distinct events that are in the profile, gross;
	// Invalid of them are invalid traffic.
	Count, Invalid int64
	// AtMost is the largest number that there can have been: Count, unless windows
	// were truncated; math.MaxInt64 if the profile does not cover the period.
	AtMost int64
	// Last is the event time of the last of those in Count; zero if there is none.
	Last time.Time
}

// Known tells whether there is an upper bound: the profile covers the period.
func (f Frequency) Known() bool { return f.AtMost < math.MaxInt64 }

// Exact tells whether Count is the number, and not only at least that.
func (f Frequency) Exact() bool { return f.Count == f.AtMost }

// Frequency returns how often the user had events of a type (empty: impressions)
// for a campaign (empty: events that name none) in a period.
func (p *Profile) Frequency(campaign, eventType string, period Period) Frequency {
	var f Frequency
	if p == nil {
		return f
	}
	if eventType == "" {
		eventType = Impression
	}
	var hidden int64
	last := int64(math.MinInt64)
	campaignID, eventID := p.names.id(campaign), p.names.id(eventType)
	windows := p.within(period)
	for i := range windows {
		w := &windows[i]
		counters := p.of(w)
		i := 0
		for i < len(counters) && (counters[i].campaign != campaignID || counters[i].event != eventID) {
			i++
		}
		if i == len(counters) {
			if w.cut != nil {
				hidden += w.cut.max
			}
			continue
		}
		c := &counters[i]
		f.Count += c.count
		f.Invalid += c.invalid
		last = max(last, c.last)
	}
	if f.Count > 0 {
		f.Last = time.UnixMicro(last).UTC()
	}
	f.AtMost = f.Count + hidden
	if !p.Period.covers(period) {
		f.AtMost = math.MaxInt64
	}
	return f
}

// Recency is when a user last had events for a campaign, in the period that was
// read; zero if never.
type Recency struct {
	LastImpression, LastClick time.Time
	// Truncated says that a window as late as that of either was not whole, so
	// that there may have been a later one.
	Truncated bool
}

// Recency returns when the user last saw and last clicked a campaign, in the
// period that was read.
func (p *Profile) Recency(campaign string) Recency {
	var r Recency
	if p == nil {
		return r
	}
	id, impression, click := p.names.id(campaign), p.names.id(Impression), p.names.id(Click)
	for _, w := range p.windows {
		for _, c := range p.of(&w) {
			if c.campaign != id {
				continue
			}
			at := time.UnixMicro(c.last).UTC()
			switch {
			case c.event == impression && r.LastImpression.IsZero():
				r.LastImpression = at
			case c.event == click && r.LastClick.IsZero():
				r.LastClick = at
			}
		}
		if !r.LastImpression.IsZero() && !r.LastClick.IsZero() {
			break
		}
		r.Truncated = r.Truncated || w.cut != nil
	}
	return r
}

// Counters returns the sums over a period, sorted by campaign and event type; none
// is zero.
func (p *Profile) Counters(period Period) []Counter {
	if p == nil {
		return nil
	}
	names := make([]string, len(p.names.ends))
	for id := range names {
		names[id] = string(p.names.bytes(int32(id)))
	}
	type key struct{ campaign, event int32 }
	sums := map[key]counter{}
	for _, w := range p.within(period) {
		for _, c := range p.of(&w) {
			k := key{c.campaign, c.event}
			s, ok := sums[k]
			if !ok {
				s.last = math.MinInt64
			}
			s.count += c.count
			s.invalid += c.invalid
			s.last = max(s.last, c.last)
			sums[k] = s
		}
	}
	out := make([]Counter, 0, len(sums))
	for k, s := range sums {
		if s.count != 0 {
			out = append(out, Counter{names[k.campaign], names[k.event], s.count, s.invalid, time.UnixMicro(s.last).UTC()})
		}
	}
	slices.SortFunc(out, func(a, b Counter) int {
		return cmp.Or(cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(a.EventType, b.EventType))
	})
	return out
}

// Truncated returns what did not fit in a period.
func (p *Profile) Truncated(period Period) Truncation {
	var t Truncation
	if p == nil {
		return t
	}
	for _, w := range p.within(period) {
		if w.cut != nil {
			t.Windows += w.cut.Windows
			t.Counters += w.cut.Counters
			t.Events += w.cut.Events
		}
	}
	return t
}

// within returns the windows that start in a period.
func (p *Profile) within(period Period) []window {
	from, to := ceil(period.From, Window).UnixMicro(), ceil(period.To, Window).UnixMicro()
	newest, _ := slices.BinarySearchFunc(p.windows, to, func(w window, to int64) int { return cmp.Compare(to-1, w.start) })
	oldest, _ := slices.BinarySearchFunc(p.windows, from, func(w window, from int64) int { return cmp.Compare(from-1, w.start) })
	if newest >= oldest {
		return nil
	}
	return p.windows[newest:oldest]
}

// Cap is a frequency cap: at most Limit events of a type for a campaign in the
// last Period.
type Cap struct {
	Campaign  string
	EventType string        // empty means impression
	Limit     int64         // at least 1
	Period    time.Duration // from Window to MaxPeriod
}

// Validate returns all that is wrong with a cap, joined.
func (c Cap) Validate() error {
	var errs []error
	if c.Limit < 1 {
		errs = append(errs, fmt.Errorf("limit %d: want at least 1", c.Limit))
	}
	if c.Period < Window || c.Period > MaxPeriod() {
		errs = append(errs, fmt.Errorf("period %v: want %v to %v, for which counters are kept", c.Period, Window, MaxPeriod()))
	}
	return errors.Join(errs...)
}

// Decision is what a cap says of a user.
type Decision struct {
	Cap Cap
	Frequency
	// Allowed tells whether one more event is within the limit. Where the frequency
	// is not exact it goes by the largest number that there can have been.
	Allowed bool
}

// Check asks whether a campaign may be shown to the user once more. The profile
// must have been read for at least Last(c.Period, now), or nothing is allowed.
func (p *Profile) Check(c Cap, now time.Time) Decision {
	f := p.Frequency(c.Campaign, c.EventType, Last(c.Period, now))
	return Decision{c, f, f.AtMost < c.Limit}
}
