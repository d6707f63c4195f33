package bigtabled

import (
	"maps"
	"math"
	"testing"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func versions(n int32) *adminpb.GcRule {
	return &adminpb.GcRule{Rule: &adminpb.GcRule_MaxNumVersions{MaxNumVersions: n}}
}

func age(d time.Duration) *adminpb.GcRule {
	return &adminpb.GcRule{Rule: &adminpb.GcRule_MaxAge{MaxAge: durationpb.New(d)}}
}

func union(rules ...*adminpb.GcRule) *adminpb.GcRule {
	return &adminpb.GcRule{Rule: &adminpb.GcRule_Union_{Union: &adminpb.GcRule_Union{Rules: rules}}}
}

func intersection(rules ...*adminpb.GcRule) *adminpb.GcRule {
	return &adminpb.GcRule{Rule: &adminpb.GcRule_Intersection_{Intersection: &adminpb.GcRule_Intersection{Rules: rules}}}
}

// TestKeep has cells that are 0, 1, 2 and 3 hours old.
func TestKeep(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var cells []int64
	for hours := range 4 {
		cells = append(cells, now.Add(-time.Duration(hours)*time.Hour).UnixMicro())
	}
	tests := []struct {
		name string
		rule *adminpb.GcRule
		want int
		one  bool
	}{
		{"none", nil, 4, false},
		{"empty", &adminpb.GcRule{}, 4, false},
		{"one version", versions(1), 1, true},
		{"two versions", versions(2), 2, false},
		{"more versions than there are", versions(9), 4, false},
		{"age, of which the boundary stays", age(2 * time.Hour), 3, false},
		{"age of nothing", age(-time.Hour), 0, false},
		{"union", union(versions(3), age(90*time.Minute)), 2, false},
		{"union with one version", union(age(time.Hour), versions(1)), 1, true},
		{"intersection", intersection(versions(1), age(90*time.Minute)), 2, false},
		{"empty intersection", intersection(), 4, false},
		{"nested", union(intersection(versions(1), age(150*time.Minute)), versions(9)), 3, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := keep(test.rule, cells, now); got != test.want {
				t.Errorf("keep = %d, want %d", got, test.want)
			}
			if got := oneVersion(test.rule); got != test.one {
				t.Errorf("oneVersion = %v, want %v", got, test.one)
			}
		})
	}
}

func cellAt(family string, micros int64) *bigtablepb.Mutation {
	return &bigtablepb.Mutation{Mutation: &bigtablepb.Mutation_SetCell_{SetCell: &bigtablepb.Mutation_SetCell{
		FamilyName: family, ColumnQualifier: []byte("q"), TimestampMicros: micros,
	}}}
}

func deleteRange(start, end int64) *bigtablepb.Mutation {
	return &bigtablepb.Mutation{Mutation: &bigtablepb.Mutation_DeleteFromColumn_{DeleteFromColumn: &bigtablepb.Mutation_DeleteFromColumn{
		FamilyName: "a", ColumnQualifier: []byte("q"), TimeRange: &bigtablepb.TimestampRange{StartTimestampMicros: start, EndTimestampMicros: end},
	}}}
}

func TestCheckTimes(t *testing.T) {
	millis := &adminpb.Table{ColumnFamilies: map[string]*adminpb.ColumnFamily{"a": {}}}
	micros := &adminpb.Table{ColumnFamilies: millis.ColumnFamilies, Granularity: adminpb.Table_MICROS}
	tests := []struct {
		name  string
		table *adminpb.Table
		mut   *bigtablepb.Mutation
		want  codes.Code
	}{
		{"milliseconds", millis, cellAt("a", 2000), codes.OK},
		{"zero", millis, cellAt("a", 0), codes.OK},
		{"microseconds", millis, cellAt("a", 2001), codes.InvalidArgument},
		{"microseconds allowed", micros, cellAt("a", 2001), codes.OK},
		{"negative", millis, cellAt("a", -1000), codes.InvalidArgument},
		{"last", micros, cellAt("a", math.MaxInt64), codes.OK},
		{"range", millis, deleteRange(1000, 2000), codes.OK},
		{"open range", millis, deleteRange(1000, 0), codes.OK},
		{"empty range", millis, deleteRange(2000, 2000), codes.InvalidArgument},
		{"inverted range", millis, deleteRange(2000, 1000), codes.InvalidArgument},
		{"fine range", millis, deleteRange(1, 2000), codes.InvalidArgument},
		{"no mutation", millis, &bigtablepb.Mutation{}, codes.InvalidArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := check(test.table, []byte("k"), []*bigtablepb.Mutation{test.mut}); status.Code(err) != test.want {
				t.Errorf("check = %v, want %v", err, test.want)
			}
		})
	}
}

func TestSettle(t *testing.T) {
	auto := cellAt("a", 1_234_567)
	auto.TimestampOrigin = bigtablepb.Mutation_CLIENT_AUTO_GENERATED
	own, server := cellAt("a", 1_234_567), cellAt("a", -1)
	before := time.Now().UnixMilli() * 1000
	settle(&adminpb.Table{}, []*bigtablepb.Mutation{auto, own, server, deleteRange(1, 2)})
	if got := auto.GetSetCell().TimestampMicros; got != 1_234_000 {
		t.Errorf("time chosen by the client library = %d, want it cut to milliseconds", got)
	}
	if got := own.GetSetCell().TimestampMicros; got != 1_234_567 {
		t.Errorf("time chosen by the user = %d, want it unchanged", got)
	}
	if got := server.GetSetCell().TimestampMicros; got < before || got > time.Now().UnixMicro() || got%1000 != 0 {
		t.Errorf("server time = %d, want now in whole milliseconds", got)
	}
}

// TestCompile has requests of one row whose mutations bear on each other; a family
// called one keeps one version.
func TestCompile(t *testing.T) {
	table := newTable(&adminpb.Table{ColumnFamilies: map[string]*adminpb.ColumnFamily{"a": {}, "one": {GcRule: versions(1)}}}, numbers{ID: 1})
	if want := map[string]uint32{"a": 1, "one": 2}; !maps.Equal(table.Families, want) {
		t.Fatalf("families are numbered %v, want %v", table.Families, want)
	}
	q := []byte("q")
	family := &bigtablepb.Mutation{Mutation: &bigtablepb.Mutation_DeleteFromFamily_{DeleteFromFamily: &bigtablepb.Mutation_DeleteFromFamily{FamilyName: "a"}}}
	row := &bigtablepb.Mutation{Mutation: &bigtablepb.Mutation_DeleteFromRow_{}}
	tests := []struct {
		name string
		in   []*bigtablepb.Mutation
		want change
	}{
		{"newest first", []*bigtablepb.Mutation{cellAt("a", 1000), cellAt("a", 2000)},
			change{columns: []column{{family: 1, qualifier: q, cells: []cell{{micros: 2000}, {micros: 1000}}}}}},
		{"one version", []*bigtablepb.Mutation{cellAt("one", 2000), cellAt("one", 3000), cellAt("one", 1000), cellAt("a", 1000)},
			change{columns: []column{{family: 1, qualifier: q, cells: []cell{{micros: 1000}}}, {family: 2, qualifier: q, floor: 3000, cells: []cell{{micros: 3000}}}}}},
		{"a deletion is of what came before", []*bigtablepb.Mutation{cellAt("a", 1000), cellAt("a", 2000), deleteRange(2000, 0), cellAt("a", 3000)},
			change{deletions: []deletion{{family: 1, qualifier: q, start: 2000}}, columns: []column{{family: 1, qualifier: q, cells: []cell{{micros: 3000}, {micros: 1000}}}}}},
		{"family", []*bigtablepb.Mutation{cellAt("a", 1000), family, cellAt("a", 2000)},
			change{deletions: []deletion{{family: 1, whole: true}}, columns: []column{{family: 1, qualifier: q, cells: []cell{{micros: 2000}}}}}},
		{"row", []*bigtablepb.Mutation{cellAt("a", 1000), family, row, cellAt("a", 2000)},
			change{clear: true, columns: []column{{family: 1, qualifier: q, cells: []cell{{micros: 2000}}}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := compile(table, test.in, new(memory))
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(change{}, deletion{}, column{}, cell{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("compile (-want +got):\n%s", diff)
			}
		})
	}
}
