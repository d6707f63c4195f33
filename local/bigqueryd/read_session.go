package bigqueryd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// readSession is a snapshot of rows of a table, as Arrow batches in a file that has
// no name any more: a transaction that stays open would keep DuckDB from moving its
// write-ahead log into the file.
type readSession struct {
	name        string // projects/P/locations/L/sessions/S
	table       string // resource name
	schema      []byte // serialized
	arrow       *arrow.Schema
	compression []ipc.Option
	expires     time.Time
	expiry      *time.Timer
	file        *os.File
	size        int64
	rows        int64
	streams     map[string]*readStream
	names       []string // of the streams, in order

	mu      sync.Mutex // of readers
	readers int
	closed  bool
}

// readStream is a part of a session's rows.
type readStream struct {
	batches []storedBatch
	rows    int64
}

// storedBatch is a serialized record batch in the file of a session.
type storedBatch struct {
	first, rows int64 // of the stream
	at          int64
	size        int
}

const (
	// batchBytes is about how large a batch is.
	batchBytes = 1 << 20
	// defaultReadStreams is how many streams a session has at most if its client
	// does not say.
	defaultReadStreams = 4
	// maxReadStreams is the service's bound.
	maxReadStreams = 1000
	// sliceRows is how many rows of a table are in memory at once: two of DuckDB's
	// row groups.
	sliceRows = 2 * 122880
)

// readSpec is what a session is to read.
type readSpec struct {
	table       *tableEntry
	fields      []field // selected
	condition   string  // of DuckDB; "" is none
	streams     int     // at most
	compression []ipc.Option
}

// newReadSession takes a snapshot.
func (s *Server) newReadSession(ctx context.Context, spec *readSpec) (*readSession, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	rs := &readSession{
		name:  "projects/" + s.project + "/locations/" + strings.ToLower(location) + "/sessions/" + hex.EncodeToString(id),
		table: spec.table.resource(s.project), arrow: arrowSchema(spec.fields), compression: spec.compression,
		streams: map[string]*readStream{},
	}
	var schema bytes.Buffer
	payload := ipc.GetSchemaPayload(rs.arrow, memory.DefaultAllocator)
	_, err := payload.WritePayload(&schema)
	payload.Release()
	if err != nil {
		return nil, err
	}
	rs.schema = schema.Bytes()
	dir := ""
	if s.opts.Path != "" {
		dir = filepath.Dir(s.opts.Path)
	}
	if rs.file, err = os.CreateTemp(dir, "bigqueryd-read-*"); err != nil {
		return nil, err
	}
	if err := os.Remove(rs.file.Name()); err != nil { // it lives until it is closed
		rs.file.Close()
		return nil, err
	}
	if err := s.db.read(ctx, func(c *connection) error { return rs.fill(ctx, c, spec) }); err != nil {
		rs.file.Close()
		return nil, err
	}
	rs.expires = time.Now().Add(s.opts.ReadSessionTTL)
	rs.expiry = time.AfterFunc(s.opts.ReadSessionTTL, rs.close)
	s.sessions.put(rs)
	return rs, nil
}

// fill reads the table in one transaction, a slice of rows at a time.
func (rs *readSession) fill(ctx context.Context, c *connection, spec *readSpec) (err error) {
	if err := c.exec(ctx, "BEGIN TRANSACTION READ ONLY"); err != nil {
		return err
	}
	defer func() {
		// Nothing was changed; the connection serves others afterwards.
		if end := c.exec(context.WithoutCancel(ctx), "ROLLBACK"); err == nil {
			err = end
		}
	}()
	last, err := c.one(ctx, "SELECT max(rowid) FROM "+spec.table.duckName())
	if err != nil {
		return queryError(err)
	}
	most, ok := last.(int64)
	if !ok { // an empty table
		most = -1
	}
	// The condition is tried even if there is nothing to read.
	for first := int64(0); first == 0 || first <= most; first += sliceRows {
		sql := fmt.Sprintf("SELECT %s FROM %s WHERE rowid >= %d AND rowid < %d", nameList(spec.fields), spec.table.duckName(), first, first+sliceRows)
		if spec.condition != "" {
			sql += " AND " + spec.condition
		}
		if err := rs.slice(ctx, c, sql, spec); err != nil {
			return err
		}
	}
	return nil
}

// slice stores the rows of a query.
func (rs *readSession) slice(ctx context.Context, c *connection, sql string, spec *readSpec) error {
	r, err := c.query(ctx, sql)
	if err != nil {
		return queryError(err)
	}
	defer r.close()
	columns := make([]*arrowColumn, len(spec.fields))
	for i, f := range spec.fields {
		if columns[i], err = newArrowColumn(f, r.columns[i].typ); err != nil {
			return err
		}
	}
	rows := 0
	store := func() error {
		if rows == 0 {
			return nil
		}
		err := rs.store(recordOf(rs.arrow, columns, rows), rows, spec.streams)
		for _, c := range columns {
			c.reset()
		}
		rows = 0
		return err
	}
	for {
		chunk := mapping.FetchChunk(r.res)
		if chunk.Ptr == nil {
			return store()
		}
		readers := arrowReaders(r.columns, chunk)
		for from, n := 0, int(mapping.DataChunkGetSize(chunk)); from < n && err == nil; from += addRows {
			to := min(from+addRows, n)
			if err = addTo(columns, readers, from, to); err != nil {
				break
			}
			rows += to - from
			size := 0
			for _, c := range columns {
				size += c.bytes()
			}
			if size >= batchBytes {
				err = store()
			}
		}
		mapping.DestroyDataChunk(&chunk)
		if err != nil {
			return err
		}
	}
}

// addRows is how many rows are added at once: a row may have megabytes.
const addRows = 32

// addTo adds the rows [from, to) of a chunk to columns.
func addTo(columns []*arrowColumn, readers []reader, from, to int) error {
	for i, column := range columns {
		for n := from; n < to; n++ {
			if err := column.add(&readers[i], n); err != nil {
				return err
			}
		}
	}
	return nil
}

// store appends a batch to the stream that has the fewest, of at most so many.
func (rs *readSession) store(rec arrow.RecordBatch, rows, streams int) error {
	data, err := rs.serialize(rec)
	rec.Release()
	if err != nil {
		return err
	}
	var to *readStream
	if len(rs.names) < streams {
		name := fmt.Sprintf("%s/streams/%d", rs.name, len(rs.names))
		to = &readStream{}
		rs.streams[name] = to
		rs.names = append(rs.names, name)
	} else {
		for _, name := range rs.names {
			if st := rs.streams[name]; to == nil || st.rows < to.rows {
				to = st
			}
		}
	}
	if _, err := rs.file.WriteAt(data, rs.size); err != nil {
		return err
	}
	to.batches = append(to.batches, storedBatch{first: to.rows, rows: int64(rows), at: rs.size, size: len(data)})
	to.rows += int64(rows)
	rs.rows += int64(rows)
	rs.size += int64(len(data))
	return nil
}

func (rs *readSession) serialize(rec arrow.RecordBatch) ([]byte, error) {
	payload, err := ipc.GetRecordBatchPayload(rec, rs.compression...)
	if err != nil {
		return nil, err
	}
	defer payload.Release()
	var out bytes.Buffer
	_, err = payload.WritePayload(&out)
	return out.Bytes(), err
}

// each calls f with the batches of a stream from a row on.
func (rs *readSession) each(st *readStream, offset int64, f func(data []byte, rows int64) error) error {
	from := sort.Search(len(st.batches), func(i int) bool { return st.batches[i].first+st.batches[i].rows > offset })
	for _, b := range st.batches[from:] {
		data := make([]byte, b.size)
		if _, err := rs.file.ReadAt(data, b.at); err != nil && err != io.EOF {
			return err
		}
		rows := b.rows
		if skip := offset - b.first; skip > 0 {
			var err error
			if data, err = rs.cut(data, skip); err != nil {
				return err
			}
			rows -= skip
		}
		if err := f(data, rows); err != nil {
			return err
		}
	}
	return nil
}

// cut returns a serialized batch without its first rows.
func (rs *readSession) cut(data []byte, skip int64) ([]byte, error) {
	r, err := ipc.NewReader(io.MultiReader(bytes.NewReader(rs.schema), bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	defer r.Release()
	if !r.Next() {
		return nil, fmt.Errorf("bigqueryd: a batch of session %s cannot be read: %w", rs.name, r.Err())
	}
	rec := r.RecordBatch()
	slice := rec.NewSlice(skip, rec.NumRows())
	defer slice.Release()
	return rs.serialize(slice)
}

// acquire keeps the session's file open until release; false means that it is gone.
func (rs *readSession) acquire() bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		return false
	}
	rs.readers++
	return true
}

func (rs *readSession) release() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.readers--; rs.readers == 0 && rs.closed {
		rs.file.Close()
	}
}

// close lets go of the rows once nobody reads them.
func (rs *readSession) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if !rs.closed && rs.readers == 0 {
		rs.file.Close()
	}
	rs.closed = true
}

// held is how many bytes of the disk the session takes.
func (rs *readSession) held() int64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		return 0
	}
	return rs.size
}

// maxSessions and maxSessionBytes bound the sessions that are kept: the oldest go
// before their time.
const (
	maxSessions     = 1000
	maxSessionBytes = 8 << 30
)

// sessions holds the read sessions; of those whose rows are gone, that they were.
type sessions struct {
	mu     sync.Mutex
	byName map[string]*readSession
	order  []*readSession
}

func (m *sessions) put(rs *readSession) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName == nil {
		m.byName = make(map[string]*readSession)
	}
	m.byName[rs.name] = rs
	m.order = append(m.order, rs)
	m.bound()
}

// get returns the session of a name, which may have expired, or nil.
func (m *sessions) get(name string) *readSession {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byName[name]
}

// bound closes the oldest sessions if there are too many rows, and forgets them if
// there are too many of them.
func (m *sessions) bound() {
	size := int64(0)
	for i := len(m.order) - 1; i >= 0; i-- {
		rs := m.order[i]
		if size += rs.held(); size > maxSessionBytes && i < len(m.order)-1 {
			rs.close()
		}
	}
	for len(m.order) > maxSessions {
		m.order[0].close()
		delete(m.byName, m.order[0].name)
		m.order = m.order[1:]
	}
}

func (m *sessions) closeAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rs := range m.order {
		rs.expiry.Stop()
		rs.close()
	}
}
