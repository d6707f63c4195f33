package load

import (
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec for all else
	"google.golang.org/grpc/mem"
)

// frame is a message as bytes.
type frame struct {
	bytes []byte
	// pool takes the bytes back once they are sent; nil leaves them.
	pool mem.BufferPool
}

// codec passes frames as they are.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	return mem.BufferSlice{mem.NewBuffer(&f.bytes, f.pool)}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	n := data.Len()
	if cap(f.bytes) < n {
		f.bytes = make([]byte, 0, n+n/4)
	}
	f.bytes = f.bytes[:n]
	data.CopyTo(f.bytes)
	return nil
}

// buffers is a mem.BufferPool of buffers of any size.
type buffers struct{ pool sync.Pool }

func (p *buffers) Get(length int) *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok && cap(*b) >= length {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length)
	return &b
}

func (p *buffers) Put(b *[]byte) { p.pool.Put(b) }
