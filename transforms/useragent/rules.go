package useragent

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:generate go run rulesgen.go

//go:embed data/regexes.yaml
var embeddedRules []byte

// A ruleFile is a regexes.yaml: three lists of rules, each tried in order.
type ruleFile struct {
	Browsers []browserRule `yaml:"user_agent_parsers"`
	Systems  []systemRule  `yaml:"os_parsers"`
	Devices  []deviceRule  `yaml:"device_parsers"`
}

type pattern struct {
	Regex string `yaml:"regex"`
	Flag  string `yaml:"regex_flag"`
}

type browserRule struct {
	pattern `yaml:",inline"`
	Family  string `yaml:"family_replacement"`
	V1      string `yaml:"v1_replacement"`
	V2      string `yaml:"v2_replacement"`
	V3      string `yaml:"v3_replacement"`
}

type systemRule struct {
	pattern `yaml:",inline"`
	Family  string `yaml:"os_replacement"`
	V1      string `yaml:"os_v1_replacement"`
	V2      string `yaml:"os_v2_replacement"`
	V3      string `yaml:"os_v3_replacement"`
}

type deviceRule struct {
	pattern `yaml:",inline"`
	Family  string `yaml:"device_replacement"`
	Brand   string `yaml:"brand_replacement"`
	Model   string `yaml:"model_replacement"`
}

// A rule is one regular expression and the values that a match gives: family
// and three version parts, or family, brand and model.
type rule struct {
	expr   string // in Go's syntax, flags included
	values [4]template

	clauses [][]string // what a match must contain; see literals.go
	fold    bool       // clauses are lower case and match any ASCII case
	prog    *program   // nil where the backtracker cannot run expr

	once sync.Once
	re   *regexp.Regexp
}

// regexp returns the compiled expression. Few rules ever need theirs, and
// compiling all of them would take longer than everything else at start-up.
func (r *rule) regexp() *regexp.Regexp {
	r.once.Do(func() { r.re = regexp.MustCompile(r.expr) })
	return r.re
}

// newRule prepares an expression with its flags, which may be "" or "i".
func newRule(p pattern, values ...template) (*rule, error) {
	r := &rule{expr: p.Regex}
	switch p.Flag {
	case "":
	case "i":
		r.expr = "(?i)" + p.Regex
	default:
		return nil, fmt.Errorf("regex_flag %q is not known, only \"i\"", p.Flag)
	}
	if p.Regex == "" {
		return nil, errors.New("regex is empty")
	}
	tree, err := syntax.Parse(r.expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	copy(r.values[:], values)
	r.clauses, r.fold = requiredLiterals(tree)
	r.prog = compile(tree)
	return r, nil
}

// loadRules reads a regexes.yaml. It reports every bad rule, not the first.
func loadRules(regexesYAML []byte) (browsers, systems, devices []*rule, err error) {
	var file ruleFile
	if err := yaml.Unmarshal(regexesYAML, &file); err != nil {
		return nil, nil, nil, fmt.Errorf("useragent: rules are not a regexes.yaml: %w", err)
	}
	var errs []error
	add := func(list *[]*rule, section string, p pattern, values ...template) {
		r, err := newRule(p, values...)
		if err != nil {
			errs = append(errs, fmt.Errorf("useragent: %s[%d]: %w", section, len(*list), err))
		}
		*list = append(*list, r)
	}
	for _, r := range file.Browsers {
		add(&browsers, "user_agent_parsers", r.pattern,
			parseTemplate(r.Family, "$1"), parseTemplate(r.V1, "$2"), parseTemplate(r.V2, "$3"), parseTemplate(r.V3, "$4"))
	}
	for _, r := range file.Systems {
		add(&systems, "os_parsers", r.pattern,
			parseTemplate(r.Family, "$1"), parseTemplate(r.V1, "$2"), parseTemplate(r.V2, "$3"), parseTemplate(r.V3, "$4"))
	}
	for _, r := range file.Devices {
		add(&devices, "device_parsers", r.pattern,
			parseTemplate(r.Family, "$1"), parseTemplate(r.Brand, ""), parseTemplate(r.Model, "$1"))
	}
	for _, s := range []struct {
		name string
		list []*rule
	}{{"user_agent_parsers", browsers}, {"os_parsers", systems}, {"device_parsers", devices}} {
		if len(s.list) == 0 {
			errs = append(errs, fmt.Errorf("useragent: rules have no %s", s.name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, nil, err
	}
	return browsers, systems, devices, nil
}

// RulesVersion names the embedded rules: "uap-core", release and commit.
func RulesVersion() string {
	header, _, _ := strings.Cut(string(embeddedRules), "\n")
	return strings.TrimPrefix(header, "# ")
}
