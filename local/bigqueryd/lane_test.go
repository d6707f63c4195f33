package bigqueryd

import (
	"context"
	"errors"
	"testing"

	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// TestGroupCommit queues appends while the lane is held up: they share a commit,
// and one that fails does not fail its neighbours.
func TestGroupCommit(t *testing.T) {
	s := startWithTables(t, Options{})
	table := tableEntryOf(t, s, "impressions")
	gone := *table
	gone.Generation++
	d, err := newDecoder(descriptorOf(t, &pixelbeamv1.Impression{}), table.fields)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		tables  []*tableEntry
		commits int64
		rows    int
	}{
		{"all good", []*tableEntry{table, table, table}, 1, 9},
		{"one bad", []*tableEntry{table, &gone, table}, 2, 15},
	} {
		before := s.Stats().Commits
		held, release := make(chan struct{}), make(chan struct{})
		go s.lane.do(context.Background(), func(context.Context, *connection) error {
			close(held)
			<-release
			return nil
		}, nil)
		<-held
		var ops []*appendOp
		for i, table := range tt.tables {
			block, bad := d.decode(impressions(t, i*3, 3), nil)
			if bad != nil {
				t.Fatal(bad)
			}
			op := &appendOp{table: table, block: block, done: make(chan error, 1)}
			ops = append(ops, op)
			s.lane.append(op)
		}
		close(release)
		for i, op := range ops {
			err := <-op.done
			if want := tt.tables[i] == &gone; errors.Is(err, errNotFound) != want || err != nil && !want {
				t.Errorf("%s: append %d: %v", tt.name, i, err)
			}
			op.block.release()
		}
		if n := s.Stats().Commits - before; n != tt.commits {
			t.Errorf("%s: %d commits, want %d", tt.name, n, tt.commits)
		}
		if n := count(t, s, "impressions"); n != tt.rows {
			t.Errorf("%s: %d rows, want %d", tt.name, n, tt.rows)
		}
	}
}

func TestAfterClose(t *testing.T) {
	s := startWithTables(t, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"SELECT 1", "DELETE FROM pixelbeam.impressions WHERE TRUE", "CREATE SCHEMA x"} {
		if _, err := s.Query(context.Background(), sql); !errors.Is(err, errClosed) {
			t.Errorf("%s after Close: %v", sql, err)
		}
	}
}

func TestStartErrors(t *testing.T) {
	for name, opts := range map[string]Options{
		"folder does not exist": {Path: t.TempDir() + "/no/such/file.duckdb"},
		"no database":           {Path: "lane_test.go"},
		"HTTP address":          {HTTPAddr: "nowhere.invalid:1"},
		"gRPC address":          {GRPCAddr: "nowhere.invalid:1"},
	} {
		if s, err := Start(opts); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// A context that ends interrupts a query, and the connection is good afterwards.
func TestQueryIsInterrupted(t *testing.T) {
	s := start(t, Options{})
	for range 8 { // more than there are connections
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := s.Query(ctx, "SELECT COUNT(*) FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS a, UNNEST(GENERATE_ARRAY(1, 100000)) AS b WHERE MOD(a * b, 7) = 3")
			done <- err
		}()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
	}
	if rows, err := s.Query(t.Context(), "SELECT 1 AS one"); err != nil || rows[0]["one"] != int64(1) {
		t.Errorf("rows %v, %v", rows, err)
	}
}
