package distinct

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	gocmp "github.com/google/go-cmp/cmp"
)

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

// cell is the state and the timer of one key. What a bundle did to it is kept when
// the bundle ends, and lost when it fails.
type cell struct {
	state.Provider // what is not used here panics
	values         map[string][]byte
	bags           map[string][]any
	timer          int64
}

func newCell() *cell {
	return &cell{values: map[string][]byte{}, bags: map[string][]any{}, timer: unset}
}

func (c *cell) clone() *cell {
	d := &cell{values: maps.Clone(c.values), bags: map[string][]any{}, timer: c.timer}
	for name, bag := range c.bags {
		d.bags[name] = slices.Clone(bag)
	}
	return d
}

func (c *cell) empty() bool {
	for _, bag := range c.bags {
		if len(bag) > 0 {
			return false
		}
	}
	return len(c.values) == 0
}

func (c *cell) ReadValueState(id string) (any, []state.Transaction, error) {
	if v, ok := c.values[id]; ok {
		return v, nil, nil
	}
	return nil, nil, nil
}

func (c *cell) WriteValueState(t state.Transaction) error {
	c.values[t.Key] = bytes.Clone(t.Val.([]byte))
	return nil
}

func (c *cell) ClearValueState(t state.Transaction) error {
	delete(c.values, t.Key)
	return nil
}

func (c *cell) ReadBagState(id string) ([]any, []state.Transaction, error) {
	return c.bags[id], nil, nil
}

func (c *cell) WriteBagState(t state.Transaction) error {
	c.bags[t.Key] = append(c.bags[t.Key], bytes.Clone(t.Val.([]byte)))
	return nil
}

func (c *cell) ClearBagState(t state.Transaction) error {
	delete(c.bags, t.Key)
	return nil
}

func (c *cell) Set(t timers.TimerMap) {
	c.timer = t.FireTimestamp.ToTime().UnixMicro()
}

// runner runs Restate's two streaming stages as a runner may: in bundles that fail at
// any time after they have written to the outside, and are then run again from the
// state as it was, by any of several workers; with panes that wait, and overtake each
// other.
type runner struct {
	t   testing.TB
	rng *rand.Rand
	// A bundle fails with this probability.
	failing float64

	gather  *gatherFn
	merge   *mergeFn
	lanes   map[int64]*cell
	windows map[string]*cell
	workers []*mergedSets
	waiting []pane // for merge

	// What was written to the outside.
	groups  map[groupName]written
	tooLate map[string]TooLate

	failed, lateSets int
}

type pane struct {
	key string
	set []byte
}

type groupName struct {
	Start, Shard int64
	Key          string
}

type written struct {
	pane  int64
	group Group
}

func newRunner(t testing.TB, rng *rand.Rand, opts Options) *runner {
	r := &runner{
		t: t, rng: rng, failing: rng.Float64() * 0.4,
		gather: &gatherFn{
			Name: opts.Name, AllowedLateness: opts.AllowedLateness, EarlyFirings: opts.EarlyFirings,
			Clock: state.MakeValueState[[]byte]("clock"), Sets: state.MakeBagState[[]byte]("sets"),
			LateSets: state.MakeBagState[[]byte]("late"), Tick: timers.InEventTime("tick"),
		},
		merge: &mergeFn{
			Name: opts.Name, KeptMicros: (opts.AllowedLateness + forgetAfter).Microseconds(), Whole: opts.Whole,
			Version: state.MakeValueState[[]byte]("version"), Panes: state.MakeBagState[[]byte]("panes"),
			Forget: timers.InEventTime("forget"),
		},
		lanes: map[int64]*cell{}, windows: map[string]*cell{},
		groups: map[groupName]written{}, tooLate: map[string]TooLate{},
	}
	r.gather.Setup()
	// Of the workers one remembers nothing, one little.
	for _, room := range []int{0, 400, maxMerged, maxMerged} {
		r.workers = append(r.workers, &mergedSets{room: room})
	}
	return r
}

// bundle runs f on the state of a key until it does not fail.
func (r *runner) bundle(committed *cell, f func(*cell) error) *cell {
	for {
		merged = r.workers[r.rng.IntN(len(r.workers))]
		tentative := committed.clone()
		if err := f(tentative); err != nil {
			r.t.Fatal(err)
		}
		if r.rng.Float64() >= r.failing {
			return tentative
		}
		r.failed++
	}
}

// restated and late are the outside: they keep what a failed bundle wrote, too.
func (r *runner) restated(got Restatement) {
	for _, g := range got.Groups {
		name := groupName{got.WindowStart, got.Shard, string(g.Key)}
		if old, ok := r.groups[name]; !ok || got.Pane >= old.pane {
			r.groups[name] = written{got.Pane, g}
		}
	}
}

func (r *runner) late(l TooLate) { r.tooLate[fmt.Sprint(l.WindowStart, l.Shard, l.Name)] = l }

// gatherBundle runs f of the gather stage, whose panes go on when it succeeds.
func (r *runner) gatherBundle(lane int64, f func(c *cell, emit func(string, []byte)) error) {
	if r.lanes[lane] == nil {
		r.lanes[lane] = newCell()
	}
	var out []pane
	r.lanes[lane] = r.bundle(r.lanes[lane], func(c *cell) error {
		out = nil
		return f(c, func(key string, set []byte) { out = append(out, pane{key, set}) })
	})
	r.waiting = append(r.waiting, out...)
}

// take gives one pack to gather.
func (r *runner) take(lane int64, pack []byte) {
	r.gatherBundle(lane, func(c *cell, emit func(string, []byte)) error {
		return r.gather.ProcessElement(context.Background(), c, c, lane, pack, emit, r.late)
	})
	r.lateSets += len(r.lanes[lane].bags["late"])
}

// work merges some of the waiting panes, in any order; all of them if so told.
func (r *runner) work(all bool) {
	r.rng.Shuffle(len(r.waiting), func(i, j int) { r.waiting[i], r.waiting[j] = r.waiting[j], r.waiting[i] })
	for len(r.waiting) > 0 && (all || r.rng.IntN(3) > 0) {
		key := r.waiting[0].key
		if r.windows[key] == nil {
			r.windows[key] = newCell()
		}
		// A bundle takes one pane of a window or two.
		panes := []pane{r.waiting[0]}
		r.waiting = r.waiting[1:]
		if i := slices.IndexFunc(r.waiting, func(p pane) bool { return p.key == key }); i >= 0 && r.rng.IntN(2) == 0 {
			panes = append(panes, r.waiting[i])
			r.waiting = slices.Delete(r.waiting, i, i+1)
		}
		r.windows[key] = r.bundle(r.windows[key], func(c *cell) error {
			r.rng.Shuffle(len(panes), func(i, j int) { panes[i], panes[j] = panes[j], panes[i] })
			for _, p := range panes {
				if err := r.merge.ProcessElement(c, c, p.key, p.set, r.restated); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// advance advances the watermark: timers fire in order.
func (r *runner) advance(to int64) {
	r.work(false)
	for {
		lane, at := int64(0), int64(math.MaxInt64)
		for _, l := range slices.Sorted(maps.Keys(r.lanes)) {
			if t := r.lanes[l].timer; t != unset && t < at {
				lane, at = l, t
			}
		}
		if at > to {
			break
		}
		r.lanes[lane].timer = unset
		r.gatherBundle(lane, func(c *cell, emit func(string, []byte)) error {
			return r.gather.OnTimer(context.Background(), 0, c, c, lane, timers.Context{}, emit, r.late)
		})
	}
	due := func() string {
		for _, key := range slices.Sorted(maps.Keys(r.windows)) {
			if t := r.windows[key].timer; t != unset && t <= to {
				return key
			}
		}
		return ""
	}
	if due() != "" || to == endOfTime {
		r.work(true) // Gather's timers hold merge's watermark, and so do waiting panes.
	}
	for key := due(); key != ""; key = due() {
		r.windows[key].timer = unset
		r.windows[key] = r.bundle(r.windows[key], func(c *cell) error {
			return r.merge.OnTimer(context.Background(), 0, c, c, key, timers.Context{}, r.restated)
		})
	}
}

// endOfTime is the watermark when nothing comes any more.
var endOfTime = mtime.MaxTimestamp.ToTime().UnixMicro()

// event is an entry of a history. That of key "late" come once, when their window is
// closed.
type event struct {
	key    string
	id     ID
	shard  int64
	at     int64
	member uint32
	value  string
	// copy is of an entry of a key that counts copies: then there is neither member nor
	// value, and other events may have the same id.
	copy uint64
}

const closing = "late"

// copied is the key that counts copies.
var copied = string(AppendField(nil, []byte("copies")))

func eventsOf(rng *rand.Rand, n int) []event {
	events := make([]event, n)
	keys, shards, minutes := 1+rng.IntN(3), 1+rng.IntN(7), 1+rng.Int64N(4)
	for i := range events {
		e := event{
			key: string(AppendField(AppendField(nil, bytes.Repeat([]byte{byte('a' + rng.IntN(keys))}, 30)), []byte{byte('x' + rng.IntN(keys))})),
			id:  NewID(rng.Uint64(), rng.IntN(4) == 0), shard: int64(rng.IntN(shards)) - 2,
			at: rng.Int64N(minutes*60)*1e6 + rng.Int64N(3)*1e5, member: uint32(rng.IntN(5)),
		}
		if rng.IntN(2) == 0 {
			e.value = strconv.Itoa(i) // and no member
			e.member = 0
		}
		if rng.IntN(12) == 0 {
			e.key, e.member, e.value = string(AppendField(nil, []byte(closing))), 0, ""
		}
		if rng.IntN(3) == 0 {
			e.key, e.member, e.value, e.copy = copied, 0, "", 1<<(CopyBits-1)+uint64(i)
			if i > 0 && events[i-1].key == copied && rng.IntN(2) == 0 {
				e.id, e.shard, e.at = events[i-1].id, events[i-1].shard, events[i-1].at
			}
		}
		events[i] = e
	}
	return events
}

func (e *event) late() bool { return e.key == string(AppendField(nil, []byte(closing))) }

func (e *event) pack(p *Packer, emit Emit) {
	switch {
	case e.copy != 0:
		p.AddCopy(e.shard, []byte(e.key), e.id, e.copy, e.at, emit)
	case e.value != "":
		p.Add(e.shard, []byte(e.key), e.id, e.at, []byte(e.value), emit)
	default:
		p.AddMember(e.shard, []byte(e.key), e.id, e.member, e.at, emit)
	}
}

// exactly computes the groups without any of the code that is tested.
func exactly(events []event) map[groupName]Group {
	type sum struct {
		Group
		ids     map[ID]bool
		members map[uint32]bool
		last    ID
	}
	sums := map[groupName]*sum{}
	for i := range events {
		e := &events[i]
		name := groupName{e.at / 60e6 * 60e6, e.shard, e.key}
		g := sums[name]
		if g == nil {
			g = &sum{ids: map[ID]bool{}, members: map[uint32]bool{}}
			g.Key = []byte(e.key)
			sums[name] = g
		}
		g.Copies++
		if !g.ids[e.id] {
			g.Count++
			if e.id.Flagged() {
				g.Flagged++
			}
		}
		g.ids[e.id] = true
		if e.member != 0 {
			g.members[e.member] = true
		}
		if e.value == "" {
			continue
		}
		if g.Value == nil || e.at < g.First {
			g.First = e.at
		}
		if g.Value == nil || e.at > g.Last || e.at == g.Last && e.id > g.last {
			g.Last, g.last, g.Value = e.at, e.id, []byte(e.value)
		}
	}
	out := map[groupName]Group{}
	for name, g := range sums {
		for _, m := range slices.Sorted(maps.Keys(g.members)) {
			g.Members = binary.BigEndian.AppendUint32(g.Members, m)
		}
		out[name] = g.Group
	}
	return out
}

// play lets events reach the runner: in bundles of any size, some again, some late
// up to the allowed lateness, while the watermark advances.
func play(r *runner, opts Options, events []event) {
	rng, lateness := r.rng, opts.AllowedLateness.Microseconds()
	type arrival struct {
		at int64 // watermark
		event
	}
	var arrivals []arrival
	for _, e := range events {
		closes := WindowStart(e.at) + 60e6 + lateness
		if e.late() {
			arrivals = append(arrivals, arrival{closes + rng.Int64N(3*60e6), e})
			continue
		}
		arrivals = append(arrivals, arrival{e.at - 1e6 + rng.Int64N(2)*rng.Int64N(closes-e.at), e})
		for rng.IntN(3) == 0 { // once more, at any time, too late included
			arrivals = append(arrivals, arrival{e.at - 1e6 + rng.Int64N(2*lateness+60e6), e})
		}
	}
	slices.SortFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	var packer Packer
	for len(arrivals) > 0 {
		// What comes before the watermark advances: a bundle or more. The watermark is
		// where the first of them is due, so that none comes later than it should.
		r.advance(arrivals[0].at)
		n := 1 + rng.IntN(min(12, len(arrivals)))
		type element struct {
			lane int64
			pack []byte
		}
		var out []element
		emit := func(_ beam.EventTime, lane int64, pack []byte) { out = append(out, element{lane, pack}) }
		for i := range n {
			arrivals[i].pack(&packer, emit)
			if rng.IntN(5) == 0 {
				packer.Flush(emit)
			}
		}
		packer.Flush(emit)
		arrivals = arrivals[n:]
		for _, e := range out {
			r.take(e.lane, e.pack)
		}
	}
	r.advance(endOfTime)
}

// Whatever happens to entries on their way, and to the bundles that count them, the
// last restatements are those of an exact computation, and what came when its window
// was closed is either counted or given as too late.
func TestHistories(t *testing.T) {
	defer func(m *mergedSets) { merged = m }(merged)
	var deliveries, failed, lateSets, tooLate, countedLate int
	n := cases(t, 2000)
	for seed := range uint64(n) {
		rng := rand.New(rand.NewPCG(seed, 3))
		opts := Options{
			Name: "test", Streaming: true, Whole: rng.IntN(2) == 0, AllowedLateness: time.Duration(1+rng.IntN(3)) * time.Minute,
			EarlyFirings: []time.Duration{0, 5 * time.Second, 10 * time.Second, 25 * time.Second}[rng.IntN(4)],
		}
		r := newRunner(t, rng, opts)
		events := eventsOf(rng, 1+rng.IntN(60))
		play(r, opts, events)

		want := exactly(events)
		got := map[groupName]Group{}
		for name, w := range r.groups {
			got[name] = w.group
		}
		// Of what came too late, what was not given as such is counted.
		for _, l := range r.tooLate {
			for _, g := range l.Groups {
				if (&event{key: string(g.Key)}).late() {
					name := groupName{l.WindowStart, l.Shard, string(g.Key)}
					w := want[name]
					w.Count -= g.Count
					w.Copies -= g.Copies
					w.Flagged -= g.Flagged
					if want[name] = w; w.Count == 0 {
						delete(want, name)
					}
					tooLate += int(g.Count)
				}
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-exact +last):\n%s", seed, diff)
		}
		for name, g := range got {
			if (&event{key: name.Key}).late() {
				countedLate += int(g.Count)
			}
		}
		for key, c := range r.windows {
			if !c.empty() {
				t.Fatalf("seed %d: window %s is still in the state", seed, key)
			}
		}
		deliveries += len(events)
		failed += r.failed
		lateSets += r.lateSets
	}
	t.Logf("%d histories, %d entries, %d bundles failed; %d late sets; %d entries too late, %d of a closed window that was not known", n, deliveries, failed, lateSets, tooLate, countedLate)
	if failed == 0 || lateSets == 0 || tooLate == 0 {
		t.Error("nothing failed, or was late, or too late: this shows nothing")
	}
}

// A set that is kept is used for the panes that it was made of, and for no others.
func TestMergedSets(t *testing.T) {
	var a, b version
	a.add([]byte("pane 1"))
	b.add([]byte("pane 1"))
	if a.chain != b.chain {
		t.Error("the same panes have two chains")
	}
	m := &mergedSets{room: 10}
	m.put("w", 60, a.chain, []byte("12345"))
	b.add([]byte("pane 2"))
	if _, ok := m.get("w", b.chain); ok {
		t.Error("a set of other panes")
	}
	if set, ok := m.get("w", a.chain); !ok || string(set) != "12345" {
		t.Errorf("kept %q, %v", set, ok)
	}
	kept := func(want string) {
		t.Helper()
		got, size := "", 0
		for _, name := range []string{"v", "w", "x", "y", "z"} {
			if set, ok := m.get(name, a.chain); ok {
				got += name
				size += len(set)
			}
		}
		if got != want || m.room != 10-size {
			t.Errorf("%q are kept with room for %d bytes, want %q", got, m.room, want)
		}
	}
	m.put("v", 120, a.chain, []byte("1234"))
	kept("vw")
	m.put("x", 0, a.chain, []byte("12")) // earlier than what is there
	kept("vw")
	m.put("y", 120, a.chain, []byte("123")) // w is the earliest
	kept("vy")
	m.put("z", 120, a.chain, []byte("1234")) // as early as the others, which stay
	kept("vy")
	m.put("v", 120, a.chain, []byte("1"))
	m.put("x", 0, a.chain, []byte("12"))
	kept("vxy")
	m.put("z", 180, a.chain, []byte("1234567890"))
	kept("z")
	m.put("z", 180, a.chain, []byte("more than there is room for"))
	kept("")
	m.put("w", 0, a.chain, []byte("1"))
	m.forget("w")
	m.forget("w")
	kept("")
	for _, broken := range [][]byte{nil, {1}, {1, 2}, append([]byte{1, 2}, make([]byte, 15)...), append([]byte{1, 2}, make([]byte, 17)...)} {
		if err := new(version).decode(broken); err == nil {
			t.Errorf("%x: no error", broken)
		}
	}
}

// Panes that have to be read are written as one when many are about as large, and stay
// as they are when small ones follow a large one.
func TestScatteredPanes(t *testing.T) {
	defer func(m *mergedSets) { merged = m }(merged)
	merged = &mergedSets{} // remembers nothing
	fn := &mergeFn{Name: "test", KeptMicros: 1,
		Version: state.MakeValueState[[]byte]("version"), Panes: state.MakeBagState[[]byte]("panes"), Forget: timers.InEventTime("forget")}
	c, id, count := newCell(), uint64(0), int64(0)
	add := func(entries int) (panes int) {
		var b Builder
		for range entries {
			id += 2
			b.AddMember([]byte("k"), NewID(id*0x9e3779b97f4a7c15, false), 0)
		}
		err := fn.ProcessElement(c, c, windowKey(0, 0), b.Append(nil), func(r Restatement) { count = r.Groups[0].Count })
		if err != nil {
			t.Fatal(err)
		}
		return len(c.bags["panes"])
	}
	most := 0
	for range 20 {
		most = max(most, add(100))
	}
	if most > 7 {
		t.Errorf("%d of 20 panes of a size are in the state", most)
	}
	for add(100) > 1 {
	}
	for n := 2; n < 20; n++ {
		if got := add(2); got != n {
			t.Fatalf("a small pane makes %d of the state's, not %d", got, n)
		}
	}
	if count != int64(id/2) {
		t.Errorf("%d entries are counted, want %d", count, id/2)
	}
}

// A runner that goes back to an older state writes panes again that it has written,
// of other entries: what is written last holds.
func TestRewoundPanesPrevail(t *testing.T) {
	merged = &mergedSets{room: maxMerged}
	fn := &mergeFn{Name: "test", KeptMicros: 1, Rewinds: true,
		Version: state.MakeValueState[[]byte]("version"), Panes: state.MakeBagState[[]byte]("panes"), Forget: timers.InEventTime("forget")}
	// set is the set of one entry.
	set := func(n uint64) (set []byte) {
		var packer Packer
		emit := func(_ beam.EventTime, _ int64, pack []byte) {
			split := splitFn{}
			if err := split.ProcessElement(0, pack, func(_ string, s []byte) { set = s }); err != nil {
				t.Fatal(err)
			}
		}
		packer.Add(0, AppendField(nil, []byte("k")), NewID(n<<1, false), 0, nil, emit)
		packer.Flush(emit)
		return set
	}
	var panes []int64
	count := map[int64]int64{}
	process := func(c *cell, n uint64) {
		err := fn.ProcessElement(c, c, windowKey(0, 0), set(n), func(r Restatement) {
			panes = append(panes, r.Pane)
			count[r.Pane] = r.Groups[0].Count
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	checkpointed := newCell()
	process(checkpointed, 1)
	lost := checkpointed.clone()
	for n := range uint64(3) {
		process(lost, 10+n)
	}
	for before := time.Now(); time.Since(before) < time.Millisecond; { // as long as a failure takes at least
	}
	process(checkpointed, 20)
	if !slices.IsSorted(panes) || len(panes) != 5 {
		t.Errorf("panes %v do not rise", panes)
	}
	if last := slices.Max(panes); count[last] != 2 {
		t.Errorf("the highest pane counts %d entries, want the 2 of the state that the runner has gone on from", count[last])
	}
}
