package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"

	"pixelbeam/pipeline/source"
)

// Result is what a finished job counted: the Beam counters of Pixelbeam, as
// NAMESPACE/NAME, summed over steps. The namespaces are pixelbeam, source, sink
// and sink/TABLE.
type Result map[string]int64

// Read is how many entries were read.
func (r Result) Read() int64 { return r["pixelbeam/entries_read"] }

// Impressions is how many entries were impressions, duplicates included.
func (r Result) Impressions() int64 { return r["pixelbeam/impressions"] }

// Rejected is how many entries were rejected, for all reasons.
func (r Result) Rejected() int64 { return r.sum("pixelbeam/rejected_") }

// Ignored is how many entries were ignored, for all reasons.
func (r Result) Ignored() int64 { return r.sum("pixelbeam/ignored_") }

func (r Result) sum(prefix string) (n int64) {
	for name, c := range r {
		if strings.HasPrefix(name, prefix) {
			n += c
		}
	}
	return n
}

// Balance returns an error unless entries read = impressions + rejected +
// ignored.
func (r Result) Balance() error {
	if sum := r.Impressions() + r.Rejected() + r.Ignored(); r.Read() != sum {
		return fmt.Errorf("the books do not balance: %d entries read, but %d impressions + %d rejected + %d ignored = %d",
			r.Read(), r.Impressions(), r.Rejected(), r.Ignored(), sum)
	}
	return nil
}

// Write prints the books, then all other counters that are not zero.
func (r Result) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Read %d = impressions %d + rejected %d + ignored %d\n", r.Read(), r.Impressions(), r.Rejected(), r.Ignored())
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if r[name] != 0 && name != "pixelbeam/entries_read" && name != "pixelbeam/impressions" {
			fmt.Fprintf(&b, "  %-48s %d\n", strings.TrimPrefix(name, "pixelbeam/"), r[name])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Run builds the job, runs it on o.Runner, which the program must have linked,
// and waits until it ends, unless Beam's flags say otherwise; then there is no
// result. Beam must be initialized and the options valid.
//
// When ctx ends, a streaming job that runs in this process drains: it stops
// reading, writes what it holds, closes its windows and ends without an error;
// a batch job stops where it is.
func Run(ctx context.Context, o Options) (Result, error) {
	p, s := beam.NewPipelineWithRoot()
	Build(s, o)
	if o.Runner == RunnerPrism {
		steadyPrism()
	}
	runCtx := ctx
	if o.Streaming() && o.Runner == RunnerPrism {
		defer boundGarbage()()
		runCtx = context.WithoutCancel(ctx)
		draining := make(chan func(), 1)
		stop := context.AfterFunc(ctx, func() { draining <- source.Drain() })
		defer func() {
			if !stop() {
				undo := <-draining
				undo()
			}
		}()
	}
	done, err := beam.Run(runCtx, o.Runner, p)
	if err != nil {
		// Readers give back what they hold.
		waitCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, source.Wait(waitCtx))
		return nil, fmt.Errorf("job on %s: %w", o.Runner, stepError(err))
	}
	if *jobopts.Async || isNil(done) {
		return nil, nil // Beam has a result without metrics then, or none.
	}
	return result(done), nil
}

// failedStep finds in the error of a job what a DoFn has returned: Beam puts the whole
// plan of the bundle before it.
var failedStep = regexp.MustCompile(`(?s)\bDoFn\[[^\]]*Name: (?:[^\]]*/)?([^\]/]+)\] failed:\n(.*)$`)

// stepError is an error of a job that says which step failed and why, and no more.
func stepError(err error) error {
	m := failedStep.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	return &shortError{"step " + m[1] + ": " + strings.TrimSpace(m[2]), err}
}

type shortError struct {
	text string
	err  error
}

func (e *shortError) Error() string { return e.text }

func (e *shortError) Unwrap() error { return e.err }

// isNil tells whether there is no result. Runners return nil pointers of their
// own types.
func isNil(done beam.PipelineResult) bool {
	v := reflect.ValueOf(done)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// noSplit is a Prism experiment (Beam 2.77). Prism splits a bundle that makes no
// progress for a while; if its stage is stateful, the keys that were split off
// run in other bundles meanwhile, and at its end the bundle writes the state that
// it once loaded for them over theirs. A busy machine lost one pane in a million
// entries that way. Reading from Pub/Sub needs no splits.
const noSplit = "prism_disable_sdf_split"

// steadyPrism makes Prism keep bundles whole.
func steadyPrism() {
	if experiments := jobopts.GetExperiments(); !slices.Contains(experiments, noSplit) {
		*jobopts.Experiments = strings.Join(append(experiments, noSplit), ",")
	}
}

// returned are the beginnings of what Prism (Beam 2.77) logs, six times with the plan of
// the bundle, when one has failed and the job ends of it.
var returned = []string{
	"[SDK] process bundle failed", "[SDK] bundle inst", "Prism received bundle error", "stage.Execute aborting due to bundle error",
	"Bundle Failed.", "job failed",
}

// untold is a handler that leaves out what Run returns as an error.
type untold struct{ slog.Handler }

func (h untold) Handle(ctx context.Context, r slog.Record) error {
	for _, prefix := range returned {
		if strings.HasPrefix(r.Message, prefix) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h untold) WithAttrs(attrs []slog.Attr) slog.Handler { return untold{h.Handler.WithAttrs(attrs)} }

func (h untold) WithGroup(name string) slog.Handler { return untold{h.Handler.WithGroup(name)} }

// result reads the counters.
func result(done beam.PipelineResult) Result {
	r := make(Result)
	metrics := done.Metrics()
	for _, c := range metrics.AllMetrics().Counters() {
		switch namespace, _, _ := strings.Cut(c.Namespace(), "/"); namespace {
		case "pixelbeam", "source", "sink":
			r[c.Namespace()+"/"+c.Name()] += c.Result()
		}
	}
	return r
}

// Quiet makes Beam and the runners log warnings and errors only, to the logger. What
// Prism logs of a bundle that failed is left out: Run returns it.
func Quiet(logger *slog.Logger) {
	slog.SetDefault(slog.New(untold{logger.Handler()}))
	beamlog.SetLogger(&beamlog.Standard{Level: beamlog.SevWarn})
}
