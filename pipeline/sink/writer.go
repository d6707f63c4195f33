package sink

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// A Writer writes rows outside a pipeline, with the code and the guarantees of the
// sink in one. It is not safe for concurrent use.
type Writer struct {
	fn interface {
		ProcessElement(context.Context, schemas.Row, func(schemas.Row)) error
		FinishBundle(context.Context, func(schemas.Row)) error
		Teardown()
	}
	refused []error
}

// NewRowWriter returns a writer of rows of a BigQuery table; see BigQuery.
func NewRowWriter(cfg BigQueryConfig) (*Writer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	fn := &bigQueryFn{Config: cfg.withDefaults()}
	if err := fn.Setup(); err != nil {
		return nil, err
	}
	return &Writer{fn: fn}, fn.StartBundle(context.Background(), nil)
}

// NewProfileWriter returns a writer of ProfileUpdates; see Profiles.
func NewProfileWriter(cfg BigtableConfig) (*Writer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	fn := &profilesFn{Config: cfg.withDefaults()}
	if err := fn.Setup(); err != nil {
		return nil, err
	}
	fn.StartBundle(context.Background(), nil)
	return &Writer{fn: fn}, nil
}

// Write writes a row, at the latest when Flush returns.
func (w *Writer) Write(ctx context.Context, row schemas.Row) error {
	return w.fn.ProcessElement(ctx, row, w.refuse)
}

// Flush returns when all rows are stored. The error names those that the service
// refused.
func (w *Writer) Flush(ctx context.Context) error {
	err := w.fn.FinishBundle(ctx, w.refuse)
	err = errors.Join(append([]error{err}, w.refused...)...)
	w.refused = nil
	return err
}

// Close lets go of the service's client.
func (w *Writer) Close() { w.fn.Teardown() }

// maxRefused bounds how many refused rows an error names.
const maxRefused = 10

func (w *Writer) refuse(row schemas.Row) {
	if len(w.refused) == maxRefused {
		return
	}
	var entry pixelbeamv1.RejectedEntry
	if err := proto.Unmarshal(row.Data, &entry); err != nil {
		w.refused = append(w.refused, err)
		return
	}
	w.refused = append(w.refused, errors.New(entry.GetReason()+": "+entry.GetDetail()))
}
