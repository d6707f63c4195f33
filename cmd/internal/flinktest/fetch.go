package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

const (
	flinkVersion = "1.19.3"
	// flinkPackage is Flink's distribution as PyPI has it: the Java libraries that
	// PyFlink needs.
	flinkPackage = "apache-flink-libraries==" + flinkVersion
	// jobServerArtifact is the Beam job server for that Flink.
	jobServerArtifact = "org.apache.beam:beam-runners-flink-1.19-job-server:2.77.0"
)

// tools is what the cluster is made of.
type tools struct {
	java      string
	lib       string // folder of Flink's jars
	jobServer string // jar
}

// fetch finds the tools, or fetches them.
func fetch(ctx context.Context, log io.Writer) (*tools, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "pixelbeam", "flink")
	var t tools
	var errJava, errFlink, errServer error
	t.java, errJava = java()
	t.lib, errFlink = flinkLib(ctx, cache, log)
	t.jobServer, errServer = jobServer(ctx, cache, log)
	return &t, errors.Join(errJava, errFlink, errServer)
}

// missing is an error with what to do, in its text, for several are shown at once.
func missing(err error, remedy string) error { return fmt.Errorf("%w: %s", err, remedy) }

func java() (string, error) {
	name := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		name = filepath.Join(home, "bin", "java")
	}
	name, err := exec.LookPath(name)
	if err != nil {
		return "", missing(fmt.Errorf("there is no Java, which Flink needs: %w", err), "install Java 17 (Debian, Ubuntu: apt-get install openjdk-17-jre-headless), or set JAVA_HOME")
	}
	return name, nil
}

// flinkLib returns the folder of Flink's jars.
func flinkLib(ctx context.Context, cache string, log io.Writer) (string, error) {
	if home := os.Getenv("FLINK_HOME"); home != "" {
		lib := filepath.Join(home, "lib")
		if dist, _ := filepath.Glob(filepath.Join(lib, "flink-dist-*.jar")); len(dist) == 0 {
			return "", missing(fmt.Errorf("FLINK_HOME=%s has no lib/flink-dist-*.jar", home), "give the folder of a Flink distribution, or unset it")
		}
		return lib, nil
	}
	lib := filepath.Join(cache, "flink-"+flinkVersion, "lib")
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	failed := func(err error) (string, error) {
		return "", missing(fmt.Errorf("fetch Flink %s: %w", flinkVersion, err), "let pip reach PyPI, or set FLINK_HOME to the folder of a Flink distribution")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		return failed(fmt.Errorf("pip is needed: %w", err))
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(log, "Fetching %s (230 MB) into %s\n", flinkPackage, cache)
	if err := quietly(exec.CommandContext(ctx, python, "-m", "pip", "download", "--no-deps", "--dest", dir, flinkPackage)); err != nil {
		return failed(err)
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
	if err != nil || len(archives) != 1 {
		return failed(fmt.Errorf("pip brought %d archives", len(archives)))
	}
	if err := unpackLib(archives[0], filepath.Join(dir, "lib")); err != nil {
		return failed(err)
	}
	if err := os.MkdirAll(filepath.Dir(lib), 0o755); err != nil {
		return "", err
	}
	return lib, os.Rename(filepath.Join(dir, "lib"), lib)
}

// unpackLib unpacks the jars of deps/lib in the archive, which is all that a
// cluster needs.
func unpackLib(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n := 0
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if ok, _ := path.Match("*/deps/lib/*.jar", h.Name); !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		jar, err := os.Create(filepath.Join(dir, path.Base(h.Name)))
		if err != nil {
			return err
		}
		_, err = io.Copy(jar, r)
		if err := errors.Join(err, jar.Close()); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("%s has no deps/lib/*.jar", archive)
	}
	return nil
}

// jobServer returns the job server's jar.
func jobServer(ctx context.Context, cache string, log io.Writer) (string, error) {
	if jar := os.Getenv("FLINK_JOB_SERVER"); jar != "" {
		if _, err := os.Stat(jar); err != nil {
			return "", missing(fmt.Errorf("FLINK_JOB_SERVER: %w", err), "give the path of a job server's jar, or unset it")
		}
		return jar, nil
	}
	part := strings.Split(jobServerArtifact, ":")
	jar := filepath.Join(cache, part[1]+"-"+part[2]+".jar")
	if _, err := os.Stat(jar); err == nil {
		return jar, nil
	}
	failed := func(err error) (string, error) {
		return "", missing(fmt.Errorf("fetch %s: %w", jobServerArtifact, err),
			"let mvn reach Maven Central, or set FLINK_JOB_SERVER to the path of that jar, or of another Flink job server's")
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return failed(fmt.Errorf("it takes Maven: %w", err))
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(log, "Fetching %s into %s\n", jobServerArtifact, cache)
	if err := quietly(exec.CommandContext(ctx, mvn, "-B", "-q", "dependency:copy", "-Dartifact="+jobServerArtifact, "-DoutputDirectory="+dir)); err != nil {
		return failed(err)
	}
	return jar, os.Rename(filepath.Join(dir, filepath.Base(jar)), jar)
}

// quietly runs a command; its error has the end of what it printed.
func quietly(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err == nil {
		return nil
	}
	const lines = 3
	said := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, line := range said {
		// Maven says what is wrong first and how to ask for help after it.
		if strings.HasPrefix(line, "[ERROR]") {
			said = said[i:]
			said = said[:min(1, len(said))]
			break
		}
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.Join(said[max(0, len(said)-lines):], "\n"))
}
