package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	bq "google.golang.org/api/bigquery/v2"

	"pixelbeam/cmd/internal/cli"
)

// service is a BigQuery REST service that knows the answer to one query.
type service struct {
	*httptest.Server
	schema string   // TableSchema as JSON; empty for a statement without rows
	rows   []string // TableRows as JSON
	page   int      // rows a page at most
	fail   string   // error as JSON, given when the results are asked for
	hang   func()   // called when the results are asked for, which then wait for ever

	mu       sync.Mutex
	queries  []*bq.Job
	cancels  []string
	pageSize []string
	headers  http.Header
}

func newService(t *testing.T) *service {
	s := &service{page: 2}
	mux := http.NewServeMux()
	const jobs = "/bigquery/v2/projects/{project}/jobs"
	mux.HandleFunc("POST "+jobs, s.insert)
	mux.HandleFunc("GET "+jobs+"/{job}", s.get)
	mux.HandleFunc("POST "+jobs+"/{job}/cancel", s.cancel)
	mux.HandleFunc("GET /bigquery/v2/projects/{project}/queries/{job}", s.results)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *service) job(r *http.Request) string {
	return fmt.Sprintf(`{"kind": "bigquery#job", "jobReference": {"projectId": %q, "jobId": %q, "location": "EU"},
		"configuration": {"query": {"query": "SELECT"}}, "status": {"state": "DONE"},
		"statistics": {"query": {"statementType": "DELETE", "numDmlAffectedRows": "7"}}}`, r.PathValue("project"), r.PathValue("job"))
}

func (s *service) insert(w http.ResponseWriter, r *http.Request) {
	var job bq.Job
	if err := json.NewDecoder(r.Body).Decode(&job); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.queries, s.headers = append(s.queries, &job), r.Header
	s.mu.Unlock()
	r.SetPathValue("job", job.JobReference.JobId)
	fmt.Fprint(w, s.job(r))
}

func (s *service) get(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s.job(r)) }

func (s *service) cancel(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.cancels = append(s.cancels, r.PathValue("job")+" "+r.FormValue("location"))
	s.mu.Unlock()
	fmt.Fprintf(w, `{"job": %s}`, s.job(r))
}

func (s *service) results(w http.ResponseWriter, r *http.Request) {
	if s.hang != nil {
		s.hang()
		<-r.Context().Done()
		return
	}
	if s.fail != "" {
		var e struct{ Error struct{ Code int } }
		if err := json.Unmarshal([]byte(s.fail), &e); err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(e.Error.Code)
		fmt.Fprint(w, s.fail)
		return
	}
	schema := ""
	if s.schema != "" {
		schema = `"schema": ` + s.schema + `,`
	}
	from, _ := strconv.Atoi(r.FormValue("pageToken"))
	to := min(from+s.page, len(s.rows))
	if size := r.FormValue("maxResults"); size != "" {
		s.mu.Lock()
		s.pageSize = append(s.pageSize, size)
		s.mu.Unlock()
		n, _ := strconv.Atoi(size)
		to = min(from+n, to)
	}
	token := ""
	if to < len(s.rows) {
		token = fmt.Sprintf(`"pageToken": "%d",`, to)
	}
	fmt.Fprintf(w, `{"jobComplete": true, %s %s "totalRows": "%d", "rows": [%s]}`,
		schema, token, len(s.rows), strings.Join(s.rows[from:to], ","))
}

// query asks s.
func (s *service) query(t *testing.T, args ...string) result {
	t.Helper()
	isolate(t)
	return run(t.Context(), "", append([]string{"query", "--project=p", "--bigquery_endpoint=" + s.URL}, args...)...)
}

const everyType = `{"fields": [
	{"name": "s", "type": "STRING"}, {"name": "i", "type": "INTEGER"}, {"name": "f", "type": "FLOAT"}, {"name": "b", "type": "BOOLEAN"},
	{"name": "n", "type": "NUMERIC"}, {"name": "bn", "type": "BIGNUMERIC"}, {"name": "by", "type": "BYTES"}, {"name": "ts", "type": "TIMESTAMP"},
	{"name": "d", "type": "DATE"}, {"name": "t", "type": "TIME"}, {"name": "dt", "type": "DATETIME"}, {"name": "j", "type": "JSON"},
	{"name": "iv", "type": "INTERVAL"}, {"name": "ra", "type": "RANGE", "rangeElementType": {"type": "DATE"}},
	{"name": "a", "type": "STRING", "mode": "REPEATED"},
	{"name": "r", "type": "RECORD", "fields": [{"name": "x", "type": "INTEGER"}, {"name": "y", "type": "TIMESTAMP"}]},
	{"name": "ar", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "z", "type": "BYTES"}]}]}`

var typedRows = []string{
	`{"f": [{"v": "a <b>"}, {"v": "9007199254740993"}, {"v": "1.5"}, {"v": "true"},
	{"v": "12.340000000"}, {"v": "0.00000000000000000000000000000000000001"}, {"v": "AP8="}, {"v": "1795428000123456"},
	{"v": "2026-11-23"}, {"v": "04:05:06.7"}, {"v": "2026-11-23T04:05:06.000001"}, {"v": "{\"k\": [1, \"<\"]}"},
	{"v": "1-2 3 4:5:6"}, {"v": "[2026-01-01, UNBOUNDED)"},
	{"v": [{"v": "x"}, {"v": "y\"z"}]},
	{"v": {"f": [{"v": "-1"}, {"v": null}]}},
	{"v": [{"v": {"f": [{"v": "AA=="}]}}]}]}`,
	`{"f": [{"v": null}, {"v": null}, {"v": null}, {"v": null}, {"v": null}, {"v": null}, {"v": null}, {"v": null},
	{"v": null}, {"v": null}, {"v": null}, {"v": null}, {"v": null}, {"v": null}, {"v": []}, {"v": null}, {"v": []}]}`,
}

func TestQueryTypes(t *testing.T) {
	const object = `{"s":"a <b>","i":9007199254740993,"f":1.5,"b":true,"n":"12.34","bn":"0.00000000000000000000000000000000000001",` +
		`"by":"AP8=","ts":"2026-11-23T10:00:00.123456Z","d":"2026-11-23","t":"04:05:06.700000","dt":"2026-11-23T04:05:06.000001",` +
		`"j":{"k":[1,"<"]},"iv":"1-2 3 4:5:6","ra":"[2026-01-01, UNBOUNDED)","a":["x","y\"z"],"r":{"x":-1,"y":null},"ar":[{"z":"AA=="}]}`
	const nulls = `{"s":null,"i":null,"f":null,"b":null,"n":null,"bn":null,"by":null,"ts":null,"d":null,"t":null,"dt":null,` +
		`"j":null,"iv":null,"ra":null,"a":[],"r":null,"ar":[]}`
	tests := []struct{ format, want string }{
		{"json", "[\n" + object + ",\n" + nulls + "\n]\n"},
		{"jsonl", object + "\n" + nulls + "\n"},
		{"csv", "s,i,f,b,n,bn,by,ts,d,t,dt,j,iv,ra,a,r,ar\n" +
			`a <b>,9007199254740993,1.5,true,12.34,0.00000000000000000000000000000000000001,AP8=,2026-11-23T10:00:00.123456Z,` +
			`2026-11-23,04:05:06.700000,2026-11-23T04:05:06.000001,"{""k"": [1, ""<""]}",1-2 3 4:5:6,"[2026-01-01, UNBOUNDED)",` +
			`"[""x"",""y\""z""]","{""x"":-1,""y"":null}","[{""z"":""AA==""}]"` + "\n" +
			",,,,,,,,,,,,,,[],,[]\n"},
	}
	for _, test := range tests {
		t.Run(test.format, func(t *testing.T) {
			s := newService(t)
			s.schema, s.rows = everyType, typedRows
			got := s.query(t, "--format="+test.format, "SELECT *")
			if got.code != cli.ExitOK || got.errors != "" {
				t.Fatalf("exit code %d, stderr %q", got.code, got.errors)
			}
			if got.out != test.want {
				t.Errorf("got\n%s\nwant\n%s", got.out, test.want)
			}
		})
	}
}

const twoColumns = `{"fields": [{"name": "campaign_id", "type": "STRING"}, {"name": "gross", "type": "INTEGER"}]}`

var countRows = []string{
	`{"f": [{"v": "c1"}, {"v": "12"}]}`,
	`{"f": [{"v": null}, {"v": null}]}`,
	`{"f": [{"v": ""}, {"v": "3"}]}`,
	`{"f": [{"v": "Zürich\n\u001b[31m"}, {"v": "12345678"}]}`,
	`{"f": [{"v": " a,b"}, {"v": "-1"}]}`,
}

func TestQueryForms(t *testing.T) {
	tests := []struct {
		name string
		args []string
		rows []string
		out  string
		err  string
	}{
		{name: "table", rows: countRows, out: "" +
			"campaign_id          gross\n" +
			"----------------  --------\n" +
			"c1                      12\n" +
			"NULL                  NULL\n" +
			"                         3\n" +
			`Zürich\n\x1b[31m  12345678` + "\n" +
			" a,b                    -1\n" +
			"(5 rows)\n"},
		{name: "table of no rows", out: "campaign_id  gross\n-----------  -----\n(0 rows)\n"},
		{name: "csv", args: []string{"--format=csv"}, rows: countRows,
			out: "campaign_id,gross\nc1,12\n,\n\"\",3\n\"Zürich\n\x1b[31m\",12345678\n\" a,b\",-1\n"},
		{name: "csv of no rows", args: []string{"--format=csv"}, out: "campaign_id,gross\n"},
		{name: "json of no rows", args: []string{"--format=json"}, out: "[]\n"},
		{name: "jsonl of no rows", args: []string{"--format=jsonl"}, out: ""},
		{name: "max_rows", args: []string{"--format=csv", "--max_rows=1"}, rows: countRows,
			out: "campaign_id,gross\nc1,12\n", err: "pixelctl: 1 of 5 rows are shown, as --max_rows says\n"},
		{name: "max_rows over pages", args: []string{"--format=csv", "--max_rows=3"}, rows: countRows,
			out: "campaign_id,gross\nc1,12\n,\n\"\",3\n", err: "pixelctl: 3 of 5 rows are shown, as --max_rows says\n"},
		{name: "max_rows of all", args: []string{"--format=csv", "--max_rows=1"}, rows: countRows[:1], out: "campaign_id,gross\nc1,12\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t)
			s.schema, s.rows = twoColumns, test.rows
			got := s.query(t, append(test.args, "SELECT 1")...)
			if got != (result{cli.ExitOK, test.out, test.err}) {
				t.Errorf("exit code %d, stderr %q, stdout\n%s\nwant\n%s", got.code, got.errors, got.out, test.out)
			}
		})
	}
}

// Rows are printed as pages come in, and the first decide the columns.
func TestQueryManyRows(t *testing.T) {
	s := newService(t)
	s.schema, s.page = twoColumns, 100
	for i := range settleRows + 1 {
		s.rows = append(s.rows, fmt.Sprintf(`{"f": [{"v": "c%d"}, {"v": "%d"}]}`, i, i))
	}
	s.rows[settleRows] = `{"f": [{"v": "a campaign with a long name"}, {"v": "1"}]}`
	got := s.query(t, "SELECT 1")
	lines := strings.Split(got.out, "\n")
	if len(lines) != settleRows+5 {
		t.Fatalf("%d lines, want %d", len(lines), settleRows+5)
	}
	for i, want := range map[int]string{
		2:              "c0               0",
		settleRows + 1: "c499           499",
		settleRows + 2: "a campaign with a long name      1",
		settleRows + 3: "(501 rows)",
	} {
		if lines[i] != want {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
}

func TestQueryRequest(t *testing.T) {
	tests := []struct {
		name             string
		local            cli.Endpoints // of the data folder ./here
		args             []string
		stdin            string
		sql, project     string
		dataset, ofOther string // default dataset and its project
	}{
		{name: "argument", args: []string{"--project=p", "SELECT 1"}, sql: "SELECT 1", project: "p"},
		{name: "standard input", args: []string{"--project=p", "-"}, stdin: "SELECT 2\n", sql: "SELECT 2\n", project: "p"},
		{name: "file is standard input", args: []string{"--project=p", "--file=-"}, stdin: "SELECT 2", sql: "SELECT 2", project: "p"},
		{name: "file", args: []string{"--project=p", "--file=q.sql"}, sql: "SELECT 3", project: "p"},
		{name: "dataset", args: []string{"--project=p", "--dataset=d", "SELECT 1"}, sql: "SELECT 1", project: "p", dataset: "d", ofOther: "p"},
		{name: "dataset of another project", args: []string{"--project=p", "--dataset=o.d", "SELECT 1"}, sql: "SELECT 1", project: "p", dataset: "d", ofOther: "o"},
		{name: "local", local: cli.Endpoints{Project: "lp", Dataset: "ld"}, args: []string{"--data=here", "SELECT 1"},
			sql: "SELECT 1", project: "lp", dataset: "ld", ofOther: "lp"},
		{name: "flags before local", local: cli.Endpoints{Project: "lp", Dataset: "ld"}, args: []string{"--data=here", "--project=p", "--dataset=d", "SELECT 1"},
			sql: "SELECT 1", project: "p", dataset: "d", ofOther: "p"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			isolate(t)
			s := newService(t)
			s.schema = twoColumns
			args := append([]string{"query"}, test.args...)
			if test.local == (cli.Endpoints{}) {
				args = append(args, "--bigquery_endpoint="+s.URL)
			} else {
				test.local.BigQueryREST = s.URL
				if err := os.Mkdir("here", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := test.local.Write("here"); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile("q.sql", []byte("SELECT 3"), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := run(t.Context(), test.stdin, args...); got.code != cli.ExitOK {
				t.Fatalf("exit code %d: %s", got.code, got.errors)
			}
			if len(s.queries) != 1 {
				t.Fatalf("the service got %d queries", len(s.queries))
			}
			job := s.queries[0]
			q := job.Configuration.Query
			if q.Query != test.sql || job.JobReference.ProjectId != test.project {
				t.Errorf("query %q in project %q, want %q in %q", q.Query, job.JobReference.ProjectId, test.sql, test.project)
			}
			dataset, of := "", ""
			if q.DefaultDataset != nil {
				dataset, of = q.DefaultDataset.DatasetId, q.DefaultDataset.ProjectId
			}
			if dataset != test.dataset || of != test.ofOther {
				t.Errorf("default dataset %q of %q, want %q of %q", dataset, of, test.dataset, test.ofOther)
			}
			if s.headers.Get("Authorization") != "" {
				t.Error("credentials were sent to a service on this machine")
			}
		})
	}
}

func TestQueryErrors(t *testing.T) {
	tests := []struct {
		name, fail, want string
	}{
		{"syntax", `{"error": {"code": 400, "message": "Syntax error: Unexpected identifier \"SELEKT\" at [1:1]", "errors": [{"reason": "invalidQuery"}]}}`,
			"pixelctl: Syntax error: Unexpected identifier \"SELEKT\" at [1:1]\n"},
		{"dataset", `{"error": {"code": 404, "message": "Not found: Dataset p:d was not found in location EU", "errors": [{"reason": "notFound"}]}}`,
			"pixelctl: Not found: Dataset p:d was not found in location EU (--dataset names the dataset of tables"},
		{"table", `{"error": {"code": 404, "message": "Not found: Table p:d.x", "errors": [{"reason": "notFound"}]}}`,
			"pixelctl: Not found: Table p:d.x (--dataset names the dataset of tables"},
		{"unqualified table", `{"error": {"code": 400, "message": "Table \"x\" must be qualified with a dataset (e.g. dataset.table).", "errors": [{"reason": "invalid"}]}}`,
			"name the dataset with --dataset"},
		{"permission", `{"error": {"code": 403, "message": "Access Denied: Project p", "errors": [{"reason": "accessDenied"}]}}`,
			"pixelctl: Access Denied: Project p (the account needs roles/bigquery.jobUser"},
		{"no message", `{"error": {"code": 400}}`, "400"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t)
			s.fail = test.fail
			got := s.query(t, "SELECT 1")
			if got.code != cli.ExitFailure || got.out != "" || !strings.Contains(got.errors, test.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %q in it", got.code, got.out, got.errors, test.want)
			}
			if len(s.cancels) != 0 {
				t.Error("a query that failed was cancelled")
			}
		})
	}
}

func TestQueryWithoutRows(t *testing.T) {
	s := newService(t)
	if got, want := s.query(t, "DELETE FROM d.t WHERE true"), (result{cli.ExitOK, "", "pixelctl: done, 7 rows affected\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestQueryInterrupted(t *testing.T) {
	isolate(t)
	s := newService(t)
	ctx, interrupt := context.WithCancel(t.Context())
	s.hang = interrupt
	got := run(ctx, "", "query", "--project=p", "--bigquery_endpoint="+s.URL, "SELECT 1")
	if want := (result{cli.ExitFailure, "", "pixelctl: interrupted\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(s.queries) != 1 || len(s.cancels) != 1 || s.cancels[0] != s.queries[0].JobReference.JobId+" EU" {
		t.Errorf("of %d queries these were cancelled: %q", len(s.queries), s.cancels)
	}
}
