package bigqueryd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"pixelbeam/local/bigqueryd/googlesql"
)

// database is an open DuckDB database, through DuckDB's C interface: the sql
// driver has no way to append whole column vectors, and it decodes JSON columns
// into Go values, which loses number precision and key order.
type database struct {
	db    mapping.Database
	conns chan *connection // idle connections for reading
	size  int
	done  chan struct{} // closed when no more may read
}

// connection is one DuckDB connection. It must be used by one goroutine at a
// time.
type connection struct {
	c mapping.Connection
}

// openDatabase opens the file path, or a database in memory if it is empty.
// Settings are DuckDB's.
func openDatabase(path string, settings map[string]string, readers int) (*database, error) {
	var config mapping.Config
	if mapping.CreateConfig(&config) == mapping.StateError {
		mapping.DestroyConfig(&config)
		return nil, errors.New("bigqueryd: no DuckDB configuration")
	}
	defer mapping.DestroyConfig(&config)
	for name, value := range settings {
		if mapping.SetConfig(config, name, value) == mapping.StateError {
			return nil, fmt.Errorf("bigqueryd: DuckDB setting %s=%s refused", name, value)
		}
	}
	d := &database{conns: make(chan *connection, readers), done: make(chan struct{})}
	var message string
	if mapping.OpenExt("", &d.db, config, &message) == mapping.StateError {
		mapping.Close(&d.db)
		return nil, fmt.Errorf("bigqueryd: open DuckDB: %s", message)
	}
	if err := d.attach(path); err != nil {
		d.close()
		return nil, err
	}
	for range readers {
		c, err := d.connect()
		if err != nil {
			d.close()
			return nil, err
		}
		d.conns <- c
		d.size++
	}
	return d, nil
}

// catalogName is the name of the file's database in DuckDB. Left to itself DuckDB
// takes the file's name, which makes every name in a dataset of the same name
// ambiguous.
const catalogName = "_bq"

// attach opens the file.
func (d *database) attach(path string) error {
	c := &connection{}
	if mapping.Connect(d.db, &c.c) == mapping.StateError {
		return errors.New("bigqueryd: no DuckDB connection")
	}
	defer c.close()
	if path == "" {
		path = ":memory:"
	}
	if err := c.exec(context.Background(), "ATTACH "+googlesql.Text(path)+" AS "+googlesql.Name(catalogName)); err != nil {
		return fmt.Errorf("bigqueryd: open %s: %w", path, err)
	}
	return registerSketches(c)
}

func (d *database) connect() (*connection, error) {
	c := &connection{}
	if mapping.Connect(d.db, &c.c) == mapping.StateError {
		return nil, errors.New("bigqueryd: no DuckDB connection")
	}
	// Views and casts must not depend on the machine's time zone.
	if err := c.exec(context.Background(), "USE "+googlesql.Name(catalogName)+"; SET TimeZone = 'UTC'"); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// read runs f with an idle connection.
func (d *database) read(ctx context.Context, f func(*connection) error) error {
	select {
	case <-d.done:
		return errClosed
	default:
	}
	select {
	case <-d.done:
		return errClosed
	case c := <-d.conns:
		defer func() { d.conns <- c }()
		return f(c)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close waits for those who read, and closes the database. All other
// connections must be closed.
func (d *database) close() {
	close(d.done)
	for range d.size {
		c := <-d.conns
		c.close()
	}
	mapping.Close(&d.db)
}

func (c *connection) close() { mapping.Disconnect(&c.c) }

// exec runs statements and forgets their result.
func (c *connection) exec(ctx context.Context, sql string) error {
	r, err := c.query(ctx, sql)
	if err != nil {
		return err
	}
	r.close()
	return nil
}

// query runs statements to the end and returns the result of the last. The
// caller closes it. A context that ends interrupts the query.
func (c *connection) query(ctx context.Context, sql string) (*result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var interrupting sync.WaitGroup
	interrupting.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer interrupting.Done()
		mapping.Interrupt(c.c)
	})
	r := &result{}
	state := mapping.Query(c.c, sql, &r.res)
	if stop() {
		interrupting.Done()
	}
	// An interrupt must not outlive its query and hit the next one.
	interrupting.Wait()
	if state == mapping.StateError {
		err := errors.New(mapping.ResultError(&r.res))
		mapping.DestroyResult(&r.res)
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		return nil, err
	}
	for i := range uint64(mapping.ColumnCount(&r.res)) {
		lt := mapping.ColumnLogicalType(&r.res, mapping.IdxT(i))
		t, err := typeOf(lt)
		mapping.DestroyLogicalType(&lt)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("column %s: %w", mapping.ColumnName(&r.res, mapping.IdxT(i)), err)
		}
		r.columns = append(r.columns, typedColumn{mapping.ColumnName(&r.res, mapping.IdxT(i)), t})
	}
	return r, nil
}

// one runs a query and returns the first value of its first row, or nil.
func (c *connection) one(ctx context.Context, sql string) (any, error) {
	r, err := c.query(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer r.close()
	var v any
	err = r.each(func(row []any) error {
		if v == nil {
			v = row[0]
		}
		return nil
	})
	return v, err
}
