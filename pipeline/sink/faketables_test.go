package sink

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"pixelbeam/schemas"
)

// fakeTables is the part of BigQuery's REST API that makes tables, on loopback, and
// misbehaves as a test says.
type fakeTables struct {
	url string
	// answer decides on each request, n counting those of its method ("GET", "POST",
	// "PATCH") from 0: a status other than 0 is the answer. done is to do the work
	// first, so that only its answer is lost. It is called with mu held.
	answer func(method string, n int) (status int, reason string, done bool)
	// lag is how often the Storage Write API is asked for a table, after it was
	// made, before it knows it.
	lag int

	mu     sync.Mutex
	tables map[string]map[string]any
	unseen map[string]int // what is left of lag
	calls  map[string]int
	etags  int
	// refused counts inserts of tables that were there.
	refused int
}

// startFakeTables has the table impressions, with labels and an expiration that the
// schemas do not say.
func startFakeTables(t testing.TB) *fakeTables {
	t.Helper()
	f := &fakeTables{tables: map[string]map[string]any{}, unseen: map[string]int{}, calls: map[string]int{}}
	impressions, _ := schemas.LookupTable("impressions")
	f.put("impressions", map[string]any{
		"schema": map[string]any{"fields": impressions.Columns},
		"timePartitioning": map[string]any{
			"type": impressions.Partition.Type, "field": impressions.Partition.Field, "expirationMs": "34560000000",
		},
		"clustering":             map[string]any{"fields": impressions.Clustering},
		"labels":                 map[string]any{"team": "ads"},
		"requirePartitionFilter": true,
	})
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

// put stores a table; mu is held, or nobody else is there yet. It goes by JSON, so
// that all of it has JSON's types.
func (f *fakeTables) put(name string, table map[string]any) {
	b, err := json.Marshal(table)
	if err != nil {
		panic(err)
	}
	var plain map[string]any
	if err := json.Unmarshal(b, &plain); err != nil {
		panic(err)
	}
	f.etags++
	plain["etag"] = fmt.Sprintf("e%d", f.etags)
	plain["tableReference"] = map[string]any{"projectId": "p", "datasetId": "d", "tableId": name}
	f.tables[name] = plain
}

func (f *fakeTables) drop(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.tables, name)
}

// table returns what a table is, nil if there is none.
func (f *fakeTables) table(name string) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.tables[name])
}

// count returns how many requests of a method there were.
func (f *fakeTables) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// known tells whether the Storage Write API knows the table of a stream.
func (f *fakeTables) known(stream string) bool {
	if f == nil {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name := tableOf(stream)
	if f.tables[name] == nil {
		return false
	}
	if f.unseen[name] > 0 {
		f.unseen[name]--
		return false
	}
	return true
}

func (f *fakeTables) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.calls[r.Method]
	f.calls[r.Method]++
	code, reason, done := 0, "", false
	if f.answer != nil {
		code, reason, done = f.answer(r.Method, n)
	}
	var body any
	if code == 0 || done {
		c, b := f.serve(r)
		if code == 0 {
			code, body = c, b
		}
	}
	if code != http.StatusOK {
		body = map[string]any{"error": map[string]any{
			"code": code, "message": fmt.Sprintf("the test says %d %s", code, reason),
			"errors": []any{map[string]any{"reason": reason}},
		}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *fakeTables) serve(r *http.Request) (int, any) {
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if name == "tables" && r.Method == http.MethodGet {
		var list []any
		for _, name := range slices.Sorted(maps.Keys(f.tables)) {
			list = append(list, map[string]any{"tableReference": f.tables[name]["tableReference"]})
		}
		return http.StatusOK, map[string]any{"tables": list}
	}
	var in map[string]any
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return http.StatusBadRequest, nil
		}
	}
	switch r.Method {
	case http.MethodPost:
		name = in["tableReference"].(map[string]any)["tableId"].(string)
		if f.tables[name] != nil {
			f.refused++
			return http.StatusConflict, nil
		}
		f.put(name, in)
		f.unseen[name] = f.lag
	case http.MethodPatch:
		t := f.tables[name]
		if t == nil {
			return http.StatusNotFound, nil
		}
		if match := r.Header.Get("If-Match"); match != "" && match != t["etag"] {
			return http.StatusPreconditionFailed, nil
		}
		t = maps.Clone(t)
		maps.Copy(t, in)
		f.put(name, t)
	}
	if f.tables[name] == nil {
		return http.StatusNotFound, nil
	}
	return http.StatusOK, f.tables[name]
}
