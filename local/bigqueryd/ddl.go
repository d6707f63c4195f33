package bigqueryd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"pixelbeam/local/bigqueryd/googlesql"
	"pixelbeam/schemas"
)

// tableOfSchema makes the entry of a table of ours.
func tableOfSchema(dataset string, table schemas.Table) (*tableEntry, error) {
	fields, err := fieldsOfColumns(table.Columns)
	if err != nil {
		return nil, fmt.Errorf("%w: table %s: %w", errInvalid, table.Name, err)
	}
	t := &tableEntry{Dataset: dataset, ID: table.Name, fields: fields, Description: table.Description}
	if table.Partition.Type != "" {
		t.Partition = &bq.TimePartitioning{Type: table.Partition.Type, Field: table.Partition.Field}
	}
	if len(table.Clustering) > 0 {
		t.Clustering = &bq.Clustering{Fields: table.Clustering}
	}
	return t, nil
}

// createDataset makes a dataset, or returns errDuplicate.
func (s *Server) createDataset(ctx context.Context, d *datasetEntry) error {
	if err := checkDatasetID(d.ID); err != nil {
		return err
	}
	d.Created = time.Now().UnixMilli()
	return s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		if _, err := s.catalog.dataset(d.ID); err == nil {
			return fmt.Errorf("%w: Dataset %s:%s", errDuplicate, s.project, d.ID)
		}
		if err := c.exec(ctx, "CREATE SCHEMA "+googlesql.Name(d.ID)); err != nil {
			return err
		}
		return d.save(ctx, c)
	}, func() { s.catalog.putDataset(d) })
}

// dropDataset removes a dataset, which must be empty unless all is set.
func (s *Server) dropDataset(ctx context.Context, id string, all bool) error {
	var tables []*tableEntry
	return s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		if _, err := s.catalog.dataset(id); err != nil {
			return err
		}
		tables = s.catalog.listTables(id)
		if len(tables) > 0 && !all {
			return fmt.Errorf("%w: Dataset %s:%s is still in use", errInvalid, s.project, id)
		}
		for _, t := range tables {
			if err := s.dropWithin(ctx, c, t); err != nil {
				return err
			}
		}
		if err := c.exec(ctx, "DROP SCHEMA "+googlesql.Name(id)+" CASCADE"); err != nil {
			return err
		}
		return c.exec(ctx, `DELETE FROM "_bigqueryd".datasets WHERE id = `+googlesql.Text(id))
	}, func() {
		for _, t := range tables {
			s.streams.remove(t.Generation)
		}
		s.catalog.dropDataset(id)
	})
}

// createTable makes a table, or returns errDuplicate. fill, if not empty, is the
// DuckDB query whose result becomes its rows.
func (s *Server) createTable(ctx context.Context, t *tableEntry, fill *string) error {
	return s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		if err := s.createWithin(ctx, c, t); err != nil {
			return err
		}
		if fill != nil {
			if err := c.exec(ctx, "INSERT INTO "+t.duckName()+" ("+nameList(t.fields)+") "+*fill); err != nil {
				return err
			}
		}
		return s.relink(ctx, c, func(dataset string) (tables, views []string) {
			tables, views = s.catalog.names(dataset)
			if dataset == t.Dataset {
				tables = append(tables, t.ID)
			}
			return tables, views
		})
	}, func() { s.catalog.putTable(t) })
}

// relink makes the views anew that read wildcard tables, within the lane's
// transaction: DuckDB's views name their tables. names are the tables and views
// that there are.
func (s *Server) relink(ctx context.Context, c *connection, names func(dataset string) (tables, views []string)) error {
	for _, d := range s.catalog.listDatasets() {
		for _, v := range s.catalog.listTables(d.ID) {
			if !strings.Contains(v.View, "*`") { // a wildcard table has to be quoted
				continue
			}
			st, err := s.translateView(v.View, v.Dataset, names)
			if err != nil {
				continue // no table is left: the view says so when it is read
			}
			if err := c.exec(ctx, "CREATE OR REPLACE VIEW "+v.duckName()+" AS "+st.SQL); err != nil {
				return queryError(err)
			}
		}
	}
	return nil
}

// createWithin makes a table within the lane's transaction.
func (s *Server) createWithin(ctx context.Context, c *connection, t *tableEntry) error {
	if err := s.nameIsFree(t); err != nil {
		return err
	}
	if len(t.fields) == 0 {
		return fmt.Errorf("%w: table %s.%s has no schema", errInvalid, t.Dataset, t.ID)
	}
	s.stamp(t)
	if err := c.exec(ctx, "CREATE TABLE "+t.duckName()+columnList(t.fields)); err != nil {
		return err
	}
	return t.save(ctx, c)
}

func (s *Server) nameIsFree(t *tableEntry) error {
	if err := checkTableID(t.ID); err != nil {
		return err
	}
	if _, err := s.catalog.dataset(t.Dataset); err != nil {
		return err
	}
	if _, err := s.catalog.table(t.Dataset, t.ID); err == nil {
		return fmt.Errorf("%w: Table %s:%s.%s", errDuplicate, s.project, t.Dataset, t.ID)
	}
	// DuckDB's names do not regard case.
	for _, other := range s.catalog.listTables(t.Dataset) {
		if strings.EqualFold(other.ID, t.ID) {
			return fmt.Errorf("%w: table %s differs from %s only in case, which this stand-in cannot tell apart", errInvalid, t.ID, other.ID)
		}
	}
	return nil
}

func (s *Server) stamp(t *tableEntry) {
	t.Generation = s.catalog.newGeneration()
	t.Created = time.Now().UnixMilli()
	t.Modified = t.Created
}

// growTable adds the columns of want that a table lacks, and takes their
// descriptions. DuckDB refuses some pairs of alterations in one transaction, so
// each column has its own.
func (s *Server) growTable(ctx context.Context, dataset, id string, want []field) error {
	most := math.MaxInt
	check := func(t *tableEntry) (merged []field, changes []string, err error) {
		if t.isView() {
			return nil, nil, fmt.Errorf("%w: %s.%s is a view", errInvalid, dataset, id)
		}
		if merged, changes, err = merge(t.fields, want, "", most); err != nil {
			return nil, nil, fmt.Errorf("%w: table %s.%s: %w", errInvalid, dataset, id, err)
		}
		return merged, changes, nil
	}
	// All of it must be allowed before a part is done.
	t, err := s.catalog.table(dataset, id)
	if err != nil {
		return err
	}
	if _, _, err := check(t); err != nil {
		return err
	}
	most = 1
	for more := true; more; {
		err := s.updateTable(ctx, dataset, id, func(t *tableEntry) ([]string, error) {
			merged, changes, err := check(t)
			t.fields, more = merged, len(changes) > 0
			return changes, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// updateTable replaces a table's entry by a copy that change has changed. change
// returns the ALTER TABLE actions that this needs.
func (s *Server) updateTable(ctx context.Context, dataset, id string, change func(t *tableEntry) (actions []string, err error)) error {
	var updated tableEntry
	return s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		t, err := s.catalog.table(dataset, id)
		if err != nil {
			return err
		}
		updated = *t
		actions, err := change(&updated)
		if err != nil {
			return err
		}
		if len(actions) > 0 {
			updated.Version++
		}
		for _, action := range actions {
			if err := c.exec(ctx, "ALTER TABLE "+t.duckName()+" "+action); err != nil {
				return err
			}
			for _, st := range s.streams.staged(t) {
				if err := c.exec(ctx, "ALTER TABLE "+st.stagingName()+" "+action); err != nil {
					return err
				}
			}
		}
		updated.Modified = time.Now().UnixMilli()
		return updated.save(ctx, c)
	}, func() { s.catalog.putTable(&updated) })
}

// createView makes a view from GoogleSQL; replace allows one that exists.
func (s *Server) createView(ctx context.Context, v *tableEntry, replace bool) error {
	st, err := s.translateView(v.View, v.Dataset, s.catalog.names)
	if err != nil {
		return err
	}
	var gone int64
	return s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		old, err := s.catalog.table(v.Dataset, v.ID)
		switch {
		case err == nil && old.isView() && replace:
			gone = old.Generation
			if err := s.dropWithin(ctx, c, old); err != nil {
				return err
			}
		default:
			if err := s.nameIsFree(v); err != nil {
				return err
			}
		}
		s.stamp(v)
		if err := c.exec(ctx, "CREATE VIEW "+v.duckName()+" AS "+st.SQL); err != nil {
			return queryError(err)
		}
		r, err := c.query(ctx, "SELECT * FROM "+v.duckName()+" LIMIT 0")
		if err != nil {
			return queryError(err)
		}
		v.fields = fieldsOf(r.columns)
		r.close()
		return v.save(ctx, c)
	}, func() {
		if gone != 0 {
			s.streams.remove(gone)
		}
		s.catalog.putTable(v)
	})
}

// dropTable removes a table or view.
func (s *Server) dropTable(ctx context.Context, dataset, id string) error {
	var t *tableEntry
	return s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		var err error
		if t, err = s.catalog.table(dataset, id); err != nil {
			return err
		}
		if err := s.dropWithin(ctx, c, t); err != nil || t.isView() {
			return err
		}
		return s.relink(ctx, c, func(dataset string) (tables, views []string) {
			tables, views = s.catalog.names(dataset)
			if dataset == t.Dataset {
				tables = slices.DeleteFunc(tables, func(name string) bool { return name == t.ID })
			}
			return tables, views
		})
	}, func() {
		s.streams.remove(t.Generation)
		s.catalog.dropTable(dataset, id)
	})
}

// dropWithin removes a table or view within the lane's transaction.
func (s *Server) dropWithin(ctx context.Context, c *connection, t *tableEntry) error {
	what := "TABLE "
	if t.isView() {
		what = "VIEW "
	}
	if err := c.exec(ctx, "DROP "+what+t.duckName()); err != nil {
		return err
	}
	for _, st := range s.streams.staged(t) {
		if err := st.dropStaging(ctx, c); err != nil {
			return err
		}
	}
	if err := c.exec(ctx, fmt.Sprintf(`DELETE FROM "_bigqueryd".streams WHERE generation = %d`, t.Generation)); err != nil {
		return err
	}
	return c.exec(ctx, fmt.Sprintf(`DELETE FROM "_bigqueryd".tables WHERE dataset = %s AND id = %s`, googlesql.Text(t.Dataset), googlesql.Text(t.ID)))
}
