package source

import (
	"context"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"pixelbeam/transforms/logentry"
)

func TestPubSubNativeTransform(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	col := PubSubNative(s, PubSubNativeConfig{Subscription: testSubscription})
	beam.ParDo(s, drop, Batch(s, col))
	requirePerformant(t, p)
	edges, _, err := p.Build()
	if err != nil {
		t.Fatal(err)
	}
	env, err := graphx.CreateEnvironment(context.Background(), graphx.URNEnvExternal, func(context.Context) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	model, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		t.Fatal(err)
	}
	var reads []*pipepb.PTransform
	for _, tr := range model.GetComponents().GetTransforms() {
		if tr.GetSpec().GetUrn() == "beam:transform:pubsub_read:v1" {
			reads = append(reads, tr)
		}
	}
	if len(reads) != 1 {
		t.Fatalf("%d read transforms, want 1", len(reads))
	}
	var got pipepb.PubSubReadPayload
	if err := proto.Unmarshal(reads[0].GetSpec().GetPayload(), &got); err != nil {
		t.Fatal(err)
	}
	want := &pipepb.PubSubReadPayload{
		Subscription:       testSubscription,
		TimestampAttribute: "logging.googleapis.com/timestamp",
		WithAttributes:     true,
	}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for _, id := range reads[0].GetOutputs() {
		if b := model.GetComponents().GetPcollections()[id].GetIsBounded(); b != pipepb.IsBounded_UNBOUNDED {
			t.Errorf("the messages are %v, want UNBOUNDED", b)
		}
	}
}

func TestUnmarshal(t *testing.T) {
	published := time.Date(2026, 11, 23, 8, 0, 1, 500000000, time.UTC)
	raw, err := proto.Marshal(&pubsubpb.PubsubMessage{
		Data:        []byte(`{"insertId":"a"}`),
		Attributes:  map[string]string{timestampAttribute: "2026-11-23T08:00:00Z", "other": "x"},
		MessageId:   "17",
		PublishTime: timestamppb.New(published),
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		raw  []byte
		want logentry.Message
	}{
		{"message", raw, logentry.Message{
			Data:        []byte(`{"insertId":"a"}`),
			Timestamp:   "2026-11-23T08:00:00Z",
			ReceiveTime: published.UnixMicro(),
			Origin:      "17",
			Offset:      -1,
		}},
		{"no message", []byte{0xff}, logentry.Message{Data: []byte{0xff}, Offset: -1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []logentry.Message
			unmarshal(context.Background(), test.raw, func(m logentry.Message) { got = append(got, m) })
			if diff := cmp.Diff([]logentry.Message{test.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("without a publish time", func(t *testing.T) {
		before := time.Now().UnixMicro()
		unmarshal(context.Background(), nil, func(m logentry.Message) {
			if m.ReceiveTime < before {
				t.Errorf("receive time %d, want the present", m.ReceiveTime)
			}
		})
	})
}

func TestPubSubNativeConfigValidate(t *testing.T) {
	tests := []struct {
		cfg PubSubNativeConfig
		ok  bool
	}{
		{PubSubNativeConfig{Subscription: testSubscription}, true},
		{PubSubNativeConfig{Topic: "projects/p/topics/t"}, true},
		{PubSubNativeConfig{}, false},
		{PubSubNativeConfig{Subscription: testSubscription, Topic: "projects/p/topics/t"}, false},
		{PubSubNativeConfig{Subscription: "s"}, false},
		{PubSubNativeConfig{Topic: testSubscription}, false},
	}
	for _, test := range tests {
		if err := test.cfg.Validate(); (err == nil) != test.ok {
			t.Errorf("%+v: error = %v, want ok %v", test.cfg, err, test.ok)
		}
	}
}
