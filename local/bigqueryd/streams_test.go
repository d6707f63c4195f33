package bigqueryd

import (
	"context"
	"path/filepath"
	"testing"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"cloud.google.com/go/bigquery/storage/managedwriter"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

func TestCommittedStreamOffsets(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{}, managedwriter.WithType(managedwriter.CommittedStream))
	for i, tt := range []struct {
		offset int64 // -1: none
		rows   int
		code   codes.Code
	}{
		{0, 3, codes.OK},
		{3, 2, codes.OK},
		{0, 3, codes.AlreadyExists},
		{4, 1, codes.AlreadyExists},
		{6, 1, codes.OutOfRange},
		{-1, 1, codes.OK},
		{6, 1, codes.OK},
	} {
		var opts []managedwriter.AppendOption
		if tt.offset >= 0 {
			opts = append(opts, managedwriter.WithOffset(tt.offset))
		}
		if err := appendRows(t, ms, impressions(t, i*10, tt.rows), opts...); status.Code(err) != tt.code {
			t.Errorf("step %d, offset %d: %v, want %v", i, tt.offset, err, tt.code)
		}
	}
	if n := count(t, s, "impressions"); n != 7 {
		t.Errorf("%d rows, want 7", n)
	}
	rows, err := ms.Finalize(t.Context())
	if err != nil || rows != 7 {
		t.Errorf("Finalize = %d, %v, want 7 rows", rows, err)
	}
	if err := appendRows(t, ms, impressions(t, 0, 1), managedwriter.WithOffset(7)); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("append to a finalized stream: %v", err)
	}
}

// Requests in flight keep the order of their offsets, and a bad one fails all
// that build on it.
func TestPipelinedOffsets(t *testing.T) {
	s := startWithTables(t, Options{RowFault: func(_ string, row int) string {
		if row == 25 {
			return "injected"
		}
		return ""
	}})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{}, managedwriter.WithType(managedwriter.CommittedStream))
	var results []*managedwriter.AppendResult
	for i := range 5 {
		r, err := ms.AppendRows(t.Context(), impressions(t, i*10, 10), managedwriter.WithOffset(int64(i*10)))
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.InvalidArgument, codes.OutOfRange, codes.OutOfRange} {
		if _, err := results[i].GetResult(t.Context()); status.Code(err) != want {
			t.Errorf("request %d: %v, want %v", i, err, want)
		}
	}
	if n := count(t, s, "impressions"); n != 20 {
		t.Errorf("%d rows, want 20", n)
	}
}

func TestBufferedStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.duckdb")
	s := startWithTables(t, Options{Path: path})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{}, managedwriter.WithType(managedwriter.BufferedStream))
	if err := appendRows(t, ms, impressions(t, 0, 10), managedwriter.WithOffset(0)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, "impressions"); n != 0 {
		t.Errorf("%d rows before the flush", n)
	}
	for _, tt := range []struct {
		offset int64
		rows   int
		code   codes.Code
	}{{3, 4, codes.OK}, {3, 4, codes.OK}, {1, 4, codes.OK}, {10, 4, codes.OutOfRange}, {5, 6, codes.OK}} {
		if _, err := ms.FlushRows(t.Context(), tt.offset); status.Code(err) != tt.code {
			t.Errorf("FlushRows(%d): %v, want %v", tt.offset, err, tt.code)
		}
		if n := count(t, s, "impressions"); n != tt.rows {
			t.Errorf("after FlushRows(%d): %d rows, want %d", tt.offset, n, tt.rows)
		}
	}
	// A table that grows takes the staged rows with it.
	table := mustTable(t, "impressions")
	table.Columns = append(append(table.Columns[:0:0], table.Columns...), table.Columns[5])
	table.Columns[len(table.Columns)-1].Name = "later"
	if err := s.CreateTable(t.Context(), testDataset, table); err != nil {
		t.Fatal(err)
	}
	if err := appendRows(t, ms, impressions(t, 10, 1), managedwriter.WithOffset(10)); err != nil {
		t.Fatal(err)
	}
	name := ms.StreamName()

	// The unflushed rows and the offset survive a restart.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, Options{Path: path})
	ms = openWriter(t, s, "impressions", &pixelbeamv1.Impression{}, managedwriter.WithStreamName(name))
	if err := appendRows(t, ms, impressions(t, 0, 1), managedwriter.WithOffset(0)); status.Code(err) != codes.AlreadyExists {
		t.Errorf("old offset after a restart: %v", err)
	}
	if err := appendRows(t, ms, impressions(t, 11, 1), managedwriter.WithOffset(11)); err != nil {
		t.Fatal(err)
	}
	if _, err := ms.FlushRows(t.Context(), 11); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Query(t.Context(), "SELECT COUNT(*) AS n, COUNT(DISTINCT insert_id) AS d, MAX(insert_id) AS m FROM pixelbeam.impressions")
	if err != nil {
		t.Fatal(err)
	}
	if rows[0]["n"] != int64(12) || rows[0]["d"] != int64(12) || rows[0]["m"] != "row-000011" {
		t.Errorf("rows %v, want 12 distinct ones", rows[0])
	}
}

func TestPendingStreams(t *testing.T) {
	s := startWithTables(t, Options{})
	client := writeClient(t, s)
	ctx := t.Context()
	var names []string
	for i := range 2 {
		ms, err := client.NewManagedStream(context.Background(), managedwriter.WithDestinationTable(tableResource(s, "impressions")),
			managedwriter.WithSchemaDescriptor(descriptorOf(t, &pixelbeamv1.Impression{})), managedwriter.WithType(managedwriter.PendingStream))
		if err != nil {
			t.Fatal(err)
		}
		defer ms.Close()
		names = append(names, ms.StreamName())
		if err := appendRows(t, ms, impressions(t, i*5, 5)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := ms.Finalize(ctx); err != nil {
				t.Fatal(err)
			}
			continue
		}
		// One stream that is not final keeps all of them back.
		req := &storagepb.BatchCommitWriteStreamsRequest{Parent: tableResource(s, "impressions"), WriteStreams: names}
		resp, err := client.BatchCommitWriteStreams(ctx, req)
		if err != nil || resp.GetCommitTime() != nil || len(resp.GetStreamErrors()) != 1 {
			t.Errorf("commit of an unfinished stream: %v, %v", resp, err)
		}
		if n := count(t, s, "impressions"); n != 0 {
			t.Errorf("%d rows before the commit", n)
		}
		if _, err := ms.Finalize(ctx); err != nil {
			t.Fatal(err)
		}
		if resp, err = client.BatchCommitWriteStreams(ctx, req); err != nil || resp.GetCommitTime() == nil {
			t.Fatalf("commit: %v, %v", resp, err)
		}
		if resp, err = client.BatchCommitWriteStreams(ctx, req); err != nil || len(resp.GetStreamErrors()) != 2 {
			t.Errorf("second commit: %v, %v", resp, err)
		}
	}
	if n := count(t, s, "impressions"); n != 10 {
		t.Errorf("%d rows, want 10", n)
	}
}

func TestGetWriteStream(t *testing.T) {
	s := startWithTables(t, Options{})
	w := &writeService{s: s}
	for _, tt := range []struct {
		name string
		code codes.Code
	}{
		{tableResource(s, "impressions") + "/streams/_default", codes.OK},
		{tableResource(s, "impressions") + "/_default", codes.OK},
		{tableResource(s, "impressions") + "/streams/nothing", codes.NotFound},
		{tableResource(s, "nothing") + "/streams/_default", codes.NotFound},
		{"projects/other/datasets/pixelbeam/tables/impressions/streams/_default", codes.NotFound},
		{"nonsense", codes.InvalidArgument},
	} {
		got, err := w.GetWriteStream(t.Context(), &storagepb.GetWriteStreamRequest{Name: tt.name, View: storagepb.WriteStreamView_FULL})
		if status.Code(err) != tt.code {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.code)
		}
		if err == nil && (len(got.GetTableSchema().GetFields()) != 53 || got.GetType() != storagepb.WriteStream_COMMITTED) {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// A table that is made anew is another one: rows for the old do not reach it.
func TestTableMadeAnew(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "rejected_entries", &pixelbeamv1.RejectedEntry{}, managedwriter.WithType(managedwriter.BufferedStream))
	row := marshal(t, &pixelbeamv1.RejectedEntry{ReceiveTime: proto.Int64(1), Reason: proto.String("r"), Stage: proto.String("s")})
	if err := appendRows(t, ms, row); err != nil {
		t.Fatal(err)
	}
	if err := s.dropTable(t.Context(), testDataset, "rejected_entries"); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateTable(t.Context(), testDataset, mustTable(t, "rejected_entries")); err != nil {
		t.Fatal(err)
	}
	if _, err := ms.FlushRows(t.Context(), 0); status.Code(err) != codes.NotFound {
		t.Errorf("flush of a stream whose table is gone: %v", err)
	}
	if err := appendRows(t, ms, row); status.Code(err) != codes.NotFound {
		t.Errorf("append to a stream whose table is gone: %v", err)
	}
}
