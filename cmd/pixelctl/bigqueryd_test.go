package main

import (
	"strings"
	"testing"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/schemas"
)

// Queries against the BigQuery of a local Pixelbeam, found by its data folder.
func TestQueryLocal(t *testing.T) {
	isolate(t)
	server, err := bigqueryd.Start(bigqueryd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if err := server.CreateDataset(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.Tables() {
		if err := server.CreateTable(t.Context(), "d", table); err != nil {
			t.Fatal(err)
		}
	}
	e := cli.Endpoints{BigQueryREST: server.RESTEndpoint(), Project: server.Project(), Dataset: "d"}
	if err := e.Write("."); err != nil {
		t.Fatal(err)
	}

	tests := []struct {
		name string
		args []string
		code int
		out  string // all of stdout
		err  string // part of stderr
	}{
		{name: "insert", args: []string{`INSERT INTO rejected_entries (receive_time, reason, detail, stage, payload, source)
			VALUES (TIMESTAMP '2026-11-23 10:00:00.5+00', 'invalid_json', 'a "quote", a comma', 'parse', b'\x00\xff', 'test')`}, err: "pixelctl: done, 1 row affected\n"},
		{name: "csv", args: []string{"--format=csv", "SELECT receive_time, reason, detail, payload FROM rejected_entries"},
			out: "receive_time,reason,detail,payload\n2026-11-23T10:00:00.500000Z,invalid_json,\"a \"\"quote\"\", a comma\",AP8=\n"},
		{name: "table", args: []string{"SELECT reason, COUNT(*) AS n, NULL AS nothing FROM d.rejected_entries GROUP BY reason"},
			out: "reason        n  nothing\n------------  -  -------\ninvalid_json  1     NULL\n(1 row)\n"},
		{name: "jsonl", args: []string{"--format=jsonl", "SELECT CAST('1.50' AS NUMERIC) AS n, [1, 2] AS a, STRUCT(1 AS x, 'y' AS y) AS s, JSON '{\"k\": 1}' AS j, DATE '2026-01-02' AS d"},
			out: `{"n":"1.5","a":[1,2],"s":{"x":1,"y":"y"},"j":{"k":1},"d":"2026-01-02"}` + "\n"},
		{name: "pages", args: []string{"--format=csv", "SELECT x FROM UNNEST(GENERATE_ARRAY(1, 30000)) AS x ORDER BY x"}, out: "x\n" + numbers(30000)},
		{name: "delete of nothing", args: []string{"DELETE FROM rejected_entries WHERE reason = 'none'"}, err: "pixelctl: done, 0 rows affected\n"},
		{name: "syntax error", args: []string{"SELECT FROM WHERE"}, code: cli.ExitFailure, err: "pixelctl: Syntax error: "},
		{name: "no such dataset", args: []string{"SELECT * FROM none.impressions"}, code: cli.ExitFailure, err: "(--dataset names"},
		{name: "no such default dataset", args: []string{"--dataset=none", "SELECT * FROM impressions"}, code: cli.ExitFailure, err: "(--dataset names"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t.Context(), "", append([]string{"query", "--data=."}, test.args...)...)
			if got.code != test.code || got.out != test.out {
				t.Errorf("exit code %d, want %d; stdout\n%.1000s\nwant\n%.1000s", got.code, test.code, got.out, test.out)
			}
			if !strings.Contains(got.errors, test.err) || (test.err == "") != (got.errors == "") {
				t.Errorf("stderr %q, want %q in it", got.errors, test.err)
			}
		})
	}
}

// numbers returns the numbers from 1 to n, a line each.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(scalar(int64(i+1)) + "\n")
	}
	return b.String()
}
