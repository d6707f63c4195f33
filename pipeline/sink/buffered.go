package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"pixelbeam/schemas"
)

// cursor is where the next rows of a shard go: state of the runner, so that a
// bundle which is run again finds the cursor that it found the first time.
type cursor struct {
	// Stream is the name of a BUFFERED write stream; empty if there is none yet.
	Stream string
	// Offset is how many rows of it are the shard's, all of committed bundles.
	Offset int64
}

// mark says that the rows of a stream before an offset may be seen. It leaves the
// stage that appends with the commit of its bundle.
type mark struct {
	Stream string
	Offset int64
	// Last says that no more rows will come.
	Last bool
}

// mostAbandoned is how many streams may be abandoned in a row: one is the rule
// after a failed bundle, and each is a new one.
const mostAbandoned = 5

// bufferedTable appends to BUFFERED streams of one table and of those of its groups,
// and shows what was appended. It is shared by the bundles of a process.
//
// The protocol, which needs no more of the runner than that a bundle's state and
// outputs are committed together and its input is the same when it is run again:
//
//   - rows are appended at the offset that the state names;
//   - if the service has another row there, a bundle that failed, or a worker that
//     is thought dead, was faster. The stream is abandoned where the state left
//     it: no mark will ever show what lies behind;
//   - a later stage shows rows up to the marks of committed bundles. To show them
//     twice changes nothing.
//
// https://cloud.google.com/bigquery/docs/write-api-streaming#exactly-once
type bufferedTable struct {
	key        tableKey
	cfg        BigQueryConfig
	descriptor *descriptorpb.DescriptorProto
	client     *storage.BigQueryWriteClient
	// pause waits before the n-th retry.
	pause func(ctx context.Context, n int) error

	mu      sync.Mutex
	conns   map[string]*appendStream // by stream
	ensured map[string]bool          // tables of groups that are known to be there
}

var bufferedTables pool[tableKey, *bufferedTable]

func acquireBuffered(cfg BigQueryConfig) (*bufferedTable, error) {
	key := cfg.key("")
	return bufferedTables.acquire(key, func() (*bufferedTable, error) {
		descriptor, err := tableDescriptor(cfg.Table)
		if err != nil {
			return nil, err
		}
		options, err := writeOptions(cfg.Endpoint)
		if err != nil {
			return nil, err
		}
		client, err := storage.NewBigQueryWriteClient(context.Background(), options...)
		if err != nil {
			return nil, fmt.Errorf("bigquery table %v: no client: %w; sign in (gcloud auth application-default login) or run as a service account", key, err)
		}
		// The client would try again by itself, a new stream after up to 10 s. What
		// failed is tried again here, with pauses that fit and a count.
		client.CallOptions = &storage.BigQueryWriteCallOptions{}
		return &bufferedTable{key: key, cfg: cfg, descriptor: descriptor, client: client, pause: pause,
			conns: map[string]*appendStream{}, ensured: map[string]bool{}}, nil
	})
}

func (t *bufferedTable) release() {
	bufferedTables.release(t.key, func(t *bufferedTable) {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, conn := range t.conns {
			conn.close()
		}
		t.client.Close()
	})
}

// append appends rows of a group, or of none, at the cursor and returns where it then
// is, and what may be seen once the bundle is committed. Rows that the service
// refuses are handed to refuse. An error leaves the cursor to the runner, which runs
// the bundle again.
func (t *bufferedTable) append(ctx context.Context, group string, at cursor, rows []schemas.Row, refuse func(schemas.Row, *storagepb.RowError)) (cursor, []mark, error) {
	key := t.cfg.key(group)
	var marks []mark
	moved := false // since the last mark
	abandoned := 0
	abandon := func() {
		if at.Stream == "" {
			return
		}
		t.disconnect(at.Stream)
		// Whoever else appends to it should find it closed; that they may not is
		// harmless.
		marks = append(marks, mark{at.Stream, at.Offset, true})
		at, moved = cursor{}, false
	}
	if at.Stream != "" && !strings.HasPrefix(at.Stream, key.path()+"/") {
		abandon() // That of another group, of the same key.
	}
	for len(rows) > 0 {
		n := fit(rows, t.cfg.MaxBatchBytes)
		chunk := slices.Clone(rows[:n])
		var failed time.Time
		for tries := 1; len(chunk) > 0; tries++ {
			response, err := t.try(ctx, key, &at, chunk)
			if err == nil {
				at.Offset += int64(len(chunk))
				moved = true
				tableMetrics[t.cfg.Table].written.Inc(ctx, int64(len(chunk)))
				break
			}
			if noTable := (*tableError)(nil); errors.As(err, &noTable) {
				return cursor{}, nil, noTable
			}
			if noClient := (*clientError)(nil); errors.As(err, &noClient) {
				return cursor{}, nil, fmt.Errorf("bigquery table %v: %w; sign in (gcloud auth application-default login) or run as a service account", key, err)
			}
			if response == nil && at.Stream != "" {
				t.disconnect(at.Stream)
			}
			if ctx.Err() != nil {
				return cursor{}, nil, fmt.Errorf("bigquery table %v: %d rows unacknowledged: %w", key, len(chunk), ctx.Err())
			}
			if bad := response.GetRowErrors(); len(bad) > 0 {
				// Nothing of a request with a bad row is stored.
				if chunk = without(chunk, bad, refuse); chunk == nil {
					return cursor{}, nil, fmt.Errorf("bigquery table %v: row errors that name no row: %v: %w", key, bad, err)
				}
				continue
			}
			// A new table is there before the Storage Write API knows it.
			unknown := group != "" && at.Stream == "" && status.Code(err) == codes.NotFound
			switch status.Code(err) {
			case codes.AlreadyExists, codes.OutOfRange, codes.NotFound, codes.FailedPrecondition:
				if unknown {
					t.forget(group)
					break
				}
				if at.Stream == "" {
					return cursor{}, nil, fmt.Errorf("bigquery table %v: %w; create the dataset and table (terraform apply), or correct project, dataset and table", key, err)
				}
				// Not where the state left it, expired, or finalized.
				if abandoned++; abandoned > mostAbandoned {
					return cursor{}, nil, fmt.Errorf("bigquery table %v: %d new streams in a row refused the rows: %w", key, abandoned, err)
				}
				log.Infof(ctx, "bigquery table %v: stream %s is abandoned at %d: %v", key, at.Stream, at.Offset, err)
				abandon()
				continue
			}
			if !outside(err) && !unknown {
				return cursor{}, nil, fmt.Errorf("bigquery table %v: %w; compare the table's columns with the schemas of this version (terraform plan), and the account's roles", key, err)
			}
			if failed.IsZero() {
				failed = time.Now()
			}
			if since := time.Since(failed); since >= t.cfg.RetryTimeout {
				return cursor{}, nil, fmt.Errorf("bigquery table %v: gave up after %d tries in %v: %w", key, tries, since.Round(time.Millisecond), err)
			}
			tableMetrics[t.cfg.Table].retries.Inc(ctx, 1)
			// Whether the rows were stored is not known. The same offset tells.
			if err := t.pause(ctx, tries); err != nil {
				return cursor{}, nil, fmt.Errorf("bigquery table %v: %d rows unacknowledged: %w", key, len(chunk), err)
			}
		}
		rows = rows[n:]
	}
	if moved {
		marks = append(marks, mark{at.Stream, at.Offset, false})
	}
	return at, marks, nil
}

// fit returns how many of the rows go into one request, at least one.
func fit(rows []schemas.Row, most int) int {
	size := 0
	for i, row := range rows {
		if size += rowBytes(row); size > most && i > 0 {
			return i
		}
	}
	return len(rows)
}

// without hands the rows that the service lists to refuse and returns the others;
// nil if it lists none of them.
func without(rows []schemas.Row, bad []*storagepb.RowError, refuse func(schemas.Row, *storagepb.RowError)) []schemas.Row {
	why := make(map[int64]*storagepb.RowError, len(bad))
	for _, e := range bad {
		why[e.GetIndex()] = e
	}
	kept := make([]schemas.Row, 0, len(rows))
	for i, row := range rows {
		if e, ok := why[int64(i)]; ok {
			refuse(row, e)
		} else {
			kept = append(kept, row)
		}
	}
	if len(kept) == len(rows) {
		return nil
	}
	return kept
}

// try makes one attempt to append at the cursor, making a stream if it has none, and
// the table of a group if that has none. The response tells, if there is one, that
// the service has not stored the rows.
func (t *bufferedTable) try(ctx context.Context, key tableKey, at *cursor, rows []schemas.Row) (*storagepb.AppendRowsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.AckTimeout)
	defer cancel()
	if at.Stream == "" {
		if err := t.ensure(ctx, key); err != nil {
			return nil, err
		}
		s, err := t.client.CreateWriteStream(ctx, &storagepb.CreateWriteStreamRequest{
			Parent:      key.path(),
			WriteStream: &storagepb.WriteStream{Type: storagepb.WriteStream_BUFFERED},
		})
		if err != nil {
			return nil, err
		}
		*at = cursor{Stream: s.GetName()}
	}
	conn, err := t.connect(at.Stream)
	if err != nil {
		return nil, err
	}
	tableMetrics[t.cfg.Table].requests.Inc(ctx, 1)
	data := make([][]byte, len(rows))
	for i, row := range rows {
		data[i] = row.Data
	}
	return conn.append(ctx, at.Offset, data, t.descriptor)
}

// ensure makes the table of a group, once.
func (t *bufferedTable) ensure(ctx context.Context, key tableKey) error {
	t.mu.Lock()
	known := key.Group == "" || t.ensured[key.Group]
	t.mu.Unlock()
	if known {
		return nil
	}
	if err := ensureTable(ctx, key); err != nil {
		return err
	}
	t.mu.Lock()
	t.ensured[key.Group] = true
	t.mu.Unlock()
	return nil
}

// forget makes ensure look again: the table may have been dropped.
func (t *bufferedTable) forget(group string) {
	t.mu.Lock()
	delete(t.ensured, group)
	t.mu.Unlock()
}

func (t *bufferedTable) connect(stream string) (*appendStream, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if conn := t.conns[stream]; conn != nil {
		return conn, nil
	}
	// The connection outlives the bundle that opens it.
	ctx, cancel := context.WithCancel(context.Background())
	s, err := t.client.AppendRows(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	conn := &appendStream{name: stream, stream: s, close: cancel}
	t.conns[stream] = conn
	return conn, nil
}

func (t *bufferedTable) disconnect(stream string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if conn := t.conns[stream]; conn != nil {
		conn.close()
		delete(t.conns, stream)
	}
}

// show makes the rows that a mark names visible, for good. It may be called
// again, and late.
func (t *bufferedTable) show(ctx context.Context, m mark) error {
	err := t.retry(ctx, "show rows of "+m.Stream, func(ctx context.Context) error {
		if m.Offset == 0 {
			return nil
		}
		_, err := t.client.FlushRows(ctx, &storagepb.FlushRowsRequest{
			WriteStream: m.Stream, Offset: wrapperspb.Int64(m.Offset - 1), // of the last row
		})
		switch status.Code(err) {
		case codes.AlreadyExists:
			return nil // A later mark was faster.
		case codes.NotFound:
			// The service forgets streams that were left alone for days. More tries
			// would not bring it back, and what was shown stays.
			lostMarks.Inc(ctx, 1)
			log.Errorf(ctx, "bigquery table %v: stream %s is gone: rows before %d that were not shown by then are lost", t.key, m.Stream, m.Offset)
			return nil
		}
		return err
	})
	if err != nil || !m.Last {
		return err
	}
	t.disconnect(m.Stream)
	return t.retry(ctx, "finalize "+m.Stream, func(ctx context.Context) error {
		_, err := t.client.FinalizeWriteStream(ctx, &storagepb.FinalizeWriteStreamRequest{Name: m.Stream})
		if c := status.Code(err); c == codes.NotFound || c == codes.FailedPrecondition {
			return nil // Gone or finalized already.
		}
		return err
	})
}

// retry calls f until it succeeds, or fails in a way that more tries do not mend.
func (t *bufferedTable) retry(ctx context.Context, what string, f func(context.Context) error) error {
	started := time.Now()
	for tries := 1; ; tries++ {
		call, cancel := context.WithTimeout(ctx, t.cfg.AckTimeout)
		err := f(call)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !outside(err) || time.Since(started) >= t.cfg.RetryTimeout:
			return fmt.Errorf("bigquery table %v: %s: %w", t.key, what, err)
		}
		tableMetrics[t.cfg.Table].retries.Inc(ctx, 1)
		if err := t.pause(ctx, tries); err != nil {
			return err
		}
	}
}

// appendStream is an AppendRows call to one stream, one request at a time.
type appendStream struct {
	name   string
	stream storagepb.BigQueryWrite_AppendRowsClient
	close  context.CancelFunc

	mu     sync.Mutex
	opened bool // the schema was sent
}

// append sends one request and waits for its answer, until ctx ends, which ends
// the call.
func (s *appendStream) append(ctx context.Context, offset int64, rows [][]byte, schema *descriptorpb.DescriptorProto) (*storagepb.AppendRowsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer context.AfterFunc(ctx, s.close)()
	data := &storagepb.AppendRowsRequest_ProtoData{Rows: &storagepb.ProtoRows{SerializedRows: rows}}
	request := &storagepb.AppendRowsRequest{
		WriteStream: s.name, Offset: wrapperspb.Int64(offset),
		Rows: &storagepb.AppendRowsRequest_ProtoRows{ProtoRows: data},
	}
	if !s.opened {
		data.WriterSchema = &storagepb.ProtoSchema{ProtoDescriptor: schema}
	}
	if err := s.stream.Send(request); err != nil && err != io.EOF { // io.EOF: Recv has the reason
		return nil, err
	}
	s.opened = true
	response, err := s.stream.Recv()
	if err != nil {
		return nil, err
	}
	if e := response.GetError(); e != nil {
		return response, status.FromProto(e).Err()
	}
	return response, nil
}
