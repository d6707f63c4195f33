package sink

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/transforms/dofn"
)

func init() {
	dofn.Register[dropFn](func(f func(beam.T, func(int64, int64)), a []any) []any {
		f(a[0], a[1].(func(int64, int64)))
		return nil
	})
	dofn.Register[endFn](func(f func(int64, func(*int64) bool), a []any) []any {
		f(a[0].(int64), a[1].(func(*int64) bool))
		return nil
	})
	register.Emitter2[int64, int64]()
	register.Iter1[int64]()
}

// Terminate ends a branch: it consumes a PCollection<T> of any T and drops its
// elements.
//
// It exists for Prism, which polls without pause while a bundle of a stage
// without outputs runs: one core for as long as the source reads. Behind
// Terminate the stage has an output, and the stage that consumes it, past a
// GroupByKey, never gets an element and so never runs. Use it on the output of
// every terminal write; on other runners it costs nothing.
func Terminate(s beam.Scope, col beam.PCollection) {
	s = s.Scope("Terminate")
	nothing := beam.ParDo(s, &dropFn{}, col)
	beam.ParDo0(s, &endFn{}, beam.GroupByKey(s, nothing))
}

type dropFn struct{}

func (*dropFn) ProcessElement(beam.T, func(int64, int64)) {}

type endFn struct{}

func (*endFn) ProcessElement(int64, func(*int64) bool) {}
