package source

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	//lint:ignore SA1019 users run their batch tests on it
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/logentry"
)

func TestMain(m *testing.M) {
	flag.Parse()
	beam.Init()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1})))
	log.SetLogger(&log.Standard{Level: log.SevFatal})
	os.Exit(m.Run())
}

func init() {
	dofn.Register[collectFn](func(f func(beam.EventTime, logentry.Batch, func(string, int)), a []any) []any {
		f(a[0].(beam.EventTime), a[1].(logentry.Batch), a[2].(func(string, int)))
		return nil
	})
	register.Emitter2[string, int]()
	register.Iter1[int]()
	register.Function2x0(discard)
}

// runners are the in-process runners; both must read files alike.
var runners = map[string]func(context.Context, *beam.Pipeline) (beam.PipelineResult, error){
	"prism":  prism.Execute,
	"direct": direct.Execute,
}

// collector keeps what a pipeline of this process delivered.
type collector struct {
	mu       sync.Mutex
	messages []logentry.Message
	times    []beam.EventTime // of the batches
}

func (c *collector) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.messages)
}

// count returns how often each message text was delivered.
func (c *collector) count() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for _, m := range c.messages {
		out[string(m.Data)]++
	}
	return out
}

var (
	collectors   sync.Map // id -> *collector
	collectorIDs atomic.Int64
)

// collectFn appends to a collector of this process and emits nothing. Its
// output is consumed all the same, because Prism spins on a stage without any.
type collectFn struct{ ID string }

func (fn *collectFn) ProcessElement(et beam.EventTime, b logentry.Batch, _ func(string, int)) {
	v, _ := collectors.Load(fn.ID)
	c := v.(*collector)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = append(c.messages, b.Messages...)
	c.times = append(c.times, et)
}

func discard(_ string, _ func(*int) bool) {}

// collect ends a pipeline, of batches, in a new collector.
func collect(t testing.TB, s beam.Scope, col beam.PCollection) *collector {
	id := fmt.Sprint(collectorIDs.Add(1))
	c := &collector{}
	collectors.Store(id, c)
	t.Cleanup(func() { collectors.Delete(id) })
	beam.ParDo0(s, discard, beam.GroupByKey(s, beam.ParDo(s, &collectFn{ID: id}, col)))
	return c
}

// counter returns the committed or, failing that, attempted value of one
// counter of this package.
func counter(t testing.TB, r beam.PipelineResult, name string) int64 {
	t.Helper()
	var n int64
	for _, c := range r.Metrics().Query(func(q beam.MetricResult) bool { return q.Name() == name }).Counters() {
		n += c.Result()
	}
	return n
}

// captureLog has warnings and errors kept for the test, and returns what was so far.
func captureLog(t *testing.T) (so func() string) {
	l := &lines{}
	log.SetLogger(l)
	t.Cleanup(func() { log.SetLogger(&log.Standard{Level: log.SevFatal}) })
	return func() string {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Join(l.text, "\n")
	}
}

type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Log(_ context.Context, sev log.Severity, _ int, msg string) {
	if sev < log.SevWarn {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, msg)
}
