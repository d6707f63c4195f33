package sink

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/schemas"
)

// entryID identifies the log entry of a row: a hash of its insert id and event
// time, which copies of an entry share.
type entryID [16]byte

var errPacked = errors.New("sink: packed rows are corrupt")

// Field numbers that tables of entries have in common, and of impressions; a test
// compares them with the messages.
const (
	insertIDField   = 1
	eventTimeField  = 2
	advertiserField = 6
)

// identify reads the id and the event time, in microseconds since the Unix epoch,
// of a row in wire format.
func identify(row []byte) (id entryID, eventTime int64, err error) {
	var key []byte
	for b := row; len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return id, 0, protowire.ParseError(n)
		}
		b = b[n:]
		switch {
		case number == insertIDField && kind == protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return id, 0, protowire.ParseError(n)
			}
			key, b = v, b[n:]
		case number == eventTimeField && kind == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return id, 0, protowire.ParseError(n)
			}
			eventTime = int64(v)
			// The writer puts fields in order, so both are known by now.
			sum := xxh3.HashSeed(key, v)
			high := xxh3.HashSeed(key, ^v)
			binary.BigEndian.PutUint64(id[:8], high)
			binary.BigEndian.PutUint64(id[8:], sum)
			return id, eventTime, nil
		default:
			n := protowire.ConsumeFieldValue(number, kind, b)
			if n < 0 {
				return id, 0, protowire.ParseError(n)
			}
			b = b[n:]
		}
	}
	return id, 0, errors.New("sink: a row without insert_id and event_time")
}

// advertiser returns the advertiser of an impression in wire format, nil if it has
// none. It borrows from the row.
func advertiser(row []byte) []byte {
	for b := row; len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || number > advertiserField {
			return nil // The writer puts fields in order.
		}
		b = b[n:]
		if number == advertiserField && kind == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			return v
		}
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return nil
		}
		b = b[n:]
	}
	return nil
}

// packedRow is a row with the id of its entry.
type packedRow struct {
	id  entryID
	row schemas.Row
}

// maxRowFraming is the most that the varints of a packed row take: its receive time
// and three lengths.
const maxRowFraming = binary.MaxVarintLen64 + 3*binary.MaxVarintLen32

// pack encodes rows as one element: for each its id, a varint of its receive time
// and its data, origin and source with their lengths, all compressed.
func pack(rows []packedRow) []byte {
	size := 0
	for _, r := range rows {
		size += len(r.id) + len(r.row.Data) + len(r.row.Origin) + len(r.row.Source) + maxRowFraming
	}
	b := make([]byte, 0, size)
	for _, r := range rows {
		b = append(b, r.id[:]...)
		b = binary.AppendVarint(b, r.row.ReceiveTime)
		b = protowire.AppendBytes(b, r.row.Data)
		b = protowire.AppendBytes(b, r.row.Origin)
		b = protowire.AppendString(b, r.row.Source)
	}
	return s2.Encode(nil, b)
}

// unpack decodes what pack encoded. The rows own their bytes.
func unpack(packed []byte) ([]packedRow, error) {
	b, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPacked, err)
	}
	var rows []packedRow
	for len(b) > 0 {
		var r packedRow
		if len(b) < len(r.id) {
			return nil, errPacked
		}
		b = b[copy(r.id[:], b):]
		received, n := binary.Varint(b)
		if n <= 0 {
			return nil, errPacked
		}
		b = b[n:]
		var parts [3][]byte
		for i := range parts {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil, errPacked
			}
			parts[i], b = v[:len(v):len(v)], b[n:]
		}
		r.row = schemas.Row{Data: parts[0], Origin: parts[1], ReceiveTime: received, Source: string(parts[2])}
		rows = append(rows, r)
	}
	return rows, nil
}
