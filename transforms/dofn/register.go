// Package dofn registers DoFns with Beam.
package dofn

import (
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/reflectx"
)

// What Setup and Teardown of most DoFns are.
func init() {
	RegisterMethod(func(f func(), _ []any) []any {
		f()
		return nil
	})
	RegisterMethod(func(f func() error, _ []any) []any { return []any{f()} })
}

// Register registers a structural DoFn and how to call a ProcessElement of its
// signature without reflection: args are the arguments of process in order, of
// their types, and call returns its results.
//
// Beam's register.DoFnNxM does that for bundle methods too, by generic code that
// costs the compiler some 8 s of CPU and 0.4 GB for every signature in every
// package, and 10 MB of the job's program in all. What it saves, an allocation or
// two for each call, does not show here, where elements hold hundreds of entries.
func Register[DoFn, ProcessElement any](call func(process ProcessElement, args []any) []any) {
	beam.RegisterDoFn(reflect.TypeFor[DoFn]())
	RegisterMethod(call)
}

// RegisterMethod registers how to call another method of DoFns, such as a
// FinishBundle that emits, without reflection.
func RegisterMethod[Method any](call func(method Method, args []any) []any) {
	reflectx.RegisterFunc(reflect.TypeFor[Method](), func(fn any) reflectx.Func {
		return methodFunc[Method]{fn.(Method), call}
	})
}

// methodFunc is a reflectx.Func.
type methodFunc[ProcessElement any] struct {
	process ProcessElement
	call    func(process ProcessElement, args []any) []any
}

func (f methodFunc[P]) Name() string          { return reflectx.FunctionName(f.process) }
func (f methodFunc[P]) Type() reflect.Type    { return reflect.TypeFor[P]() }
func (f methodFunc[P]) Call(args []any) []any { return f.call(f.process, args) }
