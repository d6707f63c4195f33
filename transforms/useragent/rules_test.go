package useragent

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
)

const smallRules = `
user_agent_parsers:
  - regex: '(Agent|Common|Tail)/(\d+)(?:\.(\d+)|)(?:\.(\d+)|)'
  - regex: '^()(\d+) empty'
  - regex: '(\d+) empty'
    family_replacement: 'After empty'
  - regex: '(One) (Two) (Three)'
    family_replacement: '$3, $2 & $1 for $$9'
    v1_replacement: 'v1'
    v2_replacement: '$3'
  - regex: 'Ot(her)'
    family_replacement: 'Ot$1'
    v1_replacement: '1'
os_parsers:
  - regex: '(Sys) ?(\d+)?'
    os_v2_replacement: 'two'
device_parsers:
  - regex: '; *(pad)([^;]*);'
    regex_flag: 'i'
    device_replacement: '$1'
    brand_replacement: ' Brand $1 '
    model_replacement: '$2'
  - regex: '(desk)top'
    regex_flag: 'i'
    brand_replacement: 'Fold'
`

func TestOwnRules(t *testing.T) {
	p, err := New(Rules{"own.yaml", []byte(smallRules)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		ua   string
		want Client
	}{
		{"Agent/1.2.3", Client{Browser: "Agent", BrowserVersion: "1.2.3", DeviceType: DeviceUnknown}},
		{"xAgent/1..3", Client{Browser: "Agent", BrowserVersion: "1", DeviceType: DeviceUnknown}},
		{"7 empty", Client{Browser: "After empty", DeviceType: DeviceUnknown}},
		{"One Two Three", Client{Browser: "Three, Two & One for $", BrowserVersion: "v1.Three", DeviceType: DeviceUnknown}},
		{"Other", Client{DeviceType: DeviceUnknown}},
		{"Sys 5", Client{OS: "Sys", OSVersion: "5.two", DeviceType: DeviceUnknown}},
		{"Sys", Client{OS: "Sys", OSVersion: "two", DeviceType: DeviceUnknown}},
		{"x; PAD 7 ;", Client{DeviceBrand: "Brand PAD", DeviceModel: "7", DeviceType: DeviceMobile}},
		{"DE\u017f\u212aTOP", Client{DeviceBrand: "Fold", DeviceModel: "DE\u017f\u212a", DeviceType: DeviceMobile}},
		{"nothing", Client{DeviceType: DeviceUnknown}},
		{"\xff\xfe Agent/1\xff", Client{Browser: "Agent", BrowserVersion: "1", DeviceType: DeviceUnknown}},
	} {
		if got := p.Parse(tt.ua); got != tt.want {
			t.Errorf("Parse(%q)\n got %+v\nwant %+v", tt.ua, got, tt.want)
		}
	}
}

func TestRulesErrors(t *testing.T) {
	const rest = "\nos_parsers: [{regex: a}]\ndevice_parsers: [{regex: a}]\n"
	for _, tt := range []struct {
		name, yaml string
		want       []string
	}{
		{"not YAML", "\t{", []string{"not a regexes.yaml"}},
		{"a list", "- a\n- b\n", []string{"not a regexes.yaml", "line 1"}},
		{"a text", "<html>", []string{"not a regexes.yaml", "line 1"}},
		{"two documents", "user_agent_parsers: [{regex: a}]" + rest + "---\na: b\n", []string{"more than one YAML document"}},
		{"empty", "", []string{"no user_agent_parsers"}},
		{"too large", strings.Repeat("# x\n", maxRules/4+1), []string{"more than a regexes.yaml may have"}},
		{"one section missing", "user_agent_parsers: [{regex: a}]\nos_parsers: [{regex: a}]\n", []string{"no device_parsers"}},
		{"one section empty", "user_agent_parsers: []" + rest, []string{"no user_agent_parsers"}},
		{"a section twice", "os_parsers: [{regex: b}]\nuser_agent_parsers: [{regex: a}]" + rest, []string{"line 3: os_parsers a second time"}},
		{"a section of another kind", "user_agent_parsers: {regex: a}" + rest, []string{"line 1: user_agent_parsers is not a list"}},
		{"unknown section", "user_agent_parsers: [{regex: a}]" + rest + "engine_parsers: []\n", []string{`line 4: "engine_parsers"`}},
		{"bad regexes", "user_agent_parsers:\n  - regex: a\n  - regex: '('\n  - regex: '(a)(?=b)'\n" + rest,
			[]string{"line 3: user_agent_parsers[1]: regex (", "missing closing )", "line 4: user_agent_parsers[2]: regex (a)(?=b)", "`(?=`"}},
		{"back reference", "user_agent_parsers:\n  - {regex: '(a)\\1'}\n" + rest, []string{"line 2: user_agent_parsers[0]", "`\\1`"}},
		{"empty regex", "user_agent_parsers: [{family_replacement: a}]" + rest, []string{"line 1: user_agent_parsers[0]: regex is empty"}},
		{"null regex", "user_agent_parsers: [{regex: ~}]" + rest, []string{"line 1: user_agent_parsers[0]: regex is empty"}},
		{"unknown flag", "user_agent_parsers: [{regex: a, regex_flag: x}]" + rest, []string{"user_agent_parsers[0]", `regex_flag "x"`}},
		{"unknown key", "user_agent_parsers:\n- regex: a\n  familiy_replacement: b" + rest, []string{"line 3", `key "familiy_replacement"`}},
		{"key of another section", "user_agent_parsers:\n- regex: a\n  brand_replacement: b" + rest, []string{"line 3", `key "brand_replacement"`}},
		{"a key twice", "user_agent_parsers:\n- regex: a\n  regex: b" + rest, []string{"line 3", "regex a second time"}},
		{"a value that is none", "user_agent_parsers:\n- regex: [a]\n" + rest, []string{"line 2", "regex is not a string"}},
		{"a rule that is none", "user_agent_parsers: [a]\n" + rest, []string{"line 1: user_agent_parsers[0] is not a rule"}},
		{"many faults", "user_agent_parsers: [" + strings.Repeat("{regex: '('}, ", 50) + "]" + rest, []string{"and 30 more faults"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New(Rules{"own.yaml", []byte(tt.yaml)})
			if err == nil {
				t.Fatalf("New = %v, want an error", p)
			}
			for _, want := range append(tt.want, "own.yaml") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// What YAML allows beyond the plain form of uap-core's file.
func TestRulesInOtherYAML(t *testing.T) {
	p, err := New(Rules{"own.yaml", []byte(`
os_parsers: &list [{regex: '(Sys)/(\d+)'}]
user_agent_parsers: [{"regex": "(Agent)/", v1_replacement: 5, v2_replacement: ~, v3_replacement: '', v4_replacement: x}]
device_parsers: *list
`)})
	if err != nil {
		t.Fatal(err)
	}
	want := Client{Browser: "Agent", BrowserVersion: "5", OS: "Sys", OSVersion: "7", DeviceModel: "Sys", DeviceType: DeviceUnknown}
	if got := p.Parse("Agent/ Sys/7"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestVersion(t *testing.T) {
	if got := Version(); !regexp.MustCompile(`^uap-core \d{6} \([0-9a-f]{12}\) sha256:[0-9a-f]{12}$`).MatchString(got) {
		t.Errorf("Version() = %q", got)
	}
	if got := Default().Version(); got != Version() {
		t.Errorf("the default parser has rules %q, want %q", got, Version())
	}
	p, err := New(Rules{"own.yaml", []byte(smallRules)})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(smallRules))
	if got, want := p.Version(), "own.yaml sha256:"+hex.EncodeToString(sum[:])[:12]; got != want {
		t.Errorf("own rules have version %q, want %q", got, want)
	}
}

// Every embedded rule must be open to the fast path, or an agent costs a
// hundred times more.
func TestEmbeddedRulesAreFast(t *testing.T) {
	p := Default()
	for i, r := range p.rules {
		if r.prog == nil {
			t.Errorf("no program for %s", r.expr)
		}
		if r.clauses == nil && !strings.Contains(r.expr, "([A-Z]{2,4})(M") {
			t.Errorf("rule %d has no literal: %s", i, r.expr)
		}
	}
}

// The replacement of uap-core's rules reads the same in package regexp, which
// the oracle uses.
func TestTemplatesReadAlike(t *testing.T) {
	odd := regexp.MustCompile(`\$(?:\$|\{|\d\w|[^1-9])`)
	for _, r := range Default().rules {
		for _, v := range r.values {
			if odd.MatchString(v.text) {
				t.Errorf("replacement %q of %s", v.text, r.expr)
			}
		}
	}
}
