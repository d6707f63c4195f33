package traffic

import (
	"maps"
	"sync"
	"time"
)

// Kind is what a pipeline must make of an entry.
type Kind uint8

const (
	// Impression entries become rows, whatever their event.
	Impression Kind = iota
	// Ignored entries are well-formed but no request for the pixel.
	Ignored
	// Rejected entries cannot be understood.
	Rejected
)

// String returns impression, ignored or rejected.
func (k Kind) String() string {
	return [...]string{"impression", "ignored", "rejected"}[k]
}

// Reasons of ignored and rejected entries.
const (
	ReasonCDNInternal = "cdn_internal"
	ReasonNotAPixel   = "not_a_pixel"
	ReasonMethod      = "method"
	ReasonErrorStatus = "error_status"

	ReasonInvalidJSON  = "invalid_json"
	ReasonTooLarge     = "too_large"
	ReasonNotARequest  = "not_a_request"
	ReasonInvalidURL   = "invalid_url"
	ReasonInvalidField = "invalid_field"
	ReasonNoTimestamp  = "no_timestamp"
	ReasonNoInsertID   = "no_insert_id"
)

// Entry is one log entry as the log sink publishes it, and what is true of it.
type Entry struct {
	// Data is the LogEntry: one line of JSON, without a newline, broken or not.
	Data []byte
	// Timestamp is the message attribute logging.googleapis.com/timestamp; empty
	// for an entry without a time.
	Timestamp string
	// EventTime is the same in UTC; zero for an entry without a time.
	EventTime time.Time
	Kind      Kind
	// Reason says why an entry is ignored or rejected; empty for impressions.
	Reason string
	// Duplicate: the entry is a copy of an earlier one, same bytes and attribute.
	Duplicate bool
}

// Totals counts entries by what a pipeline must make of them. Entries is the sum
// of all the others.
type Totals struct {
	Entries int64
	// Impressions are distinct; their copies are DuplicateImpressions.
	Impressions, DuplicateImpressions int64
	// Ignored and Rejected count by reason, copies included.
	Ignored, Rejected map[string]int64
}

// Generator makes entries. One goroutine at a time may call Next; Totals may be
// called at any time.
type Generator struct {
	opts Options
	rnd  random
	time clock

	agents    []string
	campaigns []campaign
	pages     []page
	tcStrings []string

	userRank, campaignRank, agentRank, pageRank *zipf

	salt       uint64 // of ids
	fresh      uint64 // fresh entries so far
	elapsed    int64  // nanoseconds of event time since opts.Start
	step       int64
	eventNanos int64 // of the entry in the making

	rec     record
	who     person
	shown   [256]shown // the latest impressions, in a ring
	shownN  int
	history [512]Entry // sampled entries to copy, in a ring
	kept    int

	mu     sync.Mutex
	totals Totals
}

// historyEvery is the sampling of history: it reaches back over
// historyEvery * len(history) entries.
const historyEvery = 8

// New returns a generator at its first entry. It panics if opts.Validate returns
// an error; validate options that come from outside.
func New(opts Options) *Generator {
	if err := opts.Validate(); err != nil {
		panic(err)
	}
	opts = opts.withDefaults()
	g := &Generator{
		opts:         opts,
		agents:       agentTable(opts.Seed, opts.Agents),
		campaigns:    campaignTable(opts.Seed, opts.Campaigns),
		pages:        pageTable(opts.Seed, opts.Pages),
		tcStrings:    tcStrings(opts.Seed, 64),
		userRank:     newZipf(opts.Users, opts.UserSkew),
		campaignRank: newZipf(opts.Campaigns, opts.CampaignSkew),
		agentRank:    newZipf(opts.Agents, opts.AgentSkew),
		pageRank:     newZipf(opts.Pages, opts.PageSkew),
		salt:         mix(opts.Seed),
		step:         max(1, int64(1e9/opts.Rate)),
		totals:       Totals{Ignored: map[string]int64{}, Rejected: map[string]int64{}},
	}
	g.rnd.pcg.Seed(opts.Seed, 0x70697865)
	if opts.Live {
		g.salt = mix(g.salt + uint64(opts.Now().UnixNano()))
	}
	return g
}

// Totals returns what Next has made so far. The maps are the caller's.
func (g *Generator) Totals() Totals {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.totals
	t.Ignored = maps.Clone(t.Ignored)
	t.Rejected = maps.Clone(t.Rejected)
	return t
}

// Next sets e to the next entry. It overwrites e.Data in place, within its
// capacity: an entry is good until the next call with the same e. Pass a fresh
// Entry to keep each.
func (g *Generator) Next(e *Entry) {
	if g.kept > 0 && g.rnd.chance(g.opts.DuplicateShare) {
		e.copyFrom(&g.history[g.rnd.intn(min(g.kept, len(g.history)))])
		e.Duplicate = true
	} else {
		e.Duplicate = false
		g.makeFresh(e)
		if g.opts.DuplicateShare > 0 && g.fresh%historyEvery == 1 {
			g.history[g.kept%len(g.history)].copyFrom(e)
			g.kept++
		}
	}
	g.elapsed += g.step
	g.count(e)
}

func (e *Entry) copyFrom(from *Entry) {
	data := append(e.Data[:0], from.Data...)
	*e = *from
	e.Data = data
}

func (g *Generator) count(e *Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.totals.Entries++
	switch e.Kind {
	case Impression:
		if e.Duplicate {
			g.totals.DuplicateImpressions++
		} else {
			g.totals.Impressions++
		}
	case Ignored:
		g.totals.Ignored[e.Reason]++
	case Rejected:
		g.totals.Rejected[e.Reason]++
	}
}

// makeFresh sets e to an entry that has not been before.
func (g *Generator) makeFresh(e *Entry) {
	g.fresh++
	rec := &g.rec
	rec.reset()
	rec.id = mix(g.salt + g.fresh)
	g.setTime(rec)

	e.Kind, e.Reason = g.decideKind()
	g.fillRequest(rec, e.Kind, e.Reason)
	e.Data = g.appendEntry(e.Data[:0], rec)
	if e.Kind == Rejected {
		e.Data = g.spoil(e.Data, e.Reason)
	}
	if rec.noTime {
		e.Timestamp, e.EventTime = "", time.Time{}
		return
	}
	e.Timestamp = string(rec.timestamp)
	e.EventTime = time.Unix(0, g.eventNanos).UTC()
}

// setTime gives the record its event time, truncated to what its timestamp can
// say, and its receive time.
func (g *Generator) setTime(rec *record) {
	r := &g.rnd
	delay := 500_000_000 + int64(r.below(2_500_000_000))
	if g.opts.Live {
		g.eventNanos = g.opts.Now().UnixNano()
		delay = 1 + delay/100
	} else {
		g.eventNanos = g.opts.Start.UnixNano() + g.elapsed + int64(r.below(uint64(g.step)))
	}
	if r.chance(g.opts.LateShare) {
		late := 1 + int64(r.unit()*float64(g.opts.MaxLateness))
		g.eventNanos = max(0, g.eventNanos-late)
		delay += late
	}
	fraction, unit := 6, int64(1_000)
	switch r.intn(100) {
	case 0, 1, 2, 3:
		fraction, unit = 9, 1
	case 4:
		fraction, unit = 3, 1_000_000
	}
	received := g.eventNanos + delay
	g.eventNanos -= g.eventNanos % unit
	rec.timestamp = g.time.appendTime(rec.timestamp, g.eventNanos, fraction)
	rec.received = g.time.appendTime(rec.received, received, 9)
	rec.attributeOnly = r.chance(g.opts.AttributeTimeShare)
}

// brokenReasons are drawn evenly for BrokenShare.
var brokenReasons = []string{
	ReasonInvalidJSON, ReasonInvalidJSON, ReasonNotARequest, ReasonInvalidURL, ReasonInvalidField, ReasonNoTimestamp, ReasonNoInsertID,
}

func (g *Generator) decideKind() (Kind, string) {
	x := g.rnd.unit()
	below := func(share float64) bool {
		x -= share
		return x < 0
	}
	switch o := &g.opts; {
	case below(o.BrokenShare):
		return Rejected, pick(&g.rnd, brokenReasons)
	case below(o.TooLargeShare):
		return Rejected, ReasonTooLarge
	case below(o.NotPixelShare):
		return Ignored, ReasonNotAPixel
	case below(o.InternalShare):
		return Ignored, ReasonCDNInternal
	case below(o.MethodShare):
		return Ignored, ReasonMethod
	case below(o.ErrorShare):
		return Ignored, ReasonErrorStatus
	}
	return Impression, ""
}
