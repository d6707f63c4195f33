package bigqueryd

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bq "google.golang.org/api/bigquery/v2"

	"pixelbeam/schemas"
)

// Views have the columns and types that Google's analyzer finds in them, which
// internal/sqlcheck keeps in a file.
func TestViewColumns(t *testing.T) {
	s := start(t, Options{})
	if err := s.CreateDataset(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.Tables() {
		if err := s.CreateTable(t.Context(), "d", table); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, view := range schemas.Views() {
		if err := s.CreateView(t.Context(), "d", view); err != nil {
			t.Fatal(err)
		}
		v, err := s.catalog.table("d", view.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range apiFields(v.fields) {
			got = append(got, view.Name+"."+f.Name+" "+standardType(f))
		}
	}
	b, err := os.ReadFile("../../internal/sqlcheck/testdata/views.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(b)), "\n"), got); diff != "" {
		t.Errorf("columns of views, -analyzer +stand-in:\n%s", diff)
	}
}

// standardType spells the type of a field of the API as GoogleSQL does.
func standardType(f *bq.TableFieldSchema) string {
	names := map[string]string{"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
	name := f.Type
	if n := names[name]; n != "" {
		name = n
	}
	if len(f.Fields) > 0 {
		var fields []string
		for _, sub := range f.Fields {
			fields = append(fields, sub.Name+" "+standardType(sub))
		}
		name = "STRUCT<" + strings.Join(fields, ", ") + ">"
	}
	if f.Mode == "REPEATED" {
		name = "ARRAY<" + name + ">"
	}
	return name
}
