package sink

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// fakeWrite is a BigQuery Storage Write API on loopback that keeps rows in
// memory and misbehaves as a test says. It knows the default stream only and
// does not look into rows; it is no stand-in for running anything else on.
type fakeWrite struct {
	storagepb.UnimplementedBigQueryWriteServer
	endpoint string

	// judge decides on each append, n counting from 0; nil stores everything.
	// It is called with mu held.
	judge func(n int, rows [][]byte) verdict
	// open decides on each GetWriteStream, n counting from 0; nil allows all.
	open func(n int) error
	// hold, if not nil, is received from before each answer.
	hold chan struct{}
	// discard drops the rows, for measurements.
	discard bool
	// tables, if not nil, has the tables that there are.
	tables *fakeTables

	mu       sync.Mutex
	stored   [][]byte
	places   []string // the table of each of stored
	appends  int
	opens    int
	requests []int // wire size of each request
	rows     []int // rows of each request
	waiting  int   // received and not answered
	mostOpen int   // most ever waiting
}

// verdict is what happens to one append.
type verdict struct {
	store     bool  // the rows are stored
	broken    error // the stream ends with it, without an answer; in order if io.EOF
	silent    bool  // no answer ever comes
	failed    error // the answer is this status
	rowErrors []*storagepb.RowError
}

func startFakeWrite(t testing.TB) *fakeWrite {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeWrite{endpoint: listener.Addr().String()}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(10 << 20))
	storagepb.RegisterBigQueryWriteServer(server, f)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return f
}

func (f *fakeWrite) GetWriteStream(_ context.Context, req *storagepb.GetWriteStreamRequest) (*storagepb.WriteStream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.opens
	f.opens++
	if f.open != nil {
		if err := f.open(n); err != nil {
			return nil, err
		}
	}
	if !f.tables.known(req.GetName()) {
		return nil, status.Error(codes.NotFound, "Requested entity was not found.")
	}
	return &storagepb.WriteStream{Name: req.GetName(), Location: "local"}, nil
}

func (f *fakeWrite) AppendRows(stream storagepb.BigQueryWrite_AppendRowsServer) error {
	first, place := true, ""
	answers := make(chan func() error, 1000)
	done := make(chan error, 1)
	go func() {
		for answer := range answers {
			if f.hold != nil {
				<-f.hold
			}
			f.mu.Lock()
			f.waiting--
			f.mu.Unlock()
			switch err := answer(); err {
			case nil:
			case io.EOF:
				done <- nil
				return
			default:
				done <- err
				return
			}
		}
		done <- nil
	}()
	go func() {
		defer close(answers)
		for {
			req, err := stream.Recv()
			if err == io.EOF {
				return
			}
			if err != nil {
				return
			}
			if first && req.GetProtoRows().GetWriterSchema().GetProtoDescriptor() == nil {
				answers <- func() error {
					return status.Error(codes.InvalidArgument, "no writer schema in the first request")
				}
				return
			}
			if first {
				place = tableOf(req.GetWriteStream())
			}
			first = false
			answers <- f.take(place, req, stream)
		}
	}()
	select {
	case err := <-done:
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

// take stores a request as judged and returns what answers it.
func (f *fakeWrite) take(place string, req *storagepb.AppendRowsRequest, stream storagepb.BigQueryWrite_AppendRowsServer) func() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	rows := req.GetProtoRows().GetRows().GetSerializedRows()
	v := verdict{store: true}
	if !f.tables.known("tables/" + place + "/") {
		v = verdict{failed: status.Error(codes.NotFound, "Table is deleted")}
	} else if f.judge != nil {
		v = f.judge(f.appends, rows)
	}
	f.appends++
	f.waiting++
	f.mostOpen = max(f.mostOpen, f.waiting)
	f.requests = append(f.requests, proto.Size(req))
	f.rows = append(f.rows, len(rows))
	if v.store && !f.discard {
		f.stored = append(f.stored, rows...)
		for range rows {
			f.places = append(f.places, place)
		}
	}
	return func() error {
		switch {
		case v.silent:
			<-stream.Context().Done()
			return stream.Context().Err()
		case v.broken != nil:
			return v.broken
		case v.failed != nil || len(v.rowErrors) > 0:
			failed := v.failed
			if failed == nil {
				failed = status.Error(codes.InvalidArgument, "Errors found while processing rows.")
			}
			return stream.Send(&storagepb.AppendRowsResponse{
				Response:  &storagepb.AppendRowsResponse_Error{Error: status.Convert(failed).Proto()},
				RowErrors: v.rowErrors,
			})
		}
		return stream.Send(&storagepb.AppendRowsResponse{
			Response: &storagepb.AppendRowsResponse_AppendResult_{AppendResult: &storagepb.AppendRowsResponse_AppendResult{}},
		})
	}
}

// tableOf returns the table in the name of a stream.
func tableOf(stream string) string {
	_, rest, _ := strings.Cut(stream, "tables/")
	table, _, _ := strings.Cut(rest, "/")
	return table
}

// inTables counts the different rows of each table.
func (f *fakeWrite) inTables() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, n := map[string]bool{}, map[string]int{}
	for i, row := range f.stored {
		if key := f.places[i] + " " + string(row); !seen[key] {
			seen[key] = true
			n[f.places[i]]++
		}
	}
	return n
}

// copies counts how often each row is stored.
func (f *fakeWrite) copies() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[string]int{}
	for _, row := range f.stored {
		n[string(row)]++
	}
	return n
}
