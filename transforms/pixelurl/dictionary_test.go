package pixelurl

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pixelbeam/schemas"
)

// TestColumnsAreInTheTable checks names and order against the table.
func TestColumnsAreInTheTable(t *testing.T) {
	table, ok := schemas.LookupTable("impressions")
	if !ok {
		t.Fatal("no table impressions")
	}
	next := EventType
	for _, c := range table.Columns {
		if next < NumColumns && c.Name == next.String() {
			next++
		}
	}
	if next != NumColumns {
		t.Errorf("column %s is not in the table, or not in this order", next)
	}
	for _, s := range []string{NumColumns.String(), Column(-1).String()} {
		if !strings.HasPrefix(s, "Column(") {
			t.Errorf("a column that is none is called %q", s)
		}
	}
	for _, s := range []string{NumSignals.String(), Signal(-1).String()} {
		if !strings.HasPrefix(s, "Signal(") {
			t.Errorf("a signal that is none is called %q", s)
		}
	}
}

// TestDefaultDictionary checks that each column and signal has a parameter, each
// entry a description, and the names that have to stay in params an entry.
func TestDefaultDictionary(t *testing.T) {
	d := DefaultDictionary()
	for c := range NumColumns {
		if !d.has(meaning(c)) {
			t.Errorf("no parameter fills %s", c)
		}
	}
	for s := range NumSignals {
		if !d.has(firstSignal + meaning(s)) {
			t.Errorf("no parameter is signal %s", s)
		}
		if b := d.lookup([]byte(s.String())); b != (binding{firstSignal + meaning(s), true}) {
			t.Errorf("signal %s has another canonical name", s)
		}
	}
	for _, p := range d.Parameters() {
		if !strings.HasSuffix(p.Description, ".") {
			t.Errorf("parameter %s: description %q is no sentence", p.Name, p.Description)
		}
	}
	for _, name := range []string{"utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "gclid", "dclid", "gbraid",
		"wbraid", "msclkid", "fbclid", "ttclid", "ts"} {
		if b, ok := d.byName[name]; !ok || b.meaning != meansNothing {
			t.Errorf("%s does not stay in params: %v", name, b.meaning)
		}
	}
	for _, name := range []string{"", "x", "unknown_name_of_some_length", "cidd", "ci"} {
		if b := d.lookup([]byte(name)); b.meaning != meansNothing {
			t.Errorf("%q means %s", name, b.meaning)
		}
	}
}

func TestParseDictionaryErrors(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"no JSON", `[`, "parameter dictionary: unexpected EOF"},
		{"no array", `{}`, "cannot unmarshal object"},
		{"two values", `[] []`, "something follows the array"},
		{"unknown field", `[{"nam":"x"}]`, `unknown field "nam"`},
		{"unknown column", `[{"name":"x","column":"campaign"}]`, `entry 1 (x): unknown column "campaign"; columns are ["event_type"`},
		{"no column", `[{"name":"x"}]`, `entry 1 (x): unknown column ""`},
		{"unknown kind", `[{"kind":"macro","name":"x"}]`, `unknown kind "macro"; kinds are ["column" "signal" "param"]`},
		{"unknown signal", `[{"kind":"signal","name":"x"}]`, `entry 1 (x): unknown signal; signals are ["gdpr"`},
		{"signal with a column", `[{"kind":"signal","name":"gdpr","column":"price"}]`, `a signal fills no column, but column is "price"`},
		{"param with a column", `[{"kind":"param","name":"x","column":"price"}]`, `a param fills no column`},
		{"param with aliases", `[{"kind":"param","name":"x","aliases":["y"]}]`, `a param has no aliases, but aliases are ["y"]`},
		{"no name", `[{"column":"price"}]`, `entry 1 (column price): empty name`},
		{"empty alias", `[{"name":"x","column":"price","aliases":[""]}]`, `entry 1 (x): empty name`},
		{"alias is the name", `[{"name":"x","column":"price","aliases":["X"]}]`, `entry 1 (x): name "X" occurs twice in the file`},
		{"alias twice", `[{"name":"x","column":"price","aliases":["y","Y"]}]`, `name "Y" occurs twice`},
		{"alias of two", `[{"name":"x","column":"price","aliases":["y"]},{"name":"z","column":"currency","aliases":["Y"]}]`, `entry 2 (z): name "Y" occurs twice`},
		{"param and column", `[{"name":"x","column":"price"},{"kind":"param","name":"X"}]`, `entry 2 (X): name "X" occurs twice`},
		{"column twice", `[{"name":"x","column":"price"},{"name":"y","column":"price"}]`, `entry 2 (y): a second entry`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ParseDictionary([]byte(tt.file))
			if err == nil || d != nil {
				t.Fatalf("got %v, %v; want an error", d, err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %q, want %q in it", err, tt.want)
			}
		})
	}
	// All that is wrong is told at once.
	_, err := ParseDictionary([]byte(`[{"name":"x","column":"a"},{"name":"y","column":"b"}]`))
	if err == nil || !strings.Contains(err.Error(), "entry 1 (x)") || !strings.Contains(err.Error(), "entry 2 (y)") {
		t.Errorf("error is %v, want both entries in it", err)
	}
}

func TestMerge(t *testing.T) {
	base := DefaultDictionary()
	before := base.Parameters()
	merged, err := base.Merge([]byte(`[
		{"column": "campaign_id", "aliases": ["cmp", "Kampagne"]},
		{"column": "placement_id", "name": "slot"},
		{"name": "CID", "column": "campaign_id", "aliases": ["campaign"]},
		{"kind": "signal", "name": "coppa", "aliases": ["kids"]},
		{"kind": "param", "name": "gclid"},
		{"kind": "param", "name": "own_id"}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, base.Parameters()); diff != "" {
		t.Errorf("Merge changed the dictionary it was called on:\n%s", diff)
	}
	if n := len(merged.Parameters()); n != len(before)+6 {
		t.Errorf("%d parameters, want %d", n, len(before)+6)
	}
	p := NewParser(merged)
	for query, want := range map[string]string{
		"cmp=7": "7", "KAMPAGNE=7": "7", "cmp=7&cid=8": "8", "cmp=7&campaign=8": "7", "campaign=8&cmp=7": "8",
	} {
		if got := parseTwice(t, p, query).Values["campaign_id"]; got != want {
			t.Errorf("%s: campaign_id is %q, want %q", query, got, want)
		}
	}
	if got := parseTwice(t, p, "slot=1&pl=2"); got.Values["placement_id"] != "2" {
		t.Errorf("an added name became canonical: %v", got.Values)
	}
	if got := parseTwice(t, p, "kids=1&own_id=2"); got.Signals["coppa"] != "1" || got.Params != `{"kids":"1","own_id":"2"}` {
		t.Errorf("got %v", got)
	}
	if got := parseTwice(t, NewParser(base), "cmp=7"); got.Values["campaign_id"] != "" {
		t.Error("the alias is known without Merge")
	}

	for _, tt := range []struct{ name, file, want string }{
		{"taken by a column", `[{"column":"user_id","aliases":["U"]}]`, `entry 1 (column user_id): name "U" already stands for column click_url`},
		{"taken by a signal", `[{"name":"gpc","column":"user_id"}]`, `entry 1 (gpc): name "gpc" already stands for signal gpc`},
		{"stays in params", `[{"column":"campaign_id","aliases":["utm_campaign"]}]`, `"utm_campaign" already stands for a parameter that stays in params`},
		{"a column's name as param", `[{"kind":"param","name":"cid"}]`, `"cid" already stands for column campaign_id`},
		{"twice in the file", `[{"column":"user_id","aliases":["x"]},{"column":"user_id","aliases":["X"]}]`, `entry 2 (column user_id): name "X" occurs twice`},
		{"unknown column", `[{"column":"nothing","aliases":["x"]}]`, `unknown column "nothing"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := base.Merge([]byte(tt.file)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestMergeNewColumn adds a column that the first file does not have: its name
// is canonical then.
func TestMergeNewColumn(t *testing.T) {
	base, err := ParseDictionary([]byte(`[{"name":"cb","column":"cache_buster"}]`))
	if err != nil {
		t.Fatal(err)
	}
	merged, err := base.Merge([]byte(`[{"name":"camp","column":"campaign_id","aliases":["c"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	if got := parseTwice(t, NewParser(merged), "c=1&camp=2&cb=3").Values["campaign_id"]; got != "2" {
		t.Errorf("campaign_id is %q, want the canonical 2", got)
	}
	empty, err := ParseDictionary([]byte(`[]`))
	if err != nil {
		t.Fatal(err)
	}
	if got := parseTwice(t, NewParser(empty), "c=1"); got.Params != `{"c":"1"}` {
		t.Errorf("empty dictionary: %v", got)
	}
}
