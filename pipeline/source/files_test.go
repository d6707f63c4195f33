package source

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/vet"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/google/go-cmp/cmp"

	"pixelbeam/transforms/logentry"
)

// sAndA are the two kinds of files in a Storage export.
const (
	sName = "requests/2026/11/23/08:00:00_08:59:59_S0.json"
	aName = "requests/2026/11/23/08:00:00_08:59:59_A0:1616681700.json"
)

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func zipped(t testing.TB, data string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// places returns "file@offset=data" of every message, sorted, with the folder
// cut off the file's name.
func places(c *collector, folder string) []string {
	var out []string
	for _, m := range c.messages {
		m.Origin = strings.TrimPrefix(m.Origin, folder)
		out = append(out, m.Place()+"="+string(m.Data))
	}
	slices.Sort(out)
	return out
}

func TestFilesReadsAWholeExport(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, sName), []byte("{\"a\":1}\n\n{\"b\":2}\r\n  \t\r\n{\"last\":\"no newline\"}"))
	writeFile(t, filepath.Join(dir, aName), []byte("{\"late\":1}\n"))
	writeFile(t, filepath.Join(dir, "requests/old.json.gz"), append(zipped(t, "{\"z\":1}\n"), zipped(t, "{\"z\":2}")...))
	writeFile(t, filepath.Join(dir, "requests/plain-despite-name.jsonl.gz"), []byte("{\"p\":1}\n"))
	writeFile(t, filepath.Join(dir, "requests/empty.jsonl"), nil)
	writeFile(t, filepath.Join(dir, "requests/README.txt"), []byte("not an entry\n"))
	modified := time.Date(2026, 11, 23, 9, 0, 0, 123456000, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, aName), modified, modified); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/" + aName + `@0={"late":1}`,
		"/" + sName + `@0={"a":1}`,
		"/" + sName + `@23={"last":"no newline"}`,
		"/" + sName + "@9={\"b\":2}\r",
		`/requests/old.json.gz@0={"z":1}`,
		`/requests/old.json.gz@8={"z":2}`,
		`/requests/plain-despite-name.jsonl.gz@0={"p":1}`,
	}
	for name, run := range runners {
		t.Run(name, func(t *testing.T) {
			p, s := beam.NewPipelineWithRoot()
			// The same file by two patterns is read once.
			c := collect(t, s, readFiles(s, FilesConfig{Patterns: []string{dir, filepath.Join(dir, "requests/*.gz")}}))
			r, err := run(context.Background(), p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, places(c, dir)); diff != "" {
				t.Error(diff)
			}
			if got := counter(t, r, "files_lines_read"); got != int64(len(want)) {
				t.Errorf("files_lines_read = %d, want %d", got, len(want))
			}
			for _, m := range c.messages {
				if strings.HasSuffix(m.Origin, aName) && m.ReceiveTime != modified.UnixMicro() {
					t.Errorf("ReceiveTime = %d, want the file's modification time %d", m.ReceiveTime, modified.UnixMicro())
				}
			}
		})
	}
}

func TestFilesFromStorage(t *testing.T) {
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		Scheme: "http", Host: "127.0.0.1", Writer: new(bytes.Buffer),
		InitialObjects: []fakestorage.Object{
			object(sName, []byte("{\"a\":1}\n{\"b\":2}\n"), ""),
			object(aName, []byte("{\"late\":1}"), ""),
			object("requests/2026/11/24/x.json.gz", zipped(t, "{\"z\":1}\n"), ""),
			object("requests/2026/11/24/encoded.json", zipped(t, "{\"e\":1}\n"), "gzip"),
			object("requests/2026/11/24/empty.json", nil, ""),
			object("requests/notes.txt", []byte("not an entry\n"), ""),
			object("requests/", nil, ""),
			object("other/o.json", []byte("{\"o\":1}\n"), ""),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(server.URL(), "http://"))

	all := []string{aName + `@0={"late":1}`, sName + `@0={"a":1}`, sName + `@8={"b":2}`}
	day24 := []string{`requests/2026/11/24/encoded.json@0={"e":1}`, `requests/2026/11/24/x.json.gz@0={"z":1}`}
	tests := []struct {
		pattern string
		want    []string
	}{
		{"gs://logs/requests/", slices.Concat(all, day24)},
		{"gs://logs/requests/2026/11/23/*_S*.json", all[1:]},
		{"gs://logs/" + aName, all[:1]},
		{"gs://logs/requests/*/*/24/", day24},
		{"gs://logs", slices.Concat([]string{`other/o.json@0={"o":1}`}, all, day24)},
		{"gs://logs/**/[!a-w].json.gz", day24[1:]},
	}
	for _, test := range tests {
		t.Run(test.pattern, func(t *testing.T) {
			p, s := beam.NewPipelineWithRoot()
			c := collect(t, s, readFiles(s, FilesConfig{Patterns: []string{test.pattern}}))
			if _, err := runners["prism"](context.Background(), p); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, places(c, "gs://logs/")); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("no match", func(t *testing.T) {
		p, s := beam.NewPipelineWithRoot()
		collect(t, s, readFiles(s, FilesConfig{Patterns: []string{"gs://logs/absent/*.json"}}))
		_, err := runners["direct"](context.Background(), p)
		if err == nil || !strings.Contains(err.Error(), `"gs://logs/absent/*.json" matches no file`) {
			t.Errorf("error = %v, want one that names the pattern", err)
		}
	})
}

func object(name string, content []byte, encoding string) fakestorage.Object {
	return fakestorage.Object{
		ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "logs", Name: name, ContentEncoding: encoding},
		Content:     content,
	}
}

func TestFilesConfigValidate(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "[odd]*name?.json"), []byte("{}\n"))
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		patterns []string
		want     string // part of the error; empty for none
	}{
		{"no pattern", nil, "at least one file pattern"},
		{"absent file", []string{filepath.Join(dir, "nope.json")}, "nope.json\" matches no file"},
		{"absent glob", []string{filepath.Join(dir, "*.jsonl")}, "*.jsonl\" matches no file"},
		{"empty folder", []string{filepath.Join(dir, "empty")}, "empty\" matches no file"},
		{"broken glob", []string{filepath.Join(dir, "[a")}, "syntax error"},
		{"broken storage glob", []string{"gs://b/[a"}, "[ without its ]"},
		{"no bucket", []string{"gs:///x"}, "names no bucket"},
		{"other scheme", []string{"s3://b/x"}, "only local paths and gs://"},
		{"a literal name with glob characters", []string{filepath.Join(dir, "[odd]*name?.json")}, ""},
		{"storage is not asked", []string{"gs://b/x"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := FilesConfig{Patterns: test.patterns}.Validate()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("error = %v, want none", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error = %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestFilesTruncatedGzipNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cut.json.gz")
	whole := zipped(t, strings.Repeat("{\"a\":1}\n", 1000))
	writeFile(t, path, whole[:len(whole)-10])
	for name, run := range runners {
		t.Run(name, func(t *testing.T) {
			p, s := beam.NewPipelineWithRoot()
			collect(t, s, readFiles(s, FilesConfig{Patterns: []string{path}}))
			_, err := run(context.Background(), p)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "unexpected EOF") {
				t.Errorf("error = %v, want unexpected EOF and the file's name", err)
			}
		})
	}
}

// TestFileRangesPartitionLines reads random files by random ranges and checks
// that every line is delivered exactly once, by the range in which it begins.
func TestFileRangesPartitionLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "f.jsonl")
	for round := range 300 {
		var content []byte
		for range rng.IntN(12) {
			content = append(content, bytes.Repeat([]byte{'x'}, rng.IntN(9))...)
			content = append(content, '\n')
		}
		content = append(content, bytes.Repeat([]byte{'y'}, rng.IntN(4))...)
		writeFile(t, path, content)

		var want []string
		offset := 0
		for _, l := range strings.SplitAfter(string(content), "\n") {
			if text := strings.TrimSuffix(l, "\n"); text != "" {
				want = append(want, fmt.Sprintf("%d=%s", offset, text))
			}
			offset += len(l)
		}

		var got []string
		emit := func(m logentry.Message) { got = append(got, fmt.Sprintf("%d=%s", m.Offset, m.Data)) }
		fn := &readFilesFn{}
		f := file{Name: path, Size: int64(len(content))}
		rests := fn.CreateInitialRestriction(f).EvenSplits(int64(1 + rng.IntN(6)))
		for len(rests) > 0 {
			rt := fn.CreateTracker(rests[0])
			rests = rests[1:]
			split := rng.IntN(3)
			if split == 0 { // split before a line is claimed
				rests = trySplit(t, rt, rng.Float64(), rests)
			}
			deliver := emit
			if split == 1 { // split after the first line
				deliver = func(m logentry.Message) {
					emit(m)
					rests = trySplit(t, rt, rng.Float64(), rests)
				}
			}
			if err := fn.ProcessElement(context.Background(), rt, f, deliver); err != nil {
				t.Fatal(err)
			}
			if !rt.IsDone() {
				t.Fatalf("round %d: range %v is not done: %v", round, rt, rt.GetError())
			}
		}
		slices.SortFunc(got, byOffset)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d, content %q: %s", round, content, diff)
		}
	}
}

func trySplit(t *testing.T, rt *sdf.LockRTracker, fraction float64, rests []offsetrange.Restriction) []offsetrange.Restriction {
	t.Helper()
	_, residual, err := rt.TrySplit(fraction)
	if err != nil {
		t.Fatal(err)
	}
	if residual == nil {
		return rests
	}
	return append(rests, residual.(offsetrange.Restriction))
}

func byOffset(a, b string) int {
	var i, j int
	fmt.Sscan(a, &i)
	fmt.Sscan(b, &j)
	return i - j
}

func TestFilesIsPerformant(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	writeFile(t, path, []byte("{}\n"))
	p, s := beam.NewPipelineWithRoot()
	Files(s, FilesConfig{Patterns: []string{path}})
	requirePerformant(t, p)
}

func requirePerformant(t *testing.T, p *beam.Pipeline) {
	t.Helper()
	e, err := vet.Evaluate(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Performant() {
		e.Generate("source")
		t.Errorf("not everything is registered:\n%s", e.Bytes())
	}
}

// BenchmarkFiles reads 1,575-byte lines, plain and compressed, without a
// runner.
func BenchmarkFiles(b *testing.B) {
	const n = 20_000
	l := strings.Repeat("x", 1000) + strings.Repeat("0123456789", 57) + "abcd\n"
	plain := filepath.Join(b.TempDir(), "a.json")
	writeFile(b, plain, []byte(strings.Repeat(l, n)))
	packed := filepath.Join(b.TempDir(), "a.json.gz")
	writeFile(b, packed, zipped(b, strings.Repeat(l, n)))
	for _, path := range []string{plain, packed} {
		b.Run(filepath.Ext(path)[1:], func(b *testing.B) {
			fn := &readFilesFn{}
			files, err := match(context.Background(), []string{path})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(l) * n))
			b.ReportAllocs()
			for b.Loop() {
				got := 0
				emit := func(m logentry.Message) { got++ }
				rt := fn.CreateTracker(fn.CreateInitialRestriction(files[0]))
				if err := fn.ProcessElement(context.Background(), rt, files[0], emit); err != nil {
					b.Fatal(err)
				}
				if got != n {
					b.Fatalf("read %d lines, want %d", got, n)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// readFiles is Files as a job has it.
func readFiles(s beam.Scope, cfg FilesConfig) beam.PCollection { return Batch(s, Files(s, cfg)) }
