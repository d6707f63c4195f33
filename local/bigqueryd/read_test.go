package bigqueryd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

func readOptions(s *Server) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(s.GRPCEndpoint()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

// readClient is Google's client of the Storage Read API.
func readClient(t testing.TB, s *Server) *storage.BigQueryReadClient {
	t.Helper()
	c, err := storage.NewBigQueryReadClient(t.Context(), readOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// sessionOf is a request for a session of a table.
func sessionOf(s *Server, table string, change ...func(*storagepb.CreateReadSessionRequest)) *storagepb.CreateReadSessionRequest {
	req := &storagepb.CreateReadSessionRequest{
		Parent: "projects/" + s.Project(),
		ReadSession: &storagepb.ReadSession{
			Table: tableResource(s, table), DataFormat: storagepb.DataFormat_ARROW, ReadOptions: &storagepb.ReadSession_TableReadOptions{},
		},
	}
	for _, f := range change {
		f(req)
	}
	return req
}

// where restricts the rows of a session, and selects fields.
func where(restriction string, fields ...string) func(*storagepb.CreateReadSessionRequest) {
	return func(req *storagepb.CreateReadSessionRequest) {
		req.ReadSession.ReadOptions.RowRestriction = restriction
		req.ReadSession.ReadOptions.SelectedFields = fields
	}
}

func streams(most int32) func(*storagepb.CreateReadSessionRequest) {
	return func(req *storagepb.CreateReadSessionRequest) { req.MaxStreamCount = most }
}

func createSession(t testing.TB, c *storage.BigQueryReadClient, req *storagepb.CreateReadSessionRequest) *storagepb.ReadSession {
	t.Helper()
	session, err := c.CreateReadSession(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// readStreamFrom reads a stream from an offset on, and returns its first column, of
// STRING, as far as it came.
func readStreamFrom(c *storage.BigQueryReadClient, session *storagepb.ReadSession, stream string, offset int64) (values []string, err error) {
	conn, err := c.ReadRows(context.Background(), &storagepb.ReadRowsRequest{ReadStream: stream, Offset: offset})
	if err != nil {
		return nil, err
	}
	for {
		response, err := conn.Recv()
		if err == io.EOF {
			return values, nil
		}
		if err != nil {
			return values, err
		}
		rec, err := decodeBatch(session, response)
		if err != nil {
			return values, err
		}
		if rec.NumRows() != response.GetRowCount() {
			return values, fmt.Errorf("the response says %d rows and has %d", response.GetRowCount(), rec.NumRows())
		}
		for i := range int(rec.NumRows()) {
			values = append(values, strings.Clone(rec.Column(0).(*array.String).Value(i)))
		}
	}
}

func decodeBatch(session *storagepb.ReadSession, response *storagepb.ReadRowsResponse) (arrow.RecordBatch, error) {
	r, err := ipc.NewReader(io.MultiReader(bytes.NewReader(session.GetArrowSchema().GetSerializedSchema()),
		bytes.NewReader(response.GetArrowRecordBatch().GetSerializedRecordBatch())))
	if err != nil {
		return nil, err
	}
	return r.Read()
}

// readIDs reads all streams of a session.
func readIDs(t testing.TB, c *storage.BigQueryReadClient, session *storagepb.ReadSession) []string {
	t.Helper()
	var ids []string
	for _, stream := range session.GetStreams() {
		part, err := readStreamFrom(c, session, stream.GetName(), 0)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, part...)
	}
	return ids
}

// The client library's own reader gives the same rows by read sessions as by REST, for
// all types of columns.
func TestReadSessionHasTheRowsOfREST(t *testing.T) {
	s := startWithTables(t, Options{})
	rest := restClient(t, s)
	run := func(sql string) {
		t.Helper()
		if _, err := tryQuery(t, rest, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	run(`CREATE TABLE pixelbeam.everything (s STRING, i INT64, f FLOAT64, b BOOL, n NUMERIC, y BYTES, ts TIMESTAMP, dt DATETIME, d DATE, j JSON,
		r STRUCT<s STRING, i INT64, inner_r STRUCT<d DATE, a ARRAY<INT64>>>,
		sa ARRAY<STRING>, ia ARRAY<INT64>, fa ARRAY<FLOAT64>, ba ARRAY<BOOL>, na ARRAY<NUMERIC>, ya ARRAY<BYTES>, tsa ARRAY<TIMESTAMP>, da ARRAY<DATE>,
		ra ARRAY<STRUCT<s STRING, n NUMERIC, t ARRAY<TIMESTAMP>>>)`)
	run(`INSERT INTO pixelbeam.everything (s) VALUES (NULL)`)
	run(`INSERT INTO pixelbeam.everything VALUES
		('', 0, 0.0, FALSE, NUMERIC '0', b'', TIMESTAMP '1970-01-01 00:00:00+00', DATETIME '1970-01-01 00:00:00', DATE '1970-01-01', JSON '{}',
			STRUCT('' AS s, 0 AS i, STRUCT(DATE '1970-01-01' AS d, CAST([] AS ARRAY<INT64>) AS a) AS inner_r), [], [], [], [], [], [], [], [], []),
		('Zürich \n 日本 🎉 "x"', 9223372036854775807, 1e308, TRUE, NUMERIC '99999999999999999999999999999.999999999', b'\x00\xff',
			TIMESTAMP '9999-12-31 23:59:59.999999+00', DATETIME '9999-12-31 23:59:59.999999', DATE '9999-12-31', JSON '{"k": [1, 12345678901234567890.10, null]}',
			STRUCT('thirteen byte' AS s, -1 AS i, STRUCT(DATE '2026-02-28' AS d, [1, 2, 3] AS a) AS inner_r),
			['a', '', 'thirteen byte'], [1, -9223372036854775808], [CAST('nan' AS FLOAT64), CAST('-inf' AS FLOAT64), -0.5], [TRUE, FALSE, TRUE],
			[NUMERIC '-0.000000001'], [b'', b'0123456789abcdef'], [TIMESTAMP '2026-01-15 10:00:00.000001+00'], [DATE '0001-01-01'],
			[STRUCT('x' AS s, NUMERIC '1.5' AS n, [TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:00:01+00'] AS t), STRUCT(NULL AS s, NULL AS n, CAST([] AS ARRAY<TIMESTAMP>) AS t)]),
		('min', -9223372036854775808, -1e-308, TRUE, NUMERIC '-99999999999999999999999999999.999999999', b'x',
			TIMESTAMP '0001-01-01 00:00:00+00', DATETIME '0001-01-01 00:00:00', DATE '0001-01-01', JSON '"text"',
			NULL, [], [], [], [], [], [], [], [], [])`)
	// Tables of ours, with every column set and with few.
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	if err := appendRows(t, ms, marshal(t, fullImpression(), impression("bare"))); err != nil {
		t.Fatal(err)
	}
	run(`INSERT INTO pixelbeam.impression_counts (window_start, window_end, campaign_id, gross, invalid, net, sketch, part, pane) VALUES
		(TIMESTAMP '2026-01-15 10:00:00+00', TIMESTAMP '2026-01-15 10:01:00+00', 'c', 1, 0, 1, b'\x01\x00', 3, 0)`)
	run(`INSERT INTO pixelbeam.ledger (minute, part, pane, read, impressions, rejected, ignored, duplicates, too_late, unmatched) VALUES
		(TIMESTAMP '2026-01-15 10:00:00+00', '0', 0, 1, 1, 0, 0, 0, 0, 0)`)
	run(`INSERT INTO pixelbeam.rejected_entries (receive_time, reason, stage, payload) VALUES (TIMESTAMP '2026-01-15 10:00:00+00', 'r', 'parse', b'\xfe')`)
	run(`INSERT INTO pixelbeam.impression_counts_weekly (week, gross, invalid, net, clicks) VALUES (DATE '2026-01-12', 1, 0, 1, 0)`)

	fast := restClient(t, s)
	if err := fast.EnableStorageReadClient(t.Context(), readOptions(s)...); err != nil {
		t.Fatal(err)
	}
	exact := cmp.Options{
		cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 }),
		cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b }),
	}
	for _, table := range []string{"everything", "impressions", "impression_counts", "ledger", "rejected_entries", "impression_counts_weekly"} {
		want, err := readAll(rest.Dataset(testDataset).Table(table).Read(t.Context()))
		if err != nil {
			t.Fatal(table, err)
		}
		it := fast.Dataset(testDataset).Table(table).Read(t.Context())
		got, err := readAll(it)
		if err != nil {
			t.Fatal(table, err)
		}
		if !it.IsAccelerated() {
			t.Errorf("%s was not read by the Storage Read API", table)
		}
		if len(want) == 0 {
			t.Errorf("%s has no rows to compare", table)
		}
		if diff := cmp.Diff(want, got, exact); diff != "" {
			t.Errorf("%s: -REST +read session\n%s", table, diff)
		}
	}
}

// Fields come in the table's order, whole or in part, and rows as restricted.
func TestReadSessionSelects(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	if err := appendRows(t, ms, marshal(t, fullImpression(), impression("bare"), impression("it's"))); err != nil {
		t.Fatal(err)
	}
	c := readClient(t, s)
	schema := func(session *storagepb.ReadSession) string {
		r, err := ipc.NewReader(bytes.NewReader(session.GetArrowSchema().GetSerializedSchema()))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range r.Schema().Fields() {
			names = append(names, f.Name+" "+f.Type.String())
		}
		return strings.Join(names, ", ")
	}
	session := createSession(t, c, sessionOf(s, "impressions", where("", "consent.us_privacy", "consent.gdpr", "invalid_reasons", "price", "insert_id")))
	want := "insert_id utf8, price decimal(38, 9), invalid_reasons list<item: utf8, nullable>, consent struct<gdpr: bool, us_privacy: utf8>"
	if got := schema(session); got != want {
		t.Errorf("schema %s\nwant   %s", got, want)
	}
	if got := schema(createSession(t, c, sessionOf(s, "impressions", where("", "consent.gdpr", "CONSENT")))); strings.Count(got, ":") != 6 {
		t.Errorf("the whole RECORD has schema %s", got)
	}
	for _, test := range []struct {
		restriction string
		want        []string
	}{
		{"", []string{"full", "bare", "it's"}},
		{"  ", []string{"full", "bare", "it's"}},
		{"insert_id = 'bare'", []string{"bare"}},
		{`insert_id = "it's"`, []string{"it's"}},
		{"event_time >= TIMESTAMP '2020-01-01T00:00:00.000000Z' AND event_time < TIMESTAMP '2030-01-01T00:00:00.000000Z'", []string{"full", "bare", "it's"}},
		{"event_time < TIMESTAMP '2020-01-01T00:00:00.000000Z'", nil},
		{"price IS NOT NULL AND consent.gdpr", []string{"full"}},
		{"insert_id = 'full' OR insert_id = 'bare' -- the end", []string{"full", "bare"}},
	} {
		session := createSession(t, c, sessionOf(s, "impressions", where(test.restriction, "insert_id")))
		got := readIDs(t, c, session)
		if !slices.Equal(got, test.want) || session.GetEstimatedRowCount() != int64(len(test.want)) {
			t.Errorf("%s: rows %q, estimated %d, want %q", test.restriction, got, session.GetEstimatedRowCount(), test.want)
		}
	}
}

// Of many rows in several streams each comes once, from any offset on, with and
// without compression.
func TestReadSessionStreams(t *testing.T) {
	s := startWithTables(t, Options{Path: filepath.Join(t.TempDir(), "t.duckdb")})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	const n = 20_000
	var want []string
	for from := 0; from < n; from += 2000 {
		if err := appendRows(t, ms, impressions(t, from, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range queryAll(t, restClient(t, s), "SELECT insert_id FROM pixelbeam.impressions") {
		want = append(want, row["insert_id"].(string))
	}
	slices.Sort(want)
	c := readClient(t, s)
	for _, codec := range []storagepb.ArrowSerializationOptions_CompressionCodec{
		storagepb.ArrowSerializationOptions_COMPRESSION_UNSPECIFIED, storagepb.ArrowSerializationOptions_LZ4_FRAME, storagepb.ArrowSerializationOptions_ZSTD,
	} {
		session := createSession(t, c, sessionOf(s, "impressions", streams(3), func(req *storagepb.CreateReadSessionRequest) {
			req.ReadSession.ReadOptions.OutputFormatSerializationOptions = &storagepb.ReadSession_TableReadOptions_ArrowSerializationOptions{
				ArrowSerializationOptions: &storagepb.ArrowSerializationOptions{BufferCompression: codec},
			}
		}))
		if len(session.GetStreams()) != 3 {
			t.Fatalf("%d streams, want 3", len(session.GetStreams()))
		}
		// What is appended after the snapshot is not in it.
		if err := appendRows(t, ms, impressions(t, 1_000_000, 10)); err != nil {
			t.Fatal(err)
		}
		got := readIDs(t, c, session)
		slices.Sort(got)
		if codec != 0 { // the rows appended by the rounds before
			got = slices.DeleteFunc(got, func(id string) bool { _, found := slices.BinarySearch(want, id); return !found })
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v: %d rows, want %d", codec, len(got), len(want))
		}
		stream := session.GetStreams()[1].GetName()
		whole, err := readStreamFrom(c, session, stream, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, offset := range []int{0, 1, 7, 2047, 2048, 2049, len(whole) / 2, len(whole) - 1, len(whole)} {
			part, err := readStreamFrom(c, session, stream, int64(offset))
			if err != nil || !slices.Equal(part, whole[offset:]) {
				t.Fatalf("%v: from offset %d there are %d rows, want %d: %v", codec, offset, len(part), len(whole)-offset, err)
			}
		}
	}
	if files, err := filepath.Glob(filepath.Join(filepath.Dir(s.opts.Path), "bigqueryd-read-*")); err != nil || len(files) > 0 {
		t.Errorf("sessions left files: %v %v", files, err)
	}
}

// A stream that breaks is read on from the offset reached, and nothing is missing or
// twice there.
func TestReadSessionResumes(t *testing.T) {
	var broken atomic.Int64
	s := startWithTables(t, Options{Fault: func(method string, n int) error {
		if method == "ReadRows" && n%3 == 2 {
			broken.Add(1)
			return errors.New("the connection breaks")
		}
		return nil
	}})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	for from := 0; from < 20_000; from += 2000 {
		if err := appendRows(t, ms, impressions(t, from, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	c := readClient(t, s)
	session := createSession(t, c, sessionOf(s, "impressions", streams(1)))
	var got []string
	for tries := 0; ; tries++ {
		part, err := readStreamFrom(c, session, session.GetStreams()[0].GetName(), int64(len(got)))
		got = append(got, part...)
		if err == nil {
			break
		}
		if status.Code(err) != codes.Unavailable || tries == 1000 {
			t.Fatal(err)
		}
	}
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != 20_000 || len(got) != 20_000 || broken.Load() == 0 {
		t.Errorf("%d distinct rows of %d, after %d breaks", n, len(got), broken.Load())
	}
}

// Rows of a megabyte are not gathered to batches that no client takes.
func TestReadSessionOfLargeRows(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	for i := range 100 {
		m := impression(fmt.Sprint(i))
		m.PageUrl = proto.String(strings.Repeat("x", 1<<20))
		if err := appendRows(t, ms, marshal(t, m)); err != nil {
			t.Fatal(err)
		}
	}
	c := readClient(t, s)
	if got := readIDs(t, c, createSession(t, c, sessionOf(s, "impressions"))); len(got) != 100 {
		t.Errorf("%d rows", len(got))
	}
}

func TestReadSessionErrors(t *testing.T) {
	s := startWithTables(t, Options{ReadSessionTTL: time.Millisecond})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	if err := appendRows(t, ms, marshal(t, impression("a"))); err != nil {
		t.Fatal(err)
	}
	c := readClient(t, s)
	change := func(f func(*storagepb.CreateReadSessionRequest)) *storagepb.CreateReadSessionRequest {
		return sessionOf(s, "impressions", f)
	}
	for _, test := range []struct {
		name    string
		req     *storagepb.CreateReadSessionRequest
		code    codes.Code
		message string
	}{
		{"no table", sessionOf(s, "none"), codes.NotFound, "none"},
		{"a view", sessionOf(s, "impressions_unique"), codes.InvalidArgument, "is a view"},
		{"a bad table name", change(func(r *storagepb.CreateReadSessionRequest) { r.ReadSession.Table = "impressions" }), codes.InvalidArgument, "impressions"},
		{"a bad parent", change(func(r *storagepb.CreateReadSessionRequest) { r.Parent = "p" }), codes.InvalidArgument, "parent"},
		{"another project", change(func(r *storagepb.CreateReadSessionRequest) { r.Parent = "projects/other" }), codes.NotFound, "other"},
		{"no format", change(func(r *storagepb.CreateReadSessionRequest) { r.ReadSession.DataFormat = 0 }), codes.InvalidArgument, "format"},
		{"Avro", change(func(r *storagepb.CreateReadSessionRequest) { r.ReadSession.DataFormat = storagepb.DataFormat_AVRO }), codes.Unimplemented, "Arrow"},
		{"streams", change(streams(-1)), codes.InvalidArgument, "max_stream_count"},
		{"an old snapshot", change(func(r *storagepb.CreateReadSessionRequest) {
			r.ReadSession.TableModifiers = &storagepb.ReadSession_TableModifiers{SnapshotTime: timestamppb.New(time.Now().Add(-time.Hour))}
		}), codes.Unimplemented, "older"},
		{"no such field", change(where("", "insert_id", "nope")), codes.InvalidArgument, "no such field: nope"},
		{"no such inner field", change(where("", "consent.nope")), codes.InvalidArgument, "nope"},
		{"a field of no RECORD", change(where("", "insert_id.x")), codes.InvalidArgument, "no RECORD"},
		{"no such column", change(where("nope = 1")), codes.InvalidArgument, "nope"},
		{"broken SQL", change(where("insert_id = ")), codes.InvalidArgument, "Syntax error"},
		{"more than a condition", change(where("TRUE) UNION ALL (SELECT 1")), codes.InvalidArgument, "Syntax error"},
		{"a statement more", change(where("TRUE; DROP TABLE impressions")), codes.InvalidArgument, "Syntax error"},
		{"an aggregate", change(where("COUNT(*) > 1")), codes.InvalidArgument, "Query error"},
		{"too long", change(where("TRUE" + strings.Repeat(" ", 1<<20))), codes.InvalidArgument, "1048576"},
	} {
		_, err := c.CreateReadSession(t.Context(), test.req)
		if status.Code(err) != test.code || !strings.Contains(fmt.Sprint(err), test.message) {
			t.Errorf("%s: %v, want %v with %q", test.name, err, test.code, test.message)
		}
	}
	session := createSession(t, c, sessionOf(s, "impressions"))
	stream := session.GetStreams()[0].GetName()
	if !session.GetExpireTime().AsTime().After(time.Now().Add(-time.Minute)) {
		t.Errorf("the session expires %v", session.GetExpireTime().AsTime())
	}
	for {
		_, err := readStreamFrom(c, session, stream, 0)
		if err == nil {
			continue // not yet expired
		}
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "session expired at") {
			t.Errorf("an expired session: %v", err)
		}
		break
	}
	for name, want := range map[string]codes.Code{
		session.GetName() + "/streams/none":                         codes.NotFound,
		strings.Replace(stream, "/sessions/", "/sessions/other", 1): codes.NotFound,
		"stream": codes.InvalidArgument,
	} {
		if _, err := readStreamFrom(c, session, name, 0); status.Code(err) != want {
			t.Errorf("stream %s: %v, want %v", name, err, want)
		}
	}
	if _, err := c.SplitReadStream(t.Context(), &storagepb.SplitReadStreamRequest{Name: stream}); status.Code(err) != codes.Unimplemented {
		t.Errorf("SplitReadStream: %v", err)
	}
}

func TestReadSessionOffsets(t *testing.T) {
	s := startWithTables(t, Options{})
	c := readClient(t, s)
	if session := createSession(t, c, sessionOf(s, "impressions")); len(session.GetStreams()) != 0 || session.GetArrowSchema() == nil {
		t.Errorf("an empty table has %d streams", len(session.GetStreams()))
	}
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	if err := appendRows(t, ms, marshal(t, impression("a"), impression("b"))); err != nil {
		t.Fatal(err)
	}
	session := createSession(t, c, sessionOf(s, "impressions"))
	for offset, want := range map[int64]codes.Code{-1: codes.InvalidArgument, 0: codes.OK, 2: codes.OK, 3: codes.InvalidArgument} {
		if _, err := readStreamFrom(c, session, session.GetStreams()[0].GetName(), offset); status.Code(err) != want {
			t.Errorf("offset %d: %v, want %v", offset, err, want)
		}
	}
	// Rows that are deleted afterwards are still in the snapshot.
	if _, err := tryQuery(t, restClient(t, s), "DELETE FROM pixelbeam.impressions WHERE TRUE"); err != nil {
		t.Fatal(err)
	}
	if got := readIDs(t, c, session); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("rows %q", got)
	}
}

// BenchmarkRead reads 20,000 rows of all columns by read sessions and by REST, with
// the client library's reader; server and client are in one process.
func BenchmarkRead(b *testing.B) {
	s := startWithTables(b, Options{Path: filepath.Join(b.TempDir(), "bench.duckdb")})
	ms := openWriter(b, s, "impressions", &pixelbeamv1.Impression{})
	const n = 20_000
	for from := 0; from < n; from += 1000 {
		var rows []proto.Message
		for i := range 1000 {
			rows = append(rows, typicalImpression(from+i))
		}
		if err := appendRows(b, ms, marshal(b, rows...)); err != nil {
			b.Fatal(err)
		}
	}
	fast := restClient(b, s)
	if err := fast.EnableStorageReadClient(b.Context(), readOptions(s)...); err != nil {
		b.Fatal(err)
	}
	for _, reader := range []struct {
		name   string
		client *bigquery.Client
	}{{"REST", restClient(b, s)}, {"StorageRead", fast}} {
		b.Run(reader.name, func(b *testing.B) {
			for b.Loop() {
				rows, err := readAll(reader.client.Dataset(testDataset).Table("impressions").Read(b.Context()))
				if err != nil || len(rows) != n {
					b.Fatal(len(rows), err)
				}
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
