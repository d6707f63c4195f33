package load

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// pullWait is how long a pull waits for a message.
	pullWait = time.Second
	// maxPull is the most messages that the service gives to one pull.
	maxPull = 1000
)

// subscriberService is the part of google.pubsub.v1.Subscriber that a job needs.
func (s *Server) subscriberService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "google.pubsub.v1.Subscriber",
		Methods: []grpc.MethodDesc{
			unary("GetSubscription", s.getSubscription),
			unary("Pull", s.pull),
			unary("Acknowledge", s.acknowledge),
			unary("ModifyAckDeadline", s.modifyAckDeadline),
		},
	}
}

// unary describes a method that takes and returns bytes.
func unary(name string, call func(context.Context, []byte) (any, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var request frame
			if err := decode(&request); err != nil {
				return nil, err
			}
			return call(ctx, request.bytes)
		},
	}
}

// fields calls f for every field of a message; value is that of a field with a
// length, number that of a varint.
func fields(message []byte, f func(field protowire.Number, value []byte, number uint64)) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return status.Error(codes.InvalidArgument, "the request is no protobuf message")
		}
		message = message[n:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(field, kind, message)
		}
		if n < 0 {
			return status.Error(codes.InvalidArgument, "the request is no protobuf message")
		}
		message = message[n:]
		f(field, value, number)
	}
	return nil
}

func checkSubscription(name string) error {
	if name != Subscription {
		return status.Errorf(codes.NotFound, "Resource not found (resource=%s); there is %s.", name, Subscription)
	}
	return nil
}

func (s *Server) getSubscription(_ context.Context, request []byte) (any, error) {
	var name string
	if err := fields(request, func(field protowire.Number, value []byte, _ uint64) {
		if field == 1 {
			name = string(value)
		}
	}); err != nil {
		return nil, err
	}
	if err := checkSubscription(name); err != nil {
		return nil, err
	}
	return &pubsubpb.Subscription{
		Name: name, Topic: "projects/" + Project + "/topics/load",
		AckDeadlineSeconds: int32(s.queue.ackDeadline / time.Second),
	}, nil
}

func (s *Server) pull(ctx context.Context, request []byte) (any, error) {
	var name string
	limit := 0
	if err := fields(request, func(field protowire.Number, value []byte, number uint64) {
		switch field {
		case 1:
			name = string(value)
		case 3:
			limit = int(int32(number))
		}
	}); err != nil {
		return nil, err
	}
	if err := checkSubscription(name); err != nil {
		return nil, err
	}
	if limit <= 0 {
		return nil, status.Errorf(codes.InvalidArgument, "max_messages %d: want 1 or more", limit)
	}
	taken := deliveries.Get().(*[]delivery)
	defer deliveries.Put(taken)
	for deadline := time.Now().Add(pullWait); ; {
		*taken = s.queue.take(min(limit, maxPull), (*taken)[:0])
		if len(*taken) > 0 || time.Now().After(deadline) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-s.stopping:
			return &frame{}, nil
		case <-time.After(tick):
		}
	}
	var w writer
	buffer := s.responses.Get(0)
	b := (*buffer)[:0]
	for _, d := range *taken {
		b = w.append(b, s.template(d.number), d.number, d.published)
	}
	return &frame{b, &s.responses}, nil
}

func (s *Server) acknowledge(_ context.Context, request []byte) (any, error) {
	q := s.queue
	var err error
	q.mu.Lock()
	defer q.mu.Unlock()
	bad := fields(request, func(field protowire.Number, value []byte, _ uint64) {
		switch field {
		case 1:
			err = checkSubscription(string(value))
		case 2:
			if n, ok := ackNumber(value); ok {
				q.ack(n)
			} else {
				err = status.Errorf(codes.InvalidArgument, "ack id %q is none of ours", value)
			}
		}
	})
	if bad != nil {
		err = bad
	}
	return &frame{}, err
}

func (s *Server) modifyAckDeadline(_ context.Context, request []byte) (any, error) {
	var seconds uint64
	var err error
	var numbers []int64
	bad := fields(request, func(field protowire.Number, value []byte, number uint64) {
		switch field {
		case 1:
			err = checkSubscription(string(value))
		case 3:
			seconds = number
		case 4:
			if n, ok := ackNumber(value); ok {
				numbers = append(numbers, n)
			} else {
				err = status.Errorf(codes.InvalidArgument, "ack id %q is none of ours", value)
			}
		}
	})
	if bad != nil {
		err = bad
	}
	if seconds > 600 {
		err = status.Errorf(codes.InvalidArgument, "ack_deadline_seconds %d: want 0 to 600", seconds)
	}
	if err != nil {
		return nil, err
	}
	q, now := s.queue, time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range numbers {
		q.modify(n, now, time.Duration(seconds)*time.Second)
	}
	return &frame{}, nil
}

// ackNumber is the number of the message that an ack id acknowledges.
func ackNumber(id []byte) (int64, bool) {
	if len(id) != ackIDSize {
		return 0, false
	}
	return parseDigits(id[:numberDigits])
}
