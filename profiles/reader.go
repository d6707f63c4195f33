package profiles

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloud.google.com/go/bigtable"

	"pixelbeam/schemas"
)

// ErrUnknown is the error of Get for a user of whom nothing is stored.
var ErrUnknown = errors.New("profiles: unknown user")

// DefaultMaxWindows is a week of which every minute has an event.
const DefaultMaxWindows = 7 * 24 * 60

// maxKeys is how many rows are asked for in one request: with the longest keys it
// is below 512 KiB (https://cloud.google.com/bigtable/docs/reads).
const maxKeys = 100

// Options of a Reader.
type Options struct {
	// Table is the profile table; default the one that package schemas gives.
	Table string
	// MaxWindows is how many windows, the newest ones, are read of a user; default
	// DefaultMaxWindows. It bounds the memory of a read: a window has up to
	// schemas.MaxWindowCounters bytes. A profile that has more says so: its Period
	// begins later than was asked for.
	MaxWindows int
	// MaxCalls is how many requests of Get and GetMany are under way at once; 0 is
	// any number. Reads that come when there are as many wait until one of them
	// ends, and those that wait for the same period then go in one request, of up
	// to 100 users. That makes reads cheaper when there are many, and costs those
	// that wait a part of a request's time.
	MaxCalls int
	// Now is the clock by which cells expire; default time.Now.
	Now func() time.Time
}

// Reader reads profiles. It may be used by several goroutines at once.
type Reader struct {
	table *bigtable.Table
	opts  Options
	calls joiner
}

// NewReader returns a reader that uses the client, which remains the caller's to
// close.
func NewReader(client *bigtable.Client, opts Options) *Reader {
	if opts.Table == "" {
		opts.Table = layout().Table
	}
	if opts.MaxWindows == 0 {
		opts.MaxWindows = DefaultMaxWindows
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	r := &Reader{table: client.Open(opts.Table), opts: opts}
	r.calls.most, r.calls.do = opts.MaxCalls, r.readKeys
	return r
}

// Get returns the profile of a user with the counters of a period. The error is
// ErrUnknown if nothing is stored, that of the Bigtable client (with its gRPC
// status), or says which cell is not of the profile table's form.
func (r *Reader) Get(ctx context.Context, user string, period Period) (*Profile, error) {
	found, err := r.GetMany(ctx, []string{user}, period)
	if err != nil {
		return nil, err
	}
	if found[user] == nil {
		return nil, ErrUnknown
	}
	return found[user], nil
}

// GetMany returns the profiles of users by user id, 100 in one request. A user of
// whom nothing is stored is absent from the map, which as an index gives a nil
// Profile. Errors are those of Get, and then nothing is returned.
func (r *Reader) GetMany(ctx context.Context, users []string, period Period) (map[string]*Profile, error) {
	keys := make([]string, 0, len(users))
	for _, user := range users {
		if user != "" {
			keys = append(keys, schemas.ProfileKey(user))
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	out := make(map[string]*Profile, len(keys))
	for chunk := range slices.Chunk(keys, maxKeys) {
		found, err := r.calls.get(ctx, chunk, period)
		if err != nil {
			return nil, err
		}
		for _, key := range chunk {
			if err := found.broken[key]; err != nil {
				return nil, err
			}
			if p := found.profiles[key]; p != nil {
				out[p.User] = p
			}
		}
	}
	return out, nil
}

// readKeys reads rows in one request.
func (r *Reader) readKeys(ctx context.Context, keys []string, period Period) (result, error) {
	out := result{profiles: make(map[string]*Profile, len(keys))}
	filter, read := r.filter(period)
	err := r.table.ReadRows(ctx, bigtable.RowList(keys), func(row bigtable.Row) bool {
		p, err := r.decode(row, read)
		if err == nil {
			out.profiles[row.Key()] = p
			return true
		}
		if out.broken == nil {
			out.broken = make(map[string]error)
		}
		out.broken[row.Key()] = err
		return true
	}, bigtable.RowFilter(filter))
	return out, err
}

// Scan reads the whole table and calls visit with the profile of every user in a
// segment, in order of row key, until visit returns false. Profiles are read with
// the counters that the segment needs. It is for exports and audiences: it reads
// every byte of the table. Errors are those of Get.
func (r *Reader) Scan(ctx context.Context, segment Segment, visit func(*Profile) bool) error {
	now := r.opts.Now()
	filter, read := r.filter(Last(segment.lookback, now))
	var broken error
	err := r.table.ReadRows(ctx, bigtable.InfiniteRange(""), func(row bigtable.Row) bool {
		var p *Profile
		if p, broken = r.decode(row, read); broken != nil {
			return false
		}
		return !segment.Matches(p, now) || visit(p)
	}, bigtable.RowFilter(filter))
	if err != nil {
		return err
	}
	return broken
}

// filter returns what to read for a period, and the part of the period of which
// counters are kept.
func (r *Reader) filter(period Period) (bigtable.Filter, Period) {
	families, now := layout().Families, r.opts.Now()
	// Versions have milliseconds; windows start at whole ones.
	period.From, period.To = ceil(period.From, time.Millisecond), ceil(period.To, time.Millisecond)
	if oldest := expiry(families[schemas.FamilyCounters], now); period.From.Before(oldest) {
		period.From = oldest
	}
	var filters []bigtable.Filter
	if period.From.Before(period.To) {
		// All versions: each is a window. One more than wanted tells whether
		// there are more.
		filters = append(filters, bigtable.ChainFilters(
			bigtable.FamilyFilter(schemas.FamilyCounters),
			bigtable.TimestampRangeFilter(period.From, period.To),
			bigtable.LatestNFilter(r.opts.MaxWindows+1)))
	}
	filters = append(filters, newest(schemas.FamilyFirst, families, now), newest(schemas.FamilyLatest, families, now))
	return bigtable.InterleaveFilters(filters...), period
}

// newest matches the newest version of each of a family's columns, unless it has
// expired.
func newest(family string, families map[string]schemas.Family, now time.Time) bigtable.Filter {
	return bigtable.ChainFilters(
		bigtable.FamilyFilter(family),
		bigtable.TimestampRangeFilter(expiry(families[family], now), time.Time{}),
		bigtable.LatestNFilter(1))
}

// expiry returns the time before which the cells of a family have expired.
func expiry(f schemas.Family, now time.Time) time.Time {
	return now.UTC().AddDate(0, 0, -f.MaxAgeDays).Truncate(time.Millisecond)
}

// decode makes a profile of what was read for a period.
func (r *Reader) decode(row bigtable.Row, period Period) (*Profile, error) {
	user, ok := schemas.ProfileUser(row.Key())
	if !ok {
		return nil, fmt.Errorf("profile row %q: the key is not of the form HASH#USER", row.Key())
	}
	p := &Profile{User: user, Period: period}
	if err := p.decode(row); err != nil {
		return nil, fmt.Errorf("profile of %q: %w", user, err)
	}
	if len(p.windows) > r.opts.MaxWindows {
		p.windows = p.windows[:r.opts.MaxWindows]
		p.Period.From = time.UnixMicro(p.windows[len(p.windows)-1].start).UTC()
	}
	return p, nil
}
