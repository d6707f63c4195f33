package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Queries that are put together at run time are in testdata/queries.sql as they are
// sent, where make check-sql analyses them as GoogleSQL. PIXELCTL_WRITE_QUERIES=1
// writes the file anew.
func TestBuiltQueries(t *testing.T) {
	const file = "testdata/queries.sql"
	unqualified := func(table string) string { return table }
	got := strings.Join([]string{
		writtenBooks(),
		rowsOfMinutes([]string{countsTable, "impressions", "ledger", "rejected_entries"}, unqualified),
		rowsBetween(rowColumns, "impressions", "event_time"),
		rowsBetween(countColumns, countsTable, "window_start"),
	}, ";\n") + ";\n"
	if os.Getenv("PIXELCTL_WRITE_QUERIES") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is out of date (-file +queries):\n%s", file, diff)
	}
}
