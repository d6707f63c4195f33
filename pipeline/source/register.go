package source

import (
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/reflectx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/transforms/logentry"
)

func init() {
	beam.RegisterType(reflect.TypeFor[logentry.Message]())
	register.Emitter1[logentry.Message]()
	register.Emitter2[beam.EventTime, logentry.Message]()
}

// registerDoFn registers a structural DoFn and how to call a ProcessElement of
// its signature without reflection. register.DoFnNxM does that for bundle
// methods too, by generic code that costs the compiler some 8 s of CPU and
// 0.4 GB for every signature; that is too much for DoFns that are called once a
// file or a bundle.
func registerDoFn[DoFn, ProcessElement any](call func(process ProcessElement, args []any) []any) {
	beam.RegisterDoFn(reflect.TypeFor[DoFn]())
	reflectx.RegisterFunc(reflect.TypeFor[ProcessElement](), func(fn any) reflectx.Func {
		return processFunc[ProcessElement]{fn.(ProcessElement), call}
	})
}

// processFunc is a reflectx.Func.
type processFunc[ProcessElement any] struct {
	process ProcessElement
	call    func(process ProcessElement, args []any) []any
}

func (f processFunc[P]) Name() string          { return reflectx.FunctionName(f.process) }
func (f processFunc[P]) Type() reflect.Type    { return reflect.TypeFor[P]() }
func (f processFunc[P]) Call(args []any) []any { return f.call(f.process, args) }
