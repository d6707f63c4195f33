package ledger

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/dofn"
)

func init() {
	dofn.Register[rowsFn](func(f func(distinct.Restatement, func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(distinct.Restatement), a[1].(func(schemas.Row)))}
	})
	dofn.Register[lateRowsFn](func(f func(distinct.TooLate, func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(distinct.TooLate), a[1].(func(schemas.Row)))}
	})
	register.Emitter1[schemas.Row]()
}

// Options of Books.
type Options struct {
	distinct.Options
	Build Build
	// Run names a run of the job whose windows do not survive a crash, so that what
	// it wrote and what the next run writes add up; empty where state is durable.
	Run string
}

// Books turns packed deliveries, a PCollection<KV<int64, []byte>> as a Packer
// gives them, into PCollections<schemas.Row> of pixelbeam.v1.LedgerEntry. uncounted
// is the PCollection<distinct.TooLate> of the counts, or no valid collection.
func Books(s beam.Scope, deliveries, uncounted beam.PCollection, opts Options) []beam.PCollection {
	s = s.Scope("ledger.Books")
	opts.Name, opts.Whole = "ledger", true
	restated, late := distinct.RestateAll(s, deliveries, opts.Options)
	rows := []beam.PCollection{beam.ParDo(s, &rowsFn{Run: opts.Run, Build: opts.Build}, restated)}
	if late.IsValid() {
		rows = append(rows, beam.ParDo(s, &lateRowsFn{Build: opts.Build}, late))
	}
	if uncounted.IsValid() {
		rows = append(rows, beam.ParDo(s, &lateRowsFn{Uncounted: true, Build: opts.Build}, uncounted))
	}
	return rows
}

// rowsFn makes one row of a restatement.
type rowsFn struct {
	Run   string
	Build Build
}

func (fn *rowsFn) ProcessElement(r distinct.Restatement, emit func(schemas.Row)) error {
	e, err := ofWindow(&r, fn.Run, fn.Build)
	if err != nil {
		return err
	}
	emit(row(&e))
	return nil
}

// lateRowsFn makes one row of what was too late: for the books, or for the
// counts.
type lateRowsFn struct {
	Uncounted bool
	Build     Build
}

func (fn *lateRowsFn) ProcessElement(t distinct.TooLate, emit func(schemas.Row)) error {
	if fn.Uncounted {
		e := ofLateCounts(&t, fn.Build)
		emit(row(&e))
		return nil
	}
	e, err := ofLateBooks(&t, fn.Build)
	if err != nil {
		return err
	}
	emit(row(&e))
	return nil
}

func row(e *Entry) schemas.Row {
	return schemas.Row{Data: e.Append(nil), ReceiveTime: e.Minute + distinct.Window.Microseconds()}
}
