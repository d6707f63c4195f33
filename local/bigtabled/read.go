package bigtabled

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// dataServer is the data API. What is not in this file or in write.go, it answers
// with Unimplemented.
type dataServer struct {
	bigtablepb.UnimplementedBigtableServer
	s *Server
}

func (d dataServer) PingAndWarm(context.Context, *bigtablepb.PingAndWarmRequest) (*bigtablepb.PingAndWarmResponse, error) {
	return &bigtablepb.PingAndWarmResponse{}, nil
}

// span is the row keys start <= key < end; no end is infinity.
type span struct {
	start, end []byte
	one        bool // only start
}

// spans returns what a row set names, in order and without overlaps; nothing
// named is all.
func spans(set *bigtablepb.RowSet) ([]span, error) {
	if len(set.GetRowKeys())+len(set.GetRowRanges()) == 0 {
		return []span{{}}, nil
	}
	var all []span
	for _, key := range set.RowKeys {
		all = append(all, span{start: key, end: after(key), one: true})
	}
	for i, r := range set.RowRanges {
		var s span
		var first, last []byte // as the client gave them
		switch k := r.StartKey.(type) {
		case *bigtablepb.RowRange_StartKeyClosed:
			first, s.start = k.StartKeyClosed, k.StartKeyClosed
		case *bigtablepb.RowRange_StartKeyOpen:
			first, s.start = k.StartKeyOpen, after(k.StartKeyOpen)
		}
		switch k := r.EndKey.(type) {
		case *bigtablepb.RowRange_EndKeyClosed:
			if last = k.EndKeyClosed; len(last) > 0 {
				s.end = after(last)
			}
		case *bigtablepb.RowRange_EndKeyOpen:
			last, s.end = k.EndKeyOpen, k.EndKeyOpen
		}
		if len(last) > 0 && bytes.Compare(first, last) > 0 {
			return nil, status.Errorf(codes.InvalidArgument, "row range %d starts at %q, after its end %q", i, first, last)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b span) int {
		// Of two that start together the longer comes first.
		return cmp.Or(bytes.Compare(a.start, b.start), compareEnds(b.end, a.end))
	})
	out := all[:1]
	for _, s := range all[1:] {
		last := &out[len(out)-1]
		if len(last.end) > 0 && bytes.Compare(s.start, last.end) >= 0 {
			out = append(out, s)
		} else if compareEnds(s.end, last.end) > 0 {
			last.end, last.one = s.end, false
		}
	}
	return out, nil
}

func after(key []byte) []byte { return append(slices.Clip(slices.Clone(key)), 0) }

func compareEnds(a, b []byte) int {
	switch {
	case len(a) == 0 && len(b) == 0:
		return 0
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return bytes.Compare(a, b)
}

// ReadRows reads each range of rows as it was when the range was begun.
func (d dataServer) ReadRows(req *bigtablepb.ReadRowsRequest, client bigtablepb.Bigtable_ReadRowsServer) error {
	began := time.Now()
	t := d.s.table(req.TableName)
	if t == nil {
		return notFound(req.TableName)
	}
	filter, err := compileFilter(req.Filter)
	if err != nil {
		return err
	}
	all, err := spans(req.Rows)
	if err != nil {
		return err
	}
	if req.RowsLimit < 0 {
		return status.Errorf(codes.InvalidArgument, "rows_limit is %d, want 0 or more", req.RowsLimit)
	}
	limit := req.RowsLimit
	if limit == 0 {
		limit = math.MaxInt64
	}
	if req.Reversed {
		slices.Reverse(all)
	}
	w := &rowWriter{send: client.Send}
	for _, sp := range all {
		err := d.s.scan(client.Context(), t, sp, req.Reversed, func(key []byte, row []filteredCell) error {
			w.stats.RowsSeenCount++
			w.stats.CellsSeenCount += int64(len(row))
			if row = filter.apply(key, row); len(row) == 0 {
				return nil
			}
			if err := w.row(key, row); err != nil {
				return err
			}
			if w.stats.RowsReturnedCount == limit {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	if req.RequestStatsView != bigtablepb.ReadRowsRequest_REQUEST_STATS_FULL {
		return nil
	}
	return client.Send(&bigtablepb.ReadRowsResponse{RequestStats: &bigtablepb.RequestStats{
		StatsView: &bigtablepb.RequestStats_FullReadStatsView{FullReadStatsView: &bigtablepb.FullReadStatsView{
			ReadIterationStats:  &w.stats,
			RequestLatencyStats: &bigtablepb.RequestLatencyStats{FrontendServerLatency: durationpb.New(time.Since(began))},
		}},
	}})
}

// errEnough ends a scan.
var errEnough = errors.New("enough rows")

// table returns a table as it is now, nil if there is none.
func (s *Server) table(name string) *table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tables[name]
}

// readRow calls f with the cells of a row, which may be none and are valid until
// f returns.
func (s *Server) readRow(t *table, key []byte, f func(row []filteredCell) error) error {
	value, closer, err := s.store.Get(rowKey(t.ID, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return f(nil)
	}
	if err != nil {
		return storeError(err)
	}
	defer closer.Close()
	row, err := t.cells(value)
	if err != nil {
		return err
	}
	return f(row)
}

// scan calls f with each row of a span that has cells, in order of keys or
// backwards, until f returns an error. Key and row are valid until f returns.
func (s *Server) scan(ctx context.Context, t *table, sp span, backwards bool, f func(key []byte, row []filteredCell) error) (err error) {
	if sp.one {
		return s.readRow(t, sp.start, func(row []filteredCell) error {
			if len(row) == 0 {
				return nil
			}
			return f(sp.start, row)
		})
	}
	bounds := &pebble.IterOptions{LowerBound: rowKey(t.ID, sp.start), UpperBound: prefixEnd(tablePrefix(t.ID))}
	if len(sp.end) > 0 {
		bounds.UpperBound = rowKey(t.ID, sp.end)
	}
	it, err := s.store.NewIterWithContext(ctx, bounds)
	if err != nil {
		return storeError(err)
	}
	defer func() {
		if e := it.Close(); err == nil && e != nil {
			err = storeError(e)
		}
	}()
	first, next := it.First, it.Next
	if backwards {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		if err := ctx.Err(); err != nil {
			return status.FromContextError(err).Err()
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return storeError(err)
		}
		row, err := t.cells(value)
		if err != nil {
			return err
		}
		if len(row) == 0 {
			continue
		}
		if err := f(it.Key()[prefixLen:], row); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return nil
}

// cells returns the cells of a stored row, sorted by family, qualifier and
// timestamp, newest first. They borrow from value.
func (t *table) cells(value []byte) ([]filteredCell, error) {
	c, err := decode(value)
	if err != nil {
		return nil, storeError(err)
	}
	n := 0
	for _, col := range c.columns {
		n += len(col.cells)
	}
	row := make([]filteredCell, 0, n)
	for _, col := range c.columns {
		family, ok := t.names[col.family]
		if !ok {
			continue // dropped
		}
		for _, cell := range col.cells {
			row = append(row, filteredCell{familyID: col.family, family: family, qualifier: col.qualifier, micros: cell.micros, value: cell.value})
		}
	}
	return row, nil
}

// messageBytes is about how large an answer gets before it is sent. It holds whole
// rows, as the Go client wants it.
const messageBytes = 64 << 10

// rowWriter packs rows into answers.
type rowWriter struct {
	send   func(*bigtablepb.ReadRowsResponse) error
	chunks []*bigtablepb.ReadRowsResponse_CellChunk
	size   int
	stats  bigtablepb.ReadIterationStats
}

// row adds a row, which has cells. A family or qualifier is only said where it is
// another than the cell's before.
func (w *rowWriter) row(key []byte, row []filteredCell) error {
	w.stats.RowsReturnedCount++
	w.stats.CellsReturnedCount += int64(len(row))
	for i, c := range row {
		chunk := &bigtablepb.ReadRowsResponse_CellChunk{TimestampMicros: c.micros, Value: bytes.Clone(c.value)}
		if c.label != "" {
			chunk.Labels = []string{c.label}
		}
		newFamily := i == 0 || c.familyID != row[i-1].familyID
		if newFamily {
			chunk.FamilyName = wrapperspb.String(c.family)
		}
		if newFamily || !bytes.Equal(c.qualifier, row[i-1].qualifier) {
			chunk.Qualifier = wrapperspb.Bytes(bytes.Clone(c.qualifier))
		}
		if i == 0 {
			chunk.RowKey = bytes.Clone(key)
		}
		if i == len(row)-1 {
			chunk.RowStatus = &bigtablepb.ReadRowsResponse_CellChunk_CommitRow{CommitRow: true}
		}
		w.chunks = append(w.chunks, chunk)
		w.size += 32 + len(key) + len(c.qualifier) + len(c.value)
	}
	if w.size < messageBytes {
		return nil
	}
	return w.flush()
}

func (w *rowWriter) flush() error {
	if len(w.chunks) == 0 {
		return nil
	}
	err := w.send(&bigtablepb.ReadRowsResponse{Chunks: w.chunks})
	w.chunks, w.size = nil, 0
	return err
}

// SampleRowKeys answers with the last keys of the store's tables, and at the end
// the empty key, which stands for the end of the table.
func (d dataServer) SampleRowKeys(req *bigtablepb.SampleRowKeysRequest, client bigtablepb.Bigtable_SampleRowKeysServer) error {
	t := d.s.table(req.TableName)
	if t == nil {
		return notFound(req.TableName)
	}
	prefix := tablePrefix(t.ID)
	levels, err := d.s.store.SSTables(pebble.WithKeyRangeFilter(prefix, prefixEnd(prefix)))
	if err != nil {
		return storeError(err)
	}
	type sample struct {
		key  []byte
		size int64
	}
	var samples []sample
	for _, level := range levels {
		for _, file := range level {
			s := sample{size: int64(file.Size)}
			// A file may go on into the next table: its rest counts to the end.
			if key := file.Largest.UserKey; bytes.HasPrefix(key, prefix) {
				s.key = key[prefixLen:]
			}
			samples = append(samples, s)
		}
	}
	slices.SortFunc(samples, func(a, b sample) int { return compareEnds(a.key, b.key) })
	offset := int64(0)
	for i, s := range samples {
		offset += s.size
		if len(s.key) == 0 || i+1 < len(samples) && bytes.Equal(s.key, samples[i+1].key) {
			continue
		}
		if err := client.Send(&bigtablepb.SampleRowKeysResponse{RowKey: s.key, OffsetBytes: offset}); err != nil {
			return err
		}
	}
	return client.Send(&bigtablepb.SampleRowKeysResponse{OffsetBytes: offset})
}
