package sink

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fakeBuffered is a BigQuery Storage Write API on loopback with BUFFERED streams
// in memory. It misbehaves as a test says.
type fakeBuffered struct {
	storagepb.UnimplementedBigQueryWriteServer
	endpoint string

	// fault decides on each call of a method, with mu held; nil means none.
	fault func(method string) fault
	// tables, if not nil, has the tables that there are.
	tables *fakeTables

	mu      sync.Mutex
	streams map[string]*bufferedStream
	calls   map[string]int
}

type bufferedStream struct {
	rows      [][]byte
	flushed   int
	finalized bool
}

// fault is what happens to a call.
type fault int

const (
	none    fault = iota
	refused       // nothing is done; the answer is UNAVAILABLE
	lost          // all is done; the answer is lost
	throttled
)

func startFakeBuffered(t testing.TB) *fakeBuffered {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeBuffered{endpoint: listener.Addr().String(), streams: map[string]*bufferedStream{}, calls: map[string]int{}}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(10 << 20))
	storagepb.RegisterBigQueryWriteServer(server, f)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return f
}

// begin notes a call and returns what is to happen to it.
func (f *fakeBuffered) begin(method string) fault {
	f.calls[method]++
	if f.fault == nil {
		return none
	}
	return f.fault(method)
}

var unavailable = status.Error(codes.Unavailable, "the test says so")

func (f *fakeBuffered) CreateWriteStream(_ context.Context, req *storagepb.CreateWriteStreamRequest) (*storagepb.WriteStream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	happens := f.begin("create")
	if happens == refused || happens == throttled {
		return nil, unavailable
	}
	if req.GetWriteStream().GetType() != storagepb.WriteStream_BUFFERED {
		return nil, status.Error(codes.InvalidArgument, "want BUFFERED")
	}
	if !f.tables.known(req.GetParent() + "/") {
		return nil, status.Error(codes.NotFound, "Requested entity was not found.")
	}
	name := fmt.Sprintf("%s/streams/s%d", req.GetParent(), len(f.streams))
	f.streams[name] = &bufferedStream{}
	if happens == lost {
		return nil, unavailable
	}
	return &storagepb.WriteStream{Name: name, Type: storagepb.WriteStream_BUFFERED}, nil
}

func (f *fakeBuffered) AppendRows(stream storagepb.BigQueryWrite_AppendRowsServer) error {
	for first := true; ; first = false {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if first && req.GetProtoRows().GetWriterSchema().GetProtoDescriptor() == nil {
			return status.Error(codes.InvalidArgument, "no writer schema in the first request")
		}
		happens, err := f.append(req)
		switch happens {
		case refused, lost:
			return unavailable
		case throttled:
			err = status.Error(codes.ResourceExhausted, "the test says so")
		}
		answer := &storagepb.AppendRowsResponse{Response: &storagepb.AppendRowsResponse_AppendResult_{AppendResult: &storagepb.AppendRowsResponse_AppendResult{}}}
		if err != nil {
			answer = &storagepb.AppendRowsResponse{Response: &storagepb.AppendRowsResponse_Error{Error: status.Convert(err).Proto()}}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (f *fakeBuffered) append(req *storagepb.AppendRowsRequest) (fault, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	happens := f.begin("append")
	if happens == refused || happens == throttled {
		return happens, nil
	}
	s := f.streams[req.GetWriteStream()]
	switch at := int(req.GetOffset().GetValue()); {
	case s == nil:
		return happens, status.Error(codes.NotFound, "no such stream")
	case s.finalized:
		return happens, status.Error(codes.FailedPrecondition, "finalized")
	case at < len(s.rows):
		return happens, status.Error(codes.AlreadyExists, "offset is taken")
	case at > len(s.rows):
		return happens, status.Error(codes.OutOfRange, "offset is ahead")
	}
	s.rows = append(s.rows, req.GetProtoRows().GetRows().GetSerializedRows()...)
	return happens, nil
}

func (f *fakeBuffered) FlushRows(_ context.Context, req *storagepb.FlushRowsRequest) (*storagepb.FlushRowsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	happens := f.begin("flush")
	if happens == refused || happens == throttled {
		return nil, unavailable
	}
	s, to := f.streams[req.GetWriteStream()], int(req.GetOffset().GetValue())
	switch {
	case s == nil:
		return nil, status.Error(codes.NotFound, "no such stream")
	case to >= len(s.rows):
		return nil, status.Error(codes.OutOfRange, "flush is ahead")
	case to < s.flushed:
		return nil, status.Error(codes.AlreadyExists, "flushed")
	}
	s.flushed = to + 1
	if happens == lost {
		return nil, unavailable
	}
	return &storagepb.FlushRowsResponse{Offset: int64(to)}, nil
}

func (f *fakeBuffered) FinalizeWriteStream(_ context.Context, req *storagepb.FinalizeWriteStreamRequest) (*storagepb.FinalizeWriteStreamResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	happens := f.begin("finalize")
	s := f.streams[req.GetName()]
	if happens == refused || happens == throttled || s == nil {
		return nil, unavailable
	}
	s.finalized = true
	if happens == lost {
		return nil, unavailable
	}
	return &storagepb.FinalizeWriteStreamResponse{RowCount: int64(len(s.rows))}, nil
}

// inTables counts how often rows of each table can be seen.
func (f *fakeBuffered) inTables() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[string]int{}
	for name, s := range f.streams {
		if s.flushed > 0 {
			n[tableOf(name)] += s.flushed
		}
	}
	return n
}

// visible counts how often each row can be seen.
func (f *fakeBuffered) visible() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[string]int{}
	for _, s := range f.streams {
		for _, row := range s.rows[:s.flushed] {
			n[string(row)]++
		}
	}
	return n
}
