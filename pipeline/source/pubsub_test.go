package source

import (
	"context"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
)

// runPubSub runs a job that reads with cfg into a collector, and waits for its
// end.
func runPubSub(t *testing.T, cfg PubSubConfig) (*collector, beam.PipelineResult) {
	t.Helper()
	p, s := beam.NewPipelineWithRoot()
	c := collect(t, s, PubSub(s, cfg))
	r, err := runners["prism"](context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

// requireOnce fails unless exactly n different messages were delivered, each
// once.
func requireOnce(t *testing.T, c *collector, n int) {
	t.Helper()
	counts := c.count()
	if len(counts) != n {
		t.Errorf("%d different messages were delivered, want %d", len(counts), n)
	}
	for m, times := range counts {
		if times != 1 {
			t.Errorf("message %s was delivered %d times", m, times)
			return
		}
	}
}

func TestPubSubDeliversAndAcknowledgesEachOnce(t *testing.T) {
	const n = 20_000
	f := newFakeServer(t)
	f.publish("m", n, nil)
	cfg := f.config()
	cfg.UntilIdle = true
	begin := time.Now()
	c, r := runPubSub(t, cfg)
	t.Logf("%v", time.Since(begin))
	requireOnce(t, c, n)
	if got, want := f.count(), (fakeCounts{acked: n, acks: n}); got != want {
		t.Errorf("the server counts %+v, want %+v", got, want)
	}
	for name, want := range map[string]int64{"pubsub_messages_read": n, "pubsub_acks": n, "pubsub_nacks": 0} {
		if got := counter(t, r, name); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
}
