package distinct

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/zeebo/xxh3"

	"pixelbeam/transforms/dofn"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Restatement]())
	beam.RegisterType(reflect.TypeFor[TooLate]())
	dofn.Register[splitFn](func(f func(int64, []byte, func(string, []byte)) error, a []any) []any {
		return []any{f(a[0].(int64), a[1].([]byte), a[2].(func(string, []byte)))}
	})
	dofn.Register[boundedFn](func(f func(string, func(*[]byte) bool, func(Restatement)) error, a []any) []any {
		return []any{f(a[0].(string), a[1].(func(*[]byte) bool), a[2].(func(Restatement)))}
	})
	dofn.Register[gatherFn](func(f func(context.Context, state.Provider, timers.Provider, int64, []byte, func(string, []byte), func(TooLate)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(state.Provider), a[2].(timers.Provider), a[3].(int64), a[4].([]byte), a[5].(func(string, []byte)), a[6].(func(TooLate)))}
	})
	dofn.Register[mergeFn](func(f func(state.Provider, timers.Provider, string, []byte, func(Restatement)) error, a []any) []any {
		return []any{f(a[0].(state.Provider), a[1].(timers.Provider), a[2].(string), a[3].([]byte), a[4].(func(Restatement)))}
	})
	register.Emitter1[Restatement]()
	register.Emitter1[TooLate]()
	register.Emitter2[string, []byte]()
	register.Emitter3[beam.EventTime, int64, []byte]()
	register.Iter1[[]byte]()
}

// Restatement is what one pane makes of one shard's window: the groups that the
// pane changed, with absolute values; with Options.Whole also their neighbours.
type Restatement struct {
	Shard int64
	// WindowStart and WindowEnd are in microseconds since the Unix epoch.
	WindowStart, WindowEnd int64
	// Pane counts the restatements of this shard's window, from 0; see
	// Options.Rewinds. Of a group the restatement with the highest holds.
	Pane   int64
	Groups []Group
}

// TooLate is a set of entries that came when their window was closed.
type TooLate struct {
	Shard, WindowStart int64
	// Name is the same for the same set of entries.
	Name string
	// Entries is how many distinct entries the set has.
	Entries int64
	Groups  []Group
}

// Options of Restate.
type Options struct {
	// Name says whose windows these are: the Beam counter of entries that were too
	// late is NAME_too_late, in the namespace pixelbeam. Required.
	Name string
	// Streaming says that the input is unbounded. All that follows is for
	// streaming only: a bounded input is written once.
	Streaming bool
	// AllowedLateness is how long after its end a window takes entries, by
	// watermark.
	AllowedLateness time.Duration
	// EarlyFirings is how often, in event time, a window that has not ended is
	// written; 0, or a minute and more, writes it at its end. A window that has
	// ended is written once a minute, if late entries came.
	EarlyFirings time.Duration
	// Whole adds to a restatement all groups whose key begins with the same
	// field (see AppendField) as that of a changed group, so that a result can be
	// made of all groups of, say, a user.
	Whole bool
	// Rewinds says that the runner writes results before it makes its state safe,
	// as Flink does: after a failure it goes on from an older state, and counts again
	// panes that were written, of other entries. Panes then count from the time in
	// microseconds, so that what is written later prevails.
	Rewinds bool
}

// Restate turns packed sets, a PCollection<KV<int64, []byte>> as a Packer gives
// them, into a PCollection<Restatement>. See RestateAll.
func Restate(s beam.Scope, packed beam.PCollection, opts Options) beam.PCollection {
	restated, _ := RestateAll(s, packed, opts)
	return restated
}

// RestateAll turns packed sets, a PCollection<KV<int64, []byte>> as a Packer gives
// them, into a PCollection<Restatement>, and a PCollection<TooLate> of the sets
// that came when their window was closed.
//
// A bounded input gives one restatement per shard and window, and nothing is too
// late: tooLate is then no valid collection. An unbounded one gives a restatement
// at every early firing and when the watermark passes the end of the window, and
// one a minute while late entries come, until the window has been closed for
// AllowedLateness; those that change nothing are not given. The last restatement
// of a group is a function of the set of distinct entries of its window, and a
// window that was closed is not restated by a part of its entries.
//
// There are two stages, both with state in the global window, so that no runner
// drops what is late. Gather holds the sets of a lane of shards until a timer of
// the lane fires: one state access per bundle and lane, whatever the number of
// windows. Merge holds a shard's window, and is touched when that is written: its
// cost does not rise with the number of bundles. A window's merged set may be forgotten when
// the watermark has passed its lateness; gather judges what is too late by its
// clock, and holds merge's watermark at that.
func RestateAll(s beam.Scope, packed beam.PCollection, opts Options) (restated, late beam.PCollection) {
	s = s.Scope("distinct.Restate")
	if !opts.Streaming {
		windows := beam.ParDo(s, &splitFn{}, packed)
		return beam.ParDo(s, &boundedFn{}, beam.GroupByKey(s, windows)), beam.PCollection{}
	}
	panes, late := beam.ParDo2(s, &gatherFn{
		Name:            opts.Name,
		AllowedLateness: opts.AllowedLateness,
		EarlyFirings:    opts.EarlyFirings,
		Clock:           state.MakeValueState[[]byte]("clock"),
		Sets:            state.MakeBagState[[]byte]("sets"),
		LateSets:        state.MakeBagState[[]byte]("late"),
		Tick:            timers.InEventTime("tick"),
	}, packed)
	return beam.ParDo(s, &mergeFn{
		Name:       opts.Name,
		KeptMicros: (opts.AllowedLateness + forgetAfter).Microseconds(),
		Whole:      opts.Whole,
		Rewinds:    opts.Rewinds,
		Version:    state.MakeValueState[[]byte]("version"),
		Panes:      state.MakeBagState[[]byte]("panes"),
		Forget:     timers.InEventTime("forget"),
	}, panes), late
}

// forgetAfter is how much longer than its lateness a window's set is kept: a
// margin only, as gather holds the watermark.
const forgetAfter = 2 * time.Minute

// splitFn gives each window a key of its own.
type splitFn struct{}

func (fn *splitFn) ProcessElement(_ int64, packed []byte, emit func(string, []byte)) error {
	windows, err := Windows(packed)
	if err != nil {
		return err
	}
	for _, w := range windows {
		emit(windowKey(w.Shard, w.Start), w.Set)
	}
	return nil
}

// boundedFn merges all sets of a shard's window.
type boundedFn struct{}

func (fn *boundedFn) ProcessElement(key string, sets func(*[]byte) bool, emit func(Restatement)) error {
	shard, start, err := parseWindowKey(key)
	if err != nil {
		return err
	}
	var all [][]byte
	for set := []byte(nil); sets(&set); set = nil {
		all = append(all, set)
	}
	merged, err := MergeAll(all)
	if err != nil {
		return err
	}
	r, err := State(shard, start, merged)
	if err != nil {
		return err
	}
	emit(r)
	return nil
}

// State returns the restatement, of pane 0, that a shard's window with the given
// merged set gives.
func State(shard, windowStart int64, merged []byte) (Restatement, error) {
	r := newRestatement(shard, windowStart)
	_, err := Merge(nil, nil, merged, r.add)
	return r, err
}

// maxGathered bounds, about, the bytes that a lane gathers before it writes its
// windows, whether it is time or not.
const maxGathered = 32 << 20

// gatherFn holds the sets of a lane of shards until its timer fires.
type gatherFn struct {
	Name                          string
	AllowedLateness, EarlyFirings time.Duration
	Clock                         state.Value[[]byte]
	Sets, LateSets                state.Bag[[]byte]
	Tick                          timers.EventTime

	tooLate beam.Counter
	// gathered is how many bytes this instance has added to the state of a lane
	// since it was written. Others may add to it as well, so it is no more than a
	// guard of memory.
	gathered map[int64]int
}

func (fn *gatherFn) Setup() {
	fn.tooLate = beam.NewCounter("pixelbeam", fn.Name+"_too_late")
	fn.gathered = make(map[int64]int)
}

func (fn *gatherFn) schedule() schedule {
	return newSchedule(Options{AllowedLateness: fn.AllowedLateness, EarlyFirings: fn.EarlyFirings})
}

// ProcessElement keeps the sets of one bundle.
func (fn *gatherFn) ProcessElement(ctx context.Context, sp state.Provider, tp timers.Provider, lane int64, packed []byte, emit func(string, []byte), emitLate func(TooLate)) error {
	before, c, err := fn.readClock(sp)
	if err != nil {
		return err
	}
	sched := fn.schedule()
	var sets, lateSets []byte
	first := int64(0) // start of the first window that has not ended
	windows, err := Windows(packed)
	if err != nil {
		return err
	}
	for _, w := range windows {
		switch sched.judge(&c, w.Start) {
		case onTime:
			if sets == nil {
				first, sets = w.Start, make([]byte, 0, len(packed))
			}
			sets = appendWindow(sets, w.Start, w.Shard, w.Set)
		case late:
			lateSets = appendWindow(lateSets, w.Start, w.Shard, w.Set)
		case tooLate:
			if err := fn.count(ctx, w, emitLate); err != nil {
				return err
			}
			continue
		}
		c.open(w.Start + windowMicros)
	}
	arm := false
	if len(sets) > 0 {
		if err := fn.Sets.Add(sp, sets); err != nil {
			return err
		}
		arm = c.arm(sched.tick(max(c.passed, first)))
	}
	if len(lateSets) > 0 {
		if err := fn.LateSets.Add(sp, lateSets); err != nil {
			return err
		}
		c.late = true
		arm = c.arm(WindowStart(c.passed)+windowMicros) || arm
	}
	if fn.gathered[lane] += len(sets) + len(lateSets); fn.gathered[lane] > maxGathered {
		if err := fn.write(sp, lane, &c, true, emit); err != nil {
			return err
		}
	}
	if len(c.ends) > 0 {
		arm = c.arm(c.ends[0]+sched.lateness) || arm
	}
	if arm {
		fn.set(tp, &c)
	}
	return fn.writeClock(sp, before, &c)
}

// OnTimer writes what is due and sets the next timer.
func (fn *gatherFn) OnTimer(ctx context.Context, _ beam.EventTime, sp state.Provider, tp timers.Provider, lane int64, _ timers.Context, emit func(string, []byte), _ func(TooLate)) error {
	before, c, err := fn.readClock(sp)
	if err != nil {
		return err
	}
	if c.armed == unset {
		return nil // a timer that was replaced
	}
	lateness := fn.AllowedLateness.Microseconds()
	c.pass(lateness)
	if err := fn.write(sp, lane, &c, WindowStart(c.passed) == c.passed, emit); err != nil {
		return err
	}
	arm := false
	if c.late {
		arm = c.arm(WindowStart(c.passed) + windowMicros)
	}
	if len(c.ends) > 0 {
		// Nothing to write, maybe; but what comes then has to be known as too late.
		arm = c.arm(c.ends[0]+lateness) || arm
	}
	if arm {
		fn.set(tp, &c)
	}
	return fn.writeClock(sp, before, &c)
}

// write hands on what was gathered, merged by window; of windows that have ended
// only if withLate is set.
func (fn *gatherFn) write(sp state.Provider, lane int64, c *clock, withLate bool, emit func(string, []byte)) error {
	windows := make(map[place][][]byte)
	take := func(bag *state.Bag[[]byte]) error {
		packs, _, err := bag.Read(sp)
		if err != nil {
			return err
		}
		for _, pack := range packs {
			sets, err := Windows(pack)
			if err != nil {
				return err
			}
			for _, w := range sets {
				name := place{w.Shard, w.Start}
				windows[name] = append(windows[name], w.Set)
			}
		}
		if len(packs) == 0 {
			return nil
		}
		return bag.Clear(sp)
	}
	if err := take(&fn.Sets); err != nil {
		return err
	}
	if c.late && withLate {
		if err := take(&fn.LateSets); err != nil {
			return err
		}
		c.late = false
	}
	places := slices.SortedFunc(maps.Keys(windows), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.shard, b.shard))
	})
	for _, name := range places {
		merged, err := MergeAll(windows[name])
		if err != nil {
			return err
		}
		emit(windowKey(name.shard, name.start), merged)
	}
	fn.gathered[lane] = 0
	return nil
}

// count counts a set that came too late.
func (fn *gatherFn) count(ctx context.Context, w WindowSet, emit func(TooLate)) error {
	t := TooLate{Shard: w.Shard, WindowStart: w.Start}
	r, err := State(w.Shard, w.Start, w.Set)
	if err != nil {
		return err
	}
	for _, g := range r.Groups {
		t.Entries += g.Count
	}
	t.Groups = r.Groups
	name := xxh3.Hash128(w.Set).Bytes()
	t.Name = hex.EncodeToString(name[:])
	fn.tooLate.Inc(ctx, t.Entries)
	emit(t)
	return nil
}

func (fn *gatherFn) readClock(sp state.Provider) (encoded []byte, c clock, err error) {
	encoded, ok, err := fn.Clock.Read(sp)
	if err != nil || !ok {
		return nil, newClock(), err
	}
	return encoded, c, c.decode(encoded)
}

// writeClock writes the clock if it has changed.
func (fn *gatherFn) writeClock(sp state.Provider, before []byte, c *clock) error {
	after := c.append(nil)
	if bytes.Equal(before, after) {
		return nil
	}
	return fn.Clock.Write(sp, after)
}

func (fn *gatherFn) set(tp timers.Provider, c *clock) {
	// The hold is the time itself, always: Prism (Beam 2.77) takes a timer that was
	// replaced for the present one if their times are equal, and panics if their
	// holds are not.
	fn.Tick.Set(tp, microTime(c.armed))
}

// mergeFn merges a pane into its shard's window. The state is the panes that
// changed something, and a version; what they make together is kept in memory, as
// long as there is room, by that version (see merged).
type mergeFn struct {
	Name       string
	KeptMicros int64
	Whole      bool
	Rewinds    bool
	Version    state.Value[[]byte]
	Panes      state.Bag[[]byte]
	Forget     timers.EventTime
}

// The panes in the state are written as one when they are maxRepeated times as large
// as what they make together, or when all but the largest are more than maxMinor of
// them and they had to be read: to merge a few small ones with a large one costs
// little more than to copy it.
const (
	maxRepeated = 2
	maxMinor    = 1. / 4
)

func (fn *mergeFn) ProcessElement(sp state.Provider, tp timers.Provider, key string, pane []byte, emit func(Restatement)) error {
	shard, start, err := parseWindowKey(key)
	if err != nil {
		return err
	}
	encoded, known, err := fn.Version.Read(sp)
	if err != nil {
		return err
	}
	var v version
	if known {
		if err := v.decode(encoded); err != nil {
			return fmt.Errorf("state of %s: %w", key, err)
		}
	}
	name := fn.Name + " " + key
	set, scattered, err := fn.set(sp, name, known, &v)
	if err != nil {
		return fmt.Errorf("state of %s: %w", key, err)
	}
	r := newRestatement(shard, start)
	r.Pane = int64(v.panes)
	if fn.Rewinds {
		r.Pane += time.Now().UnixMicro()
	}
	union, err := Merge(nil, set, pane, r.add)
	if err != nil {
		return fmt.Errorf("state of %s: %w", key, err)
	}
	if len(r.Groups) == 0 {
		return nil // Nothing but duplicates.
	}
	if fn.Whole {
		if r.Groups, err = neighbours(union, r.Groups); err != nil {
			return fmt.Errorf("state of %s: %w", key, err)
		}
	}
	if !known {
		fn.Forget.Set(tp, microTime(r.WindowEnd+fn.KeptMicros), timers.WithNoOutputTimestamp())
	}
	v.add(pane)
	if scattered || v.size > maxRepeated*uint64(len(union)) {
		if err := fn.Panes.Clear(sp); err != nil {
			return err
		}
		pane, v.size = union, uint64(len(union))
	}
	if err := fn.Panes.Add(sp, pane); err != nil {
		return err
	}
	if err := fn.Version.Write(sp, v.append(nil)); err != nil {
		return err
	}
	merged.put(name, start, v.chain, union)
	emit(r)
	return nil
}

// set returns what the panes of a version make together, and whether they had to be
// read and should be written as one.
func (fn *mergeFn) set(sp state.Provider, name string, known bool, v *version) (set []byte, scattered bool, err error) {
	if !known {
		return nil, false, nil
	}
	if set, ok := merged.get(name, v.chain); ok {
		return set, false, nil
	}
	panes, _, err := fn.Panes.Read(sp)
	if err != nil {
		return nil, false, err
	}
	size, largest := 0, 0
	for _, pane := range panes {
		size += len(pane)
		largest = max(largest, len(pane))
	}
	set, err = MergeAll(panes)
	return set, float64(size-largest) > maxMinor*float64(size), err
}

// OnTimer forgets a window that takes no more entries.
func (fn *mergeFn) OnTimer(_ context.Context, _ beam.EventTime, sp state.Provider, _ timers.Provider, key string, _ timers.Context, _ func(Restatement)) error {
	merged.forget(fn.Name + " " + key)
	if err := fn.Panes.Clear(sp); err != nil {
		return err
	}
	return fn.Version.Clear(sp)
}

func newRestatement(shard, start int64) Restatement {
	return Restatement{Shard: shard, WindowStart: start, WindowEnd: start + windowMicros}
}

// add is a visitor of Merge.
func (r *Restatement) add(g Group) {
	r.Groups = append(r.Groups, g)
}

// windowKey names a shard's window.
func windowKey(shard, start int64) string {
	return strconv.FormatInt(shard, 10) + "@" + strconv.FormatInt(start, 10)
}

func parseWindowKey(key string) (shard, start int64, err error) {
	s, w, ok := strings.Cut(key, "@")
	if ok {
		if shard, err = strconv.ParseInt(s, 10, 64); err == nil {
			start, err = strconv.ParseInt(w, 10, 64)
		}
	}
	if !ok || err != nil || start != WindowStart(start) {
		return 0, 0, fmt.Errorf("distinct: %q does not name a window", key)
	}
	return shard, start, nil
}
