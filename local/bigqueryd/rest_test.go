package bigqueryd

import (
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"cloud.google.com/go/civil"
	_ "github.com/duckdb/duckdb-go/v2" // the driver
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"pixelbeam/schemas"
)

// wantCode checks the HTTP code and the reason of an API error.
func wantCode(t *testing.T, what string, err error, code int, reason string) {
	t.Helper()
	var e *googleapi.Error
	if !errors.As(err, &e) || e.Code != code || len(e.Errors) != 1 || e.Errors[0].Reason != reason {
		t.Errorf("%s: %v; want %d %s", what, err, code, reason)
	}
}

func TestDatasetsAndTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.duckdb")
	s := start(t, Options{Path: path})
	client := restClient(t, s)
	ctx := t.Context()
	ds := client.Dataset("d1")

	_, err := ds.Metadata(ctx)
	wantCode(t, "get of no dataset", err, 404, "notFound")
	if err := ds.Create(ctx, &bigquery.DatasetMetadata{Description: "one", Labels: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "second create", ds.Create(ctx, nil), 409, "duplicate")
	wantCode(t, "reserved name", client.Dataset("main").Create(ctx, nil), 400, "invalid")
	md, err := ds.Metadata(ctx)
	if err != nil || md.Description != "one" || md.Labels["k"] != "v" {
		t.Errorf("metadata %+v, %v", md, err)
	}
	if md, err = ds.Update(ctx, bigquery.DatasetMetadataToUpdate{Description: "two"}, ""); err != nil || md.Description != "two" || md.Labels["k"] != "v" {
		t.Errorf("updated %+v, %v", md, err)
	}

	schema := bigquery.Schema{
		{Name: "s", Type: bigquery.StringFieldType, Required: true, Description: "text"},
		{Name: "r", Type: bigquery.RecordFieldType, Repeated: true, Schema: bigquery.Schema{
			{Name: "i", Type: bigquery.IntegerFieldType}, {Name: "b", Type: bigquery.BytesFieldType, Repeated: true},
		}},
		{Name: "dt", Type: bigquery.DateTimeFieldType}, {Name: "d", Type: bigquery.DateFieldType}, {Name: "f", Type: bigquery.FloatFieldType},
	}
	table := ds.Table("t")
	if err := table.Create(ctx, &bigquery.TableMetadata{
		Schema: schema, Description: "a table", TimePartitioning: &bigquery.TimePartitioning{Type: bigquery.DayPartitioningType, Field: "d"},
		Clustering: &bigquery.Clustering{Fields: []string{"s"}},
	}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "second create", table.Create(ctx, &bigquery.TableMetadata{Schema: schema}), 409, "duplicate")
	wantCode(t, "no schema", ds.Table("u").Create(ctx, &bigquery.TableMetadata{}), 400, "invalid")
	wantCode(t, "geography", ds.Table("u").Create(ctx, &bigquery.TableMetadata{Schema: bigquery.Schema{{Name: "g", Type: bigquery.GeographyFieldType}}}), 400, "invalid")
	view := ds.Table("v")
	if err := view.Create(ctx, &bigquery.TableMetadata{ViewQuery: "SELECT s, ARRAY_LENGTH(r) AS n FROM d1.t"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Query(ctx, `INSERT INTO d1.t VALUES ('x', [STRUCT(1 AS i, [b'\xff', b''] AS b), STRUCT(NULL AS i, [] AS b)], DATETIME '2024-01-02 03:04:05.6', DATE '2024-01-02', 0.1)`); err != nil {
		t.Fatal(err)
	}

	// A column, a nested field, and a REQUIRED that is relaxed.
	grown := slices.Clone(schema)
	relaxed := *schema[0]
	relaxed.Required = false
	nested := *schema[1]
	nested.Schema = append(slices.Clone(nested.Schema), &bigquery.FieldSchema{Name: "j", Type: bigquery.JSONFieldType})
	grown[0], grown[1] = &relaxed, &nested
	grown = append(grown, &bigquery.FieldSchema{Name: "n", Type: bigquery.NumericFieldType})
	tm, err := table.Update(ctx, bigquery.TableMetadataToUpdate{Schema: grown, Description: "grown"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(grown, tm.Schema); diff != "" || tm.Description != "grown" || tm.NumRows != 1 || tm.Type != bigquery.RegularTable ||
		tm.TimePartitioning.Field != "d" || tm.Clustering.Fields[0] != "s" {
		t.Errorf("table %+v\n%s", tm, diff)
	}
	_, err = table.Update(ctx, bigquery.TableMetadataToUpdate{Schema: grown[1:]}, "")
	wantCode(t, "column dropped", err, 400, "invalid")
	other := slices.Clone(grown)
	other[4] = &bigquery.FieldSchema{Name: "f", Type: bigquery.StringFieldType}
	_, err = table.Update(ctx, bigquery.TableMetadataToUpdate{Schema: other}, "")
	wantCode(t, "type changed", err, 400, "invalid")
	_, err = table.Update(ctx, bigquery.TableMetadataToUpdate{Schema: append(slices.Clone(grown), &bigquery.FieldSchema{Name: "q", Type: bigquery.StringFieldType, Required: true})}, "")
	wantCode(t, "REQUIRED added", err, 400, "invalid")

	// All of it survives a restart.
	client.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, Options{Path: path})
	client = restClient(t, s)
	ds = client.Dataset("d1")
	if tm, err = ds.Table("t").Metadata(ctx); err != nil || cmp.Diff(grown, tm.Schema) != "" {
		t.Errorf("after a restart: %v, %s", err, cmp.Diff(grown, tm.Schema))
	}
	rows, err := readAll(ds.Table("t").Read(ctx))
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]bigquery.Value{{
		"s": "x", "dt": civil.DateTime{Date: civil.Date{Year: 2024, Month: 1, Day: 2}, Time: civil.Time{Hour: 3, Minute: 4, Second: 5, Nanosecond: 600_000_000}},
		"d": civil.Date{Year: 2024, Month: 1, Day: 2}, "f": 0.1, "n": nil,
		"r": []bigquery.Value{
			map[string]bigquery.Value{"i": int64(1), "b": []bigquery.Value{[]byte("\xff"), []byte{}}, "j": nil},
			map[string]bigquery.Value{"i": nil, "b": []bigquery.Value{}, "j": nil},
		},
	}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows: -want +got\n%s", diff)
	}
	if got := queryAll(t, client, "SELECT * FROM d1.v"); cmp.Diff([]map[string]bigquery.Value{{"s": "x", "n": int64(2)}}, got) != "" {
		t.Errorf("view: %v", got)
	}
	vm, err := ds.Table("v").Metadata(ctx)
	if err != nil || vm.Type != bigquery.ViewTable || vm.ViewQuery != "SELECT s, ARRAY_LENGTH(r) AS n FROM d1.t" || len(vm.Schema) != 2 {
		t.Errorf("view %+v, %v", vm, err)
	}
	if _, err := ds.Table("v").Update(ctx, bigquery.TableMetadataToUpdate{ViewQuery: "SELECT 1 AS one"}, ""); err != nil {
		t.Error(err)
	}
	var names []string
	for it := ds.Tables(ctx); ; {
		table, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, table.TableID)
	}
	if !slices.Equal(names, []string{"t", "v"}) {
		t.Errorf("tables %v", names)
	}
	_, err = readAll(ds.Table("v").Read(ctx))
	wantCode(t, "list of a view", err, 400, "invalid")
	wantCode(t, "delete of a dataset in use", ds.Delete(ctx), 400, "invalid")
	if err := ds.Table("v").Delete(ctx); err != nil {
		t.Error(err)
	}
	wantCode(t, "second delete", ds.Table("v").Delete(ctx), 404, "notFound")
	if err := ds.DeleteWithContents(ctx); err != nil {
		t.Error(err)
	}
	if it := client.Datasets(ctx); it != nil {
		if d, err := it.Next(); !errors.Is(err, iterator.Done) {
			t.Errorf("a dataset is left: %v, %v", d, err)
		}
	}
}

func TestQueryParameters(t *testing.T) {
	s := start(t, Options{})
	client := restClient(t, s)
	at := time.Date(2024, 2, 29, 1, 2, 3, 456_789_000, time.UTC)
	type pair struct {
		A string
		N int64
	}
	for _, tt := range []struct {
		value any
		sql   string
		want  bigquery.Value
	}{
		{"it's \\ \x00 \"", "@p", "it's \\ \x00 \""}, {"", "@p", ""}, {int64(-5), "@p + 1", int64(-4)}, {1.5, "@p", 1.5}, {true, "NOT @p", false},
		{[]byte("\x00\xff"), "@p", []byte("\x00\xff")}, {at, "@p", at}, {at, "TIMESTAMP_TRUNC(@P, DAY)", at.Truncate(24 * time.Hour)},
		{civil.Date{Year: 2024, Month: 2, Day: 29}, "DATE_ADD(@p, INTERVAL 1 DAY)", civil.Date{Year: 2024, Month: 3, Day: 1}},
		{[]string{"a", "b"}, "'b' IN UNNEST(@p)", true}, {[]int64{}, "ARRAY_LENGTH(@p)", int64(0)}, {pair{"x", 3}, "@p.N", int64(3)},
		{bigquery.NullString{}, "@p", nil}, {bigquery.NullInt64{}, "@p IS NULL", true}, {big.NewRat(3, 2), "@p", big.NewRat(3, 2)},
	} {
		rows := queryAll(t, client, "SELECT "+tt.sql+" AS v", bigquery.QueryParameter{Name: "p", Value: tt.value})
		if diff := cmp.Diff(tt.want, rows[0]["v"], cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("%v in %s: -want +got\n%s", tt.value, tt.sql, diff)
		}
	}
	rows := queryAll(t, client, "SELECT ? AS a, ? AS b", bigquery.QueryParameter{Value: "x"}, bigquery.QueryParameter{Value: int64(2)})
	if diff := cmp.Diff([]map[string]bigquery.Value{{"a": "x", "b": int64(2)}}, rows); diff != "" {
		t.Errorf("positional: -want +got\n%s", diff)
	}
}

func TestPaging(t *testing.T) {
	s := start(t, Options{})
	client := restClient(t, s)
	ctx := t.Context()
	const n = 25_000 // more than two default pages
	if _, err := s.Query(ctx, "CREATE SCHEMA d"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Query(ctx, "CREATE TABLE d.t AS SELECT x FROM UNNEST(GENERATE_ARRAY(1, "+strconv.Itoa(n)+")) AS x"); err != nil {
		t.Fatal(err)
	}
	check := func(what string, it *bigquery.RowIterator, from int64) {
		t.Helper()
		for want := from; ; want++ {
			var row []bigquery.Value
			err := it.Next(&row)
			if errors.Is(err, iterator.Done) {
				if want != n+1 {
					t.Errorf("%s ends before row %d", what, want)
				}
				if it.TotalRows != n {
					t.Errorf("%s: TotalRows = %d", what, it.TotalRows)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if row[0] != want {
				t.Fatalf("%s: row %v, want %d", what, row[0], want)
			}
		}
	}
	it, err := client.Query("SELECT x FROM d.t ORDER BY x").Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	check("query", it, 1)
	it, err = client.Query("SELECT x FROM d.t ORDER BY x").Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	it.PageInfo().MaxSize = 999
	check("query by 999", it, 1)
	check("table", client.Dataset("d").Table("t").Read(ctx), 1)
	it = client.Dataset("d").Table("t").Read(ctx)
	it.PageInfo().MaxSize = 4000
	it.StartIndex = 100
	check("table from 100", it, 101)
}

func TestJobs(t *testing.T) {
	s := startWithTables(t, Options{})
	client := restClient(t, s)
	ctx := t.Context()
	run := func(sql string, change func(*bigquery.Query)) (*bigquery.JobStatus, *bigquery.Job, error) {
		t.Helper()
		q := client.Query(sql)
		if change != nil {
			change(q)
		}
		job, err := q.Run(ctx)
		if err != nil {
			return nil, nil, err
		}
		st, err := job.Wait(ctx)
		return st, job, err
	}
	st, job, err := run("SELECT 'a' AS a", nil)
	if err != nil || st.Err() != nil || !st.Done() {
		t.Fatalf("status %+v, %v", st, err)
	}
	it, err := job.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := readAll(it); err != nil || len(rows) != 1 || rows[0]["a"] != "a" {
		t.Errorf("rows %v, %v", rows, err)
	}
	if again, err := client.JobFromID(ctx, job.ID()); err != nil || again.LastStatus().Statistics.Details.(*bigquery.QueryStatistics).StatementType != "SELECT" {
		t.Errorf("JobFromID: %v, %v", again, err)
	}
	_, err = client.JobFromID(ctx, "nothing")
	wantCode(t, "get of no job", err, 404, "notFound")

	// DDL and DML report what they did.
	if st, _, err = run("CREATE TABLE pixelbeam.x (a INT64)", nil); err != nil || st.Statistics.Details.(*bigquery.QueryStatistics).DDLTargetTable.TableID != "x" {
		t.Errorf("CREATE TABLE: %+v, %v", st, err)
	}
	for _, tt := range []struct {
		sql  string
		rows int64
	}{{"INSERT INTO x VALUES (1), (2), (3)", 3}, {"UPDATE x SET a = a * 10 WHERE a > 1", 2}, {"DELETE FROM x WHERE a = 20", 1}, {"TRUNCATE TABLE x", 2}} {
		st, _, err := run(tt.sql, func(q *bigquery.Query) { q.DefaultDatasetID = testDataset })
		if err != nil || st.Err() != nil {
			t.Errorf("%s: %v, %v", tt.sql, st, err)
			continue
		}
		if got := st.Statistics.Details.(*bigquery.QueryStatistics).NumDMLAffectedRows; got != tt.rows {
			t.Errorf("%s: %d rows, want %d", tt.sql, got, tt.rows)
		}
	}

	// Errors: of the statement, of its names, of what is not offered.
	_, err = tryQuery(t, client, "SELEC 1")
	wantCode(t, "syntax", err, 400, "invalidQuery")
	_, err = tryQuery(t, client, "SELECT * FROM pixelbeam.nothing")
	wantCode(t, "no table", err, 404, "notFound")
	_, err = tryQuery(t, client, "SELECT nothing FROM pixelbeam.impressions")
	wantCode(t, "no column", err, 400, "invalidQuery")
	_, err = tryQuery(t, client, "SELECT FARM_FINGERPRINT('a')")
	wantCode(t, "function", err, 400, "invalidQuery")
	wantError(t, err, "FARM_FINGERPRINT")
	if st, _, err = run("SELECT 1/0", nil); err == nil || st != nil && st.Err() == nil {
		t.Errorf("division by zero: %v, %v", st, err)
	}
	_, _, err = run("SELECT 1", func(q *bigquery.Query) { q.UseLegacySQL = true })
	wantCode(t, "legacy", err, 400, "invalid")
	_, _, err = run("SELECT 1", func(q *bigquery.Query) { q.Dst = client.Dataset(testDataset).Table("y") })
	wantCode(t, "destination", err, 501, "notImplemented")
	other, err2 := bigquery.NewClient(ctx, "other", clientOptions(s)...)
	if err2 != nil {
		t.Fatal(err2)
	}
	defer other.Close()
	_, err = tryQuery(t, other, "SELECT 1")
	wantCode(t, "other project", err, 404, "notFound")

	// A dry run tells the columns and does nothing.
	q := client.Query("SELECT insert_id, COUNT(*) AS n FROM pixelbeam.impressions GROUP BY insert_id")
	q.DryRun = true
	dry, err := q.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if schema := dry.LastStatus().Statistics.Details.(*bigquery.QueryStatistics).Schema; len(schema) != 2 || schema[1].Name != "n" {
		t.Errorf("dry run schema %v", schema)
	}
	q = client.Query("DROP TABLE pixelbeam.x")
	q.DryRun = true
	if _, err := q.Run(ctx); err != nil {
		t.Error(err)
	}
	if _, err := client.Dataset(testDataset).Table("x").Metadata(ctx); err != nil {
		t.Errorf("a dry run dropped the table: %v", err)
	}
}

// Without useInt64Timestamp a TIMESTAMP is seconds, as older clients expect; the
// API answers under both of its paths.
func TestRawREST(t *testing.T) {
	s := start(t, Options{})
	post := func(path, body string) map[string]any {
		t.Helper()
		resp, err := http.Post(s.RESTEndpoint()+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		return out
	}
	for _, prefix := range []string{"", "/bigquery/v2"} {
		out := post(prefix+"/projects/pixelbeam-local/queries", `{"query": "SELECT TIMESTAMP_MICROS(1700000000123456) AS t, [1, 2] AS a, STRUCT(TRUE AS b) AS s, 1.0 AS f, NULL AS n", "useLegacySql": false}`)
		want := []any{map[string]any{"f": []any{
			map[string]any{"v": "1.700000000123456E+09"}, map[string]any{"v": []any{map[string]any{"v": "1"}, map[string]any{"v": "2"}}},
			map[string]any{"v": map[string]any{"f": []any{map[string]any{"v": "true"}}}}, map[string]any{"v": "1.0"}, map[string]any{"v": nil},
		}}}
		if diff := cmp.Diff(want, out["rows"]); diff != "" {
			t.Errorf("%s: -want +got\n%s", prefix, diff)
		}
	}
	for _, tt := range []struct{ path, body, reason string }{
		{"/projects/pixelbeam-local/queries", `{`, "parseError"},
		{"/projects/pixelbeam-local/queries", strings.Repeat(" ", maxBody+1), "parseError"},
		{"/upload/bigquery/v2/projects/pixelbeam-local/jobs", `{}`, "notImplemented"},
		{"/projects/pixelbeam-local/jobs", `{"configuration": {"load": {}}}`, "notImplemented"},
		{"/projects/pixelbeam-local/datasets", `{}`, "invalid"},
	} {
		out := post(tt.path, tt.body)
		e, _ := out["error"].(map[string]any)
		if list, _ := e["errors"].([]any); len(list) != 1 || list[0].(map[string]any)["reason"] != tt.reason {
			t.Errorf("%s: %v, want reason %s", tt.path, out, tt.reason)
		}
	}
}

// The views of the schemas, and what they say.
func TestSchemaViews(t *testing.T) {
	s := startWithTables(t, Options{})
	ctx := t.Context()
	if len(schemas.Views()) == 0 {
		t.Fatal("no views")
	}
	if _, err := s.Query(ctx, `INSERT INTO pixelbeam.impressions (insert_id, event_time, receive_time, event_type, impression_id) VALUES
		('a', TIMESTAMP '2024-01-01 00:00:01', TIMESTAMP '2024-01-01 00:00:03', 'impression', 'a'),
		('a', TIMESTAMP '2024-01-01 00:00:01', TIMESTAMP '2024-01-01 00:00:02', 'impression', 'a'),
		('a', TIMESTAMP '2024-01-01 00:00:02', NULL, 'impression', 'a')`); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Query(ctx, "SELECT receive_time FROM pixelbeam.impressions_unique ORDER BY event_time")
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{"receive_time": time.Date(2024, 1, 1, 0, 0, 2, 0, time.UTC)}, {"receive_time": nil}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("impressions_unique: -want +got\n%s", diff)
	}
	if _, err := s.Query(ctx, `INSERT INTO pixelbeam.impression_counts (window_start, window_end, campaign_id, gross, invalid, net, part, pane)
		SELECT TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-01 00:01:00', 'c', x.g, 0, x.g, x.part, x.pane
		FROM UNNEST([STRUCT(5 AS g, 0 AS part, 0 AS pane), STRUCT(7 AS g, 0 AS part, 1 AS pane), STRUCT(1 AS g, 1 AS part, 0 AS pane)]) AS x`); err != nil {
		t.Fatal(err)
	}
	rows, err = s.Query(ctx, "SELECT campaign_id, gross, net, advertiser_id FROM pixelbeam.impression_counts_current")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]map[string]any{{"campaign_id": "c", "gross": int64(8), "net": int64(8), "advertiser_id": nil}}, rows); diff != "" {
		t.Errorf("impression_counts_current: -want +got\n%s", diff)
	}
}

// Another DuckDB client reads tables and views from the file, whatever its time
// zone.
func TestOtherClientsReadTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "o.duckdb")
	s := startWithTables(t, Options{Path: path})
	ctx := t.Context()
	for _, statement := range []string{
		`INSERT INTO pixelbeam.impressions (insert_id, event_time, event_type, impression_id, params, price, lint)
			VALUES ('a', TIMESTAMP '2024-01-01 23:30:00', 'impression', 'a', JSON '{"k": [1]}', NUMERIC '1.5', ['x'])`,
		"CREATE VIEW pixelbeam.days AS SELECT DATE(event_time) AS day, FORMAT_TIMESTAMP('%F %H', event_time) AS hour, TIMESTAMP_TRUNC(event_time, DAY) AS t, CAST(event_time AS STRING) AS s FROM pixelbeam.impressions",
		"CREATE VIEW pixelbeam.reach AS SELECT HLL_COUNT.EXTRACT(HLL_COUNT.INIT(insert_id)) AS n FROM pixelbeam.impressions",
	} {
		if _, err := s.Query(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", path+"?access_mode=read_only")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("SET TimeZone = 'Asia/Kolkata'"); err != nil {
		t.Fatal(err)
	}
	var id, k, price, lint, day, hour, text string
	var at, trunc time.Time
	if err := db.QueryRow(`SELECT insert_id, event_time, params->'k'->>0, CAST(price AS VARCHAR), lint[1] FROM pixelbeam.impressions_unique`).Scan(&id, &at, &k, &price, &lint); err != nil {
		t.Fatal(err)
	}
	if id != "a" || !at.Equal(time.Date(2024, 1, 1, 23, 30, 0, 0, time.UTC)) || k != "1" || price != "1.500000000" || lint != "x" {
		t.Error(id, at, k, price, lint)
	}
	if err := db.QueryRow(`SELECT CAST(day AS VARCHAR), hour, t, s FROM pixelbeam.days`).Scan(&day, &hour, &trunc, &text); err != nil {
		t.Fatal(err)
	}
	if day != "2024-01-01" || hour != "2024-01-01 23" || !trunc.Equal(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)) || text != "2024-01-01 23:30:00+00" {
		t.Error(day, hour, trunc, text)
	}
	// A sketch's functions are this server's, also after a restart.
	if err := db.QueryRow("SELECT n FROM pixelbeam.reach").Scan(&text); err == nil || !strings.Contains(err.Error(), "hll_count") {
		t.Error(text, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Path: path})
	rows, err := again.Query(ctx, "SELECT n FROM pixelbeam.reach")
	if err != nil || rows[0]["n"] != int64(1) {
		t.Error(rows, err)
	}
}

// Tables and views that another program made in the file are there.
func TestTablesOfOtherPrograms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.duckdb")
	db, err := sql.Open("duckdb", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"CREATE SCHEMA theirs", "CREATE TABLE theirs.t (a BIGINT, b VARCHAR[])", "INSERT INTO theirs.t VALUES (1, ['x']), (2, NULL)",
		"CREATE VIEW theirs.v AS SELECT a FROM theirs.t", "CREATE TABLE theirs.odd (u UUID)",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Path: path})
	client := restClient(t, s)
	md, err := client.Dataset("theirs").Table("t").Metadata(t.Context())
	if err != nil || len(md.Schema) != 2 || !md.Schema[1].Repeated || md.NumRows != 2 {
		t.Errorf("table %+v, %v", md, err)
	}
	rows := queryAll(t, client, "SELECT v.a, b FROM theirs.v JOIN theirs.t USING (a) ORDER BY 1")
	if diff := cmp.Diff([]map[string]bigquery.Value{{"a": int64(1), "b": []bigquery.Value{"x"}}, {"a": int64(2), "b": []bigquery.Value{}}}, rows); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	_, err = client.Dataset("theirs").Table("odd").Metadata(t.Context())
	wantCode(t, "table of other types", err, 404, "notFound")
	if md, err := client.Dataset("theirs").Table("v").Metadata(t.Context()); err != nil || md.Type != bigquery.ViewTable {
		t.Errorf("view %+v, %v", md, err)
	}
}
