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
	dofn.Register[countRowsFn](func(f func(distinct.Restatement, func(schemas.Rows)) error, a []any) []any {
		return []any{f(a[0].(distinct.Restatement), a[1].(func(schemas.Rows)))}
	})
	register.Emitter1[schemas.Rows]()
}

// Options of Counts.
type Options struct {
	// Shards is how many parts a window is counted in, at least 1.
	Shards int
	distinct.Options
}

// Counts turns a PCollection<impression.Records> into a PCollection<schemas.Rows>
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

func (fn *packCountsFn) ProcessElement(records impression.Records, emit distinct.Emit) {
	for i := range records.Records {
		r := &records.Records[i]
		d := dimensionsOf(r)
		fn.key = d.AppendKey(fn.key[:0])
		fn.packer.AddMember(Part(r, fn.Shards), fn.key, r.ID(), member(r), r.EventTime, emit)
	}
}

func (fn *packCountsFn) FinishBundle(emit distinct.Emit) {
	fn.packer.Flush(emit)
}

// maxRows bounds the bytes of the rows that countRowsFn emits together.
const maxRows = 256 << 10

// countRowsFn makes one row of every group that was restated.
type countRowsFn struct {
	encoder *Encoder
	row     []byte
}

func (fn *countRowsFn) Setup() (err error) {
	fn.encoder, err = NewEncoder()
	return err
}

func (fn *countRowsFn) ProcessElement(r distinct.Restatement, emit func(schemas.Rows)) (err error) {
	var out schemas.Rows
	for i := range r.Groups {
		if fn.row, err = fn.encoder.AppendRow(fn.row[:0], &r, &r.Groups[i]); err != nil {
			return err
		}
		out.Append(schemas.Row{Data: fn.row, ReceiveTime: r.WindowEnd})
		if len(out.Wire) >= maxRows {
			emit(out)
			out = schemas.Rows{}
		}
	}
	if len(out.Rows) > 0 {
		emit(out)
	}
	return nil
}
