package source

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/protox"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/reflectx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/logentry"
)

func init() {
	beam.RegisterFunction(unmarshal)
	dofn.RegisterMethod(func(f func(context.Context, []byte, func(logentry.Message)), a []any) []any {
		f(a[0].(context.Context), a[1].([]byte), a[2].(func(logentry.Message)))
		return nil
	})
}

// pubSubReadURN names the transform that Dataflow replaces by its own Pub/Sub
// source. Its payload is a PubSubReadPayload of beam_runner_api.proto.
const pubSubReadURN = "beam:transform:pubsub_read:v1"

var pubSubMalformed = beam.NewCounter("source", "pubsub_messages_malformed")

// PubSubNativeConfig says what Dataflow shall read. Exactly one field is set.
type PubSubNativeConfig struct {
	// Subscription is projects/P/subscriptions/S.
	Subscription string
	// Topic is projects/P/topics/T. Dataflow makes a subscription of its own,
	// which sees what is published from then on.
	Topic string
}

var topicName = regexp.MustCompile(`^projects/[^/]+/topics/[^/]+$`)

// Validate reports what is wrong with the configuration.
func (c PubSubNativeConfig) Validate() error {
	switch {
	case (c.Subscription == "") == (c.Topic == ""):
		return errors.New("give either a subscription or a topic")
	case c.Topic != "" && !topicName.MatchString(c.Topic):
		return fmt.Errorf("topic %q is not of the form projects/PROJECT/topics/NAME", c.Topic)
	case c.Subscription != "" && !subscriptionName.MatchString(c.Subscription):
		return fmt.Errorf("subscription %q is not of the form projects/PROJECT/subscriptions/NAME", c.Subscription)
	}
	return nil
}

// PubSubNative returns PCollection<logentry.Message>, read by Dataflow itself;
// no other runner knows the transform. It is unbounded, and panics on a
// configuration that does not validate.
//
// Event time and watermark are the service's, from the attribute
// logging.googleapis.com/timestamp. The messages are as those of PubSub.
func PubSubNative(s beam.Scope, cfg PubSubNativeConfig) beam.PCollection {
	s = s.Scope("source.PubSubNative")
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	payload := protox.MustEncode(&pipepb.PubSubReadPayload{
		Subscription:       cfg.Subscription,
		Topic:              cfg.Topic,
		TimestampAttribute: timestampAttribute,
		WithAttributes:     true,
	})
	raw := beam.External(s, pubSubReadURN, payload, nil, []beam.FullType{typex.New(reflectx.ByteSlice)}, false)
	return beam.ParDo(s, unmarshal, raw[0])
}

// unmarshal turns a serialised PubsubMessage into ours.
func unmarshal(ctx context.Context, raw []byte, emit func(logentry.Message)) {
	var m pubsubpb.PubsubMessage
	if err := proto.Unmarshal(raw, &m); err != nil {
		// Not an outside fault that a retry could cure. What came is passed on,
		// to be rejected with its bytes.
		pubSubMalformed.Inc(ctx, 1)
		log.Warnf(ctx, "Pub/Sub delivered bytes that are no PubsubMessage: %v", err)
		emit(logentry.Message{Data: raw, Offset: -1})
		return
	}
	out := newMessage(&m)
	if out.ReceiveTime == 0 {
		out.ReceiveTime = time.Now().UnixMicro()
	}
	emit(out)
}
