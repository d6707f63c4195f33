package bigqueryd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// maxRequest is the largest AppendRows request of the service.
const maxRequest = 10 << 20

// maxRowErrors bounds the row errors of one response.
const maxRowErrors = 1000

// writeService is the BigQuery Storage Write API.
type writeService struct {
	storagepb.UnimplementedBigQueryWriteServer
	s *Server
}

// fault turns what Options.Fault returns into a status.
func (w *writeService) fault(method string) error {
	err := w.s.fault(method)
	if err == nil || method == "AppendRows" && errors.Is(err, ErrAckLost) {
		return err
	}
	return statusOf(err, codes.Unavailable)
}

// statusOf makes err a status error, of code unless it is one or is known.
func statusOf(err error, code codes.Code) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, errNotFound):
		code = codes.NotFound
	case errors.Is(err, errDuplicate):
		code = codes.AlreadyExists
	case errors.Is(err, errInvalid):
		code = codes.InvalidArgument
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}

// storageStatus makes a status with the service's own error code in its details.
func storageStatus(code codes.Code, reason storagepb.StorageError_StorageErrorCode, entity, message string) *status.Status {
	st := status.New(code, message)
	with, err := st.WithDetails(&storagepb.StorageError{Code: reason, Entity: entity, ErrorMessage: message})
	if err != nil {
		return st
	}
	return with
}

// tableOf finds a table by its resource name projects/P/datasets/D/tables/T.
func (s *Server) tableOf(name string) (*tableEntry, error) {
	part := strings.Split(name, "/")
	if len(part) != 6 || part[0] != "projects" || part[2] != "datasets" || part[4] != "tables" {
		return nil, status.Errorf(codes.InvalidArgument, "Invalid table name %q", name)
	}
	var t *tableEntry
	err := fmt.Errorf("%w: Project %s", errNotFound, part[1])
	if part[1] == s.project {
		t, err = s.catalog.table(part[3], part[5])
	}
	if err != nil {
		return nil, storageStatus(codes.NotFound, storagepb.StorageError_TABLE_NOT_FOUND, name, err.Error()).Err()
	}
	if t.isView() {
		return nil, status.Errorf(codes.InvalidArgument, "%s is a view", name)
	}
	return t, nil
}

// destination resolves a stream name. The stream is nil for the default one,
// which is named TABLE/streams/_default or TABLE/_default.
func (w *writeService) destination(name string) (*tableEntry, *stream, error) {
	table, id, ok := strings.Cut(name, "/streams/")
	if !ok {
		if table, ok = strings.CutSuffix(name, "/_default"); !ok {
			return nil, nil, status.Errorf(codes.InvalidArgument, "Invalid stream name %q", name)
		}
		id = "_default"
	}
	t, err := w.s.tableOf(table)
	if err != nil || id == "_default" {
		return t, nil, err
	}
	st := w.s.streams.get(name)
	if st == nil || st.generation != t.Generation {
		return nil, nil, storageStatus(codes.NotFound, storagepb.StorageError_STREAM_NOT_FOUND, name, "Requested entity was not found: "+name).Err()
	}
	return t, st, nil
}

func (w *writeService) describe(name string, t *tableEntry, st *stream, full bool) *storagepb.WriteStream {
	out := &storagepb.WriteStream{Name: name, Type: storagepb.WriteStream_COMMITTED, Location: location}
	if st != nil {
		out.Type = st.typ
		out.CreateTime = timestamppb.New(timeOfMillis(st.created))
	}
	if full {
		out.TableSchema = &storagepb.TableSchema{Fields: storageFields(t.fields)}
	}
	return out
}

func (w *writeService) CreateWriteStream(ctx context.Context, req *storagepb.CreateWriteStreamRequest) (*storagepb.WriteStream, error) {
	if err := w.fault("CreateWriteStream"); err != nil {
		return nil, err
	}
	t, err := w.s.tableOf(req.GetParent())
	if err != nil {
		return nil, err
	}
	typ := req.GetWriteStream().GetType()
	switch typ {
	case storagepb.WriteStream_COMMITTED, storagepb.WriteStream_PENDING, storagepb.WriteStream_BUFFERED:
	default:
		return nil, status.Errorf(codes.InvalidArgument, "Invalid stream type %v", typ)
	}
	st, err := w.s.newStream(ctx, t, typ)
	if err != nil {
		return nil, statusOf(err, codes.Internal)
	}
	return w.describe(st.name, t, st, true), nil
}

func (w *writeService) GetWriteStream(_ context.Context, req *storagepb.GetWriteStreamRequest) (*storagepb.WriteStream, error) {
	if err := w.fault("GetWriteStream"); err != nil {
		return nil, err
	}
	t, st, err := w.destination(req.GetName())
	if err != nil {
		return nil, err
	}
	return w.describe(req.GetName(), t, st, req.GetView() == storagepb.WriteStreamView_FULL), nil
}

func (w *writeService) FinalizeWriteStream(ctx context.Context, req *storagepb.FinalizeWriteStreamRequest) (*storagepb.FinalizeWriteStreamResponse, error) {
	if err := w.fault("FinalizeWriteStream"); err != nil {
		return nil, err
	}
	_, st, err := w.destination(req.GetName())
	if err != nil {
		return nil, err
	}
	if st == nil {
		return nil, status.Error(codes.InvalidArgument, "The default stream cannot be finalized")
	}
	rows, err := w.s.finalize(ctx, st)
	if err != nil {
		return nil, statusOf(err, codes.Internal)
	}
	return &storagepb.FinalizeWriteStreamResponse{RowCount: rows}, nil
}

func (w *writeService) FlushRows(ctx context.Context, req *storagepb.FlushRowsRequest) (*storagepb.FlushRowsResponse, error) {
	if err := w.fault("FlushRows"); err != nil {
		return nil, err
	}
	_, st, err := w.destination(req.GetWriteStream())
	if err != nil {
		return nil, err
	}
	if st == nil || st.typ != storagepb.WriteStream_BUFFERED {
		return nil, storageStatus(codes.InvalidArgument, storagepb.StorageError_INVALID_STREAM_TYPE, req.GetWriteStream(), "Only a BUFFERED stream can be flushed").Err()
	}
	offset := req.GetOffset().GetValue()
	if rows := st.rowCount(); offset >= rows || offset < 0 {
		return nil, storageStatus(codes.OutOfRange, storagepb.StorageError_OFFSET_OUT_OF_RANGE, st.name, fmt.Sprintf("Flush offset %d is beyond the last row of the stream, which has %d", offset, rows)).Err()
	}
	if err := w.s.flush(ctx, st, offset); err != nil {
		return nil, statusOf(err, codes.Internal)
	}
	return &storagepb.FlushRowsResponse{Offset: offset}, nil
}

func (w *writeService) BatchCommitWriteStreams(ctx context.Context, req *storagepb.BatchCommitWriteStreamsRequest) (*storagepb.BatchCommitWriteStreamsResponse, error) {
	if err := w.fault("BatchCommitWriteStreams"); err != nil {
		return nil, err
	}
	t, err := w.s.tableOf(req.GetParent())
	if err != nil {
		return nil, err
	}
	var streams []*stream
	out := &storagepb.BatchCommitWriteStreamsResponse{}
	refuse := func(name string, code storagepb.StorageError_StorageErrorCode, message string) {
		out.StreamErrors = append(out.StreamErrors, &storagepb.StorageError{Code: code, Entity: name, ErrorMessage: message})
	}
	for _, name := range req.GetWriteStreams() {
		st := w.s.streams.get(name)
		if st == nil || st.generation != t.Generation {
			refuse(name, storagepb.StorageError_STREAM_NOT_FOUND, "Stream not found in this table")
			continue
		}
		st.mu.Lock()
		switch {
		case st.typ != storagepb.WriteStream_PENDING:
			refuse(name, storagepb.StorageError_INVALID_STREAM_TYPE, "Only PENDING streams can be committed")
		case st.committed:
			refuse(name, storagepb.StorageError_STREAM_ALREADY_COMMITTED, "Stream is already committed")
		case !st.finalized:
			refuse(name, storagepb.StorageError_INVALID_STREAM_STATE, "Stream is not finalized")
		default:
			streams = append(streams, st)
		}
		st.mu.Unlock()
	}
	if len(out.StreamErrors) > 0 {
		return out, nil
	}
	if err := w.s.commitPending(ctx, streams); err != nil {
		return nil, statusOf(err, codes.Internal)
	}
	out.CommitTime = timestamppb.Now()
	return out, nil
}

// answer is a response on its way: op, if not nil, must become durable first.
type answer struct {
	response *storagepb.AppendRowsResponse
	op       *appendOp
	fail     error // ends the connection after op
}

// AppendRows decodes and queues requests in one goroutine and answers them, in
// order, in another, so that a client may have many in flight.
func (w *writeService) AppendRows(conn storagepb.BigQueryWrite_AppendRowsServer) error {
	answers := make(chan answer, 256)
	received := make(chan error, 1)
	ctx, cancel := context.WithCancel(conn.Context())
	defer cancel()
	go func() {
		defer close(answers)
		received <- (&appendConn{w: w, conn: conn, destinations: map[string]*destination{}}).receive(ctx, answers)
	}()
	var failed error
	for a := range answers {
		if err := w.settle(a); err != nil && failed == nil {
			failed = err
			// The rest is settled, but never answered.
			cancel()
		}
		if failed == nil && a.response != nil {
			failed = conn.Send(a.response)
		}
	}
	if failed != nil {
		return failed
	}
	return <-received
}

// settle waits until an append is durable.
func (w *writeService) settle(a answer) error {
	if a.op != nil {
		err := <-a.op.done
		w.s.inFlight.Release(int64(a.op.block.bytes))
		a.op.block.release()
		if err != nil {
			if a.op.stream != nil {
				a.op.stream.failed()
			}
			w.s.log.Error("bigqueryd: append", "table", a.op.table.ID, "error", err)
			return statusOf(err, codes.Internal)
		}
	}
	return a.fail
}

// appendConn is one AppendRows connection. It may write to several default
// streams in turn (multiplexing).
type appendConn struct {
	w            *writeService
	conn         storagepb.BigQueryWrite_AppendRowsServer
	destinations map[string]*destination
	current      string
}

// destination is one stream of a connection.
type destination struct {
	schema  *storagepb.ProtoSchema
	decoder *decoder
	table   *tableEntry // that decoder was made for
	told    int         // version of the table's schema that the client knows
}

// receive handles requests until the client ends the connection. While the
// server closes, it takes no more.
func (c *appendConn) receive(ctx context.Context, answers chan<- answer) error {
	requests := make(chan *storagepb.AppendRowsRequest)
	ended := make(chan error, 1)
	go func() {
		for {
			req, err := c.conn.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case requests <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case req := <-requests:
			a, err := c.handle(ctx, req)
			if err != nil {
				return err
			}
			answers <- a
			if a.fail != nil {
				return nil
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-c.w.s.closing:
			return status.Error(codes.Unavailable, "The server is closing")
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// handle queues one request. An error ends the connection.
func (c *appendConn) handle(ctx context.Context, req *storagepb.AppendRowsRequest) (answer, error) {
	s := c.w.s
	s.stats.requests.Add(1)
	lost := c.w.fault("AppendRows")
	if lost != nil && !errors.Is(lost, ErrAckLost) {
		return answer{}, lost
	}
	if proto.Size(req) > maxRequest {
		return answer{}, status.Errorf(codes.InvalidArgument, "AppendRows request too large: %d limit %d", proto.Size(req), maxRequest)
	}
	if req.GetWriteStream() != "" {
		c.current = req.GetWriteStream()
	}
	table, st, err := c.w.destination(c.current)
	if err != nil {
		return answer{}, err
	}
	d := c.destinations[c.current]
	if d == nil {
		d = &destination{told: table.Version}
		c.destinations[c.current] = d
	}
	if err := d.prepare(table, req.GetProtoRows().GetWriterSchema()); err != nil {
		return answer{}, err
	}
	if req.GetArrowRows() != nil {
		return answer{}, status.Error(codes.Unimplemented, "This stand-in takes protobuf rows only")
	}
	response := &storagepb.AppendRowsResponse{WriteStream: c.current}
	if table.Version != d.told {
		d.told = table.Version
		response.UpdatedSchema = &storagepb.TableSchema{Fields: storageFields(table.fields)}
	}
	rows := req.GetProtoRows().GetRows().GetSerializedRows()
	block, bad := d.decoder.decode(rows, c.rowFault(table, len(rows)))
	if bad != nil {
		s.stats.refusedRows.Add(int64(len(bad)))
		refuse(response, bad)
		return answer{response: response}, nil
	}
	op := &appendOp{table: table, stream: st, block: block, done: make(chan error, 1)}
	a := answer{response: response, op: op}
	if lost != nil {
		a.response, a.fail = nil, status.Error(codes.Unavailable, lost.Error())
	}
	// A single request is below the bound, so this cannot wait for ever.
	if err := s.inFlight.Acquire(ctx, int64(block.bytes)); err != nil {
		block.release()
		return answer{}, status.FromContextError(err).Err()
	}
	if refused := c.queue(op, req.GetOffset(), response); refused {
		s.inFlight.Release(int64(block.bytes))
		block.release()
		return answer{response: response}, nil
	}
	return a, nil
}

// queue hands op to the lane, unless its offset is not the next one; then it
// completes the response.
func (c *appendConn) queue(op *appendOp, want *wrapperspb.Int64Value, response *storagepb.AppendRowsResponse) (refused bool) {
	result := &storagepb.AppendRowsResponse_AppendResult{}
	response.Response = &storagepb.AppendRowsResponse_AppendResult_{AppendResult: result}
	st := op.stream
	if st == nil {
		if want != nil {
			response.Response = &storagepb.AppendRowsResponse_Error{Error: status.New(codes.InvalidArgument, "The default stream takes no offsets").Proto()}
			return true
		}
		c.w.s.lane.append(op)
		return false
	}
	// Appends of one stream are queued in the order of their offsets.
	st.order.Lock()
	defer st.order.Unlock()
	expect := int64(-1)
	if want != nil {
		expect = want.GetValue()
	}
	offset, ahead, err := st.reserve(op.block.rows, expect)
	var refusal *status.Status
	switch {
	case err != nil:
		refusal = storageStatus(codes.FailedPrecondition, storagepb.StorageError_STREAM_FINALIZED, st.name, err.Error())
	case ahead < 0:
		refusal = storageStatus(codes.AlreadyExists, storagepb.StorageError_OFFSET_ALREADY_EXISTS, st.name,
			fmt.Sprintf("The offset is within stream, expected offset %d, received %d", offset, expect))
	case ahead > 0:
		refusal = storageStatus(codes.OutOfRange, storagepb.StorageError_OFFSET_OUT_OF_RANGE, st.name,
			fmt.Sprintf("The offset is beyond stream, expected offset %d, received %d", offset, expect))
	}
	if refusal != nil {
		response.Response = &storagepb.AppendRowsResponse_Error{Error: refusal.Proto()}
		return true
	}
	op.offset = offset
	result.Offset = wrapperspb.Int64(offset)
	c.w.s.lane.append(op)
	return false
}

// prepare makes the decoder for what the client sends now: a schema comes with
// the first request and when it changes.
func (d *destination) prepare(t *tableEntry, schema *storagepb.ProtoSchema) error {
	if schema == nil && d.schema == nil {
		return status.Error(codes.InvalidArgument, "The first request of a stream must carry the writer schema")
	}
	if d.decoder != nil && (schema == nil || proto.Equal(schema, d.schema)) && d.table == t {
		return nil
	}
	if schema != nil {
		d.schema = schema
	}
	var err error
	if d.decoder, err = newDecoder(d.schema.GetProtoDescriptor(), t.fields); err != nil {
		d.decoder = nil
		var se *schemaError
		if errors.As(err, &se) && se.extra {
			return storageStatus(codes.InvalidArgument, storagepb.StorageError_SCHEMA_MISMATCH_EXTRA_FIELDS, t.ID, se.msg).Err()
		}
		return status.Error(codes.InvalidArgument, err.Error())
	}
	d.table = t
	return nil
}

// rowFault numbers the rows of a request for Options.RowFault.
func (c *appendConn) rowFault(t *tableEntry, rows int) func(row int) string {
	fault := c.w.s.opts.RowFault
	if fault == nil {
		return nil
	}
	first := c.w.s.sentRow.next(t.Dataset+"."+t.ID, rows)
	return func(row int) string { return fault(t.ID, first+row) }
}

// refuse makes a response of row errors.
func refuse(response *storagepb.AppendRowsResponse, bad []rowError) {
	st := status.New(codes.InvalidArgument, "Errors found while processing rows. Please refer to the row_errors field for details. The list may not be complete because of the size limitations.")
	response.Response = &storagepb.AppendRowsResponse_Error{Error: st.Proto()}
	for _, e := range bad[:min(len(bad), maxRowErrors)] {
		response.RowErrors = append(response.RowErrors, &storagepb.RowError{Index: int64(e.index), Code: storagepb.RowError_FIELDS_ERROR, Message: e.message})
	}
}
