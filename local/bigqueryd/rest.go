package bigqueryd

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxBody bounds the body of a REST request.
const maxBody = 16 << 20

// restHandler serves the subset of the BigQuery v2 API. Clients differ in
// whether they put /bigquery/v2 before their paths when the endpoint is set.
func (s *Server) restHandler() http.Handler {
	mux := http.NewServeMux()
	route := func(pattern, method string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, method, f) })
	}
	const (
		dataset = "/projects/{project}/datasets/{dataset}"
		table   = dataset + "/tables/{table}"
		jobPath = "/projects/{project}/jobs/{job}"
	)
	route("GET /projects", "projects.list", s.listProjects)
	route("GET /projects/{project}/datasets", "datasets.list", s.listDatasets)
	route("POST /projects/{project}/datasets", "datasets.insert", s.insertDataset)
	route("GET "+dataset, "datasets.get", s.getDataset)
	route("PATCH "+dataset, "datasets.patch", s.patchDataset)
	route("PUT "+dataset, "datasets.update", s.patchDataset)
	route("DELETE "+dataset, "datasets.delete", s.deleteDataset)
	route("GET "+dataset+"/tables", "tables.list", s.listTables)
	route("POST "+dataset+"/tables", "tables.insert", s.insertTable)
	route("GET "+table, "tables.get", s.getTable)
	route("PATCH "+table, "tables.patch", s.patchTable)
	route("PUT "+table, "tables.update", s.patchTable)
	route("DELETE "+table, "tables.delete", s.deleteTable)
	route("GET "+table+"/data", "tabledata.list", s.listTableData)
	route("POST /projects/{project}/queries", "jobs.query", s.runQuery)
	route("GET /projects/{project}/queries/{job}", "jobs.getQueryResults", s.queryResults)
	route("POST /projects/{project}/jobs", "jobs.insert", s.insertJob)
	route("GET /projects/{project}/jobs", "jobs.list", s.listJobs)
	route("GET "+jobPath, "jobs.get", s.getJob)
	route("POST "+jobPath+"/cancel", "jobs.cancel", s.cancelJob)
	route("/", "", func(r *http.Request) (any, error) {
		return nil, &apiError{http.StatusNotImplemented, "notImplemented", "The local stand-in does not serve " + r.Method + " " + r.URL.Path}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/bigquery/v2"); ok {
			r.URL.Path = rest
			r.URL.RawPath = ""
		}
		mux.ServeHTTP(w, r)
	})
}

// serve answers a request with what f returns, or with an error that the client
// libraries understand.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, method string, f func(r *http.Request) (any, error)) {
	err := s.fault(method)
	if err != nil {
		if _, ok := status.FromError(err); !ok {
			err = status.Error(codes.Unavailable, err.Error())
		}
	}
	if project := r.PathValue("project"); err == nil && project != "" && project != s.project {
		err = &apiError{http.StatusNotFound, "notFound", "Not found: Project " + project + " (this stand-in has only " + s.project + ")"}
	}
	var body any
	if err == nil {
		body, err = f(r)
	}
	code := http.StatusOK
	if err != nil {
		e := apiErrorOf(err)
		code = e.code
		body = map[string]any{"error": map[string]any{
			"code": e.code, "message": e.message, "status": strings.ToUpper(e.reason),
			"errors": []map[string]any{{"message": e.message, "domain": "global", "reason": e.reason}},
		}}
		if code >= http.StatusInternalServerError {
			s.log.Error("bigqueryd: request failed", "method", method, "error", e.message)
		}
	}
	if body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	out := io.Writer(w)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
		defer zip.Close()
		out = zip
	}
	w.WriteHeader(code)
	if err := json.NewEncoder(out).Encode(body); err != nil {
		s.log.Warn("bigqueryd: response cut", "method", method, "error", err)
	}
}

// readBody decodes a JSON body.
func readBody(r *http.Request, into any) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(body)
		if err != nil {
			return &apiError{http.StatusBadRequest, "parseError", err.Error()}
		}
		body = zip
	}
	b, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	if err == nil && len(b) > maxBody {
		err = errors.New("the request body is too large")
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return &apiError{http.StatusBadRequest, "parseError", "Parse Error: " + err.Error()}
	}
	return nil
}

// page is the part of a list that a request asks for.
type page struct {
	start, size int
	int64Times  bool
}

// pageOf reads startIndex, pageToken and maxResults. Tokens are positions.
func pageOf(r *http.Request) (page, error) {
	q := r.URL.Query()
	p := page{int64Times: q.Get("formatOptions.useInt64Timestamp") == "true"}
	for _, v := range []struct {
		name string
		into *int
	}{{"startIndex", &p.start}, {"pageToken", &p.start}, {"maxResults", &p.size}} {
		text := q.Get(v.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return p, &apiError{http.StatusBadRequest, "invalid", "Invalid value for " + v.name + ": " + text}
		}
		*v.into = n
	}
	return p, nil
}

// defaultPage is the number of rows of a page unless the client says; a page is
// also ended by its size, as in the service.
const (
	defaultPage  = 10_000
	maxPageBytes = 10 << 20
)

// cut returns the rows of the page, as the API shows them, and the token of the
// next page.
func (p page) cut(rows [][]any) (out []map[string]any, token string) {
	out = []map[string]any{} // never null: the client takes that for no answer
	size, most := 0, p.size
	if most == 0 {
		most = defaultPage
	}
	for i := p.start; i < len(rows); i++ {
		if len(out) == most || size > maxPageBytes {
			return out, strconv.Itoa(i)
		}
		out = append(out, rowValue(rows[i], p.int64Times))
		size += sizeOfAll(rows[i])
	}
	return out, ""
}
