package pubsubd

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// maxResponseBytes bounds the messages of one response; one message always fits.
const maxResponseBytes = 10_000_000

// subscriberServer serves google.pubsub.v1.Subscriber.
type subscriberServer struct {
	pubsubpb.UnimplementedSubscriberServer
	*Server
}

func (s subscriberServer) CreateSubscription(_ context.Context, req *pubsubpb.Subscription) (*pubsubpb.Subscription, error) {
	return s.createSubscription(req)
}

func (s subscriberServer) GetSubscription(_ context.Context, req *pubsubpb.GetSubscriptionRequest) (*pubsubpb.Subscription, error) {
	sub, err := s.subscription(req.GetSubscription())
	if err != nil {
		return nil, err
	}
	return sub.settings(), nil
}

func (s subscriberServer) ListSubscriptions(_ context.Context, req *pubsubpb.ListSubscriptionsRequest) (*pubsubpb.ListSubscriptionsResponse, error) {
	if err := checkProject(req.GetProject()); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := namesIn(req.GetProject(), s.subscriptions)
	names, next, err := page(names, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &pubsubpb.ListSubscriptionsResponse{NextPageToken: next}
	for _, name := range names {
		resp.Subscriptions = append(resp.Subscriptions, s.subscriptions[name].settings())
	}
	return resp, nil
}

func (s subscriberServer) UpdateSubscription(_ context.Context, req *pubsubpb.UpdateSubscriptionRequest) (*pubsubpb.Subscription, error) {
	return s.updateSubscription(req.GetSubscription(), req.GetUpdateMask().GetPaths())
}

func (s subscriberServer) DeleteSubscription(_ context.Context, req *pubsubpb.DeleteSubscriptionRequest) (*emptypb.Empty, error) {
	if err := s.deleteSubscription(req.GetSubscription()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// Pull answers with up to 1000 messages and 10 MB as soon as there is one, and
// with none after Options.PullWait.
func (s subscriberServer) Pull(ctx context.Context, req *pubsubpb.PullRequest) (*pubsubpb.PullResponse, error) {
	if req.GetMaxMessages() <= 0 {
		return nil, status.Errorf(codes.InvalidArgument, "max_messages %d: want 1 or more", req.GetMaxMessages())
	}
	sub, err := s.subscription(req.GetSubscription())
	if err != nil {
		return nil, err
	}
	lim := limits{messages: min(int(req.GetMaxMessages()), maxPullMessages), bytes: maxResponseBytes}
	//lint:ignore SA1019 clients may still set it
	deliveries, err := s.pull(ctx, sub, lim, req.GetReturnImmediately())
	if err != nil {
		return nil, err
	}
	resp := &pubsubpb.PullResponse{}
	if len(deliveries) == 0 {
		return resp, nil
	}
	// The messages are encoded already. Fields that a message does not know are
	// marshalled as they are, so these bytes go out as received_messages, which
	// has the same number.
	encoded, err := encodeReceived(sub, deliveries)
	if err != nil {
		sub.putBack(deliveries)
		return nil, err
	}
	resp.ProtoReflect().SetUnknown(encoded)
	if err := ctx.Err(); err != nil {
		sub.putBack(deliveries)
		return nil, status.FromContextError(err).Err()
	}
	return resp, nil
}

// pull waits for messages and leases them.
func (s subscriberServer) pull(ctx context.Context, sub *subscription, lim limits, immediately bool) ([]delivery, error) {
	c := newConsumer()
	defer sub.leave(c)
	timeout := time.NewTimer(s.opts.PullWait)
	defer timeout.Stop()
	last := immediately
	for {
		deadline := time.Duration(sub.settings().GetAckDeadlineSeconds()) * time.Second
		deliveries, deleted := sub.take(ctx, c, lim, deadline)
		switch {
		case deleted:
			return nil, notFound(sub.name)
		case ctx.Err() != nil:
			sub.putBack(deliveries)
			return nil, status.FromContextError(ctx.Err()).Err()
		case len(deliveries) > 0 || last:
			return deliveries, nil
		}
		select {
		case <-c.wake:
		case <-timeout.C:
			last = true // whatever came at the same moment
		case <-ctx.Done():
		case <-s.stopping:
			return nil, nil
		}
	}
}

func (s subscriberServer) Acknowledge(_ context.Context, req *pubsubpb.AcknowledgeRequest) (*emptypb.Empty, error) {
	sub, err := s.subscription(req.GetSubscription())
	if err != nil {
		return nil, err
	}
	if err := s.acknowledge(sub, req.GetAckIds()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (s *Server) acknowledge(sub *subscription, ackIDs []string) error {
	leases, err := parseAckIDs(ackIDs)
	if err != nil {
		return err
	}
	ids := sub.ack(leases)
	if s.log != nil && len(ids) > 0 {
		s.log.note(appendAckRecord(nil, sub.number, ids))
	}
	return nil
}

func (s subscriberServer) ModifyAckDeadline(_ context.Context, req *pubsubpb.ModifyAckDeadlineRequest) (*emptypb.Empty, error) {
	sub, err := s.subscription(req.GetSubscription())
	if err != nil {
		return nil, err
	}
	seconds := make([]int32, len(req.GetAckIds()))
	for i := range seconds {
		seconds[i] = req.GetAckDeadlineSeconds()
	}
	if err := modifyDeadlines(sub, req.GetAckIds(), seconds); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// modifyDeadlines sets the deadlines of leases, one number of seconds for each.
func modifyDeadlines(sub *subscription, ackIDs []string, seconds []int32) error {
	if len(ackIDs) != len(seconds) {
		return status.Errorf(codes.InvalidArgument, "%d acknowledgement ids to modify and %d deadlines", len(ackIDs), len(seconds))
	}
	leases, err := parseAckIDs(ackIDs)
	if err != nil {
		return err
	}
	durations := make([]time.Duration, len(seconds))
	for i, n := range seconds {
		if n < 0 || n > maxAckDeadline {
			return status.Errorf(codes.InvalidArgument, "acknowledgement deadline %d s: want 0 to %d", n, maxAckDeadline)
		}
		durations[i] = time.Duration(n) * time.Second
	}
	sub.extend(leases, durations)
	return nil
}
