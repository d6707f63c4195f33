package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/schemas"
	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/tablegroup"
)

func init() {
	dofn.Register[bigQueryGroupsFn](func(f func(context.Context, schemas.Rows, func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(schemas.Rows), a[2].(func(schemas.Row)))}
	})
}

// BigQueryGroups writes a PCollection<schemas.Rows> of impressions as BigQuery does,
// with the same guarantees, but the rows of an advertiser that groups names go to
// the table of its group (schemas.GroupTable). All others, those without an
// advertiser included, go to the table impressions.
//
// A worker makes the table of a group when it has the first row for it, as the table
// impressions then is: columns, partitioning and its expiration, clustering, labels
// and encryption key. Many may do so at once. Where one lacks columns which the rows
// have and the table impressions has, all tables of groups get them.
//
// BigQueryGroups panics if cfg does not pass Validate or its table is not
// impressions.
func BigQueryGroups(s beam.Scope, rows beam.PCollection, cfg BigQueryConfig, groups tablegroup.Map) (refused beam.PCollection) {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	if cfg.Table != impressionsTable {
		panic(fmt.Sprintf("bigquery sink: rows of %s have no groups", cfg.Table))
	}
	return beam.ParDo(s.Scope("BigQueryGroups"), &bigQueryGroupsFn{Config: cfg.withDefaults(), Groups: groups}, rows)
}

const impressionsTable = "impressions"

// maxGroupedBytes bounds the rows of a bundle that wait for their batches or for an
// acknowledgement, over all tables.
const maxGroupedBytes = 32 << 20

// bigQueryGroupsFn is bigQueryRowsFn for the tables of groups.
type bigQueryGroupsFn struct {
	Config BigQueryConfig
	Groups tablegroup.Map

	tables    map[string]*sharedTable // by group, as they are needed
	appenders map[string]*appender    // of the bundle
	bytes     int                     // of rows since all was acknowledged
}

func (f *bigQueryGroupsFn) Setup() error {
	f.tables = map[string]*sharedTable{}
	return nil
}

func (f *bigQueryGroupsFn) Teardown() {
	for _, table := range f.tables {
		table.release()
	}
	f.tables = nil
}

func (f *bigQueryGroupsFn) StartBundle(context.Context, func(schemas.Row)) error {
	f.appenders, f.bytes = map[string]*appender{}, 0
	return nil
}

func (f *bigQueryGroupsFn) ProcessElement(ctx context.Context, rows schemas.Rows, emit func(schemas.Row)) error {
	for _, row := range rows.Rows {
		a, err := f.appender(f.Groups.Group(advertiser(row.Data)))
		if err != nil {
			return err
		}
		if err := a.add(ctx, row, emit); err != nil {
			return err
		}
		if f.bytes += len(row.Data); f.bytes >= maxGroupedBytes {
			if err := f.settle(ctx, emit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *bigQueryGroupsFn) FinishBundle(ctx context.Context, emit func(schemas.Row)) error {
	return f.settle(ctx, emit)
}

// appender returns the bundle's appender of a group.
func (f *bigQueryGroupsFn) appender(group string) (*appender, error) {
	if a := f.appenders[group]; a != nil {
		return a, nil
	}
	table := f.tables[group]
	if table == nil {
		var err error
		if table, err = acquireTable(f.Config.key(group)); err != nil {
			return nil, err
		}
		f.tables[group] = table
	}
	a := newAppender(table, f.Config)
	f.appenders[group] = a
	return a, nil
}

// settle returns when all rows are acknowledged. All tables get theirs before it
// waits for the first.
func (f *bigQueryGroupsFn) settle(ctx context.Context, emit func(schemas.Row)) error {
	f.bytes = 0
	groups := slices.Sorted(maps.Keys(f.appenders))
	for _, group := range groups {
		if err := f.appenders[group].flush(ctx, emit); err != nil {
			return err
		}
	}
	for _, group := range groups {
		if err := f.appenders[group].finish(ctx, emit); err != nil {
			return err
		}
	}
	return nil
}
