package bigtabled

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"pixelbeam/schemas"
)

// adminServer is the table admin API. What it does not have, it answers with
// Unimplemented.
type adminServer struct {
	adminpb.UnimplementedBigtableTableAdminServer
	s *Server
}

// instanceServer is the instance admin API: instances are names, and any will do.
type instanceServer struct {
	adminpb.UnimplementedBigtableInstanceAdminServer
}

// EnsureTable makes the table, its families and its GC rules what t says,
// creating what is missing; where an age and a number of versions are limited, a
// cell goes that exceeds either. Families that t does not name stay.
func (s *Server) EnsureTable(_ context.Context, project, instance string, t schemas.ProfileTable) error {
	name := fmt.Sprintf("projects/%s/instances/%s/tables/%s", project, instance, t.Table)
	s.mu.Lock()
	defer s.mu.Unlock()
	want := &adminpb.Table{Name: name}
	if have := s.tables[name]; have != nil {
		want = proto.CloneOf(have.def)
	}
	if want.ColumnFamilies == nil {
		want.ColumnFamilies = map[string]*adminpb.ColumnFamily{}
	}
	for id, f := range t.Families {
		want.ColumnFamilies[id] = &adminpb.ColumnFamily{GcRule: gcRule(f)}
	}
	return s.setTable(want)
}

func gcRule(f schemas.Family) *adminpb.GcRule {
	var rules []*adminpb.GcRule
	if f.MaxAgeDays > 0 {
		age := durationpb.New(time.Duration(f.MaxAgeDays) * 24 * time.Hour)
		rules = append(rules, &adminpb.GcRule{Rule: &adminpb.GcRule_MaxAge{MaxAge: age}})
	}
	if f.MaxVersions > 0 {
		rules = append(rules, &adminpb.GcRule{Rule: &adminpb.GcRule_MaxNumVersions{MaxNumVersions: int32(f.MaxVersions)}})
	}
	switch len(rules) {
	case 0:
		return nil
	case 1:
		return rules[0]
	}
	return &adminpb.GcRule{Rule: &adminpb.GcRule_Union_{Union: &adminpb.GcRule_Union{Rules: rules}}}
}

func (a adminServer) CreateTable(_ context.Context, req *adminpb.CreateTableRequest) (*adminpb.Table, error) {
	table := proto.CloneOf(req.GetTable())
	if table == nil {
		table = &adminpb.Table{}
	}
	table.Name = req.Parent + "/tables/" + req.TableId
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.tables[table.Name] != nil {
		return nil, status.Errorf(codes.AlreadyExists, "table %q already exists", table.Name)
	}
	if err := a.s.setTable(table); err != nil {
		return nil, err
	}
	return proto.CloneOf(table), nil
}

func (a adminServer) GetTable(_ context.Context, req *adminpb.GetTableRequest) (*adminpb.Table, error) {
	t := a.s.table(req.Name)
	if t == nil {
		return nil, notFound(req.Name)
	}
	return proto.CloneOf(t.def), nil
}

func (a adminServer) ListTables(_ context.Context, req *adminpb.ListTablesRequest) (*adminpb.ListTablesResponse, error) {
	resp := &adminpb.ListTablesResponse{}
	a.s.mu.RLock()
	defer a.s.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(a.s.tables)) {
		if strings.HasPrefix(name, req.Parent+"/tables/") {
			resp.Tables = append(resp.Tables, &adminpb.Table{Name: name})
		}
	}
	return resp, nil
}

// consistencyToken is the only one: what was written can be read at once.
const consistencyToken = "consistent"

func (a adminServer) GenerateConsistencyToken(_ context.Context, req *adminpb.GenerateConsistencyTokenRequest) (*adminpb.GenerateConsistencyTokenResponse, error) {
	if a.s.table(req.Name) == nil {
		return nil, notFound(req.Name)
	}
	return &adminpb.GenerateConsistencyTokenResponse{ConsistencyToken: consistencyToken}, nil
}

func (a adminServer) CheckConsistency(_ context.Context, req *adminpb.CheckConsistencyRequest) (*adminpb.CheckConsistencyResponse, error) {
	switch {
	case a.s.table(req.Name) == nil:
		return nil, notFound(req.Name)
	case req.ConsistencyToken != consistencyToken:
		return nil, status.Errorf(codes.InvalidArgument, "unknown consistency token %q", req.ConsistencyToken)
	}
	return &adminpb.CheckConsistencyResponse{Consistent: true}, nil
}

func (a adminServer) ModifyColumnFamilies(_ context.Context, req *adminpb.ModifyColumnFamiliesRequest) (*adminpb.Table, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for _, mod := range req.Modifications {
		have := a.s.tables[req.Name]
		if have == nil {
			return nil, notFound(req.Name)
		}
		want := proto.CloneOf(have.def)
		if err := modify(want, mod); err != nil {
			return nil, err
		}
		// One at a time: a family that is dropped and created anew is empty.
		if err := a.s.setTable(want); err != nil {
			return nil, err
		}
	}
	t := a.s.tables[req.Name]
	if t == nil {
		return nil, notFound(req.Name)
	}
	return proto.CloneOf(t.def), nil
}

func modify(t *adminpb.Table, mod *adminpb.ModifyColumnFamiliesRequest_Modification) error {
	family := t.ColumnFamilies[mod.Id]
	if mod.GetCreate() == nil && family == nil {
		return status.Errorf(codes.NotFound, "column family %q not found in table %s", mod.Id, t.Name)
	}
	switch {
	case mod.GetCreate() != nil:
		if family != nil {
			return status.Errorf(codes.AlreadyExists, "column family %q already exists in table %s", mod.Id, t.Name)
		}
		if t.ColumnFamilies == nil {
			t.ColumnFamilies = map[string]*adminpb.ColumnFamily{}
		}
		t.ColumnFamilies[mod.Id] = mod.GetCreate()
	case mod.GetDrop():
		if t.DeletionProtection {
			return status.Errorf(codes.FailedPrecondition, "table %s is protected from deletion", t.Name)
		}
		delete(t.ColumnFamilies, mod.Id)
	case mod.GetUpdate() != nil:
		for _, path := range mod.GetUpdateMask().GetPaths() {
			if path != "gc_rule" {
				return status.Errorf(codes.Unimplemented, "bigtabled: a column family's %s cannot be updated", path)
			}
		}
		family.GcRule = mod.GetUpdate().GcRule
	default:
		return status.Errorf(codes.InvalidArgument, "column family %q: no modification given", mod.Id)
	}
	return nil
}

func (a adminServer) DeleteTable(_ context.Context, req *adminpb.DeleteTableRequest) (*emptypb.Empty, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	t := a.s.tables[req.Name]
	switch {
	case t == nil:
		return nil, notFound(req.Name)
	case t.def.DeletionProtection:
		return nil, status.Errorf(codes.FailedPrecondition, "table %q is protected from deletion", req.Name)
	}
	batch := a.s.store.NewBatch()
	defer batch.Close()
	prefix := tablePrefix(t.ID)
	err := errors.Join(batch.Delete(definitionKey(req.Name), nil), batch.DeleteRange(prefix, prefixEnd(prefix), nil))
	if err == nil {
		err = batch.Commit(pebble.Sync)
	}
	if err != nil {
		return nil, storeError(err)
	}
	delete(a.s.tables, req.Name)
	return &emptypb.Empty{}, nil
}

func (a adminServer) DropRowRange(_ context.Context, req *adminpb.DropRowRangeRequest) (*emptypb.Empty, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	t := a.s.tables[req.Name]
	if t == nil {
		return nil, notFound(req.Name)
	}
	prefix := tablePrefix(t.ID)
	if !req.GetDeleteAllDataFromTable() {
		if len(req.GetRowKeyPrefix()) == 0 {
			return nil, status.Error(codes.InvalidArgument, "row key prefix is empty")
		}
		prefix = rowKey(t.ID, req.GetRowKeyPrefix())
	}
	if err := a.s.store.DeleteRange(prefix, prefixEnd(prefix), pebble.Sync); err != nil {
		return nil, storeError(err)
	}
	return &emptypb.Empty{}, nil
}

// setTable stores a table's definition, whatever it was before.
func (s *Server) setTable(want *adminpb.Table) error {
	switch want.Granularity {
	case adminpb.Table_TIMESTAMP_GRANULARITY_UNSPECIFIED, adminpb.Table_MILLIS, adminpb.Table_MICROS:
	default:
		return status.Errorf(codes.InvalidArgument, "unknown timestamp granularity %v", want.Granularity)
	}
	for id, f := range want.ColumnFamilies {
		if f.GetValueType().GetAggregateType() != nil {
			return status.Errorf(codes.Unimplemented, "bigtabled: column family %q: aggregates are not supported", id)
		}
	}
	have := s.tables[want.Name]
	if have != nil && proto.Equal(have.def, want) {
		return nil
	}
	batch := s.store.NewBatch()
	defer batch.Close()
	var n numbers
	var err error
	if have != nil {
		n = have.numbers
	} else {
		n.ID = s.nextTable
		err = batch.Set(nextTableKey, binary.BigEndian.AppendUint32(nil, n.ID+1), nil)
	}
	t := newTable(want, n)
	value, encodeErr := t.encode()
	err = errors.Join(err, encodeErr, batch.Set(definitionKey(want.Name), value, nil))
	if err == nil {
		err = batch.Commit(pebble.Sync)
	}
	if err != nil {
		return storeError(err)
	}
	if have == nil {
		s.nextTable++
	}
	s.tables[want.Name] = t
	return nil
}

// loadTables reads the tables' definitions at the start.
func (s *Server) loadTables() error {
	s.nextTable = 1
	value, closer, err := s.store.Get(nextTableKey)
	if err == nil {
		if len(value) != 4 {
			return fmt.Errorf("number of the next table: %w", errDamaged)
		}
		s.nextTable = binary.BigEndian.Uint32(value)
		err = closer.Close()
	}
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	first := definitionKey("")
	it, err := s.store.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: prefixEnd(first)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		t, err := decodeTable(value)
		if err != nil {
			return errors.Join(fmt.Errorf("definition of table %q: %w", it.Key()[len(first):], err), it.Close())
		}
		s.tables[t.def.Name] = t
	}
	return it.Close()
}
