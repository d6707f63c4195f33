package pubsubd

import (
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of the real service.
const (
	maxPublishBytes    = 10_000_000
	maxPublishMessages = 1000
	maxPullMessages    = 1000
	maxAttributes      = 100
	maxAttributeKey    = 256
	maxAttributeValue  = 1024
)

// Message is one message to publish. It needs data or an attribute.
type Message struct {
	Data       []byte
	Attributes map[string]string
	// OrderingKey is handed to subscribers and otherwise ignored.
	OrderingKey string
}

// check returns an INVALID_ARGUMENT error for a message that the real service
// would refuse.
func (m *Message) check() error {
	if len(m.Data) == 0 && len(m.Attributes) == 0 {
		return status.Error(codes.InvalidArgument, "a message must have data or at least one attribute")
	}
	if len(m.Data) > maxPublishBytes {
		return status.Errorf(codes.InvalidArgument, "a message's data has %d bytes: the limit is %d", len(m.Data), maxPublishBytes)
	}
	if len(m.Attributes) > maxAttributes {
		return status.Errorf(codes.InvalidArgument, "a message has %d attributes: the limit is %d", len(m.Attributes), maxAttributes)
	}
	if len(m.OrderingKey) > maxAttributeValue || !utf8.ValidString(m.OrderingKey) {
		return status.Errorf(codes.InvalidArgument, "ordering key %.40q: want UTF-8 of at most %d bytes", m.OrderingKey, maxAttributeValue)
	}
	for k, v := range m.Attributes {
		if k == "" || len(k) > maxAttributeKey || len(v) > maxAttributeValue {
			return status.Errorf(codes.InvalidArgument, "attribute %.40q: a key has 1 to %d bytes, a value at most %d",
				k, maxAttributeKey, maxAttributeValue)
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return status.Errorf(codes.InvalidArgument, "attribute %.40q is not UTF-8", k)
		}
	}
	return nil
}

// encode returns the PubsubMessage in wire format.
func (m *Message) encode(id uint64, published time.Time) []byte {
	var idText [20]byte
	idBytes := strconv.AppendUint(idText[:0], id, 10)
	seconds, nanos := uint64(published.Unix()), uint64(published.Nanosecond())
	stamp := 1 + protowire.SizeVarint(seconds) + 1 + protowire.SizeVarint(nanos)
	size := 1 + protowire.SizeBytes(len(m.Data)) + 1 + protowire.SizeBytes(len(idBytes)) + 1 + protowire.SizeBytes(stamp)
	for k, v := range m.Attributes {
		size += 1 + protowire.SizeBytes(attributeSize(k, v))
	}
	if m.OrderingKey != "" {
		size += 1 + protowire.SizeBytes(len(m.OrderingKey))
	}
	b := make([]byte, 0, size)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendBytes(b, m.Data)
	for k, v := range m.Attributes {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(attributeSize(k, v)))
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, k)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendString(b, v)
	}
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	b = protowire.AppendBytes(b, idBytes)
	b = protowire.AppendTag(b, 4, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(stamp))
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, seconds)
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	b = protowire.AppendVarint(b, nanos)
	if m.OrderingKey != "" {
		b = protowire.AppendTag(b, 5, protowire.BytesType)
		b = protowire.AppendString(b, m.OrderingKey)
	}
	return b
}

func attributeSize(k, v string) int {
	return 1 + protowire.SizeBytes(len(k)) + 1 + protowire.SizeBytes(len(v))
}

// encodeReceived returns the wire format of a repeated ReceivedMessage field with
// number 1, as it stands in PullResponse and StreamingPullResponse.
// It fails where the log cannot be read, and leaves out what was acknowledged
// meanwhile.
func encodeReceived(sub *subscription, ds []delivery) ([]byte, error) {
	var scratch [16]byte
	received := func(d delivery) (ackID []byte, size int) {
		ackID = strconv.AppendUint(scratch[:0], d.lease, 36)
		return ackID, 1 + protowire.SizeBytes(len(ackID)) + 1 + protowire.SizeBytes(d.item.msg.size)
	}
	total := 0
	for _, d := range ds {
		_, size := received(d)
		total += 1 + protowire.SizeBytes(size)
	}
	b := make([]byte, 0, total)
	for _, d := range ds {
		encoded, err := d.item.msg.load()
		if err != nil {
			if !sub.holds(d) {
				continue
			}
			return nil, status.Errorf(codes.Unavailable, "pubsubd: read a message: %v", err)
		}
		ackID, size := received(d)
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendBytes(b, ackID)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, encoded)
	}
	return b, nil
}

// parseAckIDs returns the leases of acknowledgement ids.
func parseAckIDs(ids []string) ([]uint64, error) {
	out := make([]uint64, len(ids))
	for i, id := range ids {
		lease, err := strconv.ParseUint(id, 36, 64)
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "malformed acknowledgement id %.60q", id)
		}
		out[i] = lease
	}
	return out, nil
}
