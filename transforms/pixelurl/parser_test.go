package pixelurl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// distractor leaves as much behind in a reused Parser and Result as can be.
var distractor = func() []byte {
	var b strings.Builder
	for name := range referenceNames {
		fmt.Fprintf(&b, "&%s=%%58%%zz%%ff&%s=[X]&unknown%%20%s=%%58", name, name, name)
	}
	return []byte(b.String())
}()

// parseTwice parses on used objects, twice with other work between, and checks
// that both runs agree and that the query stays as it was.
func parseTwice(t *testing.T, p *Parser, query string) answer {
	t.Helper()
	var r Result
	input := []byte(query)
	p.Parse(input, &r)
	first := answerOf(&r)
	p.Parse(distractor, &r)
	if len(r.params) < 2*len(referenceNames) || r.Lint == 0 {
		t.Fatal("the distractor was not parsed")
	}
	p.Parse(input, &r)
	if diff := cmp.Diff(first, answerOf(&r)); diff != "" {
		t.Fatalf("second parse of %q differs (-first +second):\n%s", query, diff)
	}
	if string(input) != query {
		t.Fatalf("Parse changed its input")
	}
	return first
}

type values = map[string]string

func TestParse(t *testing.T) {
	p := NewParser(DefaultDictionary())
	// Each case has a cache-buster unless it is about that, and then expects it.
	for _, tt := range []struct {
		name, query string
		want        answer
	}{
		// Pairs.
		{"nothing", "", answer{nil, nil, `{}`, []string{"no_cache_buster"}}},
		{"typed and other", "cb=1&cid=7&x=y", answer{values{"campaign_id": "7"}, nil, `{"x":"y"}`, nil}},
		{"empty pairs are skipped", "&&cb=1&&x=y&", answer{nil, nil, `{"x":"y"}`, nil}},
		{"no equals sign", "cb=1&x&cid", answer{nil, nil, `{"x":"","cid":""}`, nil}},
		{"first equals sign separates", "cb=1&x=a=b==", answer{nil, nil, `{"x":"a=b=="}`, nil}},
		{"only an equals sign", "cb=1&=", answer{nil, nil, `{"":""}`, nil}},
		{"no name", "cb=1&=v", answer{nil, nil, `{"":"v"}`, nil}},
		{"semicolons without ampersand", "cb=1;cid=7;;x=y", answer{values{"campaign_id": "7"}, nil, `{"x":"y"}`, nil}},
		{"semicolons with ampersand", "cb=1&cid=7;x=y", answer{values{"campaign_id": "7;x=y"}, nil, `{}`, nil}},
		{"semicolon in a name", "cb=1&a;b=c", answer{nil, nil, `{"a;b":"c"}`, nil}},
		{"escaped ampersand does not separate", "cb=1;x=a%26b;y=z", answer{nil, nil, `{"x":"a&b","y":"z"}`, nil}},

		// Decoding.
		{"plus and escapes", "cb=1&x+y=a+b%20c%2B&cid=%37+%38", answer{values{"campaign_id": "7 8"}, nil, `{"x y":"a b c+"}`, nil}},
		{"escaped name is known", "cb=1&%63%69d=7", answer{values{"campaign_id": "7"}, nil, `{}`, nil}},
		{"hex digits in both cases", "cb=1&x=%c3%A9", answer{nil, nil, `{"x":"é"}`, nil}},
		{"escapes are decoded once", "cb=1&url=https%253A%252F%252Fa", answer{values{"page_url": "https%3A%2F%2Fa"}, nil, `{}`, nil}},
		{"bad escapes stay", "cb=1&x=100%&y=%zz%4&z=%%41", answer{nil, nil, `{"x":"100%","y":"%zz%4","z":"%A"}`, []string{"bad_escape"}}},
		{"bad escape in a name", "cb=1&%zz=1", answer{nil, nil, `{"%zz":"1"}`, []string{"bad_escape"}}},
		{"bad escape in a typed value", "cb=1&cid=5%", answer{values{"campaign_id": "5%"}, nil, `{}`, []string{"bad_escape"}}},
		{"Latin-1", "cb=1&x=caf%E9", answer{nil, nil, "{\"x\":\"caf\uFFFD\"}", []string{"bad_utf8"}}},
		{"raw UTF-8", "cb=1&x=é", answer{nil, nil, `{"x":"é"}`, nil}},
		{"character of raw and escaped bytes", "cb=1&x=\xc3%A9", answer{nil, nil, `{"x":"é"}`, nil}},
		{"bad UTF-8 in a name", "cb=1&%ff=1", answer{nil, nil, "{\"\uFFFD\":\"1\"}", []string{"bad_utf8"}}},
		{"one U+FFFD for each maximal part", "cb=1&a=%E2%82&b=%F0%9F%98x&c=%ED%A0%80&d=%C0%AF&g=%F4%90%80%80&f=%E2%82%AC%E2%28",
			answer{nil, nil, "{\"a\":\"\uFFFD\",\"b\":\"\uFFFDx\",\"c\":\"\uFFFD\uFFFD\uFFFD\",\"d\":\"\uFFFD\uFFFD\"," +
				"\"g\":\"\uFFFD\uFFFD\uFFFD\uFFFD\",\"f\":\"€\uFFFD(\"}", []string{"bad_utf8"}}},
		{"overlong UTF-8", "cb=1&a=%E0%80%AF&b=%F0%80%80%AF&c=%E0%A0&d=%F0%90%80",
			answer{nil, nil, "{\"a\":\"\uFFFD\uFFFD\uFFFD\",\"b\":\"\uFFFD\uFFFD\uFFFD\uFFFD\",\"c\":\"\uFFFD\",\"d\":\"\uFFFD\"}", []string{"bad_utf8"}}},
		{"U+FFFD itself is no fault", "cb=1&x=%EF%BF%BD", answer{nil, nil, "{\"x\":\"\uFFFD\"}", nil}},
		{"byte order mark stays", "cb=1&x=%EF%BB%BFa", answer{nil, nil, "{\"x\":\"\uFEFFa\"}", nil}},

		// Names and precedence.
		{"case of names does not count", "CB=1&CID=7&AdvertiserID=8", answer{values{"campaign_id": "7", "advertiser_id": "8"}, nil, `{}`, nil}},
		{"only ASCII case", "cb=1&pri\u212Ae=1&\u017Fite=2", answer{nil, nil, "{\"pri\u212Ae\":\"1\",\"\u017Fite\":\"2\"}", nil}},
		{"canonical beats alias", "cb=1&campaign=2&cid=1", answer{values{"campaign_id": "1"}, nil, `{"campaign":"2"}`, nil}},
		{"canonical first", "cb=1&cid=1&campaign=2", answer{values{"campaign_id": "1"}, nil, `{"campaign":"2"}`, nil}},
		{"aliases are equal", "cb=1&d_campaign=3&campaign=2", answer{values{"campaign_id": "3"}, nil, `{"campaign":"2"}`, nil}},
		{"first of the canonical wins", "cb=1&CID=1&cid=2&cid=3", answer{values{"campaign_id": "1"}, nil, `{"cid":["2","3"]}`, nil}},
		{"empty never wins", "cb=1&cid=&campaign=2", answer{values{"campaign_id": "2"}, nil, `{"cid":""}`, nil}},
		{"macro never wins", "cb=1&cid=[CID]&campaign=2", answer{values{"campaign_id": "2"}, nil, `{"cid":"[CID]"}`, []string{"unexpanded_macro"}}},
		{"nobody wins", "cb=1&cid=&campaign=", answer{nil, nil, `{"cid":"","campaign":""}`, nil}},
		{"order and repeats", "cb=1&b=1&a=2&b=3&c=4&b=5&a=6", answer{nil, nil, `{"b":["1","3","5"],"a":["2","6"],"c":"4"}`, nil}},
		{"repeats are by spelling", "cb=1&x=1&X=2&%78=3", answer{nil, nil, `{"x":["1","3"],"X":"2"}`, nil}},
		{"a repeat that is typed is no repeat there", "cb=1&cid=1&cid=2", answer{values{"campaign_id": "1"}, nil, `{"cid":"2"}`, nil}},
		{"JSON is escaped", "cb=1&a%22%5C%0A%00=b%22%5C%0A%1f%7f0123456789%22</script>",
			answer{nil, nil, `{"a\"\\\n\u0000":"b\"\\\n\u001f` + "\x7f" + `0123456789\"</script>"}`, nil}},
		{"short escapes of JSON", "cb=1&a=%08%09%0a%0c%0d", answer{nil, nil, `{"a":"\b\t\n\f\r"}`, nil}},
		{"analytics and click ids stay", "cb=1&utm_campaign=c&gclid=1&dclid=2&gbraid=3&wbraid=4&msclkid=5&fbclid=6&ttclid=7&utm_id=8",
			answer{nil, nil, `{"utm_campaign":"c","gclid":"1","dclid":"2","gbraid":"3","wbraid":"4","msclkid":"5","fbclid":"6","ttclid":"7","utm_id":"8"}`, nil}},
		{"ts stays", "cb=1&ts=1714584428", answer{nil, nil, `{"ts":"1714584428"}`, nil}},

		// Every name of the dictionary; aliases below.
		{"canonical names", "ev=Click&iid=a&adv=b&cid=c&li=d&io=e&crid=f&adid=g&pl=h&site=i&pub=j&dealid=k&price=1.5&cur=EUR&uid=l&ifa=m" +
			"&url=http://p&ref=http://r&w=300&h=250&cb=n&click=http://c",
			answer{values{"event_type": "click", "impression_id": "a", "advertiser_id": "b", "campaign_id": "c", "line_item_id": "d",
				"insertion_order_id": "e", "creative_id": "f", "ad_id": "g", "placement_id": "h", "site_id": "i", "publisher_id": "j",
				"deal_id": "k", "price": "1.5", "currency": "EUR", "user_id": "l", "device_id": "m", "page_url": "http://p",
				"referrer": "http://r", "width": "300", "height": "250", "cache_buster": "n", "click_url": "http://c"}, nil, `{}`, nil}},
		{"event type", "cb=1&ev=ViewABLE-%C3%89", answer{values{"event_type": "viewable-é"}, nil, `{}`, nil}},

		// Consent.
		{"signals stay", "cb=1&gdpr=1&gdpr_consent=CPc&us_privacy=1YNN&gpp=DBA~x&gpp_sid=7&coppa=0&gpc=1",
			answer{nil, values{"gdpr": "1", "gdpr_consent": "CPc", "us_privacy": "1YNN", "gpp": "DBA~x", "coppa": "0", "gpc": "1"},
				`{"gdpr":"1","gdpr_consent":"CPc","us_privacy":"1YNN","gpp":"DBA~x","gpp_sid":"7","coppa":"0","gpc":"1"}`, nil}},
		{"signal by alias", "cb=1&tfcd=1&gdpr=&GDPR=0", answer{nil, values{"coppa": "1", "gdpr": "0"}, `{"tfcd":"1","gdpr":"","GDPR":"0"}`, nil}},
		{"canonical signal beats alias", "cb=1&tag_for_child_directed_treatment=1&coppa=0",
			answer{nil, values{"coppa": "0"}, `{"tag_for_child_directed_treatment":"1","coppa":"0"}`, nil}},
		{"macro as a signal", "cb=1&gdpr=${GDPR}", answer{nil, nil, `{"gdpr":"${GDPR}"}`, []string{"unexpanded_macro"}}},

		// Numbers.
		{"pixels", "cb=1&w=0&h=100000", answer{values{"width": "0", "height": "100000"}, nil, `{}`, nil}},
		{"pixels with zeros", "cb=1&w=000000000300&h=00", answer{values{"width": "300", "height": "0"}, nil, `{}`, nil}},
		{"pixels that are none", "cb=1&w=100001&h=300px", answer{nil, nil, `{"w":"100001","h":"300px"}`, []string{"bad_number"}}},
		{"signed pixels", "cb=1&w=-1&h=%2B1", answer{nil, nil, `{"w":"-1","h":"+1"}`, []string{"bad_number"}}},
		{"fraction of pixels", "cb=1&w=300.0", answer{nil, nil, `{"w":"300.0"}`, []string{"bad_number"}}},
		{"size", "cb=1&sz=300x250", answer{values{"width": "300", "height": "250"}, nil, `{}`, nil}},
		{"size with w", "cb=1&sz=300x250&w=320", answer{values{"width": "320"}, nil, `{"sz":"300x250"}`, nil}},
		{"size with h", "cb=1&h=50&sz=300x250", answer{values{"height": "50"}, nil, `{"sz":"300x250"}`, nil}},
		{"size with empty w and h", "cb=1&w=&sz=300x250&h", answer{values{"width": "300", "height": "250"}, nil, `{"w":"","h":""}`, nil}},
		{"size with a bad w", "cb=1&w=x&sz=300x250", answer{nil, nil, `{"w":"x","sz":"300x250"}`, []string{"bad_number"}}},
		{"size with a macro in w", "cb=1&w=[W]&sz=300x250", answer{nil, nil, `{"w":"[W]","sz":"300x250"}`, []string{"unexpanded_macro"}}},
		{"size that does not count is not looked at", "cb=1&w=1&sz=x", answer{values{"width": "1"}, nil, `{"sz":"x"}`, nil}},
		{"sizes that are none", "cb=1&sz=300", answer{nil, nil, `{"sz":"300"}`, []string{"bad_number"}}},
		{"half a size", "cb=1&sz=300x", answer{nil, nil, `{"sz":"300x"}`, []string{"bad_number"}}},
		{"several sizes", "cb=1&sz=300x250,728x90", answer{nil, nil, `{"sz":"300x250,728x90"}`, []string{"bad_number"}}},
		{"size out of range", "cb=1&sz=300x100001", answer{nil, nil, `{"sz":"300x100001"}`, []string{"bad_number"}}},
		{"second size", "cb=1&sz=1x2&sz=3x4", answer{values{"width": "1", "height": "2"}, nil, `{"sz":"3x4"}`, nil}},
		{"a bad number wins and is NULL", "cb=1&w=x&w=300", answer{nil, nil, `{"w":["x","300"]}`, []string{"bad_number"}}},
		{"a bad number that does not win", "cb=1&w=300&w=x", answer{values{"width": "300"}, nil, `{"w":"x"}`, nil}},
		{"price", "cb=1&price=2.50", answer{values{"price": "2.5"}, nil, `{}`, nil}},
		{"price AUDIT", "cb=1&price=AUDIT", answer{nil, nil, `{"price":"AUDIT"}`, []string{"bad_number"}}},
		{"price macro", "cb=1&price=${AUCTION_PRICE}", answer{nil, nil, `{"price":"${AUCTION_PRICE}"}`, []string{"unexpanded_macro"}}},
		{"price with exponent", "cb=1&price=1e3", answer{nil, nil, `{"price":"1e3"}`, []string{"bad_number"}}},
		{"price with a plus that is a space", "cb=1&price=+1", answer{nil, nil, `{"price":" 1"}`, []string{"bad_number"}}},
		{"price with a plus", "cb=1&price=%2B1", answer{values{"price": "1"}, nil, `{}`, nil}},

		// Cache-buster.
		{"no cache-buster", "cid=1", answer{values{"campaign_id": "1"}, nil, `{}`, []string{"no_cache_buster"}}},
		{"empty cache-buster", "cb=&ord", answer{nil, nil, `{"cb":"","ord":""}`, []string{"no_cache_buster"}}},
		{"cache-buster by alias", "ord=123", answer{nil, nil, `{}`, nil}},
		{"macro as cache-buster", "cb=%%CACHEBUSTER%%", answer{nil, nil, `{"cb":"%%CACHEBUSTER%%"}`, []string{"no_cache_buster", "unexpanded_macro"}}},
		{"macro, then one", "cb=[RANDOM]&rnd=5", answer{values{"cache_buster": "5"}, nil, `{"cb":"[RANDOM]"}`, []string{"unexpanded_macro"}}},

		// Macros.
		{"all forms", "cb=1&a=${A}&b=%%B%%&c=[C]&d={D}&e=%eaid!",
			answer{nil, nil, `{"a":"${A}","b":"%%B%%","c":"[C]","d":"{D}","e":"%eaid!"}`, []string{"unexpanded_macro"}}},
		{"signs inside", "cb=1&a=${a_B:9.-}&b=%%a_B:9.-%%&c=[a_B:9.-]&d={a_B:9.-}&e=%ea_B9!",
			answer{nil, nil, `{"a":"${a_B:9.-}","b":"%%a_B:9.-%%","c":"[a_B:9.-]","d":"{a_B:9.-}","e":"%ea_B9!"}`, []string{"unexpanded_macro"}}},
		{"as sent stays as sent", "cb=1&x=%%ABBA%%&y=%ebad!", answer{nil, nil, `{"x":"%%ABBA%%","y":"%ebad!"}`, []string{"unexpanded_macro"}}},
		{"escaped macro is kept decoded", "cb=1&x=%24%7BA%7D&y=%5BB%5D&z=%25%25C%25%25",
			answer{nil, nil, `{"x":"${A}","y":"[B]","z":"%%C%%"}`, []string{"unexpanded_macro"}}},
		{"macro only when decoded, with a bad escape", "cb=1&x=%%C%25%25", answer{nil, nil, `{"x":"%%C%%"}`, []string{"bad_escape", "unexpanded_macro"}}},
		{"bad escape in the name of a macro", "cb=1&%=%%C%%", answer{nil, nil, `{"%":"%%C%%"}`, []string{"bad_escape", "unexpanded_macro"}}},
		{"not wholly", "cb=1&a=x[A]&b=[A]x&c=${A}${B}&d=[A", answer{nil, nil, `{"a":"x[A]","b":"[A]x","c":"${A}${B}","d":"[A"}`, nil}},
		{"nothing or other signs inside", "cb=1&a=[]&b={}&c=${}&d=[a,b]&i=[a b]&f={\"a\":1}&g=$[A]",
			answer{nil, nil, `{"a":"[]","b":"{}","c":"${}","d":"[a,b]","i":"[a b]","f":"{\"a\":1}","g":"$[A]"}`, nil}},
		{"short forms of escapes", "cb=1&a=%%%%&b=%e!&c=%ea:b!", answer{nil, nil, `{"a":"%%%%","b":"%e!","c":"` + "\uFFFD" + `:b!"}`, []string{"bad_escape", "bad_utf8"}}},
		{"macro as a name is none", "cb=1&[A]=1", answer{nil, nil, `{"[A]":"1"}`, nil}},
		{"macro in a column that none else fills", "cb=1&uid={user_id}", answer{nil, nil, `{"uid":"{user_id}"}`, []string{"unexpanded_macro"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := parseTwice(t, p, tt.query)
			if _, ok := tt.want.Values["cache_buster"]; !ok && strings.Contains(strings.ToLower(tt.query), "cb=1") {
				delete(got.Values, "cache_buster")
			}
			if tt.query == "ord=123" {
				if got.Values["cache_buster"] != "123" {
					t.Errorf("cache_buster is %q", got.Values["cache_buster"])
				}
				delete(got.Values, "cache_buster")
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tt.query, diff)
			}
			if !json.Valid([]byte(got.Params)) {
				t.Errorf("params are no JSON: %s", got.Params)
			}
			if diff := cmp.Diff(referenceParse(tt.query), parseTwice(t, p, tt.query), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%q (-reference +got):\n%s", tt.query, diff)
			}
		})
	}
}

// TestParseAliases gives each name of the dictionary to the parser, in three
// spellings.
func TestParseAliases(t *testing.T) {
	p := NewParser(DefaultDictionary())
	for name, n := range referenceNames {
		value := "12"
		want := value
		if n.target == "size" {
			value, want = "12x12", ""
		}
		for _, spelled := range []string{name, strings.ToUpper(name), fmt.Sprintf("%%%02x%s", name[0], name[1:])} {
			got := parseTwice(t, p, spelled+"="+value)
			from := got.Values
			if n.signal {
				from = got.Signals
			}
			if from[n.target] != want {
				t.Errorf("%s=%s: %s is %q", spelled, value, n.target, from[n.target])
			}
			if inParams := got.Params != "{}"; inParams != n.signal {
				t.Errorf("%s=%s: params are %s", spelled, value, got.Params)
			}
		}
	}
}

// TestParseManyParams passes from comparing to hashing, and checks that it takes
// no time that grows with the square of the number.
func TestParseManyParams(t *testing.T) {
	p := NewParser(DefaultDictionary())
	for _, n := range []int{fewParams - 1, fewParams, fewParams + 1, 100, 1000} {
		for _, distinct := range []int{1, 3, n} {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, "&p%d=%d", i%distinct, i)
			}
			query := b.String()
			if diff := cmp.Diff(referenceParse(query), parseTwice(t, p, query), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%d params of %d names (-reference +got):\n%s", n, distinct, diff)
			}
		}
	}
}

func TestNumeric(t *testing.T) {
	nines := strings.Repeat("9", 29)
	for _, tt := range []struct{ in, want string }{ // "" if it is none
		{"0", "0"}, {"-0", "0"}, {"+0.000", "0"}, {"00012", "12"}, {"-007.50", "-7.5"},
		{"0.5", "0.5"}, {"-0.5", "-0.5"}, {"10", "10"}, {"100.0", "100"}, {"1.050", "1.05"},
		{"0.123456789", "0.123456789"},
		{"0.1234567894", "0.123456789"}, {"0.1234567895", "0.12345679"}, {"-0.1234567895", "-0.12345679"},
		{"0.12345678949999999999", "0.123456789"},
		{"0.0000000005", "0.000000001"}, {"-0.0000000005", "-0.000000001"}, {"-0.00000000049", "0"},
		{"9.9999999999", "10"}, {"99.9999999995", "100"}, {"-0.9999999999", "-1"},
		{nines, nines}, {"-" + nines + ".999999999", "-" + nines + ".999999999"},
		{"000" + nines + ".9999999994", nines + ".999999999"},
		{nines + ".9999999995", ""}, {"1" + nines, ""}, {"-1" + nines + ".0", ""},
		{"", ""}, {"+", ""}, {"-", ""}, {".", ""}, {".5", ""}, {"5.", ""}, {"1.2.3", ""}, {"1,5", ""}, {"1e3", ""},
		{"0x1", ""}, {" 1", ""}, {"1 ", ""}, {"+-1", ""}, {"1.-5", ""}, {"1.+5", ""}, {"AUDIT", ""}, {"NaN", ""}, {"$1", ""},
	} {
		got, ok := appendNumeric([]byte("before "), []byte(tt.in))
		if ok != (tt.want != "") || string(got) != "before "+tt.want {
			t.Errorf("appendNumeric(%q) = %q, %v; want %q", tt.in, got, ok, tt.want)
		}
		if ref, refOK := referenceNumeric(tt.in); ref != tt.want || refOK != ok {
			t.Errorf("referenceNumeric(%q) = %q, %v; want %q", tt.in, ref, refOK, tt.want)
		}
	}
}

// TestResultBorrows checks that no append to a value reaches its neighbour.
func TestResultBorrows(t *testing.T) {
	query := []byte("cb=1&cid=a%20&adv=%20b&ev=C&price=1.50&site=x&pub=y")
	p := NewParser(DefaultDictionary())
	var r Result
	p.Parse(query, &r)
	before, queryBefore := answerOf(&r), bytes.Clone(query)
	for _, v := range r.Values {
		_ = append(v, "overwritten"...)
	}
	_ = append(r.Price, "overwritten"...)
	if diff := cmp.Diff(before, answerOf(&r)); diff != "" {
		t.Errorf("an append changed a neighbour:\n%s", diff)
	}
	if !bytes.Equal(query, queryBefore) {
		t.Errorf("an append changed the query to %q", query)
	}
}

func TestParseAllocates(t *testing.T) {
	p := NewParser(DefaultDictionary())
	queries := [][]byte{[]byte(benchmarkQuery), distractor, nil}
	var r Result
	dst := make([]byte, 0, 1<<16)
	for _, q := range queries { // let buffers grow
		p.Parse(q, &r)
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, q := range queries {
			p.Parse(q, &r)
			dst = r.AppendParams(dst[:0])
			if len(r.Lint.Names()) > numLints {
				t.Error("impossible")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLintNames(t *testing.T) {
	if got := Lint(0).Names(); got != nil {
		t.Errorf("no lint has names %q", got)
	}
	all := BadEscape | BadNumber | BadUTF8 | NoCacheBuster | UnexpandedMacro
	want := []string{"bad_escape", "bad_number", "bad_utf8", "no_cache_buster", "unexpanded_macro"}
	if diff := cmp.Diff(want, all.Names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"bad_utf8", "unexpanded_macro"}, (UnexpandedMacro | BadUTF8).Names()); diff != "" {
		t.Error(diff)
	}
}

// FuzzParseQuery compares with the plain reference.
func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{
		benchmarkQuery, "a;b=c", "cid=1&campaign=2&cid=", "w=&sz=300x250", "price=1.99999999995&price=x",
		"x=%E2%82%AC%E2%82&y=%ff", "cb=%%CACHEBUSTER%%&ord=%eaid!&u=%5BX%5D", "a=1&a=2&A=3&=&", "ev=%C4%B0",
		"a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q&r&a&b", "sz=1x2;w;h=", "gdpr=1&tfcd=&coppa=[C]",
	} {
		f.Add([]byte(s))
	}
	p := NewParser(DefaultDictionary())
	f.Fuzz(func(t *testing.T, query []byte) {
		got := parseTwice(t, p, string(query))
		if diff := cmp.Diff(referenceParse(string(query)), got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q (-reference +got):\n%s", query, diff)
		}
		if !json.Valid([]byte(got.Params)) {
			t.Fatalf("params are no JSON: %s", got.Params)
		}
	})
}
