package distinct

import (
	"context"
	"fmt"
	"reflect"
	"slices"
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
	id := NewID(uint64(s.N), 0, s.N%5 == 0)
	fn.packer.Add(s.N%2, []byte(s.Key), id, s.At*1e6, []byte(fmt.Sprint(s.N)), emit)
}

func (fn *packFn) FinishBundle(emit func(beam.EventTime, int64, []byte)) { fn.packer.Flush(emit) }

// recordFn keeps, per test, the latest absolute counts of each window and key.
type recordFn struct{ Test string }

var recorded = struct {
	sync.Mutex
	tests map[string]map[string][]string
}{tests: map[string]map[string][]string{}}

func (fn *recordFn) ProcessElement(r Restatement) {
	recorded.Lock()
	defer recorded.Unlock()
	m := recorded.tests[fn.Test]
	if m == nil {
		m = map[string][]string{}
		recorded.tests[fn.Test] = m
	}
	for _, g := range r.Groups {
		key := fmt.Sprintf("%d/%d/%s", r.WindowStart/1e6, r.Shard, g.Key)
		m[key] = append(m[key], fmt.Sprintf("pane %d: %d-%d %s", r.Pane, g.Count, g.Flagged, g.Value))
	}
}

func restated(t *testing.T) map[string][]string {
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
			beam.ParDo0(s, &recordFn{t.Name()}, Restate(s, packed, Options{}))
			if _, err := run(context.Background(), p); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, restated(t)); diff != "" {
				t.Errorf("restated (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRestateStreaming(t *testing.T) {
	c := teststream.NewConfig()
	add := func(s sample) {
		if err := c.AddElements(int64(mtime.FromTime(time.Unix(s.At, 0))), s); err != nil {
			t.Fatal(err)
		}
	}
	add(sample{"a", 1, 10})
	add(sample{"a", 1, 10})                                       // a duplicate on time
	c.AdvanceWatermark(int64(mtime.FromTime(time.Unix(70, 0))))   // closes minute 0
	add(sample{"a", 3, 30})                                       // late
	add(sample{"b", 5, 40})                                       // late, another key
	c.AdvanceWatermark(int64(mtime.FromTime(time.Unix(80, 0))))   //
	add(sample{"a", 1, 10})                                       // a late duplicate
	c.AdvanceWatermark(int64(mtime.FromTime(time.Unix(90, 0))))   //
	c.AdvanceWatermark(int64(mtime.FromTime(time.Unix(1000, 0)))) // past the allowed lateness
	add(sample{"a", 7, 50})                                       // too late
	c.AdvanceWatermarkToInfinity()

	p, s := beam.NewPipelineWithRoot()
	packed := beam.ParDo(s, &packFn{}, teststream.Create(s, c))
	beam.ParDo0(s, &recordFn{t.Name()}, Restate(s, packed, Options{Streaming: true, AllowedLateness: 2 * time.Minute}))
	if _, err := prism.Execute(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	got := restated(t)
	// The two late elements may share a pane or not, so the pane numbers of the
	// late results are not fixed; the last result is.
	last := map[string]string{}
	for key, panes := range got {
		slices.Sort(panes)
		last[key] = panes[len(panes)-1][len("pane 0: "):]
	}
	want := map[string]string{"0/1/a": "2-0 3", "0/1/b": "1-1 5"}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("last restatements (-want +got):\n%s\nall: %v", diff, got)
	}
	if len(got["0/1/a"]) != 2 || got["0/1/a"][0] != "pane 0: 1-0 1" {
		t.Errorf("panes of a: %v, want the on-time one and one late one", got["0/1/a"])
	}
}

func TestWindowStart(t *testing.T) {
	for in, want := range map[int64]int64{0: 0, 59_999_999: 0, 60_000_000: 60_000_000, -1: -60_000_000, -60_000_000: -60_000_000} {
		if got := WindowStart(in); got != want {
			t.Errorf("WindowStart(%d) = %d, want %d", in, got, want)
		}
	}
}
