package bigtabled

import (
	"encoding/json"
	"maps"
	"slices"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"google.golang.org/protobuf/proto"
)

// table is a table's definition and the numbers that its rows are stored by. It
// does not change: another definition makes another table.
type table struct {
	def *adminpb.Table
	numbers
	names map[uint32]string // of families
}

// numbers are never given twice, so that what a dropped table or family left
// behind is never taken for something else's.
type numbers struct {
	ID       uint32            `json:"id"`
	Families map[string]uint32 `json:"families"`
	Next     uint32            `json:"next"` // for the next family; they start at 1
}

// storedTable is how a table is kept, as JSON.
type storedTable struct {
	Table []byte `json:"table"` // bigtable.admin.v2.Table
	numbers
}

func (t *table) encode() ([]byte, error) {
	def, err := proto.Marshal(t.def)
	if err != nil {
		return nil, err
	}
	return json.Marshal(storedTable{Table: def, numbers: t.numbers})
}

func decodeTable(b []byte) (*table, error) {
	var stored storedTable
	if err := json.Unmarshal(b, &stored); err != nil {
		return nil, err
	}
	def := &adminpb.Table{}
	if err := proto.Unmarshal(stored.Table, def); err != nil {
		return nil, err
	}
	return newTable(def, stored.numbers), nil
}

// newTable numbers the families that have no number yet, and forgets those that
// def does not have.
func newTable(def *adminpb.Table, n numbers) *table {
	t := &table{def: def, numbers: n, names: map[uint32]string{}}
	t.Families = map[string]uint32{}
	t.Next = max(t.Next, 1)
	for _, name := range slices.Sorted(maps.Keys(def.ColumnFamilies)) {
		id := n.Families[name]
		if id == 0 {
			id = t.Next
			t.Next++
		}
		t.Families[name] = id
		t.names[id] = name
	}
	return t
}

// rule returns a family's GC rule.
func (t *table) rule(family string) *adminpb.GcRule { return t.def.ColumnFamilies[family].GetGcRule() }
