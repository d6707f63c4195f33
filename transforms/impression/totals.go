package impression

import (
	"context"
	"maps"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/transforms/logentry"
)

// Totals counts entries by outcome. Read = Impressions + the sums of both maps.
type Totals struct {
	Impressions       int64
	Rejected, Ignored map[logentry.Reason]int64
}

// Read returns the number of entries counted.
func (t *Totals) Read() int64 {
	n := t.Impressions
	for _, m := range []map[logentry.Reason]int64{t.Rejected, t.Ignored} {
		for _, c := range m {
			n += c
		}
	}
	return n
}

func (t *Totals) count(v Verdict) {
	if t.Rejected == nil {
		t.Rejected, t.Ignored = make(map[logentry.Reason]int64), make(map[logentry.Reason]int64)
	}
	switch v.Kind {
	case Impression:
		t.Impressions++
	case Rejected:
		t.Rejected[v.Reason]++
	case Ignored:
		t.Ignored[v.Reason]++
	}
}

func (t *Totals) addAll(o *Totals) {
	if t.Rejected == nil {
		t.Rejected, t.Ignored = make(map[logentry.Reason]int64), make(map[logentry.Reason]int64)
	}
	t.Impressions += o.Impressions
	for r, n := range o.Rejected {
		t.Rejected[r] += n
	}
	for r, n := range o.Ignored {
		t.Ignored[r] += n
	}
}

func (t *Totals) reset() {
	t.Impressions = 0
	clear(t.Rejected)
	clear(t.Ignored)
}

const namespace = "pixelbeam"

var (
	readCounter       = beam.NewCounter(namespace, "entries_read")
	impressionCounter = beam.NewCounter(namespace, "impressions")
)

// report adds a bundle's totals to the Beam counters, which are the books, and
// to the totals of the process, which serve status lines. A Beam counter costs
// more than a field, so it is touched once per bundle.
func (t *Totals) report(ctx context.Context) {
	readCounter.Inc(ctx, t.Read())
	impressionCounter.Inc(ctx, t.Impressions)
	for r, n := range t.Rejected {
		beam.NewCounter(namespace, "rejected_"+string(r)).Inc(ctx, n)
	}
	for r, n := range t.Ignored {
		beam.NewCounter(namespace, "ignored_"+string(r)).Inc(ctx, n)
	}
	process.Lock()
	defer process.Unlock()
	process.addAll(t)
}

var process struct {
	sync.Mutex
	Totals
}

// ProcessTotals returns what this process has counted so far. A bundle that a
// runner retried is counted twice here.
func ProcessTotals() Totals {
	process.Lock()
	defer process.Unlock()
	return Totals{process.Impressions, maps.Clone(process.Rejected), maps.Clone(process.Ignored)}
}
