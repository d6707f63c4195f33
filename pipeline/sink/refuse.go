package sink

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/dofn"
)

// Reasons in the column rejected_entries.reason that sinks give.
const (
	// ReasonRowRefused is a row whose content the service does not accept.
	ReasonRowRefused = "row_refused"
	// ReasonRowTooLarge is a row above a size limit of the service.
	ReasonRowTooLarge = "row_too_large"
)

// Stages in the column rejected_entries.stage that sinks give.
const (
	StageBigQuery = "bigquery"
	StageBigtable = "bigtable"
)

// callRow calls a ProcessElement that takes rows and emits refused ones.
func callRow(f func(context.Context, schemas.Row, func(schemas.Row)) error, a []any) []any {
	return []any{f(a[0].(context.Context), a[1].(schemas.Row), a[2].(func(schemas.Row)))}
}

func init() {
	// StartBundle and FinishBundle of the DoFns that emit refused rows.
	dofn.RegisterMethod(func(f func(context.Context, func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(func(schemas.Row)))}
	})
	dofn.RegisterMethod(func(f func(context.Context, func(schemas.Row)), a []any) []any {
		f(a[0].(context.Context), a[1].(func(schemas.Row)))
		return nil
	})
	beam.RegisterType(reflect.TypeFor[schemas.Row]())
	register.Emitter1[schemas.Row]()
}

// lastTimestamp is the end of the range of BigQuery timestamps, 9999-12-31, in
// microseconds since the Unix epoch.
const lastTimestamp = 253402300799999999

// refusal turns a row into the RejectedEntry that reports it: its origin, or the
// row itself where it has none.
func refusal(row schemas.Row, reason, stage, detail string) schemas.Row {
	payload := row.Origin
	if len(payload) == 0 {
		payload = row.Data
	}
	received := row.ReceiveTime
	if received <= 0 || received > lastTimestamp {
		// Rows made from many entries have no time of receipt.
		received = time.Now().UnixMicro()
	}
	entry := &pixelbeamv1.RejectedEntry{
		ReceiveTime: &received,
		Reason:      &reason,
		Detail:      proto.String(strings.ToValidUTF8(detail, "\uFFFD")),
		Stage:       &stage,
		Payload:     payload,
	}
	if row.Source != "" {
		entry.Source = proto.String(strings.ToValidUTF8(row.Source, "\uFFFD"))
	}
	data, err := proto.Marshal(entry)
	if err != nil {
		// Only a field above 2 GiB or invalid UTF-8 could do it.
		panic(fmt.Sprintf("sink: rejected entry: %v", err))
	}
	return schemas.Row{Data: data, Origin: payload, ReceiveTime: received, Source: row.Source}
}
