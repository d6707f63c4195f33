package sink

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/schemas"
	"pixelbeam/transforms/dofn"
)

var rowsType = reflect.TypeFor[schemas.Rows]()

func init() {
	dofn.Register[bigQueryFn](callRow)
	dofn.Register[bigQueryRowsFn](func(f func(context.Context, schemas.Rows, func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(schemas.Rows), a[2].(func(schemas.Row)))}
	})
	beam.RegisterType(rowsType)
}

// maxRequestBytes bounds the rows of one AppendRows request, framing included.
// The service takes 10 MB a request; the writer schema and gRPC add some
// kilobytes to the rows, and 9 MB is what we promise to stay under.
const maxRequestBytes = 8_900_000

// BigQueryConfig says where and how rows are written to BigQuery.
type BigQueryConfig struct {
	// Project, Dataset and Table name the destination; required. Table is one of
	// schemas.Tables, which also gives the message of the rows.
	Project, Dataset, Table string
	// Endpoint is the Storage Write API's gRPC endpoint: empty for the public
	// one; http://HOST:PORT for plaintext without credentials, which HOST:PORT
	// also means on loopback; else TLS and default credentials.
	Endpoint string
	// RESTEndpoint is the URL of another BigQuery REST API than Google's, asked
	// without credentials; optional. Only tables of groups are made there.
	RESTEndpoint string `json:",omitempty"`
	// MaxBatchBytes is how many bytes of rows are collected for one request, 1 to
	// 8,900,000; default 4 MiB. Larger batches cost fewer requests; smaller ones
	// overlap better with the making of rows. A row above it goes alone.
	MaxBatchBytes int
	// FlushMillis is how many milliseconds a row may wait for its batch while
	// others come in; default 1,000. Whatever waits is sent at the end of the
	// bundle.
	FlushMillis int
	// MaxInFlight is how many requests of one bundle may await acknowledgement;
	// default 4. It bounds memory: MaxInFlight x MaxBatchBytes a bundle.
	MaxInFlight int
	// AckTimeout is how long to wait for one acknowledgement before the stream
	// counts as broken; default 2 minutes.
	AckTimeout time.Duration
	// RetryTimeout is how long a request is retried from its first failure
	// before the bundle fails; default 5 minutes.
	RetryTimeout time.Duration
}

func (c BigQueryConfig) withDefaults() BigQueryConfig {
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = 4 << 20
	}
	if c.FlushMillis == 0 {
		c.FlushMillis = 1000
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 4
	}
	if c.AckTimeout == 0 {
		c.AckTimeout = 2 * time.Minute
	}
	if c.RetryTimeout == 0 {
		c.RetryTimeout = 5 * time.Minute
	}
	return c
}

// key identifies the table, or that of a group.
func (c BigQueryConfig) key(group string) tableKey {
	k := tableKey{Endpoint: c.Endpoint, Project: c.Project, Dataset: c.Dataset, Table: c.Table}
	if group != "" {
		k.RESTEndpoint, k.Group = c.RESTEndpoint, group
	}
	return k
}

// acquire returns what the process shares of the table, to be released once.
func (c BigQueryConfig) acquire() (*sharedTable, error) { return acquireTable(c.key("")) }

// Validate returns all that is wrong with the configuration, joined.
func (c BigQueryConfig) Validate() error {
	var errs []error
	for _, field := range []struct{ name, value string }{
		{"Project", c.Project}, {"Dataset", c.Dataset}, {"Table", c.Table},
	} {
		if field.value == "" {
			errs = append(errs, fmt.Errorf("bigquery sink: %s is required", field.name))
		}
	}
	if c.Table != "" {
		if _, err := tableDescriptor(c.Table); err != nil {
			errs = append(errs, fmt.Errorf("bigquery sink: %w", err))
		}
	}
	if _, err := parseEndpoint(c.Endpoint); err != nil {
		errs = append(errs, fmt.Errorf("bigquery sink: %w", err))
	}
	if c.MaxBatchBytes < 0 || c.MaxBatchBytes > maxRequestBytes {
		errs = append(errs, fmt.Errorf("bigquery sink: MaxBatchBytes %d: want 1 to %d, or 0 for the default", c.MaxBatchBytes, maxRequestBytes))
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"FlushMillis", int64(c.FlushMillis)}, {"MaxInFlight", int64(c.MaxInFlight)},
		{"AckTimeout", int64(c.AckTimeout)}, {"RetryTimeout", int64(c.RetryTimeout)},
	} {
		if field.value < 0 {
			errs = append(errs, fmt.Errorf("bigquery sink: %s is negative", field.name))
		}
	}
	return errors.Join(errs...)
}

// BigQuery writes a PCollection<schemas.Row>, or a PCollection<schemas.Rows>, of
// wire-format messages of cfg.Table to that table, by the default stream of the Storage Write API: at
// least once, visible on acknowledgement. It returns the rows that the service
// refused, as PCollection<schemas.Row> of RejectedEntry messages: reason
// row_refused or row_too_large, stage bigquery, the service's message in detail,
// and as payload the row's Origin, or its Data where it has none.
//
// BigQuery panics if cfg does not pass Validate.
//
// Sources: https://cloud.google.com/bigquery/docs/write-api and
// https://cloud.google.com/bigquery/quotas#write-api-limits.
func BigQuery(s beam.Scope, rows beam.PCollection, cfg BigQueryConfig) (refused beam.PCollection) {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	s = s.Scope("BigQuery")
	if rows.Type().Type() == rowsType {
		return beam.ParDo(s, &bigQueryRowsFn{Config: cfg.withDefaults()}, rows)
	}
	return beam.ParDo(s, &bigQueryFn{Config: cfg.withDefaults()}, rows)
}

// bigQueryFn collects the rows of a bundle into requests and settles them all
// before the bundle ends.
type bigQueryFn struct {
	Config BigQueryConfig

	table    *sharedTable // made in Setup, shared by the process
	appender *appender    // of the bundle
}

func (f *bigQueryFn) Setup() (err error) {
	f.table, err = f.Config.acquire()
	return err
}

func (f *bigQueryFn) Teardown() {
	f.table.release()
	f.table = nil
}

// StartBundle drops what a failed bundle may have left.
func (f *bigQueryFn) StartBundle(context.Context, func(schemas.Row)) error {
	f.appender = newAppender(f.table, f.Config)
	return nil
}

func (f *bigQueryFn) ProcessElement(ctx context.Context, row schemas.Row, emit func(schemas.Row)) error {
	return f.appender.add(ctx, row, emit)
}

func (f *bigQueryFn) FinishBundle(ctx context.Context, emit func(schemas.Row)) error {
	return f.appender.finish(ctx, emit)
}

// bigQueryRowsFn is bigQueryFn for rows that travel together. They are sent from
// where they lie.
type bigQueryRowsFn struct {
	Config BigQueryConfig

	table    *sharedTable
	appender *appender
}

func (f *bigQueryRowsFn) Setup() (err error) {
	f.table, err = f.Config.acquire()
	return err
}

func (f *bigQueryRowsFn) Teardown() {
	f.table.release()
	f.table = nil
}

func (f *bigQueryRowsFn) StartBundle(context.Context, func(schemas.Row)) error {
	f.appender = newAppender(f.table, f.Config)
	return nil
}

func (f *bigQueryRowsFn) ProcessElement(ctx context.Context, rows schemas.Rows, emit func(schemas.Row)) error {
	return f.appender.addAll(ctx, rows, emit)
}

func (f *bigQueryRowsFn) FinishBundle(ctx context.Context, emit func(schemas.Row)) error {
	return f.appender.finish(ctx, emit)
}
