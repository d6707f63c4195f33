package bigtabled

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"time"

	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"github.com/cockroachdb/pebble/v2"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (d dataServer) MutateRow(_ context.Context, req *bigtablepb.MutateRowRequest) (*bigtablepb.MutateRowResponse, error) {
	err := d.s.writeRow(req.TableName, req.RowKey, req.Mutations)
	if err == nil {
		err = d.s.ackFault("MutateRow")
	}
	if err != nil {
		return nil, err
	}
	return &bigtablepb.MutateRowResponse{}, nil
}

func (d dataServer) MutateRows(req *bigtablepb.MutateRowsRequest, client bigtablepb.Bigtable_MutateRowsServer) error {
	d.s.mu.RLock()
	answers, err := d.s.write(req)
	d.s.mu.RUnlock()
	if err == nil {
		err = d.s.ackFault("MutateRows")
	}
	if err != nil {
		return err
	}
	return client.Send(&bigtablepb.MutateRowsResponse{Entries: answers})
}

func (s *Server) writeRow(table string, key []byte, muts []*bigtablepb.Mutation) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.writeRowLocked(table, key, muts)
}

func (s *Server) writeRowLocked(table string, key []byte, muts []*bigtablepb.Mutation) error {
	answers, err := s.write(&bigtablepb.MutateRowsRequest{
		TableName: table,
		Entries:   []*bigtablepb.MutateRowsRequest_Entry{{RowKey: key, Mutations: muts}},
	})
	if err != nil {
		return err
	}
	return status.ErrorProto(answers[0].Status)
}

// CheckAndMutateRow lets no other write happen between its reading and writing.
func (d dataServer) CheckAndMutateRow(ctx context.Context, req *bigtablepb.CheckAndMutateRowRequest) (*bigtablepb.CheckAndMutateRowResponse, error) {
	matched, err := d.s.checkAndMutate(req)
	if err == nil {
		err = d.s.ackFault("CheckAndMutateRow")
	}
	if err != nil {
		return nil, err
	}
	return &bigtablepb.CheckAndMutateRowResponse{PredicateMatched: matched}, nil
}

func (s *Server) checkAndMutate(req *bigtablepb.CheckAndMutateRowRequest) (matched bool, err error) {
	if len(req.RowKey) == 0 {
		return false, status.Error(codes.InvalidArgument, "row key is empty")
	}
	filter, err := compileFilter(req.PredicateFilter)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[req.TableName]
	if t == nil {
		return false, notFound(req.TableName)
	}
	err = s.readRow(t, req.RowKey, new(reading), func(row []filteredCell) error {
		matched = len(filter.apply(new(rowRun), req.RowKey, row)) > 0
		return nil
	})
	if err != nil {
		return false, err
	}
	muts := req.FalseMutations
	if matched {
		muts = req.TrueMutations
	}
	if len(muts) == 0 {
		return matched, nil
	}
	return matched, s.writeRowLocked(req.TableName, req.RowKey, muts)
}

// ReadModifyWriteRow applies its rules in order, each to the newest cell of its
// column. A new cell's timestamp is now, or that of the cell it replaces if that
// lies in the future.
func (d dataServer) ReadModifyWriteRow(_ context.Context, req *bigtablepb.ReadModifyWriteRowRequest) (*bigtablepb.ReadModifyWriteRowResponse, error) {
	row, err := d.s.readModifyWrite(req)
	if err == nil {
		err = d.s.ackFault("ReadModifyWriteRow")
	}
	if err != nil {
		return nil, err
	}
	return &bigtablepb.ReadModifyWriteRowResponse{Row: row}, nil
}

func (s *Server) readModifyWrite(req *bigtablepb.ReadModifyWriteRowRequest) (*bigtablepb.Row, error) {
	if len(req.Rules) == 0 {
		return nil, status.Error(codes.InvalidArgument, "no rules")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[req.TableName]
	if t == nil {
		return nil, notFound(req.TableName)
	}
	// The newest cells by column, as rules before left them.
	type columnName struct{ family, qualifier string }
	newest := map[columnName]cell{}
	err := s.readRow(t, req.RowKey, new(reading), func(row []filteredCell) error {
		for _, c := range row {
			name := columnName{c.family, string(c.qualifier)}
			if _, ok := newest[name]; !ok {
				newest[name] = cell{c.micros, slices.Clone(c.value)}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixMicro()
	now -= now % granularity(t.def)
	written := map[columnName]*bigtablepb.Mutation_SetCell{}
	for _, rule := range req.Rules {
		name := columnName{rule.FamilyName, string(rule.ColumnQualifier)}
		old, ok := newest[name]
		next := cell{micros: max(now, old.micros)}
		switch r := rule.Rule.(type) {
		case *bigtablepb.ReadModifyWriteRule_AppendValue:
			next.value = slices.Concat(old.value, r.AppendValue)
		case *bigtablepb.ReadModifyWriteRule_IncrementAmount:
			var n uint64
			if ok {
				if len(old.value) != 8 {
					return nil, status.Errorf(codes.FailedPrecondition, "column %s:%s has a value of %d bytes, want the 8 of an int64, to increment it", rule.FamilyName, rule.ColumnQualifier, len(old.value))
				}
				n = binary.BigEndian.Uint64(old.value)
			}
			next.value = binary.BigEndian.AppendUint64(nil, n+uint64(r.IncrementAmount))
		default:
			return nil, status.Errorf(codes.InvalidArgument, "rule of column %s:%s says neither append nor increment", rule.FamilyName, rule.ColumnQualifier)
		}
		newest[name] = next
		written[name] = &bigtablepb.Mutation_SetCell{
			FamilyName: rule.FamilyName, ColumnQualifier: rule.ColumnQualifier, TimestampMicros: next.micros, Value: next.value,
		}
	}
	var sets []*bigtablepb.Mutation_SetCell
	var muts []*bigtablepb.Mutation
	for _, set := range written {
		sets = append(sets, set)
		muts = append(muts, &bigtablepb.Mutation{Mutation: &bigtablepb.Mutation_SetCell_{SetCell: set}})
	}
	if err := s.writeRowLocked(req.TableName, req.RowKey, muts); err != nil {
		return nil, err
	}
	slices.SortFunc(sets, func(a, b *bigtablepb.Mutation_SetCell) int {
		return cmp.Or(cmp.Compare(t.Families[a.FamilyName], t.Families[b.FamilyName]), slices.Compare(a.ColumnQualifier, b.ColumnQualifier))
	})
	out := &bigtablepb.Row{Key: req.RowKey}
	for _, set := range sets {
		if n := len(out.Families); n == 0 || out.Families[n-1].Name != set.FamilyName {
			out.Families = append(out.Families, &bigtablepb.Family{Name: set.FamilyName})
		}
		family := out.Families[len(out.Families)-1]
		family.Columns = append(family.Columns, &bigtablepb.Column{
			Qualifier: set.ColumnQualifier,
			Cells:     []*bigtablepb.Cell{{TimestampMicros: set.TimestampMicros, Value: set.Value}},
		})
	}
	return out, nil
}

func (s *Server) ackFault(method string) error {
	if s.opts.AckFault == nil {
		return nil
	}
	return s.opts.AckFault(method)
}

type answer = bigtablepb.MutateRowsResponse_Entry

var entryOK = &statuspb.Status{}

// yieldAfter is how many rows of a bulk write are prepared before reads that wait
// for a processor get it: the rest of thousands would keep it for milliseconds.
const yieldAfter = 64

// write applies a bulk write, all at once, and returns an answer for each entry.
// An error is for the request as a whole, of which nothing was then written. It
// is called with mu held, for reading at least.
func (s *Server) write(req *bigtablepb.MutateRowsRequest) ([]*answer, error) {
	t := s.tables[req.TableName]
	if t == nil {
		return nil, notFound(req.TableName)
	}
	mutations := 0
	for _, e := range req.Entries {
		mutations += len(e.Mutations)
	}
	if mutations == 0 || mutations > maxMutations {
		return nil, status.Errorf(codes.InvalidArgument, "%d mutations in a request, want 1 to %d", mutations, maxMutations)
	}

	batch := s.store.NewBatch()
	defer batch.Close()
	answers := make([]*answer, len(req.Entries))
	var rows, cells int64
	var value, key []byte
	var m memory
	for i, e := range req.Entries {
		if i%yieldAfter == yieldAfter-1 {
			runtime.Gosched()
		}
		settle(t.def, e.Mutations)
		err := check(t.def, e.RowKey, e.Mutations)
		if err == nil && s.opts.EntryFault != nil {
			err = s.opts.EntryFault(string(e.RowKey))
		}
		answers[i] = &answer{Index: int64(i), Status: entryOK}
		if err != nil {
			answers[i].Status = status.Convert(err).Proto()
			continue
		}
		m.reset()
		value, key = compile(t, e.Mutations, &m).append(value[:0]), appendRowKey(key[:0], t.ID, e.RowKey)
		if err := batch.Merge(key, value, nil); err != nil {
			return nil, storeError(err)
		}
		rows++
		for _, m := range e.Mutations {
			if m.GetSetCell() != nil {
				cells++
			}
		}
	}
	if rows == 0 {
		return answers, nil
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return nil, storeError(err)
	}
	s.rows.Add(rows)
	s.cells.Add(cells)
	return answers, nil
}

func notFound(table string) error { return status.Errorf(codes.NotFound, "table %q not found", table) }

// storeError is the answer where the store failed.
func storeError(err error) error {
	if errors.Is(err, pebble.ErrClosed) {
		return status.Error(codes.Unavailable, "bigtabled: closed")
	}
	return status.Errorf(codes.Internal, "bigtabled: %v", err)
}
