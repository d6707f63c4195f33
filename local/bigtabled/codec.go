package bigtabled

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// encoded is a message in wire format, which the codec sends as it is, and which is
// then given back to gRPC's pool of buffers.
type encoded struct{ data *[]byte }

// codec is gRPC's codec of protocol buffers, which takes encoded as well.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.NewBuffer(e.data, mem.DefaultBufferPool())}, nil
	}
	return c.CodecV2.Marshal(v)
}
