package pipeline

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/quick"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/schemas/zetasketch"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/profile"
	"pixelbeam/transforms/rollup"
)

func init() {
	register.DoFn1x0[schemas.Row](&keepFn{})
	register.DoFn1x0[schemas.Rows](&keepRowsFn{})
}

// parts is how many parts the windows of these tests have.
const parts = 2

// entriesOf returns random entries of a few minutes, campaigns and users.
func entriesOf(rng *rand.Rand, n int) []impression.Record {
	entries := make([]impression.Record, n)
	for i := range entries {
		r := impression.NewRecord(fmt.Sprint("id-", i), rng.Int64N(4*60)*1e6+rng.Int64N(1e6))
		r.Invalid = rng.IntN(5) == 0
		r.EventType = []byte([]string{"impression", "click", "viewable"}[rng.IntN(3)])
		r.AdvertiserID = []byte("adv")
		r.CampaignID = []byte{byte('a' + rng.IntN(3))}
		if user := rng.IntN(6); user > 0 {
			r.UserID = []byte{byte('u'), byte('0' + user)}
		}
		r.Country, r.PageURL = []byte("SG"), fmt.Append(nil, "https://p.example/", i)
		entries[i] = r
	}
	return entries
}

// numbers is what is known in the end: the counts of each window, dimensions and
// part, and the update of each user and window, as bytes.
type numbers map[string]string

// exact computes the counts without any of the code that is tested.
func exact(t testing.TB, entries []impression.Record) numbers {
	t.Helper()
	type group struct {
		row   *pixelbeamv1.ImpressionCount
		users map[string]bool
	}
	groups := map[string]*group{}
	for i := range entries {
		r := &entries[i]
		window := r.EventTime / 60e6 * 60e6
		part := rollup.Part(r, parts)
		name := fmt.Sprintf("%d %s %s %d", window, r.CampaignID, r.EventType, part)
		g := groups[name]
		if g == nil {
			g = &group{&pixelbeamv1.ImpressionCount{
				WindowStart: proto.Int64(window), WindowEnd: proto.Int64(window + 60e6),
				AdvertiserId: proto.String("adv"), CampaignId: proto.String(string(r.CampaignID)),
				Country: proto.String("SG"), EventType: proto.String(string(r.EventType)),
				Gross: proto.Int64(0), Invalid: proto.Int64(0), Net: proto.Int64(0), Clicks: proto.Int64(0), Part: proto.Int64(part),
			}, map[string]bool{}}
			groups[name] = g
		}
		*g.row.Gross++
		if r.Invalid {
			*g.row.Invalid++
		} else {
			*g.row.Net++
		}
		if string(r.EventType) == "click" {
			*g.row.Clicks++
		}
		if len(r.UserID) > 0 {
			g.users[string(r.UserID)] = true
		}
	}
	out := numbers{}
	for _, g := range groups {
		if len(g.users) > 0 {
			sketch, err := zetasketch.New(zetasketch.String, 15)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range slices.Sorted(maps.Keys(g.users)) {
				sketch.Add(user)
			}
			if g.row.Sketch, err = sketch.MarshalBinary(); err != nil {
				t.Fatal(err)
			}
		}
		out.putCount(g.row)
	}
	return out
}

// putCount keeps a count under its name, without its pane.
func (n numbers) putCount(row *pixelbeamv1.ImpressionCount) {
	row.Pane = nil
	name := fmt.Sprint("count ", row.GetWindowStart(), " ", row.GetCampaignId(), " ", row.GetEventType(), " ", row.GetPart())
	n[name] = fmt.Sprintf("%s sketch %x", fmt.Sprint(row.GetWindowEnd(), row.GetAdvertiserId(), row.GetCountry(), row.GetGross(), row.GetInvalid(), row.GetNet(), row.GetClicks()), row.Sketch)
}

// putRow keeps a count as the job writes it.
func (n numbers) putRow(row []byte) error {
	var c pixelbeamv1.ImpressionCount
	if err := proto.Unmarshal(row, &c); err != nil {
		return err
	}
	n.putCount(&c)
	return nil
}

// putUpdate keeps a profile update as the job writes it.
func (n numbers) putUpdate(row []byte) error {
	var u pixelbeamv1.ProfileUpdate
	if err := proto.Unmarshal(row, &u); err != nil {
		return err
	}
	n[fmt.Sprint("user ", u.GetUserId(), " ", u.GetWindowStart())] = fmt.Sprintf("%x", row)
	return nil
}

// window is one shard's window on its way: what has come and is not written, and
// what is.
type window struct {
	pending [][]byte
	state   []byte
}

type windowName struct {
	users bool
	start int64
	shard int64
}

// pass lets entries reach the windows in a random way: in any order, some more
// than once, in bundles of any size, of which some are done in part, given up and
// done again, with windows written at any moment. It returns what is written in
// the end.
func pass(rng *rand.Rand, entries []impression.Record) (numbers, error) {
	out := numbers{}
	deliveries := slices.Clone(entries)
	for range rng.IntN(len(entries) + 1) {
		deliveries = append(deliveries, entries[rng.IntN(len(entries))])
	}
	rng.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })

	windows := map[windowName]*window{}
	bundle := func(entries []impression.Record) {
		sets := map[windowName]*distinct.Builder{}
		at := func(name windowName) *distinct.Builder {
			if sets[name] == nil {
				sets[name] = new(distinct.Builder)
			}
			return sets[name]
		}
		for i := range entries {
			r := &entries[i]
			start := distinct.WindowStart(r.EventTime)
			rollup.Add(at(windowName{false, start, rollup.Part(r, parts)}), r)
			if len(r.UserID) > 0 {
				profile.Add(at(windowName{true, start, 0}), r)
			}
		}
		for name, set := range sets {
			if windows[name] == nil {
				windows[name] = new(window)
			}
			windows[name].pending = append(windows[name].pending, set.Append(nil))
		}
	}
	write := func(name windowName, w *window) error {
		pane, err := distinct.MergeAll(w.pending)
		if err != nil {
			return err
		}
		w.pending = nil
		r := &distinct.Restatement{Shard: name.shard, WindowStart: name.start, WindowEnd: name.start + 60e6}
		users := map[string]bool{}
		w.state, err = distinct.Merge(nil, w.state, pane, func(g distinct.Group) {
			g.Key, g.Value, g.Members = slices.Clone(g.Key), slices.Clone(g.Value), slices.Clone(g.Members)
			r.Groups = append(r.Groups, g)
			user, _, _ := distinct.CutField(g.Key)
			users[string(user)] = true
		})
		if err != nil {
			return err
		}
		if name.users {
			whole, err := distinct.State(name.shard, name.start, w.state)
			if err != nil {
				return err
			}
			whole.Groups = slices.DeleteFunc(whole.Groups, func(g distinct.Group) bool {
				user, _, _ := distinct.CutField(g.Key)
				return !users[string(user)]
			})
			return profile.Rows(&whole, func(row schemas.Row) error { return out.putUpdate(row.Data) })
		}
		encoder, err := rollup.NewEncoder()
		if err != nil {
			return err
		}
		for i := range r.Groups {
			row, err := encoder.AppendRow(nil, r, &r.Groups[i])
			if err == nil {
				err = out.putRow(row)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	for len(deliveries) > 0 {
		n := 1 + rng.IntN(len(deliveries))
		if rng.IntN(4) == 0 {
			bundle(deliveries[:rng.IntN(n+1)]) // gave up; what it had sent has come
		}
		bundle(deliveries[:n])
		deliveries = deliveries[n:]
		for name, w := range windows {
			if rng.IntN(3) == 0 {
				if err := write(name, w); err != nil {
					return nil, err
				}
			}
		}
	}
	for name, w := range windows {
		if err := write(name, w); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// onceThrough is what entries make in one bundle and one pane.
func onceThrough(entries []impression.Record) (numbers, error) {
	sets := map[int64]*distinct.Builder{}
	for i := range entries {
		r := &entries[i]
		if len(r.UserID) == 0 {
			continue
		}
		start := distinct.WindowStart(r.EventTime)
		if sets[start] == nil {
			sets[start] = new(distinct.Builder)
		}
		profile.Add(sets[start], r)
	}
	out := numbers{}
	for start, set := range sets {
		r, err := distinct.State(0, start, set.Append(nil))
		if err != nil {
			return nil, err
		}
		if err := profile.Rows(&r, func(row schemas.Row) error { return out.putUpdate(row.Data) }); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// All numbers are a function of the set of distinct entries: counts and sketches
// are those of a plain computation, and profile updates those of one bundle.
func TestNumbersAreAFunctionOfTheEntries(t *testing.T) {
	cases := 5000
	if testing.Short() {
		cases = 500
	}
	property := func(seed uint64) bool {
		rng := rand.New(rand.NewPCG(seed, 0))
		entries := entriesOf(rng, 1+rng.IntN(80))
		want := exact(t, entries)
		users, err := onceThrough(entries)
		if err != nil {
			t.Error(err)
			return false
		}
		maps.Copy(want, users)
		got, err := pass(rng, entries)
		if err != nil {
			t.Error(err)
			return false
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d (-want +got):\n%s", seed, diff)
			return false
		}
		return true
	}
	if err := quick.Check(property, &quick.Config{MaxCount: cases}); err != nil {
		t.Error(err)
	}
}

// keepFn keeps rows in the order in which they come, by test and kind.
type keepFn struct{ Test, Kind string }

var kept struct {
	sync.Mutex
	rows map[string][][]byte
}

func (fn *keepFn) ProcessElement(row schemas.Row) {
	kept.Lock()
	defer kept.Unlock()
	if kept.rows == nil {
		kept.rows = map[string][][]byte{}
	}
	kept.rows[fn.Test+fn.Kind] = append(kept.rows[fn.Test+fn.Kind], row.Data)
}

// keepRowsFn is keepFn for rows that travel together.
type keepRowsFn struct{ Test, Kind string }

func (fn *keepRowsFn) ProcessElement(rows schemas.Rows) {
	for _, row := range rows.Rows {
		(&keepFn{fn.Test, fn.Kind}).ProcessElement(row)
	}
}

// The same through a runner: entries come in any order, again, and late up to the
// allowed lateness, while the watermark advances.
func TestNumbersOnPrism(t *testing.T) {
	const lateness = 2 * time.Minute
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			entries := entriesOf(rng, 150)
			want := exact(t, entries)
			users, err := onceThrough(entries)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(want, users)

			// Each entry comes when the watermark is somewhere between its own time,
			// less some, and the end of its window's lateness, and some come twice.
			type arrival struct {
				at    int64 // watermark, in microseconds
				entry impression.Record
			}
			var arrivals []arrival
			for _, r := range entries {
				for range 1 + rng.IntN(2) {
					delay := int64(0)
					if rng.IntN(3) == 0 {
						delay = rng.Int64N(lateness.Microseconds())
					}
					arrivals = append(arrivals, arrival{r.EventTime - 1e6 + delay, r})
				}
			}
			slices.SortFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
			stream := teststream.NewConfig()
			for i, a := range arrivals {
				if i%7 == 0 {
					if err := stream.AdvanceWatermark(int64(mtime.FromTime(time.UnixMicro(a.at)))); err != nil {
						t.Fatal(err)
					}
				}
				if err := stream.AddElements(int64(mtime.FromTime(time.UnixMicro(a.entry.EventTime))), impression.Records{Records: []impression.Record{a.entry}}); err != nil {
					t.Fatal(err)
				}
			}
			stream.AdvanceWatermarkToInfinity()

			p, s := beam.NewPipelineWithRoot()
			records := teststream.Create(s, stream)
			windows := distinct.Options{Streaming: true, AllowedLateness: lateness, EarlyFirings: 10 * time.Second}
			counts, _ := rollup.Counts(s, records, rollup.Options{Shards: parts, Options: windows})
			beam.ParDo0(s, &keepRowsFn{t.Name(), "counts"}, counts)
			updates := profile.Updates(s, records, profile.Options{Shards: parts, Options: windows})
			beam.ParDo0(s, &keepFn{t.Name(), "updates"}, updates)
			if _, err := prism.Execute(context.Background(), p); err != nil {
				t.Fatal(err)
			}
			got := numbers{}
			for _, row := range kept.rows[t.Name()+"counts"] {
				if err := got.putRow(row); err != nil {
					t.Fatal(err)
				}
			}
			for _, row := range kept.rows[t.Name()+"updates"] {
				if err := got.putUpdate(row); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("last numbers (-want +got):\n%s", diff)
			}
		})
	}
}
