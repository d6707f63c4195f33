package load

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/local/traffic"
)

const (
	// A message is named by its number in this many decimal digits.
	numberDigits = 13
	maxMessages  = 1e12

	// An insertId is idPrefix and the number.
	idPrefix = "pxload-"
	idSize   = len(idPrefix) + numberDigits
	// An ack id is the number and a filler, as long as those of the real service.
	ackIDSize = 176
	// timeLayout has one length, whatever the time.
	timeLayout = "2006-01-02T15:04:05.000000Z"
	timeSize   = len(timeLayout)
	// timestampAttribute is the attribute that a log sink gives a message.
	timestampAttribute = "logging.googleapis.com/timestamp"
)

// template is one entry as a received_messages field of a PullResponse, and
// where in it a message writes what is its own. A place of 0 is none.
type template struct {
	bytes []byte
	kind  traffic.Kind
	// late is how long before its publishing the entry's event was, in
	// microseconds.
	late int64

	ackID, insertID, timestamp, receiveTimestamp, attribute, messageID, seconds, nanos int
}

// makeTemplates makes n entries.
func makeTemplates(opts traffic.Options, n int) []template {
	now := time.Now()
	opts.Live = true
	opts.Now = func() time.Time { return now }
	g := traffic.New(opts)
	out := make([]template, n)
	for i := range out {
		var e traffic.Entry
		g.Next(&e)
		out[i] = newTemplate(&e, now)
	}
	return out
}

func newTemplate(e *traffic.Entry, now time.Time) template {
	t := template{kind: e.Kind}
	if late := now.Sub(e.EventTime); !e.EventTime.IsZero() && late > 2*time.Millisecond {
		t.late = late.Microseconds()
	}
	data := e.Data
	blank := strings.Repeat("0", numberDigits)
	for _, member := range []struct{ key, value string }{
		{`"insertId":"`, idPrefix + blank},
		{`"timestamp":"`, now.UTC().Format(timeLayout)},
		{`"receiveTimestamp":"`, now.UTC().Format(timeLayout)},
	} {
		data = replaceMember(data, member.key, member.value)
	}

	// From the inside out, since a length stands before what it counts.
	var message []byte
	message = appendField(message, 1, data)
	if e.Timestamp != "" {
		var attribute []byte
		attribute = appendField(attribute, 1, []byte(timestampAttribute))
		attribute = appendField(attribute, 2, []byte(now.UTC().Format(timeLayout)))
		t.attribute = -timeSize
		message = appendField(message, 2, attribute)
		t.attribute += len(message)
	}
	message = appendField(message, 3, []byte(blank))
	t.messageID = len(message) - numberDigits
	// Both numbers of the time with five bytes, the second padded.
	message = appendField(message, 4, []byte{1 << 3, 0, 0, 0, 0, 0, 2 << 3, 0, 0, 0, 0, 0})
	t.seconds, t.nanos = len(message)-11, len(message)-5

	var received []byte
	received = appendField(received, 1, bytes.Repeat([]byte{'A'}, ackIDSize))
	t.ackID = len(received) - ackIDSize
	received = appendField(received, 2, message)
	inMessage := len(received) - len(message)
	t.bytes = appendField(nil, 1, received)
	inReceived := len(t.bytes) - len(received)

	t.ackID += inReceived
	for _, place := range []*int{&t.attribute, &t.messageID, &t.seconds, &t.nanos} {
		if *place != 0 {
			*place += inReceived + inMessage
		}
	}
	inData := bytes.Index(t.bytes, data)
	t.insertID = memberPlace(data, `"insertId":"`+idPrefix, inData)
	if t.insertID != 0 {
		t.insertID -= len(idPrefix)
	}
	t.timestamp = memberPlace(data, `"timestamp":"`, inData)
	t.receiveTimestamp = memberPlace(data, `"receiveTimestamp":"`, inData)
	return t
}

// replaceMember gives a string member of a JSON text another value, where it is
// there and whole.
func replaceMember(data []byte, key, value string) []byte {
	start := bytes.Index(data, []byte(key))
	if start < 0 {
		return data
	}
	start += len(key)
	end := bytes.IndexByte(data[start:], '"')
	if end < 0 {
		return data
	}
	return bytes.Join([][]byte{data[:start], []byte(value), data[start+end:]}, nil)
}

// memberPlace returns where the value of a member begins, offset added, or 0 if
// there is none that replaceMember has written.
func memberPlace(data []byte, key string, offset int) int {
	i := bytes.Index(data, []byte(key))
	if i < 0 || bytes.IndexByte(data[i+len(key):], '"') < 0 {
		return 0
	}
	return offset + i + len(key)
}

func appendField(b []byte, number protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
}

// digits are a number in decimal, with leading zeros.
type digits [numberDigits]byte

func (d *digits) set(n int64) {
	for i := len(d) - 1; i >= 0; i-- {
		d[i] = byte('0' + n%10)
		n /= 10
	}
}

// parseDigits is the reverse; false if text is no such number.
func parseDigits(text []byte) (n int64, ok bool) {
	if len(text) != numberDigits {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// writer writes messages, and remembers the text of the latest second.
type writer struct {
	second int64
	text   [timeSize]byte
}

// append appends the message of a number, published at the given time in
// microseconds since the Unix epoch, to a PullResponse.
func (w *writer) append(b []byte, t *template, number, published int64) []byte {
	start := len(b)
	b = append(b, t.bytes...)
	m := b[start:]
	var d digits
	d.set(number)
	copy(m[t.ackID:], d[:])
	copy(m[t.messageID:], d[:])
	if t.insertID != 0 {
		copy(m[t.insertID+len(idPrefix):], d[:])
	}
	if t.timestamp != 0 {
		w.putTime(m[t.timestamp:], published-t.late)
	}
	if t.attribute != 0 {
		w.putTime(m[t.attribute:], published-t.late)
	}
	if t.receiveTimestamp != 0 {
		w.putTime(m[t.receiveTimestamp:], published)
	}
	putVarint5(m[t.seconds:], uint64(published/1e6))
	putVarint5(m[t.nanos:], uint64(published%1e6*1000))
	return b
}

// putTime writes a time in microseconds since the Unix epoch as timeLayout.
func (w *writer) putTime(b []byte, micros int64) {
	if second := micros / 1e6; second != w.second {
		w.second = second
		copy(w.text[:], time.Unix(second, 0).UTC().Format(timeLayout))
	}
	copy(b, w.text[:])
	for i, us := timeSize-2, micros%1e6; us > 0; i-- {
		b[i] = byte('0' + us%10)
		us /= 10
	}
}

// putVarint5 writes a varint of exactly five bytes, which holds 35 bits.
func putVarint5(b []byte, v uint64) {
	binary.LittleEndian.PutUint32(b, uint32(v&0x7f|v>>7&0x7f<<8|v>>14&0x7f<<16|v>>21&0x7f<<24)|0x80808080)
	b[4] = byte(v >> 28)
}
