package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/vet"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"

	//lint:ignore SA1019 users run their tests on it
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"pixelbeam/schemas"
)

func TestMain(m *testing.M) { ptest.MainWithDefault(m, "prism") }

func init() {
	register.DoFn2x0[[]byte, func(schemas.Row)](&makeFn{})
	beam.RegisterType(reflect.TypeFor[makeFn]())
}

// makeFn makes Count rows, each numbered divisible by BadEvery (if not 0) with
// "bad" in its id.
type makeFn struct{ Count, BadEvery int }

func (f *makeFn) ProcessElement(_ []byte, emit func(schemas.Row)) {
	for i := range f.Count {
		id := fmt.Sprintf("id-%06d", i)
		if f.BadEvery > 0 && i%f.BadEvery == 0 {
			id = "bad-" + id
		}
		emit(impressionRow(id))
	}
}

func run(t *testing.T, runner string, p *beam.Pipeline) beam.PipelineResult {
	t.Helper()
	result, err := beam.Run(context.Background(), runner, p)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

var runners = []string{"prism", "direct"}

// counter sums a counter over all steps.
func counter(result beam.PipelineResult, namespace, name string) int64 {
	var n int64
	for _, c := range result.Metrics().AllMetrics().Counters() {
		if c.Namespace() == namespace && c.Name() == name {
			n += c.Result()
		}
	}
	return n
}

// Rows and refused rows of one pipeline reach both tables and both kinds of
// files, and are counted.
func TestPipeline(t *testing.T) {
	for _, runner := range runners {
		t.Run(runner, func(t *testing.T) {
			f := startFakeWrite(t)
			f.judge = func(_ int, rows [][]byte) verdict {
				v := verdict{store: true}
				for i, row := range rows {
					// Only impressions hold the id as a field of its own.
					if bytes.HasPrefix(row, []byte("\x0a\x0dbad-")) {
						v = verdict{rowErrors: append(v.rowErrors, &storagepb.RowError{Index: int64(i), Message: "bad row"})}
					}
				}
				return v
			}
			dir := t.TempDir()
			p, s := beam.NewPipelineWithRoot()
			rows := beam.ParDo(s, &makeFn{Count: 3000, BadEvery: 100}, beam.Impulse(s))
			cfg := testConfig(f)
			cfg.MaxBatchBytes = 50_000
			refused := BigQuery(s, rows, cfg)
			Terminate(s, Rejected(s, refused, cfg))
			Terminate(s, JSON(s, rows, JSONConfig{Dir: dir, Prefix: "impressions", Table: "impressions"}))
			Terminate(s, JSON(s, refused, JSONConfig{Dir: dir, Prefix: "rejected_entries", Table: "rejected_entries"}))
			result := run(t, runner, p)

			if got := len(f.copies()); got != 3000 {
				t.Errorf("%d different rows stored, want 2970 impressions and 30 rejected entries", got)
			}
			if got := counter(result, "sink/impressions", "bigquery_rows_written"); got != 2970 {
				t.Errorf("rows written = %d, want 2970", got)
			}
			if got := counter(result, "sink/impressions", "bigquery_rows_refused"); got != 30 {
				t.Errorf("rows refused = %d, want 30", got)
			}
			if got := counter(result, "sink/rejected_entries", "bigquery_rows_written"); got != 30 {
				t.Errorf("rejected entries written = %d, want 30", got)
			}
			for table, want := range map[string]int{"impressions": 3000, "rejected_entries": 30} {
				if got := counter(result, "sink/"+table, "json_rows_written"); got != int64(want) {
					t.Errorf("JSON rows of %s written = %d, want %d", table, got, want)
				}
				if got := len(readLines(t, dir, table)); got != want {
					t.Errorf("%d lines in %s-*.jsonl, want %d", got, table, want)
				}
			}
		})
	}
}

// readLines returns the decoded lines of all files of a prefix.
func readLines(t *testing.T, dir, prefix string) []map[string]any {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, prefix+"-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var v map[string]any
			if err := json.Unmarshal([]byte(line), &v); err != nil || !strings.HasSuffix(line, "\n") {
				t.Fatalf("%s: broken line %q: %v", name, line, err)
			}
			lines = append(lines, v)
		}
	}
	return lines
}

func TestPerformant(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	rows := beam.ParDo(s, &makeFn{Count: 1}, beam.Impulse(s))
	cfg := BigQueryConfig{Project: "p", Dataset: "d", Table: "impressions"}
	Terminate(s, Rejected(s, BigQuery(s, rows, cfg), cfg))
	Terminate(s, JSON(s, rows, JSONConfig{Dir: t.TempDir(), Prefix: "x", Table: "impressions"}))
	e, err := vet.Evaluate(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Performant() {
		e.Generate("sink")
		t.Errorf("unregistered:\n%s", e.Bytes())
	}
}
