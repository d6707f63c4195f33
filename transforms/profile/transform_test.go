package profile

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

func init() {
	register.DoFn2x0[int64, func(impression.Records)](&eventsFn{})
	register.DoFn1x0[schemas.Row](&keepFn{})
	register.Emitter1[impression.Records]()
}

func TestMain(m *testing.M) { ptest.Main(m) }

// eventsFn makes the events of a scenario; element n names those of one kind.
type eventsFn struct{ Scenario string }

func (fn *eventsFn) ProcessElement(n int64, emit func(impression.Records)) {
	var records []impression.Record
	scenarios[fn.Scenario](n, func(r impression.Record) {
		if records = append(records, r); len(records) == 500 {
			emit(impression.Records{Records: records})
			records = nil
		}
	})
	emit(impression.Records{Records: records})
}

var scenarios = map[string]func(n int64, emit func(impression.Record)){
	// A bot with 600,000 events in a minute, each delivered twice, of two campaigns.
	"hot user": func(_ int64, emit func(impression.Record)) {
		for i := range int64(1_200_000) {
			e := i % 600_000
			emit(event(e, "bot", fmt.Sprint("c", e%2), e*100))
		}
	},
	// One campaign has all the traffic, of 20,000 users.
	"hot campaign": func(_ int64, emit func(impression.Record)) {
		for i := range int64(100_000) {
			emit(event(i, fmt.Sprint("user-", i%20_000), "everything", i*100))
		}
	},
	// One event n of user u, the last digit is its campaign; 0 has no user.
	"single": func(n int64, emit func(impression.Record)) {
		r := event(n, "u", fmt.Sprint("c", n%10), n*1e6)
		if n == 0 {
			r.UserID = nil
		}
		emit(r)
	},
}

func event(id int64, user, campaign string, at int64) impression.Record {
	return impression.Record{
		EventTime: at, IDHigh: id, IDLow: id << 8,
		UserID: []byte(user), CampaignID: []byte(campaign), EventType: []byte("impression"),
	}
}

// keepFn keeps the updates of each test.
type keepFn struct{ Test string }

var kept = struct {
	sync.Mutex
	updates map[string][]*pb.ProfileUpdate
}{updates: map[string][]*pb.ProfileUpdate{}}

func (fn *keepFn) ProcessElement(row schemas.Row) {
	u := new(pb.ProfileUpdate)
	if err := proto.Unmarshal(row.Data, u); err != nil {
		panic(err)
	}
	kept.Lock()
	defer kept.Unlock()
	kept.updates[fn.Test] = append(kept.updates[fn.Test], u)
}

// run runs the pipeline and returns the updates that it kept, and how many
// records had no user.
func run(t *testing.T, p *beam.Pipeline) ([]*pb.ProfileUpdate, int64) {
	t.Helper()
	result, err := prism.Execute(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	var noUser int64
	for _, c := range result.Metrics().AllMetrics().Counters() {
		if c.Name() == "profile_no_user" {
			noUser += c.Result()
		}
	}
	kept.Lock()
	defer kept.Unlock()
	return kept.updates[t.Name()], noUser
}

func window(t *testing.T, u *pb.ProfileUpdate) *pb.WindowCounters {
	t.Helper()
	w := new(pb.WindowCounters)
	if err := proto.Unmarshal(u.Counters, w); err != nil {
		t.Fatal(err)
	}
	return w
}

// A hot user is one update of a window, not one of an event, and counted exactly.
func TestHotUser(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	records := beam.ParDo(s, &eventsFn{"hot user"}, beam.Create(s, int64(0)))
	beam.ParDo0(s, &keepFn{t.Name()}, Updates(s, records, Options{Shards: 4}))
	got, _ := run(t, p)
	if len(got) != 1 {
		t.Fatalf("%d updates, want 1 of 1,200,000 deliveries", len(got))
	}
	for _, c := range window(t, got[0]).Counters {
		if c.GetCount() != 300_000 {
			t.Errorf("campaign %s: %d events, want 300000", c.GetCampaignId(), c.GetCount())
		}
	}
	if size := proto.Size(got[0]); size > 200 {
		t.Errorf("the update has %d bytes", size)
	}
}

// A hot campaign is spread over the shards like its users, and over the rows.
func TestHotCampaign(t *testing.T) {
	const shards, users = 16, 20_000
	p, s := beam.NewPipelineWithRoot()
	records := beam.ParDo(s, &eventsFn{"hot campaign"}, beam.Create(s, int64(0)))
	beam.ParDo0(s, &keepFn{t.Name()}, Updates(s, records, Options{Shards: shards}))
	got, _ := run(t, p)
	perShard, perPrefix := map[int64]int{}, map[string]int{}
	for _, u := range got {
		perShard[shard([]byte(u.GetUserId()), shards)]++
		perPrefix[schemas.ProfileKey(u.GetUserId())[:1]]++
		if c := window(t, u).Counters; len(c) != 1 || c[0].GetCount() != 5 {
			t.Fatalf("%s: %v, want 5 events of one campaign", u.GetUserId(), c)
		}
	}
	if len(got) != users {
		t.Fatalf("%d updates, want %d", len(got), users)
	}
	for _, parts := range []map[string]int{perPrefix, named(perShard)} {
		if len(parts) != 16 {
			t.Fatalf("users are in %d of 16 parts", len(parts))
		}
		for part, n := range parts {
			if n < users/16*9/10 || n > users/16*11/10 {
				t.Errorf("part %s has %d of %d users", part, n, users)
			}
		}
	}
}

func named(m map[int64]int) map[string]int {
	out := map[string]int{}
	for k, v := range m {
		out[fmt.Sprint(k)] = v
	}
	return out
}

// A late event restates the whole of a user's window; a duplicate restates
// nothing; a too-late one changes nothing.
func TestLateUpdates(t *testing.T) {
	c := teststream.NewConfig()
	add := func(n int64) {
		if err := c.AddElements(int64(mtime.FromTime(time.Unix(n, 0))), n); err != nil {
			t.Fatal(err)
		}
	}
	add(11)
	add(12)
	add(11)
	add(0)
	c.AdvanceWatermark(int64(mtime.FromTime(time.Unix(70, 0))))
	add(22)
	add(33)
	c.AdvanceWatermark(int64(mtime.FromTime(time.Unix(80, 0))))
	add(12)
	c.AdvanceWatermark(int64(mtime.FromTime(time.Unix(1000, 0))))
	add(44)
	c.AdvanceWatermarkToInfinity()

	p, s := beam.NewPipelineWithRoot()
	records := beam.ParDo(s, &eventsFn{"single"}, teststream.Create(s, c))
	beam.ParDo0(s, &keepFn{t.Name()}, Updates(s, records, Options{Shards: 2,
		Options: distinct.Options{Streaming: true, AllowedLateness: 2 * time.Minute}}))
	got, noUser := run(t, p)
	if noUser != 1 {
		t.Errorf("%d records without a user, want 1", noUser)
	}
	counts := func(u *pb.ProfileUpdate) string {
		out := ""
		for _, c := range window(t, u).Counters {
			out += fmt.Sprintf("%s=%d ", c.GetCampaignId(), c.GetCount())
		}
		return out
	}
	if len(got) < 2 || len(got) > 3 {
		t.Fatalf("%d updates, want one on time and one or two late", len(got))
	}
	if first := counts(got[0]); first != "c1=1 c2=1 " {
		t.Errorf("on time: %s", first)
	}
	if last := counts(got[len(got)-1]); last != "c1=1 c2=2 c3=1 " {
		t.Errorf("after late events: %s", last)
	}
}
