package bigtabled

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
	"unsafe"

	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"
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
	r := readings.Get().(*reading)
	defer r.end()
	w := rowWriter{send: client.SendMsg, chunk: r.chunk}
	defer func() { r.chunk = w.chunk }()
	for _, sp := range all {
		err := d.s.scan(client.Context(), t, sp, req.Reversed, r, func(key []byte, row []filteredCell) error {
			w.stats.RowsSeenCount++
			w.stats.CellsSeenCount += int64(len(row))
			if row = filter.apply(&r.run, key, row); len(row) == 0 {
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

// reading is what reading rows needs; it serves for one row after another, and for
// one request after another.
type reading struct {
	memory memory
	cells  []filteredCell
	run    rowRun
	key    []byte // of the store
	chunk  []byte
}

var readings = sync.Pool{New: func() any { return new(reading) }}

// end gives the memory back, unless it is more than most requests need.
func (r *reading) end() {
	if r.memory.size()+r.run.size()+cap(r.cells)*int(unsafe.Sizeof(filteredCell{}))+cap(r.chunk) > maxPooled {
		return
	}
	r.memory.reset()
	r.run.reset()
	clear(r.cells[:cap(r.cells)])
	readings.Put(r)
}

// readRow calls f with the cells of a row, which may be none and are valid until
// f returns.
func (s *Server) readRow(t *table, key []byte, r *reading, f func(row []filteredCell) error) error {
	r.key = appendRowKey(r.key[:0], t.ID, key)
	value, closer, err := s.store.Get(r.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return f(nil)
	}
	if err != nil {
		return storeError(err)
	}
	defer closer.Close()
	row, err := r.decode(t, value)
	if err != nil {
		return err
	}
	return f(row)
}

// scan calls f with each row of a span that has cells, in order of keys or
// backwards, until f returns an error. Key and row are valid until f returns.
func (s *Server) scan(ctx context.Context, t *table, sp span, backwards bool, r *reading, f func(key []byte, row []filteredCell) error) (err error) {
	if sp.one {
		return s.readRow(t, sp.start, r, func(row []filteredCell) error {
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
		row, err := r.decode(t, value)
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

// decode returns the cells of a stored row, sorted by family, qualifier and
// timestamp, newest first. They borrow from value, and are valid until the next row.
func (r *reading) decode(t *table, value []byte) ([]filteredCell, error) {
	r.memory.reset()
	c, err := decode(value, &r.memory)
	if err != nil {
		return nil, storeError(err)
	}
	row := r.cells[:0]
	for _, col := range c.columns {
		family, ok := t.names[col.family]
		if !ok {
			continue // dropped
		}
		for _, cell := range col.cells {
			row = append(row, filteredCell{familyID: col.family, family: family, qualifier: col.qualifier, micros: cell.micros, value: cell.value})
		}
	}
	r.cells = row
	return row, nil
}

// messageBytes is about how large an answer gets before it is sent. It holds whole
// rows, as the Go client wants it.
const messageBytes = 64 << 10

// rowWriter packs rows into answers.
type rowWriter struct {
	send  func(any) error
	msg   *[]byte // a ReadRowsResponse of chunks, of gRPC's pool; nil if there are none
	chunk []byte
	stats bigtablepb.ReadIterationStats
}

// Field numbers of google.bigtable.v2.ReadRowsResponse and its CellChunk.
const (
	fieldChunks = 1

	fieldRowKey    = 1
	fieldFamily    = 2 // a StringValue
	fieldQualifier = 3 // a BytesValue
	fieldTimestamp = 4
	fieldLabels    = 5
	fieldValue     = 6
	fieldCommitRow = 9

	fieldWrapped = 1 // of StringValue and BytesValue
)

// row adds a row, which has cells. A family or qualifier is only said where it is
// another than the cell's before.
//
// It writes the wire format itself: a row has many cells, and to make a message of
// each takes longer than all else that is done for a read.
func (w *rowWriter) row(key []byte, row []filteredCell) error {
	w.stats.RowsReturnedCount++
	w.stats.CellsReturnedCount += int64(len(row))
	size := len(key)
	for i := range row {
		size += 24 + len(row[i].qualifier) + len(row[i].value)
	}
	msg := w.grow(size)
	for i := range row {
		c, b := &row[i], w.chunk[:0]
		if i == 0 {
			b = appendField(b, fieldRowKey, key)
		}
		newFamily := i == 0 || c.familyID != row[i-1].familyID
		if newFamily {
			b = appendWrapped(b, fieldFamily, c.family)
		}
		if newFamily || !bytes.Equal(c.qualifier, row[i-1].qualifier) {
			b = appendWrapped(b, fieldQualifier, c.qualifier)
		}
		if c.micros != 0 {
			b = protowire.AppendVarint(protowire.AppendTag(b, fieldTimestamp, protowire.VarintType), uint64(c.micros))
		}
		if c.label != "" {
			b = appendField(b, fieldLabels, c.label)
		}
		if len(c.value) > 0 {
			b = appendField(b, fieldValue, c.value)
		}
		if i == len(row)-1 {
			b = protowire.AppendVarint(protowire.AppendTag(b, fieldCommitRow, protowire.VarintType), 1)
		}
		msg = appendField(msg, fieldChunks, b)
		w.chunk = b
	}
	*w.msg = msg
	if len(msg) < messageBytes {
		return nil
	}
	return w.flush()
}

// grow returns the message with room for n bytes more.
func (w *rowWriter) grow(n int) []byte {
	pool := mem.DefaultBufferPool()
	if w.msg == nil {
		w.msg = pool.Get(n)
		return (*w.msg)[:0]
	}
	msg := *w.msg
	if cap(msg)-len(msg) >= n {
		return msg
	}
	larger := pool.Get(max(len(msg)+n, messageBytes))
	*larger = append((*larger)[:0], msg...)
	pool.Put(w.msg)
	w.msg = larger
	return *larger
}

func appendField[T ~string | ~[]byte](dst []byte, field protowire.Number, value T) []byte {
	dst = protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.BytesType), uint64(len(value)))
	return append(dst, value...)
}

// appendWrapped appends a StringValue or a BytesValue.
func appendWrapped[T ~string | ~[]byte](dst []byte, field protowire.Number, value T) []byte {
	if len(value) == 0 {
		return appendField(dst, field, "")
	}
	size := protowire.SizeTag(fieldWrapped) + protowire.SizeBytes(len(value))
	dst = protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.BytesType), uint64(size))
	return appendField(dst, fieldWrapped, value)
}

func (w *rowWriter) flush() error {
	if w.msg == nil {
		return nil
	}
	err := w.send(encoded{w.msg})
	w.msg = nil // it is on its way
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
