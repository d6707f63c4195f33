package source

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const testSubscription = "projects/p/subscriptions/s"

// fakeServer is one subscription that knows of every message how it fared. It
// is strict where Pub/Sub is lenient, and breaks on demand.
type fakeServer struct {
	pubsubpb.UnimplementedSubscriberServer
	addr  string
	lease time.Duration
	hold  time.Duration // how long an empty pull waits

	// fault, if set, is called before each request and its error returned;
	// after reports whether the request is to be carried out all the same.
	fault func(method string) (err error, after bool)
	// result, if set, says why an id is not acknowledged, as a subscription does that
	// delivers exactly once; empty: it is.
	result func(id string) string

	mu       sync.Mutex
	ready    []*fakeMessage
	messages map[string]*fakeMessage // by ack id
	arrived  chan struct{}           // closed and replaced when messages arrive
	calls    map[string]int
	biggest  map[string]int // most ack ids in a request, by method
	acked    int
	acks     int // acknowledgements, repeated ones too
	expired  int
}

type fakeMessage struct {
	m          *pubsubpb.PubsubMessage
	deadline   time.Time // zero while ready
	deliveries int
	acked      bool
}

func newFakeServer(t testing.TB) *fakeServer {
	t.Helper()
	f := &fakeServer{
		lease:    10 * time.Second,
		hold:     100 * time.Millisecond,
		messages: map[string]*fakeMessage{},
		arrived:  make(chan struct{}),
		calls:    map[string]int{},
		biggest:  map[string]int{},
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = lis.Addr().String()
	s := grpc.NewServer(grpc.UnaryInterceptor(f.intercept))
	pubsubpb.RegisterSubscriberServer(s, f)
	go s.Serve(lis)
	t.Cleanup(s.Stop)
	return f
}

func (f *fakeServer) config() PubSubConfig {
	return PubSubConfig{Subscription: testSubscription, Endpoint: f.addr, Pullers: 4, MaxBundleMillis: 50}
}

// publish adds n messages whose text is prefix and a number, and whose event
// times are event(i).
func (f *fakeServer) publish(prefix string, n int, event func(i int) time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := timestamppb.Now()
	for i := range n {
		id := fmt.Sprint(len(f.messages))
		m := &fakeMessage{m: &pubsubpb.PubsubMessage{
			Data:        fmt.Appendf(nil, "%s%d", prefix, i),
			MessageId:   id,
			PublishTime: now,
		}}
		if event != nil {
			m.m.Attributes = map[string]string{timestampAttribute: event(i).UTC().Format(time.RFC3339Nano)}
		}
		f.messages["ack-"+id] = m
		f.ready = append(f.ready, m)
	}
	close(f.arrived)
	f.arrived = make(chan struct{})
}

func (f *fakeServer) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[len("/google.pubsub.v1.Subscriber/"):]
	f.mu.Lock()
	f.calls[method]++
	f.mu.Unlock()
	if f.fault != nil {
		if err, after := f.fault(method); err != nil {
			if after {
				handler(ctx, req)
			}
			return nil, err
		}
	}
	return handler(ctx, req)
}

func (f *fakeServer) GetSubscription(_ context.Context, req *pubsubpb.GetSubscriptionRequest) (*pubsubpb.Subscription, error) {
	if req.GetSubscription() != testSubscription {
		return nil, status.Errorf(codes.NotFound, "no subscription %s", req.GetSubscription())
	}
	return &pubsubpb.Subscription{Name: testSubscription, AckDeadlineSeconds: int32(f.lease / time.Second)}, nil
}

func (f *fakeServer) Pull(ctx context.Context, req *pubsubpb.PullRequest) (*pubsubpb.PullResponse, error) {
	until := time.After(f.hold)
	for {
		f.mu.Lock()
		f.expire()
		resp := &pubsubpb.PullResponse{}
		for len(f.ready) > 0 && len(resp.ReceivedMessages) < int(req.GetMaxMessages()) {
			m := f.ready[0]
			f.ready = f.ready[1:]
			m.deadline = time.Now().Add(f.lease)
			m.deliveries++
			resp.ReceivedMessages = append(resp.ReceivedMessages, &pubsubpb.ReceivedMessage{AckId: "ack-" + m.m.MessageId, Message: m.m})
		}
		arrived := f.arrived
		f.mu.Unlock()
		if len(resp.ReceivedMessages) > 0 {
			return resp, nil
		}
		select {
		case <-arrived:
		case <-until:
			return resp, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// expire makes messages ready again whose lease is over. f.mu is held.
func (f *fakeServer) expire() {
	if f.lease > 5*time.Second {
		return // nothing expires within a test; spare the walk
	}
	now := time.Now()
	for _, m := range f.messages {
		if !m.acked && !m.deadline.IsZero() && now.After(m.deadline) {
			f.expired++
			f.giveBack(m)
		}
	}
}

func (f *fakeServer) giveBack(m *fakeMessage) {
	m.deadline = time.Time{}
	f.ready = append(f.ready, m)
}

func (f *fakeServer) Acknowledge(_ context.Context, req *pubsubpb.AcknowledgeRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.biggest["Acknowledge"] = max(f.biggest["Acknowledge"], len(req.GetAckIds()))
	refused := map[string]string{}
	for _, id := range req.GetAckIds() {
		m := f.messages[id]
		if m == nil {
			return nil, status.Errorf(codes.InvalidArgument, "no such ack id %s", id)
		}
		if f.result != nil {
			if why := f.result(id); why != "" {
				refused[id] = why
				continue
			}
		}
		f.acks++
		if !m.acked {
			m.acked = true
			f.acked++
		}
	}
	if len(refused) > 0 {
		s, err := status.New(codes.InvalidArgument, "some ids were invalid").WithDetails(&errdetails.ErrorInfo{Reason: "ACK_FAILED", Metadata: refused})
		if err != nil {
			return nil, err
		}
		return nil, s.Err()
	}
	return &emptypb.Empty{}, nil
}

func (f *fakeServer) ModifyAckDeadline(_ context.Context, req *pubsubpb.ModifyAckDeadlineRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.biggest["ModifyAckDeadline"] = max(f.biggest["ModifyAckDeadline"], len(req.GetAckIds()))
	back := false
	for _, id := range req.GetAckIds() {
		switch m := f.messages[id]; {
		case m == nil:
			return nil, status.Errorf(codes.InvalidArgument, "no such ack id %s", id)
		case m.acked || m.deadline.IsZero():
		case req.GetAckDeadlineSeconds() == 0:
			f.giveBack(m)
			back = true
		default:
			m.deadline = time.Now().Add(time.Duration(req.GetAckDeadlineSeconds()) * time.Second)
		}
	}
	if back {
		close(f.arrived)
		f.arrived = make(chan struct{})
	}
	return &emptypb.Empty{}, nil
}

// fakeCounts is what became of a server's messages.
type fakeCounts struct{ acked, acks, unacked, leased, redelivered, expired int }

func (f *fakeServer) count() fakeCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := fakeCounts{acked: f.acked, acks: f.acks, expired: f.expired}
	for _, m := range f.messages {
		if !m.acked {
			c.unacked++
			if !m.deadline.IsZero() {
				c.leased++
			}
		}
		if m.deliveries > 1 {
			c.redelivered++
		}
	}
	return c
}

func (f *fakeServer) callCount(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}
