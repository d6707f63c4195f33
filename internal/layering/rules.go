// Package layering holds the rules of which package may import which, and the
// test that keeps the module to them and every dependency explained:
//
//	schemas <- transforms <- pipeline <- cmd
//	schemas <- local <- cmd
//	schemas <- profiles <- cmd
package layering

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Module is the path of the module that the rules are for.
const Module = "pixelbeam"

const (
	beam   = "github.com/apache/beam"
	duckdb = "github.com/duckdb"
	// jobMain is the program that Dataflow ships to every worker.
	jobMain = Module + "/cmd/pixelbeam"
)

// clouds are the import path prefixes of cloud clients. Their shared protocol
// messages are none.
var clouds = []string{"cloud.google.com/go", "google.golang.org/api"}

// Package is what 'go list -json' says of a package without its tests.
type Package struct {
	ImportPath string
	Name       string
	Standard   bool
	CgoFiles   []string
	Imports    []string // direct
	Deps       []string // all
}

// layer is a folder of the module and what its packages may import.
type layer struct {
	folder string
	// own lists the folders of the module that may be imported directly; nil is
	// all of them.
	own []string
	// direct and deep list import path prefixes that must not be imported, deep
	// not even by a dependency.
	direct, deep []string
}

// layers in the order in which the first that contains a package counts.
var layers = []layer{
	// The generator of the row messages: a program, run by go generate.
	{folder: "schemas/internal/protogen", own: []string{}},
	{folder: "schemas", own: []string{"schemas"}, deep: slices.Concat(clouds, []string{beam, duckdb})},
	// Beam itself brings cloud clients along, so only a direct import counts.
	{folder: "transforms", own: []string{"schemas", "transforms"}, direct: append([]string{"flag", "os"}, clouds...), deep: []string{duckdb}},
	{folder: "pipeline", own: []string{"schemas", "transforms", "pipeline"}, deep: []string{duckdb}},
	// What readers of the profiles import: it brings no pipeline along.
	{folder: "profiles", own: []string{"schemas", "profiles"}, deep: []string{beam, duckdb}},
	{folder: "local", own: []string{"schemas", "local"}, deep: []string{beam}},
	{folder: "cmd"},
	// Tests only, which compare the Terraform configuration with the program.
	{folder: "infra", own: []string{}},
	{folder: "internal/layering", own: []string{}},
}

// Check returns what is against the rules in pkgs, which are all packages of the
// module: one line each, sorted; none if all is well.
func Check(pkgs []Package) []string {
	var out []string
	for _, p := range pkgs {
		out = append(out, checkImports(p)...)
	}
	out = append(out, checkNames(pkgs)...)
	slices.Sort(out)
	return out
}

func checkImports(p Package) []string {
	folder := strings.TrimPrefix(p.ImportPath, Module+"/")
	i := slices.IndexFunc(layers, func(l layer) bool { return within(folder, l.folder) })
	if i < 0 {
		return []string{fmt.Sprintf("%s: there is no rule for this folder; internal/layering has the rules", p.ImportPath)}
	}
	l := layers[i]
	var out []string
	for _, imported := range p.Imports {
		own, isOwn := strings.CutPrefix(imported, Module+"/")
		if isOwn && l.own != nil && !slices.ContainsFunc(l.own, func(f string) bool { return within(own, f) }) {
			out = append(out, fmt.Sprintf("%s imports %s: packages of %s may import from %s", p.ImportPath, imported, l.folder, orNothing(l.own)))
		}
		if slices.ContainsFunc(l.direct, func(f string) bool { return within(imported, f) }) {
			out = append(out, fmt.Sprintf("%s imports %s: packages of %s may not", p.ImportPath, imported, l.folder))
		}
	}
	for _, dep := range p.Deps {
		if slices.ContainsFunc(l.deep, func(f string) bool { return within(dep, f) }) {
			out = append(out, fmt.Sprintf("%s depends on %s: packages of %s may not, not even through others", p.ImportPath, dep, l.folder))
		}
	}
	return out
}

// checkNames finds packages that would be one to Beam, which names types, and by
// them steps and coders, by the last element of their package.
func checkNames(pkgs []Package) []string {
	var out []string
	by := map[string]string{}
	for _, p := range pkgs {
		names := []string{path.Base(p.ImportPath)}
		if p.Name != "main" && p.Name != names[0] {
			names = append(names, p.Name)
		}
		for _, name := range names {
			if other, ok := by[name]; ok {
				out = append(out, fmt.Sprintf("%s and %s are both called %s", other, p.ImportPath, name))
			}
			by[name] = p.ImportPath
		}
	}
	return out
}

// CheckJob returns what must not be linked into the job among deps, which are
// the packages that its program consists of. The job runs on workers that have
// no C library of ours and no use for a stand-in of a cloud service.
func CheckJob(deps []Package) []string {
	var out []string
	for _, p := range deps {
		switch {
		case within(p.ImportPath, Module+"/local"):
			out = append(out, fmt.Sprintf("%s links %s: the job must not contain local services", jobMain, p.ImportPath))
		case len(p.CgoFiles) > 0 && !p.Standard, within(p.ImportPath, duckdb):
			out = append(out, fmt.Sprintf("%s links %s: the job must be pure Go", jobMain, p.ImportPath))
		case isStandIn(p.ImportPath):
			out = append(out, fmt.Sprintf("%s links %s: the job must not contain stand-ins for services", jobMain, p.ImportPath))
		}
	}
	slices.Sort(out)
	return out
}

func isStandIn(importPath string) bool {
	return slices.Contains([]string{"pstest", "bttest", "httptest", "testing"}, path.Base(importPath)) ||
		within(importPath, "github.com/fsouza/fake-gcs-server")
}

// within reports whether an import path is folder or below it.
func within(importPath, folder string) bool {
	return importPath == folder || strings.HasPrefix(importPath, folder+"/")
}

func orNothing(folders []string) string {
	if len(folders) == 0 {
		return "nowhere in this module"
	}
	return strings.Join(folders, ", ")
}
