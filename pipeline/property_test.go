package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	gocmp "github.com/google/go-cmp/cmp"
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
	register.DoFn1x0[distinct.TooLate](&keepLateFn{})
}

// parts is how many parts the windows of these tests have.
const parts = 2

// cases scales the number of random cases of a test: PIXELBEAM_CASES=50 tries 50
// times as many, -short a tenth.
func cases(t *testing.T, n int) int {
	if testing.Short() {
		n /= 10
	}
	if s := os.Getenv("PIXELBEAM_CASES"); s != "" {
		factor, err := strconv.Atoi(s)
		if err != nil || factor < 1 {
			t.Fatalf("PIXELBEAM_CASES=%s is not a number from 1", s)
		}
		n *= factor
	}
	return n
}

// entriesOf returns random entries of a few minutes, campaigns and users, all of an
// advertiser, who shares no entry and no user with others.
func entriesOf(rng *rand.Rand, advertiser string, n int) []impression.Record {
	entries := make([]impression.Record, n)
	for i := range entries {
		r, _ := impression.NewRecord(fmt.Append(nil, advertiser, "-", i), rng.Int64N(4*60)*1e6+rng.Int64N(2)*rng.Int64N(1e6), nil)
		r.Invalid = rng.IntN(5) == 0
		r.EventType = []byte([]string{"impression", "click", "viewable"}[rng.IntN(3)])
		r.AdvertiserID = []byte(advertiser)
		r.CampaignID = []byte{byte('a' + rng.IntN(3))}
		if user := rng.IntN(6); user > 0 {
			r.UserID = fmt.Append(nil, advertiser, " user ", user)
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
		name := fmt.Sprintf("%d %s %s %s %d", window, r.AdvertiserID, r.CampaignID, r.EventType, part)
		g := groups[name]
		if g == nil {
			g = &group{&pixelbeamv1.ImpressionCount{
				WindowStart: proto.Int64(window), WindowEnd: proto.Int64(window + 60e6),
				AdvertiserId: proto.String(string(r.AdvertiserID)), CampaignId: proto.String(string(r.CampaignID)),
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
	name := fmt.Sprint(row.GetAdvertiserId(), " count ", row.GetWindowStart(), " ", row.GetCampaignId(), " ", row.GetEventType(), " ", row.GetPart())
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
	n[fmt.Sprint(u.GetUserId(), " ", u.GetWindowStart())] = fmt.Sprintf("%x", row)
	return nil
}

// exactUsers computes what the updates of entries say, without any of the code that is
// tested.
func exactUsers(entries []impression.Record) map[string]string {
	type event struct{ campaign, kind string }
	type user struct {
		first    int64
		last     *impression.Record
		counters map[event]*pixelbeamv1.CampaignCounter
	}
	users := map[string]*user{}
	for i := range entries {
		r := &entries[i]
		if len(r.UserID) == 0 {
			continue
		}
		window := r.EventTime / 60e6 * 60e6
		name := fmt.Sprint(string(r.UserID), " ", window)
		u := users[name]
		if u == nil {
			u = &user{r.EventTime, r, map[event]*pixelbeamv1.CampaignCounter{}}
			users[name] = u
		}
		u.first = min(u.first, r.EventTime)
		// Of events at one time that of the last campaign holds, then that of the event
		// type with the longest name, then that of the last name; then that of the
		// largest id.
		if cmp.Or(
			cmp.Compare(r.EventTime, u.last.EventTime), bytes.Compare(r.CampaignID, u.last.CampaignID),
			cmp.Compare(len(r.EventType), len(u.last.EventType)), bytes.Compare(r.EventType, u.last.EventType),
			cmp.Compare(r.ID(), u.last.ID()),
		) > 0 {
			u.last = r
		}
		e := event{string(r.CampaignID), string(r.EventType)}
		c := u.counters[e]
		if c == nil {
			c = &pixelbeamv1.CampaignCounter{Count: proto.Int64(0), Invalid: proto.Int64(0), LastEventOffset: proto.Int64(0)}
			u.counters[e] = c
		}
		*c.Count++
		if r.Invalid {
			*c.Invalid++
		}
		*c.LastEventOffset = max(*c.LastEventOffset, r.EventTime-window)
	}
	out := map[string]string{}
	for name, u := range users {
		var counters []string
		for e, c := range u.counters {
			counters = append(counters, fmt.Sprint(e.campaign, " ", e.kind, " ", *c.Count, " ", *c.Invalid, " ", *c.LastEventOffset))
		}
		slices.Sort(counters)
		out[name] = fmt.Sprint(u.first, counters, u.last.EventTime, string(u.last.Country), string(u.last.PageURL))
	}
	return out
}

// told says what the updates among numbers say.
func (n numbers) told(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, update := range n {
		row, err := hex.DecodeString(update)
		if err != nil {
			continue // a count
		}
		var u pixelbeamv1.ProfileUpdate
		var w pixelbeamv1.WindowCounters
		var l pixelbeamv1.LatestEvent
		if err := errors.Join(proto.Unmarshal(row, &u), proto.Unmarshal(u.Counters, &w), proto.Unmarshal(u.Latest, &l)); err != nil {
			t.Fatal(err)
		}
		var counters []string
		for _, c := range w.Counters {
			counters = append(counters, fmt.Sprint(c.GetCampaignId(), " ", c.GetEventType(), " ", c.GetCount(), " ", c.GetInvalid(), " ", c.GetLastEventOffset()))
		}
		slices.Sort(counters)
		out[name] = fmt.Sprint(u.GetFirstSeen(), counters, l.GetEventTime(), l.GetCountry(), l.GetPageUrl())
	}
	return out
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
// done again, with windows written at any moment, sometimes by a bundle that fails
// when it has written, and is done again. It returns what is written in the end.
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
	write := func(name windowName, w *window) (err error) {
		if failing := *w; rng.IntN(5) == 0 {
			// What is written is written; the state is as it was, and is written again
			// when something more may have come.
			defer func() { *w = failing }()
		}
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
		for len(w.pending) > 0 {
			if err := write(name, w); err != nil {
				return nil, err
			}
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
// are those of a plain computation, and profile updates, byte for byte, those of one
// bundle, which say what a plain computation says.
func TestNumbersAreAFunctionOfTheEntries(t *testing.T) {
	property := func(seed uint64) bool {
		rng := rand.New(rand.NewPCG(seed, 0))
		entries := entriesOf(rng, "adv", 1+rng.IntN(80))
		want := exact(t, entries)
		users, err := onceThrough(entries)
		if err != nil {
			t.Error(err)
			return false
		}
		if diff := gocmp.Diff(exactUsers(entries), users.told(t)); diff != "" {
			t.Errorf("seed %d, users (-exact +got):\n%s", seed, diff)
			return false
		}
		maps.Copy(want, users)
		got, err := pass(rng, entries)
		if err != nil {
			t.Error(err)
			return false
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d (-want +got):\n%s", seed, diff)
			return false
		}
		return true
	}
	if err := quick.Check(property, &quick.Config{MaxCount: cases(t, 5000)}); err != nil {
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

// closing is the campaign of entries that come once, when their window is closed.
const closing = "closing"

// keepLateFn keeps what came too late, by test.
type keepLateFn struct{ Test string }

var keptLate struct {
	sync.Mutex
	sets map[string][]distinct.TooLate
}

func (fn *keepLateFn) ProcessElement(l distinct.TooLate) {
	keptLate.Lock()
	defer keptLate.Unlock()
	if keptLate.sets == nil {
		keptLate.sets = map[string][]distinct.TooLate{}
	}
	keptLate.sets[fn.Test] = append(keptLate.sets[fn.Test], l)
}

// campaign returns the campaign of a group of counts.
func campaign(g *distinct.Group) string {
	dimensions, _, _ := distinct.CutField(g.Key)
	_, rest, _ := distinct.CutField(dimensions)
	name, _, _ := distinct.CutField(rest)
	return string(name)
}

// arrival is when a copy of an entry comes: when the watermark is there, in
// microseconds since the Unix epoch.
type arrival struct {
	at    int64
	entry impression.Record
}

// arrivalsOf lets each entry come when the watermark is somewhere between the entry's
// time, less some, and the end of its window's lateness, and some again at any time
// from then on, too late included.
func arrivalsOf(rng *rand.Rand, entries []impression.Record, lateness int64) (arrivals []arrival) {
	for _, r := range entries {
		closes := distinct.WindowStart(r.EventTime) + 60e6 + lateness
		delay := int64(0)
		if rng.IntN(3) == 0 {
			delay = rng.Int64N(closes - r.EventTime)
		}
		arrivals = append(arrivals, arrival{r.EventTime - 1e6 + delay, r})
		for rng.IntN(3) == 0 {
			arrivals = append(arrivals, arrival{r.EventTime - 1e6 + rng.Int64N(2*lateness), r})
		}
	}
	return arrivals
}

// The same through a runner: many histories at once, of an advertiser each, whose
// entries come in any order, again, late up to the allowed lateness, and too late,
// while the watermark advances and windows are written early, on time and late.
func TestNumbersOnPrism(t *testing.T) {
	histories := 300
	if testing.Short() {
		histories = 30
	}
	for seed := range max(1, cases(t, 1)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			numbersOnPrism(t, rand.New(rand.NewPCG(uint64(seed), 1)), histories)
		})
	}
}

func numbersOnPrism(t *testing.T, rng *rand.Rand, histories int) {
	const lateness = 2 * time.Minute
	want := numbers{}
	var arrivals []arrival
	closings := map[int64]int64{} // how many there are, by the window's start
	for h := range histories {
		entries := entriesOf(rng, fmt.Sprintf("adv%05d", h), 1+rng.IntN(60))
		later := rng.Int64N(8) * 60e6
		for i := range entries {
			r := &entries[i]
			shifted, _ := impression.NewRecord(fmt.Append(nil, h, "-", i), r.EventTime+later, nil)
			r.EventTime, r.IDHigh, r.IDLow = shifted.EventTime, shifted.IDHigh, shifted.IDLow
		}
		maps.Copy(want, exact(t, entries))
		users, err := onceThrough(entries)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(want, users)
		arrivals = append(arrivals, arrivalsOf(rng, entries, lateness.Microseconds())...)
		for i := range rng.IntN(4) {
			r, _ := impression.NewRecord(fmt.Append(nil, h, "-closing-", i), later+rng.Int64N(4*60e6), nil)
			r.CampaignID = []byte(closing)
			closes := distinct.WindowStart(r.EventTime) + 60e6 + lateness.Microseconds()
			closings[distinct.WindowStart(r.EventTime)]++
			arrivals = append(arrivals, arrival{closes + rng.Int64N(60e6), r})
		}
	}
	slices.SortFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })

	// The watermark advances to when the first of some is due, so that none comes later
	// than it should.
	stream := teststream.NewConfig()
	deliveries, watermarks, watermark := len(arrivals), 0, mtime.MinTimestamp
	for len(arrivals) > 0 {
		if at := mtime.FromTime(time.UnixMicro(arrivals[0].at)); watermarks == 0 || at > watermark {
			if err := stream.AdvanceWatermark(int64(at)); err != nil {
				t.Fatal(err)
			}
			watermark = at
			watermarks++
		}
		n := min(1+rng.IntN(100), len(arrivals))
		var elements []any
		earliest := arrivals[0].entry.EventTime
		for some := arrivals[:n]; len(some) > 0; {
			k := 1 + rng.IntN(len(some))
			var records impression.Records
			for _, a := range some[:k] {
				records.Records = append(records.Records, a.entry)
				earliest = min(earliest, a.entry.EventTime)
			}
			elements, some = append(elements, records), some[k:]
		}
		if err := stream.AddElements(int64(mtime.FromTime(time.UnixMicro(earliest))), elements...); err != nil {
			t.Fatal(err)
		}
		arrivals = arrivals[n:]
	}
	stream.AdvanceWatermarkToInfinity()

	p, s := beam.NewPipelineWithRoot()
	records := teststream.Create(s, stream)
	windows := distinct.Options{Streaming: true, AllowedLateness: lateness, EarlyFirings: 10 * time.Second}
	counts, tooLate := rollup.Counts(s, records, rollup.Options{Shards: parts, Options: windows})
	beam.ParDo0(s, &keepRowsFn{t.Name(), "counts"}, counts)
	beam.ParDo0(s, &keepLateFn{t.Name()}, tooLate)
	updates := profile.Updates(s, records, profile.Options{Shards: parts, Options: windows})
	beam.ParDo0(s, &keepFn{t.Name(), "updates"}, updates)
	steadyPrism() // as the job does
	done, err := prism.Execute(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}

	got := numbers{}
	counted := map[string]*pixelbeamv1.ImpressionCount{} // of the campaign closing
	for _, row := range kept.rows[t.Name()+"counts"] {
		c := new(pixelbeamv1.ImpressionCount)
		if err := proto.Unmarshal(row, c); err != nil {
			t.Fatal(err)
		}
		if c.GetCampaignId() != closing {
			got.putCount(c)
		} else {
			counted[fmt.Sprint(c.GetWindowStart(), c.GetAdvertiserId(), " ", c.GetPart())] = c
		}
	}
	for _, row := range kept.rows[t.Name()+"updates"] {
		if err := got.putUpdate(row); err != nil {
			t.Fatal(err)
		}
	}
	for h := range histories {
		of := func(n numbers) numbers {
			out := maps.Clone(n)
			maps.DeleteFunc(out, func(name, _ string) bool { return !strings.HasPrefix(name, fmt.Sprintf("adv%05d ", h)) })
			return out
		}
		if diff := gocmp.Diff(of(want), of(got)); diff != "" {
			var late []string // lost is not the same as taken for too late
			for _, l := range keptLate.sets[t.Name()] {
				for i := range l.Groups {
					if g := &l.Groups[i]; bytes.Contains(g.Key, fmt.Appendf(nil, "adv%05d", h)) {
						late = append(late, fmt.Sprintf("%d of %q in minute %d", g.Count, g.Key, l.WindowStart/60e6))
					}
				}
			}
			t.Fatalf("history %d, last numbers (-want +got):\n%s\ntoo late of it, copies included: %q", h, diff, late)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d numbers, want %d", len(got), len(want))
	}

	// What came when its window was closed is too late, or was counted: the watermark
	// of a step may be behind that of the stream.
	accounted := map[int64]int64{}
	for _, c := range counted {
		accounted[c.GetWindowStart()] += c.GetGross()
	}
	var late, all int64
	for _, l := range keptLate.sets[t.Name()] {
		all += l.Entries
		for i := range l.Groups {
			if campaign(&l.Groups[i]) == closing {
				accounted[l.WindowStart] += l.Groups[i].Count
				late += l.Groups[i].Count
			}
		}
	}
	if diff := gocmp.Diff(closings, accounted); diff != "" {
		t.Errorf("counted or too late, by window (-want +got):\n%s", diff)
	}
	if n := result(done)["pixelbeam/counts_too_late"]; n != all || late == 0 {
		t.Errorf("the counter says that %d deliveries were too late, and %d were given, %d of them in no other way", n, all, late)
	}
	t.Logf("%d histories, %d deliveries, %d watermarks; %d numbers, in %d rows of counts and %d of profiles; %d deliveries too late",
		histories, deliveries, watermarks, len(want), len(kept.rows[t.Name()+"counts"]), len(kept.rows[t.Name()+"updates"]), all)
}
