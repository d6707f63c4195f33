package useragent

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:generate go run rulesgen.go

//go:embed data/regexes.yaml
var embeddedRules []byte

// embeddedName is how Version calls the embedded rules: release and commit of
// uap-core, from the first line of the file.
func embeddedName() string {
	header, _, _ := bytes.Cut(embeddedRules, []byte("\n"))
	return string(bytes.TrimPrefix(header, []byte("# ")))
}

// Rules are a regexes.yaml of uap-core in place of the embedded one. The zero
// value stands for the embedded rules. Rules travel to workers as JSON.
type Rules struct {
	Name string // how Version calls them, such as the name of their file; not empty unless YAML is
	YAML []byte // what the file holds
}

// Version names the rules for people and for records of what a job applied:
// the name, then "sha256:" and the first 12 hex digits of the SHA-256 of the
// YAML. The name of the embedded rules is "uap-core", its monthly release
// (YYYYMM) and its commit:
//
//	uap-core 202610 (73e7340c3ed8) sha256:0123456789ab
//	regexes.yaml sha256:0123456789ab
func (r Rules) Version() string {
	if r.embedded() {
		r = Rules{Name: embeddedName(), YAML: embeddedRules}
	}
	sum := sha256.Sum256(r.YAML)
	return fmt.Sprintf("%s sha256:%x", r.Name, sum[:6])
}

// Version names the embedded rules; see [Rules.Version].
func Version() string { return Rules{}.Version() }

// embedded reports whether r stands for the embedded rules. An empty file has
// a name and does not.
func (r Rules) embedded() bool { return r.Name == "" && len(r.YAML) == 0 }

func (r Rules) yaml() []byte {
	if r.embedded() {
		return embeddedRules
	}
	return r.YAML
}

// maxRules bounds a rules file, in bytes, as the job carries it to every
// worker. uap-core's has 0.2 MB.
const maxRules = 4 << 20

// maxFaults is how many faults of a rules file are told.
const maxFaults = 20

// A section is one of the lists of a regexes.yaml.
type section struct {
	name   string
	values [4]string // keys of the values, in the order of rule.values; "" if there are fewer
	unset  [4]string // what stands for a value that a rule does not give
}

// sections are the lists in the order of the lists of a Parser. Keys and
// defaults are those of uap-core's specification.
var sections = [3]section{
	{"user_agent_parsers", [4]string{"family_replacement", "v1_replacement", "v2_replacement", "v3_replacement"}, [4]string{"$1", "$2", "$3", "$4"}},
	{"os_parsers", [4]string{"os_replacement", "os_v1_replacement", "os_v2_replacement", "os_v3_replacement"}, [4]string{"$1", "$2", "$3", "$4"}},
	{"device_parsers", [4]string{"device_replacement", "brand_replacement", "model_replacement"}, [4]string{"$1", "", "$1"}},
}

// unusedKeys are keys of rules whose values no column holds: the fourth part
// of a version.
var unusedKeys = map[string]bool{"v4_replacement": true, "os_v4_replacement": true}

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
func newRule(expr, flag string) (*rule, error) {
	r := &rule{expr: expr}
	switch flag {
	case "":
	case "i":
		r.expr = "(?i)" + expr
	default:
		return nil, fmt.Errorf("regex_flag %q is not known, only \"i\"", flag)
	}
	if expr == "" {
		return nil, errors.New("regex is empty")
	}
	tree, err := syntax.Parse(r.expr, syntax.Perl)
	if err != nil {
		if len(expr) > 60 { // some have thousands of bytes; the error quotes the place
			expr = strings.ToValidUTF8(expr[:60], "") + "..."
		}
		return nil, fmt.Errorf("regex %s: %w", expr, err)
	}
	r.clauses, r.fold = requiredLiterals(tree)
	r.prog = compile(tree)
	return r, nil
}

// A ruleReader reads a regexes.yaml and collects its faults.
type ruleReader struct {
	faults []error
	more   int // faults beyond maxFaults
}

func (rr *ruleReader) wrong(n *yaml.Node, format string, args ...any) {
	if len(rr.faults) == maxFaults {
		rr.more++
		return
	}
	rr.faults = append(rr.faults, fmt.Errorf("line %d: %w", n.Line, fmt.Errorf(format, args...)))
}

// loadRules reads a regexes.yaml. It reports every fault, not the first: keys
// that it does not know too, as they may change what a rule means.
func loadRules(regexesYAML []byte) (lists [len(sections)][]*rule, err error) {
	if len(regexesYAML) > maxRules {
		return lists, fmt.Errorf("%d bytes are more than a regexes.yaml may have (%d)", len(regexesYAML), maxRules)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(regexesYAML))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return lists, fmt.Errorf("not a regexes.yaml: %w", err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return lists, errors.New("not a regexes.yaml: more than one YAML document")
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	if len(document.Content) > 0 {
		root = resolve(document.Content[0])
	}
	if root.Kind != yaml.MappingNode {
		return lists, fmt.Errorf("not a regexes.yaml: line %d: no lists named user_agent_parsers, os_parsers and device_parsers", root.Line)
	}
	var rr ruleReader
	for key, value := range pairs(root) {
		n := slices.IndexFunc(sections[:], func(s section) bool { return s.name == key.Value })
		switch {
		case n < 0:
			rr.wrong(key, "%q is none of user_agent_parsers, os_parsers and device_parsers", key.Value)
		case lists[n] != nil:
			rr.wrong(key, "%s a second time", key.Value)
		case value.Kind != yaml.SequenceNode:
			rr.wrong(key, "%s is not a list", key.Value)
		default:
			lists[n] = make([]*rule, len(value.Content))
			for i, item := range value.Content {
				lists[n][i] = rr.rule(&sections[n], i, resolve(item))
			}
		}
	}
	for n, list := range lists {
		if len(list) == 0 && len(rr.faults) == 0 {
			rr.faults = append(rr.faults, fmt.Errorf("there are no %s", sections[n].name))
		}
	}
	if rr.more > 0 {
		rr.faults = append(rr.faults, fmt.Errorf("and %d more faults", rr.more))
	}
	return lists, errors.Join(rr.faults...)
}

// rule reads the rule at position i of a section; nil if it has a fault.
func (rr *ruleReader) rule(s *section, i int, item *yaml.Node) *rule {
	if item.Kind != yaml.MappingNode {
		rr.wrong(item, "%s[%d] is not a rule: it has no keys", s.name, i)
		return nil
	}
	var expr, flag string
	texts := s.unset
	seen := make(map[string]bool, 8)
	for key, value := range pairs(item) {
		if value.Kind != yaml.ScalarNode {
			rr.wrong(value, "%s[%d]: %s is not a string", s.name, i, key.Value)
			return nil
		}
		if seen[key.Value] {
			rr.wrong(key, "%s[%d]: %s a second time", s.name, i, key.Value)
			return nil
		}
		seen[key.Value] = true
		text := value.Value
		if value.Tag == "!!null" {
			text = ""
		}
		switch n := slices.Index(s.values[:], key.Value); {
		case key.Value == "regex":
			expr = text
		case key.Value == "regex_flag":
			flag = text
		case n >= 0 && key.Value != "":
			if text != "" {
				texts[n] = text
			}
		case !unusedKeys[key.Value]:
			rr.wrong(key, "%s[%d]: key %q is not known", s.name, i, key.Value)
			return nil
		}
	}
	r, err := newRule(expr, flag)
	if err != nil {
		rr.wrong(item, "%s[%d]: %w", s.name, i, err)
		return nil
	}
	for n, text := range texts {
		r.values[n] = parseTemplate(text)
	}
	return r
}

// pairs iterates over the keys and values of a mapping.
func pairs(mapping *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i], resolve(mapping.Content[i+1])) {
				return
			}
		}
	}
}

// resolve returns what an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
