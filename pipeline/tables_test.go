package pipeline

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pixelbeam/schemas"
)

// A REST API that has some tables, as BigQuery describes them.
func restAPI(t *testing.T, tables map[string][]schemas.Column) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		columns, ok := tables[name]
		if !ok {
			http.Error(w, `{"error":{"code":404,"message":"Not found: Table p:d.`+name+`"}}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"tableReference": map[string]string{"projectId": "p", "datasetId": "d", "tableId": name},
			"schema":         map[string]any{"fields": columns},
		})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestCheckTables(t *testing.T) {
	all := map[string][]schemas.Column{}
	for _, table := range schemas.Tables() {
		all[table.Name] = table.Columns
	}
	o := DefaultOptions()
	o.Project, o.BigQueryDataset = "p", "d"
	if err := CheckTables(context.Background(), o); err != nil {
		t.Errorf("without an endpoint: %v", err)
	}
	o.BigQueryEndpoint = restAPI(t, all)
	if err := CheckTables(context.Background(), o); err != nil {
		t.Errorf("all tables are there: %v", err)
	}
	impressions := all["impressions"]
	o.BigQueryEndpoint = restAPI(t, map[string][]schemas.Column{
		"impressions":       impressions[:len(impressions)-1],
		"impression_counts": all["impression_counts"],
	})
	err := CheckTables(context.Background(), o)
	if err == nil {
		t.Fatal("a table and a column are missing: no error")
	}
	for _, want := range []string{"p.d.impressions lacks the columns url_map", "p.d.rejected_entries does not exist", "schemas/bigquery/rejected_entries.json"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "impression_counts") {
		t.Errorf("error names a table that is complete:\n%v", err)
	}
}
