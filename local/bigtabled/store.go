package bigtabled

import (
	"context"
	"fmt"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// log appends a change that is about to be applied. An error is the answer to
// the request.
func (s *Server) log(kind recordKind, m proto.Message) error {
	if s.failed != nil {
		return status.Errorf(codes.Internal, "bigtabled: no more changes since: %v", s.failed)
	}
	broken, err := s.journal.append(kind, m)
	if err == nil {
		s.compact.wakeIf(s.compactionDue())
		return nil
	}
	if broken {
		return s.fail(err)
	}
	return status.Errorf(codes.Unavailable, "bigtabled: write log: %v", err)
}

// fail is for what must not happen: log and memory may differ, so no further
// change is taken. A restart goes by the log.
func (s *Server) fail(err error) error {
	s.failed = err
	return status.Errorf(codes.Internal, "bigtabled: %v", err)
}

// replay applies a record at the start.
func (s *Server) replay(kind recordKind, payload []byte) error {
	ctx := context.Background()
	switch kind {
	case recordTable:
		var table adminpb.Table
		if err := proto.Unmarshal(payload, &table); err != nil {
			return err
		}
		return s.applyTable(&table)
	case recordRows:
		var req bigtablepb.MutateRowsRequest
		if err := proto.Unmarshal(payload, &req); err != nil {
			return err
		}
		table := s.tables[req.TableName]
		if table == nil {
			return fmt.Errorf("rows of unknown table %q", req.TableName)
		}
		return s.apply(table, &req)
	case recordDropRows:
		var req adminpb.DropRowRangeRequest
		if err := proto.Unmarshal(payload, &req); err != nil {
			return err
		}
		_, err := s.back.tables.DropRowRange(ctx, &req)
		return err
	case recordDeleteTable:
		var req adminpb.DeleteTableRequest
		if err := proto.Unmarshal(payload, &req); err != nil {
			return err
		}
		return s.deleteTable(ctx, &req)
	}
	return fmt.Errorf("unknown kind %d", kind)
}
