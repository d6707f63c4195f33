package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	//lint:ignore SA1019 users run their tests on it, so it has to work
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"pixelbeam/local/bigtabled"
	"pixelbeam/pipeline/sink"
	"pixelbeam/profiles"
	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/profile"
)

func init() {
	register.DoFn2x0[int64, func(impression.Records)](&profileEventsFn{})
	register.Emitter1[impression.Records]()
}

// profileEventsFn makes the events with the numbers that come in.
type profileEventsFn struct{ Test string }

var profileEvents sync.Map // []impression.Record by test

func (fn *profileEventsFn) ProcessElement(n int64, emit func(impression.Records)) {
	events, _ := profileEvents.Load(fn.Test)
	emit(impression.Records{Records: events.([]impression.Record)[n : n+1]})
}

// Whatever the order, the duplicates, the lateness and the replays of a set of
// events, the profiles are the same, and those of an exact computation.
func TestProfilesConverge(t *testing.T) {
	server, err := bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := grpc.NewClient(server.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := bigtable.NewClientWithConfig(context.Background(), "p", "i",
		bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 7))
		test := fmt.Sprint(t.Name(), seed)
		start := time.Now().UTC().Truncate(time.Minute).Add(-2 * time.Hour)
		events := randomEvents(rng, start.UnixMicro())
		profileEvents.Store(test, events)
		want := exactProfiles(events)

		// deliver runs a job over deliveries of the events into a table of its own.
		deliver := func(table string, run func(s beam.Scope) (beam.PCollection, distinct.Options), execute func(context.Context, *beam.Pipeline) (beam.PipelineResult, error)) {
			t.Helper()
			layout := schemas.Profiles()
			layout.Table = table
			if err := server.EnsureTable(t.Context(), "p", "i", layout); err != nil {
				t.Fatal(err)
			}
			p, s := beam.NewPipelineWithRoot()
			numbers, opts := run(s)
			updates := profile.Updates(s, beam.ParDo(s, &profileEventsFn{test}, numbers), profile.Options{Shards: 3, Options: opts})
			sink.Terminate(s, sink.Profiles(s, updates, sink.BigtableConfig{Project: "p", Instance: "i", Table: table, Endpoint: server.Addr()}))
			if _, err := execute(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		compare := func(how, table string) {
			t.Helper()
			if diff := cmp.Diff(want, readProfiles(t, client, table)); diff != "" {
				t.Fatalf("seed %d, %s (-exact +read):\n%s", seed, how, diff)
			}
		}
		batch := func(s beam.Scope) (beam.PCollection, distinct.Options) {
			numbers := shuffled(rng, len(events))
			elements := make([]any, len(numbers))
			for i, n := range numbers {
				elements[i] = n
			}
			return beam.Create(s, elements...), distinct.Options{}
		}
		stream := func(s beam.Scope) (beam.PCollection, distinct.Options) {
			c := teststream.NewConfig()
			watermark := start
			for i, n := range shuffled(rng, len(events)) {
				if err := c.AddElements(int64(mtime.FromTime(time.UnixMicro(events[n].EventTime))), n); err != nil {
					t.Fatal(err)
				}
				if i%20 == 19 && watermark.Before(start.Add(8*time.Minute)) {
					watermark = watermark.Add(time.Duration(rng.IntN(90)) * time.Second)
					c.AdvanceWatermark(int64(mtime.FromTime(watermark)))
				}
			}
			c.AdvanceWatermarkToInfinity()
			return teststream.Create(s, c), distinct.Options{Streaming: true, AllowedLateness: 10 * time.Minute, EarlyFirings: 10 * time.Second}
		}

		name := fmt.Sprint("table", seed)
		deliver(name+"b", batch, direct.Execute)
		compare("batch", name+"b")
		deliver(name+"s", stream, prism.Execute)
		compare("streaming with late events", name+"s")
		deliver(name+"s", batch, direct.Execute)
		compare("replayed", name+"s")
	}
}

// randomEvents makes a few hundred events of a few users in 5 minutes.
func randomEvents(rng *rand.Rand, start int64) []impression.Record {
	events := make([]impression.Record, 150+rng.IntN(150))
	for i := range events {
		r := &events[i]
		*r = impression.Record{
			EventTime: start + rng.Int64N(300_000_000), IDHigh: rng.Int64(), IDLow: rng.Int64(), Invalid: rng.IntN(5) == 0,
			UserID: fmt.Appendf(nil, "user-%d", rng.IntN(7)), EventType: []byte("impression"),
			DeviceType: []byte([]string{"mobile", "desktop"}[rng.IntN(2)]),
		}
		if rng.IntN(4) > 0 {
			r.CampaignID = fmt.Appendf(nil, "c%d", rng.IntN(4))
		}
		if rng.IntN(6) == 0 {
			r.EventType = []byte("click")
		}
		if rng.IntN(2) == 0 {
			r.Country = []byte([]string{"DE", "FR", "US"}[rng.IntN(3)])
		}
	}
	return events
}

// shuffled returns the numbers below n in any order, some of them twice.
func shuffled(rng *rand.Rand, n int) []int64 {
	out := make([]int64, 0, n+n/4)
	for i := range n + n/4 {
		out = append(out, int64(i%n))
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// profileOf is what is compared of a profile.
type profileOf struct {
	User                string
	FirstSeen, LastSeen time.Time
	Device, Country     string
	Counters            []profiles.Counter
}

func exactProfiles(events []impression.Record) []profileOf {
	type key struct{ user, campaign, event string }
	users, counters := map[string]*profileOf{}, map[key]*profiles.Counter{}
	for _, r := range events {
		at := time.UnixMicro(r.EventTime).UTC()
		u := users[string(r.UserID)]
		if u == nil {
			u = &profileOf{User: string(r.UserID), FirstSeen: at}
			users[u.User] = u
		}
		if at.Before(u.FirstSeen) {
			u.FirstSeen = at
		}
		if at.After(u.LastSeen) {
			u.LastSeen, u.Device, u.Country = at, string(r.DeviceType), string(r.Country)
		}
		k := key{u.User, string(r.CampaignID), string(r.EventType)}
		c := counters[k]
		if c == nil {
			c = &profiles.Counter{Campaign: k.campaign, EventType: k.event}
			counters[k] = c
		}
		c.Count++
		if r.Invalid {
			c.Invalid++
		}
		if at.After(c.Last) {
			c.Last = at
		}
	}
	for k, c := range counters {
		users[k.user].Counters = append(users[k.user].Counters, *c)
	}
	var out []profileOf
	for _, u := range users {
		out = append(out, *u)
	}
	return sortProfiles(out)
}

func readProfiles(t *testing.T, client *bigtable.Client, table string) []profileOf {
	t.Helper()
	reader := profiles.NewReader(client, profiles.Options{Table: table})
	day := profiles.FrequencyAtLeast("", "", 0, 24*time.Hour) // everybody, with a day's counters
	var out []profileOf
	err := reader.Scan(t.Context(), day, func(p *profiles.Profile) bool {
		out = append(out, profileOf{p.User, p.FirstSeen, p.LastSeen, p.DeviceType, p.Country, p.Counters(p.Period)})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return sortProfiles(out)
}

func sortProfiles(all []profileOf) []profileOf {
	slices.SortFunc(all, func(a, b profileOf) int {
		if a.User < b.User {
			return -1
		}
		return 1
	})
	for _, p := range all {
		slices.SortFunc(p.Counters, func(a, b profiles.Counter) int {
			if a.Campaign+"/"+a.EventType < b.Campaign+"/"+b.EventType {
				return -1
			}
			return 1
		})
	}
	return all
}
