package profiles

import (
	"unicode/utf8"

	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// DialOptions are for connections to Bigtable of which profiles are read; they do
// no harm to other requests.
//
// Windows of flow control, in bytes, have a fixed size: else gRPC sends a ping with
// most answers, to find out what size is best, which for many small answers costs
// more than it gives. And the cells of an answer are decoded into one piece of
// memory, and not each into its own: a profile has a cell for each of its windows.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithStaticStreamWindowSize(4 << 20), grpc.WithStaticConnWindowSize(16 << 20),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{encoding.GetCodecV2(proto.Name)})),
	}
}

// codec is gRPC's codec of protocol buffers, but for the decoding of plain answers of
// ReadRows.
type codec struct{ encoding.CodecV2 }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*bigtablepb.ReadRowsResponse); ok {
		// A copy: gRPC's memory serves again, and cells borrow from it.
		if chunks, ok := decodeChunks(data.Materialize()); ok {
			m.Reset()
			m.Chunks = chunks
			return nil
		}
	}
	return c.CodecV2.Unmarshal(data, v)
}

// decodeChunks decodes a google.bigtable.v2.ReadRowsResponse that consists of chunks
// of the plainest form: rows in order, each cell in one chunk, without labels. It
// tells whether it is one. The chunks borrow from b.
func decodeChunks(b []byte) ([]*bigtablepb.ReadRowsResponse_CellChunk, bool) {
	n := 0
	for rest := b; len(rest) > 0; n++ {
		var ok bool
		if _, rest, ok = element(rest, 1); !ok {
			return nil, false
		}
	}
	chunks := make([]bigtablepb.ReadRowsResponse_CellChunk, n)
	out := make([]*bigtablepb.ReadRowsResponse_CellChunk, n)
	for i := range chunks {
		var chunk []byte
		chunk, b, _ = element(b, 1)
		if !decodeChunk(chunk, &chunks[i]) {
			return nil, false
		}
		out[i] = &chunks[i]
	}
	return out, true
}

// decodeChunk decodes a CellChunk, in which each field stands once at most.
func decodeChunk(b []byte, c *bigtablepb.ReadRowsResponse_CellChunk) bool {
	seen := 0
	for len(b) > 0 {
		num, kind, size := protowire.ConsumeTag(b)
		if size < 0 || num > 9 || seen&(1<<num) != 0 {
			return false
		}
		seen |= 1 << num
		if kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b[size:])
			if n < 0 {
				return false
			}
			b = b[size+n:]
			switch num {
			case 4:
				c.TimestampMicros = int64(v)
			case 9:
				c.RowStatus = &bigtablepb.ReadRowsResponse_CellChunk_CommitRow{CommitRow: protowire.DecodeBool(v)}
			default:
				return false
			}
			continue
		}
		value, rest, ok := element(b, num)
		if !ok {
			return false
		}
		b = rest
		switch num {
		case 1:
			c.RowKey = value
		case 2:
			name, ok := wrapped(value)
			if !ok || !utf8.Valid(name) {
				return false
			}
			c.FamilyName = wrapperspb.String(string(name))
		case 3:
			name, ok := wrapped(value)
			if !ok {
				return false
			}
			c.Qualifier = wrapperspb.Bytes(name)
		case 6:
			c.Value = value
		default:
			return false
		}
	}
	return true
}

// element reads a field of bytes, which must be the first, and returns what follows
// it. Empty bytes are nil.
func element(b []byte, field protowire.Number) (value, rest []byte, ok bool) {
	num, kind, size := protowire.ConsumeTag(b)
	if size < 0 || num != field || kind != protowire.BytesType {
		return nil, nil, false
	}
	value, n := protowire.ConsumeBytes(b[size:])
	if n < 0 {
		return nil, nil, false
	}
	if len(value) == 0 {
		value = nil
	}
	return value[:len(value):len(value)], b[size+n:], true
}

// wrapped returns the value of a StringValue or a BytesValue.
func wrapped(b []byte) ([]byte, bool) {
	if len(b) == 0 {
		return nil, true
	}
	value, rest, ok := element(b, 1)
	return value, ok && len(rest) == 0
}
