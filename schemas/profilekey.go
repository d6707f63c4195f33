package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Column families of the profile table.
const (
	FamilyCounters = "c"
	FamilyLatest   = "l"
	FamilyFirst    = "f"
)

// firstOrigin is 9999-12-31T23:59:59.999Z, the end of the range of BigQuery
// timestamps, in milliseconds since the Unix epoch.
const firstOrigin = 253402300799999

// ProfileKey returns the Bigtable row key of a user: four hex digits of the
// SHA-256 of the id, '#', the id. The prefix spreads users over tablets whatever
// their ids look like; a reader in any language can compute it.
func ProfileKey(user string) string {
	sum := sha256.Sum256([]byte(user))
	return hex.EncodeToString(sum[:2]) + "#" + user
}

// ProfileUser is the inverse of ProfileKey; ok is false for a key that is none.
func ProfileUser(key string) (user string, ok bool) {
	if len(key) < 5 || key[4] != '#' {
		return "", false
	}
	return key[5:], true
}

var (
	escapeColumn   = strings.NewReplacer("%", "%25", "#", "%23")
	unescapeColumn = strings.NewReplacer("%25", "%", "%23", "#")
)

// CounterColumn returns the column of a campaign's counter in FamilyCounters; an
// empty campaign stands for events without one.
func CounterColumn(campaign, eventType string) string {
	return escapeColumn.Replace(campaign) + "#" + escapeColumn.Replace(eventType)
}

// ParseCounterColumn is the inverse of CounterColumn; ok is false for a name
// that is none.
func ParseCounterColumn(column string) (campaign, eventType string, ok bool) {
	campaign, eventType, ok = strings.Cut(column, "#")
	return unescapeColumn.Replace(campaign), unescapeColumn.Replace(eventType), ok
}

// FirstVersion turns an event time into the cell timestamp of FamilyFirst: the
// earlier the event, the newer the version, so that a read of the newest version
// gives the first event, in whatever order they were written. Both are in
// milliseconds since the Unix epoch. It is its own inverse.
func FirstVersion(millis int64) int64 { return firstOrigin - millis }
