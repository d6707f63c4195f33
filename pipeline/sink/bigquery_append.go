package sink

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"cloud.google.com/go/bigquery/storage/managedwriter"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pixelbeam/schemas"
)

// collateralTries is how often a request is tried whose stream broke with an
// error that would not go away by itself: the error may be that of another
// request on the shared stream.
const collateralTries = 3

// appender writes the rows of one bundle. Not safe for concurrent use.
type appender struct {
	table   *sharedTable
	cfg     BigQueryConfig
	metrics metrics

	// The batch being collected.
	rows   []schemas.Row
	bytes  int
	oldest time.Time // when its first row came

	flights []*flight // in the order sent
}

func newAppender(table *sharedTable, cfg BigQueryConfig) *appender {
	return &appender{table: table, cfg: cfg, metrics: tableMetrics[cfg.Table]}
}

// flight is one AppendRows request on its way.
type flight struct {
	rows  []schemas.Row
	bytes int

	// Of the latest try.
	conn   *connection
	result *managedwriter.AppendResult
	err    error // why it was not sent; nil if it was

	tries  int
	failed time.Time // of the first failure
}

// add takes a row, sending a batch when it is full or old.
func (a *appender) add(ctx context.Context, row schemas.Row, emit func(schemas.Row)) error {
	size := rowBytes(row)
	if size > maxRequestBytes {
		a.metrics.refused.Inc(ctx, 1)
		emit(refusal(row, ReasonRowTooLarge, StageBigQuery, fmt.Sprintf(
			"table %v: the row has %d bytes, the limit of a request is %d", a.table.key, size, maxRequestBytes)))
		return nil
	}
	if len(a.rows) > 0 && a.bytes+size > a.cfg.MaxBatchBytes {
		if err := a.flush(ctx, emit); err != nil {
			return err
		}
	}
	now := time.Now()
	if len(a.rows) == 0 {
		a.oldest = now
	}
	a.rows = append(a.rows, row)
	a.bytes += size
	if a.bytes >= a.cfg.MaxBatchBytes || now.Sub(a.oldest) >= time.Duration(a.cfg.FlushMillis)*time.Millisecond {
		return a.flush(ctx, emit)
	}
	return nil
}

// finish sends what is left and settles all requests.
func (a *appender) finish(ctx context.Context, emit func(schemas.Row)) error {
	if err := a.flush(ctx, emit); err != nil {
		return err
	}
	for len(a.flights) > 0 {
		if err := a.settleOldest(ctx, emit); err != nil {
			return err
		}
	}
	return nil
}

// flush sends the collected batch, first settling the oldest request if as many
// are in flight as may be.
func (a *appender) flush(ctx context.Context, emit func(schemas.Row)) error {
	if len(a.rows) == 0 {
		return nil
	}
	for len(a.flights) >= a.cfg.MaxInFlight {
		if err := a.settleOldest(ctx, emit); err != nil {
			return err
		}
	}
	f := &flight{rows: a.rows, bytes: a.bytes}
	a.rows, a.bytes = make([]schemas.Row, 0, len(f.rows)), 0
	a.send(ctx, f)
	a.flights = append(a.flights, f)
	return nil
}

// send puts a request on the wire. A failure to do so is kept for settle.
func (a *appender) send(ctx context.Context, f *flight) {
	f.tries++
	a.metrics.requests.Inc(ctx, 1)
	a.metrics.requestBytes.Update(ctx, int64(f.bytes))

	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	f.result = nil
	if f.conn, f.err = a.table.connect(ctx); f.err != nil {
		return
	}
	data := make([][]byte, len(f.rows))
	for i := range f.rows {
		data[i] = f.rows[i].Data
	}
	f.result, f.err = f.conn.AppendRows(ctx, data)
}

// answer awaits the service's response to the latest try. Without a response the
// error is the stream's, else the request's.
func (f *flight) answer(ctx context.Context, timeout time.Duration) (*storagepb.AppendRowsResponse, error) {
	if f.err != nil {
		return nil, f.err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return f.result.FullResponse(ctx)
}

func (a *appender) settleOldest(ctx context.Context, emit func(schemas.Row)) error {
	if err := a.settle(ctx, a.flights[0], emit); err != nil {
		return err
	}
	a.flights = slices.Delete(a.flights, 0, 1)
	return nil
}

// settle sees a request through: it returns nil once every row of it is stored
// or emitted as refused.
func (a *appender) settle(ctx context.Context, f *flight, emit func(schemas.Row)) error {
	for {
		response, err := f.answer(ctx, a.cfg.AckTimeout)
		if err == nil {
			a.metrics.written.Inc(ctx, int64(len(f.rows)))
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("bigquery table %v: %d rows unacknowledged: %w", a.table.key, len(f.rows), ctx.Err())
		}
		if bad := response.GetRowErrors(); len(bad) > 0 {
			// Nothing of a request with a bad row is stored.
			refused := a.refuse(ctx, f, bad, emit)
			if refused == 0 {
				return fmt.Errorf("bigquery table %v: row errors that name no row: %v: %w", a.table.key, bad, err)
			}
			if len(f.rows) == 0 {
				return nil
			}
			a.send(ctx, f)
			continue
		}
		if noClient := (*clientError)(nil); errors.As(err, &noClient) {
			return a.explain(err)
		}
		if response == nil {
			a.table.discard(f.conn)
		}
		collateral := response == nil && f.tries < collateralTries
		if !outside(err) && !collateral {
			return a.explain(err)
		}
		if f.failed.IsZero() {
			f.failed = time.Now()
		}
		if since := time.Since(f.failed); since >= a.cfg.RetryTimeout {
			return fmt.Errorf("bigquery table %v: gave up after %d tries in %v: %w", a.table.key, f.tries, since.Round(time.Millisecond), err)
		}
		log.Warnf(ctx, "bigquery table %v: try %d of %d rows failed, trying again: %v", a.table.key, f.tries, len(f.rows), err)
		a.metrics.retries.Inc(ctx, 1)
		if err := pause(ctx, f.tries); err != nil {
			return fmt.Errorf("bigquery table %v: %d rows unacknowledged: %w", a.table.key, len(f.rows), err)
		}
		a.send(ctx, f)
	}
}

// refuse emits the rows that the service lists as bad and leaves the others in
// the request; it returns how many it took out.
func (a *appender) refuse(ctx context.Context, f *flight, bad []*storagepb.RowError, emit func(schemas.Row)) int {
	why := make(map[int64]*storagepb.RowError, len(bad))
	for _, e := range bad {
		why[e.GetIndex()] = e
	}
	kept := make([]schemas.Row, 0, len(f.rows))
	f.bytes = 0
	for i, row := range f.rows {
		e, refused := why[int64(i)]
		if !refused {
			kept = append(kept, row)
			f.bytes += rowBytes(row)
			continue
		}
		emit(refusal(row, ReasonRowRefused, StageBigQuery,
			fmt.Sprintf("table %v: %s (%v)", a.table.key, e.GetMessage(), e.GetCode())))
	}
	refused := len(f.rows) - len(kept)
	a.metrics.refused.Inc(ctx, int64(refused))
	f.rows = kept
	return refused
}

// explain makes an error of the set-up say what to do.
func (a *appender) explain(err error) error {
	if noClient := (*clientError)(nil); errors.As(err, &noClient) {
		return fmt.Errorf("bigquery table %v: %w; sign in (gcloud auth application-default login) or run as a service account", a.table.key, err)
	}
	s := status.Convert(err)
	remedy := "the service does not accept the request as such"
	switch s.Code() {
	case codes.NotFound:
		remedy = "create the dataset and table (terraform apply), or correct project, dataset and table"
	case codes.PermissionDenied, codes.Unauthenticated:
		remedy = "the job's account needs roles/bigquery.dataEditor on the table"
	case codes.InvalidArgument, codes.FailedPrecondition:
		remedy = "compare the table's columns with the schemas of this version (terraform plan)"
	}
	for _, detail := range s.Details() {
		if e, ok := detail.(*storagepb.StorageError); ok && e.GetCode() == storagepb.StorageError_SCHEMA_MISMATCH_EXTRA_FIELDS {
			remedy = "the table lacks a column that the rows have: add it (terraform apply), then start again"
		}
	}
	return fmt.Errorf("bigquery table %v: %v: %s; %s", a.table.key, s.Code(), s.Message(), remedy)
}

// rowBytes is what a row adds to a request: a tag, its length, its bytes.
func rowBytes(row schemas.Row) int {
	n := len(row.Data)
	return 1 + (bits.Len(uint(n)|1)+6)/7 + n
}
