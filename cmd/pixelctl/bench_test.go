package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"pixelbeam/cmd/internal/cli"
)

const benchLines = `{"insertId":"a","timestamp":"2026-01-15T12:00:00Z","httpRequest":{"requestMethod":"GET","requestUrl":"http://h/pixel.gif?cid=1","userAgent":"curl/8.0"}}
{"insertId":"b","timestamp":"2026-01-15T12:00:00Z","httpRequest":{"requestMethod":"GET","requestUrl":"http://h/own.gif","userAgent":"curl/8.0"}}

not JSON
`

func TestBench(t *testing.T) {
	isolate(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte(benchLines)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"plain.json": []byte(benchLines), "zipped.gz": zipped.Bytes(), "cut.gz": zipped.Bytes()[:zipped.Len()-9], "empty.json": []byte("\n"),
		"words.json": []byte(`[{"column":"no_such_column","name":"x"}]`),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		stdin string
		args  []string
		code  int
		want  []string // each a regular expression
	}{
		{"plain", "", []string{"plain.json"}, cli.ExitOK, []string{
			`entries +3 +0\.00 MB, \d+ bytes each`, `impressions +1\n`, `ignored not_a_pixel +1\n`, `rejected invalid_json +1\n`,
			`distinct agents +1 +of 1 impressions`, `entries/s/core`, `agents cached +\d+ +\d+ +\d+\.\d\d`, `agents not cached +\d+`}},
		{"gzip and plain", "", []string{"zipped.gz", "plain.json"}, cli.ExitOK, []string{`entries +6 `, `impressions +2\n`}},
		{"standard input", benchLines, []string{"-"}, cli.ExitOK, []string{`entries +3 `}},
		{"own paths", "", []string{"--pixel_paths=/own.gif,/pixel.gif", "plain.json"}, cli.ExitOK, []string{`impressions +2\n`}},
		{"no impression", "", []string{"--pixel_paths=/x.gif", "plain.json"}, cli.ExitOK, []string{`ignored not_a_pixel +2\n`, `agents cached`}},
		{"some", "", []string{"--max_entries=2", "plain.json"}, cli.ExitOK, []string{`entries +2 `, `the first 2 entries are measured; --max_entries`}},
		{"no such file", "", []string{"none.json"}, cli.ExitFailure, []string{`none\.json: no such file`}},
		{"a folder", "", []string{"."}, cli.ExitFailure, []string{`reading \.: .*directory`}},
		{"a cut file", "", []string{"cut.gz"}, cli.ExitFailure, []string{`reading cut\.gz: unexpected EOF`}},
		{"no entries", "", []string{"empty.json"}, cli.ExitFailure, []string{`there is no log entry in empty\.json`, `one log entry a line`}},
		{"no file", "", nil, cli.ExitUsage, []string{`requires at least 1 arg`}},
		{"no entries wanted", "", []string{"--max_entries=0", "plain.json"}, cli.ExitUsage, []string{`--max_entries is 0`}},
		{"no time", "", []string{"--duration=0s", "plain.json"}, cli.ExitUsage, []string{`--duration is 0s`}},
		{"path", "", []string{"--pixel_paths=own.gif", "plain.json"}, cli.ExitUsage, []string{`"own\.gif" does not begin with a slash`}},
		{"no dictionary", "", []string{"--parameters=none", "plain.json"}, cli.ExitFailure, []string{`--parameters: open none`}},
		{"dictionary", "", []string{"--parameters=words.json", "plain.json"}, cli.ExitUsage, []string{`no_such_column`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t.Context(), test.stdin, append([]string{"bench", "--duration=1ms"}, test.args...)...)
			if got.code != test.code || (got.out != "") != (test.code == cli.ExitOK) {
				t.Errorf("exit code %d, want %d; stdout %q, stderr %q", got.code, test.code, got.out, got.errors)
			}
			for _, want := range test.want {
				if !regexp.MustCompile(want).MatchString(got.out + got.errors) {
					t.Errorf("no %s in\n%s\n%s", want, got.out, got.errors)
				}
			}
		})
	}
}

func TestBenchIsInterrupted(t *testing.T) {
	isolate(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := run(ctx, benchLines, "bench", "-")
	if got.code == cli.ExitOK || got.out != "" || strings.Contains(got.errors, "panic") {
		t.Errorf("exit code %d, stdout %q, stderr %q", got.code, got.out, got.errors)
	}
}

func TestBenchHelp(t *testing.T) {
	for want, args := range map[string][]string{
		"pixelctl bench FILE... [flags]":                           {"bench", "--help"},
		"bench\tMeasure how fast log entries of yours become rows": {"__complete", "be"},
		"--max_entries": {"__complete", "bench", "--m"},
	} {
		if got := run(t.Context(), "", args...); got.code != cli.ExitOK || !strings.Contains(got.out, want) {
			t.Errorf("%v: exit code %d, no %q in %q", args, got.code, want, got.out)
		}
	}
}
