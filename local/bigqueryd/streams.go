package bigqueryd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"

	"pixelbeam/local/bigqueryd/googlesql"
)

// stream is a write stream that an application made. Rows of BUFFERED and
// PENDING streams wait in a staging table, with their offsets.
type stream struct {
	name       string // projects/P/datasets/D/tables/T/streams/S
	dataset    string
	table      string
	generation int64
	typ        storagepb.WriteStream_Type
	staging    string // table of the system schema, "" for COMMITTED
	created    int64  // ms since the Unix epoch

	// order is held from assigning an offset until the append is queued.
	order sync.Mutex

	mu        sync.Mutex
	next      int64 // offset that the next append gets
	rows      int64 // durable
	flushed   int64 // rows of a BUFFERED stream that are in the table
	finalized bool
	committed bool // PENDING: in the table
}

// reserve assigns n offsets. want is the offset that the client expects, or -1.
// ahead is negative if want is below the next offset, positive if above.
func (s *stream) reserve(n int, want int64) (offset int64, ahead int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finalized || s.committed {
		return 0, 0, fmt.Errorf("stream %s is finalized", s.name)
	}
	offset = s.next
	switch {
	case want < 0 || want == offset:
		s.next += int64(n)
		return offset, 0, nil
	case want < offset:
		return offset, -1, nil
	}
	return offset, 1, nil
}

// failed forgets the offsets of appends that did not become durable.
func (s *stream) failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = s.rows
}

func (s *stream) committedTo(rows int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = rows
}

func (s *stream) rowCount() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows
}

// registry holds the write streams.
type registry struct {
	mu      sync.Mutex
	streams map[string]*stream
}

func (r *registry) get(name string) *stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.streams[name]
}

func (r *registry) put(s *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams[s.name] = s
}

// staged returns the streams of a table that have a staging table.
func (r *registry) staged(t *tableEntry) []*stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*stream
	for _, name := range slices.Sorted(maps.Keys(r.streams)) {
		if s := r.streams[name]; s.generation == t.Generation && s.staging != "" {
			out = append(out, s)
		}
	}
	return out
}

// remove forgets the streams of a table that is gone.
func (r *registry) remove(generation int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.streams, func(_ string, s *stream) bool { return s.generation == generation })
}

// streamTTL is how long an unfinished stream is kept, at least.
const streamTTL = 7 * 24 * time.Hour

// load reads the streams of an open database and removes those that are too old
// or whose table is gone.
func (r *registry) load(ctx context.Context, conn *connection, cat *catalog, now time.Time) error {
	r.streams = map[string]*stream{}
	rows, err := conn.query(ctx, `SELECT name, dataset, tbl, generation, type, staging, created, row_count, flushed, finalized, committed FROM "_bigqueryd".streams`)
	if err != nil {
		return err
	}
	defer rows.close()
	var gone []*stream
	err = rows.each(func(row []any) error {
		s := &stream{}
		s.name, _ = row[0].(string)
		s.dataset, _ = row[1].(string)
		s.table, _ = row[2].(string)
		s.generation, _ = row[3].(int64)
		typ, _ := row[4].(int64)
		s.typ = storagepb.WriteStream_Type(typ)
		s.staging, _ = row[5].(string)
		s.created, _ = row[6].(int64)
		s.rows, _ = row[7].(int64)
		s.flushed, _ = row[8].(int64)
		s.finalized, _ = row[9].(bool)
		s.committed, _ = row[10].(bool)
		s.next = s.rows
		t, err := cat.table(s.dataset, s.table)
		if err != nil || t.Generation != s.generation || now.UnixMilli()-s.created > streamTTL.Milliseconds() {
			gone = append(gone, s)
			return nil
		}
		r.streams[s.name] = s
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range gone {
		if err := s.drop(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

// drop removes the stream and its staging table.
func (s *stream) drop(ctx context.Context, conn *connection) error {
	if err := s.dropStaging(ctx, conn); err != nil {
		return err
	}
	return conn.exec(ctx, `DELETE FROM "_bigqueryd".streams WHERE name = `+googlesql.Text(s.name))
}

func (s *stream) dropStaging(ctx context.Context, conn *connection) error {
	if s.staging == "" {
		return nil
	}
	return conn.exec(ctx, "DROP TABLE IF EXISTS "+s.stagingName())
}

func (s *stream) stagingName() string {
	return googlesql.Name(systemSchema) + "." + googlesql.Name(s.staging)
}

// offsetColumn is the first column of staging tables; columns that the table
// gets later are added at the end.
const offsetColumn = "_offset"

// newStream makes a stream of t and returns it once it is durable.
func (s *Server) newStream(ctx context.Context, t *tableEntry, typ storagepb.WriteStream_Type) (*stream, error) {
	id := make([]byte, 12)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	st := &stream{
		name:    t.resource(s.project) + "/streams/" + hex.EncodeToString(id),
		dataset: t.Dataset, table: t.ID, generation: t.Generation, typ: typ, created: time.Now().UnixMilli(),
	}
	if typ != storagepb.WriteStream_COMMITTED {
		st.staging = "stream_" + hex.EncodeToString(id)
	}
	err := s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		now, err := s.catalog.table(t.Dataset, t.ID)
		if err != nil {
			return err
		}
		if now.Generation != t.Generation {
			return fmt.Errorf("%w: Table %s.%s was deleted", errNotFound, t.Dataset, t.ID)
		}
		if st.staging != "" {
			if err := c.exec(ctx, "CREATE TABLE "+st.stagingName()+columnList(now.fields, googlesql.Name(offsetColumn)+" BIGINT")); err != nil {
				return err
			}
		}
		return c.exec(ctx, fmt.Sprintf(`INSERT INTO "_bigqueryd".streams VALUES (%s, %s, %s, %d, %d, %s, %d, 0, 0, false, false)`,
			googlesql.Text(st.name), googlesql.Text(st.dataset), googlesql.Text(st.table), st.generation, st.typ, googlesql.Text(st.staging), st.created))
	}, func() { s.streams.put(st) })
	return st, err
}

// columnList writes the column definitions of CREATE TABLE, after those of
// other columns.
func columnList(fields []field, defs ...string) string {
	for _, f := range fields {
		defs = append(defs, f.duckColumn())
	}
	return " (" + strings.Join(defs, ", ") + ")"
}

func nameList(fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = googlesql.Name(f.name)
	}
	return strings.Join(names, ", ")
}

// publish moves the staged rows with offsets up to last into the table, within
// the connection's transaction.
func (s *stream) publish(ctx context.Context, c *connection, t *tableEntry, last int64) error {
	names := nameList(t.fields)
	where := fmt.Sprintf(" WHERE %s <= %d", googlesql.Name(offsetColumn), last)
	if err := c.exec(ctx, "INSERT INTO "+t.duckName()+" ("+names+") SELECT "+names+" FROM "+s.stagingName()+where+" ORDER BY "+googlesql.Name(offsetColumn)); err != nil {
		return err
	}
	return c.exec(ctx, "DELETE FROM "+s.stagingName()+where)
}

// flush makes the rows of a BUFFERED stream up to offset last visible.
func (s *Server) flush(ctx context.Context, st *stream, last int64) error {
	return s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		t, err := s.catalog.table(st.dataset, st.table)
		if err != nil {
			return err
		}
		if err := st.publish(ctx, c, t, last); err != nil {
			return err
		}
		return c.exec(ctx, fmt.Sprintf(`UPDATE "_bigqueryd".streams SET flushed = greatest(flushed, %d) WHERE name = %s`, last+1, googlesql.Text(st.name)))
	}, func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.flushed = max(st.flushed, last+1)
	})
}

// finalize ends a stream: it takes no more rows.
func (s *Server) finalize(ctx context.Context, st *stream) (rows int64, err error) {
	// No append may be queued behind this operation.
	st.order.Lock()
	defer st.order.Unlock()
	err = s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		return c.exec(ctx, `UPDATE "_bigqueryd".streams SET finalized = true WHERE name = `+googlesql.Text(st.name))
	}, func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.finalized = true
		rows = st.rows
	})
	return rows, err
}

// commitPending makes all rows of finalized PENDING streams of one table
// visible, at once.
func (s *Server) commitPending(ctx context.Context, streams []*stream) error {
	return s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		for _, st := range streams {
			t, err := s.catalog.table(st.dataset, st.table)
			if err != nil {
				return err
			}
			if err := st.publish(ctx, c, t, st.rowCount()); err != nil {
				return err
			}
			if err := c.exec(ctx, `UPDATE "_bigqueryd".streams SET committed = true WHERE name = `+googlesql.Text(st.name)); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		for _, st := range streams {
			st.mu.Lock()
			st.committed = true
			st.mu.Unlock()
		}
	})
}
