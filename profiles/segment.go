package profiles

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// Segment is a predicate over profiles. Segments are made of the functions that
// return one and combined by All, Any and Not. An unknown user (a nil profile) is
// in a segment if one of whom nothing is known would be: he has seen nothing and
// no attribute of his matches. The zero Segment holds everybody.
//
// Where a profile was truncated, FrequencyAtLeast and FrequencyAtMost match only
// what is sure; Not of one then matches what is not sure, so say AtMost and not
// Not of AtLeast where it matters.
type Segment struct {
	lookback time.Duration
	match    func(p *Profile, now time.Time) bool
}

// Lookback is how far back counters must have been read for Matches to be right:
// read the profile for Last(Lookback(), now).
func (s Segment) Lookback() time.Duration { return s.lookback }

// Matches tells whether the user is in the segment at a time.
func (s Segment) Matches(p *Profile, now time.Time) bool {
	return s.match == nil || s.match(p, now)
}

// All is the segment of those who are in all of some; without any, everybody.
func All(segments ...Segment) Segment {
	return Segment{furthest(segments), func(p *Profile, now time.Time) bool {
		return !slices.ContainsFunc(segments, func(s Segment) bool { return !s.Matches(p, now) })
	}}
}

// Any is the segment of those who are in at least one of some; without any,
// nobody.
func Any(segments ...Segment) Segment {
	return Segment{furthest(segments), func(p *Profile, now time.Time) bool {
		return slices.ContainsFunc(segments, func(s Segment) bool { return s.Matches(p, now) })
	}}
}

// Not is the segment of those who are not in another.
func Not(s Segment) Segment {
	return Segment{s.lookback, func(p *Profile, now time.Time) bool { return !s.Matches(p, now) }}
}

func furthest(segments []Segment) time.Duration {
	var d time.Duration
	for _, s := range segments {
		d = max(d, s.lookback)
	}
	return d
}

// SeenWithin is the segment of those whose last event is at most d ago.
func SeenWithin(d time.Duration) Segment {
	return known(func(p *Profile, now time.Time) bool { return !p.LastSeen.IsZero() && now.Sub(p.LastSeen) <= d })
}

// NewWithin is the segment of those whose first event is at most d ago.
func NewWithin(d time.Duration) Segment {
	return known(func(p *Profile, now time.Time) bool { return !p.FirstSeen.IsZero() && now.Sub(p.FirstSeen) <= d })
}

// FrequencyAtLeast is the segment of those who had n or more events of a type
// (empty: impressions) for a campaign in the last period.
func FrequencyAtLeast(campaign, eventType string, n int64, period time.Duration) Segment {
	return Segment{period, func(p *Profile, now time.Time) bool {
		return p.Frequency(campaign, eventType, Last(period, now)).Count >= n
	}}
}

// FrequencyAtMost is the segment of those who had no more than n events of a type
// (empty: impressions) for a campaign in the last period.
func FrequencyAtMost(campaign, eventType string, n int64, period time.Duration) Segment {
	return Segment{period, func(p *Profile, now time.Time) bool {
		return p.Frequency(campaign, eventType, Last(period, now)).AtMost <= n
	}}
}

// InCountry is the segment of those whose last event came from one of some
// countries (ISO 3166-1 alpha-2, in any case).
func InCountry(countries ...string) Segment {
	return attribute(func(p *Profile) string { return p.Country }, countries)
}

// OnDevice is the segment of those whose last event came from one of some types of
// device: desktop, mobile, tablet, tv, console, wearable, bot, unknown.
func OnDevice(types ...string) Segment {
	return attribute(func(p *Profile) string { return p.DeviceType }, types)
}

// OnOS is the segment of those whose last event came from one of some operating
// systems, by the names of uap-core.
func OnOS(names ...string) Segment {
	return attribute(func(p *Profile) string { return p.OS }, names)
}

// InBrowser is the segment of those whose last event came from one of some
// browsers, by the names of uap-core.
func InBrowser(names ...string) Segment {
	return attribute(func(p *Profile) string { return p.Browser }, names)
}

// OnPageHost is the segment of those whose last event was on a page of one of some
// hosts, without port.
func OnPageHost(hosts ...string) Segment {
	return attribute(func(p *Profile) string {
		u, err := url.Parse(strings.TrimSuffix(p.PageURL, "…"))
		if err != nil {
			return ""
		}
		return u.Hostname()
	}, hosts)
}

// attribute is the segment of those of whom of gives one of some values, in any
// case; what is not known is never one.
func attribute(of func(*Profile) string, values []string) Segment {
	return known(func(p *Profile, _ time.Time) bool {
		v := of(p)
		return v != "" && slices.ContainsFunc(values, func(want string) bool { return strings.EqualFold(v, want) })
	})
}

func known(match func(p *Profile, now time.Time) bool) Segment {
	return Segment{0, func(p *Profile, now time.Time) bool { return p != nil && match(p, now) }}
}
