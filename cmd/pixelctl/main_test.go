package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"pixelbeam/cmd/internal/cli"
)

// isolate puts the test in an empty folder, without the variables that name a
// Pixelbeam.
func isolate(t testing.TB) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range []string{cli.DataVariable, emulatorVariable, "GOOGLE_CLOUD_PROJECT"} {
		t.Setenv(name, "") // restores it after the test
		os.Unsetenv(name)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "none.json") // no test may reach the cloud
}

// result is what a run of the command gave.
type result struct {
	code        int
	out, errors string
}

func run(ctx context.Context, stdin string, args ...string) result {
	cmd := root()
	cmd.SetIn(strings.NewReader(stdin))
	var stdout, stderr bytes.Buffer
	code := cli.Run(ctx, cmd, args, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func TestHelp(t *testing.T) {
	tests := []struct {
		args []string
		want []string
	}{
		{nil, []string{"query ", "profile ", "bench ", "completion ", "--data folder", "--project project", "Exit codes: 0 success, 1 failure, 2"}},
		{[]string{"query", "--help"}, []string{
			"pixelctl query SQL [flags]", "--bigquery_endpoint URL", "--dataset dataset", "--file file", "--format form", "--max_rows int",
			"table, csv, json, jsonl", "Global flags:", "$PIXELBEAM_DATA",
		}},
		{[]string{"profile"}, []string{"get ", "Print what is known of users"}},
		{[]string{"profile", "get", "--help"}, []string{
			"pixelctl profile get USER... [flags]", "--bigtable_endpoint host:port", "--instance instance", "--table table", "--since duration",
			"--from time", "--to time", "the exit code is 1",
		}},
	}
	for _, test := range tests {
		got := run(t.Context(), "", test.args...)
		if got.code != cli.ExitOK || got.errors != "" {
			t.Errorf("%v: exit code %d, stderr %q", test.args, got.code, got.errors)
		}
		for _, want := range test.want {
			// Long flag texts are wrapped.
			if !strings.Contains(strings.Join(strings.Fields(got.out), " "), strings.TrimSpace(want)) {
				t.Errorf("%v: no %q in\n%s", test.args, want, got.out)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"completion", "bash"}, "__start_pixelctl"},
		{[]string{"completion", "zsh"}, "#compdef pixelctl"},
		{[]string{"completion", "fish"}, "complete -c pixelctl"},
		{[]string{"__complete", "query", "--format", ""}, "jsonl\n"},
		{[]string{"__complete", "profile", "get", "--format", ""}, "table\njson\n"},
		{[]string{"__complete", "pro"}, "profile\tRead user profiles"},
	}
	for _, test := range tests {
		if got := run(t.Context(), "", test.args...); got.code != cli.ExitOK || !strings.Contains(got.out, test.want) {
			t.Errorf("%v: exit code %d, no %q in %q", test.args, got.code, test.want, got.out)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	isolate(t)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown command", []string{"qery"}, `unknown command "qery" (did you mean "query"?)`},
		{"no SQL", []string{"query"}, "no SQL is given"},
		{"blank SQL", []string{"query", " \n"}, "no SQL is given"},
		{"SQL twice", []string{"query", "--file=q.sql", "SELECT 1"}, "given twice"},
		{"unquoted SQL", []string{"query", "SELECT", "1"}, "accepts at most 1 arg(s)"},
		{"query format", []string{"query", "--format=xml", "SELECT 1"}, `--format: "xml" is none of table, csv, json, jsonl`},
		{"max_rows", []string{"query", "--max_rows=-1", "SELECT 1"}, "--max_rows is -1"},
		{"BigQuery endpoint", []string{"query", "--project=p", "--bigquery_endpoint=127.0.0.1:9", "SELECT 1"}, "--bigquery_endpoint"},
		{"no user", []string{"profile", "get"}, "requires at least 1 arg(s)"},
		{"profile format", []string{"profile", "get", "--format=csv", "u1"}, `--format: "csv" is none of table, json`},
		{"since and from", []string{"profile", "get", "--since=1h", "--from=2026-11-23T00:00:00Z", "u1"}, "[from since]"},
		{"from", []string{"profile", "get", "--from=yesterday", "u1"}, `--from: "yesterday" is not a time`},
		{"to", []string{"profile", "get", "--to=2026-11-23", "u1"}, `--to: "2026-11-23" is not a time`},
		{"empty period", []string{"profile", "get", "--since=0s", "u1"}, "the period is empty"},
		{"no instance", []string{"profile", "get", "--project=p", "u1"}, "--instance"},
		{"Bigtable endpoint", []string{"profile", "get", "--project=p", "--instance=i", "--bigtable_endpoint=:9", "u1"}, "--bigtable_endpoint"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t.Context(), "", test.args...)
			if got.code != cli.ExitUsage || got.out != "" {
				t.Errorf("exit code %d, want %d; stdout %q", got.code, cli.ExitUsage, got.out)
			}
			if !strings.Contains(got.errors, test.want) || !strings.Contains(got.errors, "--help' for usage") {
				t.Errorf("stderr %q, want %q in it", got.errors, test.want)
			}
		})
	}
}

func TestFailuresNameTheRemedy(t *testing.T) {
	isolate(t)
	if err := (cli.Endpoints{Project: "p", Instance: "i"}).Write("."); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no local Pixelbeam, no project", []string{"query", "SELECT 1"}, "--project"},
		{"data folder of nobody", []string{"--data=none", "query", "SELECT 1"}, "start one with 'pixellocal --data none'"},
		{"local without BigQuery", []string{"--data=.", "query", "SELECT 1"}, "data folder . offers no BigQuery"},
		{"local without Bigtable", []string{"--data=.", "profile", "get", "u1"}, "data folder . offers no Bigtable"},
		{"nothing at the BigQuery endpoint", []string{"query", "--project=p", "--bigquery_endpoint=http://127.0.0.1:1", "SELECT 1"}, "is pixellocal running?"},
		{"nothing at the Bigtable endpoint", []string{"profile", "get", "--project=p", "--instance=i", "--bigtable_endpoint=127.0.0.1:1", "u1"}, "is pixellocal running?"},
		{"BigQuery without credentials", []string{"query", "--project=p", "SELECT 1"}, "gcloud auth application-default login"},
		{"Bigtable without credentials", []string{"profile", "get", "--project=p", "--instance=i", "u1"}, "gcloud auth application-default login"},
		{"no SQL file", []string{"query", "--file=none.sql"}, "--file: open none.sql"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t.Context(), "", test.args...)
			if got.code != cli.ExitFailure || got.out != "" || !strings.Contains(got.errors, test.want) {
				t.Errorf("exit code %d, want %d; stdout %q; stderr %q, want %q in it", got.code, cli.ExitFailure, got.out, got.errors, test.want)
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	tests := []struct {
		address, host string
		open          bool
	}{
		{"127.0.0.1:9050", "127.0.0.1:9050", true},
		{"[::1]:9050", "[::1]:9050", true},
		{"localhost:8086", "localhost:8086", true},
		{"http://127.0.0.1:9050/bigquery/v2/", "127.0.0.1:9050", true},
		{"http://bigquery", "bigquery:80", true},
		{"https://127.0.0.1:9050", "127.0.0.1:9050", true},
		{"https://bigquery.googleapis.com", "bigquery.googleapis.com:443", false},
		{"bigtable.googleapis.com", "bigtable.googleapis.com:443", false},
		{"bigtable.example:99", "bigtable.example:99", false},
		{"localhost.example:99", "localhost.example:99", false},
		{":9050", "", false},
		{"http://", "", true},
	}
	for _, test := range tests {
		e := endpoint{test.address, "--flag"}
		host, err := e.host()
		if host != test.host || (err == nil) != (test.host != "") || e.open() != test.open {
			t.Errorf("%q: host %q, %v, open %v; want %q, open %v", test.address, host, err, e.open(), test.host, test.open)
		}
	}
}
