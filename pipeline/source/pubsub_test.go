package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"pixelbeam/local/pubsubd"
	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/logentry"
)

func init() {
	type emit = func(beam.EventTime, logentry.Batch)
	dofn.Register[disturbFn](func(f func(beam.EventTime, logentry.Batch, emit) error, a []any) []any {
		return []any{f(a[0].(beam.EventTime), a[1].(logentry.Batch), a[2].(emit))}
	})
	register.Function2x0(one)
	dofn.Register[groupFn](func(f func(string, func(*int) bool, func(string, int)), a []any) []any {
		f(a[0].(string), a[1].(func(*int) bool), a[2].(func(string, int)))
		return nil
	})
}

// disturbFn passes messages on, in bundles that take their time, or fails.
type disturbFn struct {
	BundleMillis int    // how long a bundle with messages takes
	FailOn       string // the message that is an error

	seen bool
}

func (fn *disturbFn) StartBundle(func(beam.EventTime, logentry.Batch)) { fn.seen = false }

func (fn *disturbFn) ProcessElement(et beam.EventTime, b logentry.Batch, emit func(beam.EventTime, logentry.Batch)) error {
	if slices.ContainsFunc(b.Messages, func(m logentry.Message) bool { return string(m.Data) == fn.FailOn }) {
		return errors.New("told to fail")
	}
	fn.seen = true
	emit(et, b)
	return nil
}

func (fn *disturbFn) FinishBundle(func(beam.EventTime, logentry.Batch)) {
	if fn.seen {
		time.Sleep(time.Duration(fn.BundleMillis) * time.Millisecond)
	}
}

// job is a pipeline that runs in the background.
type job struct {
	t    *testing.T
	c    *collector
	done chan struct{}
	res  beam.PipelineResult
	err  error
}

// start runs a job that reads with cfg into a collector. build, if not nil,
// puts something between.
func start(t *testing.T, cfg PubSubConfig, build func(beam.Scope, beam.PCollection) beam.PCollection) *job {
	t.Helper()
	p, s := beam.NewPipelineWithRoot()
	col := PubSub(s, cfg)
	if build != nil {
		col = build(s, col)
	}
	j := &job{t: t, c: collect(t, s, col), done: make(chan struct{})}
	go func() {
		defer close(j.done)
		j.res, j.err = runners["prism"](context.Background(), p)
	}()
	return j
}

func (j *job) wait() *job {
	j.t.Helper()
	<-j.done
	if j.err != nil {
		j.t.Fatal(j.err)
	}
	return j
}

// drain drains the job and waits for its end.
func (j *job) drain() *job {
	j.t.Helper()
	defer Drain()()
	return j.wait()
}

// eventually waits for a condition that must come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting: %s", what)
		}
	}
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

func requireCounter(t *testing.T, r beam.PipelineResult, name string, atLeast, atMost int64) {
	t.Helper()
	if got := counter(t, r, name); got < atLeast || got > atMost {
		t.Errorf("%s = %d, want %d to %d", name, got, atLeast, atMost)
	}
}

func TestPubSubDeliversAndAcknowledgesEachOnce(t *testing.T) {
	const n = 20_000
	f := newFakeServer(t)
	f.publish("m", n, nil)
	cfg := f.config()
	cfg.UntilIdle = true
	j := start(t, cfg, nil).wait()
	requireOnce(t, j.c, n)
	if got, want := f.count(), (fakeCounts{acked: n, acks: n}); got != want {
		t.Errorf("the server counts %+v, want %+v", got, want)
	}
	if got := f.biggest["Acknowledge"]; got > maxAckIDs {
		t.Errorf("a request had %d ack ids, want at most %d", got, maxAckIDs)
	}
	requireCounter(t, j.res, "pubsub_messages_read", n, n)
	requireCounter(t, j.res, "pubsub_acks", n, n)
	requireCounter(t, j.res, "pubsub_nacks", 0, 0)
}

func TestPubSubMessage(t *testing.T) {
	f := newFakeServer(t)
	event := time.Date(2026, 11, 23, 8, 0, 0, 123456789, time.UTC)
	f.publish("with", 1, func(int) time.Time { return event })
	f.publish("without", 1, nil)
	cfg := f.config()
	cfg.UntilIdle = true
	c := start(t, cfg, nil).wait().c
	requireOnce(t, c, 2)
	for _, m := range c.messages {
		published := f.messages["ack-"+m.Origin].m.PublishTime.AsTime()
		wantStamp := ""
		if string(m.Data) == "with0" {
			wantStamp = "2026-11-23T08:00:00.123456789Z"
		}
		if m.Timestamp != wantStamp || m.ReceiveTime != published.UnixMicro() || m.Offset != -1 {
			t.Errorf("%s: got %+v, want timestamp %q and receive time %d", m.Data, m, wantStamp, published.UnixMicro())
		}
	}
	// Both may have come together; a batch is as old as the oldest in it.
	if got := slices.Min(c.times).Milliseconds(); got != event.UnixMilli() {
		t.Errorf("event time %d, want %d", got, event.UnixMilli())
	}
}

func TestPubSubWaitsOutFaults(t *testing.T) {
	transient := []codes.Code{codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Internal, codes.Aborted}
	tests := []struct {
		name, method, counter string
		after                 bool // carried out, but the answer is lost
	}{
		{"looking at the subscription", "GetSubscription", "", false},
		{"pull", "Pull", "pubsub_pull_errors", false},
		{"acknowledge refused", "Acknowledge", "pubsub_ack_retries", false},
		{"acknowledgement lost", "Acknowledge", "pubsub_ack_retries", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const n = 3000
			f := newFakeServer(t)
			var calls atomic.Int64
			f.fault = func(method string) (error, bool) {
				if method != test.method {
					return nil, false
				}
				// Every other call fails, up to three times for each code.
				if i := calls.Add(1) - 1; i%2 == 0 && int(i/2) < 3*len(transient) {
					return status.Error(transient[int(i/2)%len(transient)], "test"), test.after
				}
				return nil, false
			}
			f.publish("m", n, nil)
			cfg := f.config()
			cfg.UntilIdle = true
			j := start(t, cfg, nil).wait()
			requireOnce(t, j.c, n)
			if got := f.count(); got.acked != n || got.redelivered != 0 {
				t.Errorf("the server counts %+v, want %d acknowledged and none redelivered", got, n)
			}
			if test.counter != "" {
				requireCounter(t, j.res, test.counter, 1, 1000)
			}
		})
	}
}

func TestPubSubRefusedAtStart(t *testing.T) {
	tests := []struct {
		name         string
		subscription string
		method       string
		code         codes.Code
		want         string
	}{
		{"absent", "projects/p/subscriptions/absent", "", codes.OK, "create the subscription"},
		{"forbidden", testSubscription, "Pull", codes.PermissionDenied, "grant roles/pubsub.subscriber"},
		{"unauthenticated", testSubscription, "GetSubscription", codes.Unauthenticated, "gcloud auth"},
		{"push", testSubscription, "Pull", codes.FailedPrecondition, "must be a pull subscription"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeServer(t)
			f.fault = func(method string) (error, bool) {
				if method == test.method {
					return status.Error(test.code, "no"), false
				}
				return nil, false
			}
			cfg := f.config()
			cfg.Subscription = test.subscription
			j := start(t, cfg, nil)
			<-j.done
			if err := Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
			if j.err == nil || !strings.Contains(j.err.Error(), test.subscription) || !strings.Contains(j.err.Error(), test.want) {
				t.Errorf("error = %v, want one that names %s and says %q", j.err, test.subscription, test.want)
			}
		})
	}
}

func TestPubSubMayPullWithoutLooking(t *testing.T) {
	f := newFakeServer(t)
	f.fault = func(method string) (error, bool) {
		if method == "GetSubscription" {
			return status.Error(codes.PermissionDenied, "no"), false
		}
		return nil, false
	}
	f.publish("m", 10, nil)
	cfg := f.config()
	cfg.UntilIdle = true
	requireOnce(t, start(t, cfg, nil).wait().c, 10)
}

func TestPubSubExtendsLeases(t *testing.T) {
	const n = 6000
	f := newFakeServer(t)
	f.lease = 2 * time.Second
	f.publish("m", n, nil)
	cfg := f.config()
	cfg.UntilIdle = true
	cfg.MaxBundle = 2000
	// Three bundles, the last messages of which wait for 6 s to be delivered
	// and for 9 s to be acknowledged.
	j := start(t, cfg, func(s beam.Scope, col beam.PCollection) beam.PCollection {
		return beam.ParDo(s, &disturbFn{BundleMillis: 3000}, col)
	}).wait()
	requireOnce(t, j.c, n)
	if got, want := f.count(), (fakeCounts{acked: n, acks: n}); got != want {
		t.Errorf("the server counts %+v, want %+v", got, want)
	}
	requireCounter(t, j.res, "pubsub_lease_extensions", n, 100*n)
}

func TestDrainLosesNothing(t *testing.T) {
	const n = 60_000
	f := newFakeServer(t)
	f.publish("m", n, nil)
	cfg := f.config()
	cfg.MaxBundle = 1000
	j := start(t, cfg, func(s beam.Scope, col beam.PCollection) beam.PCollection {
		return beam.ParDo(s, &disturbFn{BundleMillis: 20}, col)
	})
	eventually(t, "some messages are delivered", func() bool { return j.c.len() > 2000 })
	j.drain()
	delivered := j.c.len()
	if delivered == n {
		t.Error("everything was delivered before the drain: it shows nothing")
	}
	requireOnce(t, j.c, delivered)
	if got, want := f.count(), (fakeCounts{acked: delivered, acks: delivered, unacked: n - delivered}); got != want {
		t.Errorf("the server counts %+v, want %+v", got, want)
	}

	// A later job gets the rest.
	cfg.UntilIdle = true
	rest := start(t, cfg, nil).wait()
	requireOnce(t, rest.c, n-delivered)
}

func TestDrainBeforeTheServerIsThere(t *testing.T) {
	f := newFakeServer(t)
	f.fault = func(string) (error, bool) { return status.Error(codes.Unavailable, "not yet"), false }
	j := start(t, f.config(), nil)
	eventually(t, "the reader asks", func() bool { return f.callCount("GetSubscription") > 1 })
	j.drain()
}

func TestFailedJobGivesMessagesBack(t *testing.T) {
	const n = 5000
	f := newFakeServer(t)
	f.lease = 600 * time.Second // nothing comes back by itself
	f.publish("m", n, nil)
	j := start(t, f.config(), func(s beam.Scope, col beam.PCollection) beam.PCollection {
		return beam.ParDo(s, &disturbFn{FailOn: "m4321"}, col)
	})
	<-j.done
	if j.err == nil || !strings.Contains(j.err.Error(), "told to fail") {
		t.Fatalf("error = %v, want the DoFn's", j.err)
	}
	if err := Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := f.count(); got.leased != 0 || got.unacked == 0 {
		t.Errorf("the server counts %+v, want nothing leased and something left", got)
	}
}

func TestCancelledJobGivesMessagesBack(t *testing.T) {
	const n = 100_000
	f := newFakeServer(t)
	f.lease = 600 * time.Second
	f.publish("m", n, nil)
	p, s := beam.NewPipelineWithRoot()
	c := collect(t, s, beam.ParDo(s, &disturbFn{BundleMillis: 50}, PubSub(s, f.config())))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := runners["prism"](ctx, p)
		done <- err
	}()
	eventually(t, "some messages are delivered", func() bool { return c.len() > 10_000 })
	cancel()
	if err := <-done; err == nil {
		t.Error("a cancelled job reports no error")
	}
	if err := Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := f.count(); got.leased != 0 || got.acked+got.unacked != n || got.unacked == 0 {
		t.Errorf("the server counts %+v, want nothing leased and something left", got)
	}
}

// groups counts what is in the windows that fire.
var groups sync.Map // id -> *atomic.Int64

// one emits a 1 for every message.
func one(b logentry.Batch, emit func(string, int)) {
	for range b.Messages {
		emit("all", 1)
	}
}

// groupFn adds up a group into groups.
type groupFn struct{ ID string }

func (fn *groupFn) ProcessElement(_ string, values func(*int) bool, _ func(string, int)) {
	v, _ := groups.LoadOrStore(fn.ID, new(atomic.Int64))
	for n := 0; values(&n); {
		v.(*atomic.Int64).Add(int64(n))
	}
}

func TestWindowsFireWhileIdle(t *testing.T) {
	f := newFakeServer(t)
	p, s := beam.NewPipelineWithRoot()
	ones := beam.ParDo(s, one, PubSub(s, f.config()))
	grouped := beam.GroupByKey(s, beam.WindowInto(s, window.NewFixedWindows(time.Second), ones))
	out := beam.ParDo(s, &groupFn{ID: t.Name()}, grouped)
	beam.ParDo0(s, discard, beam.GroupByKey(s, out))
	done := make(chan error, 1)
	go func() {
		_, err := runners["prism"](context.Background(), p)
		done <- err
	}()
	fired := func() int64 {
		v, ok := groups.Load(t.Name())
		if !ok {
			return 0
		}
		return v.(*atomic.Int64).Load()
	}
	// Twice, so that the watermark is seen to move on after a pause.
	for round := int64(1); round <= 2; round++ {
		f.publish("m", 100, func(i int) time.Time { return time.Now().Add(-time.Duration(i) * time.Millisecond) })
		eventually(t, fmt.Sprintf("the windows of round %d fire", round), func() bool { return fired() == 100*round })
	}
	if s := Stats(); s.Watermark.IsZero() || s.LastEventTime.IsZero() || !s.Idle || s.Acked < 200 {
		t.Errorf("Stats() = %+v, want idle with a watermark and a last event time", s)
	}
	defer Drain()()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestHoldWatermarkUntilTheEnd(t *testing.T) {
	f := newFakeServer(t)
	now := time.Now()
	// The latest first: with a watermark that follows, the rest would be late.
	for i := range 20 {
		f.publish("m", 50, func(int) time.Time { return now.Add(-time.Duration(i) * time.Hour) })
	}
	cfg := f.config()
	cfg.UntilIdle, cfg.HoldWatermark = true, true
	cfg.MaxBundle = 50
	p, s := beam.NewPipelineWithRoot()
	ones := beam.ParDo(s, one, PubSub(s, cfg))
	grouped := beam.GroupByKey(s, beam.WindowInto(s, window.NewFixedWindows(time.Minute), ones))
	beam.ParDo0(s, discard, beam.GroupByKey(s, beam.ParDo(s, &groupFn{ID: t.Name()}, grouped)))
	if _, err := runners["prism"](context.Background(), p); err != nil {
		t.Fatal(err)
	}
	v, _ := groups.Load(t.Name())
	if got := v.(*atomic.Int64).Load(); got != 1000 {
		t.Errorf("%d messages were grouped in time, want all 1000", got)
	}
}

func TestIdleReaderAsksSeldom(t *testing.T) {
	f := newFakeServer(t)
	f.hold = 0 // a server that does not wait for messages
	cfg := f.config()
	j := start(t, cfg, nil)
	eventually(t, "the first pull", func() bool { return f.callCount("Pull") > 0 })
	begin := time.Now()
	time.Sleep(3 * time.Second)
	pulls, limit := f.callCount("Pull"), cfg.Pullers*(6+int(time.Since(begin)/emptyPause))
	if pulls > limit {
		t.Errorf("%d pulls while idle, want at most %d", pulls, limit)
	}
	j.drain()
}

func TestUntilIdleWaitsForTheCondition(t *testing.T) {
	f := newFakeServer(t)
	var over atomic.Bool
	SetIdleCondition(over.Load)
	defer SetIdleCondition(nil)
	cfg := f.config()
	cfg.UntilIdle = true
	j := start(t, cfg, nil)
	eventually(t, "the reader has found nothing", func() bool { return f.callCount("Pull") > 20 })
	f.publish("m", 10, nil)
	eventually(t, "the messages are acknowledged", func() bool { return f.count().acked == 10 })
	over.Store(true)
	requireOnce(t, j.wait().c, 10)
}

func TestPubSubFromPstest(t *testing.T) {
	const n = 1000
	server := pstest.NewServer()
	defer server.Close()
	ctx := context.Background()
	conn, err := grpc.NewClient(server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	topics, err := pubsub.NewTopicAdminClient(ctx, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	subscriptions, err := pubsub.NewSubscriptionAdminClient(ctx, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	const topic = "projects/p/topics/t"
	if _, err := topics.CreateTopic(ctx, &pubsubpb.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	if _, err := subscriptions.CreateSubscription(ctx, &pubsubpb.Subscription{Name: testSubscription, Topic: topic, AckDeadlineSeconds: 10}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		server.Publish(topic, fmt.Appendf(nil, "m%d", i), nil)
	}
	// The emulator variable instead of an endpoint, and a short name.
	t.Setenv("PUBSUB_EMULATOR_HOST", server.Addr)
	c := start(t, PubSubConfig{Project: "p", Subscription: "s", UntilIdle: true}, nil).wait().c
	requireOnce(t, c, n)
	for _, m := range server.Messages() {
		if m.Acks != 1 {
			t.Fatalf("message %s has %d acks, want 1", m.Data, m.Acks)
		}
	}
}

func TestPubSubFromPubsubd(t *testing.T) {
	const n = 5000
	server, err := pubsubd.Start("127.0.0.1:0", pubsubd.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	const topic = "projects/p/topics/t"
	if err := errors.Join(server.CreateTopic(topic), server.CreateSubscription(testSubscription, topic)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := server.Publish(topic, pubsubd.Message{Data: fmt.Appendf(nil, "m%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := PubSubConfig{Subscription: testSubscription, Endpoint: server.Addr(), UntilIdle: true}
	requireOnce(t, start(t, cfg, nil).wait().c, n)
}

func TestPubSubConfigValidate(t *testing.T) {
	tests := []struct {
		name string
		cfg  PubSubConfig
		want []string
	}{
		{"full name", PubSubConfig{Subscription: testSubscription}, nil},
		{"short name and project", PubSubConfig{Subscription: "s", Project: "p"}, nil},
		{"short name alone", PubSubConfig{Subscription: "s"}, []string{`"s" is not of the form`}},
		{"nothing", PubSubConfig{}, []string{`"" is not of the form`}},
		{"every number", PubSubConfig{Subscription: testSubscription, Pullers: -1, MaxBundle: -1, MaxBundleMillis: -1, IdleResponses: -1},
			[]string{"pullers is -1", "messages in a bundle is -1", "milliseconds of a bundle is -1", "idle responses is -1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.cfg.Validate()
			if (err == nil) != (test.want == nil) {
				t.Fatalf("error = %v, want %v", err, test.want)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v, want one with %q", err, want)
				}
			}
		})
	}
}

func TestPubSubIsPerformant(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	PubSub(s, PubSubConfig{Subscription: testSubscription})
	requirePerformant(t, p)
}
