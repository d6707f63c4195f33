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

	tables map[string]*sharedTable // by group, as they are needed
	groups map[string]*groupBatch  // of the bundle
	bytes  int                     // of rows since all was acknowledged

	of      []*groupBatch // of each row of an element
	touched []*groupBatch // by an element
}

// groupBatch is what a bundle has for the table of one group.
type groupBatch struct {
	*appender
	part        schemas.Rows // of an element
	rows, bytes int          // of part
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
	f.groups, f.bytes = map[string]*groupBatch{}, 0
	return nil
}

// ProcessElement sorts rows in two passes, so that what holds those of a group is
// made in its size. Rows that are all of one group are sent from where they lie.
func (f *bigQueryGroupsFn) ProcessElement(ctx context.Context, rows schemas.Rows, emit func(schemas.Row)) error {
	f.of, f.touched = f.of[:0], f.touched[:0]
	for _, row := range rows.Rows {
		g, err := f.group(f.Groups.Group(advertiser(row.Data)))
		if err != nil {
			return err
		}
		if g.rows == 0 {
			f.touched = append(f.touched, g)
		}
		g.rows++
		g.bytes += rowBytes(row)
		f.of = append(f.of, g)
	}
	if len(f.touched) == 1 {
		f.touched[0].part = rows
	} else {
		for _, g := range f.touched {
			g.part = schemas.Rows{Wire: make([]byte, 0, g.bytes), Rows: make([]schemas.Row, 0, g.rows)}
		}
		for i, row := range rows.Rows {
			appendRow(&f.of[i].part, row)
		}
	}
	for _, g := range f.touched {
		part := g.part
		g.part, g.rows, g.bytes = schemas.Rows{}, 0, 0
		if err := g.addAll(ctx, part, emit); err != nil {
			return err
		}
	}
	if f.bytes += len(rows.Wire); f.bytes >= maxGroupedBytes {
		return f.settle(ctx, emit)
	}
	return nil
}

func (f *bigQueryGroupsFn) FinishBundle(ctx context.Context, emit func(schemas.Row)) error {
	return f.settle(ctx, emit)
}

// group returns the bundle's rows of a group.
func (f *bigQueryGroupsFn) group(name string) (*groupBatch, error) {
	if g := f.groups[name]; g != nil {
		return g, nil
	}
	table := f.tables[name]
	if table == nil {
		var err error
		if table, err = acquireTable(f.Config.key(name)); err != nil {
			return nil, err
		}
		f.tables[name] = table
	}
	g := &groupBatch{appender: newAppender(table, f.Config)}
	f.groups[name] = g
	return g, nil
}

// settle returns when all rows are acknowledged. All tables get theirs before it
// waits for the first.
func (f *bigQueryGroupsFn) settle(ctx context.Context, emit func(schemas.Row)) error {
	f.bytes = 0
	names := slices.Sorted(maps.Keys(f.groups))
	for _, name := range names {
		if err := f.groups[name].flush(ctx, emit); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := f.groups[name].finish(ctx, emit); err != nil {
			return err
		}
	}
	return nil
}
