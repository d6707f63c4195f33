package source

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of requests
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/transforms/logentry"
)

// timestampAttribute is the attribute that the log router gives every message:
// the entry's timestamp, RFC 3339.
// https://cloud.google.com/logging/docs/export/pubsub
const timestampAttribute = "logging.googleapis.com/timestamp"

// pullCodec makes a batch of the response of one pull, in place of a
// PullResponse: the messages share one copy of the response, and their ids one
// string, where the generated code allocates some ten objects a message.
type pullCodec struct {
	encoding.CodecV2 // of the request
	batch            *batch
}

func newPullCodec() *pullCodec {
	return &pullCodec{CodecV2: encoding.GetCodecV2("proto"), batch: &batch{}}
}

// Unmarshal leaves the PullResponse empty.
func (c *pullCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if _, ok := v.(*pubsubpb.PullResponse); !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	var err error
	c.batch, err = parsePullResponse(data.Materialize())
	return err
}

// received is a ReceivedMessage, as places in the response.
type received struct {
	ackID, data, timestamp, id []byte
	published                  int64 // microseconds since the Unix epoch; 0 if absent
}

// parsePullResponse reads a google.pubsub.v1.PullResponse in wire format. The
// batch borrows from it.
func parsePullResponse(response []byte) (*batch, error) {
	all := make([]received, 0, pullSize)
	text := 0
	err := eachField(response, func(field protowire.Number, value []byte, _ uint64) error {
		if field != 1 || value == nil { // received_messages
			return nil
		}
		all = append(all, received{})
		r := &all[len(all)-1]
		if err := r.parse(value); err != nil {
			return err
		}
		text += len(r.ackID) + len(r.timestamp) + len(r.id)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("PullResponse: %w", err)
	}
	if len(all) == 0 {
		return &batch{}, nil
	}

	var texts strings.Builder
	texts.Grow(text)
	cut := func(b []byte) string {
		start := texts.Len()
		texts.Write(b)
		return texts.String()[start:]
	}
	b := &batch{ackIDs: make([]string, len(all)), messages: make([]logentry.Message, len(all)), sample: make([]int64, 0, 1+len(all)/sampleStride)}
	for i := range all {
		r := &all[i]
		b.ackIDs[i] = cut(r.ackID)
		b.messages[i] = logentry.Message{
			Data:        r.data,
			Timestamp:   cut(r.timestamp),
			ReceiveTime: r.published,
			Origin:      cut(r.id),
			Offset:      -1,
		}
		at := eventTime(r.timestamp, r.published)
		if i == 0 || at < b.earliest {
			b.earliest = at
		}
		if i%sampleStride == 0 {
			b.sample = append(b.sample, int64(at))
		}
	}
	return b, nil
}

// parse reads a ReceivedMessage.
func (r *received) parse(message []byte) error {
	return eachField(message, func(field protowire.Number, value []byte, _ uint64) error {
		switch field {
		case 1: // ack_id
			r.ackID = value
		case 2: // message
			return r.parseMessage(value)
		}
		return nil
	})
}

// parseMessage reads a PubsubMessage.
func (r *received) parseMessage(message []byte) error {
	return eachField(message, func(field protowire.Number, value []byte, _ uint64) error {
		switch field {
		case 1: // data
			r.data = value
		case 2: // attributes
			var key, text []byte
			err := eachField(value, func(field protowire.Number, v []byte, _ uint64) error {
				switch field {
				case 1:
					key = v
				case 2:
					text = v
				}
				return nil
			})
			if string(key) == timestampAttribute {
				r.timestamp = text
			}
			return err
		case 3: // message_id
			r.id = value
		case 4: // publish_time
			var seconds, nanos int64
			err := eachField(value, func(field protowire.Number, _ []byte, n uint64) error {
				switch field {
				case 1:
					seconds = int64(n)
				case 2:
					nanos = int64(int32(n))
				}
				return nil
			})
			r.published = seconds*1e6 + nanos/1e3
			return err
		}
		return nil
	})
}

// eachField calls f for every field of a message in wire format, with its value
// if it has a length, or its number if it is a varint.
func eachField(message []byte, f func(field protowire.Number, value []byte, number uint64) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
			value = slices.Clip(value)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(field, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := f(field, value, number); err != nil {
			return err
		}
	}
	return nil
}

// newMessage turns a Pub/Sub message into ours, which shares its memory.
func newMessage(m *pubsubpb.PubsubMessage) logentry.Message {
	out := logentry.Message{
		Data:      m.GetData(),
		Timestamp: m.GetAttributes()[timestampAttribute],
		Origin:    m.GetMessageId(),
		Offset:    -1,
	}
	if t := m.GetPublishTime(); t != nil {
		out.ReceiveTime = t.AsTime().UnixMicro()
	}
	return out
}

// eventTime returns the time in the message's attribute, else its publish time,
// in microseconds since the Unix epoch.
func eventTime(timestamp []byte, published int64) beam.EventTime {
	if at, ok := logentry.ParseTime(timestamp); ok {
		published = at
	}
	return mtime.FromTime(time.UnixMicro(published))
}
