package sink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/vet"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/tablegroup"
)

var testGroups = tablegroup.Map{"acme": "retail", "zeta": "retail", "sky": "travel"}

// advertisers of rows, in turn; "" is none.
var advertisers = []string{"acme", "sky", "zeta", "other", ""}

// groupedRow is a row of the advertiser whose turn it is.
func groupedRow(i int) schemas.Row {
	row := impressionRow(fmt.Sprintf("id-%06d", i))
	var m pixelbeamv1.Impression
	if err := proto.Unmarshal(row.Data, &m); err != nil {
		panic(err)
	}
	if a := advertisers[i%len(advertisers)]; a != "" {
		m.AdvertiserId = &a
	}
	data, err := proto.Marshal(&m)
	if err != nil {
		panic(err)
	}
	row.Data = data
	return row
}

func groupedRows(n int) []schemas.Row {
	rows := make([]schemas.Row, n)
	for i := range rows {
		rows[i] = groupedRow(i)
	}
	return rows
}

// perTable is where n of groupedRows have to be.
func perTable(n int) map[string]int {
	return map[string]int{"impressions_for_retail": 2 * n / 5, "impressions_for_travel": n / 5, "impressions": 2 * n / 5}
}

// writeGroups passes rows through the DoFn as one bundle.
func writeGroups(ctx context.Context, t testing.TB, cfg BigQueryConfig, rows []schemas.Row) error {
	t.Helper()
	fn := &bigQueryGroupsFn{Config: cfg.withDefaults(), Groups: testGroups}
	if err := fn.Setup(); err != nil {
		t.Fatal(err)
	}
	defer fn.Teardown()
	emit := func(row schemas.Row) { t.Errorf("refused: %v", rejectedEntry(t, row)) }
	if err := fn.StartBundle(ctx, emit); err != nil {
		return err
	}
	for some := range slices.Chunk(rows, 7) {
		if err := fn.ProcessElement(ctx, together(some), emit); err != nil {
			return err
		}
	}
	return fn.FinishBundle(ctx, emit)
}

func startGroups(t testing.TB) (*fakeWrite, *fakeTables, BigQueryConfig) {
	write, tables := startFakeWrite(t), startFakeTables(t)
	write.tables = tables
	cfg := testConfig(write)
	cfg.RESTEndpoint = tables.url
	return write, tables, cfg
}

// Rows are in the tables of their groups, which are made like impressions, once.
func TestGroups(t *testing.T) {
	write, tables, cfg := startGroups(t)
	rows := groupedRows(500)
	for range 2 {
		if err := writeGroups(t.Context(), t, cfg, rows); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(perTable(500), write.inTables()); diff != "" {
		t.Errorf("rows per table, -want +got\n%s", diff)
	}
	if extra := checkComplete(t, write, rows); extra != 500 {
		t.Errorf("%d extra copies, want 500: the second bundle", extra)
	}
	if n := tables.count("POST"); n != 2 {
		t.Errorf("tables were made %d times, want 2", n)
	}
	model := tables.table("impressions")
	for _, name := range []string{"impressions_for_retail", "impressions_for_travel"} {
		table := tables.table(name)
		for _, property := range []string{"timePartitioning", "clustering", "labels", "requirePartitionFilter"} {
			if diff := cmp.Diff(model[property], table[property]); diff != "" {
				t.Errorf("%s: %s -impressions +group\n%s", name, property, diff)
			}
		}
		if got := names(table["schema"]); !slices.Equal(got, names(model["schema"])) {
			t.Errorf("%s has the columns %v", name, got)
		}
	}
}

// names returns those of the columns of a schema in JSON, those of records behind
// them.
func names(schema any) (out []string) {
	fields, _ := schema.(map[string]any)["fields"].([]any)
	for _, f := range fields {
		out = append(out, f.(map[string]any)["name"].(string))
		out = append(out, names(f)...)
	}
	return out
}

// Each row is in its table whatever happens while that is made, as long as it can be.
func TestGroupsFaults(t *testing.T) {
	at := func(method string, n, status int, reason string, done bool) func(string, int) (int, string, bool) {
		return func(m string, i int) (int, string, bool) {
			if m == method && i == n {
				return status, reason, done
			}
			return 0, "", false
		}
	}
	for _, test := range []struct {
		name   string
		answer func(string, int) (int, string, bool)
		lag    int
	}{
		{name: "unavailable when asked", answer: at("GET", 0, http.StatusServiceUnavailable, "backendError", false)},
		{name: "quota when asked", answer: at("GET", 1, http.StatusForbidden, "rateLimitExceeded", false)},
		{name: "too many tables at once", answer: at("POST", 0, http.StatusTooManyRequests, "quotaExceeded", false)},
		{name: "error when made", answer: at("POST", 1, http.StatusInternalServerError, "internalError", false)},
		{name: "made, and the answer is lost", answer: at("POST", 0, http.StatusBadGateway, "", true)},
		{name: "made by another worker meanwhile", answer: at("POST", 0, http.StatusConflict, "duplicate", true)},
		{name: "made, and not known to the Storage Write API yet", lag: 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			write, tables, cfg := startGroups(t)
			tables.answer, tables.lag = test.answer, test.lag
			rows := groupedRows(50)
			if err := writeGroups(t.Context(), t, cfg, rows); err != nil {
				t.Fatal(err)
			}
			checkComplete(t, write, rows)
			if diff := cmp.Diff(perTable(50), write.inTables()); diff != "" {
				t.Errorf("rows per table, -want +got\n%s", diff)
			}
		})
	}
}

// A table that was dropped under an open stream is made again.
func TestGroupsDroppedTable(t *testing.T) {
	write, tables, cfg := startGroups(t)
	fn := &bigQueryGroupsFn{Config: cfg.withDefaults(), Groups: testGroups}
	if err := fn.Setup(); err != nil {
		t.Fatal(err)
	}
	defer fn.Teardown()
	emit := func(row schemas.Row) { t.Errorf("refused: %v", rejectedEntry(t, row)) }
	bundle := func(rows []schemas.Row) {
		t.Helper()
		if err := errors.Join(fn.StartBundle(t.Context(), emit), fn.ProcessElement(t.Context(), together(rows), emit), fn.FinishBundle(t.Context(), emit)); err != nil {
			t.Fatal(err)
		}
	}
	rows := groupedRows(20)
	bundle(rows[:10])
	tables.drop("impressions_for_travel")
	bundle(rows[10:])
	checkComplete(t, write, rows)
	if tables.table("impressions_for_travel") == nil || tables.count("POST") != 3 {
		t.Errorf("the table was made %d times, want 3", tables.count("POST"))
	}
}

// Many workers make one table once, and none has an error.
func TestGroupTableMadeByMany(t *testing.T) {
	tables := startFakeTables(t)
	key := tableKey{RESTEndpoint: tables.url, Project: "p", Dataset: "d", Table: "impressions", Group: "retail"}
	var workers sync.WaitGroup
	start := make(chan struct{})
	for range 16 {
		workers.Go(func() {
			<-start
			if err := ensureTable(t.Context(), key); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	workers.Wait()
	if made := tables.count("POST") - tables.refused; made != 1 {
		t.Errorf("the table was made %d times", made)
	}
}

// Where a table is of an older version, all tables of groups get the columns that they
// lack, those of records too, and no other table does.
func TestGroupTablesGrow(t *testing.T) {
	tables := startFakeTables(t)
	model := tables.table("impressions")
	old := map[string]any{"schema": map[string]any{"fields": cut(model["schema"].(map[string]any)["fields"].([]any))}}
	for _, name := range []string{"impressions_for_retail", "impressions_for_idle", "elsewhere"} {
		tables.put(name, old)
	}
	raced := false
	tables.answer = func(method string, n int) (int, string, bool) {
		if method == "PATCH" && n == 0 {
			raced = true
			return http.StatusPreconditionFailed, "conditionNotMet", false
		}
		return 0, "", false
	}
	key := tableKey{RESTEndpoint: tables.url, Project: "p", Dataset: "d", Table: "impressions", Group: "retail"}
	if err := ensureTable(t.Context(), key); !raced || !outside(err) {
		t.Fatalf("the first time another worker was faster: %v is not to be tried again", err)
	}
	for range 2 {
		if err := ensureTable(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	want := names(model["schema"])
	slices.Sort(want)
	for _, name := range []string{"impressions_for_retail", "impressions_for_idle"} {
		got := names(tables.table(name)["schema"])
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("columns of %s -want +got\n%s", name, diff)
		}
	}
	if got := names(tables.table("elsewhere")["schema"]); len(got) == len(want) {
		t.Error("a table that is no group's was changed")
	}
	if n := tables.count("PATCH"); n != 3 {
		t.Errorf("tables were changed %d times, want 3", n)
	}
}

// A view that was not made for groups is told from one that was.
func TestViewMissesGroups(t *testing.T) {
	tables := startFakeTables(t)
	client, err := bigquery.NewClient(t.Context(), "p", option.WithEndpoint(tables.url), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	view := client.Dataset("d").Table(uniqueView)
	if misses(t.Context(), view) {
		t.Error("there is no view")
	}
	for grouped, views := range map[bool][]schemas.View{false: schemas.Views(), true: schemas.GroupedViews()} {
		i := slices.IndexFunc(views, func(v schemas.View) bool { return v.Name == uniqueView })
		tables.put(uniqueView, map[string]any{"type": "VIEW", "view": map[string]any{"query": views[i].In("p.d")}})
		if misses(t.Context(), view) == grouped {
			t.Errorf("a view for groups (%v) is said to miss them: %v", grouped, grouped)
		}
	}
}

// cut takes the last column away, and the last one of each record.
func cut(fields []any) []any {
	out := slices.Clone(fields[:len(fields)-1])
	for i, f := range out {
		if sub, ok := f.(map[string]any)["fields"].([]any); ok {
			record := map[string]any{}
			for k, v := range f.(map[string]any) {
				record[k] = v
			}
			record["fields"] = cut(sub)
			out[i] = record
		}
	}
	return out
}

// What more tries cannot mend is an error at once, with what to do.
func TestGroupsErrors(t *testing.T) {
	for _, test := range []struct {
		name  string
		setUp func(*fakeTables)
		want  string
	}{
		{"no right", func(f *fakeTables) {
			f.answer = func(method string, _ int) (int, string, bool) {
				if method == "POST" {
					return http.StatusForbidden, "accessDenied", false
				}
				return 0, "", false
			}
		}, "needs bigquery.tables.create"},
		{"no table impressions", func(f *fakeTables) { f.drop("impressions") }, "create the dataset and the table impressions"},
		{"refused", func(f *fakeTables) {
			f.answer = func(method string, _ int) (int, string, bool) {
				if method == "POST" {
					return http.StatusBadRequest, "invalid", false
				}
				return 0, "", false
			}
		}, "make it by hand"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, tables, cfg := startGroups(t)
			test.setUp(tables)
			started := time.Now()
			err := writeGroups(t.Context(), t, cfg, groupedRows(1))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "p.d.impressions_for_retail") {
				t.Errorf("error %v, want one that says %q and the table", err, test.want)
			}
			if since := time.Since(started); since > cfg.withDefaults().RetryTimeout {
				t.Errorf("it took %v", since)
			}
			if n := tables.count("POST"); n > 1 {
				t.Errorf("it was tried %d times", n)
			}
		})
	}
}

func TestAdvertiser(t *testing.T) {
	for i, want := range advertisers {
		if got := string(advertiser(groupedRow(i).Data)); got != want {
			t.Errorf("advertiser %q, want %q", got, want)
		}
	}
	for _, broken := range [][]byte{nil, {0x0a, 5, 'a'}, {0x32}, {0x32, 9, 'a'}, []byte("\xff\xff"), {0x32, 0}} {
		if got := advertiser(broken); len(got) > 0 {
			t.Errorf("%x: advertiser %q", broken, got)
		}
	}
}

func TestPackGroup(t *testing.T) {
	rows := []packedRow{{entryID{1}, impressionRow("a")}, {entryID{2}, impressionRow("b")}}
	for _, group := range []string{"", "g", strings.Repeat("x", 63)} {
		got, again, err := unpackGroup(packGroup(group, rows))
		if err != nil || got != group || len(again) != 2 || again[1].row.Source != "test:b" {
			t.Errorf("group %q: %q, %d rows, %v", group, got, len(again), err)
		}
	}
	// A job that is updated has packs of before.
	if group, again, err := unpackGroup(pack(rows)); err != nil || group != "" || len(again) != 2 {
		t.Errorf("a pack without a group: %q, %d rows, %v", group, len(again), err)
	}
	for _, broken := range [][]byte{{0}, {0, 5, 'a'}, {0, 1, 'a', 0xff}} {
		if _, _, err := unpackGroup(broken); err == nil {
			t.Errorf("%x: no error", broken)
		}
	}
	keys := map[int64]string{}
	for shard := range int64(100) {
		for _, group := range []string{"", "a", "b", "retail"} {
			name := fmt.Sprint(shard, group)
			if other, ok := keys[streamKey(shard, group)]; ok {
				t.Errorf("%s and %s have one key", name, other)
			}
			keys[streamKey(shard, group)] = name
		}
	}
}

// copiesOfGroupsFn makes Count rows of advertisers in turn, and of every third a
// copy.
type copiesOfGroupsFn struct{ Count int }

func (f *copiesOfGroupsFn) ProcessElement(_ []byte, emit func(schemas.Rows)) {
	for i := range f.Count {
		row := groupedRow(i)
		emit(together([]schemas.Row{row}))
		if i%3 == 0 {
			emit(together([]schemas.Row{row, row}))
		}
	}
}

func init() {
	dofn.Register[copiesOfGroupsFn](func(f func([]byte, func(schemas.Rows)), a []any) []any {
		f(a[0].([]byte), a[1].(func(schemas.Rows)))
		return nil
	})
}

// Exactly once, on Prism, through faults of both services: each table has each of its
// rows once.
func TestGroupsExactlyOnceOnPrism(t *testing.T) {
	f, tables := startFakeBuffered(t), startFakeTables(t)
	f.tables, tables.lag = tables, 2
	calls := 0
	f.fault = func(string) fault {
		if calls++; calls%7 != 0 {
			return none
		}
		return fault(1 + calls/7%3)
	}
	tables.answer = func(_ string, n int) (int, string, bool) {
		if n%2 == 0 {
			return http.StatusServiceUnavailable, "backendError", n%4 == 0
		}
		return 0, "", false
	}
	p, s := beam.NewPipelineWithRoot()
	rows := beam.ParDo(s, &copiesOfGroupsFn{Count: 3000}, beam.Impulse(s))
	cfg := onceConfig(f.endpoint)
	cfg.Shards, cfg.RESTEndpoint, cfg.Groups = 4, tables.url, testGroups
	Terminate(s, Rejected(s, BigQueryOnce(s, rows, cfg), cfg.BigQueryConfig))
	result := run(t, "prism", p)
	if diff := cmp.Diff(perTable(3000), f.inTables()); diff != "" {
		t.Errorf("rows per table, -want +got\n%s", diff)
	}
	for row, n := range f.visible() {
		if n != 1 {
			t.Errorf("a row is in the tables %d times: %q", n, row)
		}
	}
	if n := counter(result, "sink", "bigquery_duplicates_dropped"); n != 2000 {
		t.Errorf("%d copies were dropped, want 2000", n)
	}
}

// A cursor with a stream of another table is that of another group: its stream ends,
// and a new one begins.
func TestGroupsSharingAKey(t *testing.T) {
	f, tables := startFakeBuffered(t), startFakeTables(t)
	f.tables = tables
	cfg := onceConfig(f.endpoint).BigQueryConfig.withDefaults()
	cfg.RESTEndpoint = tables.url
	table, err := acquireBuffered(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer table.release()
	at, _, err := table.append(t.Context(), "retail", cursor{}, impressionRows(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	now, marks, err := table.append(t.Context(), "travel", at, impressionRows(3), nil)
	if err != nil || now.Offset != 3 || !strings.Contains(now.Stream, "/tables/impressions_for_travel/") {
		t.Fatalf("at %v, %v", now, err)
	}
	want := []mark{{at.Stream, 2, true}, {now.Stream, 3, false}}
	if !slices.Equal(marks, want) {
		t.Errorf("marks %v, want %v", marks, want)
	}
}

func TestGroupsPerformant(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	rows := beam.ParDo(s, &copiesOfGroupsFn{Count: 1}, beam.Impulse(s))
	cfg := onceConfig("").BigQueryConfig
	Terminate(s, Rejected(s, BigQueryGroups(s, rows, cfg, testGroups), cfg))
	e, err := vet.Evaluate(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Performant() {
		e.Generate("sink")
		t.Errorf("unregistered:\n%s", e.Bytes())
	}
}
