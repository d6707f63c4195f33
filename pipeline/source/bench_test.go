package source

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/local/pubsubd"
	"pixelbeam/transforms/logentry"
)

func init() {
	register.Function2x0(drop)
}

// drop is a sink that does nothing.
func drop(logentry.Batch, func(string, int)) {}

// BenchmarkPubSub reads a backlog of 1,575-byte messages from pubsubd, in the
// same process, on Prism, to the last acknowledgement. The start of the job and
// the detection of its end are in the figure.
func BenchmarkPubSub(b *testing.B) {
	const n = 200_000
	for b.Loop() {
		b.StopTimer()
		server, err := pubsubd.Start("127.0.0.1:0", pubsubd.Options{})
		if err != nil {
			b.Fatal(err)
		}
		const topic = "projects/p/topics/t"
		if err := errors.Join(server.CreateTopic(topic), server.CreateSubscription(testSubscription, topic)); err != nil {
			b.Fatal(err)
		}
		messages := make([]pubsubd.Message, 1000)
		for i := range messages {
			messages[i].Data = bytes.Repeat([]byte{'x'}, 1575)
			messages[i].Attributes = map[string]string{timestampAttribute: time.Now().UTC().Format(time.RFC3339Nano)}
		}
		for range n / len(messages) {
			if _, err := server.Publish(topic, messages...); err != nil {
				b.Fatal(err)
			}
		}
		p, s := beam.NewPipelineWithRoot()
		col := PubSub(s, PubSubConfig{Subscription: testSubscription, Endpoint: server.Addr(), UntilIdle: true, IdleResponses: 1})
		beam.ParDo0(s, discard, beam.GroupByKey(s, beam.ParDo(s, drop, col)))
		before := Stats()
		b.StartTimer()
		begin := time.Now()
		var last time.Duration // until the last acknowledgement
		done := make(chan error, 1)
		go func() {
			_, err := runners["prism"](context.Background(), p)
			done <- err
		}()
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					b.Fatal(err)
				}
				running = false
			case <-time.After(time.Millisecond):
				if last == 0 && Stats().Acked-before.Acked == n {
					last = time.Since(begin)
				}
			}
		}
		b.StopTimer()
		if got := Stats().Acked - before.Acked; got != n {
			b.Fatalf("%d messages were acknowledged, want %d", got, n)
		}
		b.ReportMetric(n/last.Seconds(), "messages/s")
		server.Close()
		b.StartTimer()
	}
}
