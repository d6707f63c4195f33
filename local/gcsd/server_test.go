package gcsd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
)

func start(t *testing.T, dir string) (*Server, *storage.Client) {
	t.Helper()
	s, err := Start("127.0.0.1:0", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.http.Close() })
	t.Setenv("STORAGE_EMULATOR_HOST", s.Addr())
	client, err := storage.NewClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return s, client
}

func read(t *testing.T, o *storage.ObjectHandle, offset, length int64) string {
	t.Helper()
	r, err := o.NewRangeReader(t.Context(), offset, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestObjects(t *testing.T) {
	dir := t.TempDir()
	s, client := start(t, dir)
	// Names as a log export makes them: slashes, colons.
	const name = "requests/2026/11/23/08:00:00_08:59:59_S0.json"
	content := strings.Repeat("0123456789\n", 1000)
	if err := s.PutObject("logs", name, []byte(content)); err != nil {
		t.Fatal(err)
	}
	bucket := client.Bucket("logs")
	// Above the client's chunk of 16 MiB an upload takes several requests.
	big := bytes.Repeat([]byte("x"), 17<<20)
	w := bucket.Object("big").NewWriter(t.Context())
	if _, err := w.Write(big); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		object := client.Bucket("logs").Object(name)
		for _, test := range []struct {
			offset, length int64
			want           string
		}{
			{0, -1, content},
			{0, 4, "0123"},
			{15, 10, "456789\n012"},
			{10_995, -1, "6789\n"},
			{-3, -1, "89\n"},
			{10_990, 100, "123456789\n"},
		} {
			if got := read(t, object, test.offset, test.length); got != test.want {
				t.Errorf("read(%d, %d) = %.40q of %d bytes, want %.40q of %d", test.offset, test.length, got, len(got), test.want, len(test.want))
			}
		}
		attrs, err := object.Attrs(t.Context())
		if err != nil || attrs.Size != int64(len(content)) {
			t.Errorf("Attrs = %+v, %v; want %d bytes", attrs, err, len(content))
		}
		if got := read(t, client.Bucket("logs").Object("big"), 16<<20, -1); got != string(big[16<<20:]) {
			t.Errorf("end of the big object has %d bytes, want %d", len(got), 1<<20)
		}
		var names []string
		for it := client.Bucket("logs").Objects(t.Context(), &storage.Query{Prefix: "requests/2026/"}); ; {
			o, err := it.Next()
			if errors.Is(err, iterator.Done) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, o.Name)
		}
		if diff := cmp.Diff([]string{name}, names); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
		// The same after a restart.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, client = start(t, dir)
	}
	if _, err := client.Bucket("logs").Object("none").NewReader(t.Context()); !errors.Is(err, storage.ErrObjectNotExist) {
		t.Errorf("reading what is not there = %v, want %v", err, storage.ErrObjectNotExist)
	}
}

func TestStartErrors(t *testing.T) {
	if _, err := Start("127.0.0.1:0", ""); err == nil {
		t.Error("Start without a folder: no error")
	}
	s, _ := start(t, t.TempDir())
	if _, err := Start(s.Addr(), t.TempDir()); err == nil {
		t.Errorf("Start at %s twice: no error", s.Addr())
	}
}
