package bigtabled

import (
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pixelbeam/schemas"
)

func families(t *testing.T, ac *bigtable.AdminClient, table string) map[string]string {
	t.Helper()
	info, err := ac.TableInfo(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range info.FamilyInfos {
		out[f.Name] = f.GCPolicy
	}
	return out
}

func TestEnsureTable(t *testing.T) {
	s := start(t, Options{})
	ensure(t, s)
	logged := s.store.Metrics().WAL.BytesIn
	ensure(t, s)
	if got := s.store.Metrics().WAL.BytesIn; got != logged {
		t.Errorf("the second EnsureTable wrote %d bytes, want none", got-logged)
	}
	table := open(t, s.Addr(), "profiles")
	if err := table.Apply(t.Context(), "k", set("l", "os", now, "Android")); err != nil {
		t.Fatal(err)
	}
	before := dump(t, table)
	want := map[string]string{"c": "age() > 35d", "f": "(age() > 400d || versions() > 1)", "l": "(age() > 400d || versions() > 1)"}
	if diff := cmp.Diff(want, families(t, admin(t, s.Addr()), "profiles")); diff != "" {
		t.Errorf("families (-want +got):\n%s", diff)
	}
	// A later release has another limit and one more family.
	next := schemas.Profiles()
	next.Families["c"] = schemas.Family{MaxAgeDays: 30}
	next.Families["x"] = schemas.Family{}
	delete(next.Families, "f")
	want["c"], want["x"] = "age() > 30d", "<never>"
	if err := s.EnsureTable(t.Context(), project, instance, next); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if diff := cmp.Diff(want, families(t, admin(t, s.Addr()), "profiles")); diff != "" {
			t.Errorf("families (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, dump(t, open(t, s.Addr(), "profiles"))); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		s = restart(t, s)
	}
}

func TestAdmin(t *testing.T) {
	s := start(t, Options{})
	ctx := t.Context()
	ac := admin(t, s.Addr())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	wantCode := func(err error, want codes.Code) {
		t.Helper()
		if status.Code(err) != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
	must(ac.CreateTable(ctx, "plain"))
	wantCode(ac.CreateTable(ctx, "plain"), codes.AlreadyExists)
	must(ac.CreateTableFromConf(ctx, &bigtable.TableConf{TableID: "conf", Families: map[string]bigtable.GCPolicy{"a": bigtable.MaxVersionsPolicy(2), "b": bigtable.NoGcPolicy()}}))
	must(ac.CreateTable(ctx, "gone"))
	must(ac.DeleteTable(ctx, "gone"))
	wantCode(ac.DeleteTable(ctx, "gone"), codes.NotFound)
	must(ac.CreateColumnFamily(ctx, "plain", "a"))
	must(ac.CreateColumnFamily(ctx, "plain", "drop"))
	wantCode(ac.CreateColumnFamily(ctx, "plain", "a"), codes.AlreadyExists)
	wantCode(ac.CreateColumnFamily(ctx, "gone", "a"), codes.NotFound)
	must(ac.SetGCPolicy(ctx, "plain", "a", bigtable.MaxAgePolicy(48*time.Hour)))
	wantCode(ac.SetGCPolicy(ctx, "plain", "none", bigtable.NoGcPolicy()), codes.NotFound)
	wantCode(ac.CreateColumnFamilyWithConfig(ctx, "plain", "sum", bigtable.Family{ValueType: bigtable.AggregateType{Input: bigtable.Int64Type{}, Aggregator: bigtable.SumAggregator{}}}), codes.Unimplemented)

	plain := open(t, s.Addr(), "plain")
	for _, key := range []string{"x1", "x2", "y1"} {
		m := set("a", "q", now, "1")
		m.Set("drop", "q", bigtable.Timestamp(now*1000), nil)
		must(plain.Apply(ctx, key, m))
	}
	must(ac.DropRowRange(ctx, "plain", "x"))
	must(ac.DeleteColumnFamily(ctx, "plain", "drop"))
	must(ac.CreateColumnFamily(ctx, "plain", "drop"))
	conf := open(t, s.Addr(), "conf")
	must(conf.Apply(ctx, "k", set("a", "q", now, "1")))
	must(ac.DropAllRows(ctx, "conf"))
	must(conf.Apply(ctx, "k", set("b", "q", now, "2")))

	check := func(s *Server) {
		t.Helper()
		ac := admin(t, s.Addr())
		tables, err := ac.Tables(ctx)
		must(err)
		slices.Sort(tables)
		if diff := cmp.Diff([]string{"conf", "plain"}, tables); diff != "" {
			t.Errorf("tables (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"a": "age() > 2d", "drop": "<never>"}, families(t, ac, "plain")); diff != "" {
			t.Errorf("families of plain (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"a": "versions() > 2", "b": ""}, families(t, ac, "conf")); diff != "" {
			t.Errorf("families of conf (-want +got):\n%s", diff)
		}
		var got []string
		for _, name := range []string{"plain", "conf"} {
			must(open(t, s.Addr(), name).ReadRows(ctx, bigtable.InfiniteRange(""), func(r bigtable.Row) bool {
				for family, items := range r {
					for _, item := range items {
						got = append(got, name+" "+r.Key()+" "+family+" "+string(item.Value))
					}
				}
				return true
			}))
		}
		if diff := cmp.Diff([]string{"plain y1 a 1", "conf k b 2"}, got); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	}
	check(s)
	s = restart(t, s)
	check(s)
	collect(t, s)
	s = restart(t, s)
	check(s)
}
