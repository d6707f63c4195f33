package layering

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const dependenciesPage = "docs/dependencies.md"

// goMod is what 'go mod edit -json' prints.
type goMod struct {
	Require []struct {
		Path     string
		Indirect bool
	}
	Tool []struct{ Path string }
}

// direct returns the modules that the module uses itself: in an import, or as a
// tool.
func (m goMod) direct() []string {
	var out []string
	for _, r := range m.Require {
		used := !r.Indirect
		for _, tool := range m.Tool {
			used = used || within(tool.Path, r.Path)
		}
		if used {
			out = append(out, r.Path)
		}
	}
	return out
}

// documented returns the modules in the page's tables and what is wrong with
// their rows: | `module` | licence | reason | version, may be empty |.
func documented(page string) (modules, problems []string) {
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.TrimSpace(line), "|")
		module := strings.Trim(strings.TrimSpace(cells[1]), "`")
		modules = append(modules, module)
		if len(cells) != 6 || strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[3]) == "" {
			problems = append(problems, fmt.Sprintf("%s: the row of %s is not module, licence, reason, version", dependenciesPage, module))
		}
	}
	return modules, problems
}

// compareDependencies returns where the page and go.mod disagree.
func compareDependencies(m goMod, page string) []string {
	modules, out := documented(page)
	direct := m.direct()
	for i, module := range modules {
		if !slices.Contains(direct, module) {
			out = append(out, fmt.Sprintf("%s is in %s and not used directly, says go.mod", module, dependenciesPage))
		}
		if slices.Contains(modules[:i], module) {
			out = append(out, fmt.Sprintf("%s is in %s twice", module, dependenciesPage))
		}
	}
	for _, module := range direct {
		if !slices.Contains(modules, module) {
			out = append(out, fmt.Sprintf("%s is used directly, says go.mod, and not in %s", module, dependenciesPage))
		}
	}
	slices.Sort(out)
	return out
}

func TestDependencies(t *testing.T) {
	watch(t)
	var m goMod
	if err := json.Unmarshal(goCommand(t, "GOFLAGS=", "mod", "edit", "-json"), &m); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, dependenciesPage))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range compareDependencies(m, string(page)) {
		t.Error(problem)
	}
}

func TestCompareDependencies(t *testing.T) {
	var m goMod
	err := json.Unmarshal([]byte(`{
		"Require": [
			{"Path": "example.com/a"}, {"Path": "example.com/b"},
			{"Path": "example.com/tool", "Indirect": true}, {"Path": "example.com/indirect", "Indirect": true}],
		"Tool": [{"Path": "example.com/tool/cmd/t"}]}`), &m)
	if err != nil {
		t.Fatal(err)
	}
	const rest = "| `example.com/b` | MIT | reason | |\n| `example.com/tool` | MIT | reason | held back |\n"
	tests := []struct {
		name, page string
		want       []string
	}{
		{"in order", "# Title\n| Module | Licence |\n|---|---|\n| `example.com/a` | MIT | reason | |\n" + rest, nil},
		{"missing", rest, []string{"example.com/a is used directly, says go.mod, and not in docs/dependencies.md"}},
		{"indirect", "| `example.com/a` | MIT | reason | |\n| `example.com/indirect` | MIT | reason | |\n" + rest,
			[]string{"example.com/indirect is in docs/dependencies.md and not used directly, says go.mod"}},
		{"twice", "| `example.com/a` | MIT | reason | |\n| `example.com/a` | MIT | reason | |\n" + rest,
			[]string{"example.com/a is in docs/dependencies.md twice"}},
		{"no licence", "| `example.com/a` | | reason | |\n" + rest,
			[]string{"docs/dependencies.md: the row of example.com/a is not module, licence, reason, version"}},
		{"no reason", "| `example.com/a` | MIT | |\n" + rest,
			[]string{"docs/dependencies.md: the row of example.com/a is not module, licence, reason, version"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, compareDependencies(m, test.page)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
