package impression

import (
	"context"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/schemas"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/useragent"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Record]())
	beam.RegisterType(reflect.TypeFor[schemas.Row]())
	beam.RegisterType(reflect.TypeFor[logentry.Message]())
	register.DoFn5x0[context.Context, logentry.Message, func(schemas.Row), func(Record), func(schemas.Row)](&parseFn{})
	register.Emitter1[schemas.Row]()
	register.Emitter1[Record]()
}

// Parse turns a PCollection<logentry.Message> into three collections:
//
//   - rows, PCollection<schemas.Row> of pixelbeam.v1.Impression;
//   - records, PCollection<Record>, what windows need of the same impressions;
//   - rejected, PCollection<schemas.Row> of pixelbeam.v1.RejectedEntry.
//
// It counts every entry once, in the Beam counters entries_read, impressions,
// rejected_REASON or ignored_REASON of the namespace pixelbeam. Rows and records
// may borrow from buffers that are never written again. The options must have
// been checked by NewConverter.
func Parse(s beam.Scope, entries beam.PCollection, opts Options) (rows, records, rejected beam.PCollection) {
	return beam.ParDo3(s.Scope("impression.Parse"), &parseFn{Options: opts}, entries)
}

// RegisterPacker registers a DoFn that packs records for a shuffle. It is called
// for every impression, so it is worth the cost of Beam's generic registration,
// which is paid here for all of them.
func RegisterPacker(fn interface {
	ProcessElement(r Record, emit func(beam.EventTime, int64, []byte))
}) {
	register.DoFn2x0[Record, func(beam.EventTime, int64, []byte)](fn)
}

// parseFn is the Beam adapter of Converter.
type parseFn struct {
	Options Options

	converter *Converter
	buffer    []byte
	totals    Totals
}

// Setup makes what cannot travel. All instances in a process share one cache of
// user agents.
func (fn *parseFn) Setup() error {
	agents, err := useragent.SharedCacheFor(fn.Options.UserAgentRules)
	if err != nil {
		return err
	}
	fn.converter, err = NewConverter(fn.Options, agents)
	return err
}

const (
	// Rows are cut from buffers of this size, so that a row costs no allocation.
	bufferSize = 512 << 10
	// A buffer with less than this left, or than twice the entry, is let go.
	bufferRest = 16 << 10
)

// ProcessElement emits what becomes of one entry.
func (fn *parseFn) ProcessElement(_ context.Context, m logentry.Message, row func(schemas.Row), record func(Record), rejected func(schemas.Row)) {
	if need := max(bufferRest, 2*len(m.Data)); cap(fn.buffer)-len(fn.buffer) < need {
		fn.buffer = make([]byte, 0, max(bufferSize, need))
	}
	start := len(fn.buffer)
	var rec Record
	data, verdict := fn.converter.Convert(&m, fn.buffer[start:start], &rec)
	fn.totals.count(verdict)
	switch verdict.Kind {
	case Impression:
		if end := start + len(data); end <= cap(fn.buffer) {
			fn.buffer = fn.buffer[:end]
		}
		row(schemas.Row{Data: data[:len(data):len(data)], Origin: m.Data, ReceiveTime: m.ReceiveTime, Source: m.Origin})
		record(rec)
	case Rejected:
		rejected(RejectedRow(&m, "parse", string(verdict.Reason), verdict.Detail))
	}
}

// FinishBundle adds the bundle's counts to the Beam counters.
func (fn *parseFn) FinishBundle(ctx context.Context, _ func(schemas.Row), _ func(Record), _ func(schemas.Row)) {
	fn.totals.report(ctx)
	fn.totals.reset()
}

// RejectedRow makes a row of the table rejected_entries.
func RejectedRow(m *logentry.Message, stage, reason, detail string) schemas.Row {
	place := m.Place()
	b := make([]byte, 0, len(m.Data)+len(detail)+len(place)+64)
	b = appendInt(b, 1, m.ReceiveTime)
	b, _ = appendString(b, 2, reason)
	b, _ = appendString(b, 3, detail)
	b, _ = appendString(b, 4, stage)
	b = protowire.AppendTag(b, 5, protowire.BytesType)
	b = protowire.AppendBytes(b, m.Data)
	b, _ = appendString(b, 6, place)
	return schemas.Row{Data: b, Origin: m.Data, ReceiveTime: m.ReceiveTime, Source: place}
}
