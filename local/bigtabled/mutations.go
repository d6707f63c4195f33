package bigtabled

import (
	"bytes"
	"cmp"
	"math"
	"slices"
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
// passes can be compiled.
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

// compile turns checked and settled mutations, which apply one after another, into
// a change. It borrows from them, and takes of mem.
func compile(t *table, muts []*bigtablepb.Mutation, mem *memory) change {
	var changes []change
	var sets []*bigtablepb.Mutation_SetCell
	flush := func() {
		if len(sets) > 0 {
			changes = append(changes, change{columns: columns(t, sets, mem)})
			sets = sets[:0]
		}
	}
	remove := func(d deletion) {
		flush()
		changes = append(changes, change{deletions: []deletion{d}})
	}
	for _, m := range muts {
		switch m := m.GetMutation().(type) {
		case *bigtablepb.Mutation_SetCell_:
			if sets == nil {
				sets = make([]*bigtablepb.Mutation_SetCell, 0, len(muts))
			}
			sets = append(sets, m.SetCell)
		case *bigtablepb.Mutation_DeleteFromColumn_:
			del := m.DeleteFromColumn
			remove(deletion{
				family: t.Families[del.FamilyName], qualifier: del.ColumnQualifier,
				start: del.GetTimeRange().GetStartTimestampMicros(), end: del.GetTimeRange().GetEndTimestampMicros(),
			})
		case *bigtablepb.Mutation_DeleteFromFamily_:
			remove(deletion{family: t.Families[m.DeleteFromFamily.FamilyName], whole: true})
		case *bigtablepb.Mutation_DeleteFromRow_:
			sets = sets[:0]
			changes = append(changes[:0], change{clear: true})
		}
	}
	flush()
	return mergeAll(changes, mem)
}

// columns sorts cells into columns; of two with one timestamp the later is kept.
func columns(t *table, sets []*bigtablepb.Mutation_SetCell, mem *memory) []column {
	slices.SortStableFunc(sets, func(a, b *bigtablepb.Mutation_SetCell) int {
		return cmp.Or(
			cmp.Compare(t.Families[a.FamilyName], t.Families[b.FamilyName]),
			bytes.Compare(a.ColumnQualifier, b.ColumnQualifier),
			cmp.Compare(b.TimestampMicros, a.TimestampMicros),
		)
	})
	out := mem.takeColumns(len(sets))
	cells := mem.takeCells(len(sets)) // of all columns, one after another
	for i := 0; i < len(sets); {
		set := sets[i]
		col := column{family: t.Families[set.FamilyName], qualifier: set.ColumnQualifier}
		first := len(cells)
		for ; i < len(sets) && sets[i].FamilyName == set.FamilyName && bytes.Equal(sets[i].ColumnQualifier, set.ColumnQualifier); i++ {
			c := cell{micros: sets[i].TimestampMicros, value: sets[i].Value}
			if n := len(cells); n > first && cells[n-1].micros == c.micros {
				cells[n-1] = c
			} else {
				cells = append(cells, c)
			}
		}
		if oneVersion(t.rule(set.FamilyName)) {
			cells = cells[:first+1]
			col.floor = cells[first].micros
		}
		col.cells = cells[first:len(cells):len(cells)]
		out = append(out, col)
	}
	return out
}
