package bigqueryd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"pixelbeam/local/bigqueryd/googlesql"
)

// systemSchema holds what DuckDB's own catalog cannot: descriptions, modes, view
// texts in GoogleSQL, write streams and their unflushed rows.
const systemSchema = "_bigqueryd"

var systemTables = []string{
	`CREATE SCHEMA IF NOT EXISTS "_bigqueryd"`,
	`CREATE TABLE IF NOT EXISTS "_bigqueryd".datasets(id VARCHAR, resource VARCHAR)`,
	`CREATE TABLE IF NOT EXISTS "_bigqueryd".tables(dataset VARCHAR, id VARCHAR, resource VARCHAR)`,
	`CREATE TABLE IF NOT EXISTS "_bigqueryd".streams(name VARCHAR, dataset VARCHAR, tbl VARCHAR, generation BIGINT,
		type INTEGER, staging VARCHAR, created BIGINT, row_count BIGINT, flushed BIGINT, finalized BOOLEAN, committed BOOLEAN)`,
}

// Errors of the catalog; both services translate them.
var (
	errNotFound  = errors.New("Not found")
	errDuplicate = errors.New("Already Exists")
	errInvalid   = errors.New("Invalid")
)

// catalog knows the datasets, tables and views. Only the lane changes it, after
// the transaction that changes the database.
type catalog struct {
	project  string
	mu       sync.RWMutex
	datasets map[string]*datasetEntry
	last     int64 // generation given out last
}

// datasetEntry is never changed once it is in the catalog, except for tables.
type datasetEntry struct {
	ID          string            `json:"id"`
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Created     int64             `json:"created"` // ms since the Unix epoch
	tables      map[string]*tableEntry
}

// tableEntry is a table or a view. It is never changed once it is in the
// catalog, but replaced.
type tableEntry struct {
	Dataset     string                 `json:"-"`
	ID          string                 `json:"-"`
	Generation  int64                  `json:"generation"` // another one for a table that is made anew
	Version     int                    `json:"version"`    // of the schema
	Schema      []*bq.TableFieldSchema `json:"schema"`
	View        string                 `json:"view,omitempty"` // GoogleSQL
	Description string                 `json:"description,omitempty"`
	Labels      map[string]string      `json:"labels,omitempty"`
	Partition   *bq.TimePartitioning   `json:"partition,omitempty"`
	Clustering  *bq.Clustering         `json:"clustering,omitempty"`
	Created     int64                  `json:"created"`
	Modified    int64                  `json:"modified"`
	fields      []field
}

func (t *tableEntry) isView() bool { return t.View != "" }

func (t *tableEntry) duckName() string { return googlesql.Name(t.Dataset) + "." + googlesql.Name(t.ID) }

// resource is the table's name in the Storage Write API.
func (t *tableEntry) resource(project string) string {
	return "projects/" + project + "/datasets/" + t.Dataset + "/tables/" + t.ID
}

var (
	datasetName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	tableName   = regexp.MustCompile(`^[\p{L}\p{M}\p{N}\p{Pc}\p{Pd} ]+$`)
)

func checkDatasetID(id string) error {
	switch strings.ToLower(id) {
	case systemSchema, "main", "pg_catalog", "information_schema", "temp", "system":
		return fmt.Errorf("%w: dataset id %q is reserved by this stand-in", errInvalid, id)
	}
	if len(id) > 1024 || !datasetName.MatchString(id) {
		return fmt.Errorf("%w: dataset id %q: want letters, digits and underscores", errInvalid, id)
	}
	return nil
}

func checkTableID(id string) error {
	if len(id) > 1024 || !tableName.MatchString(id) {
		return fmt.Errorf("%w: table id %q", errInvalid, id)
	}
	return nil
}

// dataset returns a dataset, or errNotFound.
func (c *catalog) dataset(id string) (*datasetEntry, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if d := c.datasets[id]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("%w: Dataset %s:%s", errNotFound, c.project, id)
}

// table returns a table or view, or errNotFound.
func (c *catalog) table(dataset, id string) (*tableEntry, error) {
	d, err := c.dataset(dataset)
	if err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if t := d.tables[id]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("%w: Table %s:%s.%s", errNotFound, c.project, dataset, id)
}

func (c *catalog) listDatasets() []*datasetEntry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.SortedFunc(maps.Values(c.datasets), func(a, b *datasetEntry) int { return strings.Compare(a.ID, b.ID) })
}

func (c *catalog) listTables(dataset string) []*tableEntry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d := c.datasets[dataset]
	if d == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(d.tables), func(a, b *tableEntry) int { return strings.Compare(a.ID, b.ID) })
}

// names returns the names of a dataset's tables and of its views.
func (c *catalog) names(dataset string) (tables, views []string) {
	for _, t := range c.listTables(dataset) {
		if t.isView() {
			views = append(views, t.ID)
		} else {
			tables = append(tables, t.ID)
		}
	}
	return tables, views
}

func (c *catalog) putDataset(d *datasetEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.datasets[d.ID]; old != nil {
		d.tables = old.tables
	}
	if d.tables == nil {
		d.tables = map[string]*tableEntry{}
	}
	c.datasets[d.ID] = d
}

func (c *catalog) dropDataset(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.datasets, id)
}

func (c *catalog) putTable(t *tableEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.datasets[t.Dataset].tables[t.ID] = t
}

func (c *catalog) dropTable(dataset, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.datasets[dataset]; d != nil {
		delete(d.tables, id)
	}
}

// newGeneration returns a number that no table of this file had.
func (c *catalog) newGeneration() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, time.Now().UnixMicro())
	return c.last
}

// load reads the catalog of an open database. Tables that another program made
// in the file become known too.
func (c *catalog) load(ctx context.Context, conn *connection) error {
	c.datasets = map[string]*datasetEntry{}
	for _, sql := range systemTables {
		if err := conn.exec(ctx, sql); err != nil {
			return err
		}
	}
	known := map[[2]string]string{}
	err := eachText(ctx, conn, `SELECT id, resource FROM "_bigqueryd".datasets`, func(row []string) error {
		known[[2]string{row[0]}] = row[1]
		return nil
	})
	if err != nil {
		return err
	}
	err = eachText(ctx, conn, `SELECT dataset, id, resource FROM "_bigqueryd".tables`, func(row []string) error {
		known[[2]string{row[0], row[1]}] = row[2]
		return nil
	})
	if err != nil {
		return err
	}
	err = eachText(ctx, conn, `SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database() AND NOT internal`, func(row []string) error {
		if checkDatasetID(row[0]) != nil {
			return nil
		}
		d := &datasetEntry{}
		if text, ok := known[[2]string{row[0]}]; ok {
			if err := json.Unmarshal([]byte(text), d); err != nil {
				return err
			}
		}
		d.ID = row[0]
		c.putDataset(d)
		return nil
	})
	if err != nil {
		return err
	}
	var found [][3]string
	err = eachText(ctx, conn, `SELECT schema_name, table_name, '' FROM duckdb_tables() WHERE database_name = current_database() AND NOT internal
		UNION ALL SELECT schema_name, view_name, sql FROM duckdb_views() WHERE database_name = current_database() AND NOT internal`, func(row []string) error {
		if c.datasets[row[0]] != nil {
			found = append(found, [3]string{row[0], row[1], row[2]})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range found {
		t := &tableEntry{Dataset: f[0], ID: f[1], View: f[2]}
		if err := c.loadTable(ctx, conn, t, known[[2]string{f[0], f[1]}]); err != nil {
			return fmt.Errorf("table %s.%s: %w", f[0], f[1], err)
		}
	}
	return nil
}

// loadTable completes the entry of a table and puts it into the catalog. If
// another program made the table, or changed it, the entry follows the table.
func (c *catalog) loadTable(ctx context.Context, conn *connection, t *tableEntry, resource string) error {
	r, err := conn.query(ctx, "SELECT * FROM "+t.duckName()+" LIMIT 0")
	if err != nil {
		return nil // a broken view, or types that BigQuery does not have: not ours
	}
	actual := fieldsOf(r.columns)
	r.close()
	if resource != "" {
		if err := json.Unmarshal([]byte(resource), t); err != nil {
			return err
		}
		if t.fields, err = fieldsOfAPI(t.Schema); err != nil {
			return err
		}
		c.last = max(c.last, t.Generation)
	}
	if sameShape(t.fields, actual) {
		c.putTable(t)
		return nil
	}
	t.fields = actual
	t.Generation = c.newGeneration()
	c.putTable(t)
	return t.save(ctx, conn)
}

// sameShape reports whether fields have the same names and types.
func sameShape(a, b []field) bool {
	return slices.EqualFunc(a, b, func(a, b field) bool {
		return a.name == b.name && a.kind == b.kind && (a.mode == repeated) == (b.mode == repeated) && sameShape(a.fields, b.fields)
	})
}

// eachText calls f for each row of a query over texts, none of them NULL.
func eachText(ctx context.Context, conn *connection, sql string, f func(row []string) error) error {
	r, err := conn.query(ctx, sql)
	if err != nil {
		return err
	}
	defer r.close()
	texts := make([]string, len(r.columns))
	return r.each(func(row []any) error {
		for i := range row {
			texts[i], _ = row[i].(string)
		}
		return f(texts)
	})
}

// save writes the table's entry within the connection's transaction.
func (t *tableEntry) save(ctx context.Context, conn *connection) error {
	t.Schema = apiFields(t.fields)
	resource, err := json.Marshal(t)
	if err != nil {
		return err
	}
	where := " WHERE dataset = " + googlesql.Text(t.Dataset) + " AND id = " + googlesql.Text(t.ID)
	if err := conn.exec(ctx, `DELETE FROM "_bigqueryd".tables`+where); err != nil {
		return err
	}
	return conn.exec(ctx, fmt.Sprintf(`INSERT INTO "_bigqueryd".tables VALUES (%s, %s, %s)`, googlesql.Text(t.Dataset), googlesql.Text(t.ID), googlesql.Text(string(resource))))
}

func (d *datasetEntry) save(ctx context.Context, conn *connection) error {
	resource, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := conn.exec(ctx, `DELETE FROM "_bigqueryd".datasets WHERE id = `+googlesql.Text(d.ID)); err != nil {
		return err
	}
	return conn.exec(ctx, fmt.Sprintf(`INSERT INTO "_bigqueryd".datasets VALUES (%s, %s)`, googlesql.Text(d.ID), googlesql.Text(string(resource))))
}
