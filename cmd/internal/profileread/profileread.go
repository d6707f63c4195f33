// Package profileread reads user profiles from the Bigtable table that the
// pipeline keeps (names and layout: package schemas, bigtable/profiles.json).
//
// Counters are stored per one-minute window, one cell each, as absolute values,
// so a sum over a period counts every event once however often the pipeline
// wrote a window. Bigtable removes expired cells some time after they expire, so
// every read is bounded to the cells that are meant, and what it returns does
// not depend on when that happens.
package profileread

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"cloud.google.com/go/bigtable"

	"pixelbeam/schemas"
)

// Profile is what is known of one user.
type Profile struct {
	User string
	// FirstSeen and LastSeen are the event times, in microseconds, of the user's
	// first event and of the last one; zero where the table has none.
	FirstSeen, LastSeen time.Time
	// Latest holds the latest values by column name: device_type, os, browser,
	// country, page_url. A column that never had a value is absent.
	Latest map[string]string
	// Period is the period that Counters cover: the one asked for, without what
	// is older than counters are kept.
	Period Period
	// Counters are sorted by campaign and event type, and never zero.
	Counters []Counter
}

// Counter is a user's number of distinct events of one type for one campaign in
// a period.
type Counter struct {
	Campaign  string // empty for events that name none
	EventType string
	Count     int64
}

// Period is the windows that start at From or later and before To, both to the
// millisecond.
type Period struct {
	From, To time.Time
}

// Reader reads profiles. It may be used by several goroutines at once.
type Reader struct {
	table *bigtable.Table
	now   func() time.Time
}

// New returns a reader of a profile table; an empty name is the one that package
// schemas gives.
func New(client *bigtable.Client, table string) *Reader {
	if table == "" {
		table = schemas.Profiles().Table
	}
	return &Reader{table: client.Open(table), now: time.Now}
}

// Get returns the profiles of users, in one request, by user id. A user of whom
// nothing is stored is absent from the map; one who is known and has no events
// in the period is there without counters.
//
// The error is that of the Bigtable client, or says which cell is not of the
// profile table's form.
func (r *Reader) Get(ctx context.Context, users []string, period Period) (map[string]Profile, error) {
	keys := make(bigtable.RowList, 0, len(users))
	for _, user := range users {
		keys = append(keys, schemas.ProfileKey(user))
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)

	families, now := schemas.Profiles().Families, r.now()
	period.From = period.From.Truncate(time.Millisecond)
	period.To = period.To.Truncate(time.Millisecond)
	if oldest := expiry(families[schemas.FamilyCounters], now); period.From.Before(oldest) {
		period.From = oldest
	}
	filter := bigtable.InterleaveFilters(
		newest(schemas.FamilyFirst, families, now),
		newest(schemas.FamilyLatest, families, now),
	)
	if period.From.Before(period.To) {
		// All versions: each is a window.
		filter = bigtable.InterleaveFilters(filter, bigtable.ChainFilters(
			bigtable.FamilyFilter(schemas.FamilyCounters),
			bigtable.TimestampRangeFilter(period.From, period.To)))
	}

	out := make(map[string]Profile, len(keys))
	var broken error
	err := r.table.ReadRows(ctx, keys, func(row bigtable.Row) bool {
		var p Profile
		if p, broken = decode(row); broken == nil {
			p.Period = period
			out[p.User] = p
		}
		return broken == nil
	}, bigtable.RowFilter(filter))
	if err != nil {
		return nil, err
	}
	return out, broken
}

// newest matches the newest version of each of a family's columns, unless it has
// expired.
func newest(family string, families map[string]schemas.Family, now time.Time) bigtable.Filter {
	return bigtable.ChainFilters(
		bigtable.FamilyFilter(family),
		bigtable.TimestampRangeFilter(expiry(families[family], now), time.Time{}),
		bigtable.LatestNFilter(1))
}

// expiry returns the time before which the cells of a family have expired; the
// zero time if they never do.
func expiry(f schemas.Family, now time.Time) time.Time {
	if f.MaxAgeDays == 0 {
		return time.Time{}
	}
	return now.AddDate(0, 0, -f.MaxAgeDays).Truncate(time.Millisecond)
}

func decode(row bigtable.Row) (Profile, error) {
	user, ok := schemas.ProfileUser(row.Key())
	if !ok {
		return Profile{}, fmt.Errorf("profile row %q: the key is not of the form HASH#USER", row.Key())
	}
	p := Profile{User: user, Latest: map[string]string{}}
	type key struct{ campaign, eventType string }
	counts := map[key]int64{}
	for family, cells := range row {
		for _, cell := range cells {
			column := cell.Column[len(family)+1:] // FAMILY:COLUMN
			var err error
			switch {
			case family == schemas.FamilyCounters:
				var k key
				k.campaign, k.eventType, ok = schemas.ParseCounterColumn(column)
				if !ok {
					return Profile{}, fmt.Errorf("profile of %q: column %q is not of the form CAMPAIGN#EVENT_TYPE", user, cell.Column)
				}
				var n int64
				n, err = number(cell)
				counts[k] += n
			case family == schemas.FamilyFirst && column == "first_seen":
				p.FirstSeen, err = moment(cell)
			case family == schemas.FamilyLatest && column == "last_seen":
				p.LastSeen, err = moment(cell)
			case family == schemas.FamilyLatest:
				p.Latest[column] = string(cell.Value)
			}
			if err != nil {
				return Profile{}, fmt.Errorf("profile of %q: %w", user, err)
			}
		}
	}
	for k, n := range counts {
		if n != 0 {
			p.Counters = append(p.Counters, Counter{k.campaign, k.eventType, n})
		}
	}
	slices.SortFunc(p.Counters, func(a, b Counter) int {
		return cmp.Or(cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(a.EventType, b.EventType))
	})
	return p, nil
}

func moment(cell bigtable.ReadItem) (time.Time, error) {
	micros, err := number(cell)
	return time.UnixMicro(micros).UTC(), err
}

func number(cell bigtable.ReadItem) (int64, error) {
	if len(cell.Value) != 8 {
		return 0, fmt.Errorf("column %q holds %d bytes where 8 are a number", cell.Column, len(cell.Value))
	}
	return int64(binary.BigEndian.Uint64(cell.Value)), nil
}
