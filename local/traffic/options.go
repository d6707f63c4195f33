package traffic

import (
	"errors"
	"fmt"
	"time"
)

// Options says what traffic to make. A share is a probability from 0 to 1; zero
// means none. Start from DefaultOptions and change what matters: a zero Options
// is valid, and gives well-formed impressions without any oddity.
type Options struct {
	// Seed selects the stream of random draws; default 1.
	Seed uint64
	// Start is where event time begins; default 2026-01-15T12:00:00Z.
	Start time.Time
	// Rate is entries per second of event time: entry i, from 0, falls between
	// Start + i/Rate and Start + (i+1)/Rate, unless it is late. From 0.001 to
	// 1e9; zero means 1,000. Run takes a rate of its own.
	Rate float64

	// Live takes event times from Now instead of Start and Rate, and salts the
	// ids with the time of New, so that two runs never share an entry.
	Live bool
	// Now is the clock of Live; nil means time.Now.
	Now func() time.Time

	// Users, Campaigns, Agents and Pages are how many distinct ones there are;
	// zero means 100,000, 200, 2,000 and 5,000. At most 10 million each.
	Users, Campaigns, Agents, Pages int
	// The skews are Zipf exponents from 0 to 4: the k-th most popular is drawn
	// in proportion to k^-skew; 0 means evenly. Defaults 0.6, 1.0, 1.1, 1.0.
	UserSkew, CampaignSkew, AgentSkew, PageSkew float64

	// Shares of all entries.

	// DuplicateShare are exact copies of an entry sent up to a few thousand
	// entries earlier; default 0.02.
	DuplicateShare float64
	// BrokenShare are rejected: truncated JSON, invalid UTF-8, no insertId, no
	// time, no request, a bad URL, a field of the wrong type; default 0.002.
	BrokenShare float64
	// TooLargeShare are rejected for being larger than 256 KiB; default 0,
	// because one of them weighs as much as 180 others.
	TooLargeShare float64
	// NotPixelShare ask for another path (ignored); default 0.01.
	NotPixelShare float64
	// InternalShare are requests that Cloud CDN itself made (ignored); default
	// 0.005.
	InternalShare float64
	// MethodShare are neither GET nor HEAD (ignored); default 0.001.
	MethodShare float64
	// ErrorShare have a status of 400 or more (ignored); default 0.003.
	ErrorShare float64

	// Shares of fresh entries (those that are no duplicates).

	// LateShare have an event time up to MaxLateness in the past; default 0.03.
	LateShare float64
	// MaxLateness is how late a late entry can be; zero means 5 minutes.
	MaxLateness time.Duration
	// BotShare come from declared robots, AI crawlers among them; default 0.03.
	BotShare float64
	// IPv6Share have IPv6 addresses; default 0.4.
	IPv6Share float64
	// RegionalShare are logged by a regional load balancer, which writes
	// addresses as ip:port and proxyStatus for statusDetails; default 0.01.
	RegionalShare float64
	// AttributeTimeShare have no timestamp in the entry, only in the message
	// attribute; default 0.001.
	AttributeTimeShare float64

	// Shares of requests for the pixel.

	// ClickShare and ViewShare follow up an earlier impression of the same user
	// and campaign as a click or a viewable impression; defaults 0.005 and 0.1.
	ClickShare, ViewShare float64
	// MacroShare hold a macro that the ad server did not expand; default 0.03.
	MacroShare float64
	// NoCacheBusterShare lack a cache-buster; default 0.02.
	NoCacheBusterShare float64
	// BadEscapeShare hold a % that starts no escape, or bytes that are not
	// UTF-8; default 0.005.
	BadEscapeShare float64
	// HeadShare use HEAD; default 0.002.
	HeadShare float64
	// NotModifiedShare are answered 304; default 0.03.
	NotModifiedShare float64
	// ClientGoneShare have no status, because the client had left; default
	// 0.002.
	ClientGoneShare float64
}

// DefaultOptions returns the options whose defaults the fields of Options name.
func DefaultOptions() Options {
	return Options{
		Seed: 1,

		UserSkew:     0.6,
		CampaignSkew: 1.0,
		AgentSkew:    1.1,
		PageSkew:     1.0,

		DuplicateShare: 0.02,
		BrokenShare:    0.002,
		NotPixelShare:  0.01,
		InternalShare:  0.005,
		MethodShare:    0.001,
		ErrorShare:     0.003,

		LateShare:          0.03,
		BotShare:           0.03,
		IPv6Share:          0.4,
		RegionalShare:      0.01,
		AttributeTimeShare: 0.001,

		ClickShare:         0.005,
		ViewShare:          0.1,
		MacroShare:         0.03,
		NoCacheBusterShare: 0.02,
		BadEscapeShare:     0.005,
		HeadShare:          0.002,
		NotModifiedShare:   0.03,
		ClientGoneShare:    0.002,
	}.withDefaults()
}

// withDefaults fills in what has no useful zero.
func (o Options) withDefaults() Options {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	}
	if o.Rate == 0 {
		o.Rate = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxLateness == 0 {
		o.MaxLateness = 5 * time.Minute
	}
	for _, size := range []struct {
		n   *int
		def int
	}{{&o.Users, 100_000}, {&o.Campaigns, 200}, {&o.Agents, 2_000}, {&o.Pages, 5_000}} {
		if *size.n == 0 {
			*size.n = size.def
		}
	}
	return o
}

// Validate returns all that is wrong with the options, joined; nil if nothing
// is.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	check := func(ok bool, name string, v any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("traffic: %s is %v, want %s", name, v, want))
		}
	}
	check(o.Rate >= 0.001 && o.Rate <= 1e9, "Rate", o.Rate, "0.001 to 1e9 entries per second")
	check(o.MaxLateness >= time.Microsecond, "MaxLateness", o.MaxLateness, "1µs or more")
	// The year must have four digits and the time fit int64 nanoseconds.
	check(o.Start.Year() >= 1970 && o.Start.Year() <= 2200, "Start", o.Start, "a year from 1970 to 2200")
	for _, f := range []struct {
		name string
		n    int
	}{{"Users", o.Users}, {"Campaigns", o.Campaigns}, {"Agents", o.Agents}, {"Pages", o.Pages}} {
		check(f.n >= 1 && f.n <= 10_000_000, f.name, f.n, "1 to 10,000,000")
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"UserSkew", o.UserSkew}, {"CampaignSkew", o.CampaignSkew}, {"AgentSkew", o.AgentSkew}, {"PageSkew", o.PageSkew}} {
		check(f.v >= 0 && f.v <= 4, f.name, f.v, "0 to 4")
	}
	for _, f := range []struct {
		name string
		v    float64
	}{
		{"DuplicateShare", o.DuplicateShare}, {"LateShare", o.LateShare}, {"BotShare", o.BotShare},
		{"IPv6Share", o.IPv6Share}, {"RegionalShare", o.RegionalShare}, {"AttributeTimeShare", o.AttributeTimeShare},
		{"MacroShare", o.MacroShare}, {"NoCacheBusterShare", o.NoCacheBusterShare}, {"BadEscapeShare", o.BadEscapeShare},
		{"HeadShare", o.HeadShare}, {"NotModifiedShare", o.NotModifiedShare}, {"ClientGoneShare", o.ClientGoneShare},
		{"ClickShare", o.ClickShare}, {"ViewShare", o.ViewShare},
		{"BrokenShare", o.BrokenShare}, {"TooLargeShare", o.TooLargeShare}, {"NotPixelShare", o.NotPixelShare},
		{"InternalShare", o.InternalShare}, {"MethodShare", o.MethodShare}, {"ErrorShare", o.ErrorShare},
	} {
		check(f.v >= 0 && f.v <= 1, f.name, f.v, "0 to 1")
	}
	sum := o.BrokenShare + o.TooLargeShare + o.NotPixelShare + o.InternalShare + o.MethodShare + o.ErrorShare
	check(sum <= 1, "the sum of the Broken, TooLarge, NotPixel, Internal, Method and Error shares", sum, "at most 1")
	check(o.ClickShare+o.ViewShare <= 1, "ClickShare + ViewShare", o.ClickShare+o.ViewShare, "at most 1")
	return errors.Join(errs...)
}
