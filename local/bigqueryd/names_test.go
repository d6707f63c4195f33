package bigqueryd

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"

	"pixelbeam/schemas"
)

// A dataset may be named as its file, and its views work for whoever opens the
// file with DuckDB, under whatever name.
func TestDatasetNamedAsItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pixelbeam.duckdb")
	s, err := Start(Options{Path: file, HTTPAddr: "127.0.0.1:0", GRPCAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateDataset(t.Context(), "pixelbeam"); err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.Tables() {
		if err := s.CreateTable(t.Context(), "pixelbeam", table); err != nil {
			t.Fatal(err)
		}
	}
	for _, view := range schemas.Views() {
		if err := s.CreateView(t.Context(), "pixelbeam", view); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Query(t.Context(), "SELECT * FROM `pixelbeam."+view.Name+"`"); err != nil {
			t.Errorf("%s: %v", view.Name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// Those with sketches, themselves or in what they read, need the server.
	sketches := map[string]bool{}
	for _, view := range schemas.Views() {
		sketches[view.Name] = strings.Contains(view.Query, "HLL_COUNT.")
		for name := range sketches {
			if sketches[name] && strings.Contains(view.Query, "${dataset}."+name+"`") {
				sketches[view.Name] = true
			}
		}
	}
	for name, open := range map[string][2]string{"file": {file, "pixelbeam"}, "attached": {"", "other"}} {
		db, err := sql.Open("duckdb", open[0])
		if err != nil {
			t.Fatal(err)
		}
		if open[0] == "" {
			if _, err := db.Exec("ATTACH '" + file + "' AS other"); err != nil {
				t.Fatal(err)
			}
		}
		for _, view := range schemas.Views() {
			if sketches[view.Name] {
				continue
			}
			var n int
			if err := db.QueryRow("SELECT COUNT(*) FROM " + open[1] + ".pixelbeam." + view.Name).Scan(&n); err != nil {
				t.Errorf("%s: %s: %v", name, view.Name, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
