package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/local/bigtabled"
	"pixelbeam/local/traffic"
	"pixelbeam/pipeline/sink"
	"pixelbeam/schemas"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/useragent"
)

// serveEnv is the folder of the server process of BenchmarkRestate.
const serveEnv = "PIXELCTL_TEST_SERVE"

// benchRows impressions of generated traffic lie in benchWindows minutes.
const benchRows, benchWindows = 240_000, 6

// TestServeBenchmark is the server process of BenchmarkRestate: what it takes is not
// counted there.
func TestServeBenchmark(t *testing.T) {
	dir := os.Getenv(serveEnv)
	if dir == "" {
		return // not asked to serve
	}
	t.Chdir(dir)
	server, _ := startTables(t, bigqueryd.Options{Path: filepath.Join(dir, "t.duckdb")})
	profiles, err := bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: filepath.Join(dir, "bigtable")})
	if err != nil {
		t.Fatal(err)
	}
	defer profiles.Close()
	if err := profiles.EnsureTable(t.Context(), server.Project(), "i", schemas.Profiles()); err != nil {
		t.Fatal(err)
	}
	e := cli.Endpoints{
		BigQueryREST: server.RESTEndpoint(), BigQueryStorage: server.GRPCEndpoint(), Bigtable: profiles.Addr(),
		Project: server.Project(), Dataset: "d", Instance: "i",
	}
	if err := e.Write("."); err != nil {
		t.Fatal(err)
	}
	w, err := sink.NewRowWriter(sink.BigQueryConfig{Project: server.Project(), Dataset: "d", Table: "impressions", Endpoint: server.GRPCEndpoint()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := writeTraffic(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	fmt.Println("serving")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
}

// writeTraffic writes generated impressions.
func writeTraffic(ctx context.Context, w *sink.Writer) error {
	c, err := impression.NewConverter(impression.Options{}, useragent.SharedCache())
	if err != nil {
		return err
	}
	o := traffic.DefaultOptions() // with 2 % duplicates
	o.Start, o.Rate, o.LateShare = time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC), benchRows/(benchWindows*60), 0
	g := traffic.New(o)
	for n := 0; n < benchRows; {
		var e traffic.Entry
		g.Next(&e)
		m := logentry.Message{Data: e.Data, Timestamp: e.Timestamp}
		var r impression.Record
		row, v := c.Convert(&m, nil, &r)
		if v.Kind != impression.Impression {
			continue
		}
		if err := w.Write(ctx, schemas.Row{Data: row, ReceiveTime: r.EventTime}); err != nil {
			return err
		}
		n++
	}
	return w.Flush(ctx)
}

// BenchmarkRestate reads generated impressions by both APIs, and restates their
// windows, with and without profiles: as a dry run before anything is written, for the
// first time, and again. The services are another process, whose CPU time is not counted.
// peak-B/row is how much the heap grew, at most, for a row of all windows: what it is of
// those that are in memory at a time.
func BenchmarkRestate(b *testing.B) {
	isolate(b)
	child := exec.Command(os.Args[0], "-test.run=^TestServeBenchmark$")
	dir, err := os.Getwd()
	if err != nil {
		b.Fatal(err)
	}
	child.Env = append(os.Environ(), serveEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err1 := child.StdoutPipe()
	in, err2 := child.StdinPipe()
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := child.Wait(); err != nil {
			b.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "serving" {
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()

	measure := func(b *testing.B, f func(ctx context.Context) (rows int64)) {
		b.Helper()
		stop := heapPeak()
		cpu := cpuTime()
		rows := int64(0)
		for b.Loop() {
			rows += f(b.Context())
		}
		cpu = cpuTime() - cpu
		peak := stop()
		if rows < benchRows*9/10*int64(b.N) {
			b.Fatalf("%d rows in %d rounds", rows, b.N)
		}
		all := float64(b.N) * benchRows // their copies too
		b.ReportMetric(all/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(float64(cpu.Nanoseconds())/all, "cpu-ns/row")
		b.ReportMetric(float64(peak)/benchRows, "peak-B/row")
		b.ReportMetric(0, "ns/op")
	}
	for _, api := range []string{readQueries, readStorage} {
		b.Run("read="+api, func(b *testing.B) {
			t := openRestater(b, io.Discard, func(r *restateFlags) { r.readAPI = api; r.memory = 4096 })
			p, err := t.plan(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			measure(b, func(ctx context.Context) int64 {
				rows, counts, err := t.load(ctx, p, t.flags.span.from.Time, t.flags.span.to.Time, 1<<30)
				if err != nil {
					b.Fatal(err)
				}
				defer rows.close()
				defer counts.close()
				n := 0
				for _, w := range rows.windows {
					n += w.records
				}
				return int64(n)
			})
		})
	}
	restate := func(name string, change func(*restateFlags)) {
		b.Run(name, func(b *testing.B) {
			measure(b, func(ctx context.Context) int64 {
				t := openRestater(b, io.Discard, func(r *restateFlags) {
					r.readAPI, r.memory = readStorage, 4096
					change(r)
				})
				if err := t.run(ctx); err != nil {
					b.Fatal(err)
				}
				return t.done.rows
			})
		})
	}
	restate("restate=counts,dry", func(r *restateFlags) { r.profiles, r.dryRun = false, true })
	restate("restate=counts,dry,64MiB", func(r *restateFlags) { r.profiles, r.dryRun, r.memory = false, true, 64 })
	restate("restate=all,dry", func(r *restateFlags) { r.dryRun = true })
	restate("restate=all,dry,64MiB", func(r *restateFlags) { r.dryRun, r.memory = true, 64 })
	restate("restate=all,written", func(r *restateFlags) {})
	restate("restate=all,again", func(r *restateFlags) {})
}

// heapPeak watches the heap until stop, which returns by how much it grew at most.
func heapPeak() (stop func() uint64) {
	runtime.GC()
	var first runtime.MemStats
	runtime.ReadMemStats(&first)
	var peak atomic.Uint64
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), now.HeapAlloc-min(now.HeapAlloc, first.HeapAlloc)))
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(ended)
		<-done
		return peak.Load()
	}
}
