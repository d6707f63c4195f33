package distinct

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	//lint:ignore SA1019 users run their tests on it, so it has to work
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"github.com/google/go-cmp/cmp"
)

func init() {
	beam.RegisterType(reflect.TypeFor[sample]())
	register.DoFn2x0[sample, func(beam.EventTime, int64, []byte)](&packFn{})
	register.DoFn1x0[Restatement](&recordFn{})
	register.DoFn1x0[TooLate](&recordLateFn{})
}

func TestMain(m *testing.M) { ptest.Main(m) }

// sample is an entry of key Key, number N and event time At, in seconds.
type sample struct {
	Key string
	N   int64
	At  int64
}

// packFn packs every sample in shard N%2, under FinishBundle as real ones do.
type packFn struct{ packer Packer }

func (fn *packFn) ProcessElement(s sample, emit func(beam.EventTime, int64, []byte)) {
	id := NewID(uint64(s.N)<<1, s.N%5 == 0)
	fn.packer.Add(s.N%2, []byte(s.Key), id, s.At*1e6, []byte(fmt.Sprint(s.N)), emit)
}

func (fn *packFn) FinishBundle(emit func(beam.EventTime, int64, []byte)) { fn.packer.Flush(emit) }

// recordFn keeps, per test, the absolute counts of each window and key.
type recordFn struct{ Test string }

var recorded = struct {
	sync.Mutex
	tests map[string]map[string][]string
}{tests: map[string]map[string][]string{}}

func (fn *recordFn) ProcessElement(r Restatement) {
	for _, g := range r.Groups {
		key := fmt.Sprintf("%d/%d/%s", r.WindowStart/1e6, r.Shard, g.Key)
		record(fn.Test, key, fmt.Sprintf("pane %d: %d-%d %s", r.Pane, g.Count, g.Flagged, g.Value))
	}
}

// recordLateFn keeps what was too late.
type recordLateFn struct{ Test string }

func (fn *recordLateFn) ProcessElement(l TooLate) {
	for _, g := range l.Groups {
		record(fn.Test, fmt.Sprintf("too late %d/%d/%s", l.WindowStart/1e6, l.Shard, g.Key), fmt.Sprint(g.Count))
	}
}

func record(test, key, line string) {
	recorded.Lock()
	defer recorded.Unlock()
	m := recorded.tests[test]
	if m == nil {
		m = map[string][]string{}
		recorded.tests[test] = m
	}
	m[key] = append(m[key], line)
}

func panes(t *testing.T) map[string][]string {
	recorded.Lock()
	defer recorded.Unlock()
	return recorded.tests[t.Name()]
}

func TestRestateBounded(t *testing.T) {
	samples := []any{
		sample{"a", 1, 10}, sample{"a", 1, 10}, sample{"a", 3, 20}, sample{"a", 5, 61},
		sample{"b", 2, 59}, sample{"b", 10, 58}, sample{"a", 2, -1},
	}
	want := map[string][]string{
		"0/1/a":   {"pane 0: 2-0 3"},
		"60/1/a":  {"pane 0: 1-1 5"},
		"0/0/b":   {"pane 0: 2-1 2"},
		"-60/0/a": {"pane 0: 1-0 2"},
	}
	for name, run := range map[string]func(context.Context, *beam.Pipeline) (beam.PipelineResult, error){
		"direct": direct.Execute, "prism": prism.Execute,
	} {
		t.Run(name, func(t *testing.T) {
			p, s := beam.NewPipelineWithRoot()
			packed := beam.ParDo(s, &packFn{}, beam.Create(s, samples...))
			beam.ParDo0(s, &recordFn{t.Name()}, Restate(s, packed, Options{Name: "test"}))
			if _, err := run(context.Background(), p); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, panes(t)); diff != "" {
				t.Errorf("restated (-want +got):\n%s", diff)
			}
		})
	}
}

// script is a stream of samples and watermarks.
type script struct {
	t *testing.T
	c teststream.Config
}

func (c *script) add(samples ...sample) {
	c.t.Helper()
	for _, s := range samples {
		if err := c.c.AddElements(int64(mtime.FromTime(time.Unix(s.At, 0))), s); err != nil {
			c.t.Fatal(err)
		}
	}
}

// watermark advances the watermark, in seconds.
func (c *script) watermark(at int64) {
	c.t.Helper()
	if err := c.c.AdvanceWatermark(int64(mtime.FromTime(time.Unix(at, 0)))); err != nil {
		c.t.Fatal(err)
	}
}

// run ends the stream and returns the panes of each window and key.
func (c *script) run(opts Options) map[string][]string {
	c.t.Helper()
	c.c.AdvanceWatermarkToInfinity()
	p, s := beam.NewPipelineWithRoot()
	packed := beam.ParDo(s, &packFn{}, teststream.Create(s, c.c))
	opts.Name, opts.Streaming = "test", true
	restated, tooLate := RestateAll(s, packed, opts)
	beam.ParDo0(s, &recordFn{c.t.Name()}, restated)
	beam.ParDo0(s, &recordLateFn{c.t.Name()}, tooLate)
	result, err := prism.Execute(context.Background(), p)
	if err != nil {
		c.t.Fatal(err)
	}
	var counted, emitted int64
	for _, m := range result.Metrics().AllMetrics().Counters() {
		if m.Name() == "test_too_late" {
			counted += m.Result()
		}
	}
	got := panes(c.t)
	for key, lines := range got {
		if strings.HasPrefix(key, "too late ") {
			emitted += int64(len(lines))
		}
	}
	if counted != emitted {
		c.t.Errorf("%d entries are counted as too late, %d are given", counted, emitted)
	}
	return got
}

// Early, on time, late, too late, and each of them again.
func TestRestateStreaming(t *testing.T) {
	c := script{t: t, c: teststream.NewConfig()}
	c.add(sample{"a", 1, 2}, sample{"a", 1, 2}) // a duplicate on time
	c.watermark(12)                             // early
	c.add(sample{"a", 1, 2})                    // a duplicate alone makes no pane
	c.watermark(21)
	c.add(sample{"a", 3, 25})
	c.watermark(33) // early again
	c.add(sample{"a", 11, 50})
	c.watermark(70) // closes minute 0
	c.add(sample{"a", 5, 30}, sample{"b", 5, 40}, sample{"a", 7, 75})
	c.watermark(85) // too early for late entries
	c.watermark(121)
	c.add(sample{"a", 5, 30}) // a late duplicate
	c.watermark(170)
	c.add(sample{"a", 9, 59}) // just in time
	c.watermark(1000)         // past the allowed lateness
	c.add(sample{"a", 13, 50}, sample{"a", 1, 2}, sample{"a", 15, 119})
	c.add(sample{"a", 17, 990})
	got := c.run(Options{AllowedLateness: 2 * time.Minute, EarlyFirings: 10 * time.Second})
	want := map[string][]string{
		"0/1/a":   {"pane 0: 1-0 1", "pane 1: 2-0 3", "pane 2: 3-0 11", "pane 3: 4-1 11", "pane 4: 5-1 9"},
		"0/1/b":   {"pane 3: 1-1 5"},
		"60/1/a":  {"pane 0: 1-0 7"},
		"960/1/a": {"pane 0: 1-0 17"},
		// Of minute 0: one that was never counted, and one that was; one of minute 1.
		"too late 0/1/a":  {"1", "1"},
		"too late 60/1/a": {"1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panes (-want +got):\n%s", diff)
	}
}

// Without early firings a window has one pane, however its entries come.
func TestRestateAtTheEnd(t *testing.T) {
	c := script{t: t, c: teststream.NewConfig()}
	for i := range int64(11) {
		c.add(sample{"a", 2*i + 1, 5 * i})
		c.watermark(5*i + 1)
	}
	c.watermark(61)
	got := c.run(Options{AllowedLateness: 2 * time.Minute})
	if diff := cmp.Diff(map[string][]string{"0/1/a": {"pane 0: 11-2 21"}}, got); diff != "" {
		t.Errorf("panes (-want +got):\n%s", diff)
	}
}

// A shard that was idle knows what is late when entries come again, and what came
// before any watermark is never too late.
func TestRestateAfterIdling(t *testing.T) {
	c := script{t: t, c: teststream.NewConfig()}
	c.add(sample{"a", 1, 5000}, sample{"b", 3, 10}) // in no order
	c.watermark(5010)
	c.watermark(9000)
	c.add(sample{"a", 5, 5000}) // too late
	c.add(sample{"a", 7, 9001})
	c.watermark(9100)
	c.add(sample{"a", 9, 9002}) // late
	got := c.run(Options{AllowedLateness: 2 * time.Minute, EarlyFirings: 10 * time.Second})
	last := map[string]string{}
	for key, panes := range got {
		_, last[key], _ = strings.Cut(panes[len(panes)-1], ": ")
	}
	want := map[string]string{"0/1/b": "1-0 3", "4980/1/a": "1-0 1", "9000/1/a": "2-0 9", "too late 4980/1/a": ""}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("last panes (-want +got):\n%s\nall: %v", diff, got)
	}
}

func TestWindowStart(t *testing.T) {
	for in, want := range map[int64]int64{0: 0, 59_999_999: 0, 60_000_000: 60_000_000, -1: -60_000_000, -60_000_000: -60_000_000} {
		if got := WindowStart(in); got != want {
			t.Errorf("WindowStart(%d) = %d, want %d", in, got, want)
		}
	}
}

// A window [0, 60 s) with two minutes of lateness is on time until the watermark is at
// its end, late from then on, and closed when the watermark is two minutes further.
func TestJudge(t *testing.T) {
	sched := newSchedule(Options{AllowedLateness: 2 * time.Minute, EarlyFirings: 10 * time.Second})
	for _, test := range []struct {
		passed int64
		want   timeliness
	}{
		{unset, onTime}, {-5e6, onTime}, {0, onTime}, {60e6 - 1, onTime},
		{60e6, late}, {60e6 + 1, late}, {180e6 - 1, late},
		{180e6, tooLate}, {180e6 + 1, tooLate}, {math.MaxInt64, tooLate},
	} {
		if got := sched.judge(&clock{passed: test.passed}, 0); got != test.want {
			t.Errorf("at %d: %d, want %d", test.passed, got, test.want)
		}
	}
	for at, want := range map[int64]int64{0: 10e6, 1: 10e6, 10e6 - 1: 10e6, 10e6: 20e6, 50e6: 60e6, 59e6: 60e6, 60e6: 70e6, -1: 0, -60e6: -50e6} {
		if got := sched.tick(at); got != want {
			t.Errorf("the tick after %d is at %d, want %d", at, got, want)
		}
	}
	// An interval that does not divide the minute begins anew with each.
	sched.early = 25e6
	for at, want := range map[int64]int64{0: 25e6, 25e6: 50e6, 50e6: 60e6, 60e6: 85e6} {
		if got := sched.tick(at); got != want {
			t.Errorf("every 25 s: the tick after %d is at %d, want %d", at, got, want)
		}
	}
}

// Entries at the first and the last instant of a window are in it, and what comes
// exactly when the watermark is at its end, or at that of its lateness, is late, or too
// late.
func TestRestateAtTheBoundary(t *testing.T) {
	c := script{t: t, c: teststream.NewConfig()}
	c.add(sample{"a", 1, 0}, sample{"a", 3, 59}, sample{"a", 5, 60})
	c.watermark(60)
	c.add(sample{"a", 7, 59})
	c.watermark(119)
	c.watermark(180)
	c.add(sample{"a", 9, 59}, sample{"a", 11, 60})
	got := c.run(Options{AllowedLateness: 2 * time.Minute})
	want := map[string][]string{
		"0/1/a":          {"pane 0: 2-0 3", "pane 1: 3-0 7"},
		"60/1/a":         {"pane 0: 1-1 5", "pane 1: 2-1 11"},
		"too late 0/1/a": {"1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panes (-want +got):\n%s", diff)
	}
}

// Clocks that are wrong by thousands of years, either way, close no window of others
// and keep none open; their own entries are counted.
func TestRestateWildTimes(t *testing.T) {
	const year1, year9999 = -62135596800, 253402300799
	c := script{t: t, c: teststream.NewConfig()}
	c.add(sample{"a", 1, 5000}, sample{"a", 3, year9999})
	c.watermark(5001)
	c.add(sample{"a", 5, year1}, sample{"a", 7, year9999})
	c.watermark(5045)
	c.add(sample{"a", 9, 5044})
	c.watermark(9000)
	c.add(sample{"a", 11, 5000}) // too late, as if the others were not
	c.add(sample{"a", 13, 9001})
	got := c.run(Options{AllowedLateness: 2 * time.Minute, EarlyFirings: 10 * time.Second})
	last := map[string]string{}
	for key, panes := range got {
		_, last[key], _ = strings.Cut(panes[len(panes)-1], ": ")
	}
	want := map[string]string{
		"4980/1/a": "1-0 1", "5040/1/a": "1-0 9", "9000/1/a": "1-0 13",
		fmt.Sprint(year9999-59, "/1/a"): "2-0 7",
		"too late 4980/1/a":             "",
	}
	year1Counted := fmt.Sprint(year1, "/1/a")
	if _, counted := last[year1Counted]; counted {
		want[year1Counted] = "1-1 5"
	} else {
		want["too late "+year1Counted] = ""
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("last panes (-want +got):\n%s\nall: %v", diff, got)
	}
}

// A clock survives its encoding.
func TestClockEncoding(t *testing.T) {
	for _, c := range []clock{
		newClock(),
		{passed: 120e6, armed: 130e6, late: true},
		{passed: unset, armed: -60e6, ends: []int64{-60e6, 0, 60e6, 4070908800e6}},
	} {
		got := newClock()
		if err := got.decode(c.append(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got, cmp.AllowUnexported(clock{})); diff != "" {
			t.Errorf("clock (-want +got):\n%s", diff)
		}
	}
	for _, broken := range [][]byte{{}, {1}, {1, 1}, {1, 1, 0, 0x80}} {
		if err := new(clock).decode(broken); err == nil {
			t.Errorf("%x: no error", broken)
		}
	}
}
