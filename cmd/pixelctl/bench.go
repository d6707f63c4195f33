package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/spf13/cobra"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/useragent"
)

type benchFlags struct {
	pixelPaths []string
	parameters string
	maxEntries int
	duration   time.Duration
}

func benchCommand() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use:   "bench FILE...",
		Short: "Measure how fast log entries of yours become rows",
		Long: `Measure how fast log entries of yours become rows.

The files hold one log entry a line, as a sink of Cloud Logging writes them to
Cloud Storage; they may be compressed with gzip. - is the standard input. The
entries are read into memory, then converted again and again by one core, as a
worker does it: the JSON, the URL, the user agent and the row's bytes. Nothing is
sent anywhere and nothing is written.

Time is CPU time of one core, the garbage collector's included. "agents cached" is
with all user agents in the cache, as in a worker that runs; "agents not cached"
parses the user agent of each entry anew.`,
		Example: `  pixelctl bench 08:00:00_08:59:59_S0.json
  pixelctl bench --pixel_paths=/your.gif logs/*.json.gz
  gsutil cat gs://BUCKET/requests/2026/01/15/*.json | pixelctl bench --max_entries=50000 -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault // files
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.pixelPaths, "pixel_paths", impression.DefaultPixelPaths(), "request `paths` of your pixel")
	flags.StringVar(&f.parameters, "parameters", "", "JSON `file` with more parameter names than the default ones")
	flags.IntVar(&f.maxEntries, "max_entries", 200_000, "read at most so many entries into memory")
	flags.DurationVar(&f.duration, "duration", 3*time.Second, "CPU `time` to spend on each measurement")
	return cmd
}

// maxBenchBytes bounds the memory that entries take.
const maxBenchBytes = 1 << 30

func (f *benchFlags) run(ctx context.Context, files []string, stdin io.Reader, out, notes io.Writer) error {
	switch {
	case f.maxEntries < 1:
		return cli.Usagef("--max_entries is %d, which is less than 1", f.maxEntries)
	case f.duration <= 0:
		return cli.Usagef("--duration is %s, which is no time", f.duration)
	}
	opts := impression.Options{PixelPaths: f.pixelPaths}
	if f.parameters != "" {
		var err error
		if opts.Dictionary, err = os.ReadFile(f.parameters); err != nil {
			return fmt.Errorf("--parameters: %w", err)
		}
	}
	agents := useragent.SharedCache()
	converter, err := impression.NewConverter(opts, agents)
	if err != nil {
		return cli.Usagef("%v", err)
	}
	entries := &benchEntries{max: f.maxEntries}
	for _, name := range files {
		if err := entries.readFile(ctx, name, stdin); err != nil {
			return err
		}
	}
	if len(entries.messages) == 0 {
		return cli.WithRemedy(fmt.Errorf("there is no log entry in %s", strings.Join(files, ", ")),
			"a file holds one log entry a line, as JSON")
	}
	if entries.more {
		fmt.Fprintf(notes, "pixelctl: the first %d entries are measured; --max_entries says how many are read\n", len(entries.messages))
	}
	b := &benchmark{ctx: ctx, converter: converter, agents: agents, messages: entries.messages, row: make([]byte, 0, 64<<10)}
	b.judge()
	if err := b.measure(f.duration); err != nil {
		return err
	}
	return b.print(out, entries.bytes)
}

// benchEntries are entries read into memory.
type benchEntries struct {
	max      int
	bytes    int64
	messages []logentry.Message
	more     bool // there were more
}

// readFile adds the entries of a file. A gzip file is known by its first bytes.
func (e *benchEntries) readFile(ctx context.Context, name string, stdin io.Reader) error {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	} else {
		name = "the standard input"
	}
	buffered := bufio.NewReaderSize(in, 1<<20)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1F, 0x8B}) {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("reading %s as gzip: %w", name, err)
		}
		defer unzipped.Close()
		buffered = bufio.NewReaderSize(unzipped, 1<<20)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := buffered.ReadBytes('\n')
		if line = bytes.TrimRight(line, "\r\n"); len(bytes.TrimSpace(line)) > 0 {
			if len(e.messages) == e.max || e.bytes+int64(len(line)) > maxBenchBytes {
				e.more = true
				return nil
			}
			e.messages = append(e.messages, logentry.Message{Data: line})
			e.bytes += int64(len(line))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
	}
}

// benchmark measures the conversion of entries.
type benchmark struct {
	ctx       context.Context
	converter *impression.Converter
	agents    *useragent.Cache
	messages  []logentry.Message
	row       []byte

	rowBytes int64
	outcomes map[string]int
	seen     []string // the agent of each impression
	distinct int

	cached, parse benchCost
}

// benchCost is what one entry takes.
type benchCost struct{ ns, bytes, allocs float64 }

// judge converts each entry once, which fills the cache, and counts outcomes.
func (b *benchmark) judge() {
	b.outcomes = map[string]int{}
	distinct := map[string]bool{}
	var decoder logentry.Decoder
	var entry logentry.Entry
	var record impression.Record
	for i := range b.messages {
		row, v := b.converter.Convert(&b.messages[i], b.row[:0], &record)
		switch v.Kind {
		case impression.Impression:
			b.outcomes["impressions"]++
			b.rowBytes += int64(len(row))
			if decoder.Decode(b.messages[i].Data, &entry) == nil {
				agent := string(entry.UserAgent)
				b.seen = append(b.seen, agent)
				distinct[agent] = true
			}
		case impression.Rejected:
			b.outcomes["rejected "+string(v.Reason)]++
		case impression.Ignored:
			b.outcomes["ignored "+string(v.Reason)]++
		}
	}
	b.distinct = len(distinct)
}

// measure measures conversions, and user agents by themselves.
func (b *benchmark) measure(duration time.Duration) (err error) {
	var record impression.Record
	b.cached, err = b.cost(len(b.messages), duration, func(i int) {
		b.converter.Convert(&b.messages[i], b.row[:0], &record)
	})
	if err != nil || len(b.seen) == 0 {
		return err
	}
	parser := b.agents.Parser()
	b.parse, err = b.cost(len(b.seen), duration, func(i int) { parser.Parse(b.seen[i]) })
	return err
}

// cost runs work for all items in turn, again and again, until it has taken
// duration. It ends early with ctx.
func (b *benchmark) cost(items int, duration time.Duration, work func(i int)) (benchCost, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, n := cpuTime(), 0
	for i := 0; ; n++ {
		// The clock costs as much as an entry.
		if n%256 == 255 {
			if err := b.ctx.Err(); err != nil {
				return benchCost{}, err
			}
			if n >= items && cpuTime()-start >= duration {
				break
			}
		}
		work(i)
		if i++; i == items {
			i = 0
		}
	}
	spent := cpuTime() - start
	runtime.ReadMemStats(&after)
	per := func(v uint64) float64 { return float64(v) / float64(n) }
	return benchCost{
		ns:     float64(max(spent, 1).Nanoseconds()) / float64(n),
		bytes:  per(after.TotalAlloc - before.TotalAlloc),
		allocs: per(after.Mallocs - before.Mallocs),
	}, nil
}

func (b *benchmark) print(out io.Writer, size int64) error {
	entries := len(b.messages)
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%-20s %10d   %.2f MB, %d bytes each\n", "entries", entries, float64(size)/1e6, size/int64(entries))
	for _, outcome := range slices.Sorted(maps.Keys(b.outcomes)) {
		fmt.Fprintf(w, "  %-18s %10d\n", outcome, b.outcomes[outcome])
	}
	if n := len(b.seen); n > 0 {
		fmt.Fprintf(w, "%-20s %10d   of %d impressions\n", "distinct agents", b.distinct, n)
		fmt.Fprintf(w, "%-20s %10d   bytes each\n", "rows", b.rowBytes/int64(n))
	}
	fmt.Fprintf(w, "\n%-20s %10s %16s %8s %8s %8s\n", "an entry takes", "ns", "entries/s/core", "GB/s", "B", "allocs")
	line := func(what string, c benchCost) {
		fmt.Fprintf(w, "%-20s %10.0f %16.0f %8.2f %8.1f %8.2f\n", what, c.ns, 1e9/c.ns, float64(size)/float64(entries)/c.ns, c.bytes, c.allocs)
	}
	line("agents cached", b.cached)
	if len(b.seen) > 0 {
		share := float64(len(b.seen)) / float64(entries)
		line("agents not cached", benchCost{
			b.cached.ns + share*b.parse.ns, b.cached.bytes + share*b.parse.bytes, b.cached.allocs + share*b.parse.allocs})
		fmt.Fprintf(w, "\nAn agent that is not in the cache takes %.0f ns to parse.\n", b.parse.ns)
	}
	return w.Flush()
}
