package useragent

import (
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
	p, err := New([]byte(smallRules))
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
		{"a list", "- a\n- b\n", []string{"not a regexes.yaml"}},
		{"empty", "", []string{"no user_agent_parsers", "no os_parsers", "no device_parsers"}},
		{"one section missing", "user_agent_parsers: [{regex: a}]\nos_parsers: [{regex: a}]\n", []string{"no device_parsers"}},
		{"bad regexes", "user_agent_parsers: [{regex: a}, {regex: '('}, {regex: '(?=a)'}]" + rest,
			[]string{"user_agent_parsers[1]", "user_agent_parsers[2]", "missing closing )", "(?="}},
		{"empty regex", "user_agent_parsers: [{family_replacement: a}]" + rest, []string{"user_agent_parsers[0]: regex is empty"}},
		{"unknown flag", "user_agent_parsers: [{regex: a, regex_flag: x}]" + rest, []string{"user_agent_parsers[0]", `regex_flag "x"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New([]byte(tt.yaml))
			if err == nil {
				t.Fatalf("New = %v, want an error", p)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestRulesVersion(t *testing.T) {
	if got := RulesVersion(); !regexp.MustCompile(`^uap-core \d{6} \([0-9a-f]{12}\)$`).MatchString(got) {
		t.Errorf("RulesVersion() = %q", got)
	}
	if got := Default().RulesVersion(); got != RulesVersion() {
		t.Errorf("the default parser has rules %q, want %q", got, RulesVersion())
	}
	p, err := New([]byte(smallRules))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.RulesVersion(); !regexp.MustCompile(`^sha256:[0-9a-f]{16}$`).MatchString(got) {
		t.Errorf("own rules have version %q", got)
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
