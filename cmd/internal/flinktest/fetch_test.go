package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Of the package, only the jars of the cluster are unpacked, and nothing outside
// the folder.
func TestUnpackLib(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range []string{"p-1/deps/lib/flink-dist-1.jar", "p-1/deps/opt/other.jar", "p-1/deps/lib/readme", "p-1/deps/lib/../../../evil.jar"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 3, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "jar"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	archive := filepath.Join(dir, "p.tar.gz")
	if err := os.WriteFile(archive, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(dir, "lib")
	if err := unpackLib(archive, lib); err != nil {
		t.Fatal(err)
	}
	jars, err := filepath.Glob(filepath.Join(lib, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(lib, "flink-dist-1.jar")}, jars); diff != "" {
		t.Error(diff)
	}
}

// What cannot be had is named, with what to do.
func TestFetchErrorsNameTheRemedy(t *testing.T) {
	for _, test := range []struct {
		what string
		env  map[string]string
		want []string
	}{
		{"no programs", map[string]string{"PATH": t.TempDir()}, []string{
			"Java", "JAVA_HOME", "fetch Flink " + flinkVersion, "FLINK_HOME", "fetch " + jobServerArtifact, "FLINK_JOB_SERVER"}},
		{"wrong paths", map[string]string{"FLINK_HOME": "/nowhere", "FLINK_JOB_SERVER": "/nowhere.jar"}, []string{"FLINK_HOME=/nowhere has no", "/nowhere.jar"}},
		{"Maven fails", map[string]string{"FLINK_HOME": "/nowhere", "PATH": fakeMaven(t)}, []string{"mvn: exit status 1: [ERROR] it is refused"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			for _, name := range []string{"JAVA_HOME", "FLINK_HOME", "FLINK_JOB_SERVER"} {
				t.Setenv(name, "")
			}
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			t.Setenv("HOME", t.TempDir())
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			_, err := fetch(t.Context(), io.Discard)
			if err == nil {
				t.Fatal("nothing is missing")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in:\n%v", want, err)
				}
			}
		})
	}
}

// fakeMaven is a folder with an mvn that fails as Maven does.
func fakeMaven(t *testing.T) string {
	dir := t.TempDir()
	script := "#!/bin/sh\necho '[INFO] trying'\necho '[ERROR] it is refused'\necho '[ERROR] run with -X'\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "mvn"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
