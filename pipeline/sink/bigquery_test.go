package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

func testConfig(f *fakeWrite) BigQueryConfig {
	return BigQueryConfig{Project: "p", Dataset: "d", Table: "impressions", Endpoint: f.endpoint}
}

// impressionRow is a row whose insert id is id.
func impressionRow(id string) schemas.Row {
	data, err := proto.Marshal(&pixelbeamv1.Impression{
		InsertId:     proto.String(id),
		EventTime:    proto.Int64(1700000000000000),
		EventType:    proto.String("impression"),
		ImpressionId: proto.String(id),
	})
	if err != nil {
		panic(err)
	}
	return schemas.Row{Data: data, Origin: []byte(`{"insertId":"` + id + `"}`), ReceiveTime: 1700000001000000, Source: "test:" + id}
}

func impressionRows(n int) []schemas.Row {
	rows := make([]schemas.Row, n)
	for i := range rows {
		rows[i] = impressionRow(fmt.Sprintf("id-%06d", i))
	}
	return rows
}

// writeBundle passes rows through the DoFn as one bundle.
func writeBundle(ctx context.Context, t testing.TB, cfg BigQueryConfig, rows []schemas.Row) ([]*pixelbeamv1.RejectedEntry, error) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	fn := &bigQueryFn{Config: cfg.withDefaults()}
	if err := fn.Setup(); err != nil {
		t.Fatal(err)
	}
	defer fn.Teardown()
	var refused []*pixelbeamv1.RejectedEntry
	emit := func(row schemas.Row) { refused = append(refused, rejectedEntry(t, row)) }
	if err := fn.StartBundle(ctx, emit); err != nil {
		return refused, err
	}
	for _, row := range rows {
		if err := fn.ProcessElement(ctx, row, emit); err != nil {
			return refused, err
		}
	}
	return refused, fn.FinishBundle(ctx, emit)
}

// writeTogether passes rows through the DoFn of rows that travel together, some
// at a time.
func writeTogether(ctx context.Context, t testing.TB, cfg BigQueryConfig, rows []schemas.Row) ([]*pixelbeamv1.RejectedEntry, error) {
	t.Helper()
	fn := &bigQueryRowsFn{Config: cfg.withDefaults()}
	if err := fn.Setup(); err != nil {
		t.Fatal(err)
	}
	defer fn.Teardown()
	var refused []*pixelbeamv1.RejectedEntry
	emit := func(row schemas.Row) { refused = append(refused, rejectedEntry(t, row)) }
	if err := fn.StartBundle(ctx, emit); err != nil {
		return refused, err
	}
	for some := range slices.Chunk(rows, 7) {
		if err := fn.ProcessElement(ctx, together(some), emit); err != nil {
			return refused, err
		}
	}
	return refused, fn.FinishBundle(ctx, emit)
}

// together frames rows as impression.Parse does.
func together(rows []schemas.Row) schemas.Rows {
	var out schemas.Rows
	for _, row := range rows {
		out.Wire = appendField(out.Wire, 1, row.Data)
		out.Rows = append(out.Rows, row)
	}
	return out
}

type writer func(context.Context, testing.TB, BigQueryConfig, []schemas.Row) ([]*pixelbeamv1.RejectedEntry, error)

// ways are the two ways of rows to the table.
var ways = map[string]writer{
	"one by one": writeBundle,
	"together":   writeTogether,
}

func rejectedEntry(t testing.TB, row schemas.Row) *pixelbeamv1.RejectedEntry {
	t.Helper()
	e := &pixelbeamv1.RejectedEntry{}
	if err := proto.Unmarshal(row.Data, e); err != nil {
		t.Fatalf("refused row is no RejectedEntry: %v", err)
	}
	return e
}

// checkComplete fails unless each of rows is stored at least once, and nothing
// else is.
func checkComplete(t *testing.T, f *fakeWrite, rows []schemas.Row) (extra int) {
	t.Helper()
	copies := f.copies()
	for _, row := range rows {
		n := copies[string(row.Data)]
		if n == 0 {
			t.Errorf("row %s is not stored", row.Source)
		}
		extra += n - 1
		delete(copies, string(row.Data))
	}
	if len(copies) > 0 {
		t.Errorf("%d rows are stored that nobody wrote", len(copies))
	}
	return extra
}

func TestBigQueryStoresEachRowOnce(t *testing.T) {
	for way, write := range ways {
		t.Run(way, func(t *testing.T) { testStoresEachRowOnce(t, write) })
	}
}

func testStoresEachRowOnce(t *testing.T, write writer) {
	f := startFakeWrite(t)
	rows := impressionRows(1000)
	cfg := testConfig(f)
	cfg.MaxBatchBytes = 5000
	refused, err := write(t.Context(), t, cfg, rows)
	if err != nil || len(refused) > 0 {
		t.Fatalf("refused %v, error %v", refused, err)
	}
	if extra := checkComplete(t, f, rows); extra != 0 {
		t.Errorf("%d extra copies without any fault", extra)
	}
}

// Each row is stored at least once whatever the service does, as long as it
// recovers.
func TestBigQueryFaults(t *testing.T) {
	unavailable := status.Error(codes.Unavailable, "try later")
	onAppend := func(at int, v verdict) func(int, [][]byte) verdict {
		return func(n int, _ [][]byte) verdict {
			if n == at {
				return v
			}
			return verdict{store: true}
		}
	}
	tests := []struct {
		name   string
		judge  func(int, [][]byte) verdict
		open   func(int) error
		copies bool // extra copies must exist
	}{
		{name: "unavailable in the answer", judge: onAppend(2, verdict{failed: unavailable})},
		{name: "quota in the answer", judge: onAppend(2, verdict{failed: status.Error(codes.ResourceExhausted, "Exceeds quota")})},
		{name: "aborted in the answer", judge: onAppend(0, verdict{failed: status.Error(codes.Aborted, "again")})},
		{name: "internal in the answer", judge: onAppend(3, verdict{failed: status.Error(codes.Internal, "oops")})},
		{name: "stream breaks before storing", judge: onAppend(2, verdict{broken: unavailable})},
		{name: "stream ends without an error", judge: onAppend(1, verdict{broken: io.EOF})},
		{name: "stream is cancelled", judge: onAppend(1, verdict{broken: status.Error(codes.Canceled, "")})},
		{name: "acknowledgement lost with the stream", judge: onAppend(1, verdict{store: true, broken: unavailable}), copies: true},
		{name: "acknowledgement never comes", judge: onAppend(1, verdict{store: true, silent: true}), copies: true},
		{name: "stream refused on another request's account", judge: onAppend(1, verdict{broken: status.Error(codes.InvalidArgument, "too large")})},
		{name: "stream cannot be opened at first", open: func(n int) error {
			if n < 2 {
				return status.Error(codes.Internal, "not yet")
			}
			return nil
		}},
		{name: "everything fails for a while", judge: func(n int, _ [][]byte) verdict {
			if n < 5 {
				return verdict{broken: unavailable}
			}
			return verdict{store: true}
		}},
		{name: "every second answer is lost", judge: func() func(int, [][]byte) verdict {
			lost := 0
			return func(n int, _ [][]byte) verdict {
				if n%2 == 0 && lost < 5 {
					lost++
					return verdict{store: true, broken: unavailable}
				}
				return verdict{store: true}
			}
		}(), copies: true},
	}
	for i, test := range tests {
		way := []string{"one by one", "together"}[i%2]
		t.Run(test.name+", "+way, func(t *testing.T) {
			t.Parallel()
			f := startFakeWrite(t)
			f.judge, f.open = test.judge, test.open
			rows := impressionRows(500)
			cfg := testConfig(f)
			cfg.MaxBatchBytes = 6000 // some 6 requests
			cfg.AckTimeout = 500 * time.Millisecond
			refused, err := ways[way](t.Context(), t, cfg, rows)
			if err != nil {
				t.Fatal(err)
			}
			if len(refused) > 0 {
				t.Errorf("%d rows refused, first %v", len(refused), refused[0])
			}
			if extra := checkComplete(t, f, rows); test.copies && extra == 0 {
				t.Error("the lost acknowledgement was not written again: the test tests nothing")
			}
		})
	}
}

func TestBigQuerySplitsOffBadRows(t *testing.T) {
	for way, write := range ways {
		t.Run(way, func(t *testing.T) { testSplitsOffBadRows(t, write) })
	}
}

func testSplitsOffBadRows(t *testing.T, write writer) {
	f := startFakeWrite(t)
	bad := func(row []byte) bool { return strings.Contains(string(row), "bad") }
	f.judge = func(_ int, rows [][]byte) verdict {
		var v verdict
		for i, row := range rows {
			if bad(row) {
				v.rowErrors = append(v.rowErrors, &storagepb.RowError{
					Index: int64(i), Code: storagepb.RowError_FIELDS_ERROR, Message: "field x is wrong",
				})
			}
			// As the service does, report some now and the rest with the next try.
			if len(v.rowErrors) == 3 {
				break
			}
		}
		v.store = len(v.rowErrors) == 0
		return v
	}
	var rows, good []schemas.Row
	want := map[string]bool{}
	for i := range 300 {
		if i%20 == 7 {
			row := impressionRow(fmt.Sprintf("bad-%d", i))
			want[string(row.Origin)] = true
			rows = append(rows, row)
			continue
		}
		row := impressionRow(fmt.Sprintf("good-%d", i))
		rows, good = append(rows, row), append(good, row)
	}
	cfg := testConfig(f)
	cfg.MaxBatchBytes = 4000
	refused, err := write(t.Context(), t, cfg, rows)
	if err != nil {
		t.Fatal(err)
	}
	if extra := checkComplete(t, f, good); extra != 0 {
		t.Errorf("%d extra copies", extra)
	}
	for _, e := range refused {
		if !want[string(e.GetPayload())] {
			t.Errorf("refused %q, which is fine or reported twice", e.GetPayload())
		}
		delete(want, string(e.GetPayload()))
		if e.GetReason() != ReasonRowRefused || e.GetStage() != StageBigQuery ||
			!strings.Contains(e.GetDetail(), "field x is wrong") || !strings.Contains(e.GetDetail(), "p.d.impressions") ||
			e.GetReceiveTime() != 1700000001000000 || !strings.HasPrefix(e.GetSource(), "test:bad") {
			t.Errorf("refused entry %v", e)
		}
	}
	if len(want) > 0 {
		t.Errorf("lost: %v", want)
	}
}

func TestBigQueryAllRowsBad(t *testing.T) {
	f := startFakeWrite(t)
	f.judge = func(_ int, rows [][]byte) verdict {
		var v verdict
		for i := range rows {
			v.rowErrors = append(v.rowErrors, &storagepb.RowError{Index: int64(i), Message: "no"})
		}
		return v
	}
	refused, err := writeBundle(t.Context(), t, testConfig(f), impressionRows(10))
	if err != nil || len(refused) != 10 {
		t.Errorf("%d refused, error %v; want 10, nil", len(refused), err)
	}
}

func TestBigQueryRequestLimits(t *testing.T) {
	for way, write := range ways {
		t.Run(way, func(t *testing.T) { testRequestLimits(t, write) })
	}
}

func testRequestLimits(t *testing.T, write writer) {
	f := startFakeWrite(t)
	cfg := testConfig(f)
	cfg.MaxBatchBytes = maxRequestBytes
	cfg.FlushMillis = 3_600_000
	var rows []schemas.Row
	add := func(id string, size int) {
		data, err := proto.Marshal(&pixelbeamv1.Impression{InsertId: proto.String(id), Params: proto.String(strings.Repeat("x", size))})
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, schemas.Row{Data: data, Origin: []byte(id), Source: id})
	}
	for i := range 30 {
		add(fmt.Sprint("middling", i), 1_000_000)
	}
	add("largest", maxRequestBytes-100)
	add("too large", maxRequestBytes)
	refused, err := write(t.Context(), t, cfg, rows)
	if err != nil {
		t.Fatal(err)
	}
	checkComplete(t, f, rows[:len(rows)-1])
	if len(refused) != 1 || refused[0].GetReason() != ReasonRowTooLarge || string(refused[0].GetPayload()) != "too large" {
		t.Errorf("refused %d rows; want the one that is too large", len(refused))
	}
	if refused[0].GetReceiveTime() == 0 {
		t.Error("no receive_time, which the table requires")
	}
	for i, size := range f.requests {
		if size >= 9_000_000 {
			t.Errorf("request %d has %d bytes, limit is 9 MB", i, size)
		}
	}
	if len(f.requests) > 6 {
		t.Errorf("%d requests for 39 MB: batches are not filled", len(f.requests))
	}
}

func TestBigQueryKeepsSeveralInFlight(t *testing.T) {
	f := startFakeWrite(t)
	f.hold = make(chan struct{})
	cfg := testConfig(f)
	cfg.MaxBatchBytes, cfg.MaxInFlight = 1000, 3
	rows := impressionRows(300)
	done := make(chan error)
	go func() {
		_, err := writeBundle(t.Context(), t, cfg, rows)
		done <- err
	}()
	// No answer comes before three requests are there.
	for {
		f.mu.Lock()
		waiting := f.waiting
		f.mu.Unlock()
		if waiting == 3 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(f.hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	checkComplete(t, f, rows)
	if f.mostOpen != 3 {
		t.Errorf("at most %d requests in flight, want 3", f.mostOpen)
	}
}

func TestBigQueryFlushesOldRows(t *testing.T) {
	f := startFakeWrite(t)
	cfg := testConfig(f)
	cfg.FlushMillis = 1
	fn := &bigQueryFn{Config: cfg.withDefaults()}
	if err := fn.Setup(); err != nil {
		t.Fatal(err)
	}
	emit := func(schemas.Row) {}
	if err := fn.StartBundle(t.Context(), emit); err != nil {
		t.Fatal(err)
	}
	// Rows come in until one was sent, long before the batch is full.
	rows := 0
	for len(fn.appender.flights) == 0 {
		if err := fn.ProcessElement(t.Context(), impressionRow(fmt.Sprint(rows)), emit); err != nil {
			t.Fatal(err)
		}
		rows++
		time.Sleep(time.Millisecond)
	}
	if got := fn.appender.flights[0].rows; got != rows {
		t.Errorf("%d rows sent of %d", got, rows)
	}
	if err := fn.FinishBundle(t.Context(), emit); err != nil {
		t.Fatal(err)
	}
}

func TestBigQueryGivesUp(t *testing.T) {
	f := startFakeWrite(t)
	f.judge = func(int, [][]byte) verdict {
		return verdict{failed: status.Error(codes.Unavailable, "gone for good")}
	}
	cfg := testConfig(f)
	cfg.RetryTimeout = 300 * time.Millisecond
	_, err := writeBundle(t.Context(), t, cfg, impressionRows(3))
	if err == nil || !strings.Contains(err.Error(), "p.d.impressions") || !strings.Contains(err.Error(), "gone for good") {
		t.Errorf("error %v; want one with table and cause", err)
	}
	if f.appends < 2 {
		t.Errorf("%d tries: gave up without a retry", f.appends)
	}
}

func TestBigQueryStopsWithItsContext(t *testing.T) {
	f := startFakeWrite(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.judge = func(int, [][]byte) verdict {
		cancel()
		return verdict{silent: true}
	}
	_, err := writeBundle(ctx, t, testConfig(f), impressionRows(3))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// An error of the set-up fails at once and says what to do.
func TestBigQueryExplainsSetupErrors(t *testing.T) {
	extra, err := status.New(codes.InvalidArgument, "Input schema has more fields than BigQuery schema").WithDetails(
		&storagepb.StorageError{Code: storagepb.StorageError_SCHEMA_MISMATCH_EXTRA_FIELDS, Entity: "x"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"missing column", extra.Err(), "add it (terraform apply)"},
		{"missing table", status.Error(codes.NotFound, "Not found: Table"), "create the dataset and table"},
		{"no permission", status.Error(codes.PermissionDenied, "denied"), "roles/bigquery.dataEditor"},
	}
	for _, test := range tests {
		for _, where := range []string{"answer", "stream"} {
			t.Run(test.name+" in the "+where, func(t *testing.T) {
				f := startFakeWrite(t)
				f.judge = func(int, [][]byte) verdict {
					if where == "answer" {
						return verdict{failed: test.err}
					}
					return verdict{broken: test.err}
				}
				_, err := writeBundle(t.Context(), t, testConfig(f), impressionRows(1))
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "p.d.impressions") {
					t.Errorf("error %v; want the table and %q", err, test.want)
				}
			})
		}
	}
}

// Without credentials there is nothing to wait for.
func TestBigQueryWithoutCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "missing.json"))
	cfg := BigQueryConfig{Project: "p", Dataset: "d", Table: "impressions"}
	_, err := writeBundle(t.Context(), t, cfg, impressionRows(1))
	if err == nil || !strings.Contains(err.Error(), "gcloud auth") || !strings.Contains(err.Error(), "p.d.impressions") {
		t.Errorf("error %v; want the table and what to do", err)
	}
}

func TestBigQueryConfigValidate(t *testing.T) {
	ok := BigQueryConfig{Project: "p", Dataset: "d", Table: "impressions"}
	if err := ok.Validate(); err != nil {
		t.Errorf("valid configuration: %v", err)
	}
	err := BigQueryConfig{Table: "nope", Endpoint: "nowhere", MaxBatchBytes: 10_000_000, FlushMillis: -1}.Validate()
	for _, want := range []string{"Project is required", "Dataset is required", `"nope"`, `"nowhere"`, "MaxBatchBytes 10000000", "FlushMillis is negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
