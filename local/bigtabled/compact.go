package bigtabled

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// compactor is the state of the goroutine that compacts.
type compactor struct {
	wake chan struct{}

	mu   sync.Mutex
	done int64
	err  error
}

func (c *compactor) wakeIf(due bool) {
	if !due {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default: // woken already
	}
}

func (c *compactor) result() (done int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done, c.err
}

func (c *compactor) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if err == nil {
		c.done++
	}
}

// compactionDue is called with mu held.
func (s *Server) compactionDue() bool {
	return s.journal.logBytes > max(s.opts.CompactBytes, s.journal.snapshotBytes)
}

// retryAfter is the least time between a failed compaction and the next try.
const retryAfter = 10 * time.Second

func (s *Server) compactWhenDue(ctx context.Context) {
	ticker := time.NewTicker(s.opts.GCInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.compact.wake:
			// What woke it may have come before the last compaction ended.
			s.mu.RLock()
			due := s.compactionDue()
			s.mu.RUnlock()
			if !due {
				continue
			}
		case <-ticker.C:
		}
		err := s.compactNow(ctx)
		if ctx.Err() != nil {
			return
		}
		s.compact.ended(err)
		if err != nil {
			slog.Warn("bigtabled: compaction failed; the log grows until one succeeds", "dir", s.opts.Dir, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryAfter):
			}
		}
	}
}

// compactNow replaces the log up to now by a snapshot, without what the GC rules
// condemn, which it deletes from memory too. Requests go on meanwhile: they are
// in the next log, and the snapshot may hold them already (see journal).
func (s *Server) compactNow(ctx context.Context) error {
	s.mu.Lock()
	n, err := s.journal.rotate()
	tables := make([]*adminpb.Table, 0, len(s.tables))
	for _, t := range s.tables {
		tables = append(tables, t)
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("begin a log: %w", err)
	}

	path := s.journal.path(snapshotName(n)) + temporary
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := &snapshotWriter{out: bufio.NewWriterSize(file, 1<<20), now: time.Now()}
	w.bytes(fileMagic)
	for _, t := range tables {
		err = s.snapshotTable(ctx, w, t)
		if err != nil {
			break
		}
	}
	if err == nil {
		err = errors.Join(w.out.Flush(), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.adopt(n, w.size)
}

// snapshotTable writes a table's definition and rows.
func (s *Server) snapshotTable(ctx context.Context, w *snapshotWriter, t *adminpb.Table) error {
	w.record(recordTable, t)
	w.begin(t)
	err := s.readRows(ctx, &bigtablepb.ReadRowsRequest{TableName: t.Name}, func(m *bigtablepb.ReadRowsResponse) error {
		w.add(m)
		if len(w.garbage.Entries) >= 1000 {
			if err := s.collect(w); err != nil {
				return err
			}
		}
		return w.err
	})
	if status.Code(err) == codes.NotFound {
		err = nil // deleted meanwhile, as the next log says
	}
	if err != nil {
		return err
	}
	w.endRow()
	w.flush()
	if err := s.collect(w); err != nil {
		return err
	}
	return w.err
}

// collect deletes the garbage found so far, as any client would.
func (s *Server) collect(w *snapshotWriter) error {
	if len(w.garbage.Entries) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	req := w.garbage
	w.garbage = &bigtablepb.MutateRowsRequest{TableName: req.TableName}
	table := s.tables[req.TableName]
	if table == nil {
		return nil
	}
	// A family can have been dropped meanwhile; its cells are gone.
	keep := req.Entries[:0]
	for _, e := range req.Entries {
		if check(table, e.RowKey, e.Mutations) == nil {
			keep = append(keep, e)
		}
	}
	if req.Entries = keep; len(keep) == 0 {
		return nil
	}
	if err := s.log(recordRows, req); err != nil {
		return err
	}
	if err := s.apply(table, req); err != nil {
		return s.fail(err)
	}
	return nil
}

// snapshotWriter turns the answers of ReadRows into records. It keeps its first
// error.
type snapshotWriter struct {
	out  *bufio.Writer
	now  time.Time
	size int64
	buf  []byte
	err  error

	table   *adminpb.Table
	rows    *bigtablepb.MutateRowsRequest // of the record in the making
	bytesIn int                           // about what rows weighs
	garbage *bigtablepb.MutateRowsRequest // to delete

	row       *bigtablepb.MutateRowsRequest_Entry
	drop      *bigtablepb.MutateRowsRequest_Entry
	family    string
	qualifier []byte
	versions  []int64
	values    [][]byte
}

// recordBytes is about how large a record of a snapshot gets.
const recordBytes = 1 << 20

func (w *snapshotWriter) begin(t *adminpb.Table) {
	w.table = t
	w.rows = &bigtablepb.MutateRowsRequest{TableName: t.Name}
	w.garbage = &bigtablepb.MutateRowsRequest{TableName: t.Name}
}

func (w *snapshotWriter) bytes(s string) {
	if w.err == nil {
		_, w.err = w.out.WriteString(s)
		w.size += int64(len(s))
	}
}

func (w *snapshotWriter) record(kind recordKind, m proto.Message) {
	if w.err != nil {
		return
	}
	if w.buf, w.err = appendRecord(w.buf[:0], kind, m); w.err != nil {
		return
	}
	_, w.err = w.out.Write(w.buf)
	w.size += int64(len(w.buf))
}

// add takes the next answer: chunks of cells, in which row key, family and
// qualifier are those of the chunk before unless given.
func (w *snapshotWriter) add(m *bigtablepb.ReadRowsResponse) {
	for _, c := range m.Chunks {
		newRow := len(c.RowKey) > 0 && (w.row == nil || string(c.RowKey) != string(w.row.RowKey))
		if newRow {
			w.endRow()
			w.row = &bigtablepb.MutateRowsRequest_Entry{RowKey: c.RowKey}
			w.drop = &bigtablepb.MutateRowsRequest_Entry{RowKey: c.RowKey}
		}
		newFamily := c.FamilyName != nil && c.FamilyName.Value != w.family
		newColumn := c.Qualifier != nil && string(c.Qualifier.Value) != string(w.qualifier)
		if newRow || newFamily || newColumn {
			w.endColumn()
			if c.FamilyName != nil {
				w.family = c.FamilyName.Value
			}
			if c.Qualifier != nil {
				w.qualifier = c.Qualifier.Value
			}
		}
		w.versions = append(w.versions, c.TimestampMicros)
		w.values = append(w.values, c.Value)
	}
}

// endColumn keeps of the column's cells what its rule keeps.
func (w *snapshotWriter) endColumn() {
	family := w.table.ColumnFamilies[w.family]
	// A family that was not there yet when the snapshot began is in the next log.
	if len(w.versions) > 0 && family != nil {
		kept := keep(family.GcRule, w.versions, w.now)
		for i := range kept {
			w.row.Mutations = append(w.row.Mutations, &bigtablepb.Mutation{Mutation: &bigtablepb.Mutation_SetCell_{SetCell: &bigtablepb.Mutation_SetCell{
				FamilyName: w.family, ColumnQualifier: w.qualifier, TimestampMicros: w.versions[i], Value: w.values[i],
			}}})
			w.bytesIn += 40 + len(w.qualifier) + len(w.values[i])
		}
		if kept < len(w.versions) {
			end := w.versions[kept] + granularity(w.table)
			w.drop.Mutations = append(w.drop.Mutations, deleteBefore(w.family, w.qualifier, end))
		}
	}
	w.versions, w.values = w.versions[:0], w.values[:0]
}

func (w *snapshotWriter) endRow() {
	if w.row == nil {
		return
	}
	w.endColumn()
	if len(w.row.Mutations) > 0 {
		w.rows.Entries = append(w.rows.Entries, w.row)
		w.bytesIn += 20 + len(w.row.RowKey)
	}
	if len(w.drop.Mutations) > 0 {
		w.garbage.Entries = append(w.garbage.Entries, w.drop)
	}
	w.row, w.drop = nil, nil
	if w.bytesIn >= recordBytes {
		w.flush()
	}
}

func (w *snapshotWriter) flush() {
	if len(w.rows.Entries) > 0 {
		w.record(recordRows, w.rows)
		w.rows = &bigtablepb.MutateRowsRequest{TableName: w.rows.TableName}
	}
	w.bytesIn = 0
}
