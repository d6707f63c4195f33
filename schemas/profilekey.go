package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Column families of the profile table.
const (
	FamilyCounters = "c"
	FamilyLatest   = "l"
	FamilyFirst    = "f"
)

// Columns of the profile table; those of FamilyFirst are months (FirstCell).
const (
	ColumnCounters = "window" // of FamilyCounters: a WindowCounters message
	ColumnLatest   = "event"  // of FamilyLatest: a LatestEvent message
)

// Bounds of what one window adds to a profile, in bytes. With the ages of
// bigtable/profiles.json they keep a row below 100 MB, the most that Bigtable
// recommends, even of a user who is seen in every minute and whose expired cells
// are collected a week late. A test computes it.
const (
	// MaxWindowCounters bounds a counter cell, a WindowCounters message.
	MaxWindowCounters = 1280
	// MaxPageURL bounds the page of the latest event, MaxAttribute each other text.
	MaxPageURL   = 1024
	MaxAttribute = 64
)

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

// FirstCell returns where the first event of a window is kept in FamilyFirst: the
// column is the month of the event (UTC), and the cell's version runs backwards
// within that month, so that the newest version of a column is the earliest event
// of its month, in whatever order they were written, and old months expire by
// age. Event time and version are in microseconds since the Unix epoch, the
// version in whole milliseconds, as Bigtable wants it.
func FirstCell(eventTime int64) (column string, version int64) {
	at := time.UnixMicro(eventTime).UTC()
	month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return month.Format("2006-01"), (month.UnixMilli() + month.AddDate(0, 1, 0).UnixMilli() - at.UnixMilli()) * 1000
}
