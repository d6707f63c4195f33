package bigqueryd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pixelbeam/local/bigqueryd/googlesql"
)

// lane is the only writer of the database: one goroutine and one connection, so
// that no transaction conflicts with another. Appends of all streams that arrive
// while it waits or writes are committed together (group commit), because a
// commit costs an fsync.
type lane struct {
	conn     *connection
	catalog  *catalog
	interval time.Duration // least time between two group commits
	maxBytes int           // of one group commit
	closing  sync.RWMutex  // held for reading while an operation is queued
	closed   bool
	queue    chan laneOp
	stopped  chan struct{}
	last     time.Time // of the last group commit
	commits  func(rows, bytes int)
}

// laneOp is an *appendOp or an *exclusiveOp.
type laneOp any

// appendOp appends a block to a table, or to the staging table of a stream.
type appendOp struct {
	table  *tableEntry // as it was when the block was made
	stream *stream     // nil for the default stream
	offset int64       // in the stream
	block  *block
	done   chan error // buffered
}

// exclusiveOp runs alone in a transaction.
type exclusiveOp struct {
	ctx  context.Context
	run  func(ctx context.Context, c *connection) error
	then func() // after the commit, before any other operation
	done chan error
}

var errClosed = errors.New("bigqueryd: the server is closed")

func newLane(conn *connection, cat *catalog, interval time.Duration, maxBytes int, commits func(rows, bytes int)) *lane {
	l := &lane{
		conn: conn, catalog: cat, interval: interval, maxBytes: maxBytes, commits: commits,
		queue: make(chan laneOp, 1024), stopped: make(chan struct{}),
	}
	go l.loop()
	return l
}

// append queues op; op.done gets its outcome once it is durable.
func (l *lane) append(op *appendOp) {
	if !l.put(op) {
		op.done <- errClosed
	}
}

// do runs f in a transaction of its own, and then after the commit. An error of
// f rolls back.
func (l *lane) do(ctx context.Context, f func(ctx context.Context, c *connection) error, then func()) error {
	op := &exclusiveOp{ctx: ctx, run: f, then: then, done: make(chan error, 1)}
	if !l.put(op) {
		return errClosed
	}
	return <-op.done
}

// put queues an operation, unless the lane is closed.
func (l *lane) put(op laneOp) bool {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return false
	}
	l.queue <- op
	return true
}

// close waits for what is queued and takes no more.
func (l *lane) close() {
	l.closing.Lock()
	l.closed = true
	close(l.queue)
	l.closing.Unlock()
	<-l.stopped
}

func (l *lane) loop() {
	defer close(l.stopped)
	for op := range l.queue {
		for op != nil {
			switch o := op.(type) {
			case *exclusiveOp:
				o.done <- l.exclusive(o)
				op = nil
			case *appendOp:
				op = l.group(o)
			}
		}
	}
}

// group gathers appends, commits them, and returns the operation that ended the
// gathering, if one did.
func (l *lane) group(first *appendOp) (next laneOp) {
	ops, size := []*appendOp{first}, first.block.bytes
	timer := time.NewTimer(time.Until(l.last.Add(l.interval)))
	defer timer.Stop()
gather:
	for size < l.maxBytes {
		var op laneOp
		select {
		case op = <-l.queue:
		default:
			select {
			case op = <-l.queue:
			case <-timer.C:
				break gather
			}
		}
		o, ok := op.(*appendOp)
		if !ok {
			next = op // also nil, when the queue is closed
			break
		}
		ops = append(ops, o)
		size += o.block.bytes
	}
	l.last = time.Now()
	l.commit(ops)
	return next
}

// commit appends in one transaction; if that fails, in one for each operation,
// so that one bad operation does not fail its neighbours.
func (l *lane) commit(ops []*appendOp) {
	if len(ops) > 1 && l.try(ops) == nil {
		return
	}
	for _, op := range ops {
		if err := l.try([]*appendOp{op}); err != nil {
			op.done <- err
		}
	}
}

// try commits all ops and reports them done, or none.
func (l *lane) try(ops []*appendOp) error {
	ctx := context.Background()
	if err := l.conn.exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	advanced, err := l.appendAll(ctx, ops)
	if err == nil {
		err = l.conn.exec(ctx, "COMMIT")
	}
	if err != nil {
		// After a failed COMMIT there is nothing left to roll back.
		_ = l.conn.exec(ctx, "ROLLBACK")
		return err
	}
	for s, rows := range advanced {
		s.committedTo(rows)
	}
	rows, size := 0, 0
	for _, op := range ops {
		rows += op.block.rows
		size += op.block.bytes
	}
	l.commits(rows, size)
	for _, op := range ops {
		op.done <- nil // from here on the block is another's
	}
	return nil
}

// appendAll appends ops in the open transaction and returns the new row counts
// of their streams.
func (l *lane) appendAll(ctx context.Context, ops []*appendOp) (map[*stream]int64, error) {
	appenders := map[string]*appender{}
	defer func() {
		for _, a := range appenders {
			a.close()
		}
	}()
	advanced := map[*stream]int64{}
	for _, op := range ops {
		t, err := l.catalog.table(op.table.Dataset, op.table.ID)
		if err != nil {
			return nil, err
		}
		if t.Generation != op.table.Generation {
			return nil, fmt.Errorf("%w: Table %s.%s was deleted", errNotFound, t.Dataset, t.ID)
		}
		schema, name := t.Dataset, t.ID
		if s := op.stream; s != nil {
			rows, ok := advanced[s]
			if !ok {
				rows = s.rowCount()
			}
			if rows != op.offset {
				return nil, fmt.Errorf("bigqueryd: an earlier append to %s failed", s.name)
			}
			advanced[s] = rows + int64(op.block.rows)
			if s.staging != "" {
				schema, name = systemSchema, s.staging
			}
		}
		key := schema + "." + name
		a := appenders[key]
		if a == nil {
			if a, err = newAppender(l.conn, schema, name, t.fields, schema == systemSchema); err != nil {
				return nil, err
			}
			appenders[key] = a
		}
		if err := a.append(op.block, op.offset); err != nil {
			return nil, err
		}
	}
	for _, a := range appenders {
		if err := a.flush(); err != nil {
			return nil, err
		}
	}
	for s, rows := range advanced {
		sql := fmt.Sprintf(`UPDATE "_bigqueryd".streams SET row_count = %d WHERE name = %s`, rows, googlesql.Text(s.name))
		if err := l.conn.exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	return advanced, nil
}

func (l *lane) exclusive(op *exclusiveOp) error {
	if err := op.ctx.Err(); err != nil {
		return err
	}
	ctx := context.Background()
	if err := l.conn.exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	err := op.run(op.ctx, l.conn)
	if err == nil {
		err = l.conn.exec(ctx, "COMMIT")
	}
	if err != nil {
		_ = l.conn.exec(ctx, "ROLLBACK")
		return err
	}
	if op.then != nil {
		op.then()
	}
	return nil
}
