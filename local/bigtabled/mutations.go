package bigtabled

import (
	"math"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Limits of the service, https://cloud.google.com/bigtable/quotas.
const (
	maxMutations = 100_000  // a request
	maxKey       = 4 << 10  // bytes
	maxQualifier = 16 << 10 // bytes
)

// granularity is the unit of a table's timestamps, in microseconds.
func granularity(t *adminpb.Table) int64 {
	if t.GetGranularity() == adminpb.Table_MICROS {
		return 1
	}
	return 1000
}

// settle gives mutations the timestamps that the server must choose. After that
// they mean the same whenever they are applied.
func settle(t *adminpb.Table, muts []*bigtablepb.Mutation) {
	unit := granularity(t)
	for _, m := range muts {
		set := m.GetSetCell()
		if set == nil {
			continue
		}
		switch {
		case set.TimestampMicros == -1:
			set.TimestampMicros = time.Now().UnixMicro()
		case m.TimestampOrigin != bigtablepb.Mutation_CLIENT_AUTO_GENERATED:
			continue
		}
		set.TimestampMicros -= set.TimestampMicros % unit
	}
}

// check returns why a row's mutations cannot be applied, as a gRPC status. What
// passes, bttest applies without error.
func check(t *adminpb.Table, key []byte, muts []*bigtablepb.Mutation) error {
	if len(key) == 0 || len(key) > maxKey {
		return status.Errorf(codes.InvalidArgument, "row key has %d bytes, want 1 to %d", len(key), maxKey)
	}
	if len(muts) == 0 {
		return status.Errorf(codes.InvalidArgument, "no mutations for row %q", key)
	}
	for _, m := range muts {
		var err error
		switch m := m.GetMutation().(type) {
		case *bigtablepb.Mutation_SetCell_:
			err = checkColumn(t, m.SetCell.FamilyName, m.SetCell.ColumnQualifier)
			if err == nil {
				err = checkTimestamp(t, m.SetCell.TimestampMicros)
			}
		case *bigtablepb.Mutation_DeleteFromColumn_:
			del := m.DeleteFromColumn
			err = checkColumn(t, del.FamilyName, del.ColumnQualifier)
			if r := del.TimeRange; err == nil && r != nil {
				err = checkRange(t, r.StartTimestampMicros, r.EndTimestampMicros)
			}
		case *bigtablepb.Mutation_DeleteFromFamily_:
			err = checkColumn(t, m.DeleteFromFamily.FamilyName, nil)
		case *bigtablepb.Mutation_DeleteFromRow_:
		case nil:
			err = status.Errorf(codes.InvalidArgument, "empty mutation of row %q", key)
		default:
			err = status.Errorf(codes.Unimplemented, "bigtabled: mutation %T is not supported, use SetCell of an absolute value", m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkColumn(t *adminpb.Table, family string, qualifier []byte) error {
	if t.ColumnFamilies[family] == nil {
		return status.Errorf(codes.NotFound, "column family %q not found in table %s", family, t.Name)
	}
	if len(qualifier) > maxQualifier {
		return status.Errorf(codes.InvalidArgument, "column qualifier has %d bytes, want at most %d", len(qualifier), maxQualifier)
	}
	return nil
}

func checkTimestamp(t *adminpb.Table, micros int64) error {
	unit := granularity(t)
	if micros < 0 || micros > math.MaxInt64-math.MaxInt64%unit || micros%unit != 0 {
		return status.Errorf(codes.InvalidArgument, "timestamp %d µs is negative or no multiple of %d µs", micros, unit)
	}
	return nil
}

// checkRange checks start <= t < end; end 0 is infinity.
func checkRange(t *adminpb.Table, start, end int64) error {
	for _, micros := range []int64{start, end} {
		if err := checkTimestamp(t, micros); err != nil {
			return err
		}
	}
	if end != 0 && start >= end {
		return status.Errorf(codes.InvalidArgument, "timestamp range [%d, %d) µs is empty", start, end)
	}
	return nil
}

// trimVersions adds, after each SetCell in a family limited to one version, the
// deletion of the versions before it. It does not change muts.
func trimVersions(t *adminpb.Table, muts []*bigtablepb.Mutation) []*bigtablepb.Mutation {
	var out []*bigtablepb.Mutation
	for i, m := range muts {
		set := m.GetSetCell()
		trim := set != nil && set.TimestampMicros > 0 && oneVersion(t.ColumnFamilies[set.FamilyName].GetGcRule())
		if trim && out == nil {
			out = append(make([]*bigtablepb.Mutation, 0, 2*len(muts)), muts[:i]...)
		}
		if out != nil {
			out = append(out, m)
		}
		if trim {
			out = append(out, deleteBefore(set.FamilyName, set.ColumnQualifier, set.TimestampMicros))
		}
	}
	if out == nil {
		return muts
	}
	return out
}

// deleteBefore deletes a column's cells older than micros, which is above 0.
func deleteBefore(family string, qualifier []byte, micros int64) *bigtablepb.Mutation {
	return &bigtablepb.Mutation{Mutation: &bigtablepb.Mutation_DeleteFromColumn_{DeleteFromColumn: &bigtablepb.Mutation_DeleteFromColumn{
		FamilyName: family, ColumnQualifier: qualifier, TimeRange: &bigtablepb.TimestampRange{EndTimestampMicros: micros},
	}}}
}
