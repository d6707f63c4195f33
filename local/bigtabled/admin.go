package bigtabled

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"pixelbeam/schemas"
)

// adminServer is the table admin API. GC rules stay here and never reach bttest:
// its own collector forgets to drop the names of emptied columns and then returns
// a column that is written again twice.
type adminServer struct {
	adminpb.BigtableTableAdminServer
	s *Server
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
		want = proto.CloneOf(have)
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
	a.s.mu.RLock()
	defer a.s.mu.RUnlock()
	table := a.s.tables[req.Name]
	if table == nil {
		return nil, status.Errorf(codes.NotFound, "table %q not found", req.Name)
	}
	return proto.CloneOf(table), nil
}

func (a adminServer) ModifyColumnFamilies(_ context.Context, req *adminpb.ModifyColumnFamiliesRequest) (*adminpb.Table, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for _, mod := range req.Modifications {
		have := a.s.tables[req.Name]
		if have == nil {
			return nil, status.Errorf(codes.NotFound, "table %q not found", req.Name)
		}
		want := proto.CloneOf(have)
		if err := modify(want, mod); err != nil {
			return nil, err
		}
		// One at a time: a family that is dropped and created anew is empty.
		if err := a.s.setTable(want); err != nil {
			return nil, err
		}
	}
	table := a.s.tables[req.Name]
	if table == nil {
		return nil, status.Errorf(codes.NotFound, "table %q not found", req.Name)
	}
	return proto.CloneOf(table), nil
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

func (a adminServer) DeleteTable(ctx context.Context, req *adminpb.DeleteTableRequest) (*emptypb.Empty, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	switch table := a.s.tables[req.Name]; {
	case table == nil:
		return nil, status.Errorf(codes.NotFound, "table %q not found", req.Name)
	case table.DeletionProtection:
		return nil, status.Errorf(codes.FailedPrecondition, "table %q is protected from deletion", req.Name)
	}
	if err := a.s.log(recordDeleteTable, req); err != nil {
		return nil, err
	}
	if err := a.s.deleteTable(ctx, req); err != nil {
		return nil, a.s.fail(err)
	}
	return &emptypb.Empty{}, nil
}

func (s *Server) deleteTable(ctx context.Context, req *adminpb.DeleteTableRequest) error {
	delete(s.tables, req.Name)
	_, err := s.back.tables.DeleteTable(ctx, req)
	return err
}

func (a adminServer) DropRowRange(ctx context.Context, req *adminpb.DropRowRangeRequest) (*emptypb.Empty, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.tables[req.Name] == nil {
		return nil, status.Errorf(codes.NotFound, "table %q not found", req.Name)
	}
	if !req.GetDeleteAllDataFromTable() && len(req.GetRowKeyPrefix()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "row key prefix is empty")
	}
	if err := a.s.log(recordDropRows, req); err != nil {
		return nil, err
	}
	if _, err := a.s.back.tables.DropRowRange(ctx, req); err != nil {
		return nil, a.s.fail(err)
	}
	return &emptypb.Empty{}, nil
}

func (a adminServer) UpdateTable(context.Context, *adminpb.UpdateTableRequest) (*longrunningpb.Operation, error) {
	return nil, status.Error(codes.Unimplemented, "bigtabled: UpdateTable is not supported")
}

// setTable logs and applies a table's definition, whatever it was before.
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
	if proto.Equal(s.tables[want.Name], want) {
		return nil
	}
	if err := s.log(recordTable, want); err != nil {
		return err
	}
	if err := s.applyTable(want); err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *Server) applyTable(want *adminpb.Table) error {
	ctx := context.Background()
	have := s.tables[want.Name]
	s.tables[want.Name] = want
	if have == nil {
		parent, id, _ := strings.Cut(want.Name, "/tables/")
		bare := proto.CloneOf(want)
		for _, f := range bare.ColumnFamilies {
			f.GcRule = nil
		}
		_, err := s.back.tables.CreateTable(ctx, &adminpb.CreateTableRequest{Parent: parent, TableId: id, Table: bare})
		return err
	}
	req := &adminpb.ModifyColumnFamiliesRequest{Name: want.Name}
	for id := range have.ColumnFamilies {
		if want.ColumnFamilies[id] == nil {
			req.Modifications = append(req.Modifications, &adminpb.ModifyColumnFamiliesRequest_Modification{
				Id: id, Mod: &adminpb.ModifyColumnFamiliesRequest_Modification_Drop{Drop: true}})
		}
	}
	for id, f := range want.ColumnFamilies {
		if have.ColumnFamilies[id] == nil {
			req.Modifications = append(req.Modifications, &adminpb.ModifyColumnFamiliesRequest_Modification{
				Id: id, Mod: &adminpb.ModifyColumnFamiliesRequest_Modification_Create{Create: &adminpb.ColumnFamily{ValueType: f.ValueType}}})
		}
	}
	if len(req.Modifications) == 0 {
		return nil
	}
	_, err := s.back.tables.ModifyColumnFamilies(ctx, req)
	return err
}
