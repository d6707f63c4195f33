package distinct

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window/trigger"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/transforms/dofn"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Restatement]())
	dofn.Register[boundedFn](func(f func(beam.Window, int64, func(*[]byte) bool, func(Restatement)) error, a []any) []any {
		return []any{f(a[0].(beam.Window), a[1].(int64), a[2].(func(*[]byte) bool), a[3].(func(Restatement)))}
	})
	dofn.Register[paneFn](func(f func(beam.Window, int64, func(*[]byte) bool, func(string, []byte)) error, a []any) []any {
		return []any{f(a[0].(beam.Window), a[1].(int64), a[2].(func(*[]byte) bool), a[3].(func(string, []byte)))}
	})
	dofn.Register[stateFn](func(f func(state.Provider, timers.Provider, string, []byte, func(Restatement)) error, a []any) []any {
		return []any{f(a[0].(state.Provider), a[1].(timers.Provider), a[2].(string), a[3].([]byte), a[4].(func(Restatement)))}
	})
	register.Emitter1[Restatement]()
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
	// Pane counts the restatements of this shard's window, from 0.
	Pane   int64
	Groups []Group
}

// Options of Restate.
type Options struct {
	// Streaming says that the input is unbounded.
	Streaming bool
	// AllowedLateness is how long after its end a window takes entries, by
	// watermark. What comes later is dropped by the runner. Streaming only.
	AllowedLateness time.Duration
	// Whole adds to a restatement all groups whose key begins with the same
	// field (see AppendField) as that of a changed group, so that a result can be
	// made of all groups of, say, a user.
	Whole bool
}

// Restate turns packed sets, a PCollection<KV<int64, []byte>> of shard and
// encoded set with timestamps as a Packer gives them, into a
// PCollection<Restatement>.
//
// A bounded input gives one restatement per shard and window. An unbounded one
// gives one when the watermark passes the end of the window and one for every
// late pane that changes something, until the window has been closed for
// AllowedLateness. A late pane is what one bundle packed, so its cost (the state of
// a shard's window is read and written) falls with the size of bundles and with
// the number of shards. A late trigger by processing time would make fewer panes,
// but was not seen to fire on Prism (Beam 2.77). The last restatement of a group is a function of the set of
// distinct entries of its window.
//
// The late pane of a window meets the state of its on-time pane because the
// state lives in the global window, under a key that names shard and window, and
// is cleared by a timer: Prism clears the state of a window at its end and
// ignores allowed lateness there (seen in Beam 2.77).
func Restate(s beam.Scope, packed beam.PCollection, opts Options) beam.PCollection {
	s = s.Scope("distinct.Restate")
	fixed := window.NewFixedWindows(Window)
	if !opts.Streaming {
		windowed := beam.WindowInto(s, fixed, packed)
		return beam.ParDo(s, &boundedFn{}, beam.GroupByKey(s, windowed))
	}
	windowed := beam.WindowInto(s, fixed, packed,
		beam.Trigger(trigger.AfterEndOfWindow().LateFiring(trigger.AfterCount(1))),
		beam.AllowedLateness(opts.AllowedLateness),
		beam.PanesDiscard())
	panes := beam.ParDo(s, &paneFn{}, beam.GroupByKey(s, windowed))
	global := beam.WindowInto(s, window.NewGlobalWindows(), panes)
	return beam.ParDo(s, &stateFn{
		LatenessMicros: opts.AllowedLateness.Microseconds(),
		Whole:          opts.Whole,
		Set:            state.MakeValueState[[]byte]("set"),
		Close:          timers.InEventTime("close"),
	}, global)
}

// boundedFn merges all sets of a shard's window.
type boundedFn struct{}

func (fn *boundedFn) ProcessElement(w beam.Window, shard int64, sets func(*[]byte) bool, emit func(Restatement)) error {
	merged, err := mergeIter(sets)
	if err != nil {
		return err
	}
	r := newRestatement(shard, w.MaxTimestamp().ToTime().UnixMicro())
	if _, err := Merge(nil, nil, merged, r.add); err != nil {
		return err
	}
	emit(r)
	return nil
}

// paneFn merges the sets of one pane and moves them to the key of their shard
// and window.
type paneFn struct{}

func (fn *paneFn) ProcessElement(w beam.Window, shard int64, sets func(*[]byte) bool, emit func(string, []byte)) error {
	merged, err := mergeIter(sets)
	if err != nil {
		return err
	}
	emit(stateKey(shard, w.MaxTimestamp().ToTime().UnixMicro()), merged)
	return nil
}

// stateFn merges a pane into the state of its shard's window. The state is the
// number of panes so far, a uvarint, and the set.
type stateFn struct {
	LatenessMicros int64
	Whole          bool
	Set            state.Value[[]byte]
	Close          timers.EventTime
}

func (fn *stateFn) ProcessElement(sp state.Provider, tp timers.Provider, key string, pane []byte, emit func(Restatement)) error {
	shard, last, err := parseStateKey(key)
	if err != nil {
		return err
	}
	old, known, err := fn.Set.Read(sp)
	if err != nil {
		return err
	}
	var panes uint64
	var set []byte
	if known {
		n, size := binary.Uvarint(old)
		if size <= 0 {
			return fmt.Errorf("state of %s: %w", key, ErrCorrupt)
		}
		panes, set = n, old[size:]
	}
	r := newRestatement(shard, last)
	r.Pane = int64(panes)
	merged := binary.AppendUvarint(make([]byte, 0, len(old)+len(pane)+binary.MaxVarintLen64), panes+1)
	head := len(merged)
	if merged, err = Merge(merged, set, pane, r.add); err != nil {
		return fmt.Errorf("state of %s: %w", key, err)
	}
	if len(r.Groups) == 0 {
		return nil // Nothing but duplicates.
	}
	if fn.Whole {
		if r.Groups, err = neighbours(merged[head:], r.Groups); err != nil {
			return fmt.Errorf("state of %s: %w", key, err)
		}
	}
	if !known {
		fn.Close.Set(tp, time.UnixMicro(r.WindowEnd+fn.LatenessMicros), timers.WithNoOutputTimestamp())
	}
	if err := fn.Set.Write(sp, merged); err != nil {
		return err
	}
	emit(r)
	return nil
}

// OnTimer forgets a window that takes no more entries.
func (fn *stateFn) OnTimer(_ context.Context, _ beam.EventTime, sp state.Provider, _ timers.Provider, _ string, _ timers.Context, _ func(Restatement)) error {
	return fn.Set.Clear(sp)
}

// newRestatement makes an empty restatement of the window whose last timestamp,
// in whole milliseconds, is given in microseconds.
func newRestatement(shard, last int64) Restatement {
	start := WindowStart(last)
	return Restatement{Shard: shard, WindowStart: start, WindowEnd: start + windowMicros}
}

// add is a visitor of Merge that keeps the group.
func (r *Restatement) add(g Group) {
	g.Key, g.Value = bytes.Clone(g.Key), bytes.Clone(g.Value)
	r.Groups = append(r.Groups, g)
}

func mergeIter(sets func(*[]byte) bool) ([]byte, error) {
	var all [][]byte
	for set := []byte(nil); sets(&set); set = nil {
		all = append(all, set)
	}
	return MergeAll(all)
}

func stateKey(shard, last int64) string {
	return strconv.FormatInt(shard, 10) + "@" + strconv.FormatInt(last, 10)
}

func parseStateKey(key string) (shard, last int64, err error) {
	s, l, ok := strings.Cut(key, "@")
	if ok {
		if shard, err = strconv.ParseInt(s, 10, 64); err == nil {
			last, err = strconv.ParseInt(l, 10, 64)
		}
	}
	if !ok || err != nil {
		return 0, 0, fmt.Errorf("distinct: %q is not a state key", key)
	}
	return shard, last, nil
}
