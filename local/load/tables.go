package load

import (
	"context"
	"errors"
	"io"
	"math/bits"
	"strings"
	"sync"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxRequest is the largest AppendRows request of the service, in bytes.
const maxRequest = 10 << 20

// impressions is the table whose rows are known one by one.
const impressions = "impressions"

// arrivals is what came to the tables.
type arrivals struct {
	mu   sync.Mutex
	rows map[string]int64 // by table; Bigtable's too
	// streams are the BUFFERED ones by name.
	streams map[string]*bufferedStream
	// seen has a bit for each message whose row came.
	seen              []uint64
	distinct          int64
	repeated, strange int64 // rows that had come before; of no message of ours
}

// messageOf returns the number of the message whose impression a row is, or -1 if
// it is none of ours.
func messageOf(row []byte) int64 {
	// The insert_id is the first field of the row as the job writes it, and the
	// first of its number in any other.
	id := []byte(nil)
	_ = fields(row, func(field protowire.Number, value []byte, _ uint64) {
		if field == 1 && id == nil {
			id = value
		}
	})
	if len(id) != idSize || string(id[:len(idPrefix)]) != idPrefix {
		return -1
	}
	number, ok := parseDigits(id[len(idPrefix):])
	if !ok {
		return -1
	}
	return number
}

// impression notes the row of a message's impression. mu is held.
func (a *arrivals) impression(number int64) {
	if number < 0 {
		a.strange++
		return
	}
	word, bit := number/64, uint64(1)<<(number%64)
	if n := word + 1 - int64(len(a.seen)); n > 0 {
		a.seen = append(a.seen, make([]uint64, n)...)
	}
	if a.seen[word]&bit != 0 {
		a.repeated++
		return
	}
	a.seen[word] |= bit
	a.distinct++
}

// has tells whether a message's row came. mu is held.
func (a *arrivals) has(number int64) bool {
	word := number / 64
	return word < int64(len(a.seen)) && a.seen[word]&(1<<(number%64)) != 0
}

// last is the highest number that came, or -1. mu is held.
func (a *arrivals) last() int64 {
	for i := len(a.seen) - 1; i >= 0; i-- {
		if a.seen[i] != 0 {
			return int64(i)*64 + 63 - int64(bits.LeadingZeros64(a.seen[i]))
		}
	}
	return -1
}

// writeService is google.cloud.bigquery.storage.v1.BigQueryWrite with default
// streams, and BUFFERED ones of impressions. A table is there if it is asked for.
func (s *Server) writeService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "google.cloud.bigquery.storage.v1.BigQueryWrite",
		Methods: []grpc.MethodDesc{unary("GetWriteStream", func(_ context.Context, request []byte) (any, error) {
			var name string
			if err := fields(request, func(field protowire.Number, value []byte, _ uint64) {
				if field == 1 {
					name = string(value)
				}
			}); err != nil {
				return nil, err
			}
			if s.buffered(name) != nil {
				return &storagepb.WriteStream{Name: name, Type: storagepb.WriteStream_BUFFERED}, nil
			}
			_, err := tableOf(name)
			return &storagepb.WriteStream{Name: name, Type: storagepb.WriteStream_COMMITTED}, err
		}),
			unary("CreateWriteStream", s.createWriteStream),
			unary("FlushRows", s.flushRows),
			unary("FinalizeWriteStream", s.finalizeWriteStream),
		},
		Streams: []grpc.StreamDesc{{
			StreamName: "AppendRows", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return s.appendRows(stream) },
		}},
	}
}

// tableOf returns the table of a default stream.
func tableOf(stream string) (string, error) {
	parts := strings.Split(stream, "/")
	if len(parts) < 7 || parts[0] != "projects" || parts[4] != "tables" || parts[len(parts)-1] != "_default" {
		return "", grpcstatus.Errorf(codes.InvalidArgument, "%q is no default stream", stream)
	}
	return parts[5], nil
}

func (s *Server) appendRows(stream grpc.ServerStream) error {
	table, schema := "", false
	var buffered *bufferedStream // nil: the default stream
	var request frame
	// AppendRowsResponse with an append_result without an offset.
	stored := frame{bytes: []byte{1<<3 | 2, 0}}
	for {
		if err := stream.RecvMsg(&request); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if len(request.bytes) > maxRequest {
			return grpcstatus.Errorf(codes.InvalidArgument, "the request has %d bytes, the limit is %d", len(request.bytes), maxRequest)
		}
		var name, offset, data, rows []byte
		for _, level := range []struct {
			message *[]byte
			pick    func(field protowire.Number, value []byte)
		}{
			{&request.bytes, func(field protowire.Number, value []byte) {
				switch field {
				case 1:
					name = value
				case 2:
					offset = value
				case 4:
					data = value
				}
			}},
			{&data, func(field protowire.Number, value []byte) {
				switch field {
				case 1:
					schema = true
				case 2:
					rows = value
				}
			}},
		} {
			if err := fields(*level.message, func(f protowire.Number, v []byte, _ uint64) { level.pick(f, v) }); err != nil {
				return err
			}
		}
		if table == "" || len(name) > 0 {
			var err error
			if buffered = s.buffered(string(name)); buffered != nil {
				table = impressions
			} else if table, err = tableOf(string(name)); err != nil {
				return err
			}
		}
		if !schema {
			return grpcstatus.Error(codes.InvalidArgument, "the first request has no writer schema")
		}
		if buffered != nil {
			response, err := s.buffer(buffered, offset, rows)
			if err == nil {
				err = stream.SendMsg(response)
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := s.arrive(table, rows); err != nil {
			return err
		}
		if err := stream.SendMsg(&stored); err != nil {
			return err
		}
	}
}

// arrive notes the rows of one request.
func (s *Server) arrive(table string, rows []byte) error {
	a := &s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	n := int64(0)
	err := fields(rows, func(field protowire.Number, row []byte, _ uint64) {
		if field != 1 {
			return
		}
		n++
		if table == impressions {
			a.impression(messageOf(row))
		}
	})
	a.rows[table] += n
	return err
}

// bigtableService is google.bigtable.v2.Bigtable for writers.
func (s *Server) bigtableService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "google.bigtable.v2.Bigtable",
		Methods: []grpc.MethodDesc{unary("PingAndWarm", func(context.Context, []byte) (any, error) {
			return &frame{}, nil
		})},
		Streams: []grpc.StreamDesc{{
			StreamName: "MutateRows", ServerStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return s.mutateRows(stream) },
		}},
	}
}

func (s *Server) mutateRows(stream grpc.ServerStream) error {
	var request frame
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	response := &bigtablepb.MutateRowsResponse{}
	if err := fields(request.bytes, func(field protowire.Number, _ []byte, _ uint64) {
		if field == 2 {
			response.Entries = append(response.Entries, &bigtablepb.MutateRowsResponse_Entry{
				Index: int64(len(response.Entries)), Status: &status.Status{},
			})
		}
	}); err != nil {
		return err
	}
	a := &s.arrivals
	a.mu.Lock()
	a.rows[ProfileRows] += int64(len(response.Entries))
	a.mu.Unlock()
	return stream.SendMsg(response)
}
