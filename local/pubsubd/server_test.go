package pubsubd

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	vkit "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	testTopic = "projects/p/topics/t"
	testSub   = "projects/p/subscriptions/s"
)

// clock is a clock that tests set forward.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// start runs a server with the test topic and subscription until the test ends.
func start(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Start("127.0.0.1:0", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeServer(t, s) })
	if err := s.CreateTopic(testTopic); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateSubscription(testSub, testTopic); err != nil {
		t.Fatal(err)
	}
	return s
}

func closeServer(t testing.TB, s *Server) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func dial(s *Server) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(s.Addr()),
		option.WithoutAuthentication(),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

func adminClients(t testing.TB, s *Server) (*vkit.TopicAdminClient, *vkit.SubscriptionAdminClient) {
	t.Helper()
	topics, err := vkit.NewTopicAdminClient(t.Context(), dial(s)...)
	if err != nil {
		t.Fatal(err)
	}
	subs, err := vkit.NewSubscriptionAdminClient(t.Context(), dial(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		topics.Close()
		subs.Close()
	})
	return topics, subs
}

// publish publishes texts in process.
func publish(t testing.TB, s *Server, texts ...string) []string {
	t.Helper()
	var msgs []Message
	for _, text := range texts {
		msgs = append(msgs, Message{Data: []byte(text), Attributes: map[string]string{"length": strconv.Itoa(len(text))}})
	}
	ids, err := s.Publish(testTopic, msgs...)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func pullOnce(t testing.TB, c *vkit.SubscriptionAdminClient, max int32) []*pubsubpb.ReceivedMessage {
	t.Helper()
	resp, err := c.Pull(t.Context(), &pubsubpb.PullRequest{Subscription: testSub, MaxMessages: max})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetReceivedMessages()
}

func ack(t testing.TB, c *vkit.SubscriptionAdminClient, msgs ...*pubsubpb.ReceivedMessage) {
	t.Helper()
	err := c.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{Subscription: testSub, AckIds: ackIDs(msgs)})
	if err != nil {
		t.Fatal(err)
	}
}

func modify(t testing.TB, c *vkit.SubscriptionAdminClient, seconds int32, msgs ...*pubsubpb.ReceivedMessage) {
	t.Helper()
	err := c.ModifyAckDeadline(t.Context(), &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: testSub, AckIds: ackIDs(msgs), AckDeadlineSeconds: seconds,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func ackIDs(msgs []*pubsubpb.ReceivedMessage) []string {
	var ids []string
	for _, m := range msgs {
		ids = append(ids, m.GetAckId())
	}
	return ids
}

func texts(msgs []*pubsubpb.ReceivedMessage) string {
	var out []string
	for _, m := range msgs {
		out = append(out, string(m.GetMessage().GetData()))
	}
	return strings.Join(out, " ")
}

func wantTexts(t testing.TB, msgs []*pubsubpb.ReceivedMessage, want string) {
	t.Helper()
	if got := texts(msgs); got != want {
		t.Fatalf("messages %q, want %q", got, want)
	}
}

func wantCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Fatalf("code %v (%v), want %v", got, err, want)
	}
}

func wantStats(t testing.TB, s *Server, want Stats) {
	t.Helper()
	got, err := s.Stats(testSub)
	if err != nil {
		t.Fatal(err)
	}
	got.OldestUnacked = time.Time{}
	if got != want {
		t.Fatalf("stats %+v, want %+v", got, want)
	}
}

func TestPublishPullAck(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now, PullWait: time.Millisecond})
	topics, subs := adminClients(t, s)
	resp, err := topics.Publish(t.Context(), &pubsubpb.PublishRequest{Topic: testTopic, Messages: []*pubsubpb.PubsubMessage{
		{Data: []byte("one"), Attributes: map[string]string{"logging.googleapis.com/timestamp": "2026-01-02T03:04:05Z", "b": ""}},
		{Data: []byte{0xff, 0}, OrderingKey: "key"},
		{Attributes: map[string]string{"only": "attribute"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	published, err := s.Stats(testSub)
	if err != nil {
		t.Fatal(err)
	}
	if !published.OldestUnacked.Equal(now.Now()) {
		t.Errorf("oldest unacknowledged %v, want %v", published.OldestUnacked, now.Now())
	}

	got := pullOnce(t, subs, 10)
	if len(got) != 3 {
		t.Fatalf("%d messages, want 3", len(got))
	}
	for i, m := range got {
		if m.GetMessage().GetMessageId() != resp.GetMessageIds()[i] {
			t.Errorf("message %d has id %q, published as %q", i, m.GetMessage().GetMessageId(), resp.GetMessageIds()[i])
		}
		if i > 0 && got[i-1].GetMessage().GetMessageId() >= m.GetMessage().GetMessageId() {
			t.Errorf("id %q after %q", m.GetMessage().GetMessageId(), got[i-1].GetMessage().GetMessageId())
		}
		if at := m.GetMessage().GetPublishTime().AsTime(); !at.Equal(now.Now()) {
			t.Errorf("publish time %v, want %v", at, now.Now())
		}
	}
	first, second, third := got[0].GetMessage(), got[1].GetMessage(), got[2].GetMessage()
	if string(first.GetData()) != "one" || len(first.GetAttributes()) != 2 || first.GetAttributes()["logging.googleapis.com/timestamp"] != "2026-01-02T03:04:05Z" {
		t.Errorf("first message is %v", first)
	}
	if string(second.GetData()) != "\xff\x00" || second.GetOrderingKey() != "key" || second.GetAttributes() != nil {
		t.Errorf("second message is %v", second)
	}
	if len(third.GetData()) != 0 || third.GetAttributes()["only"] != "attribute" {
		t.Errorf("third message is %v", third)
	}
	wantStats(t, s, Stats{Published: 3, Outstanding: 3})
	if more := pullOnce(t, subs, 10); len(more) != 0 {
		t.Errorf("messages under lease were handed out: %v", more)
	}
	ack(t, subs, got[:2]...)
	ack(t, subs, got...) // again
	wantStats(t, s, Stats{Published: 3, Acked: 3})
	sub := s.subscriptions[testSub]
	if len(sub.leases) != 0 || sub.ready.head != nil || sub.again.head != nil {
		t.Error("something is kept of acknowledged messages")
	}
}

func TestPullTakesAtMostWhatIsAskedFor(t *testing.T) {
	s := start(t, Options{})
	_, subs := adminClients(t, s)
	publish(t, s, "a", "b", "c")
	wantTexts(t, pullOnce(t, subs, 2), "a b")
	wantTexts(t, pullOnce(t, subs, 2), "c")
}

func TestPullBoundsBytes(t *testing.T) {
	s := start(t, Options{})
	_, subs := adminClients(t, s)
	big := Message{Data: make([]byte, 4_000_000)}
	if _, err := s.Publish(testTopic, big, big, big); err != nil {
		t.Fatal(err)
	}
	if n := len(pullOnce(t, subs, 10)); n != 2 {
		t.Errorf("%d messages of 4 MB in one response, want 2", n)
	}
	if n := len(pullOnce(t, subs, 10)); n != 1 {
		t.Errorf("then %d, want 1", n)
	}
}

func TestPullWaitsForAMessage(t *testing.T) {
	s := start(t, Options{PullWait: time.Minute})
	_, subs := adminClients(t, s)
	got := make(chan []*pubsubpb.ReceivedMessage)
	for range 2 {
		go func() { got <- pullOnce(t, subs, 1) }()
	}
	waitFor(t, func() bool {
		sub := s.subscriptions[testSub]
		sub.mu.Lock()
		defer sub.mu.Unlock()
		return len(sub.waiting) == 2
	})
	publish(t, s, "a", "b") // one wake must reach both
	if texts := texts(<-got) + texts(<-got); texts != "ab" && texts != "ba" {
		t.Errorf("pulled %q", texts)
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for 20 s in vain")
		}
	}
}

func TestPullWithNothing(t *testing.T) {
	s := start(t, Options{PullWait: time.Millisecond})
	_, subs := adminClients(t, s)
	if got := pullOnce(t, subs, 1); len(got) != 0 {
		t.Errorf("pulled %v", got)
	}
	s2 := start(t, Options{PullWait: time.Hour})
	_, subs2 := adminClients(t, s2)
	//lint:ignore SA1019 clients may still set it
	resp, err := subs2.Pull(t.Context(), &pubsubpb.PullRequest{Subscription: testSub, MaxMessages: 1, ReturnImmediately: true})
	if err != nil || len(resp.GetReceivedMessages()) != 0 {
		t.Errorf("pulled %v, %v", resp, err)
	}
}

func TestCancelledPullLeasesNothing(t *testing.T) {
	s := start(t, Options{PullWait: time.Minute})
	_, subs := adminClients(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := subs.Pull(ctx, &pubsubpb.PullRequest{Subscription: testSub, MaxMessages: 1})
		ended <- err
	}()
	sub := s.subscriptions[testSub]
	waiting := func() int {
		sub.mu.Lock()
		defer sub.mu.Unlock()
		return len(sub.waiting)
	}
	waitFor(t, func() bool { return waiting() == 1 })
	cancel()
	wantCode(t, <-ended, codes.Canceled)
	waitFor(t, func() bool { return waiting() == 0 })
	publish(t, s, "a")
	wantStats(t, s, Stats{Published: 1, Backlog: 1})

	// Cancelled between lease and response.
	done, cancelDone := context.WithCancel(context.Background())
	deliveries, _ := sub.take(done, newConsumer(), limits{messages: 1, bytes: 1}, time.Minute)
	cancelDone()
	sub.putBack(deliveries)
	wantStats(t, s, Stats{Published: 1, Backlog: 1})
	wantTexts(t, pullOnce(t, subs, 1), "a")
	wantStats(t, s, Stats{Published: 1, Outstanding: 1})
}

func TestLeases(t *testing.T) {
	// Every step is done on message "a", leased at 0 s for 60 s; "b" is leased
	// with it and left alone.
	type step struct {
		at     int // seconds
		ack    bool
		modify int32 // -1: not
		want   string
	}
	tests := []struct {
		name  string
		steps []step
		acked int64
	}{
		{"held until the deadline", []step{{at: 59, modify: -1, want: ""}}, 0},
		{"redelivered after the deadline", []step{{at: 60, modify: -1, want: "a b"}}, 0},
		{"acknowledged in time", []step{{at: 59, ack: true, modify: -1}, {at: 61, modify: -1, want: "b"}}, 1},
		{"late acknowledgement", []step{{at: 61, ack: true, modify: -1, want: "b"}}, 1},
		{"extended", []step{{at: 50, modify: 30}, {at: 79, modify: -1, want: "b"}, {at: 80, modify: -1, want: "a"}}, 0},
		{"shortened", []step{{at: 0, modify: 10}, {at: 10, modify: -1, want: "a"}}, 0},
		{"late extension", []step{{at: 61, modify: 30, want: "b"}, {at: 91, modify: -1, want: "a"}}, 0},
		{"given back", []step{{at: 1, modify: 0, want: "a"}, {at: 59, modify: -1, want: ""}}, 0},
		{"given back and then acknowledged", []step{{at: 1, modify: 0}, {at: 2, ack: true, modify: -1, want: "a"}}, 0},
		{"given back and then extended", []step{{at: 1, modify: 0}, {at: 2, modify: 600, want: "a"}}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			now := newClock()
			s := start(t, Options{Now: now.Now, PullWait: time.Millisecond})
			_, subs := adminClients(t, s)
			publish(t, s, "a", "b")
			leased := pullOnce(t, subs, 10)
			wantTexts(t, leased, "a b")
			begin := now.Now()
			for i, step := range test.steps {
				now.advance(begin.Add(time.Duration(step.at) * time.Second).Sub(now.Now()))
				if step.ack {
					ack(t, subs, leased[0])
				}
				if step.modify >= 0 {
					modify(t, subs, step.modify, leased[0])
				}
				next := i == len(test.steps)-1 || step.want != ""
				if next {
					wantTexts(t, pullOnce(t, subs, 10), step.want)
				}
			}
			st, err := s.Stats(testSub)
			if err != nil || st.Acked != test.acked {
				t.Errorf("%d acknowledged (%v), want %d", st.Acked, err, test.acked)
			}
		})
	}
}

func TestAckOfAnEarlierLeaseIsIgnored(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now})
	_, subs := adminClients(t, s)
	publish(t, s, "a")
	before := pullOnce(t, subs, 1)
	now.advance(time.Minute)
	after := pullOnce(t, subs, 1)
	wantTexts(t, after, "a")
	ack(t, subs, before...)
	modify(t, subs, 0, before...)
	wantStats(t, s, Stats{Published: 1, Outstanding: 1, Redelivered: 1})
	ack(t, subs, after...)
	wantStats(t, s, Stats{Published: 1, Acked: 1, Redelivered: 1})
}

func TestExpiryWakesAWaitingPull(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now, PullWait: time.Minute})
	_, subs := adminClients(t, s)
	publish(t, s, "a")
	pullOnce(t, subs, 1)
	got := make(chan []*pubsubpb.ReceivedMessage)
	go func() { got <- pullOnce(t, subs, 1) }()
	now.advance(time.Minute)
	wantTexts(t, <-got, "a")
}

func TestSeveralSubscriptions(t *testing.T) {
	s := start(t, Options{PullWait: time.Millisecond})
	_, subs := adminClients(t, s)
	const other = "projects/p/subscriptions/other"
	if err := s.CreateSubscription(other, testTopic); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "a")
	ack(t, subs, pullOnce(t, subs, 1)...)
	wantStats(t, s, Stats{Published: 1, Acked: 1})
	st, err := s.Stats(other)
	if err != nil || st.Backlog != 1 {
		t.Errorf("the other subscription has %+v, %v", st, err)
	}
}

func TestStreamingReceive(t *testing.T) {
	s := start(t, Options{})
	client, err := pubsub.NewClient(t.Context(), "p", dial(s)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	const n = 1000
	publisher := client.Publisher("t")
	var results []*pubsub.PublishResult
	for i := range n {
		results = append(results, publisher.Publish(t.Context(), &pubsub.Message{Data: fmt.Append(nil, i)}))
	}
	for _, r := range results {
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	publisher.Stop()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	seen := map[string]int{}
	nacked := false
	subscriber := client.Subscriber("s")
	subscriber.ReceiveSettings.MaxOutstandingMessages = 200
	err = subscriber.Receive(ctx, func(_ context.Context, m *pubsub.Message) {
		mu.Lock()
		defer mu.Unlock()
		if !nacked {
			nacked = true
			m.Nack()
			return
		}
		seen[string(m.Data)]++
		m.Ack()
		if len(seen) == n {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != n {
		t.Fatalf("%d messages of %d", len(seen), n)
	}
	for text, times := range seen {
		if times != 1 {
			t.Errorf("message %s came %d times", text, times)
		}
	}
	waitFor(t, func() bool {
		st, err := s.Stats(testSub)
		return err == nil && st == Stats{Published: n, Acked: n, Redelivered: 1}
	})
}

// openStream opens a streaming pull.
func openStream(t *testing.T, s *Server, first *pubsubpb.StreamingPullRequest) pubsubpb.Subscriber_StreamingPullClient {
	t.Helper()
	_, subs := adminClients(t, s)
	stream, err := subs.StreamingPull(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first.Subscription = testSub
	if err := stream.Send(first); err != nil {
		t.Fatal(err)
	}
	return stream
}

// next returns the messages of the next response that has any.
func next(t *testing.T, stream pubsubpb.Subscriber_StreamingPullClient) []*pubsubpb.ReceivedMessage {
	t.Helper()
	for {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.GetReceivedMessages()) > 0 {
			return resp.GetReceivedMessages()
		}
	}
}

func TestStreamFlowControl(t *testing.T) {
	for _, test := range []struct {
		name  string
		first *pubsubpb.StreamingPullRequest
	}{
		{"messages", &pubsubpb.StreamingPullRequest{StreamAckDeadlineSeconds: 10, MaxOutstandingMessages: 2}},
		{"bytes", &pubsubpb.StreamingPullRequest{StreamAckDeadlineSeconds: 10, MaxOutstandingBytes: 120}},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := newClock()
			s := start(t, Options{Now: now.Now})
			publish(t, s, "a", "b", "c", "d", "e")
			stream := openStream(t, s, test.first)
			got := next(t, stream)
			wantTexts(t, got, "a b")
			// The answer to a ping is the next response: nothing came before it.
			if err := stream.Send(&pubsubpb.StreamingPullRequest{}); err != nil {
				t.Fatal(err)
			}
			if resp, err := stream.Recv(); err != nil || len(resp.GetReceivedMessages()) != 0 {
				t.Fatalf("beyond the limit came %v, %v", resp, err)
			}
			if err := stream.Send(&pubsubpb.StreamingPullRequest{AckIds: ackIDs(got[:1])}); err != nil {
				t.Fatal(err)
			}
			wantTexts(t, next(t, stream), "c")
			// A message given back makes room too, and comes again.
			err := stream.Send(&pubsubpb.StreamingPullRequest{ModifyDeadlineAckIds: ackIDs(got[1:]), ModifyDeadlineSeconds: []int32{0}})
			if err != nil {
				t.Fatal(err)
			}
			wantTexts(t, next(t, stream), "b")
			// So do expired ones.
			now.advance(10 * time.Second)
			wantTexts(t, next(t, stream), "c b")
			wantStats(t, s, Stats{Published: 5, Acked: 1, Outstanding: 2, Backlog: 2, Redelivered: 3})
		})
	}
}

func TestStreamEnds(t *testing.T) {
	s := start(t, Options{})
	for _, test := range []struct {
		name     string
		requests []*pubsubpb.StreamingPullRequest
		want     codes.Code
	}{
		{"no deadline", []*pubsubpb.StreamingPullRequest{{Subscription: testSub}}, codes.InvalidArgument},
		{"short deadline", []*pubsubpb.StreamingPullRequest{{Subscription: testSub, StreamAckDeadlineSeconds: 9}}, codes.InvalidArgument},
		{"no such subscription", []*pubsubpb.StreamingPullRequest{{Subscription: testSub + "x", StreamAckDeadlineSeconds: 10}}, codes.NotFound},
		{"named twice", []*pubsubpb.StreamingPullRequest{{Subscription: testSub, StreamAckDeadlineSeconds: 10}, {Subscription: testSub}}, codes.InvalidArgument},
		{"malformed id", []*pubsubpb.StreamingPullRequest{{Subscription: testSub, StreamAckDeadlineSeconds: 10}, {AckIds: []string{"!"}}}, codes.InvalidArgument},
		{"deadlines missing", []*pubsubpb.StreamingPullRequest{{Subscription: testSub, StreamAckDeadlineSeconds: 10}, {ModifyDeadlineAckIds: []string{"1"}}}, codes.InvalidArgument},
		{"closed by the client", []*pubsubpb.StreamingPullRequest{{Subscription: testSub, StreamAckDeadlineSeconds: 10}}, codes.OK},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, subs := adminClients(t, s)
			stream, err := subs.StreamingPull(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, req := range test.requests {
				if err := stream.Send(req); err != nil {
					t.Fatal(err)
				}
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = stream.Recv()
			}
			if test.want == codes.OK && err.Error() == "EOF" {
				return
			}
			wantCode(t, err, test.want)
		})
	}
}

func TestConcurrentPublishersAndPullers(t *testing.T) {
	for _, opts := range []Options{{}, {Dir: t.TempDir()}, {Dir: t.TempDir(), WaitingBytes: 1}} {
		opts.SegmentBytes = 64 << 10
		s := start(t, opts)
		topics, subs := adminClients(t, s)
		const publishers, batches, batch = 4, 25, 50
		const total = publishers * batches * batch
		var running sync.WaitGroup
		for p := range publishers {
			running.Go(func() {
				for b := range batches {
					req := &pubsubpb.PublishRequest{Topic: testTopic}
					for i := range batch {
						req.Messages = append(req.Messages, &pubsubpb.PubsubMessage{Data: fmt.Appendf(nil, "%d/%d/%d", p, b, i)})
					}
					if _, err := topics.Publish(t.Context(), req); err != nil {
						t.Error(err)
					}
				}
			})
		}
		var mu sync.Mutex
		seen := map[string]int{}
		left := total
		for range 4 {
			running.Go(func() {
				for {
					mu.Lock()
					done := left <= 0
					mu.Unlock()
					if done || t.Failed() {
						return
					}
					got := pullOnce(t, subs, 100)
					if len(got) > 0 {
						ack(t, subs, got...)
					}
					mu.Lock()
					for _, m := range got {
						seen[string(m.GetMessage().GetData())]++
					}
					left -= len(got)
					mu.Unlock()
				}
			})
		}
		running.Wait()
		if len(seen) != total || left != 0 {
			t.Errorf("%d distinct messages, %d in all, want %d of both", len(seen), total-left, total)
		}
		wantStats(t, s, Stats{Published: total, Acked: total})
	}
}

func TestFaultHook(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	fail := map[string]error{}
	s := start(t, Options{PullWait: time.Millisecond, Fault: func(method string) error {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, method)
		err := fail[method]
		delete(fail, method)
		return err
	}})
	_, subs := adminClients(t, s)
	publish(t, s, "a")
	got := pullOnce(t, subs, 1)
	fail["Acknowledge"] = status.Error(codes.PermissionDenied, "injected")
	err := subs.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{Subscription: testSub, AckIds: ackIDs(got)})
	wantCode(t, err, codes.PermissionDenied)
	wantStats(t, s, Stats{Published: 1, Outstanding: 1}) // not handled
	ack(t, subs, got...)
	fail["Publish"] = status.Error(codes.PermissionDenied, "injected")
	_, err = s.Publish(testTopic, Message{Data: []byte("b")})
	wantCode(t, err, codes.PermissionDenied)
	fail["StreamingPull"] = status.Error(codes.PermissionDenied, "injected")
	stream, err := subs.StreamingPull(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantCode(t, err, codes.PermissionDenied)
	if got := strings.Join(calls, " "); got != "Publish Pull Acknowledge Acknowledge Publish StreamingPull" {
		t.Errorf("calls: %s", got)
	}
}

func TestCloseEndsWaiting(t *testing.T) {
	s := start(t, Options{PullWait: time.Hour})
	_, subs := adminClients(t, s)
	stream := openStream(t, s, &pubsubpb.StreamingPullRequest{StreamAckDeadlineSeconds: 10})
	if _, err := stream.Recv(); err != nil { // the answer to the first request
		t.Fatal(err)
	}
	pulled := make(chan error)
	go func() {
		_, err := subs.Pull(t.Context(), &pubsubpb.PullRequest{Subscription: testSub, MaxMessages: 1})
		pulled <- err
	}()
	waitFor(t, func() bool {
		sub := s.subscriptions[testSub]
		sub.mu.Lock()
		defer sub.mu.Unlock()
		return len(sub.waiting) == 2
	})
	closeServer(t, s)
	if err := <-pulled; err != nil {
		t.Errorf("pull: %v", err)
	}
	_, err := stream.Recv()
	wantCode(t, err, codes.Unavailable)
}

func TestStartRefuses(t *testing.T) {
	for name, opts := range map[string]Options{
		"AckDeadline":  {AckDeadline: 5 * time.Second},
		"PullWait":     {PullWait: -1},
		"SegmentBytes": {SegmentBytes: 1},
		"WaitingBytes": {WaitingBytes: -1},
	} {
		if s, err := Start("127.0.0.1:0", opts); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: server %v, error %v", name, s, err)
		}
	}
	if _, err := Start("127.0.0.1:0:0", Options{}); err == nil {
		t.Error("a bad address is taken")
	}
}
