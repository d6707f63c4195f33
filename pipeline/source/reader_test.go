package source

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/google/go-cmp/cmp"

	"pixelbeam/transforms/logentry"
)

// runner plays a runner's part with one readPubSubFn.
type runner struct {
	t   *testing.T
	fn  *readPubSubFn
	we  *watermarkEstimator
	ctx context.Context
}

func newRunner(t *testing.T, cfg PubSubConfig) *runner {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		eventually(t, "readers end with their runner", func() bool { return Stats().Readers == 0 })
	})
	fn := &readPubSubFn{Config: cfg.withDefaults()}
	return &runner{t: t, fn: fn, we: fn.CreateWatermarkEstimator(mtime.MinTimestamp.Milliseconds()), ctx: ctx}
}

// bundle processes pos once and returns what was delivered and the residual, if
// the input goes on. split is called after each batch.
func (r *runner) bundle(pos pubSubPosition, split func(*sdf.LockRTracker)) (delivered []string, residual *pubSubPosition) {
	r.t.Helper()
	rt := r.fn.CreateTracker(pos)
	cont, err := r.fn.ProcessElement(r.ctx, r.we, rt, nil, func(_ beam.EventTime, b logentry.Batch) {
		for _, m := range b.Messages {
			delivered = append(delivered, string(m.Data))
		}
		if split != nil {
			split(rt)
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if cont.ShouldResume() {
		residual = checkpoint(r.t, rt)
	}
	if !rt.IsDone() {
		r.t.Error("the restriction is not done")
	}
	slices.Sort(delivered)
	return delivered, residual
}

func checkpoint(t *testing.T, rt *sdf.LockRTracker) *pubSubPosition {
	t.Helper()
	_, residual, err := rt.TrySplit(0)
	if err != nil || residual == nil {
		t.Fatalf("no residual (%v)", err)
	}
	pos := residual.(pubSubPosition)
	return &pos
}

// some processes pos until messages are delivered.
func (r *runner) some(pos pubSubPosition) (delivered []string, residual pubSubPosition) {
	r.t.Helper()
	eventually(r.t, "messages are delivered", func() bool {
		var p *pubSubPosition
		delivered, p = r.bundle(pos, nil)
		residual = *p
		if len(delivered) == 0 && residual != pos {
			r.t.Fatalf("an empty bundle left %+v, want %+v as before", residual, pos)
		}
		return len(delivered) > 0
	})
	return delivered, residual
}

func TestAcknowledgedOnResumeOnly(t *testing.T) {
	f := newFakeServer(t)
	f.publish("a", 3, nil)
	r := newRunner(t, f.config())
	first, pos := r.some(r.fn.CreateInitialRestriction(nil))
	if diff := cmp.Diff([]string{"a0", "a1", "a2"}, first); diff != "" {
		t.Fatal(diff)
	}
	time.Sleep(100 * time.Millisecond) // time enough to acknowledge too early
	if got := f.count().acked; got != 0 {
		t.Fatalf("%d messages were acknowledged before the runner resumed", got)
	}
	f.publish("b", 1, nil)
	second, next := r.some(pos)
	eventually(t, "the first bundle is acknowledged", func() bool { return f.count().acked == 3 })
	if pos.Bundle == next.Bundle {
		t.Errorf("two bundles left the same token %d", pos.Bundle)
	}

	// The second bundle fails: the runner offers its position again.
	again, _ := r.some(pos)
	if diff := cmp.Diff(second, again); diff != "" {
		t.Errorf("after a failed bundle: %s", diff)
	}
	if got := f.count(); got.acked != 3 || got.redelivered != 1 {
		t.Errorf("the server counts %+v, want 3 acknowledged and 1 redelivered", got)
	}
}

func TestRunnerSplitsOffTheRest(t *testing.T) {
	f := newFakeServer(t)
	f.publish("a", 3, nil)
	cfg := f.config()
	cfg.Pullers = 1
	cfg.MaxBundleMillis = 2000
	r := newRunner(t, cfg)
	var residual *pubSubPosition
	first, _ := r.bundle(r.fn.CreateInitialRestriction(nil), func(rt *sdf.LockRTracker) {
		if residual == nil {
			residual = checkpoint(t, rt)
			f.publish("b", 1, nil)
		}
	})
	if diff := cmp.Diff([]string{"a0", "a1", "a2"}, first); diff != "" {
		t.Errorf("what was claimed: %s", diff)
	}
	second, pos := r.some(*residual)
	if diff := cmp.Diff([]string{"b0"}, second); diff != "" {
		t.Errorf("what was split off: %s", diff)
	}
	r.bundle(pos, nil)
	eventually(t, "both are acknowledged", func() bool { return f.count().acked == 4 })
}

func TestReaderOfAnotherProcessIsReplaced(t *testing.T) {
	f := newFakeServer(t)
	f.publish("a", 2, nil)
	r := newRunner(t, f.config())
	got, pos := r.some(pubSubPosition{Reader: "gone with its worker", Bundle: 41})
	if diff := cmp.Diff([]string{"a0", "a1"}, got); diff != "" {
		t.Error(diff)
	}
	if pos.Bundle != 42 {
		t.Errorf("token %d, want 42", pos.Bundle)
	}
}

func TestTruncatedPositionEnds(t *testing.T) {
	f := newFakeServer(t)
	f.lease = 600 * time.Second
	f.publish("a", 2500, nil)
	cfg := f.config()
	cfg.MaxBundle = 1000
	r := newRunner(t, cfg)
	first, pos := r.some(r.fn.CreateInitialRestriction(nil))
	end := r.fn.TruncateRestriction(r.fn.CreateTracker(pos), nil)
	if rest, residual := r.bundle(end, nil); len(rest) != 0 || residual != nil {
		t.Errorf("after the end %d messages were delivered and %v is left", len(rest), residual)
	}
	if got, want := f.count(), (fakeCounts{acked: len(first), acks: len(first), unacked: 2500 - len(first)}); got.acked != want.acked || got.leased != 0 {
		t.Errorf("the server counts %+v, want %+v", got, want)
	}
}

func TestBundleSizes(t *testing.T) {
	f := newFakeServer(t)
	f.publish("a", 1000, nil)
	cfg := f.config()
	cfg.MaxBundle = 300
	r := newRunner(t, cfg)
	pos := r.fn.CreateInitialRestriction(nil)
	seen := map[string]bool{}
	for len(seen) < 1000 {
		var got []string
		got, pos = r.some(pos)
		if len(got) > 300 {
			t.Fatalf("a bundle of %d messages, want at most 300", len(got))
		}
		for _, m := range got {
			seen[m] = true
		}
	}
}

func TestTrackerNeverSplitsByFraction(t *testing.T) {
	rt := (&readPubSubFn{}).CreateTracker(pubSubPosition{Reader: "r", Bundle: 3})
	if rt.IsBounded() {
		t.Error("the input is bounded")
	}
	for _, fraction := range []float64{0.1, 0.5, 1} {
		if _, residual, err := rt.TrySplit(fraction); residual != nil || err != nil {
			t.Errorf("TrySplit(%v) = %v, %v; want no residual", fraction, residual, err)
		}
	}
	if rt.IsDone() || !rt.TryClaim(int64(4)) || !rt.TryClaim(int64(4)) {
		t.Error("a bundle cannot be claimed repeatedly")
	}
	if got, want := *checkpoint(t, rt), (pubSubPosition{Reader: "r", Bundle: 4}); got != want {
		t.Errorf("residual %+v, want %+v", got, want)
	}
	if !rt.IsDone() || rt.TryClaim(int64(4)) {
		t.Error("something may still be claimed after a checkpoint")
	}
}

func TestWatermarkEstimator(t *testing.T) {
	we := (&readPubSubFn{}).CreateWatermarkEstimator(mtime.MinTimestamp.Milliseconds())
	if got := we.CurrentWatermark().Year(); got != 1 {
		t.Errorf("the first watermark is of the year %d, want 1", got)
	}
	for _, step := range []struct{ advance, want int64 }{{1000, 1000}, {500, 1000}, {2000, 2000}} {
		we.advance(step.advance)
		if got := we.CurrentWatermark().UnixMilli(); got != step.want {
			t.Errorf("after advance(%d): %d, want %d", step.advance, got, step.want)
		}
	}
}

func TestReaderWatermark(t *testing.T) {
	const slack = 2000
	now := time.UnixMilli(1_000_000)
	ago := func(ms int64) time.Time { return now.Add(-time.Duration(ms) * time.Millisecond) }
	repeat := func(n int, ms int64) []int64 { return slices.Repeat([]int64{ms}, n) }
	none := mtime.MinTimestamp.Milliseconds()
	tests := []struct {
		name    string
		recent  []sample
		queue   []*batch
		pullers []pullState
		want    int64
	}{
		{name: "nothing known", pullers: make([]pullState, 2), want: none},
		{
			name:   "follows the data",
			recent: []sample{{ago(100), repeat(10, 900_000)}}, pullers: make([]pullState, 2),
			want: 900_000 - slack,
		},
		{
			name:   "a few late ones do not hold it",
			recent: []sample{{ago(100), append(repeat(9, 900_000), 1)}}, pullers: make([]pullState, 2),
			want: 900_000 - slack,
		},
		{
			name:   "many late ones do",
			recent: []sample{{ago(100), append(repeat(7, 900_000), 1, 1, 1)}}, pullers: make([]pullState, 2),
			want: 1 - slack,
		},
		{
			name:   "what waits counts",
			recent: []sample{{ago(100), repeat(5, 900_000)}}, queue: []*batch{{sample: repeat(5, 800_000)}}, pullers: make([]pullState, 2),
			want: 800_000 - slack,
		},
		{
			name:   "what is long past does not",
			recent: []sample{{ago(5000), repeat(5, 800_000)}, {ago(100), repeat(5, 900_000)}}, pullers: make([]pullState, 2),
			want: 900_000 - slack,
		},
		{
			name:   "never ahead of the clock",
			recent: []sample{{ago(100), repeat(5, 5_000_000)}}, pullers: make([]pullState, 2),
			want: 1_000_000 - slack,
		},
		{
			name:    "all pullers found nothing",
			pullers: []pullState{{empty: ago(50)}, {empty: ago(300)}},
			want:    1_000_000 - 300 - slack,
		},
		{
			name:   "one puller found nothing",
			recent: []sample{{ago(100), repeat(5, 900_000)}}, pullers: []pullState{{empty: ago(50)}, {}},
			want: 900_000 - slack,
		},
		{
			name:  "all found nothing, but something waits",
			queue: []*batch{{sample: repeat(1, 800_000)}}, pullers: []pullState{{empty: ago(50)}, {empty: ago(300)}},
			want: 800_000 - slack,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &reader{cfg: PubSubConfig{SlackMillis: slack}, queue: test.queue, pullers: test.pullers}
			r.times.recent = test.recent
			if got := r.watermark(now); got != test.want {
				t.Errorf("watermark = %d, want %d", got, test.want)
			}
		})
	}
}

func TestEmptyResponsesAreForgottenWhenSomethingArrives(t *testing.T) {
	r := &reader{pullers: make([]pullState, 2), wake: make(chan struct{}, 1)}
	r.pulled(0, &batch{})
	r.pulled(1, &batch{})
	r.pulled(1, &batch{})
	if !r.idle(1) || r.idle(2) {
		t.Error("not idle by one response each, or by two")
	}
	r.pulled(0, &batch{messages: make([]logentry.Message, 1)})
	r.queue = nil
	if r.idle(1) {
		t.Error("idle although something was pulled since")
	}
	if r.pullers[1].empty.IsZero() || !r.pullers[0].empty.IsZero() {
		t.Error("what a puller found says something of what another one did not find")
	}
}

func TestChunks(t *testing.T) {
	ids := func(n, length int) []string { return slices.Repeat([]string{strings.Repeat("x", length)}, n) }
	tests := []struct {
		name string
		ids  []string
		want []int
	}{
		{"none", nil, nil},
		{"one", ids(1, 10), []int{1}},
		{"as many as fit", ids(2500, 10), []int{2500}},
		{"one more", ids(2501, 10), []int{2500, 1}},
		{"long ones", ids(2500, 400), []int{1216, 1216, 68}},
		{"one that is too long by itself", ids(2, 600<<10), []int{1, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []int
			for _, c := range chunks(test.ids) {
				got = append(got, len(c))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
