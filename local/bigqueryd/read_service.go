package bigqueryd

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"pixelbeam/local/bigqueryd/googlesql"
)

// readService is the BigQuery Storage Read API.
type readService struct {
	storagepb.UnimplementedBigQueryReadServer
	s *Server
}

// maxRestriction is the service's bound of a row restriction.
const maxRestriction = 1 << 20

func (r *readService) fault(method string) error {
	if err := r.s.fault(method); err != nil {
		return statusOf(err, codes.Unavailable)
	}
	return nil
}

func (r *readService) CreateReadSession(ctx context.Context, req *storagepb.CreateReadSessionRequest) (*storagepb.ReadSession, error) {
	if err := r.fault("CreateReadSession"); err != nil {
		return nil, err
	}
	want := req.GetReadSession()
	if project, ok := strings.CutPrefix(req.GetParent(), "projects/"); !ok || project == "" || strings.Contains(project, "/") {
		return nil, status.Errorf(codes.InvalidArgument, "Invalid parent %q: want projects/PROJECT", req.GetParent())
	} else if project != r.s.project {
		return nil, status.Errorf(codes.NotFound, "Not found: Project %s", project)
	}
	spec := &readSpec{streams: int(req.GetMaxStreamCount())}
	var err error
	if spec.table, err = r.s.tableOf(want.GetTable()); err != nil {
		return nil, err
	}
	switch want.GetDataFormat() {
	case storagepb.DataFormat_ARROW:
	case storagepb.DataFormat_AVRO:
		return nil, status.Error(codes.Unimplemented, "This stand-in sends Arrow only")
	default:
		return nil, status.Error(codes.InvalidArgument, "The data format is not specified")
	}
	if at := want.GetTableModifiers().GetSnapshotTime(); at != nil && time.Since(at.AsTime()) > time.Second {
		return nil, status.Error(codes.Unimplemented, "This stand-in keeps no older state of a table")
	}
	if spec.streams < 0 || req.GetPreferredMinStreamCount() < 0 || spec.streams > 0 && req.GetPreferredMinStreamCount() > req.GetMaxStreamCount() {
		return nil, status.Errorf(codes.InvalidArgument, "max_stream_count %d, preferred_min_stream_count %d", spec.streams, req.GetPreferredMinStreamCount())
	}
	if spec.streams == 0 {
		spec.streams = max(defaultReadStreams, int(req.GetPreferredMinStreamCount()))
	}
	spec.streams = min(spec.streams, maxReadStreams)
	options := want.GetReadOptions()
	if spec.fields, err = selectFields(spec.table.fields, options.GetSelectedFields()); err != nil {
		return nil, status.Error(codes.InvalidArgument, "request failed: "+err.Error())
	}
	if len(options.GetRowRestriction()) > maxRestriction {
		return nil, status.Errorf(codes.InvalidArgument, "read_session.read_options.row_restriction exceeded maximum allowed length. Maximum bytes allowed: %d", maxRestriction)
	}
	if restriction := options.GetRowRestriction(); strings.TrimSpace(restriction) != "" {
		spec.condition, err = googlesql.Condition(restriction, googlesql.Options{Dataset: spec.table.Dataset, Project: r.s.project})
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, "request failed: Query error: "+err.Error())
		}
	}
	switch options.GetArrowSerializationOptions().GetBufferCompression() {
	case storagepb.ArrowSerializationOptions_LZ4_FRAME:
		spec.compression = []ipc.Option{ipc.WithLZ4()}
	case storagepb.ArrowSerializationOptions_ZSTD:
		spec.compression = []ipc.Option{ipc.WithZstd()}
	}
	rs, err := r.s.newReadSession(ctx, spec)
	if err != nil {
		var bad *apiError
		if errors.As(err, &bad) && bad.reason == "invalidQuery" {
			return nil, status.Error(codes.InvalidArgument, "request failed: Query error: "+bad.message)
		}
		return nil, statusOf(err, codes.Internal)
	}
	out := &storagepb.ReadSession{
		Name: rs.name, ExpireTime: timestamppb.New(rs.expires), DataFormat: storagepb.DataFormat_ARROW, Table: rs.table,
		Schema:                     &storagepb.ReadSession_ArrowSchema{ArrowSchema: &storagepb.ArrowSchema{SerializedSchema: rs.schema}},
		TableModifiers:             want.GetTableModifiers(),
		ReadOptions:                options,
		EstimatedTotalBytesScanned: rs.size,
		EstimatedRowCount:          rs.rows,
		TraceId:                    want.GetTraceId(),
	}
	for _, name := range rs.names {
		out.Streams = append(out.Streams, &storagepb.ReadStream{Name: name})
	}
	return out, nil
}

var streamName = regexp.MustCompile(`^(projects/[^/]+/locations/[^/]+/sessions/[^/]+)/streams/[^/]+$`)

func (r *readService) ReadRows(req *storagepb.ReadRowsRequest, conn storagepb.BigQueryRead_ReadRowsServer) error {
	name := streamName.FindStringSubmatch(req.GetReadStream())
	if name == nil {
		return status.Errorf(codes.InvalidArgument, "Invalid stream name %q", req.GetReadStream())
	}
	rs := r.s.sessions.get(name[1])
	if rs == nil {
		return status.Errorf(codes.NotFound, "Requested entity was not found: %s", req.GetReadStream())
	}
	st := rs.streams[req.GetReadStream()]
	if st == nil {
		return status.Errorf(codes.NotFound, "Requested entity was not found: %s", req.GetReadStream())
	}
	if !rs.acquire() {
		return status.Errorf(codes.FailedPrecondition, "there was an error operating on '%s': session expired at %s",
			req.GetReadStream(), rs.expires.UTC().Format(time.RFC3339))
	}
	defer rs.release()
	offset := req.GetOffset()
	if offset < 0 || offset > st.rows {
		return status.Errorf(codes.InvalidArgument, "request failed: offset %d is not within the %d rows of stream %s", offset, st.rows, req.GetReadStream())
	}
	sent := offset
	progress := func(rows int64) float64 {
		if st.rows == 0 {
			return 1
		}
		return float64(rows) / float64(st.rows)
	}
	return rs.each(st, offset, func(data []byte, rows int64) error {
		if err := r.fault("ReadRows"); err != nil {
			return err
		}
		select {
		case <-r.s.closing:
			return status.Error(codes.Unavailable, "The server is closing")
		default:
		}
		response := &storagepb.ReadRowsResponse{
			RowCount:      rows,
			Rows:          &storagepb.ReadRowsResponse_ArrowRecordBatch{ArrowRecordBatch: &storagepb.ArrowRecordBatch{SerializedRecordBatch: data}},
			Stats:         &storagepb.StreamStats{Progress: &storagepb.StreamStats_Progress{AtResponseStart: progress(sent), AtResponseEnd: progress(sent + rows)}},
			ThrottleState: &storagepb.ThrottleState{},
		}
		if sent == offset { // the first response alone has the schema
			response.Schema = &storagepb.ReadRowsResponse_ArrowSchema{ArrowSchema: &storagepb.ArrowSchema{SerializedSchema: rs.schema}}
		}
		sent += rows
		return conn.Send(response)
	})
}
