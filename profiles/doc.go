// Package profiles reads the user profiles that the pipeline keeps in Bigtable: who
// a user is (the last event, first and last seen), what he has seen how often
// (frequency per campaign, event type and period) and when last (recency), whether
// a frequency cap lets a campaign be shown to him, and whether he is in a segment.
//
// A Reader reads one profile, many in one request, or all. What a Profile answers
// needs no further request. A client whose connections have DialOptions reads for less.
//
//	reader := profiles.NewReader(client, profiles.Options{})
//	p, err := reader.Get(ctx, "u-123", profiles.Last(24*time.Hour, now))
//	...
//	if p.Check(profiles.Cap{Campaign: "spring", Limit: 3, Period: 24 * time.Hour}, now).Allowed {
//
// # What the numbers are
//
// Counters are of distinct log entries per one-minute window on event time, and
// absolute, so a sum over a period counts every event once, however often the
// pipeline wrote a window. The pipeline writes an open window every 10 seconds
// (--early_firings): what happened since is missing. Counters are kept for 35 days and the rest for
// 400 (schemas/bigtable/profiles.json). Bigtable removes expired cells some time
// after they expire, so a read is bounded to the cells that are meant, and what it
// returns does not depend on when that happens.
//
// A window holds as many counters as fit into 1,280 bytes, the largest first;
// users with more campaigns in one minute are seldom people. Where that was not
// enough a frequency is not exact: it has a lower bound (Count) and an upper one
// (AtMost), and caps go by the upper one, so that no cap is ever exceeded for want
// of space.
package profiles
