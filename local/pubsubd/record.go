package pubsubd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A segment file is segmentMagic and then records. A record is the length of its
// payload (uint32, little endian, never 0), the CRC-32C of the payload (uint32,
// little endian) and the payload: a type byte and a body, whose numbers are
// unsigned varints.
const (
	segmentMagic = "pubsubd1"
	headerSize   = 8
	// maxPayload is more than any record needs: the largest publish is a
	// message of 10 MB, the largest acknowledgement the ids of one request.
	maxPayload = 64 << 20
)

const (
	recordTopic            byte = 1 + iota // a Topic
	recordTopicGone                        // the topic's name
	recordSubscription                     // number, a Subscription
	recordSubscriptionGone                 // number
	recordPublish                          // message id, publish time (ns), count and numbers of subscriptions, a PubsubMessage
	recordAck                              // subscription number, count, message ids
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	// errTorn is a record that the end of the data cuts short.
	errTorn = errors.New("record cut short")
	// errCorrupt is a record that does not match its checksum or format.
	errCorrupt = errors.New("corrupt record")
)

// appendRecord appends a record whose payload body appends.
func appendRecord(b []byte, kind byte, body func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, headerSize)...)
	b = body(append(b, kind))
	payload := b[start+headerSize:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(payload, castagnoli))
	return b
}

// nextRecord splits b after its first record. The payload borrows from b.
func nextRecord(b []byte) (payload, rest []byte, err error) {
	if len(b) < headerSize {
		return nil, b, errTorn
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > maxPayload {
		return nil, b, fmt.Errorf("%w: length %d", errCorrupt, n)
	}
	if uint64(len(b)-headerSize) < uint64(n) {
		return nil, b, errTorn
	}
	payload = b[headerSize : headerSize+n : headerSize+n]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, b, fmt.Errorf("%w: checksum", errCorrupt)
	}
	return payload, b[headerSize+n:], nil
}

func appendTopicRecord(b []byte, topic []byte) []byte {
	return appendRecord(b, recordTopic, func(b []byte) []byte { return append(b, topic...) })
}

func appendTopicGoneRecord(b []byte, name string) []byte {
	return appendRecord(b, recordTopicGone, func(b []byte) []byte { return append(b, name...) })
}

func appendSubscriptionRecord(b []byte, number uint64, subscription []byte) []byte {
	return appendRecord(b, recordSubscription, func(b []byte) []byte {
		return append(binary.AppendUvarint(b, number), subscription...)
	})
}

func appendSubscriptionGoneRecord(b []byte, number uint64) []byte {
	return appendRecord(b, recordSubscriptionGone, func(b []byte) []byte {
		return binary.AppendUvarint(b, number)
	})
}

// appendPublishRecord appends a record that ends with encoded, m's encoding.
func appendPublishRecord(b []byte, m *message, encoded []byte, subscriptions []uint64) []byte {
	return appendRecord(b, recordPublish, func(b []byte) []byte {
		b = binary.AppendUvarint(b, m.id)
		b = binary.AppendUvarint(b, uint64(m.published.UnixNano()))
		b = binary.AppendUvarint(b, uint64(len(subscriptions)))
		for _, n := range subscriptions {
			b = binary.AppendUvarint(b, n)
		}
		return append(b, encoded...)
	})
}

func appendAckRecord(b []byte, subscription uint64, ids []uint64) []byte {
	return appendRecord(b, recordAck, func(b []byte) []byte {
		b = binary.AppendUvarint(b, subscription)
		b = binary.AppendUvarint(b, uint64(len(ids)))
		for _, id := range ids {
			b = binary.AppendUvarint(b, id)
		}
		return b
	})
}

// numbers reads varints from a record's body.
type numbers struct {
	b   []byte
	bad bool
}

func (r *numbers) next() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// list reads a count and that many numbers, each at least one byte long.
func (r *numbers) list() []uint64 {
	n := r.next()
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = r.next()
	}
	return out
}

func (r *numbers) err() error {
	if r.bad {
		return fmt.Errorf("%w: body", errCorrupt)
	}
	return nil
}

// parsePublish reads the body of a publish record. The message's encoding borrows
// from body, at its end.
func parsePublish(body []byte) (*message, []uint64, error) {
	r := numbers{b: body}
	m := &message{id: r.next(), published: time.Unix(0, int64(r.next()))}
	subscriptions := r.list()
	m.encoded, m.size = r.b, len(r.b)
	return m, subscriptions, r.err()
}

// parseAck reads the body of an acknowledgement record.
func parseAck(body []byte) (subscription uint64, ids []uint64, err error) {
	r := numbers{b: body}
	subscription = r.next()
	ids = r.list()
	return subscription, ids, r.err()
}
