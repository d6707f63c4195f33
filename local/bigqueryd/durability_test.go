package bigqueryd

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"cloud.google.com/go/bigquery/storage/managedwriter"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

func TestRestartOnTheSameFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.duckdb")
	for round := range 3 {
		s := startWithTables(t, Options{Path: path}) // tables and views exist from the second round on
		ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
		if err := appendRows(t, ms, impressions(t, round*100, 100)); err != nil {
			t.Fatal(err)
		}
		if n := count(t, s, "impressions_unique"); n != (round+1)*100 {
			t.Errorf("round %d: %d rows", round, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// Everything is in the file itself.
		if _, err := os.Stat(path + ".wal"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("round %d: a log is left after Close: %v", round, err)
		}
	}
}

// A copy of the files right after an acknowledgement holds the rows.
func TestAcknowledgedRowsAreInTheFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.duckdb")
	s := startWithTables(t, Options{Path: path})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	for i := range 5 {
		if err := appendRows(t, ms, impressions(t, i*10, 10)); err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(dir, fmt.Sprintf("copy%d.duckdb", i))
		for _, suffix := range []string{"", ".wal"} {
			b, err := os.ReadFile(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(copied+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := start(t, Options{Path: copied})
		if n := count(t, c, "impressions"); n != (i+1)*10 {
			t.Errorf("copy %d has %d rows, want %d", i, n, (i+1)*10)
		}
	}
}

// crashEnv names the file of the child process of TestKill.
const crashEnv = "BIGQUERYD_TEST_FILE"

// TestKill writes in a child process, kills it, and looks for every row that was
// acknowledged.
func TestKill(t *testing.T) {
	if path := os.Getenv(crashEnv); path != "" {
		writeUntilKilled(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "k.duckdb")
	acknowledged := 0
	for range 3 {
		child := exec.Command(os.Args[0], "-test.run=^TestKill$", "-test.v")
		child.Env = append(os.Environ(), crashEnv+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for seen := 0; seen < 40 && lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "acknowledged "); ok {
				n, err := strconv.Atoi(text)
				if err != nil {
					t.Fatal(err)
				}
				acknowledged = n
				seen++
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// What it wrote before the kill counts too.
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "acknowledged "); ok {
				if n, err := strconv.Atoi(text); err == nil {
					acknowledged = n
				}
			}
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		s := start(t, Options{Path: path})
		rows, err := s.Query(t.Context(), "SELECT COUNT(DISTINCT insert_id) AS n, MAX(insert_id) AS m FROM pixelbeam.impressions")
		if err != nil {
			t.Fatal(err)
		}
		n := int(rows[0]["n"].(int64))
		if n < acknowledged || rows[0]["m"] != fmt.Sprintf("row-%06d", n-1) {
			t.Errorf("%d rows were acknowledged; the file holds %v", acknowledged, rows[0])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acknowledged == 0 {
		t.Error("nothing was acknowledged")
	}
}

func writeUntilKilled(t *testing.T, path string) {
	s := startWithTables(t, Options{Path: path})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	for n := count(t, s, "impressions"); ; {
		if err := appendRows(t, ms, impressions(t, n, 50)); err != nil {
			t.Fatal(err)
		}
		n += 50
		fmt.Printf("acknowledged %d\n", n)
	}
}

// TestFaults: a client that retries gets its rows stored, whatever fails.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault error
		rows  int // the lost acknowledgement stores its rows twice
	}{
		{"unavailable", status.Error(codes.Unavailable, "injected"), 30},
		{"plain error", errors.New("injected"), 30},
		{"lost acknowledgement", ErrAckLost, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var injected atomic.Int64
			s := startWithTables(t, Options{Fault: func(method string, n int) error {
				if method == "AppendRows" && n == 1 {
					injected.Add(1)
					return tt.fault
				}
				return nil
			}})
			ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{}, managedwriter.EnableWriteRetries(true))
			for i := range 3 {
				if err := appendRows(t, ms, impressions(t, i*10, 10)); err != nil {
					t.Fatal(err)
				}
			}
			if n := count(t, s, "impressions"); n != tt.rows || injected.Load() != 1 {
				t.Errorf("%d rows, want %d; %d faults", n, tt.rows, injected.Load())
			}
			if n := count(t, s, "impressions_unique"); n != 30 {
				t.Errorf("%d distinct rows, want 30", n)
			}
		})
	}
	t.Run("exhausted", func(t *testing.T) {
		s := startWithTables(t, Options{Fault: func(method string, n int) error {
			if method == "CreateWriteStream" && n == 0 || method == "jobs.query" && n == 0 {
				return status.Error(codes.ResourceExhausted, "injected")
			}
			return nil
		}})
		create := func() error {
			// Past the client, which would retry.
			_, err := (&writeService{s: s}).CreateWriteStream(t.Context(), &storagepb.CreateWriteStreamRequest{
				Parent: tableResource(s, "impressions"), WriteStream: &storagepb.WriteStream{Type: storagepb.WriteStream_COMMITTED},
			})
			return err
		}
		if err := create(); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("CreateWriteStream: %v", err)
		}
		if err := create(); err != nil {
			t.Error(err)
		}
		// The client retries what the API says is a rate limit.
		if rows := queryAll(t, restClient(t, s), "SELECT 1 AS one"); len(rows) != 1 {
			t.Errorf("rows %v", rows)
		}
	})
	t.Run("lost acknowledgement with an offset", func(t *testing.T) {
		s := startWithTables(t, Options{Fault: func(method string, n int) error {
			if method == "AppendRows" && n == 0 {
				return ErrAckLost
			}
			return nil
		}})
		ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{}, managedwriter.WithType(managedwriter.CommittedStream))
		if err := appendRows(t, ms, impressions(t, 0, 10), managedwriter.WithOffset(0)); status.Code(err) != codes.Unavailable {
			t.Errorf("first append: %v", err)
		}
		if err := appendRows(t, ms, impressions(t, 0, 10), managedwriter.WithOffset(0)); status.Code(err) != codes.AlreadyExists {
			t.Errorf("second append: %v", err)
		}
		if n := count(t, s, "impressions"); n != 10 {
			t.Errorf("%d rows, want 10", n)
		}
	})
}
