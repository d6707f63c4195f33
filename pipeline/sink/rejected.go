package sink

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/dofn"
)

func init() {
	dofn.Register[fitFn](callRow)
	dofn.Register[lastResortFn](func(f func(context.Context, schemas.Row, func(schemas.Row)), a []any) []any {
		f(a[0].(context.Context), a[1].(schemas.Row), a[2].(func(schemas.Row)))
		return nil
	})
}

const rejectedTable = "rejected_entries"

// Rejected writes a PCollection<schemas.Row> of RejectedEntry messages to the
// table rejected_entries. cfg is as for BigQuery; its Table is not looked at. It
// returns an empty PCollection<schemas.Row>, for Terminate.
//
// Here the chain must end, for every entry and without a loop:
//
//  1. An entry above what one request holds is split over several rows, each with
//     a part of the payload in order and "part 1 of 2" at the end of its detail.
//  2. A row that the service refuses (say a detail that is no UTF-8) is written
//     once more in a form that leaves nothing to refuse: the original payload,
//     with reason row_refused and the service's message.
//  3. A row that is refused even so is logged as an error, with the first 64 KiB
//     of its payload in base64, and counted in rejected_entries_unwritable. It is
//     not made an error of the bundle, which would be retried for ever and stop
//     the pipeline: alert on that counter.
//
// Rejected panics if cfg does not pass Validate.
func Rejected(s beam.Scope, rows beam.PCollection, cfg BigQueryConfig) beam.PCollection {
	s = s.Scope("Rejected")
	cfg.Table = rejectedTable
	fitting := beam.ParDo(s, &fitFn{}, rows)
	refused := BigQuery(s, fitting, cfg)
	again := BigQuery(s, refused, cfg)
	return beam.ParDo(s, &lastResortFn{}, again)
}

// partBytes is the most payload that one row carries, and maxDetail the most
// detail of a row that was split.
const (
	partBytes = 8 << 20
	maxDetail = 16 << 10
)

// fitFn splits entries that are too large, and makes the payload the row's
// origin, so that a refused row is reported with the entry itself.
type fitFn struct{}

func (f *fitFn) ProcessElement(ctx context.Context, row schemas.Row, emit func(schemas.Row)) error {
	var entry pixelbeamv1.RejectedEntry
	if err := proto.Unmarshal(row.Data, &entry); err != nil {
		// Not an entry at all: what it is gets kept as a payload.
		row.Origin = nil
		emit(refusal(row, ReasonRowRefused, StageBigQuery, fmt.Sprintf("table %s: the row is no RejectedEntry: %v", rejectedTable, err)))
		return nil
	}
	row.Origin = entry.GetPayload()
	if rowBytes(row) <= maxRequestBytes && len(row.Origin) <= partBytes {
		emit(row)
		return nil
	}
	rejectedSplit.Inc(ctx, 1)
	payload, detail := entry.GetPayload(), entry.GetDetail()
	detail = detail[:min(len(detail), maxDetail)]
	parts := max(1, (len(payload)+partBytes-1)/partBytes)
	for i := range parts {
		entry.Payload = payload[i*partBytes : min((i+1)*partBytes, len(payload))]
		entry.Detail = proto.String(fmt.Sprintf("%s; part %d of %d", detail, i+1, parts))
		data, err := proto.Marshal(&entry)
		if err != nil {
			return fmt.Errorf("rejected entry: %w", err)
		}
		emit(schemas.Row{Data: data, Origin: entry.Payload, ReceiveTime: row.ReceiveTime, Source: row.Source})
	}
	return nil
}

// logBytes is how much of a payload the log gets: base64 of it stays below what
// Cloud Logging takes in one entry.
const logBytes = 64 << 10

// lastResortFn logs what could not be written anywhere.
type lastResortFn struct{}

func (f *lastResortFn) ProcessElement(ctx context.Context, row schemas.Row, _ func(schemas.Row)) {
	rejectedLost.Inc(ctx, 1)
	var entry pixelbeamv1.RejectedEntry
	if err := proto.Unmarshal(row.Data, &entry); err != nil {
		entry.Payload = row.Data
	}
	payload := entry.GetPayload()
	log.Errorf(ctx, "rejected entry from %q could not be written: %s; payload of %d bytes, in base64 up to %d: %s",
		entry.GetSource(), entry.GetDetail(), len(payload), logBytes,
		base64.StdEncoding.EncodeToString(payload[:min(len(payload), logBytes)]))
}
