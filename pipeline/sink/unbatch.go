package sink

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/schemas"
	"pixelbeam/transforms/dofn"
)

func init() {
	dofn.Register[unbatchFn](func(f func(schemas.Rows, func(schemas.Row)), a []any) []any {
		f(a[0].(schemas.Rows), a[1].(func(schemas.Row)))
		return nil
	})
}

// single turns a PCollection<schemas.Rows> into a PCollection<schemas.Row>, for
// sinks that take rows one by one, and leaves any other as it is.
func single(s beam.Scope, rows beam.PCollection) beam.PCollection {
	if rows.Type().Type() != rowsType {
		return rows
	}
	return beam.ParDo(s, &unbatchFn{}, rows)
}

type unbatchFn struct{}

func (*unbatchFn) ProcessElement(rows schemas.Rows, emit func(schemas.Row)) {
	for _, row := range rows.Rows {
		emit(row)
	}
}
