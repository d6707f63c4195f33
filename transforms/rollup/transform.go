package rollup

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/impression"
)

func init() {
	impression.RegisterPacker[packCountsFn]()
	dofn.Register[countRowsFn](func(f func(distinct.Restatement, func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(distinct.Restatement), a[1].(func(schemas.Row)))}
	})
	register.Emitter1[schemas.Row]()
}

// Options of Counts.
type Options struct {
	// Shards is how many parts a window is counted in, at least 1.
	Shards int
	distinct.Options
}

// Counts turns a PCollection<impression.Record> into a PCollection<schemas.Row>
// of pixelbeam.v1.ImpressionCount: absolute counts of each one-minute window,
// restated when entries come late. See distinct.RestateAll for when, and for
// tooLate, which is no valid collection in a batch job.
func Counts(s beam.Scope, records beam.PCollection, opts Options) (counts, tooLate beam.PCollection) {
	s = s.Scope("rollup.Counts")
	opts.Name = "counts"
	packed := beam.ParDo(s, &packCountsFn{Shards: opts.Shards}, records)
	restated, tooLate := distinct.RestateAll(s, packed, opts.Options)
	return beam.ParDo(s, &countRowsFn{}, restated), tooLate
}

// packCountsFn packs the records of a bundle by shard and window.
type packCountsFn struct {
	Shards int

	packer distinct.Packer
	key    []byte
}

func (fn *packCountsFn) ProcessElement(r impression.Record, emit func(beam.EventTime, int64, []byte)) {
	fn.key = appendKey(fn.key[:0], &r)
	fn.packer.AddMember(Part(&r, fn.Shards), fn.key, r.ID(), member(&r), r.EventTime, nil, emit)
}

func (fn *packCountsFn) FinishBundle(emit func(beam.EventTime, int64, []byte)) {
	fn.packer.Flush(emit)
}

// countRowsFn makes one row of every group that was restated.
type countRowsFn struct {
	encoder *Encoder
}

func (fn *countRowsFn) Setup() (err error) {
	fn.encoder, err = NewEncoder()
	return err
}

func (fn *countRowsFn) ProcessElement(r distinct.Restatement, emit func(schemas.Row)) error {
	for i := range r.Groups {
		row, err := fn.encoder.AppendRow(nil, &r, &r.Groups[i])
		if err != nil {
			return err
		}
		emit(schemas.Row{Data: row, ReceiveTime: r.WindowEnd})
	}
	return nil
}
