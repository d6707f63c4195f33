package pubsubd

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// entryBytes is about the size of a load balancer's log entry.
const entryBytes = 1600

func entry() Message {
	return Message{
		Data:       bytes.Repeat([]byte("e"), entryBytes),
		Attributes: map[string]string{"logging.googleapis.com/timestamp": "2026-01-02T03:04:05.678901Z"},
	}
}

// logs runs a benchmark with and without a folder.
func logs(b *testing.B, f func(b *testing.B, opts Options)) {
	b.Run("memory", func(b *testing.B) { f(b, Options{}) })
	b.Run("file", func(b *testing.B) { f(b, Options{Dir: b.TempDir()}) })
}

func report(b *testing.B, messages int) {
	b.SetBytes(entryBytes)
	b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkPublish is in-process publishing of 1 or 1000 messages a call by as
// many goroutines as there are cores; what is published is acknowledged outside
// the time measured.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			logs(b, func(b *testing.B, opts Options) {
				s := start(b, opts)
				batch := make([]Message, size)
				for i := range batch {
					batch[i] = entry()
				}
				b.ReportAllocs()
				for done := 0; done < b.N; {
					n := min(b.N-done, 100_000)
					spread(n/size+1, func(int) {
						if _, err := s.Publish(testTopic, batch...); err != nil {
							b.Error(err)
						}
					})
					done += n
					b.StopTimer()
					drain(s)
					b.StartTimer()
				}
				report(b, b.N)
			})
		})
	}
}

// spread calls f n times from as many goroutines as there are cores.
func spread(n int, f func(i int)) {
	var running sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	for c := range cores {
		running.Go(func() {
			for i := c; i < n; i += cores {
				f(i)
			}
		})
	}
	running.Wait()
}

// drain acknowledges everything, without a network.
func drain(s *Server) {
	sub := s.subscriptions[testSub]
	for {
		ds, _ := sub.take(context.Background(), newConsumer(), limits{messages: 1000, bytes: 1 << 30}, defaultAckDeadline)
		if len(ds) == 0 {
			return
		}
		leases := make([]uint64, len(ds))
		for i, d := range ds {
			leases[i] = d.lease
		}
		sub.ack(leases)
	}
}

// BenchmarkPublishGRPC is publishing through the client, 1000 messages a request.
func BenchmarkPublishGRPC(b *testing.B) {
	logs(b, func(b *testing.B, opts Options) {
		s := start(b, opts)
		topics, _ := adminClients(b, s)
		e := entry()
		req := &pubsubpb.PublishRequest{Topic: testTopic}
		for range 1000 {
			req.Messages = append(req.Messages, &pubsubpb.PubsubMessage{Data: e.Data, Attributes: e.Attributes})
		}
		b.ReportAllocs()
		for done := 0; done < b.N; {
			n := min(b.N-done, 100_000)
			spread(n/1000+1, func(int) {
				if _, err := topics.Publish(b.Context(), req); err != nil {
					b.Error(err)
				}
			})
			done += n
			b.StopTimer()
			drain(s)
			b.StartTimer()
		}
		report(b, b.N)
	})
}

// BenchmarkPullAckGRPC is pulling 1000 messages and acknowledging them through the
// client, with a backlog of 10,000 or 200,000 messages.
func BenchmarkPullAckGRPC(b *testing.B) {
	for _, backlog := range []int{10_000, 200_000} {
		b.Run(fmt.Sprintf("backlog=%d", backlog), func(b *testing.B) {
			logs(b, func(b *testing.B, opts Options) {
				s := start(b, opts)
				_, subs := adminClients(b, s)
				batch := make([]Message, 1000)
				for i := range batch {
					batch[i] = entry()
				}
				fill := func(n int) {
					for range n / len(batch) {
						if _, err := s.Publish(testTopic, batch...); err != nil {
							b.Fatal(err)
						}
					}
				}
				fill(backlog)
				b.ReportAllocs()
				b.ResetTimer()
				total := 0
				for total < b.N {
					var mu sync.Mutex
					round := 0
					spread(10, func(int) {
						got := pullOnce(b, subs, 1000)
						ack(b, subs, got...)
						mu.Lock()
						round += len(got)
						mu.Unlock()
					})
					total += round
					b.StopTimer()
					fill(round)
					b.StartTimer()
				}
				report(b, total)
			})
		})
	}
}
