package source

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/logentry"
)

func init() {
	type emit = func(beam.EventTime, logentry.Batch)
	dofn.Register[batchFn](func(f func(beam.EventTime, logentry.Message, emit), a []any) []any {
		f(a[0].(beam.EventTime), a[1].(logentry.Message), a[2].(emit))
		return nil
	})
	dofn.RegisterMethod(func(f func(emit), a []any) []any {
		f(a[0].(emit))
		return nil
	})
	register.Emitter2[beam.EventTime, logentry.Batch]()
}

// Batches end when they hold this many messages or bytes.
const (
	batchMessages = 500
	batchBytes    = 1 << 20
)

// Batch turns PCollection<logentry.Message>, in the global window, into
// PCollection<logentry.Batch> of the messages of each bundle, a few hundred
// together. It is for the sources that a runner has delivering one by one, and
// fuses with what comes after.
func Batch(s beam.Scope, messages beam.PCollection) beam.PCollection {
	return beam.ParDo(s.Scope("source.Batch"), &batchFn{}, messages)
}

// batchFn collects messages until a batch is full or the bundle ends.
type batchFn struct {
	messages []logentry.Message
	bytes    int
	earliest beam.EventTime
}

// StartBundle drops what a failed bundle may have left.
func (fn *batchFn) StartBundle(func(beam.EventTime, logentry.Batch)) {
	fn.messages, fn.bytes = nil, 0
}

// ProcessElement takes one message.
func (fn *batchFn) ProcessElement(et beam.EventTime, m logentry.Message, emit func(beam.EventTime, logentry.Batch)) {
	if len(fn.messages) == 0 {
		fn.messages = make([]logentry.Message, 0, batchMessages)
		fn.earliest = et
	}
	fn.messages = append(fn.messages, m)
	fn.bytes += len(m.Data)
	fn.earliest = min(fn.earliest, et)
	if len(fn.messages) == batchMessages || fn.bytes >= batchBytes {
		fn.emit(emit)
	}
}

// FinishBundle emits the last batch.
func (fn *batchFn) FinishBundle(emit func(beam.EventTime, logentry.Batch)) { fn.emit(emit) }

// emit emits what is collected. Its elements are the receiver's from then on.
func (fn *batchFn) emit(emit func(beam.EventTime, logentry.Batch)) {
	if len(fn.messages) > 0 {
		emit(fn.earliest, logentry.Batch{Messages: fn.messages})
	}
	fn.messages, fn.bytes = nil, 0
}
