package pubsubd

import (
	"fmt"
	"strings"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func TestTopics(t *testing.T) {
	s := start(t, Options{})
	topics, _ := adminClients(t, s)
	ctx := t.Context()
	for _, name := range []string{"c", "a", "b"} {
		if _, err := topics.CreateTopic(ctx, &pubsubpb.Topic{Name: "projects/q/topics/" + name, Labels: map[string]string{"l": name}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := topics.CreateTopic(ctx, &pubsubpb.Topic{Name: "projects/q/topics/a"})
	wantCode(t, err, codes.AlreadyExists)
	if err := s.CreateTopic("projects/q/topics/a"); err != nil {
		t.Errorf("the helper refuses what is there: %v", err)
	}
	got, err := topics.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: "projects/q/topics/b"})
	if err != nil || got.GetLabels()["l"] != "b" {
		t.Errorf("got %v, %v", got, err)
	}
	var names []string
	it := topics.ListTopics(ctx, &pubsubpb.ListTopicsRequest{Project: "projects/q", PageSize: 2})
	for {
		topic, err := it.Next()
		if err == iterator.Done {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimPrefix(topic.GetName(), "projects/q/topics/"))
	}
	if strings.Join(names, " ") != "a b c" {
		t.Errorf("listed %v", names)
	}
	if err := topics.DeleteTopic(ctx, &pubsubpb.DeleteTopicRequest{Topic: "projects/q/topics/b"}); err != nil {
		t.Fatal(err)
	}
	_, err = topics.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: "projects/q/topics/b"})
	wantCode(t, err, codes.NotFound)
	_, err = topics.Publish(ctx, &pubsubpb.PublishRequest{Topic: "projects/q/topics/b", Messages: []*pubsubpb.PubsubMessage{{Data: []byte("x")}}})
	wantCode(t, err, codes.NotFound)
	_, err = topics.UpdateTopic(ctx, &pubsubpb.UpdateTopicRequest{})
	wantCode(t, err, codes.Unimplemented)
}

func TestSubscriptions(t *testing.T) {
	s := start(t, Options{})
	topics, subs := adminClients(t, s)
	ctx := t.Context()
	made, err := subs.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: testSub})
	if err != nil || made.GetAckDeadlineSeconds() != 60 || made.GetTopic() != testTopic {
		t.Errorf("the helper made %v, %v", made, err)
	}
	const name = "projects/p/subscriptions/other"
	got, err := subs.CreateSubscription(ctx, &pubsubpb.Subscription{Name: name, Topic: testTopic})
	if err != nil || got.GetAckDeadlineSeconds() != 10 {
		t.Errorf("without a deadline: %v, %v", got, err)
	}
	_, err = subs.CreateSubscription(ctx, &pubsubpb.Subscription{Name: name, Topic: testTopic})
	wantCode(t, err, codes.AlreadyExists)
	if err := s.CreateSubscription(name, testTopic); err != nil {
		t.Errorf("the helper refuses what is there: %v", err)
	}
	if err := s.CreateTopic("projects/p/topics/t2"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.CreateSubscription(name, "projects/p/topics/t2"), codes.AlreadyExists)
	wantCode(t, s.CreateSubscription(name+"3", "projects/p/topics/t3"), codes.NotFound)

	it := topics.ListTopicSubscriptions(ctx, &pubsubpb.ListTopicSubscriptionsRequest{Topic: testTopic, PageSize: 1})
	first, err := it.Next()
	if err != nil {
		t.Fatal(err)
	}
	second, err := it.Next()
	if first != name || second != testSub || err != nil {
		t.Errorf("the topic's subscriptions are %q, %q, %v", first, second, err)
	}
	list := subs.ListSubscriptions(ctx, &pubsubpb.ListSubscriptionsRequest{Project: "projects/p"})
	listed, err := list.Next()
	if err != nil || listed.GetName() != name {
		t.Errorf("listed %v, %v", listed, err)
	}

	updated, err := subs.UpdateSubscription(ctx, &pubsubpb.UpdateSubscriptionRequest{
		Subscription: &pubsubpb.Subscription{Name: name, AckDeadlineSeconds: 33, Labels: map[string]string{"a": "b"}, MessageRetentionDuration: durationpb.New(1)},
		UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"ack_deadline_seconds", "labels"}},
	})
	if err != nil || updated.GetAckDeadlineSeconds() != 33 || updated.GetLabels()["a"] != "b" || updated.GetMessageRetentionDuration().AsDuration() != serviceRetention {
		t.Errorf("updated to %v, %v", updated, err)
	}
	for _, path := range []string{"topic", "name", "nonsense"} {
		_, err = subs.UpdateSubscription(ctx, &pubsubpb.UpdateSubscriptionRequest{
			Subscription: &pubsubpb.Subscription{Name: name}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}},
		})
		wantCode(t, err, codes.InvalidArgument)
	}

	publish(t, s, "a")
	if err := topics.DeleteTopic(ctx, &pubsubpb.DeleteTopicRequest{Topic: testTopic}); err != nil {
		t.Fatal(err)
	}
	orphan, err := subs.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: testSub})
	if err != nil || orphan.GetTopic() != deletedTopic {
		t.Errorf("after its topic was deleted the subscription is %v, %v", orphan, err)
	}
	wantTexts(t, pullOnce(t, subs, 1), "a")

	if err := subs.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: testSub}); err != nil {
		t.Fatal(err)
	}
	_, err = subs.Pull(ctx, &pubsubpb.PullRequest{Subscription: testSub, MaxMessages: 1})
	wantCode(t, err, codes.NotFound)
	_, err = s.Stats(testSub)
	wantCode(t, err, codes.NotFound)
}

func TestDeletingASubscriptionEndsItsPulls(t *testing.T) {
	s := start(t, Options{PullWait: 1 << 40})
	_, subs := adminClients(t, s)
	ended := make(chan error)
	go func() {
		_, err := subs.Pull(t.Context(), &pubsubpb.PullRequest{Subscription: testSub, MaxMessages: 1})
		ended <- err
	}()
	if err := subs.DeleteSubscription(t.Context(), &pubsubpb.DeleteSubscriptionRequest{Subscription: testSub}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-ended, codes.NotFound)
}

func TestUnsupportedIsRefused(t *testing.T) {
	s := start(t, Options{})
	topics, subs := adminClients(t, s)
	for field, sub := range map[string]*pubsubpb.Subscription{
		"filter":                       {Filter: "attributes:a"},
		"enable_message_ordering":      {EnableMessageOrdering: true},
		"enable_exactly_once_delivery": {EnableExactlyOnceDelivery: true},
		"push_config":                  {PushConfig: &pubsubpb.PushConfig{PushEndpoint: "http://localhost"}},
		"dead_letter_policy":           {DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{}},
		"retry_policy":                 {RetryPolicy: &pubsubpb.RetryPolicy{}},
	} {
		sub.Name, sub.Topic = "projects/p/subscriptions/new", testTopic
		_, err := subs.CreateSubscription(t.Context(), sub)
		wantCode(t, err, codes.Unimplemented)
		if !strings.Contains(err.Error(), field) {
			t.Errorf("error does not name %s: %v", field, err)
		}
	}
	_, err := topics.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/p/topics/new", KmsKeyName: "k"})
	wantCode(t, err, codes.Unimplemented)
	_, err = subs.Seek(t.Context(), &pubsubpb.SeekRequest{Subscription: testSub})
	wantCode(t, err, codes.Unimplemented)
}

func TestInvalidRequests(t *testing.T) {
	s := start(t, Options{})
	topics, subs := adminClients(t, s)
	many := func(n int) []*pubsubpb.PubsubMessage {
		msgs := make([]*pubsubpb.PubsubMessage, n)
		for i := range msgs {
			msgs[i] = &pubsubpb.PubsubMessage{Data: []byte("x")}
		}
		return msgs
	}
	attributes := map[string]string{}
	for i := range 101 {
		attributes[fmt.Sprint(i)] = ""
	}
	for name, call := range map[string]func() error{
		"topic name": func() error {
			_, err := topics.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/p/topic/t"})
			return err
		},
		"subscription name": func() error {
			_, err := subs.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: "projects//subscriptions/t", Topic: testTopic})
			return err
		},
		"ack deadline": func() error {
			_, err := subs.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: testSub + "x", Topic: testTopic, AckDeadlineSeconds: 601})
			return err
		},
		"no messages": func() error { return publishRequest(t, s, nil) },
		"too many messages": func() error {
			return publishRequest(t, s, many(1001))
		},
		"too many bytes": func() error {
			return publishRequest(t, s, []*pubsubpb.PubsubMessage{{Data: make([]byte, 6_000_000)}, {Data: make([]byte, 4_000_000)}})
		},
		"empty message":   func() error { return publishRequest(t, s, []*pubsubpb.PubsubMessage{{}}) },
		"many attributes": func() error { return publishRequest(t, s, []*pubsubpb.PubsubMessage{{Attributes: attributes}}) },
		"long key": func() error {
			return publishRequest(t, s, []*pubsubpb.PubsubMessage{{Attributes: map[string]string{strings.Repeat("k", 257): ""}}})
		},
		"long value": func() error {
			return publishRequest(t, s, []*pubsubpb.PubsubMessage{{Attributes: map[string]string{"k": strings.Repeat("v", 1025)}}})
		},
		"attribute not UTF-8": func() error {
			_, err := s.Publish(testTopic, Message{Attributes: map[string]string{"k": "\xff"}})
			return err
		},
		"large message in process": func() error {
			_, err := s.Publish(testTopic, Message{Data: make([]byte, 10_000_001)})
			return err
		},
		"max_messages": func() error {
			_, err := subs.Pull(t.Context(), &pubsubpb.PullRequest{Subscription: testSub})
			return err
		},
		"malformed ack id": func() error {
			return subs.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{Subscription: testSub, AckIds: []string{"?"}})
		},
		"deadline": func() error {
			return subs.ModifyAckDeadline(t.Context(), &pubsubpb.ModifyAckDeadlineRequest{Subscription: testSub, AckIds: []string{"1"}, AckDeadlineSeconds: 601})
		},
		"project": func() error {
			_, err := topics.ListTopics(t.Context(), &pubsubpb.ListTopicsRequest{Project: "p"}).Next()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, call(), codes.InvalidArgument) })
	}
	if err := publishRequest(t, s, many(1000)); err != nil {
		t.Errorf("1000 messages: %v", err)
	}
	if err := publishRequest(t, s, []*pubsubpb.PubsubMessage{{Data: make([]byte, 9_999_900)}}); err != nil {
		t.Errorf("just under 10 MB: %v", err)
	}
	wantStats(t, s, Stats{Published: 1001, Backlog: 1001})
}

func publishRequest(t *testing.T, s *Server, msgs []*pubsubpb.PubsubMessage) error {
	t.Helper()
	topics, _ := adminClients(t, s)
	_, err := topics.Publish(t.Context(), &pubsubpb.PublishRequest{Topic: testTopic, Messages: msgs})
	return err
}
