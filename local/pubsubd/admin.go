package pubsubd

import (
	"slices"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// deletedTopic is the topic of subscriptions whose topic is gone, as the real
// service names it.
const deletedTopic = "_deleted-topic_"

const (
	minAckDeadline     = 10  // seconds
	maxAckDeadline     = 600 // seconds
	serviceAckDeadline = 10  // seconds; of a subscription that names none
	serviceRetention   = 7 * 24 * time.Hour
)

// unsupported returns an UNIMPLEMENTED error that names what a configuration asks
// for and this server does not do: a test against it must not pass by silence.
func unsupported(wants map[string]bool) error {
	var names []string
	for name, wanted := range wants {
		if wanted {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return status.Errorf(codes.Unimplemented, "not supported by this local server: %v", names)
}

func checkTopic(t *pubsubpb.Topic) error {
	if err := checkName(t.GetName(), "topics"); err != nil {
		return err
	}
	return unsupported(map[string]bool{
		"schema_settings":                t.GetSchemaSettings() != nil,
		"kms_key_name":                   t.GetKmsKeyName() != "",
		"ingestion_data_source_settings": t.GetIngestionDataSourceSettings() != nil,
		"message_transforms":             len(t.GetMessageTransforms()) > 0,
	})
}

func checkSubscription(c *pubsubpb.Subscription) error {
	if err := checkName(c.GetName(), "subscriptions"); err != nil {
		return err
	}
	if d := c.GetAckDeadlineSeconds(); d < minAckDeadline || d > maxAckDeadline {
		return status.Errorf(codes.InvalidArgument, "ack_deadline_seconds %d: want %d to %d", d, minAckDeadline, maxAckDeadline)
	}
	return unsupported(map[string]bool{
		"push_config":                  c.GetPushConfig().GetPushEndpoint() != "",
		"bigquery_config":              c.GetBigqueryConfig() != nil,
		"cloud_storage_config":         c.GetCloudStorageConfig() != nil,
		"retain_acked_messages":        c.GetRetainAckedMessages(),
		"enable_message_ordering":      c.GetEnableMessageOrdering(),
		"filter":                       c.GetFilter() != "",
		"dead_letter_policy":           c.GetDeadLetterPolicy() != nil,
		"retry_policy":                 c.GetRetryPolicy() != nil,
		"detached":                     c.GetDetached(),
		"enable_exactly_once_delivery": c.GetEnableExactlyOnceDelivery(),
		"message_transforms":           len(c.GetMessageTransforms()) > 0,
	})
}

// logConfig writes a change of configuration.
func (s *Server) logConfig(records []byte, change func(configs map[string][]byte)) error {
	if s.log == nil {
		return nil
	}
	if err := s.log.appendConfig(records, change); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return nil
}

func (s *Server) createTopic(config *pubsubpb.Topic) (*pubsubpb.Topic, error) {
	if err := checkTopic(config); err != nil {
		return nil, err
	}
	config = proto.CloneOf(config)
	config.State = pubsubpb.Topic_ACTIVE
	encoded, err := proto.Marshal(config)
	if err != nil {
		return nil, err
	}
	name, record := config.GetName(), appendTopicRecord(nil, encoded)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.topics[name]; ok {
		return nil, alreadyExists(name)
	}
	err = s.logConfig(record, func(configs map[string][]byte) { configs[topicKey(name)] = record })
	if err != nil {
		return nil, err
	}
	s.topics[name] = &topic{config: config}
	return config, nil
}

// deleteTopic deletes a topic; its subscriptions keep their messages.
func (s *Server) deleteTopic(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.topics[name]
	if !ok {
		return notFound(name)
	}
	records := appendTopicGoneRecord(nil, name)
	orphans := map[string][]byte{}
	changed := map[*subscription]*pubsubpb.Subscription{}
	for _, sub := range t.subscriptions {
		config := proto.CloneOf(sub.settings())
		config.Topic = deletedTopic
		encoded, err := proto.Marshal(config)
		if err != nil {
			return err
		}
		record := appendSubscriptionRecord(nil, sub.number, encoded)
		orphans[subscriptionKey(sub.number)] = record
		changed[sub] = config
		records = append(records, record...)
	}
	err := s.logConfig(records, func(configs map[string][]byte) {
		delete(configs, topicKey(name))
		for key, record := range orphans {
			configs[key] = record
		}
	})
	if err != nil {
		return err
	}
	delete(s.topics, name)
	for sub, config := range changed {
		sub.configure(config)
	}
	return nil
}

func (s *Server) createSubscription(config *pubsubpb.Subscription) (*pubsubpb.Subscription, error) {
	config = proto.CloneOf(config)
	if config.GetAckDeadlineSeconds() == 0 {
		config.AckDeadlineSeconds = serviceAckDeadline
	}
	if config.GetMessageRetentionDuration() == nil {
		config.MessageRetentionDuration = durationpb.New(serviceRetention)
	}
	if config.GetPushConfig() == nil {
		config.PushConfig = &pubsubpb.PushConfig{}
	}
	config.State = pubsubpb.Subscription_ACTIVE
	if err := checkSubscription(config); err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(config)
	if err != nil {
		return nil, err
	}
	name := config.GetName()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.subscriptions[name]; ok {
		return nil, alreadyExists(name)
	}
	t, ok := s.topics[config.GetTopic()]
	if !ok {
		return nil, notFound(config.GetTopic())
	}
	number := s.lastNumber + 1
	record := appendSubscriptionRecord(nil, number, encoded)
	err = s.logConfig(record, func(configs map[string][]byte) { configs[subscriptionKey(number)] = record })
	if err != nil {
		return nil, err
	}
	s.lastNumber = number
	sub := s.newSubscription(number, config)
	s.subscriptions[name] = sub
	t.subscriptions = append(slices.Clone(t.subscriptions), sub)
	return config, nil
}

// updateSubscription sets the fields of the mask.
func (s *Server) updateSubscription(update *pubsubpb.Subscription, mask []string) (*pubsubpb.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, ok := s.subscriptions[update.GetName()]
	if !ok {
		return nil, notFound(update.GetName())
	}
	config := proto.CloneOf(sub.settings())
	fields := config.ProtoReflect().Descriptor().Fields()
	for _, path := range mask {
		fd := fields.ByTextName(path)
		if fd == nil || path == "name" || path == "topic" || path == "state" {
			return nil, status.Errorf(codes.InvalidArgument, "update_mask path %.100q is not a field that can be updated", path)
		}
		if update.ProtoReflect().Has(fd) {
			config.ProtoReflect().Set(fd, update.ProtoReflect().Get(fd))
		} else {
			config.ProtoReflect().Clear(fd)
		}
	}
	if len(mask) == 0 {
		return nil, status.Error(codes.InvalidArgument, "update_mask is empty")
	}
	if config.GetAckDeadlineSeconds() == 0 {
		config.AckDeadlineSeconds = serviceAckDeadline
	}
	if err := checkSubscription(config); err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(config)
	if err != nil {
		return nil, err
	}
	record := appendSubscriptionRecord(nil, sub.number, encoded)
	err = s.logConfig(record, func(configs map[string][]byte) { configs[subscriptionKey(sub.number)] = record })
	if err != nil {
		return nil, err
	}
	sub.configure(config)
	return config, nil
}

func (s *Server) deleteSubscription(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, ok := s.subscriptions[name]
	if !ok {
		return notFound(name)
	}
	err := s.logConfig(appendSubscriptionGoneRecord(nil, sub.number), func(configs map[string][]byte) {
		delete(configs, subscriptionKey(sub.number))
	})
	if err != nil {
		return err
	}
	delete(s.subscriptions, name)
	if t, ok := s.topics[sub.settings().GetTopic()]; ok {
		t.subscriptions = slices.DeleteFunc(slices.Clone(t.subscriptions), func(other *subscription) bool { return other == sub })
	}
	sub.close()
	return nil
}
