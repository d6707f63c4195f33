// Package dofn registers DoFns with Beam.
package dofn

import (
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/reflectx"
)

// Register registers a structural DoFn and how to call a ProcessElement of its
// signature without reflection: args are the arguments of process in order, of
// their types, and call returns its results.
//
// Beam's register.DoFnNxM does that for bundle methods too, by generic code that
// costs the compiler some 8 s of CPU and 0.4 GB for every signature in every
// package. That is too much for DoFns that are called once a file, a pane or a
// bundle; use it for those that are called for every entry.
func Register[DoFn, ProcessElement any](call func(process ProcessElement, args []any) []any) {
	beam.RegisterDoFn(reflect.TypeFor[DoFn]())
	RegisterMethod(call)
}

// RegisterMethod registers how to call another method of DoFns, such as a
// FinishBundle that emits, without reflection.
func RegisterMethod[Method any](call func(method Method, args []any) []any) {
	reflectx.RegisterFunc(reflect.TypeFor[Method](), func(fn any) reflectx.Func {
		return processFunc[Method]{fn.(Method), call}
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
