package tablegroup

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, file string
		want       Map
	}{
		{"one", "acme,retail", Map{"acme": "retail"}},
		{"header, comments, empty lines, white space", "Advertiser_ID,Group\n\n# big ones\n acme, retail \n4711,travel\n", Map{"acme": "retail", "4711": "travel"}},
		{"a spreadsheet's file", "\xef\xbb\xbfadvertiser_id,group\r\nacme,retail\r\n\"Smith, Sons\",b2b\r\n", Map{"acme": "retail", "Smith, Sons": "b2b"}},
		{"quotes", "\"a \"\"b\"\" #c\",g_1\n\"#d\",g_1\n", Map{`a "b" #c`: "g_1", "#d": "g_1"}},
		{"case and other scripts of advertisers", "Acme,a\nacme,b\nМир,c\n", Map{"Acme": "a", "acme": "b", "Мир": "c"}},
		{"a header that is no first line is an advertiser", "acme,retail\nadvertiser_id,group\n", Map{"acme": "retail", "advertiser_id": "group"}},
		{"the longest group", "a," + strings.Repeat("g", 63), Map{"a": strings.Repeat("g", 63)}},
	} {
		got, err := Parse([]byte(test.file))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", test.name, diff)
		}
	}
}

// All that is wrong is said at once, with its line.
func TestParseErrors(t *testing.T) {
	file := strings.Join([]string{
		"advertiser_id,group", // 1
		"acme,retail",
		"acme,travel", // 3
		"lonely",
		"a,b,c",         // 5
		",retail",       // 6
		"upper,Retail",  // 7
		"under,_retail", // 8
		"long," + strings.Repeat("g", 64),
		"dash,re-tail",            // 10
		"none,",                   // 11
		"half,\"open",             // 12
		"mid\"quote,retail",       // 13
		"bytes\xff,retail",        // 14
		"fine,retail",             // 15
		"star,impressions_unique", // 16, a name like another
		"acme2 ,retail",           // 17
	}, "\n")
	_, err := Parse([]byte(file))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`line 3: advertiser "acme" is on line 2 already`,
		"line 4: 1 values", "line 5: 3 values", "line 6: the advertiser is empty",
		`line 7: group "Retail"`, `line 8: group "_retail"`, "line 9: group", `line 10: group "re-tail"`, `line 11: group ""`,
		"line 12: extraneous", "line 13: bare", "line 14: it is not UTF-8",
		`line 17: advertiser "acme2 " has white space`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	for _, fine := range []string{"line 1:", "line 2:", "line 15:", "line 16:"} {
		if strings.Contains(err.Error(), fine) {
			t.Errorf("%s is called wrong:\n%v", fine, err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	groups := func(n int) []byte {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, "a%d,g%d\n", i, i)
		}
		return b.Bytes()
	}
	if m, err := Parse(groups(MaxGroups)); err != nil || len(m.Names()) != MaxGroups {
		t.Errorf("%d groups of %d, %v", len(m.Names()), MaxGroups, err)
	}
	for name, file := range map[string][]byte{
		"no advertiser":    []byte("# nothing\n\n"),
		"empty":            nil,
		"too many groups":  groups(MaxGroups + 1),
		"too many bytes":   bytes.Repeat([]byte("# comment\n"), MaxBytes/10+1),
		"a header alone":   []byte("advertiser_id,group\n"),
		"not text, binary": {0, 1, 2, 0xff},
	} {
		if m, err := Parse(file); err == nil || m != nil {
			t.Errorf("%s: %v, %v; want an error", name, m, err)
		}
	}
}

func TestNamesAndGroup(t *testing.T) {
	m := Map{"a": "y", "b": "x", "c": "y"}
	if diff := cmp.Diff([]string{"x", "y"}, m.Names()); diff != "" {
		t.Error(diff)
	}
	for advertiser, want := range map[string]string{"a": "y", "b": "x", "A": "", "": "", "d": ""} {
		if got := m.Group([]byte(advertiser)); got != want {
			t.Errorf("%q is in group %q, want %q", advertiser, got, want)
		}
	}
	if got := Map(nil).Group([]byte("a")); got != "" {
		t.Errorf("without a map: %q", got)
	}
	advertiser := []byte("a")
	if n := testing.AllocsPerRun(100, func() { m.Group(advertiser) }); n != 0 {
		t.Errorf("%v allocations a look-up", n)
	}
}

// FuzzParse: what is taken can be written and read again, and is within the rules.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"acme,retail\n", "advertiser_id,group\r\n\"a,\"\"b\",c\n", "#\n,\n\"", "\xef\xbb\xbfa,b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := Parse(file)
		if (m == nil) != (err != nil) {
			t.Fatalf("%v with error %v", m, err)
		}
		var b bytes.Buffer
		for advertiser, group := range m {
			if advertiser == "" || !groupName.MatchString(group) {
				t.Errorf("took %q, %q", advertiser, group)
			}
			b.WriteString(`"` + strings.ReplaceAll(advertiser, `"`, `""`) + `",` + group + "\n")
		}
		if m == nil {
			return
		}
		again, err := Parse(b.Bytes())
		if err != nil {
			t.Fatalf("%q: %v", b.Bytes(), err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Errorf("-first +again\n%s", diff)
		}
	})
}
