package sink

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

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

	batch  batch     // being collected
	oldest time.Time // when its first row came

	flights []*flight // in the order sent
}

func newAppender(table *sharedTable, cfg BigQueryConfig) *appender {
	return &appender{table: table, cfg: cfg, metrics: tableMetrics[cfg.Table]}
}

// batch is rows for one request.
type batch struct {
	parts []schemas.Rows
	rows  int  // of all parts
	bytes int  // of their Wire
	own   bool // the last part is ours to append to
}

// add appends a row as a copy.
func (b *batch) add(row schemas.Row) {
	if !b.own {
		b.parts = append(b.parts, schemas.Rows{})
		b.own = true
	}
	appendRow(&b.parts[len(b.parts)-1], row)
	b.rows++
	b.bytes += rowBytes(row)
}

// appendRow appends a row, framed, as a copy.
func appendRow(rows *schemas.Rows, row schemas.Row) {
	rows.Wire = protowire.AppendTag(rows.Wire, 1, protowire.BytesType) // ProtoRows.serialized_rows
	rows.Wire = protowire.AppendBytes(rows.Wire, row.Data)
	rows.Rows = append(rows.Rows, row)
}

// addAll appends rows as they are.
func (b *batch) addAll(rows schemas.Rows) {
	b.parts = append(b.parts, rows)
	b.own = false
	b.rows += len(rows.Rows)
	b.bytes += len(rows.Wire)
}

// flight is one AppendRows request on its way.
type flight struct {
	batch

	// Of the latest try.
	conn *connection
	call *call
	err  error // why it was not sent; nil if it was

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
	if err := a.makeRoom(ctx, size, emit); err != nil {
		return err
	}
	a.batch.add(row)
	return a.flushIfDue(ctx, emit)
}

// addAll takes rows that travel together.
func (a *appender) addAll(ctx context.Context, rows schemas.Rows, emit func(schemas.Row)) error {
	size := len(rows.Wire)
	if size > a.cfg.MaxBatchBytes && len(rows.Rows) > 1 || size > maxRequestBytes {
		for _, row := range rows.Rows {
			if err := a.add(ctx, row, emit); err != nil {
				return err
			}
		}
		return nil
	}
	if err := a.makeRoom(ctx, size, emit); err != nil {
		return err
	}
	a.batch.addAll(rows)
	return a.flushIfDue(ctx, emit)
}

// makeRoom sends the batch if it cannot take that many bytes more.
func (a *appender) makeRoom(ctx context.Context, size int, emit func(schemas.Row)) error {
	if a.batch.rows > 0 && a.batch.bytes+size > a.cfg.MaxBatchBytes {
		if err := a.flush(ctx, emit); err != nil {
			return err
		}
	}
	return nil
}

// flushIfDue sends the batch if it is full or old; it is called after each
// addition to it.
func (a *appender) flushIfDue(ctx context.Context, emit func(schemas.Row)) error {
	now := time.Now()
	if a.oldest.IsZero() {
		a.oldest = now
	}
	if a.batch.bytes >= a.cfg.MaxBatchBytes || now.Sub(a.oldest) >= time.Duration(a.cfg.FlushMillis)*time.Millisecond {
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
	if a.batch.rows == 0 {
		return nil
	}
	for len(a.flights) >= a.cfg.MaxInFlight {
		if err := a.settleOldest(ctx, emit); err != nil {
			return err
		}
	}
	f := &flight{batch: a.batch}
	a.batch, a.oldest = batch{}, time.Time{}
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
	f.call = nil
	if f.conn, f.err = a.table.connect(ctx); f.err != nil {
		return
	}
	f.call, f.err = f.conn.append(ctx, f.parts)
}

// answer awaits the service's response to the latest try. Without a response the
// error is the stream's, else the request's.
func (f *flight) answer(ctx context.Context, timeout time.Duration) (*storagepb.AppendRowsResponse, error) {
	if f.err != nil {
		return nil, f.err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-f.call.done:
		return f.call.response, f.call.err
	case <-timer.C:
		return nil, context.DeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
			a.metrics.written.Inc(ctx, int64(f.rows))
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("bigquery table %v: %d rows unacknowledged: %w", a.table.key, f.rows, ctx.Err())
		}
		if bad := response.GetRowErrors(); len(bad) > 0 {
			// Nothing of a request with a bad row is stored.
			refused := a.refuse(ctx, f, bad, emit)
			if refused == 0 {
				return fmt.Errorf("bigquery table %v: row errors that name no row: %v: %w", a.table.key, bad, err)
			}
			if f.rows == 0 {
				return nil
			}
			a.send(ctx, f)
			continue
		}
		if noClient := (*clientError)(nil); errors.As(err, &noClient) {
			return a.explain(err)
		}
		if noTable := (*tableError)(nil); errors.As(err, &noTable) {
			return noTable
		}
		// A new table is there before the Storage Write API knows it. Opening the
		// stream anew makes one that was dropped.
		unknown := a.table.key.Group != "" && status.Code(err) == codes.NotFound
		if response == nil || unknown {
			a.table.discard(f.conn)
		}
		collateral := response == nil && f.tries < collateralTries
		if !outside(err) && !collateral && !unknown {
			return a.explain(err)
		}
		if f.failed.IsZero() {
			f.failed = time.Now()
		}
		if since := time.Since(f.failed); since >= a.cfg.RetryTimeout {
			return fmt.Errorf("bigquery table %v: gave up after %d tries in %v: %w", a.table.key, f.tries, since.Round(time.Millisecond), err)
		}
		log.Warnf(ctx, "bigquery table %v: try %d of %d rows failed, trying again: %v", a.table.key, f.tries, f.rows, err)
		a.metrics.retries.Inc(ctx, 1)
		if err := pause(ctx, f.tries); err != nil {
			return fmt.Errorf("bigquery table %v: %d rows unacknowledged: %w", a.table.key, f.rows, err)
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
	var kept batch
	i := int64(0)
	for _, part := range f.parts {
		for _, row := range part.Rows {
			if e, refused := why[i]; refused {
				emit(refusal(row, ReasonRowRefused, StageBigQuery,
					fmt.Sprintf("table %v: %s (%v)", a.table.key, e.GetMessage(), e.GetCode())))
			} else {
				kept.add(row)
			}
			i++
		}
	}
	refused := f.rows - kept.rows
	a.metrics.refused.Inc(ctx, int64(refused))
	f.batch = kept
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
