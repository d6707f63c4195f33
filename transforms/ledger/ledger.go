package ledger

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/logentry"
)

// Field numbers of pixelbeam.v1.LedgerEntry; a test compares them with the
// message.
const (
	fieldMinute         = 1
	fieldPart           = 2
	fieldPane           = 3
	fieldRead           = 4
	fieldImpressions    = 5
	fieldRejected       = 6
	fieldIgnored        = 7
	fieldDuplicates     = 8
	fieldTooLate        = 9
	fieldUnmatched      = 10
	fieldRejectedReason = 11 // ... in the order of logentry.RejectReasons
	fieldIgnoredReason  = 18 // ... in the order of logentry.IgnoreReasons
	fieldVersion        = 22
	fieldRules          = 23
	fieldRecovered      = 24
)

// Entry is one row of the ledger.
type Entry struct {
	// Minute is its start, in microseconds since the Unix epoch.
	Minute int64
	// Part and Minute name the row; of equal ones that with the highest Pane holds.
	Part string
	Pane int64

	Impressions, Duplicates, TooLate, Unmatched int64
	Rejected, Ignored                           map[logentry.Reason]int64
	// Recovered is how many of them were found in the tables and not counted when
	// they were read.
	Recovered int64

	Build Build
}

// Build says what counted.
type Build struct {
	// Version is that of the program, Rules that of the user agent rules.
	Version, Rules string
}

// Append appends the pixelbeam.v1.LedgerEntry of the entry, in wire format.
func (e *Entry) Append(dst []byte) []byte {
	reasons := func(first protowire.Number, order []logentry.Reason, counts map[logentry.Reason]int64) (fields []byte, sum int64) {
		for i, reason := range order {
			fields = appendInt(fields, first+protowire.Number(i), counts[reason])
			sum += counts[reason]
		}
		return fields, sum
	}
	rejectedBy, rejected := reasons(fieldRejectedReason, logentry.RejectReasons(), e.Rejected)
	ignoredBy, ignored := reasons(fieldIgnoredReason, logentry.IgnoreReasons(), e.Ignored)
	dst = appendInt(dst, fieldMinute, e.Minute)
	dst = appendString(dst, fieldPart, e.Part)
	dst = appendInt(dst, fieldPane, e.Pane)
	dst = appendInt(dst, fieldRead, e.Impressions+rejected+ignored)
	dst = appendInt(dst, fieldImpressions, e.Impressions)
	dst = appendInt(dst, fieldRejected, rejected)
	dst = appendInt(dst, fieldIgnored, ignored)
	dst = appendInt(dst, fieldDuplicates, e.Duplicates)
	dst = appendInt(dst, fieldTooLate, e.TooLate)
	dst = appendInt(dst, fieldUnmatched, e.Unmatched)
	dst = append(dst, rejectedBy...)
	dst = append(dst, ignoredBy...)
	dst = appendString(dst, fieldVersion, e.Build.Version)
	dst = appendString(dst, fieldRules, e.Build.Rules)
	if e.Recovered > 0 {
		dst = appendInt(dst, fieldRecovered, e.Recovered)
	}
	return dst
}

// add adds the deliveries of a window's groups.
func (e *Entry) add(groups []distinct.Group) error {
	for i := range groups {
		g := &groups[i]
		_, name, ok := distinct.CutField(g.Key)
		if !ok || len(name) == 0 {
			return distinct.ErrCorrupt
		}
		reason := logentry.Reason(name[1:])
		switch name[0] {
		case outcomeImpression:
			e.Impressions += g.Copies
			e.Duplicates += g.Copies - g.Count
		case outcomeRejected:
			e.Rejected = count(e.Rejected, reason, g.Count)
		case outcomeIgnored:
			e.Ignored = count(e.Ignored, reason, g.Count)
		default:
			return distinct.ErrCorrupt
		}
	}
	return nil
}

func count(m map[logentry.Reason]int64, reason logentry.Reason, n int64) map[logentry.Reason]int64 {
	if m == nil {
		m = make(map[logentry.Reason]int64)
	}
	m[reason] += n
	return m
}

// ofWindow makes the entry of a shard's minute, from a whole restatement.
func ofWindow(r *distinct.Restatement, run string, build Build) (Entry, error) {
	e := Entry{Minute: r.WindowStart, Part: run + strconv.FormatInt(r.Shard, 10), Pane: r.Pane, Build: build}
	return e, e.add(r.Groups)
}

// ofLateBooks makes the entry of deliveries whose minute is closed in the books.
func ofLateBooks(t *distinct.TooLate, build Build) (Entry, error) {
	e := Entry{Minute: t.WindowStart, Part: "late-" + t.Name, Build: build}
	err := e.add(t.Groups)
	e.Unmatched = e.Impressions
	return e, err
}

// ofLateCounts makes the entry of entries whose window is closed in the counts.
// That they were read is in another one.
func ofLateCounts(t *distinct.TooLate, build Build) Entry {
	return Entry{Minute: t.WindowStart, Part: "uncounted-" + t.Name, TooLate: t.Entries, Build: build}
}

// RecoveredPart is the part of the entries that a restatement writes.
const RecoveredPart = "recovered"

// OfTables makes the entry of what the tables hold of a minute and no run of the
// job has counted: distinct impressions, and rejected entries by reason. That is
// what a crash on a runner whose windows do not survive it leaves. Duplicates and
// ignored entries are in no table, so those stay unknown.
func OfTables(minute, pane, impressions int64, rejected map[logentry.Reason]int64, build Build) Entry {
	e := Entry{Minute: minute, Part: RecoveredPart, Pane: pane, Impressions: impressions, Rejected: rejected, Build: build, Recovered: impressions}
	for _, n := range rejected {
		e.Recovered += n
	}
	return e
}

func appendString(dst []byte, field protowire.Number, v string) []byte {
	if v == "" {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendString(dst, v)
}

func appendInt(dst []byte, field protowire.Number, v int64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(v))
}
