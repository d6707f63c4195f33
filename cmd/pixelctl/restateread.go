package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/bigquery"
	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/googleapis/gax-go/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/schemas"
)

// field is a value of a column. NULL has neither a number nor a text.
type field struct {
	null bool
	n    int64  // INT64, BOOL as 0 or 1, TIMESTAMP in microseconds since the Unix epoch; of an ARRAY, its length
	text []byte // STRING, BYTES, JSON; borrowed until the next row
}

// scan says what is read of a table: the rows of a range of time, of a column by which
// it is partitioned.
type scan struct {
	table   string
	columns []string // one that the table lacks is NULL in all rows
	time    string   // one of columns
	from    time.Time
	to      time.Time
}

// rowFunc takes a row, in the order of scan.columns.
type rowFunc func([]field) error

// tableReader reads rows of tables. open is called for each stream of rows; what it
// returns is called by one goroutine. Rows come in any order.
type tableReader interface {
	read(ctx context.Context, s *scan, open func() rowFunc) error
}

// tables are those of a dataset.
type tables struct {
	client           *bigquery.Client
	project, dataset string
	known            map[string]*bigquery.TableMetadata
}

// impressions returns the names of the tables that hold impressions: those of groups
// of advertisers too, whether views read them or not.
func (t *tables) impressions(ctx context.Context) ([]string, error) {
	names := []string{"impressions"}
	all := t.client.DatasetInProject(t.project, t.dataset).Tables(ctx)
	for {
		table, err := all.Next()
		if errors.Is(err, iterator.Done) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(table.TableID, schemas.GroupTable("")) {
			names = append(names, table.TableID)
		}
	}
}

// metadata returns what is known of a table.
func (t *tables) metadata(ctx context.Context, table string) (*bigquery.TableMetadata, error) {
	if known := t.known[table]; known != nil {
		return known, nil
	}
	meta, err := t.client.DatasetInProject(t.project, t.dataset).Table(table).Metadata(ctx)
	if err != nil {
		return nil, err
	}
	if t.known == nil {
		t.known = make(map[string]*bigquery.TableMetadata)
	}
	t.known[table] = meta
	return meta, nil
}

// expired returns an error if rows of the time from may be gone, since a table keeps
// its partitions, days in UTC, not so long.
func (t *tables) expired(ctx context.Context, names []string, from, now time.Time) error {
	for _, table := range names {
		meta, err := t.metadata(ctx, table)
		if err != nil {
			return err
		}
		if meta.TimePartitioning == nil || meta.TimePartitioning.Expiration == 0 {
			continue
		}
		kept := now.UTC().Add(-meta.TimePartitioning.Expiration)
		first := kept.Truncate(24 * time.Hour).Add(24 * time.Hour) // of the day after the one that expires now
		if from.Before(first) {
			return cli.WithRemedy(fmt.Errorf("--from=%s: rows of before %s have expired in %s, which keeps them for %s, and would be counted as gone",
				from.Format(time.RFC3339), first.Format(time.RFC3339), table, days(meta.TimePartitioning.Expiration)), "give a later --from")
		}
	}
	return nil
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return countOf(int(d/(24*time.Hour)), "day")
	}
	return d.String()
}

// present returns the columns of a scan that its table has, and where each stands in
// the scan.
func (t *tables) present(ctx context.Context, s *scan) (names []string, at []int, err error) {
	meta, err := t.metadata(ctx, s.table)
	if err != nil {
		return nil, nil, err
	}
	has := make(map[string]bool)
	for _, f := range meta.Schema {
		has[f.Name] = true
	}
	for i, name := range s.columns {
		if has[name] {
			names, at = append(names, name), append(at, i)
		}
	}
	if !has[s.time] {
		return nil, nil, fmt.Errorf("table %s has no column %s: %w", s.table, s.time, errColumns)
	}
	return names, at, nil
}

// quoted returns a table's name in GoogleSQL.
func (t *tables) quoted(table string) string {
	return "`" + t.project + "." + t.dataset + "." + table + "`"
}

// queryReader reads by queries and the pages of BigQuery's REST API.
type queryReader struct {
	*tables
	flags *queryFlags
}

// rowsBetween reads columns of the rows of a range of time.
func rowsBetween(columns []string, table, at string) string {
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + table + " WHERE " + at + " >= @from AND " + at + " < @to"
}

func (q *queryReader) read(ctx context.Context, s *scan, open func() rowFunc) error {
	names, at, err := q.present(ctx, s)
	if err != nil {
		return err
	}
	sql := rowsBetween(names, q.quoted(s.table), s.time)
	each := open()
	row := make([]field, len(s.columns))
	return eachRow(ctx, q.flags, q.client, q.project+"."+q.dataset, sql, s.from, s.to, func(values []bigquery.Value) error {
		for i := range row {
			row[i] = field{null: true}
		}
		for i, v := range values {
			f, err := fieldOf(v)
			if err != nil {
				return fmt.Errorf("table %s, column %s: %w", s.table, names[i], err)
			}
			row[at[i]] = f
		}
		return each(row)
	})
}

// fieldOf turns a value of the REST client into a field.
func fieldOf(v bigquery.Value) (field, error) {
	switch v := v.(type) {
	case nil:
		return field{null: true}, nil
	case string:
		return field{text: []byte(v)}, nil
	case []byte:
		return field{text: v}, nil
	case int64:
		return field{n: v}, nil
	case bool:
		if v {
			return field{n: 1}, nil
		}
		return field{}, nil
	case time.Time:
		return field{n: v.UnixMicro()}, nil
	case []bigquery.Value:
		return field{n: int64(len(v))}, nil
	}
	return field{}, fmt.Errorf("a value is %T: %w", v, errColumns)
}

// sessionReader reads by the Storage Read API: read sessions of a table, their
// columns and rows selected by the service, in Arrow.
type sessionReader struct {
	*tables
	storage *storage.BigQueryReadClient
	streams int // at most, of a session
	// bytes counts what came.
	bytes atomic.Int64
}

// newSessionReader connects to the Storage API.
func newSessionReader(ctx context.Context, t *tables, at endpoint) (*sessionReader, error) {
	var opts []option.ClientOption
	if at.address != "" {
		host, err := at.host()
		if err != nil {
			return nil, err
		}
		if err := at.reach(ctx, "BigQuery's Storage API"); err != nil {
			return nil, err
		}
		opts = append(opts, option.WithEndpoint(host))
		if at.open() {
			opts = append(opts, option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
		}
	}
	client, err := storage.NewBigQueryReadClient(ctx, opts...)
	if err != nil {
		return nil, cli.WithRemedy(err, credentialsRemedy)
	}
	return &sessionReader{tables: t, storage: client, streams: max(4, 2*runtime.GOMAXPROCS(0))}, nil
}

func (r *sessionReader) close() { r.storage.Close() }

// restriction is the condition of the rows of a scan. Times are written out: a session
// has no parameters.
func restriction(s *scan) string {
	const layout = "2006-01-02 15:04:05.000000Z07:00"
	return fmt.Sprintf("%[1]s >= TIMESTAMP '%[2]s' AND %[1]s < TIMESTAMP '%[3]s'", s.time, s.from.UTC().Format(layout), s.to.UTC().Format(layout))
}

func (r *sessionReader) read(ctx context.Context, s *scan, open func() rowFunc) error {
	names, _, err := r.present(ctx, s)
	if err != nil {
		return err
	}
	session, err := r.storage.CreateReadSession(ctx, &storagepb.CreateReadSessionRequest{
		Parent: "projects/" + r.client.Project(),
		ReadSession: &storagepb.ReadSession{
			Table:      "projects/" + r.project + "/datasets/" + r.dataset + "/tables/" + s.table,
			DataFormat: storagepb.DataFormat_ARROW,
			ReadOptions: &storagepb.ReadSession_TableReadOptions{
				SelectedFields: names,
				RowRestriction: restriction(s),
			},
		},
		MaxStreamCount: int32(r.streams),
	})
	if err != nil {
		return err
	}
	decode, err := newDecoder(s, session.GetArrowSchema().GetSerializedSchema())
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, stream := range session.GetStreams() {
		group.Go(func() error {
			each := open()
			return r.stream(ctx, stream.GetName(), func(batch []byte, rows int64) error { return decode.rows(batch, rows, each) })
		})
	}
	return group.Wait()
}

// maxStalls is how often in a row a stream may break without a row.
const maxStalls = 10

// stream calls f with the batches of a stream. Where it breaks it goes on after the
// last row that came.
func (r *sessionReader) stream(ctx context.Context, name string, f func(batch []byte, rows int64) error) error {
	offset, stalls := int64(0), 0
	backoff := gax.Backoff{Initial: 100 * time.Millisecond, Max: 20 * time.Second, Multiplier: 2}
	for {
		before := offset
		err := r.streamFrom(ctx, name, &offset, f)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if offset > before {
			stalls = 0
			backoff = gax.Backoff{Initial: 100 * time.Millisecond, Max: 20 * time.Second, Multiplier: 2}
		}
		if stalls++; !transient(err) || stalls > maxStalls {
			return fmt.Errorf("reading rows: %w", err)
		}
		if err := gax.Sleep(ctx, backoff.Pause()); err != nil {
			return err
		}
	}
}

// transient tells whether a stream that broke with an error may be tried again.
func transient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Aborted, codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted:
		return true
	}
	return false
}

func (r *sessionReader) streamFrom(ctx context.Context, name string, offset *int64, f func(batch []byte, rows int64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if f failed
	conn, err := r.storage.ReadRows(ctx, &storagepb.ReadRowsRequest{ReadStream: name, Offset: *offset})
	if err != nil {
		return err
	}
	for {
		response, err := conn.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		batch := response.GetArrowRecordBatch().GetSerializedRecordBatch()
		if response.GetRowCount() == 0 {
			continue
		}
		if err := f(batch, response.GetRowCount()); err != nil {
			return err
		}
		r.bytes.Add(int64(len(batch)))
		*offset += response.GetRowCount()
	}
}

// decoder turns record batches into rows. It may be used by several goroutines.
type decoder struct {
	message []byte // of the schema
	schema  *arrow.Schema
	columns int
	at      []int // of each field of the schema: its place in a row
}

func newDecoder(s *scan, schema []byte) (*decoder, error) {
	r, err := ipc.NewReader(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("the schema of a read session: %w", err)
	}
	defer r.Release()
	d := &decoder{message: schema, schema: r.Schema(), columns: len(s.columns)}
	place := make(map[string]int)
	for i, name := range s.columns {
		place[name] = i
	}
	// The service orders fields as the table does.
	for _, f := range d.schema.Fields() {
		at, ok := place[f.Name]
		if !ok {
			return nil, fmt.Errorf("a read session has the column %s, which was not asked for", f.Name)
		}
		d.at = append(d.at, at)
	}
	return d, nil
}

// rows calls each with the rows of a batch, of which there are want.
func (d *decoder) rows(batch []byte, want int64, each rowFunc) error {
	r, err := ipc.NewReader(io.MultiReader(bytes.NewReader(d.message), bytes.NewReader(batch)))
	if err != nil {
		return fmt.Errorf("a batch of rows: %w", err)
	}
	defer r.Release()
	row := make([]field, d.columns)
	for r.Next() {
		rec := r.RecordBatch()
		columns := make([]arrowField, len(d.at))
		for i := range columns {
			if columns[i], err = newArrowField(rec.Column(i)); err != nil {
				return fmt.Errorf("column %s: %w", d.schema.Field(i).Name, err)
			}
		}
		for i := range row { // for columns that the table lacks
			row[i] = field{null: true}
		}
		for n := range int(rec.NumRows()) {
			for i := range columns {
				columns[i].get(n, &row[d.at[i]])
			}
			if err := each(row); err != nil {
				return err
			}
		}
		want -= rec.NumRows()
	}
	if err := r.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("a batch of rows: %w", err)
	}
	if want != 0 {
		return fmt.Errorf("a batch of rows has %d rows less than the service says", want)
	}
	return nil
}

// arrowField is a column of a record batch.
type arrowField struct {
	nulls   arrow.Array // nil: it has none
	numbers []int64
	bools   *array.Boolean
	offsets []int32 // of texts and lists
	texts   []byte  // nil: offsets are of lists
	first   int32   // offset of texts
}

func newArrowField(column arrow.Array) (arrowField, error) {
	f := arrowField{}
	if column.NullN() > 0 {
		f.nulls = column
	}
	switch a := column.(type) {
	case *array.Int64:
		f.numbers = a.Int64Values()
	case *array.Timestamp:
		if unit := a.DataType().(*arrow.TimestampType).Unit; unit != arrow.Microsecond {
			return f, fmt.Errorf("its times are in %v, not in microseconds: %w", unit, errColumns)
		}
		f.numbers = arrow.Int64Traits.CastFromBytes(arrow.TimestampTraits.CastToBytes(a.TimestampValues()))
	case *array.Boolean:
		f.bools = a
	case *array.String:
		f.offsets, f.texts = a.ValueOffsets(), a.ValueBytes()
	case *array.Binary:
		f.offsets, f.texts = a.ValueOffsets(), a.ValueBytes()
	case *array.List:
		f.offsets = a.Offsets()
		if offset := a.Data().Offset(); offset > 0 || len(f.offsets) != a.Len()+1 {
			f.offsets = f.offsets[offset : offset+a.Len()+1]
		}
		return f, nil
	default:
		return f, fmt.Errorf("its type is %v: %w", column.DataType(), errColumns)
	}
	if f.texts == nil {
		f.texts = []byte{}
	}
	if len(f.offsets) > 0 {
		f.first = f.offsets[0]
	}
	return f, nil
}

func (f *arrowField) get(i int, to *field) {
	*to = field{}
	switch {
	case f.nulls != nil && f.nulls.IsNull(i):
		to.null = true
	case f.numbers != nil:
		to.n = f.numbers[i]
	case f.bools != nil:
		if f.bools.Value(i) {
			to.n = 1
		}
	case f.texts == nil:
		to.n = int64(f.offsets[i+1] - f.offsets[i])
	default:
		to.text = f.texts[f.offsets[i]-f.first : f.offsets[i+1]-f.first]
	}
}

// whyNoSessions says why read sessions cannot be used, if an error means that and not
// that something broke; else "".
func whyNoSessions(err error) string {
	switch status.Code(err) {
	case codes.PermissionDenied:
		return "the account may not create read sessions (bigquery.readsessions.create, as in roles/bigquery.readSessionUser on the project): " + status.Convert(err).Message()
	case codes.Unimplemented:
		return "the service has no read sessions: " + status.Convert(err).Message()
	}
	return ""
}
