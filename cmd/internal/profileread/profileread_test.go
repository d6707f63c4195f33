package profileread

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"cloud.google.com/go/bigtable/bttest"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"pixelbeam/schemas"
)

var now = time.Date(2026, 11, 23, 12, 0, 30, 0, time.UTC)

// minute returns the start of the window n minutes before the one now is in.
func minute(n int) time.Time { return now.Truncate(time.Minute).Add(time.Duration(-n) * time.Minute) }

// table is a profile table on a server in this process.
type table struct {
	t      *testing.T
	client *bigtable.Client
}

func newTable(t *testing.T) table {
	t.Helper()
	server, err := bttest.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	conn, err := grpc.NewClient(server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx := t.Context()
	admin, err := bigtable.NewAdminClient(ctx, "p", "i", option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	layout := schemas.Profiles()
	if err := admin.CreateTable(ctx, layout.Table); err != nil {
		t.Fatal(err)
	}
	for family := range layout.Families {
		if err := admin.CreateColumnFamily(ctx, layout.Table, family); err != nil {
			t.Fatal(err)
		}
	}
	client, err := bigtable.NewClientWithConfig(ctx, "p", "i",
		bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return table{t, client}
}

func (tb table) set(key, family, column string, at time.Time, value []byte) {
	tb.t.Helper()
	m := bigtable.NewMutation()
	m.Set(family, column, bigtable.Timestamp(at.UnixMicro()).TruncateToMilliseconds(), value) // bigtable.Time ends in 2262
	if err := tb.client.Open(schemas.Profiles().Table).Apply(tb.t.Context(), key, m); err != nil {
		tb.t.Fatal(err)
	}
}

func (tb table) count(user, campaign, eventType string, window time.Time, n int64) {
	tb.t.Helper()
	tb.set(schemas.ProfileKey(user), schemas.FamilyCounters, schemas.CounterColumn(campaign, eventType), window, int64Bytes(n))
}

// seen stores a user's first event, last event and browser as of an event time.
func (tb table) seen(user string, at time.Time, browser string) {
	tb.t.Helper()
	key, value := schemas.ProfileKey(user), int64Bytes(at.UnixMicro())
	tb.set(key, schemas.FamilyFirst, "first_seen", time.UnixMilli(schemas.FirstVersion(at.UnixMilli())), value)
	tb.set(key, schemas.FamilyLatest, "last_seen", at, value)
	tb.set(key, schemas.FamilyLatest, "browser", at, []byte(browser))
}

func (tb table) reader() *Reader {
	r := New(tb.client, "")
	r.now = func() time.Time { return now }
	return r
}

func int64Bytes(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func TestGet(t *testing.T) {
	tb := newTable(t)
	// Out of order, and one window rewritten: values are absolute.
	tb.seen("u1", minute(5).Add(1234567*time.Microsecond), "Chrome")
	tb.seen("u1", minute(9), "Firefox")
	tb.seen("u1", minute(2000), "Safari")
	tb.count("u1", "c1", "impression", minute(5), 3)
	tb.count("u1", "c1", "impression", minute(5), 4)
	tb.count("u1", "c1", "impression", minute(9), 10)
	tb.count("u1", "c1", "impression", minute(2000), 100)
	tb.count("u1", "c1", "click", minute(5), 1)
	tb.count("u1", "", "impression", minute(5), 2)
	tb.count("u1", "a#b%", "impression", minute(5), 5)
	tb.count("u1", "c9", "impression", minute(5), 0)
	// A user all of whose events are before the period.
	tb.seen("ü 2", minute(2000), "Edge")
	tb.count("ü 2", "c1", "impression", minute(2000), 1)

	day := Period{now.Add(-24 * time.Hour), now}
	u1 := Profile{
		User:      "u1",
		FirstSeen: minute(2000),
		LastSeen:  minute(5).Add(1234567 * time.Microsecond),
		Latest:    map[string]string{"browser": "Chrome"},
	}
	with := func(p Profile, period Period, counters ...Counter) Profile {
		p.Period, p.Counters = period, counters
		return p
	}
	u2 := Profile{User: "ü 2", FirstSeen: minute(2000), LastSeen: minute(2000), Latest: map[string]string{"browser": "Edge"}}
	tests := []struct {
		name   string
		users  []string
		period Period
		want   []Profile
	}{
		{"a day", []string{"u1", "ü 2", "u3", "u1"}, day, []Profile{
			with(u1, day,
				Counter{"", "impression", 2}, Counter{"a#b%", "impression", 5},
				Counter{"c1", "click", 1}, Counter{"c1", "impression", 14}),
			with(u2, day),
		}},
		{"from is in, to is out", []string{"u1"}, Period{minute(9), minute(5)}, []Profile{
			with(u1, Period{minute(9), minute(5)}, Counter{"c1", "impression", 10}),
		}},
		{"empty period", []string{"u1"}, Period{now, now}, []Profile{with(u1, Period{now, now})}},
		{"below a millisecond", []string{"u1"}, Period{minute(5).Add(999 * time.Microsecond), minute(4)}, []Profile{
			with(u1, Period{minute(5), minute(4)},
				Counter{"", "impression", 2}, Counter{"a#b%", "impression", 5},
				Counter{"c1", "click", 1}, Counter{"c1", "impression", 4}),
		}},
		{"unknown", []string{"u3"}, day, nil},
		{"nobody", nil, day, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := map[string]Profile{}
			for _, p := range test.want {
				want[p.User] = p
			}
			got, err := tb.reader().Get(t.Context(), test.users, test.period)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What has expired is not returned, whether Bigtable has removed it or not.
func TestGetLeavesOutExpiredCells(t *testing.T) {
	tb := newTable(t)
	families := schemas.Profiles().Families
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days).Truncate(time.Minute) }
	counters, latest := families[schemas.FamilyCounters].MaxAgeDays, families[schemas.FamilyLatest].MaxAgeDays
	if counters == 0 || latest == 0 {
		t.Fatal("this test is for families that expire")
	}
	tb.count("u1", "c1", "impression", ago(counters+1), 1)
	tb.count("u1", "c1", "impression", ago(counters-1), 2)
	tb.seen("u1", ago(latest+1), "Mosaic")

	got, err := tb.reader().Get(t.Context(), []string{"u1"}, Period{time.Unix(0, 0), now})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Profile{"u1": {
		User:      "u1",
		FirstSeen: ago(latest + 1),
		Latest:    map[string]string{},
		Period:    Period{now.AddDate(0, 0, -counters), now},
		Counters:  []Counter{{"c1", "impression", 2}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestGetNamesWhatIsBroken(t *testing.T) {
	key := schemas.ProfileKey("u1")
	tests := []struct {
		name, family, column string
		value                []byte
		want                 string
	}{
		{"short number", schemas.FamilyCounters, "c1#impression", []byte("7"), `column "c:c1#impression" holds 1 bytes`},
		{"short time", schemas.FamilyLatest, "last_seen", nil, `column "l:last_seen" holds 0 bytes`},
		{"no event type", schemas.FamilyCounters, "c1", int64Bytes(1), `column "c:c1" is not of the form`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tb := newTable(t)
			tb.set(key, test.family, test.column, minute(1), test.value)
			_, err := tb.reader().Get(t.Context(), []string{"u1"}, Period{minute(2), now})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"u1"`) {
				t.Errorf("error %v, want %q and the user in it", err, test.want)
			}
		})
	}
}

func TestGetReturnsTheClientsError(t *testing.T) {
	tb := newTable(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tb.reader().Get(ctx, []string{"u1"}, Period{minute(2), now}); err == nil {
		t.Error("no error with a cancelled context")
	}
}
