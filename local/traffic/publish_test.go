package traffic

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"testing"
)

func TestWrite(t *testing.T) {
	var file bytes.Buffer
	g := New(busy())
	if err := Write(&file, g, 3000); err != nil {
		t.Fatal(err)
	}
	again := New(busy())
	lines := bufio.NewScanner(&file)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var e Entry
		again.Next(&e)
		if !bytes.Equal(lines.Bytes(), e.Data) {
			t.Fatalf("line %d is not entry %d", n, n)
		}
	}
	if err := lines.Err(); err != nil || n != 3000 {
		t.Fatalf("%d lines, %v; want 3,000", n, err)
	}
	if got := g.Totals().Entries; got != 3000 {
		t.Errorf("Totals().Entries = %d, want 3,000", got)
	}

	full := errors.New("disk full")
	if err := Write(failing{full}, New(Options{}), 10); !errors.Is(err, full) {
		t.Errorf("Write to a full disk = %v, want %v", err, full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestRun cancels in the middle of a batch: the batch is still finished, and the
// totals are those of what was handed over.
func TestRun(t *testing.T) {
	g := New(DefaultOptions())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var got []Entry
	err := Run(ctx, g, 50_000, func(batchCtx context.Context, batch []Entry) error {
		if len(batch) == 0 || len(batch) > maxBatch {
			t.Errorf("a batch of %d", len(batch))
		}
		if len(got) >= 2500 {
			cancel()
		}
		if err := batchCtx.Err(); err != nil {
			t.Errorf("context of a batch: %v", err)
		}
		got = append(got, batch...)
		return nil
	})
	if err != nil {
		t.Fatalf("Run = %v, want nil after cancel", err)
	}
	if want := g.Totals().Entries; int64(len(got)) != want {
		t.Errorf("%d entries handed over, totals say %d", len(got), want)
	}
	again := New(DefaultOptions())
	for i := range got {
		var e Entry
		again.Next(&e)
		if !bytes.Equal(e.Data, got[i].Data) || e.Timestamp != got[i].Timestamp {
			t.Fatalf("entry %d was changed by later ones", i)
		}
	}
}

func TestRunStopsAtErrors(t *testing.T) {
	down := errors.New("no broker")
	calls := 0
	err := Run(context.Background(), New(Options{}), 1e6, func(context.Context, []Entry) error { calls++; return down })
	if !errors.Is(err, down) || calls != 1 {
		t.Errorf("Run = %v after %d calls, want %v after one", err, calls, down)
	}
	for _, rate := range []float64{0, -1} {
		if err := Run(context.Background(), New(Options{}), rate, nil); err == nil {
			t.Errorf("Run at rate %v: no error", rate)
		}
	}
}
