package pubsubd

import (
	"context"
	"maps"
	"slices"
	"strings"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// publisherServer serves google.pubsub.v1.Publisher.
type publisherServer struct {
	pubsubpb.UnimplementedPublisherServer
	*Server
}

func (p publisherServer) CreateTopic(_ context.Context, req *pubsubpb.Topic) (*pubsubpb.Topic, error) {
	return p.createTopic(req)
}

func (p publisherServer) GetTopic(_ context.Context, req *pubsubpb.GetTopicRequest) (*pubsubpb.Topic, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	t, ok := p.topics[req.GetTopic()]
	if !ok {
		return nil, notFound(req.GetTopic())
	}
	return t.config, nil
}

func (p publisherServer) ListTopics(_ context.Context, req *pubsubpb.ListTopicsRequest) (*pubsubpb.ListTopicsResponse, error) {
	if err := checkProject(req.GetProject()); err != nil {
		return nil, err
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	names := namesIn(req.GetProject(), p.topics)
	names, next, err := page(names, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &pubsubpb.ListTopicsResponse{NextPageToken: next}
	for _, name := range names {
		resp.Topics = append(resp.Topics, p.topics[name].config)
	}
	return resp, nil
}

func (p publisherServer) ListTopicSubscriptions(_ context.Context, req *pubsubpb.ListTopicSubscriptionsRequest) (*pubsubpb.ListTopicSubscriptionsResponse, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	t, ok := p.topics[req.GetTopic()]
	if !ok {
		return nil, notFound(req.GetTopic())
	}
	var names []string
	for _, sub := range t.subscriptions {
		names = append(names, sub.name)
	}
	slices.Sort(names)
	names, next, err := page(names, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &pubsubpb.ListTopicSubscriptionsResponse{Subscriptions: names, NextPageToken: next}, nil
}

func (p publisherServer) DeleteTopic(_ context.Context, req *pubsubpb.DeleteTopicRequest) (*emptypb.Empty, error) {
	if err := p.deleteTopic(req.GetTopic()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (p publisherServer) Publish(_ context.Context, req *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error) {
	switch n := len(req.GetMessages()); {
	case n == 0:
		return nil, status.Error(codes.InvalidArgument, "the request has no messages")
	case n > maxPublishMessages:
		return nil, status.Errorf(codes.InvalidArgument, "the request has %d messages: the limit is %d", n, maxPublishMessages)
	}
	if size := proto.Size(req); size > maxPublishBytes {
		return nil, status.Errorf(codes.InvalidArgument, "the request has %d bytes: the limit is %d", size, maxPublishBytes)
	}
	msgs := make([]Message, len(req.GetMessages()))
	for i, m := range req.GetMessages() {
		msgs[i] = Message{Data: m.GetData(), Attributes: m.GetAttributes(), OrderingKey: m.GetOrderingKey()}
	}
	ids, err := p.publish(req.GetTopic(), msgs)
	if err != nil {
		return nil, err
	}
	return &pubsubpb.PublishResponse{MessageIds: ids}, nil
}

// namesIn returns the keys of m that lie in a project, sorted.
func namesIn[V any](project string, m map[string]V) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool {
		return !strings.HasPrefix(name, project+"/")
	})
}
