package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEndpointsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadEndpoints(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadEndpoints of an empty folder: %v, want fs.ErrNotExist", err)
	}
	want := Endpoints{
		PubSub: "127.0.0.1:1", Bigtable: "127.0.0.1:2", BigQueryREST: "http://127.0.0.1:3", BigQueryStorage: "127.0.0.1:4",
		Storage: "http://127.0.0.1:5", HTTP: "http://127.0.0.1:6",
		Project: "p", Dataset: "d", Instance: "i", Topic: "t", Subscription: "s",
	}
	for _, e := range []Endpoints{{Project: "older"}, want} {
		if err := e.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadEndpoints(dir)
	if err != nil || got != want {
		t.Errorf("ReadEndpoints = %+v, %v; want %+v", got, err, want)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files in the folder, want endpoints.json alone", len(files))
	}
	for range 2 {
		if err := RemoveEndpoints(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := ReadEndpoints(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadEndpoints after RemoveEndpoints: %v, want fs.ErrNotExist", err)
	}
	if err := want.Write(filepath.Join(dir, "none")); err == nil {
		t.Error("Write to a folder that does not exist reports no error")
	}
}

func TestFindEndpoints(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	for _, dir := range []string{"given", "variable"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := (Endpoints{Project: dir}).Write(dir); err != nil {
			t.Fatal(err)
		}
	}

	find := func(dir, variable, wantProject, wantDir string) {
		t.Helper()
		t.Setenv(DataVariable, variable)
		e, got, err := FindEndpoints(dir)
		if err != nil || e.Project != wantProject || got != wantDir {
			t.Errorf("FindEndpoints(%q) with variable %q = %q, %q, %v; want %q, %q", dir, variable, e.Project, got, err, wantProject, wantDir)
		}
	}
	find("", "", "", "")
	find("given", "variable", "given", "given")
	find("", "variable", "variable", "variable")
	if err := os.Mkdir(DefaultData, 0o755); err != nil {
		t.Fatal(err)
	}
	find("", "", "", "")
	if err := (Endpoints{Project: "default"}).Write(DefaultData); err != nil {
		t.Fatal(err)
	}
	find("", "", "default", DefaultData)

	fail := func(dir, variable, want string) {
		t.Helper()
		t.Setenv(DataVariable, variable)
		_, _, err := FindEndpoints(dir)
		if err == nil {
			t.Fatalf("FindEndpoints(%q) with variable %q reports no error", dir, variable)
		}
		var out bytes.Buffer
		if report(&out, &cobra.Command{Use: "tool"}, err); !strings.Contains(out.String(), want) {
			t.Errorf("FindEndpoints(%q) with variable %q: %q, want %q in it", dir, variable, &out, want)
		}
	}
	fail("none", "variable", "start one with 'pixellocal --data none'")
	fail("", "none", DataVariable)
	if err := os.WriteFile("given/endpoints.json", []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	fail("given", "", "unexpected end of JSON input")
}
