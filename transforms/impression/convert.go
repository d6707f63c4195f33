package impression

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/pixelurl"
	"pixelbeam/transforms/privacy"
	"pixelbeam/transforms/useragent"
)

// Options say which entries are impressions and how they become rows. They
// travel to workers as JSON.
type Options struct {
	// PixelPaths are the request paths of the pixel, matched exactly after
	// percent-decoding; default DefaultPixelPaths.
	PixelPaths []string
	// IP says what becomes of client addresses; default privacy.IPTruncate.
	IP privacy.IPMode
	// Dictionary is a parameter dictionary, as JSON, that adds to the default
	// one; optional.
	Dictionary []byte
	// UserAgentRules are the rules for browser, system and device; default the
	// embedded ones.
	UserAgentRules useragent.Rules
	// OmitRecords makes Parse emit no records, which cost more than they seem
	// where nothing consumes them.
	OmitRecords bool
	// LedgerShards is how many shards the books are kept in; 0 keeps none.
	LedgerShards int
}

// DefaultPixelPaths returns the paths that a pixel has unless told otherwise.
func DefaultPixelPaths() []string { return []string{"/pixel.gif", "/pixel.png", "/p.gif"} }

// Kind is the outcome of an entry.
type Kind int

// The outcomes. Each entry has exactly one.
const (
	Impression Kind = iota
	Rejected
	Ignored
)

// Verdict is the outcome of an entry and, unless it is an impression, why.
type Verdict struct {
	Kind   Kind
	Reason logentry.Reason
	// Detail tells people what was found, and where in the entry. Rejected only.
	Detail string
}

// Converter turns entries into rows. It keeps buffers between calls and is not
// safe for concurrent use.
type Converter struct {
	paths   [][]byte
	ip      privacy.IPMode
	agents  *useragent.Cache
	decoder logentry.Decoder
	entry   logentry.Entry
	query   *pixelurl.Parser
	params  pixelurl.Result
	scratch []byte
}

// NewConverter checks the options and makes a converter. The cache is that of
// Options.UserAgentRules, as useragent.SharedCacheFor gives it.
func NewConverter(opts Options, agents *useragent.Cache) (*Converter, error) {
	dict := pixelurl.DefaultDictionary()
	if len(opts.Dictionary) > 0 {
		var err error
		if dict, err = dict.Merge(opts.Dictionary); err != nil {
			return nil, fmt.Errorf("parameter dictionary: %w", err)
		}
	}
	paths := opts.PixelPaths
	if len(paths) == 0 {
		paths = DefaultPixelPaths()
	}
	ip := opts.IP
	if ip == "" {
		ip = privacy.IPTruncate
	}
	c := &Converter{ip: ip, agents: agents, query: pixelurl.NewParser(dict)}
	for _, path := range paths {
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("pixel path %q does not begin with a slash", path)
		}
		c.paths = append(c.paths, []byte(path))
	}
	return c, nil
}

// Convert judges an entry. For an impression it appends the row, a
// pixelbeam.v1.Impression in wire format, to dst and returns it; rec then
// borrows from what was appended. dst should be empty, with spare capacity.
func (c *Converter) Convert(m *logentry.Message, dst []byte, rec *Record) ([]byte, Verdict) {
	e := &c.entry
	if err := c.decoder.Decode(m.Data, e); err != nil {
		return dst, rejectDecode(err)
	}
	if e.RequestError != nil {
		return dst, reject(logentry.ReasonInvalidField, e.RequestError.Error())
	}
	if len(e.URL) == 0 {
		return dst, reject(logentry.ReasonNotARequest, "no httpRequest.requestUrl")
	}
	url, ok := pixelurl.Split(e.URL)
	if !ok {
		return dst, reject(logentry.ReasonInvalidURL, fmt.Sprintf("httpRequest.requestUrl %.200q is not an http or https URL with a host", e.URL))
	}
	if e.FieldError != nil {
		return dst, reject(logentry.ReasonInvalidField, e.FieldError.Error())
	}
	at, ok := eventTime(e, m)
	if !ok {
		return dst, reject(logentry.ReasonNoTimestamp, "no timestamp, timestamp attribute or receiveTimestamp that is RFC 3339")
	}
	if len(e.InsertID) == 0 {
		return dst, reject(logentry.ReasonNoInsertID, "no insertId")
	}
	switch {
	case e.CDNInternal || string(e.UserAgent) == "Cloud-CDN-Google":
		return dst, Verdict{Kind: Ignored, Reason: logentry.ReasonCDNInternal}
	case !c.isPixel(url.Path):
		return dst, Verdict{Kind: Ignored, Reason: logentry.ReasonNotAPixel}
	case string(e.Method) != "GET" && string(e.Method) != "HEAD":
		return dst, Verdict{Kind: Ignored, Reason: logentry.ReasonMethod}
	case e.Status.Set && e.Status.Value >= 400:
		return dst, Verdict{Kind: Ignored, Reason: logentry.ReasonErrorStatus}
	}
	c.query.Parse(url.Query, &c.params)
	return c.appendRow(dst, rec, at, url), Verdict{Kind: Impression}
}

// rejectDecode takes the reason from the decoder's error.
func rejectDecode(err error) Verdict {
	var d *logentry.DecodeError
	if errors.As(err, &d) {
		return reject(d.Reason, d.Error())
	}
	return reject(logentry.ReasonInvalidJSON, err.Error())
}

func reject(reason logentry.Reason, detail string) Verdict {
	return Verdict{Kind: Rejected, Reason: reason, Detail: detail}
}

// eventTime is the first usable of timestamp, the message attribute and
// receiveTimestamp, in microseconds since the Unix epoch.
func eventTime(e *logentry.Entry, m *logentry.Message) (int64, bool) {
	if e.EventTime.Set {
		return e.EventTime.Value, true
	}
	if m.Timestamp != "" {
		if at, ok := logentry.ParseTime([]byte(m.Timestamp)); ok {
			return at, true
		}
	}
	return e.ReceiveTime.Value, e.ReceiveTime.Set
}

func (c *Converter) isPixel(path []byte) bool {
	if bytes.IndexByte(path, '%') >= 0 {
		c.scratch = pixelurl.UnescapePath(c.scratch[:0], path)
		path = c.scratch
	}
	return slices.ContainsFunc(c.paths, func(p []byte) bool { return bytes.Equal(p, path) })
}

// Record is what windows need of an impression. Its slices borrow from the row;
// absent is empty.
type Record struct {
	// EventTime is in microseconds since the Unix epoch.
	EventTime int64
	// IDHigh and IDLow are the hash of (insert_id, event_time), which names the
	// entry: two log entries are the same if both are.
	IDHigh, IDLow int64
	// Invalid says that the impression has an invalid-traffic reason.
	Invalid bool

	EventType, AdvertiserID, CampaignID, CreativeID, PlacementID, SiteID []byte
	UserID, PageURL, Country, Browser, OS, DeviceType                    []byte
}

// Records are records that travel together, so that what a runner does for each
// element it does once for many.
type Records struct{ Records []Record }

// ID returns the entry's id in sets, flagged if it is invalid traffic. IDHigh, which
// shards are chosen by, is not part of it.
func (r *Record) ID() distinct.ID {
	return distinct.NewID(uint64(r.IDLow), r.Invalid)
}

// setID hashes what identifies an entry. The time is the row's, in whole
// microseconds, so that counts and the view of distinct rows agree.
func (r *Record) setID(insertID []byte, at int64, scratch []byte) []byte {
	r.EventTime = at
	scratch = append(scratch[:0], insertID...)
	for shift := 0; shift < 64; shift += 8 {
		scratch = append(scratch, byte(at>>shift))
	}
	h := xxh3.Hash128(scratch)
	r.IDHigh, r.IDLow = int64(h.Hi), int64(h.Lo)
	return scratch
}
