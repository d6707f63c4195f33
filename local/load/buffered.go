package load

import (
	"context"
	"fmt"
	"slices"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// bufferedStream is a BUFFERED write stream of impressions: its rows arrive when
// they are flushed.
type bufferedStream struct {
	// hidden are the messages (messageOf) of the rows behind shown.
	hidden []int64
	shown  int64
	closed bool
}

func (b *bufferedStream) end() int64 { return b.shown + int64(len(b.hidden)) }

// buffered returns a stream that was created, or nil.
func (s *Server) buffered(name string) *bufferedStream {
	a := &s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.streams[name]
}

func (s *Server) createWriteStream(_ context.Context, request []byte) (any, error) {
	var r storagepb.CreateWriteStreamRequest
	if err := proto.Unmarshal(request, &r); err != nil {
		return nil, grpcstatus.Error(codes.InvalidArgument, err.Error())
	}
	table, err := tableOf(r.GetParent() + "/streams/_default")
	if err != nil {
		return nil, err
	}
	if table != impressions || r.GetWriteStream().GetType() != storagepb.WriteStream_BUFFERED {
		return nil, grpcstatus.Errorf(codes.Unimplemented, "a %v stream of %s: only BUFFERED ones of %s are served", r.GetWriteStream().GetType(), table, impressions)
	}
	a := &s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.streams == nil {
		a.streams = make(map[string]*bufferedStream)
	}
	name := fmt.Sprintf("%s/streams/s%d", r.GetParent(), len(a.streams))
	a.streams[name] = new(bufferedStream)
	return &storagepb.WriteStream{Name: name, Type: storagepb.WriteStream_BUFFERED}, nil
}

// buffer appends rows at the offset, a google.protobuf.Int64Value, or at the end
// where there is none.
func (s *Server) buffer(b *bufferedStream, offset, rows []byte) (*storagepb.AppendRowsResponse, error) {
	a := &s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	end := b.end()
	if offset != nil {
		var at wrapperspb.Int64Value
		if err := proto.Unmarshal(offset, &at); err != nil {
			return nil, grpcstatus.Error(codes.InvalidArgument, err.Error())
		}
		refuse := func(code codes.Code, why string) (*storagepb.AppendRowsResponse, error) {
			return &storagepb.AppendRowsResponse{Response: &storagepb.AppendRowsResponse_Error{
				Error: &status.Status{Code: int32(code), Message: fmt.Sprintf("offset %d: %s %d", at.GetValue(), why, end)},
			}}, nil
		}
		switch {
		case b.closed:
			return refuse(codes.FailedPrecondition, "the stream was finalized at")
		case at.GetValue() < end:
			return refuse(codes.AlreadyExists, "the stream ends at")
		case at.GetValue() > end:
			return refuse(codes.OutOfRange, "the stream ends at")
		}
	}
	err := fields(rows, func(field protowire.Number, row []byte, _ uint64) {
		if field == 1 {
			b.hidden = append(b.hidden, messageOf(row))
		}
	})
	return &storagepb.AppendRowsResponse{Response: &storagepb.AppendRowsResponse_AppendResult_{
		AppendResult: &storagepb.AppendRowsResponse_AppendResult{Offset: wrapperspb.Int64(end)},
	}}, err
}

func (s *Server) flushRows(_ context.Context, request []byte) (any, error) {
	var r storagepb.FlushRowsRequest
	if err := proto.Unmarshal(request, &r); err != nil {
		return nil, grpcstatus.Error(codes.InvalidArgument, err.Error())
	}
	a := &s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	b, last := a.streams[r.GetWriteStream()], r.GetOffset().GetValue()
	switch {
	case b == nil:
		return nil, grpcstatus.Errorf(codes.NotFound, "there is no stream %s", r.GetWriteStream())
	case last >= b.end():
		return nil, grpcstatus.Errorf(codes.OutOfRange, "offset %d: the stream ends at %d", last, b.end())
	case last < b.shown:
		return nil, grpcstatus.Errorf(codes.AlreadyExists, "offset %d: shown up to %d", last, b.shown)
	}
	n := last + 1 - b.shown
	for _, number := range b.hidden[:n] {
		a.impression(number)
	}
	a.rows[impressions] += n
	b.hidden, b.shown = slices.Delete(b.hidden, 0, int(n)), last+1
	return &storagepb.FlushRowsResponse{Offset: last}, nil
}

func (s *Server) finalizeWriteStream(_ context.Context, request []byte) (any, error) {
	var r storagepb.FinalizeWriteStreamRequest
	if err := proto.Unmarshal(request, &r); err != nil {
		return nil, grpcstatus.Error(codes.InvalidArgument, err.Error())
	}
	a := &s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.streams[r.GetName()]
	if b == nil {
		return nil, grpcstatus.Errorf(codes.NotFound, "there is no stream %s", r.GetName())
	}
	b.closed = true
	return &storagepb.FinalizeWriteStreamResponse{RowCount: b.end()}, nil
}
