package source

import (
	"fmt"
	"slices"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/transforms/logentry"
)

// Every message is in one batch, which is as old as the oldest in it, and no
// batch is changed once it is emitted.
func TestBatch(t *testing.T) {
	for name, test := range map[string]struct {
		messages, size int
		want           []int // messages of each batch
	}{
		"none":     {0, 10, nil},
		"one":      {1, 10, []int{1}},
		"full":     {batchMessages, 10, []int{batchMessages}},
		"and more": {2*batchMessages + 3, 10, []int{batchMessages, batchMessages, 3}},
		"large":    {5, batchBytes / 2, []int{2, 2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var batches []logentry.Batch
			var times []beam.EventTime
			emit := func(et beam.EventTime, b logentry.Batch) {
				batches, times = append(batches, b), append(times, et)
			}
			fn := &batchFn{messages: []logentry.Message{{Origin: "of a bundle that failed"}}}
			fn.StartBundle(emit)
			for i := range test.messages {
				// The second of each batch, if there is one, is the oldest.
				et := beam.EventTime(1000 + i)
				if i%2 == 1 {
					et = beam.EventTime(i)
				}
				fn.ProcessElement(et, logentry.Message{Data: make([]byte, test.size), Origin: fmt.Sprint(i)}, emit)
			}
			fn.FinishBundle(emit)
			var sizes []int
			n := 0
			for i, b := range batches {
				sizes = append(sizes, len(b.Messages))
				want := beam.EventTime(1000 + n)
				if len(b.Messages) > 1 {
					want = beam.EventTime(n + 1 - n%2)
				}
				if times[i] != want && len(b.Messages) > 1 {
					t.Errorf("batch %d has time %d, want %d", i, times[i], want)
				}
				for _, m := range b.Messages {
					if m.Origin != fmt.Sprint(n) {
						t.Fatalf("message %q, want %d", m.Origin, n)
					}
					n++
				}
			}
			if !slices.Equal(sizes, test.want) {
				t.Errorf("batches of %v, want %v", sizes, test.want)
			}
		})
	}
}
