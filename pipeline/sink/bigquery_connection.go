package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of responses
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"pixelbeam/schemas"
)

// connection is one AppendRows stream, with a client of its own. Its methods may
// be called from many goroutines.
//
// It takes the place of managedwriter's ManagedStream, which copies every row
// into a message of its own and from there into the request: half of what
// writing a row costs. Here a request is its head and the rows as they lie.
type connection struct {
	client *storage.BigQueryWriteClient
	stream storagepb.BigQueryWrite_AppendRowsClient
	cancel context.CancelFunc // ends stream and client
	head   []byte             // of the first request: stream, trace id
	schema []byte             // writer_schema of the first request

	sending sync.Mutex // a request is sent, in the order of waiting
	mu      sync.Mutex
	waiting []*call // sent and not answered, in order
	err     error   // why the stream ended
}

// call is a request on a connection. The other fields are set when done is
// closed.
type call struct {
	done     chan struct{}
	response *storagepb.AppendRowsResponse // nil if none came
	err      error                         // of the response, else of the stream
}

// Field numbers of AppendRowsRequest, its ProtoData and ProtoSchema.
const (
	fieldWriteStream  = 1
	fieldProtoRows    = 4
	fieldTraceID      = 6
	fieldWriterSchema = 1
	fieldRows         = 2
	fieldDescriptor   = 1
)

const traceID = "pixelbeam"

// openConnection opens the stream of that name for rows of the descriptor's
// message, once the service has confirmed that there is one. The connection ends
// with ctx.
func openConnection(ctx context.Context, client *storage.BigQueryWriteClient, name string, descriptor *descriptorpb.DescriptorProto) (*connection, error) {
	if _, err := client.GetWriteStream(ctx, &storagepb.GetWriteStreamRequest{Name: name}); err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(descriptor)
	if err != nil {
		return nil, fmt.Errorf("writer schema: %w", err)
	}
	schema := appendField(nil, fieldWriterSchema, appendField(nil, fieldDescriptor, encoded))
	head := appendField(nil, fieldWriteStream, []byte(name))
	head = appendField(head, fieldTraceID, []byte(traceID))
	stream, err := client.AppendRows(ctx, gax.WithGRPCOptions(grpc.ForceCodecV2(requestCodec{encoding.GetCodecV2("proto")})))
	if err != nil {
		return nil, err
	}
	c := &connection{client: client, stream: stream, head: head, schema: schema}
	go c.receive()
	return c, nil
}

func appendField(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

// append sends one request. It keeps the parts until the response is there. If
// ctx ends while the service takes no more, the connection does too.
func (c *connection) append(ctx context.Context, parts []schemas.Rows) (*call, error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	sent := context.AfterFunc(ctx, c.cancel)
	defer sent()

	call := &call{done: make(chan struct{})}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, c.err
	}
	c.waiting = append(c.waiting, call)
	c.mu.Unlock()

	err := c.stream.SendMsg(c.request(parts))
	switch {
	case err == nil:
		c.head, c.schema = nil, nil // the service knows them now
	case !errors.Is(err, io.EOF):
		c.fail(err)
	}
	// Of a stream that has ended, receive learns why.
	return call, nil
}

// request frames the rows as an AppendRowsRequest.
func (c *connection) request(parts []schemas.Rows) request {
	size := 0
	for _, part := range parts {
		size += len(part.Wire)
	}
	head := append([]byte(nil), c.head...)
	rows := protowire.AppendTag(nil, fieldRows, protowire.BytesType)
	rows = protowire.AppendVarint(rows, uint64(size))
	head = protowire.AppendTag(head, fieldProtoRows, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(c.schema)+len(rows)+size))
	head = append(append(head, c.schema...), rows...)
	r := make(request, 0, 1+len(parts))
	r = append(r, mem.SliceBuffer(head))
	for _, part := range parts {
		r = append(r, mem.SliceBuffer(part.Wire))
	}
	return r
}

// receive hands responses to the calls that wait for them, until the stream ends.
func (c *connection) receive() {
	for {
		response, err := c.stream.Recv()
		if err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		if len(c.waiting) == 0 {
			c.mu.Unlock()
			c.fail(errors.New("a response to no request"))
			return
		}
		call := c.waiting[0]
		c.waiting[0] = nil
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		call.response = response
		if s := response.GetError(); s != nil {
			call.err = status.ErrorProto(s)
		}
		close(call.done)
	}
}

// fail ends all calls that wait, and those to come, with an error.
func (c *connection) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	for _, call := range c.waiting {
		call.err = c.err
		close(call.done)
	}
	c.waiting = nil
}

// close ends the connection. What is in flight fails.
func (c *connection) close() {
	c.cancel()
	// It only reports that the connection is over, which is what we want.
	go func() { _ = c.client.Close() }()
}

// request is an AppendRowsRequest in wire format.
type request mem.BufferSlice

// requestCodec sends requests as they are.
type requestCodec struct{ encoding.CodecV2 }

func (c requestCodec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(request); ok {
		return mem.BufferSlice(r), nil
	}
	return c.CodecV2.Marshal(v)
}
