package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

// watch looks at every file that go list reads, so that a cached result of this
// test is not used when one of them has changed.
func watch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "data" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if filepath.Ext(name) == ".go" || d.Name() == "go.mod" {
			_, err = os.Stat(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goCommand runs the go command at the root of the module.
func goCommand(t *testing.T, env string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	return out
}

func list(t *testing.T, env string, args ...string) []Package {
	t.Helper()
	args = append([]string{"list", "-json=ImportPath,Name,Standard,CgoFiles,Imports,Deps"}, args...)
	d := json.NewDecoder(bytes.NewReader(goCommand(t, env, args...)))
	var out []Package
	for {
		var p Package
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

func TestModule(t *testing.T) {
	watch(t)
	pkgs := list(t, "CGO_ENABLED=1", "./...")
	if !slices.ContainsFunc(pkgs, func(p Package) bool { return p.ImportPath == Module+"/schemas" }) {
		t.Fatalf("go list found %d packages and schemas is not among them", len(pkgs))
	}
	for _, violation := range Check(pkgs) {
		t.Error(violation)
	}
}

func TestJob(t *testing.T) {
	watch(t)
	for _, env := range []string{"CGO_ENABLED=0", "CGO_ENABLED=1"} {
		deps := list(t, env, "-deps", "./cmd/pixelbeam")
		if len(deps) < 100 {
			t.Errorf("%s: the job consists of %d packages, which cannot be", env, len(deps))
		}
		for _, violation := range CheckJob(deps) {
			t.Errorf("%s: %s", env, violation)
		}
	}
}

func TestCheck(t *testing.T) {
	pkg := func(importPath string, imports ...string) Package {
		return Package{ImportPath: importPath, Name: filepath.Base(importPath), Imports: imports, Deps: imports}
	}
	tests := []struct {
		name string
		pkgs []Package
		want []string
	}{
		{"a module in order", []Package{
			pkg("pixelbeam/schemas", "fmt", "os", "pixelbeam/schemas/pixelbeam/v1", "google.golang.org/protobuf/proto"),
			pkg("pixelbeam/schemas/internal/protogen", "flag", "os", "github.com/bufbuild/protocompile"),
			pkg("pixelbeam/transforms/pixelurl", "pixelbeam/schemas"),
			pkg("pixelbeam/transforms/impression", "pixelbeam/schemas", "pixelbeam/transforms/pixelurl", "github.com/apache/beam/sdks/v2/go/pkg/beam"),
			{ImportPath: "pixelbeam/transforms/rollup", Name: "rollup", Imports: []string{"github.com/apache/beam/sdks/v2/go/pkg/beam"},
				Deps: []string{"github.com/apache/beam/sdks/v2/go/pkg/beam", "os", "cloud.google.com/go/storage"}},
			pkg("pixelbeam/pipeline", "pixelbeam/pipeline/sink", "pixelbeam/transforms/impression", "flag", "cloud.google.com/go/bigquery"),
			pkg("pixelbeam/local/bigqueryd", "pixelbeam/schemas", "github.com/duckdb/duckdb-go/v2"),
			pkg("pixelbeam/local/cloud", "pixelbeam/local/bigqueryd"),
			pkg("pixelbeam/cmd/pixellocal", "pixelbeam/local/cloud", "pixelbeam/pipeline", "pixelbeam/schemas"),
			pkg("pixelbeam/internal/layering", "fmt"),
		}, nil},
		{"schemas import what comes after them", []Package{pkg("pixelbeam/schemas", "pixelbeam/transforms/pixelurl")},
			[]string{"pixelbeam/schemas imports pixelbeam/transforms/pixelurl: packages of schemas may import from schemas"}},
		{"schemas know Beam", []Package{{ImportPath: "pixelbeam/schemas", Name: "schemas", Imports: []string{"example.com/x"},
			Deps: []string{"example.com/x", "github.com/apache/beam/sdks/v2/go/pkg/beam"}}},
			[]string{"pixelbeam/schemas depends on github.com/apache/beam/sdks/v2/go/pkg/beam: packages of schemas may not, not even through others"}},
		{"schemas know a cloud client", []Package{pkg("pixelbeam/schemas/pixelbeam/v1", "cloud.google.com/go/bigquery")},
			[]string{"pixelbeam/schemas/pixelbeam/v1 depends on cloud.google.com/go/bigquery: packages of schemas may not, not even through others"}},
		{"protogen is used", []Package{pkg("pixelbeam/schemas/internal/protogen", "pixelbeam/pipeline")},
			[]string{"pixelbeam/schemas/internal/protogen imports pixelbeam/pipeline: packages of schemas/internal/protogen may import from nowhere in this module"}},
		{"a transform reads the environment, has flags and a client", []Package{
			pkg("pixelbeam/transforms/geo", "cloud.google.com/go/storage", "flag", "os", "os/exec", "google.golang.org/api/option")},
			[]string{
				"pixelbeam/transforms/geo imports cloud.google.com/go/storage: packages of transforms may not",
				"pixelbeam/transforms/geo imports flag: packages of transforms may not",
				"pixelbeam/transforms/geo imports google.golang.org/api/option: packages of transforms may not",
				"pixelbeam/transforms/geo imports os/exec: packages of transforms may not",
				"pixelbeam/transforms/geo imports os: packages of transforms may not",
			}},
		{"a transform knows the pipeline", []Package{pkg("pixelbeam/transforms/geo", "pixelbeam/pipeline/sink")},
			[]string{"pixelbeam/transforms/geo imports pixelbeam/pipeline/sink: packages of transforms may import from schemas, transforms"}},
		{"the pipeline knows local services and commands", []Package{pkg("pixelbeam/pipeline/source", "pixelbeam/local/pubsubd", "pixelbeam/cmd/internal/cli")},
			[]string{
				"pixelbeam/pipeline/source imports pixelbeam/cmd/internal/cli: packages of pipeline may import from schemas, transforms, pipeline",
				"pixelbeam/pipeline/source imports pixelbeam/local/pubsubd: packages of pipeline may import from schemas, transforms, pipeline",
			}},
		{"a local service knows the pipeline", []Package{pkg("pixelbeam/local/edge", "pixelbeam/pipeline", "pixelbeam/transforms/logentry")},
			[]string{
				"pixelbeam/local/edge imports pixelbeam/pipeline: packages of local may import from schemas, local",
				"pixelbeam/local/edge imports pixelbeam/transforms/logentry: packages of local may import from schemas, local",
			}},
		{"a local service knows Beam", []Package{pkg("pixelbeam/local/edge", "github.com/apache/beam/sdks/v2/go/pkg/beam/log")},
			[]string{"pixelbeam/local/edge depends on github.com/apache/beam/sdks/v2/go/pkg/beam/log: packages of local may not, not even through others"}},
		{"a folder begins like a layer", []Package{pkg("pixelbeam/schemasx")},
			[]string{"pixelbeam/schemasx: there is no rule for this folder; internal/layering has the rules"}},
		{"two folders have a name", []Package{pkg("pixelbeam/transforms/traffic"), pkg("pixelbeam/local/traffic")},
			[]string{"pixelbeam/transforms/traffic and pixelbeam/local/traffic are both called traffic"}},
		{"a package has the name of a folder", []Package{
			pkg("pixelbeam/transforms/geo"), {ImportPath: "pixelbeam/transforms/places", Name: "geo"}},
			[]string{"pixelbeam/transforms/geo and pixelbeam/transforms/places are both called geo"}},
		{"programs are not called main", []Package{
			{ImportPath: "pixelbeam/cmd/a", Name: "main"}, {ImportPath: "pixelbeam/cmd/b", Name: "main"}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Check(test.pkgs)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestCheckJob(t *testing.T) {
	got := CheckJob([]Package{
		{ImportPath: "net", Standard: true, CgoFiles: []string{"cgo_unix.go"}},
		{ImportPath: "pixelbeam/pipeline"},
		{ImportPath: "cloud.google.com/go/bigtable"},
		{ImportPath: "pixelbeam/localx"},
		{ImportPath: "pixelbeam/local/pubsubd"},
		{ImportPath: "github.com/duckdb/duckdb-go/v2"},
		{ImportPath: "example.com/c", CgoFiles: []string{"c.go"}},
		{ImportPath: "cloud.google.com/go/bigtable/bttest"},
		{ImportPath: "testing"},
		{ImportPath: "github.com/fsouza/fake-gcs-server/fakestorage"},
	})
	want := []string{
		"pixelbeam/cmd/pixelbeam links cloud.google.com/go/bigtable/bttest: the job must not contain stand-ins for services",
		"pixelbeam/cmd/pixelbeam links example.com/c: the job must be pure Go",
		"pixelbeam/cmd/pixelbeam links github.com/duckdb/duckdb-go/v2: the job must be pure Go",
		"pixelbeam/cmd/pixelbeam links github.com/fsouza/fake-gcs-server/fakestorage: the job must not contain stand-ins for services",
		"pixelbeam/cmd/pixelbeam links pixelbeam/local/pubsubd: the job must not contain local services",
		"pixelbeam/cmd/pixelbeam links testing: the job must not contain stand-ins for services",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
