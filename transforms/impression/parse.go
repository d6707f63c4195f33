package impression

import (
	"context"
	"encoding/binary"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/ledger"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/useragent"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Records]())
	beam.RegisterType(reflect.TypeFor[schemas.Row]())
	beam.RegisterType(reflect.TypeFor[schemas.Rows]())
	beam.RegisterType(reflect.TypeFor[logentry.Message]())
	beam.RegisterType(reflect.TypeFor[logentry.Batch]())
	type (
		rows     = func(schemas.Rows)
		records  = func(Records)
		rejected = func(schemas.Row)
	)
	dofn.Register[parseFn](func(f func(logentry.Batch, rows, records, rejected, distinct.Emit), a []any) []any {
		f(a[0].(logentry.Batch), a[1].(rows), a[2].(records), a[3].(rejected), a[4].(distinct.Emit))
		return nil
	})
	dofn.RegisterMethod(func(f func(context.Context, rows, records, rejected, distinct.Emit), a []any) []any {
		f(a[0].(context.Context), a[1].(rows), a[2].(records), a[3].(rejected), a[4].(distinct.Emit))
		return nil
	})
	dofn.RegisterMethod(func(f func(distinct.Emit), a []any) []any {
		f(a[0].(distinct.Emit))
		return nil
	})
	dofn.RegisterMethod(func(f func(context.Context, distinct.Emit), a []any) []any {
		f(a[0].(context.Context), a[1].(distinct.Emit))
		return nil
	})
	register.Emitter1[schemas.Row]()
	register.Emitter1[schemas.Rows]()
	register.Emitter1[Records]()
}

// Parse turns a PCollection<logentry.Batch> into four collections:
//
//   - rows, PCollection<schemas.Rows> of pixelbeam.v1.Impression;
//   - records, PCollection<Records>, what windows need of the same impressions, or
//     nothing if the options say so; a DoFn that takes them must copy what it keeps,
//     for they are overwritten when it has returned;
//   - rejected, PCollection<schemas.Row> of pixelbeam.v1.RejectedEntry;
//   - deliveries, PCollection<KV<int64, []byte>>, what became of every entry, packed
//     for ledger.Books; empty unless Options.LedgerShards is set.
//
// It counts every entry once, in the Beam counters entries_read, impressions,
// rejected_REASON or ignored_REASON of the namespace pixelbeam. Rows
// may borrow from buffers that are never written again. The options must have
// been checked by NewConverter.
func Parse(s beam.Scope, entries beam.PCollection, opts Options) (rows, records, rejected, deliveries beam.PCollection) {
	return beam.ParDo4(s.Scope("impression.Parse"), &parseFn{Options: opts}, entries)
}

// RegisterPacker registers a DoFn that packs records for a shuffle, whose
// ProcessElement takes Records and an emitter of timestamp, lane and pack, and
// whose FinishBundle takes the emitter, behind a context or not.
func RegisterPacker[DoFn any]() {
	dofn.Register[DoFn](func(f func(Records, distinct.Emit), a []any) []any {
		f(a[0].(Records), a[1].(distinct.Emit))
		return nil
	})
}

// parseFn is the Beam adapter of Converter.
type parseFn struct {
	Options Options

	converter *Converter
	buffer    []byte
	records   []Record
	totals    Totals
	books     ledger.Packer
}

// Setup makes what cannot travel. All instances in a process share one cache of
// user agents.
func (fn *parseFn) Setup() error {
	fn.books.Shards = fn.Options.LedgerShards
	agents, err := useragent.SharedCacheFor(fn.Options.UserAgentRules)
	if err != nil {
		return err
	}
	fn.converter, err = NewConverter(fn.Options, agents)
	return err
}

// maxRecords is how many records are handed on together.
const maxRecords = 100

const (
	// Rows are cut from buffers of this size, so that a row costs no allocation.
	bufferSize = 512 << 10
	// A buffer with less than this left, or than twice the entry, is let go.
	bufferRest = 16 << 10
	// Before a row stand its tag and its length, of two bytes unless the row is
	// uncommonly short or long.
	headSize  = 3
	shortRow  = 1 << 7
	longRow   = 1 << 14
	rowsField = 1<<3 | byte(protowire.BytesType) // ProtoRows.serialized_rows
)

// ProcessElement emits what becomes of a batch of entries.
func (fn *parseFn) ProcessElement(b logentry.Batch, rows func(schemas.Rows), records func(Records), rejected func(schemas.Row), delivery distinct.Emit) {
	out := schemas.Rows{Rows: make([]schemas.Row, 0, len(b.Messages))}
	start := len(fn.buffer) // of the rows that are not yet emitted
	flush := func() {
		if len(out.Rows) > 0 {
			out.Wire = fn.buffer[start:len(fn.buffer):len(fn.buffer)]
			rows(out)
			out = schemas.Rows{Rows: out.Rows[len(out.Rows):]}
		}
		start = len(fn.buffer)
	}
	var rec Record
	recs := fn.records[:0]
	for i := range b.Messages {
		m := &b.Messages[i]
		if need := max(bufferRest, 2*len(m.Data)); cap(fn.buffer)-len(fn.buffer) < need {
			flush()
			fn.buffer, start = make([]byte, 0, max(bufferSize, need)), 0
		}
		at := len(fn.buffer) + headSize
		data, verdict := fn.converter.Convert(m, fn.buffer[at:at], &rec)
		fn.totals.count(verdict)
		switch verdict.Kind {
		case Impression:
			row := schemas.Row{Origin: m.Data, ReceiveTime: m.ReceiveTime, Source: m.Origin}
			inPlace := at+len(data) <= cap(fn.buffer)
			if inPlace && len(data) >= shortRow && len(data) < longRow {
				fn.buffer = fn.buffer[:at+len(data)]
				fn.buffer[at-headSize] = rowsField
				binary.LittleEndian.PutUint16(fn.buffer[at-headSize+1:], uint16(len(data)&0x7f|0x80|len(data)>>7<<8))
				row.Data = data[:len(data):len(data)]
				out.Rows = append(out.Rows, row)
			} else {
				// A row that does not fit goes alone, as a copy: the record borrows
				// from where it was made.
				flush()
				wire := protowire.AppendBytes([]byte{rowsField}, data)
				row.Data = wire[len(wire)-len(data):]
				rows(schemas.Rows{Wire: wire, Rows: []schemas.Row{row}})
				if inPlace {
					fn.buffer = fn.buffer[:at+len(data)]
				}
				start = len(fn.buffer)
			}
			fn.books.Impression(m, rec.ID(), uint64(rec.IDHigh), rec.EventTime, delivery)
			if !fn.Options.OmitRecords {
				if recs = append(recs, rec); len(recs) == maxRecords {
					records(Records{recs})
					recs = recs[:0]
				}
			}
		case Rejected:
			rejected(RejectedRow(m, "parse", string(verdict.Reason), verdict.Detail))
			fn.books.Rejected(m, verdict.Reason, delivery)
		case Ignored:
			fn.books.Ignored(m, verdict.Reason, delivery)
		}
	}
	flush()
	if len(recs) > 0 {
		records(Records{recs})
	}
	fn.records = recs[:0]
	clear(recs[:cap(recs)]) // of what they borrow
}

// FinishBundle adds the bundle's counts to the Beam counters.
func (fn *parseFn) FinishBundle(ctx context.Context, _ func(schemas.Rows), _ func(Records), _ func(schemas.Row), delivery distinct.Emit) {
	fn.books.Flush(delivery)
	fn.totals.report(ctx)
	fn.totals.reset()
}

// RejectedRow makes a row of the table rejected_entries.
func RejectedRow(m *logentry.Message, stage, reason, detail string) schemas.Row {
	place := m.Place()
	b := make([]byte, 0, len(m.Data)+len(detail)+len(place)+64)
	b = appendInt(b, 1, m.ReceiveTime)
	b = appendString(b, 2, reason)
	b = appendString(b, 3, detail)
	b = appendString(b, 4, stage)
	b = protowire.AppendTag(b, 5, protowire.BytesType)
	b = protowire.AppendBytes(b, m.Data)
	b = appendString(b, 6, place)
	return schemas.Row{Data: b, Origin: m.Data, ReceiveTime: m.ReceiveTime, Source: place}
}
