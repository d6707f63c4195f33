package bigqueryd

import (
	"context"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"cloud.google.com/go/bigquery/storage/managedwriter"
	"cloud.google.com/go/bigquery/storage/managedwriter/adapt"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// fullImpression has every column set, texts on both sides of DuckDB's 12 bytes
// for inline strings, and zero values where NULL would be something else.
func fullImpression() *pixelbeamv1.Impression {
	m := impression("full")
	m.ReceiveTime = proto.Int64(0)
	m.AdvertiserId = proto.String("twelve bytes")
	m.CampaignId = proto.String("thirteen byte")
	m.UserId = proto.String("")
	m.Price = proto.String("-1234567.000000009")
	m.Width = proto.Int64(0)
	m.CacheHit = proto.Bool(false)
	m.CacheLookup = proto.Bool(true)
	m.PageUrl = proto.String("https://example.com/" + strings.Repeat("ü", 1000))
	m.Params = proto.String(`{"utm_source": "x", "n": 12345678901234567890.10, "a": ["b", "c"]}`)
	m.InvalidReasons = []string{"declared_bot", "", "a reason longer than twelve bytes"}
	m.Consent = &pixelbeamv1.Consent{Gdpr: proto.Bool(true), UsPrivacy: proto.String("1YNN")}
	return m
}

func TestDefaultStreamReadBack(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	if err := appendRows(t, ms, marshal(t, fullImpression(), impression("bare"))); err != nil {
		t.Fatal(err)
	}
	client := restClient(t, s)
	wantFull := map[string]bigquery.Value{
		"insert_id": "full", "event_time": time.UnixMicro(1_700_000_000_123_456).UTC(), "receive_time": time.UnixMicro(0).UTC(),
		"advertiser_id": "twelve bytes", "campaign_id": "thirteen byte", "user_id": "", "device_id": nil, "width": int64(0), "height": nil,
		"cache_hit": false, "cache_lookup": true, "page_url": "https://example.com/" + strings.Repeat("ü", 1000),
		"params":          `{"utm_source": "x", "n": 12345678901234567890.10, "a": ["b", "c"]}`,
		"invalid_reasons": []bigquery.Value{"declared_bot", "", "a reason longer than twelve bytes"}, "lint": []bigquery.Value{},
		"consent": map[string]bigquery.Value{"gdpr": true, "tc_string": nil, "us_privacy": "1YNN", "gpp_string": nil, "coppa": nil, "gpc": nil},
	}
	wantBare := map[string]bigquery.Value{
		"insert_id": "bare", "receive_time": nil, "advertiser_id": nil, "width": nil, "cache_hit": nil, "params": nil, "price": nil,
		"invalid_reasons": []bigquery.Value{}, "consent": nil,
	}
	check := func(t *testing.T, rows []map[string]bigquery.Value) {
		t.Helper()
		if len(rows) != 2 {
			t.Fatalf("%d rows", len(rows))
		}
		for i, want := range []map[string]bigquery.Value{wantFull, wantBare} {
			if len(rows[i]) != 53 {
				t.Errorf("row %d has %d columns", i, len(rows[i]))
			}
			for name, value := range want {
				if diff := cmp.Diff(value, rows[i][name]); diff != "" {
					t.Errorf("row %d, %s: -want +got\n%s", i, name, diff)
				}
			}
		}
		want, _ := new(big.Rat).SetString("-1234567.000000009")
		if got, ok := rows[0]["price"].(*big.Rat); !ok || got.Cmp(want) != 0 {
			t.Errorf("price = %v, want %v", rows[0]["price"], want)
		}
	}
	t.Run("query", func(t *testing.T) {
		check(t, queryAll(t, client, "SELECT * FROM `pixelbeam-local.pixelbeam.impressions` ORDER BY insert_id DESC"))
	})
	t.Run("view", func(t *testing.T) {
		check(t, queryAll(t, client, "SELECT * FROM pixelbeam.impressions_unique ORDER BY insert_id DESC"))
	})
	t.Run("table", func(t *testing.T) {
		rows, err := readAll(client.Dataset(testDataset).Table("impressions").Read(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		check(t, rows)
	})
}

func TestRowErrorsStoreNothing(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	with := func(id string, f func(m *pixelbeamv1.Impression)) *pixelbeamv1.Impression {
		m := impression(id)
		f(m)
		return m
	}
	bad := []struct {
		name    string
		row     *pixelbeamv1.Impression
		message string
	}{
		{"missing required", with("a", func(m *pixelbeamv1.Impression) { m.EventTime = nil }), "event_time is required"},
		{"price is a word", with("b", func(m *pixelbeamv1.Impression) { m.Price = proto.String("AUDIT") }), "price"},
		{"price too exact", with("c", func(m *pixelbeamv1.Impression) { m.Price = proto.String("0.0000000001") }), "price"},
		{"price too large", with("d", func(m *pixelbeamv1.Impression) { m.Price = proto.String("1" + strings.Repeat("0", 29)) }), "price"},
		{"broken JSON", with("e", func(m *pixelbeamv1.Impression) { m.Params = proto.String(`{"a":`) }), "params"},
		{"empty JSON", with("f", func(m *pixelbeamv1.Impression) { m.Params = proto.String("") }), "params"},
		{"time out of range", with("g", func(m *pixelbeamv1.Impression) { m.EventTime = proto.Int64(253402300800000000) }), "event_time"},
	}
	rows := []proto.Message{impression("good")}
	for _, b := range bad {
		rows = append(rows, b.row)
	}
	data := append(marshal(t, rows...), []byte("\x0a\x03a\xffb"), []byte("\x0a\x7f"), []byte("\xd0\x0f\x01"))
	messages := []string{"UTF-8", "wire format", "Field number 250"}

	result, err := ms.AppendRows(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	response, err := result.FullResponse(t.Context())
	wantError(t, err, "row_errors")
	got := map[int64]string{}
	for _, e := range response.GetRowErrors() {
		got[e.GetIndex()] = e.GetMessage()
	}
	if len(got) != len(bad)+len(messages) {
		t.Errorf("%d row errors, want %d: %v", len(got), len(bad)+len(messages), got)
	}
	for i, b := range bad {
		if !strings.Contains(got[int64(i+1)], b.message) {
			t.Errorf("%s: message %q, want %q", b.name, got[int64(i+1)], b.message)
		}
	}
	for i, message := range messages {
		if m := got[int64(1+len(bad)+i)]; !strings.Contains(m, message) {
			t.Errorf("raw row %d: message %q, want %q", i, m, message)
		}
	}
	if n := count(t, s, "impressions"); n != 0 {
		t.Errorf("%d rows of a refused request are stored", n)
	}
	// The good row alone fits.
	if err := appendRows(t, ms, data[:1]); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, "impressions"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	if st := s.Stats(); st.Rows != 1 || st.RefusedRows != int64(len(got)) || st.AppendRequests != 2 {
		t.Errorf("stats %+v", st)
	}
}

// Chunks of 2,048 rows begin and end inside requests, and lists and records
// outgrow their vectors.
func TestManyRowsAcrossChunks(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	const n = 7000
	var results []interface {
		GetResult(context.Context) (int64, error)
	}
	for from := 0; from < n; from += 1000 {
		var rows []proto.Message
		for i := from; i < from+1000; i++ {
			m := impression(strings.Repeat("x", i%20) + strconv.Itoa(i))
			m.Width = proto.Int64(int64(i))
			for k := range i % 5 {
				m.Lint = append(m.Lint, "lint number "+strconv.Itoa(k))
			}
			if i%3 == 0 {
				m.Consent = &pixelbeamv1.Consent{UsPrivacy: proto.String(strconv.Itoa(i))}
			}
			rows = append(rows, m)
		}
		result, err := ms.AppendRows(t.Context(), marshal(t, rows...))
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
	}
	for _, r := range results {
		if _, err := r.GetResult(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.Query(t.Context(), "SELECT insert_id, width, lint, consent, user_id FROM pixelbeam.impressions ORDER BY width")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != n {
		t.Fatalf("%d rows, want %d", len(rows), n)
	}
	for i, row := range rows {
		lint := []any{}
		for k := range i % 5 {
			lint = append(lint, "lint number "+strconv.Itoa(k))
		}
		var consent any
		if i%3 == 0 {
			consent = map[string]any{"gdpr": nil, "tc_string": nil, "us_privacy": strconv.Itoa(i), "gpp_string": nil, "coppa": nil, "gpc": nil}
		}
		want := map[string]any{
			"insert_id": strings.Repeat("x", i%20) + strconv.Itoa(i), "width": int64(i), "lint": lint, "consent": consent, "user_id": nil,
		}
		if diff := cmp.Diff(want, row); diff != "" {
			t.Fatalf("row %d: -want +got\n%s", i, diff)
		}
	}
}

func TestAppendRefusals(t *testing.T) {
	s := startWithTables(t, Options{})
	ctx := t.Context()
	client := writeClient(t, s)
	descriptor := descriptorOf(t, &pixelbeamv1.Impression{})
	tests := []struct {
		name  string
		table string
		desc  *descriptorpb.DescriptorProto
		rows  [][]byte
		code  codes.Code
		part  string
	}{
		{"no such table", "nothing", descriptor, impressions(t, 0, 1), codes.NotFound, "nothing"},
		{"view", "impressions_unique", descriptor, impressions(t, 0, 1), codes.InvalidArgument, "view"},
		{"field that the table lacks", "rejected_entries", descriptor, impressions(t, 0, 1), codes.InvalidArgument, "extra fields: 'insert_id'"},
		{"too large", "impressions", descriptor, [][]byte{make([]byte, 10<<20)}, codes.InvalidArgument, "too large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stream, err := client.NewManagedStream(ctx, managedwriter.WithDestinationTable(tableResource(s, tt.table)), managedwriter.WithSchemaDescriptor(tt.desc))
			if err == nil {
				defer stream.Close()
				err = appendRows(t, stream, tt.rows)
			}
			if status.Code(err) != tt.code {
				t.Errorf("code %v, want %v", status.Code(err), tt.code)
			}
			wantError(t, err, tt.part)
		})
	}
	if n := count(t, s, "impressions"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestSchemaGrowthReachesTheWriter(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "rejected_entries", &pixelbeamv1.RejectedEntry{})
	row := marshal(t, &pixelbeamv1.RejectedEntry{ReceiveTime: proto.Int64(1), Reason: proto.String("r"), Stage: proto.String("parse"), Payload: []byte("\x00\xff")})
	if err := appendRows(t, ms, row); err != nil {
		t.Fatal(err)
	}
	table := mustTable(t, "rejected_entries")
	table.Columns = append(slices.Clone(table.Columns),
		schemas.Column{Name: "note", Type: "STRING", Mode: "NULLABLE"},
		schemas.Column{Name: "tags", Type: "STRING", Mode: "REPEATED"},
		schemas.Column{Name: "box", Type: "RECORD", Mode: "NULLABLE", Fields: []schemas.Column{{Name: "n", Type: "INT64", Mode: "NULLABLE"}}})
	if err := s.CreateTable(t.Context(), testDataset, table); err != nil {
		t.Fatal(err)
	}
	var updated []string
	for range 2 { // told once
		result, err := ms.AppendRows(t.Context(), row)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := result.UpdatedSchema(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range schema.GetFields() {
			updated = append(updated, f.GetName())
		}
	}
	if want := "receive_time,reason,detail,stage,payload,source,note,tags,box"; strings.Join(updated, ",") != want {
		t.Errorf("updated schema %v, want %s once", updated, want)
	}
	schema := &storagepb.TableSchema{Fields: storageFields(tableEntryOf(t, s, "rejected_entries").fields)}
	md, err := adapt.StorageSchemaToProto2Descriptor(schema, "root")
	if err != nil {
		t.Fatal(err)
	}
	wide := md.(protoreflect.MessageDescriptor)
	m := dynamicpb.NewMessage(wide)
	if err := protojson.Unmarshal([]byte(`{"receive_time": 2, "reason": "r", "stage": "s", "note": "n", "tags": ["t"], "box": {"n": 7}}`), m); err != nil {
		t.Fatal(err)
	}
	desc, err := adapt.NormalizeDescriptor(wide)
	if err != nil {
		t.Fatal(err)
	}
	if err := appendRows(t, ms, marshal(t, m), managedwriter.UpdateSchemaDescriptor(desc)); err != nil {
		t.Fatal(err)
	}
	rows := queryAll(t, restClient(t, s), "SELECT note, tags, box FROM pixelbeam.rejected_entries ORDER BY receive_time")
	old := map[string]bigquery.Value{"note": nil, "tags": []bigquery.Value{}, "box": nil}
	want := []map[string]bigquery.Value{old, old, old, {"note": "n", "tags": []bigquery.Value{"t"}, "box": map[string]bigquery.Value{"n": int64(7)}}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// A nested field that is added reaches the rows too.
	table.Columns[len(table.Columns)-1].Fields = append(table.Columns[len(table.Columns)-1].Fields, schemas.Column{Name: "s", Type: "STRING", Mode: "NULLABLE"})
	if err := s.CreateTable(t.Context(), testDataset, table); err != nil {
		t.Fatal(err)
	}
	if err := appendRows(t, ms, marshal(t, m)); err != nil {
		t.Fatal(err)
	}
	rows = queryAll(t, restClient(t, s), "SELECT box FROM pixelbeam.rejected_entries WHERE note = 'n'")
	box := map[string]bigquery.Value{"box": map[string]bigquery.Value{"n": int64(7), "s": nil}}
	if diff := cmp.Diff([]map[string]bigquery.Value{box, box}, rows); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// One connection writes to two tables (multiplexing).
func TestMultiplexing(t *testing.T) {
	s := startWithTables(t, Options{})
	client, err := managedwriter.NewClient(context.Background(), s.Project(), option.WithEndpoint(s.GRPCEndpoint()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())), managedwriter.WithMultiplexing(), managedwriter.WithMultiplexPoolLimit(1))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	open := func(table string, m proto.Message) *managedwriter.ManagedStream {
		ms, err := client.NewManagedStream(context.Background(), managedwriter.WithDestinationTable(tableResource(s, table)),
			managedwriter.WithSchemaDescriptor(descriptorOf(t, m)), managedwriter.WithType(managedwriter.DefaultStream))
		if err != nil {
			t.Fatal(err)
		}
		return ms
	}
	a, b := open("impressions", &pixelbeamv1.Impression{}), open("rejected_entries", &pixelbeamv1.RejectedEntry{})
	defer a.Close()
	defer b.Close()
	rejected := marshal(t, &pixelbeamv1.RejectedEntry{ReceiveTime: proto.Int64(1), Reason: proto.String("r"), Stage: proto.String("s")})
	for i := range 5 {
		if err := appendRows(t, a, impressions(t, i, 1)); err != nil {
			t.Fatal(err)
		}
		if err := appendRows(t, b, rejected); err != nil {
			t.Fatal(err)
		}
	}
	if n, m := count(t, s, "impressions"), count(t, s, "rejected_entries"); n != 5 || m != 5 {
		t.Errorf("%d and %d rows, want 5 each", n, m)
	}
}
