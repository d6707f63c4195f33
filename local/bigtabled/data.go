package bigtabled

import (
	"context"
	"fmt"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// dataServer is the data API: reads go to bttest, writes through the log.
type dataServer struct {
	bigtablepb.BigtableServer
	s *Server
}

// ReadRows holds the lock while bttest copies a row, and lets go of it while the
// row is sent, so that a slow reader stops no writer.
func (d dataServer) ReadRows(req *bigtablepb.ReadRowsRequest, client bigtablepb.Bigtable_ReadRowsServer) error {
	return d.s.readRows(client.Context(), req, client.Send)
}

func (s *Server) readRows(ctx context.Context, req *bigtablepb.ReadRowsRequest, send func(*bigtablepb.ReadRowsResponse) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.back.data.ReadRows(req, stream[bigtablepb.ReadRowsResponse]{ctx: ctx, send: func(m *bigtablepb.ReadRowsResponse) error {
		s.mu.RUnlock()
		defer s.mu.RLock()
		if err := ctx.Err(); err != nil {
			return status.FromContextError(err).Err()
		}
		return send(m)
	}})
}

func (d dataServer) MutateRow(_ context.Context, req *bigtablepb.MutateRowRequest) (*bigtablepb.MutateRowResponse, error) {
	answers, err := d.s.write(&bigtablepb.MutateRowsRequest{
		TableName: req.TableName,
		Entries:   []*bigtablepb.MutateRowsRequest_Entry{{RowKey: req.RowKey, Mutations: req.Mutations}},
	})
	if err == nil {
		err = status.ErrorProto(answers[0].Status)
	}
	if err == nil {
		err = d.s.ackFault("MutateRow")
	}
	if err != nil {
		return nil, err
	}
	return &bigtablepb.MutateRowResponse{}, nil
}

func (d dataServer) MutateRows(req *bigtablepb.MutateRowsRequest, client bigtablepb.Bigtable_MutateRowsServer) error {
	answers, err := d.s.write(req)
	if err == nil {
		err = d.s.ackFault("MutateRows")
	}
	if err != nil {
		return err
	}
	return client.Send(&bigtablepb.MutateRowsResponse{Entries: answers})
}

// CheckAndMutateRow decides first and then writes the mutations decided on, so
// that the log holds those and not the condition.
func (d dataServer) CheckAndMutateRow(ctx context.Context, req *bigtablepb.CheckAndMutateRowRequest) (*bigtablepb.CheckAndMutateRowResponse, error) {
	resp, err := d.checkAndMutate(ctx, req)
	if err == nil {
		err = d.s.ackFault("CheckAndMutateRow")
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (d dataServer) checkAndMutate(ctx context.Context, req *bigtablepb.CheckAndMutateRowRequest) (*bigtablepb.CheckAndMutateRowResponse, error) {
	if len(req.RowKey) == 0 {
		return nil, status.Error(codes.InvalidArgument, "row key is empty")
	}
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	decision, err := d.s.back.data.CheckAndMutateRow(ctx, &bigtablepb.CheckAndMutateRowRequest{
		TableName: req.TableName, RowKey: req.RowKey, PredicateFilter: req.PredicateFilter,
	})
	if err != nil {
		return nil, err
	}
	muts := req.FalseMutations
	if decision.PredicateMatched {
		muts = req.TrueMutations
	}
	if len(muts) == 0 {
		return decision, nil
	}
	answers, err := d.s.writeLocked(&bigtablepb.MutateRowsRequest{
		TableName: req.TableName,
		Entries:   []*bigtablepb.MutateRowsRequest_Entry{{RowKey: req.RowKey, Mutations: muts}},
	})
	if err == nil {
		err = status.ErrorProto(answers[0].Status)
	}
	return decision, err
}

func (d dataServer) ReadModifyWriteRow(context.Context, *bigtablepb.ReadModifyWriteRowRequest) (*bigtablepb.ReadModifyWriteRowResponse, error) {
	return nil, status.Error(codes.Unimplemented, "bigtabled: ReadModifyWriteRow is not supported, because a retry changes its outcome: use SetCell of an absolute value")
}

func (s *Server) ackFault(method string) error {
	if s.opts.AckFault == nil {
		return nil
	}
	return s.opts.AckFault(method)
}

type answer = bigtablepb.MutateRowsResponse_Entry

// write logs and applies a bulk write and returns an answer for each entry. An
// error is for the request as a whole, of which nothing was then written.
func (s *Server) write(req *bigtablepb.MutateRowsRequest) ([]*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(req)
}

func (s *Server) writeLocked(req *bigtablepb.MutateRowsRequest) ([]*answer, error) {
	table := s.tables[req.TableName]
	if table == nil {
		return nil, status.Errorf(codes.NotFound, "table %q not found", req.TableName)
	}
	mutations := 0
	for _, e := range req.Entries {
		mutations += len(e.Mutations)
	}
	if mutations == 0 || mutations > maxMutations {
		return nil, status.Errorf(codes.InvalidArgument, "%d mutations in a request, want 1 to %d", mutations, maxMutations)
	}

	answers := make([]*answer, len(req.Entries))
	accepted := &bigtablepb.MutateRowsRequest{TableName: req.TableName}
	cells := int64(0)
	for i, e := range req.Entries {
		settle(table, e.Mutations)
		err := check(table, e.RowKey, e.Mutations)
		if err == nil && s.opts.EntryFault != nil {
			err = s.opts.EntryFault(string(e.RowKey))
		}
		answers[i] = &answer{Index: int64(i), Status: &statuspb.Status{}}
		if err != nil {
			answers[i].Status = status.Convert(err).Proto()
			continue
		}
		accepted.Entries = append(accepted.Entries, e)
		for _, m := range e.Mutations {
			if m.GetSetCell() != nil {
				cells++
			}
		}
	}
	if len(accepted.Entries) == 0 {
		return answers, nil
	}
	if err := s.log(recordRows, accepted); err != nil {
		return nil, err
	}
	if err := s.apply(table, accepted); err != nil {
		return nil, s.fail(err)
	}
	s.rows.Add(int64(len(accepted.Entries)))
	s.cells.Add(cells)
	return answers, nil
}

// apply hands checked entries to bttest.
func (s *Server) apply(table *adminpb.Table, req *bigtablepb.MutateRowsRequest) error {
	trimmed := &bigtablepb.MutateRowsRequest{TableName: req.TableName, Entries: make([]*bigtablepb.MutateRowsRequest_Entry, len(req.Entries))}
	for i, e := range req.Entries {
		trimmed.Entries[i] = &bigtablepb.MutateRowsRequest_Entry{RowKey: e.RowKey, Mutations: trimVersions(table, e.Mutations)}
	}
	return s.back.data.MutateRows(trimmed, stream[bigtablepb.MutateRowsResponse]{ctx: context.Background(), send: func(m *bigtablepb.MutateRowsResponse) error {
		for _, e := range m.Entries {
			if e.Status.GetCode() != 0 {
				return fmt.Errorf("bttest refused a checked row %q: %s", req.Entries[e.Index].RowKey, e.Status.GetMessage())
			}
		}
		return nil
	}})
}
