package profiles

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"pixelbeam/local/bigtabled"
	"pixelbeam/schemas"
	pb "pixelbeam/schemas/pixelbeam/v1"
)

var now = time.Now().UTC().Truncate(time.Minute).Add(30 * time.Second)

// minute returns the start of the window n minutes before the one now is in.
func minute(n int) time.Time { return now.Truncate(time.Minute).Add(time.Duration(-n) * time.Minute) }

// table is a profile table on a server in this process.
type table struct {
	t      testing.TB
	client *bigtable.Client
}

func newTable(t testing.TB) table {
	t.Helper()
	server, err := bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if err := server.EnsureTable(t.Context(), "p", "i", schemas.Profiles()); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(server.Addr(), append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client, err := bigtable.NewClientWithConfig(context.Background(), "p", "i",
		bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return table{t, client}
}

func (tb table) apply(key string, mutate func(m *bigtable.Mutation)) {
	tb.t.Helper()
	m := bigtable.NewMutation()
	mutate(m)
	if err := tb.client.Open(schemas.Profiles().Table).Apply(tb.t.Context(), key, m); err != nil {
		tb.t.Fatal(err)
	}
}

// window stores what a user did in a window; count makes one counter of it.
func (tb table) window(user string, start time.Time, w *pb.WindowCounters) {
	tb.t.Helper()
	tb.apply(schemas.ProfileKey(user), func(m *bigtable.Mutation) {
		m.Set(schemas.FamilyCounters, schemas.ColumnCounters, bigtable.Time(start), marshal(tb.t, w))
	})
}

func counters(c ...*pb.CampaignCounter) *pb.WindowCounters { return &pb.WindowCounters{Counters: c} }

func count(campaign, eventType string, n, offset int64) *pb.CampaignCounter {
	c := &pb.CampaignCounter{Count: &n, LastEventOffset: &offset}
	if campaign != "" {
		c.CampaignId = &campaign
	}
	if eventType != Impression {
		c.EventType = &eventType
	}
	return c
}

// seen stores an event: the user's first and last of its window.
func (tb table) seen(user string, at time.Time, e *pb.LatestEvent) {
	tb.t.Helper()
	e.EventTime = proto.Int64(at.UnixMicro())
	tb.apply(schemas.ProfileKey(user), func(m *bigtable.Mutation) {
		column, version := schemas.FirstCell(at.UnixMicro())
		m.Set(schemas.FamilyFirst, column, bigtable.Timestamp(version), binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro())))
		m.Set(schemas.FamilyLatest, schemas.ColumnLatest, bigtable.Time(at.Truncate(time.Minute)), marshal(tb.t, e))
	})
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (tb table) reader(opts Options) *Reader {
	opts.Now = func() time.Time { return now }
	return NewReader(tb.client, opts)
}

func (tb table) get(user string, period Period) *Profile {
	tb.t.Helper()
	p, err := tb.reader(Options{}).Get(tb.t.Context(), user, period)
	if err != nil {
		tb.t.Fatal(err)
	}
	return p
}

func TestGet(t *testing.T) {
	tb := newTable(t)
	// Out of order, and one window rewritten: values are absolute.
	tb.seen("u1", minute(5).Add(1234567*time.Microsecond), &pb.LatestEvent{Browser: proto.String("Chrome"), Country: proto.String("DE")})
	tb.seen("u1", minute(9), &pb.LatestEvent{Browser: proto.String("Firefox"), Os: proto.String("Linux"), PageUrl: proto.String("https://b/")})
	tb.seen("u1", minute(2000), &pb.LatestEvent{Browser: proto.String("Safari")})
	tb.window("u1", minute(5), counters(count("c1", Impression, 3, 0)))
	tb.window("u1", minute(5), counters(count("c1", Impression, 4, 7), count("c1", Click, 1, 8), count("", Impression, 2, 9)))
	tb.window("u1", minute(9), counters(count("c1", Impression, 10, 1)))
	tb.window("u1", minute(2000), counters(count("c1", Impression, 100, 1)))

	p := tb.get("u1", Last(24*time.Hour, now))
	want := &Profile{
		User: "u1", FirstSeen: minute(2000), LastSeen: minute(5).Add(1234567 * time.Microsecond),
		Browser: "Chrome", Country: "DE", Period: Last(24*time.Hour, now),
	}
	if diff := cmp.Diff(want, p, cmpopts.IgnoreUnexported(Profile{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	micro := func(at time.Time, n int) time.Time { return at.Add(time.Duration(n) * time.Microsecond) }
	for name, test := range map[string]struct {
		period Period
		want   []Counter
	}{
		"a day": {Last(24*time.Hour, now), []Counter{
			{"", Impression, 2, 0, micro(minute(5), 9)}, {"c1", Click, 1, 0, micro(minute(5), 8)}, {"c1", Impression, 14, 0, micro(minute(5), 7)},
		}},
		"from is in, to is out": {Period{minute(9), minute(5)}, []Counter{{"c1", Impression, 10, 0, micro(minute(9), 1)}}},
		"below a millisecond":   {Period{micro(minute(9), 1), micro(minute(5), 1)}, []Counter{{"", Impression, 2, 0, micro(minute(5), 9)}, {"c1", Click, 1, 0, micro(minute(5), 8)}, {"c1", Impression, 4, 0, micro(minute(5), 7)}}},
		"nothing in it":         {Period{minute(4), minute(1)}, []Counter{}},
		"backwards":             {Period{minute(1), minute(20)}, []Counter{}},
	} {
		if diff := cmp.Diff(test.want, p.Counters(test.period)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	if f := p.Frequency("c1", "", Last(24*time.Hour, now)); f != (Frequency{14, 0, 14, micro(minute(5), 7)}) {
		t.Errorf("frequency of a day: %+v", f)
	}
	if f := p.Frequency("c1", Impression, Last(8*time.Minute, now)); f.Count != 4 || !f.Exact() {
		t.Errorf("frequency of 8 minutes: %+v", f)
	}
	if f := p.Frequency("c1", Impression, Last(48*time.Hour, now)); f.Count != 14 || f.AtMost != math.MaxInt64 || f.Exact() {
		t.Errorf("frequency of a period that was not read: %+v", f)
	}
	if r := p.Recency("c1"); r != (Recency{LastImpression: micro(minute(5), 7), LastClick: micro(minute(5), 8)}) {
		t.Errorf("recency %+v", r)
	}
	if r := p.Recency("c2"); r != (Recency{}) {
		t.Errorf("recency of a campaign that was never shown: %+v", r)
	}
}

func TestGetMany(t *testing.T) {
	tb := newTable(t)
	var users []string
	for i := range maxKeys + 5 {
		user := fmt.Sprint("ü ", i)
		users = append(users, user)
		tb.window(user, minute(3), counters(count("c", Impression, int64(i), 0)))
	}
	got, err := tb.reader(Options{}).GetMany(t.Context(), append(users, "nobody", "", users[0]), Last(time.Hour, now))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(users) {
		t.Errorf("%d profiles, want %d", len(got), len(users))
	}
	for i, user := range users {
		if f := got[user].Frequency("c", "", Last(time.Hour, now)); f.Count != int64(i) {
			t.Errorf("%s: %+v, want %d", user, f, i)
		}
	}
	if f := got["nobody"].Frequency("c", "", Last(time.Hour, now)); f != (Frequency{}) {
		t.Errorf("of nobody: %+v", f)
	}
	if got, err := tb.reader(Options{}).GetMany(t.Context(), nil, Last(time.Hour, now)); err != nil || len(got) != 0 {
		t.Errorf("of no users: %v, %v", got, err)
	}
	for _, user := range []string{"nobody", ""} {
		if p, err := tb.reader(Options{}).Get(t.Context(), user, Last(time.Hour, now)); !errors.Is(err, ErrUnknown) || p != nil {
			t.Errorf("Get(%q) = %v, %v", user, p, err)
		}
	}
}

// What has expired is not returned, whether Bigtable has removed it or not.
func TestExpiredCells(t *testing.T) {
	tb := newTable(t)
	families := schemas.Profiles().Families
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days).Truncate(time.Minute) }
	counts, latest := families[schemas.FamilyCounters].MaxAgeDays, families[schemas.FamilyLatest].MaxAgeDays
	tb.window("u1", ago(counts+1), counters(count("c1", Impression, 1, 0)))
	tb.window("u1", ago(counts-2), counters(count("c1", Impression, 2, 0)))
	tb.seen("u1", ago(latest+40), &pb.LatestEvent{Browser: proto.String("Mosaic")})

	p := tb.get("u1", Period{time.Unix(0, 0), now})
	if want := (Period{now.AddDate(0, 0, -counts), now}); p.Period != want {
		t.Errorf("period %v, want %v", p.Period, want)
	}
	if got := p.Counters(p.Period); len(got) != 1 || got[0].Count != 2 {
		t.Errorf("counters %v", got)
	}
	if p.Browser != "" || !p.FirstSeen.IsZero() || !p.LastSeen.IsZero() {
		t.Errorf("expired values: %+v", p)
	}
	// The longest cap is covered.
	if d := p.Check(Cap{Campaign: "c1", Limit: 3, Period: MaxPeriod()}, now); !d.Allowed || d.Count != 2 {
		t.Errorf("a cap of %v: %+v", MaxPeriod(), d)
	}
}

func TestTruncatedWindows(t *testing.T) {
	tb := newTable(t)
	w := counters(count("c1", Impression, 9, 0))
	w.Truncated = &pb.TruncatedCounters{Counters: proto.Int64(50), Events: proto.Int64(70), MaxCount: proto.Int64(2)}
	tb.window("bot", minute(1), w)
	tb.window("bot", minute(2), counters(count("c2", Impression, 1, 0)))
	tb.window("bot", minute(3), w)
	hour := Last(time.Hour, now)
	p := tb.get("bot", hour)
	if got := p.Truncated(hour); got != (Truncation{2, 100, 140}) {
		t.Errorf("truncated %+v", got)
	}
	if got := p.Frequency("c1", "", hour); got.Count != 18 || !got.Exact() {
		t.Errorf("of a campaign that is in every truncated window: %+v", got)
	}
	if got := p.Frequency("c2", "", hour); got.Count != 1 || got.AtMost != 5 {
		t.Errorf("of a campaign that is not: %+v, want at most 5", got)
	}
	for limit, want := range map[int64]bool{5: false, 6: true} {
		if d := p.Check(Cap{Campaign: "c2", Limit: limit, Period: time.Hour}, now); d.Allowed != want {
			t.Errorf("limit %d: %+v", limit, d)
		}
	}
	if r := p.Recency("c2"); !r.Truncated || !r.LastImpression.Equal(minute(2)) {
		t.Errorf("recency %+v", r)
	}
	if p.Recency("c1").Truncated != true {
		t.Error("a click may be hidden, and recency does not say so")
	}
}

// A user of more windows than are read is cut to the newest, and says so.
func TestMaxWindows(t *testing.T) {
	tb := newTable(t)
	for i := range 10 {
		tb.window("u", minute(i), counters(count("c", Impression, 1, 0)))
	}
	hour := Last(time.Hour, now)
	for limit, want := range map[int]struct {
		from time.Time
		n    int64
	}{10: {hour.From, 10}, 4: {minute(3), 4}} {
		p, err := tb.reader(Options{MaxWindows: limit}).Get(t.Context(), "u", hour)
		if err != nil {
			t.Fatal(err)
		}
		f := p.Frequency("c", "", hour)
		if f.Count != want.n || f.Exact() != (limit == 10) || !p.Period.From.Equal(want.from) {
			t.Errorf("MaxWindows %d: %+v from %v", limit, f, p.Period.From)
		}
		if d := p.Check(Cap{Campaign: "c", Limit: 1000, Period: time.Hour}, now); d.Allowed != (limit == 10) {
			t.Errorf("MaxWindows %d: %+v", limit, d)
		}
	}
}

func TestCaps(t *testing.T) {
	tb := newTable(t)
	tb.window("u", minute(30), counters(count("c", Impression, 2, 0), count("c", Click, 1, 0)))
	p := tb.get("u", Last(24*time.Hour, now))
	for _, test := range []struct {
		cap  Cap
		want bool
	}{
		{Cap{Campaign: "c", Limit: 2, Period: time.Hour}, false},
		{Cap{Campaign: "c", Limit: 3, Period: time.Hour}, true},
		{Cap{Campaign: "c", Limit: 2, Period: 29 * time.Minute}, true},
		{Cap{Campaign: "c", Limit: 2, Period: 30 * time.Minute}, false}, // partly in the period
		{Cap{Campaign: "c", EventType: Click, Limit: 1, Period: time.Hour}, false},
		{Cap{Campaign: "other", Limit: 1, Period: time.Hour}, true},
		{Cap{Campaign: "c", Limit: 99, Period: 48 * time.Hour}, false}, // not read
	} {
		if got := p.Check(test.cap, now); got.Allowed != test.want {
			t.Errorf("%+v: %+v", test.cap, got)
		}
		if got := (*Profile)(nil).Check(test.cap, now); !got.Allowed || got.AtMost != 0 {
			t.Errorf("%+v of an unknown user: %+v", test.cap, got)
		}
	}
	for _, c := range []Cap{{Limit: 0, Period: time.Hour}, {Limit: 1, Period: time.Second}, {Limit: 1, Period: MaxPeriod() + 1}} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
	if err := (Cap{Limit: 1, Period: MaxPeriod()}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestSegments(t *testing.T) {
	tb := newTable(t)
	tb.seen("ann", minute(10), &pb.LatestEvent{Country: proto.String("DE"), DeviceType: proto.String("mobile"), Os: proto.String("iOS"), PageUrl: proto.String("https://News.example:8080/a?b")})
	tb.seen("bob", minute(3000), &pb.LatestEvent{Country: proto.String("FR"), DeviceType: proto.String("desktop"), Browser: proto.String("Firefox")})
	tb.window("ann", minute(10), counters(count("c", Impression, 3, 0), count("c", Click, 1, 0)))
	tb.window("bob", minute(3000), counters(count("c", Impression, 5, 0)))
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		segment Segment
		want    string
	}{
		"everybody":         {Segment{}, "ann bob"},
		"seen":              {SeenWithin(day), "ann"},
		"new":               {NewWithin(7 * day), "ann bob"},
		"not new":           {Not(NewWithin(day)), "bob"},
		"country":           {InCountry("de", "us"), "ann"},
		"device":            {OnDevice("desktop", "tv"), "bob"},
		"os":                {OnOS("iOS"), "ann"},
		"browser":           {InBrowser("Firefox", ""), "bob"},
		"page":              {OnPageHost("news.example"), "ann"},
		"at least":          {FrequencyAtLeast("c", "", 5, 7*day), "bob"},
		"at least, a day":   {FrequencyAtLeast("c", "", 1, day), "ann"},
		"at most":           {FrequencyAtMost("c", "", 3, 7*day), "ann"},
		"clicked":           {FrequencyAtLeast("c", Click, 1, day), "ann"},
		"all":               {All(InCountry("DE", "FR"), FrequencyAtLeast("c", "", 4, 7*day)), "bob"},
		"any":               {Any(InCountry("DE"), FrequencyAtLeast("c", "", 4, 7*day)), "ann bob"},
		"none of any":       {Any(), ""},
		"none of everybody": {Not(All()), ""},
	} {
		t.Run(name, func(t *testing.T) {
			found := map[string]bool{}
			err := tb.reader(Options{}).Scan(t.Context(), test.segment, func(p *Profile) bool { found[p.User] = true; return true })
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(slices.Sorted(maps.Keys(found)), " "); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	for name, s := range map[string]Segment{"country": InCountry("DE"), "seen": SeenWithin(day), "many": FrequencyAtLeast("c", "", 1, day)} {
		if s.Matches(nil, now) || !Not(s).Matches(nil, now) {
			t.Errorf("%s: an unknown user is in it", name)
		}
	}
	n := 0
	if err := tb.reader(Options{}).Scan(t.Context(), Segment{}, func(*Profile) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("a scan that was to stop: %d, %v", n, err)
	}
	if got := All(FrequencyAtLeast("c", "", 1, day), Not(FrequencyAtMost("c", "", 1, 2*day))).Lookback(); got != 2*day {
		t.Errorf("lookback %v", got)
	}
}

func TestGetNamesWhatIsBroken(t *testing.T) {
	set := func(family, column string, value []byte) func(*bigtable.Mutation) {
		return func(m *bigtable.Mutation) { m.Set(family, column, bigtable.Time(minute(1)), value) }
	}
	for name, test := range map[string]struct {
		mutate func(*bigtable.Mutation)
		want   string
	}{
		"time":     {set(schemas.FamilyFirst, "2026-11", []byte("7")), `column "f:2026-11" holds 1 bytes`},
		"latest":   {set(schemas.FamilyLatest, schemas.ColumnLatest, []byte("\xff")), `column "l:event" holds no LatestEvent`},
		"counters": {set(schemas.FamilyCounters, schemas.ColumnCounters, []byte{0x0a, 9, 1}), "holds no WindowCounters"},
		"counter":  {set(schemas.FamilyCounters, schemas.ColumnCounters, []byte{0x0a, 2, 0x18, 0xff}), "holds no WindowCounters"},
	} {
		t.Run(name, func(t *testing.T) {
			tb := newTable(t)
			tb.apply(schemas.ProfileKey("u1"), test.mutate)
			for _, get := range []func() error{
				func() error { _, err := tb.reader(Options{}).Get(t.Context(), "u1", Last(time.Hour, now)); return err },
				func() error {
					_, err := tb.reader(Options{}).GetMany(t.Context(), []string{"u1"}, Last(time.Hour, now))
					return err
				},
			} {
				if err := get(); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"u1"`) {
					t.Errorf("error %v, want %q and the user in it", err, test.want)
				}
			}
		})
	}
}

func TestGetReturnsTheClientsError(t *testing.T) {
	tb := newTable(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tb.reader(Options{}).Get(ctx, "u1", Last(time.Hour, now)); err == nil {
		t.Error("no error with a cancelled context")
	}
}

func TestLast(t *testing.T) {
	at := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	for _, test := range []struct{ now, to time.Time }{
		{at, at}, {at.Add(1), at.Add(time.Minute)}, {at.Add(time.Minute - 1), at.Add(time.Minute)},
	} {
		if got, want := Last(time.Hour, test.now), (Period{at.Add(-time.Hour), test.to}); got != want {
			t.Errorf("Last(1h, %v) = %v, want %v", test.now, got, want)
		}
	}
}

// The decoder agrees with the message, whatever the bytes.
func FuzzDecodeWindow(f *testing.F) {
	w := counters(count("c1", Impression, 3, 4), count("", Click, 1, 0))
	w.Counters[0].Invalid = proto.Int64(2)
	w.Truncated = &pb.TruncatedCounters{Counters: proto.Int64(5), Events: proto.Int64(6), MaxCount: proto.Int64(1)}
	f.Add(marshal(f, w))
	f.Add([]byte{0x0a, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, d := window{}, countersDecoder{}
		err := d.window(&got, b)
		want := new(pb.WindowCounters)
		if proto.Unmarshal(b, want) != nil {
			return // The message has stricter rules, such as UTF-8.
		}
		if err != nil {
			t.Fatalf("decode of a WindowCounters: %v", err)
		}
		if len(d.counters) != len(want.Counters) {
			t.Fatalf("%d counters, want %d", len(d.counters), len(want.Counters))
		}
		for i, c := range want.Counters {
			if g := d.counters[i]; g != (counter{d.names.id(c.GetCampaignId()), d.names.id(c.GetEventType()), c.GetCount(), c.GetInvalid(), c.GetLastEventOffset()}) {
				t.Errorf("counter %+v of the names %q, want %v", g, d.names.text, c)
			}
		}
		switch tr := want.Truncated; {
		case tr == nil && got.cut == nil:
		case tr == nil || got.cut == nil || *got.cut != (cut{Truncation{1, tr.GetCounters(), tr.GetEvents()}, tr.GetMaxCount()}):
			t.Errorf("cut %+v, want %v", got.cut, tr)
		}
	})
}

// Names are like keys of a map, whatever their number and length.
func TestNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var n names
	if id := n.id("a"); id != -1 {
		t.Errorf("the number %d for a name of none", id)
	}
	want := map[string]int32{}
	for range 5000 {
		name := strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(100)) + fmt.Sprint(r.IntN(20))
		id, ok := want[name]
		if got := n.id(name); ok && got != id || !ok && got != -1 {
			t.Fatalf("number of %q: %d, want %d, %v", name, got, id, ok)
		}
		if !ok {
			id = int32(len(want))
			want[name] = id
		}
		if got := n.add([]byte(name)); got != id || string(n.bytes(id)) != name {
			t.Fatalf("%q was given the number %d, which is %q, want %d", name, got, n.bytes(id), id)
		}
	}
}

// BenchmarkDecode decodes a row of 60 windows of 3 counters.
func BenchmarkDecode(b *testing.B) {
	var row []bigtable.ReadItem
	for i := range 60 {
		name := func(n int) string { return fmt.Sprint("campaign-", n%50) }
		row = append(row, bigtable.ReadItem{
			Column:    schemas.FamilyCounters + ":" + schemas.ColumnCounters,
			Timestamp: bigtable.Time(minute(i)),
			Value:     marshal(b, counters(count(name(7*i), Impression, 1, 4e6), count(name(7*i+1), Impression, 2, 5e6), count(name(7*i), Click, 1, 6e6))),
		})
	}
	slices.Reverse(row)
	b.ReportAllocs()
	for b.Loop() {
		var p Profile
		if err := p.decode(bigtable.Row{schemas.FamilyCounters: row}); err != nil || len(p.windows) != 60 || len(p.counters) != 180 {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeWindow decodes a window of 5 counters, beside the generated code.
func BenchmarkDecodeWindow(b *testing.B) {
	value := marshal(b, counters(count("campaign-1", Impression, 3, 4e6), count("campaign-2", Impression, 1, 5e6),
		count("campaign-3", Impression, 2, 6e6), count("campaign-1", Click, 1, 7e6), count("campaign-4", Impression, 2, 8e6)))
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var d countersDecoder
		for b.Loop() {
			var w window
			d.counters = d.counters[:0]
			if err := d.window(&w, value); err != nil || len(d.counters) != 5 {
				b.Fatal(err)
			}
		}
	})
	b.Run("protobuf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var w pb.WindowCounters
			if err := proto.Unmarshal(value, &w); err != nil || len(w.Counters) != 5 {
				b.Fatal(err)
			}
		}
	})
}
