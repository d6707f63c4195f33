package schemas

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Every table equals its message, column by column.
func TestTablesEqualMessages(t *testing.T) {
	if len(Tables()) == 0 {
		t.Fatal("no tables")
	}
	for _, table := range Tables() {
		t.Run(table.Name, func(t *testing.T) {
			if table.Message == "" {
				checkWritten(t, table)
			} else {
				d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(table.Message))
				if err != nil {
					t.Fatal(err)
				}
				compareFields(t, d.(protoreflect.MessageDescriptor), table.Columns)
			}
			for _, name := range append(slices.Clone(table.Clustering), table.Partition.Field) {
				if !slices.ContainsFunc(table.Columns, func(c Column) bool { return c.Name == name }) {
					t.Errorf("partitioned or clustered by %s, which is no column", name)
				}
			}
			if table.Description == "" {
				t.Error("no description")
			}
		})
	}
}

// checkWritten: a table that has no message is written by a scheduled statement, and
// its columns are described.
func checkWritten(t *testing.T, table Table) {
	t.Helper()
	if !slices.ContainsFunc(ScheduledStatements(), func(s Scheduled) bool {
		return strings.Contains(s.In("p.d"), "MERGE `p.d."+table.Name+"`")
	}) {
		t.Error("neither a message nor a scheduled MERGE into it")
	}
	for _, c := range table.Columns {
		if c.Name == "" || c.Type == "" || c.Mode == "" || c.Description == "" {
			t.Errorf("column without name, type, mode or description: %+v", c)
		}
	}
}

func compareFields(t *testing.T, m protoreflect.MessageDescriptor, columns []Column) {
	t.Helper()
	if m.Fields().Len() != len(columns) {
		t.Errorf("%s has %d fields, the table %d columns", m.FullName(), m.Fields().Len(), len(columns))
	}
	kinds := map[string]protoreflect.Kind{
		"STRING": protoreflect.StringKind, "INT64": protoreflect.Int64Kind, "BOOL": protoreflect.BoolKind,
		"BYTES": protoreflect.BytesKind, "TIMESTAMP": protoreflect.Int64Kind, "NUMERIC": protoreflect.StringKind,
		"JSON": protoreflect.StringKind, "RECORD": protoreflect.MessageKind,
	}
	for i := range min(m.Fields().Len(), len(columns)) {
		f, c := m.Fields().Get(i), columns[i]
		if string(f.Name()) != c.Name {
			t.Errorf("column %d is %s, the field %s", i, c.Name, f.Name())
			continue
		}
		if want, ok := kinds[c.Type]; !ok || f.Kind() != want {
			t.Errorf("%s: type %s, field kind %s", c.Name, c.Type, f.Kind())
		}
		if repeated := f.Cardinality() == protoreflect.Repeated; repeated != (c.Mode == "REPEATED") {
			t.Errorf("%s: mode %s, field repeated: %v", c.Name, c.Mode, repeated)
		}
		if c.Mode != "REPEATED" && !f.HasPresence() {
			t.Errorf("%s: the field cannot tell NULL from zero", c.Name)
		}
		if c.Description == "" {
			t.Errorf("%s: no description", c.Name)
		}
		if c.Type == "RECORD" {
			compareFields(t, f.Message(), c.Fields)
		}
	}
}

// Each view comes after what it reads, names the dataset, says what it is in a head
// comment, and reads distinct impressions, not the table.
func TestViews(t *testing.T) {
	known := map[string]bool{}
	for _, table := range Tables() {
		known[table.Name] = true
	}
	views := Views()
	if len(views) == 0 {
		t.Fatal("no views")
	}
	for _, v := range views {
		q := v.In("p.d")
		if strings.Contains(q, "${") || !strings.Contains(q, "`p.d.") || !strings.HasPrefix(q, "-- ") {
			t.Errorf("%s: %s", v.Name, q)
		}
		for _, name := range v.reads() {
			if !known[name] {
				t.Errorf("%s reads %s, which is no table and no view before it", v.Name, name)
			}
			// data_quality counts the copies, which are in the table only.
			if name == "impressions" && v.Name != "impressions_unique" && v.Name != "data_quality" {
				t.Errorf("%s reads impressions, in which a row may be twice", v.Name)
			}
		}
		known[v.Name] = true
	}
}

// With tables of groups, views read all of them wherever they read impressions, and
// nothing else changes.
func TestGroupedViews(t *testing.T) {
	plain := Views()
	changed := 0
	for i, v := range GroupedViews() {
		reads := strings.Count(plain[i].Query, sqlImpressions)
		if n := strings.Count(v.Query, "`${dataset}.impressions_for_*`"); v.Name != plain[i].Name || n != reads || strings.Count(v.Query, sqlImpressions) != reads {
			t.Errorf("%s reads groups %d times, and impressions %d times before:\n%s", v.Name, n, reads, v.Query)
		}
		if reads == 0 && v.Query != plain[i].Query {
			t.Errorf("%s does not read impressions and is another", v.Name)
		}
		changed += reads
	}
	if changed != 2 {
		t.Errorf("impressions is read %d times; impressions_unique and data_quality do", changed)
	}
}

// Nothing but tables of groups may have their prefix: BigQuery refuses to read
// tables by a prefix that a view has too.
func TestGroupTables(t *testing.T) {
	if got := GroupTable("retail"); got != "impressions_for_retail" {
		t.Errorf("table %s", got)
	}
	var names []string
	for _, table := range Tables() {
		names = append(names, table.Name)
	}
	for _, f := range sqlFiles() {
		names = append(names, f.Name)
	}
	for _, name := range names {
		if strings.HasPrefix(name, GroupTable("")) {
			t.Errorf("%s would be taken for the table of a group", name)
		}
	}
	seed := GroupSeed()
	impressions, _ := LookupTable("impressions")
	if seed.Name != "impressions_for__none" || len(seed.Columns) != len(impressions.Columns) || seed.Partition != impressions.Partition {
		t.Errorf("seed %s with %d columns, partition %v", seed.Name, len(seed.Columns), seed.Partition)
	}
}

func TestScheduledStatements(t *testing.T) {
	schedules := map[string]string{}
	for _, s := range ScheduledStatements() {
		schedules[s.Name] = s.Schedule
		if q := s.In("p.d"); strings.Contains(q, "${") || !strings.Contains(q, "`p.d.") {
			t.Errorf("%s: %s", s.Name, q)
		}
		if slices.ContainsFunc(Views(), func(v View) bool { return v.Name == s.Name }) {
			t.Errorf("%s is a view too", s.Name)
		}
	}
	if got := schedules["weekly_rollup"]; got != "every monday 03:00" {
		t.Errorf("weekly_rollup: schedule %q", got)
	}
}

func TestProfilesFamilies(t *testing.T) {
	p := Profiles()
	for _, f := range []string{FamilyCounters, FamilyLatest, FamilyFirst} {
		if _, ok := p.Families[f]; !ok {
			t.Errorf("no family %q in %s", f, p.Table)
		}
	}
}

func TestDictionaryIsJSON(t *testing.T) {
	if !json.Valid(Dictionary()) {
		t.Error("not JSON")
	}
}
