package pubsubd

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stream is one streaming pull.
type stream struct {
	server   *Server
	sub      *subscription
	grpc     pubsubpb.Subscriber_StreamingPullServer
	limits   limits
	deadline atomic.Int64  // seconds
	pings    chan struct{} // the client asked for a sign of life
}

// StreamingPull hands out messages as they come, within the flow control limits of
// the first request, until the client ends the stream. Messages then under lease
// stay so until their deadline: the client may still acknowledge them.
func (s subscriberServer) StreamingPull(gs pubsubpb.Subscriber_StreamingPullServer) error {
	first, err := gs.Recv()
	if err != nil {
		return err
	}
	sub, err := s.subscription(first.GetSubscription())
	if err != nil {
		return err
	}
	st := &stream{
		server: s.Server,
		sub:    sub,
		grpc:   gs,
		limits: limits{
			messages: maxPullMessages,
			bytes:    maxResponseBytes,
			// Clients send negative limits for none.
			heldMessages: max(0, int(first.GetMaxOutstandingMessages())),
			heldBytes:    max(0, int(first.GetMaxOutstandingBytes())),
		},
		pings: make(chan struct{}, 1),
	}
	if first.GetStreamAckDeadlineSeconds() == 0 {
		return status.Error(codes.InvalidArgument, "the first request has no stream_ack_deadline_seconds")
	}
	if err := st.handle(first); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(gs.Context())
	defer cancel(nil)
	go func() { cancel(st.receive()) }()
	return st.send(ctx)
}

// receive handles requests until the client sends no more or a wrong one.
func (st *stream) receive() error {
	for {
		req, err := st.grpc.Recv()
		if err != nil {
			return err
		}
		if req.GetSubscription() != "" {
			return status.Error(codes.InvalidArgument, "only the first request may name the subscription")
		}
		if err := st.handle(req); err != nil {
			return err
		}
	}
}

// handle does what one request asks for.
func (st *stream) handle(req *pubsubpb.StreamingPullRequest) error {
	if d := req.GetStreamAckDeadlineSeconds(); d != 0 {
		if d < minAckDeadline || d > maxAckDeadline {
			return status.Errorf(codes.InvalidArgument, "stream_ack_deadline_seconds %d: want %d to %d", d, minAckDeadline, maxAckDeadline)
		}
		st.deadline.Store(int64(d))
	}
	if err := modifyDeadlines(st.sub, req.GetModifyDeadlineAckIds(), req.GetModifyDeadlineSeconds()); err != nil {
		return err
	}
	if err := st.server.acknowledge(st.sub, req.GetAckIds()); err != nil {
		return err
	}
	// Clients reopen a stream that does not answer their pings, which are
	// requests with nothing in them.
	if len(req.GetAckIds()) == 0 && len(req.GetModifyDeadlineAckIds()) == 0 {
		select {
		case st.pings <- struct{}{}:
		default:
		}
	}
	return nil
}

// send hands out messages until the context, which the receiving side ends too, is
// done. Its cause is the stream's result.
func (st *stream) send(ctx context.Context) error {
	c := newConsumer()
	defer st.sub.leave(c)
	for {
		deadline := time.Duration(st.deadline.Load()) * time.Second
		deliveries, deleted := st.sub.take(ctx, c, st.limits, deadline)
		if deleted {
			return notFound(st.sub.name)
		}
		if len(deliveries) > 0 {
			encoded, err := encodeReceived(st.sub, deliveries)
			if err != nil {
				st.sub.putBack(deliveries)
				return err
			}
			resp := &pubsubpb.StreamingPullResponse{}
			resp.ProtoReflect().SetUnknown(encoded) // as in Pull
			if ctx.Err() != nil {
				st.sub.putBack(deliveries)
				return result(ctx)
			}
			if err := st.grpc.Send(resp); err != nil {
				st.sub.putBack(deliveries)
				return err
			}
			continue
		}
		select {
		case <-c.wake:
		case <-st.pings:
			if err := st.grpc.Send(&pubsubpb.StreamingPullResponse{}); err != nil {
				return err
			}
		case <-ctx.Done():
			return result(ctx)
		case <-st.server.stopping:
			return status.Error(codes.Unavailable, "the server is closing")
		}
	}
}

// result is the stream's answer once the receiving side has ended: none if the
// client has simply sent its last.
func result(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
