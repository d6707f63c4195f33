package sink

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

func init() {
	register.DoFn2x0[[]byte, func(schemas.Row)](&makeRejectedFn{})
}

// makeRejectedFn makes one rejected entry with a payload of Size bytes.
type makeRejectedFn struct {
	Size   int
	Reason string
}

func (f *makeRejectedFn) ProcessElement(_ []byte, emit func(schemas.Row)) {
	data, err := proto.Marshal(&pixelbeamv1.RejectedEntry{
		ReceiveTime: proto.Int64(1700000001000000),
		Reason:      proto.String(f.Reason),
		Detail:      proto.String("entry is odd"),
		Stage:       proto.String("parse"),
		Payload:     payload(f.Size),
		Source:      proto.String("message-1"),
	})
	if err != nil {
		panic(err)
	}
	emit(schemas.Row{Data: data, ReceiveTime: 1700000001000000, Source: "message-1"})
}

// payload returns bytes that differ along the way.
func payload(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// writeRejected runs one entry through Rejected.
func writeRejected(t *testing.T, f *fakeWrite, fn *makeRejectedFn) (stored []*pixelbeamv1.RejectedEntry, result beam.PipelineResult) {
	t.Helper()
	p, s := beam.NewPipelineWithRoot()
	Terminate(s, Rejected(s, beam.ParDo(s, fn, beam.Impulse(s)), testConfig(f)))
	result = run(t, "direct", p)
	for _, row := range f.stored {
		stored = append(stored, rejectedEntry(t, schemas.Row{Data: row}))
	}
	return stored, result
}

func TestRejectedSplitsLargePayload(t *testing.T) {
	for size, parts := range map[int]int{0: 1, 100: 1, partBytes: 1, partBytes + 1: 2, 20 << 20: 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			f := startFakeWrite(t)
			stored, result := writeRejected(t, f, &makeRejectedFn{Size: size, Reason: "too_large"})
			if len(stored) != parts {
				t.Fatalf("%d rows, want %d", len(stored), parts)
			}
			var whole []byte
			for i, e := range stored {
				whole = append(whole, e.GetPayload()...)
				if e.GetReason() != "too_large" || e.GetStage() != "parse" || e.GetSource() != "message-1" || e.GetReceiveTime() != 1700000001000000 {
					t.Errorf("row %d has other fields than the entry", i)
				}
				want := "entry is odd"
				if parts > 1 {
					want = fmt.Sprintf("entry is odd; part %d of %d", i+1, parts)
				}
				if e.GetDetail() != want {
					t.Errorf("detail %q, want %q", e.GetDetail(), want)
				}
			}
			if !bytes.Equal(whole, payload(size)) {
				t.Error("the parts do not give the payload")
			}
			for _, size := range f.requests {
				if size >= 9_000_000 {
					t.Errorf("request of %d bytes", size)
				}
			}
			want := int64(0)
			if parts > 1 {
				want = 1
			}
			if got := counter(result, "sink", "rejected_entries_split"); got != want {
				t.Errorf("rejected_entries_split = %d, want %d", got, want)
			}
		})
	}
}

// refuse judges rows by their bytes.
func refuse(bad func(row []byte) bool) func(int, [][]byte) verdict {
	return func(_ int, rows [][]byte) verdict {
		v := verdict{store: true}
		for i, row := range rows {
			if bad(row) {
				v.store = false
				v.rowErrors = append(v.rowErrors, &storagepb.RowError{Index: int64(i), Message: "reason is odd"})
			}
		}
		return v
	}
}

// A refused entry is written in safe form, with the payload of the entry and not
// of its wrapping.
func TestRejectedWritesRefusedAgain(t *testing.T) {
	f := startFakeWrite(t)
	f.judge = refuse(func(row []byte) bool { return bytes.Contains(row, []byte("weird")) })
	stored, result := writeRejected(t, f, &makeRejectedFn{Size: 1000, Reason: "weird"})
	if len(stored) != 1 {
		t.Fatalf("%d rows, want 1", len(stored))
	}
	e := stored[0]
	if e.GetReason() != ReasonRowRefused || !strings.Contains(e.GetDetail(), "reason is odd") || !bytes.Equal(e.GetPayload(), payload(1000)) {
		t.Errorf("stored %v", e)
	}
	if got := counter(result, "sink", "rejected_entries_unwritable"); got != 0 {
		t.Errorf("rejected_entries_unwritable = %d, want 0", got)
	}
}

// What is refused even so ends in the log: no loop, no error, no silence.
func TestRejectedLastResort(t *testing.T) {
	var lines recorder
	log.SetLogger(&lines)
	t.Cleanup(func() { log.SetLogger(&log.Standard{}) })
	f := startFakeWrite(t)
	f.judge = refuse(func([]byte) bool { return true })
	stored, result := writeRejected(t, f, &makeRejectedFn{Size: 100_000, Reason: "weird"})
	if len(stored) != 0 {
		t.Fatalf("%d rows, want 0", len(stored))
	}
	if f.appends != 2 {
		t.Errorf("%d requests, want 2", f.appends)
	}
	if got := counter(result, "sink", "rejected_entries_unwritable"); got != 1 {
		t.Errorf("rejected_entries_unwritable = %d, want 1", got)
	}
	for _, want := range []string{`"message-1"`, "reason is odd", "100000 bytes", "AAECAwQFBgcICQoLDA0ODx"} {
		if !strings.Contains(lines.errors(), want) {
			t.Errorf("log lacks %q: %.300s", want, lines.errors())
		}
	}
	if n := len(lines.errors()); n > 100_000 {
		t.Errorf("log of %d bytes", n)
	}
}

// What is no RejectedEntry is kept as a payload.
func TestRejectedKeepsForeignRow(t *testing.T) {
	var got []schemas.Row
	err := (&fitFn{}).ProcessElement(t.Context(), schemas.Row{Data: []byte("\xff\xff"), Origin: []byte("not this")}, func(r schemas.Row) { got = append(got, r) })
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if e := rejectedEntry(t, got[0]); string(e.GetPayload()) != "\xff\xff" || !strings.Contains(e.GetDetail(), "no RejectedEntry") {
		t.Errorf("entry %v", e)
	}
}

// recorder keeps the lines logged as errors.
type recorder struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (r *recorder) Log(_ context.Context, severity log.Severity, _ int, message string) {
	if severity < log.SevError {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	io.WriteString(&r.lines, message+"\n")
}

func (r *recorder) errors() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}
