package source

import (
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"pixelbeam/transforms/logentry"
)

// response has n messages of different shapes.
func response(n int) *pubsubpb.PullResponse {
	r := &pubsubpb.PullResponse{}
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for i := range n {
		m := &pubsubpb.PubsubMessage{MessageId: fmt.Sprint("id-", i), OrderingKey: "other"}
		if i%2 == 0 {
			m.PublishTime = timestamppb.New(at.Add(time.Duration(i) * 1_234_567 * time.Nanosecond))
		}
		if i%3 != 0 {
			m.Attributes = map[string]string{"other": "x", timestampAttribute: at.Add(-time.Duration(i) * time.Hour).Format(time.RFC3339Nano)}
		}
		if i%5 != 0 {
			m.Data = []byte(fmt.Sprintf(`{"n":%d}`, i))
		}
		r.ReceivedMessages = append(r.ReceivedMessages, &pubsubpb.ReceivedMessage{AckId: fmt.Sprint("ack-", i), Message: m, DeliveryAttempt: 3})
	}
	return r
}

// The batch is what the generated code and newMessage make of the response.
func TestParsePullResponse(t *testing.T) {
	for _, n := range []int{0, 1, 7, 100} {
		want := response(n)
		encoded, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		codec := newPullCodec()
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(encoded)}, &pubsubpb.PullResponse{}); err != nil {
			t.Fatal(err)
		}
		compareBatch(t, want, codec.batch)
	}
}

func compareBatch(t *testing.T, want *pubsubpb.PullResponse, got *batch) {
	t.Helper()
	var messages []logentry.Message
	var ackIDs []string
	var earliest beam.EventTime
	var sample []int64
	for i, rm := range want.GetReceivedMessages() {
		m := newMessage(rm.GetMessage())
		messages, ackIDs = append(messages, m), append(ackIDs, rm.GetAckId())
		at := m.ReceiveTime / 1000
		if parsed, err := time.Parse(time.RFC3339Nano, m.Timestamp); err == nil {
			at = parsed.UnixMilli()
		}
		if i == 0 || at < int64(earliest) {
			earliest = beam.EventTime(at)
		}
		if i%sampleStride == 0 {
			sample = append(sample, at)
		}
	}
	if diff := cmp.Diff(ackIDs, got.ackIDs); diff != "" {
		t.Errorf("ack ids (-want +got):\n%s", diff)
	}
	// Without data a slice may be nil or empty.
	empty := cmp.Transformer("text", func(b []byte) string { return string(b) })
	if diff := cmp.Diff(messages, got.messages, empty); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if got.earliest != earliest {
		t.Errorf("earliest %v, want %v", got.earliest, earliest)
	}
	if diff := cmp.Diff(sample, got.sample); diff != "" && len(messages) > 0 {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
}

// FuzzParsePullResponse compares with the generated code whatever it takes, and
// takes nothing that it refuses for its framing.
func FuzzParsePullResponse(f *testing.F) {
	for _, n := range []int{0, 1, 3} {
		encoded, err := proto.Marshal(response(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
		f.Add(encoded[:len(encoded)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parsePullResponse(b)
		var want pubsubpb.PullResponse
		if proto.Unmarshal(b, &want) != nil {
			return // it also checks UTF-8, and fields that we skip
		}
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		if len(got.messages) != len(want.GetReceivedMessages()) {
			t.Fatalf("%d messages, want %d", len(got.messages), len(want.GetReceivedMessages()))
		}
	})
}

func BenchmarkParsePullResponse(b *testing.B) {
	r := response(1000)
	for _, rm := range r.GetReceivedMessages() {
		rm.Message.Data = make([]byte, 1575)
	}
	encoded, err := proto.Marshal(r)
	if err != nil {
		b.Fatal(err)
	}
	data := mem.BufferSlice{mem.SliceBuffer(encoded)}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(encoded)))
		for b.Loop() {
			codec := newPullCodec()
			if err := codec.Unmarshal(data, &pubsubpb.PullResponse{}); err != nil || len(codec.batch.messages) != 1000 {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(encoded)))
		for b.Loop() {
			var response pubsubpb.PullResponse
			if err := newPullCodec().CodecV2.Unmarshal(data, &response); err != nil {
				b.Fatal(err)
			}
			messages := make([]logentry.Message, len(response.GetReceivedMessages()))
			for i, rm := range response.GetReceivedMessages() {
				messages[i] = newMessage(rm.GetMessage())
			}
			if len(messages) != 1000 {
				b.Fatal(len(messages))
			}
		}
	})
}
