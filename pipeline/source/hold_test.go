package source

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/go-cmp/cmp"

	"pixelbeam/transforms/logentry"
)

// holding is a table of bundles under a clock that counts seconds.
type holding struct {
	holds
	t0 time.Time
}

func (h *holding) at(s int) time.Time { return h.t0.Add(time.Duration(s) * time.Second) }

func (h *holding) over(number int64, s int) {
	h.add(number, []*batch{{ackIDs: []string{string(rune('a' + number))}}}, h.at(s))
}

// released returns the ack ids that an answer lets go.
func (h *holding) released(c checkpoints) string {
	var ids string
	for _, b := range h.release(&c) {
		ids += b.ackIDs[0]
	}
	return ids
}

func TestHoldsUntilALaterCheckpointIsComplete(t *testing.T) {
	h := &holding{t0: time.Now()}
	h.over(1, 10)
	for _, step := range []struct {
		what             string
		asOf             int
		begun, completed int64
		want             string // the bundles let go
	}{
		{what: "an answer of before the bundle's end", asOf: 9, begun: 4, completed: 4},
		{what: "an answer of its very time", asOf: 10, begun: 9, completed: 9},
		{what: "no checkpoint is complete", asOf: 11, begun: 1},
		{what: "checkpoint 5 may have begun before the bundle's end", asOf: 12, begun: 5, completed: 4},
		{what: "5 is complete", asOf: 13, begun: 5, completed: 5},
		{what: "6 has begun, after 5 and so after the bundle", asOf: 14, begun: 6, completed: 5},
		{what: "6 failed, 7 is under way", asOf: 15, begun: 7, completed: 5},
		{what: "7 is complete", asOf: 20, begun: 7, completed: 7, want: "b"},
		{what: "of the second bundle, over at 14, answers of then on tell, the first of which knew 7", asOf: 21, begun: 8, completed: 7},
		{what: "8 is complete", asOf: 22, begun: 8, completed: 8, want: "c"},
	} {
		if got := h.released(checkpoints{asOf: h.at(step.asOf), begun: step.begun, completed: step.completed}); got != step.want {
			t.Errorf("%s: released %q, want %q", step.what, got, step.want)
		}
		if step.asOf == 14 {
			h.over(2, 14)
		}
	}
	if len(h.list) != 0 || h.size != 0 {
		t.Errorf("%d bundles of %d messages are left", len(h.list), h.size)
	}
}

func TestHoldsRewindToTheRestoredPosition(t *testing.T) {
	h := &holding{t0: time.Now()}
	for n := range int64(4) {
		h.over(n+1, int(n))
	}
	h.release(&checkpoints{asOf: h.at(10), begun: 3, completed: 3})
	var undone []string
	for _, b := range h.rewind(2) {
		undone = append(undone, b.ackIDs[0])
	}
	if diff := cmp.Diff([]string{"e", "d"}, undone); diff != "" {
		t.Errorf("undone: %s", diff)
	}
	h.again(h.at(20))
	if got := h.released(checkpoints{asOf: h.at(15), begun: 9, completed: 9}); got != "" {
		t.Errorf("released %q for what was known before the failure", got)
	}
	h.released(checkpoints{asOf: h.at(21), begun: 9, completed: 9})
	if got := h.released(checkpoints{asOf: h.at(30), begun: 10, completed: 10}); got != "bc" || h.size != 0 {
		t.Errorf("released %q, %d messages left, want the two bundles of the restored state", got, h.size)
	}
}

// An attempt is bound to what the job was restored from when it began, as soon as
// an answer of that time is there, and to nothing after.
func TestAttemptIsSuperseded(t *testing.T) {
	now := time.Now()
	answer := func(s int, era string) *checkpoints {
		return &checkpoints{asOf: now.Add(time.Duration(s) * time.Second), era: era}
	}
	a := &attempt{began: now}
	for _, step := range []struct {
		c    *checkpoints
		want bool
	}{
		{answer(-1, "old"), true}, // of before it began
		{answer(1, "new"), true},
		{answer(2, "new"), true},
		{answer(3, "newer"), false},
		{answer(4, "new"), false}, // for good
	} {
		if got := a.follows(step.c); got != step.want {
			t.Errorf("at %v, %s: follows %v, want %v", step.c.asOf.Sub(now), step.c.era, got, step.want)
		}
	}
}

// fakeFlink is a job manager's REST API with one job, whose answers are never old.
type fakeFlink struct {
	*httptest.Server
	mu       sync.Mutex
	restored int64
	history  []string // newest first
	last     string   // completed
	down     bool
}

func newFakeFlink(t *testing.T) *fakeFlink {
	f := &fakeFlink{last: "null"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jobmanager/config", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `[{"key":"web.refresh-interval","value":"1 ms"}]`)
	})
	mux.HandleFunc("GET /jobs/overview", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"jobs":[{"jid":"0","name":"test","state":"CANCELED"},{"jid":"1","name":"other","state":"RUNNING"},{"jid":"2","name":"test","state":"RUNNING"}]}`)
	})
	mux.HandleFunc("GET /jobs/2/checkpoints", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.down {
			http.Error(w, "leaderless", http.StatusServiceUnavailable)
			return
		}
		restored := "null"
		if f.restored > 0 {
			restored = fmt.Sprintf(`{"id":%d,"restore_timestamp":7}`, f.restored)
		}
		fmt.Fprintf(w, `{"latest":{"completed":%s,"restored":%s},"history":[%s]}`, f.last, restored, strings.Join(f.history, ","))
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// checkpoint reports a checkpoint.
func (f *fakeFlink) checkpoint(id int64, status string, savepoint bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := fmt.Sprintf(`{"id":%d,"status":%q,"is_savepoint":%v}`, id, status, savepoint)
	f.history = append([]string{c}, f.history...)
	if status == "COMPLETED" && !savepoint {
		f.last = c
	}
}

func (f *fakeFlink) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeFlink) config(server *fakeServer) PubSubConfig {
	cfg := server.config()
	cfg.Flink = &FlinkConfig{Master: f.URL, Job: "test"}
	return cfg
}

// known waits until the reader at pos has an answer of after now, resuming it, and
// returns the position then.
func (r *runner) known(pos pubSubPosition) pubSubPosition {
	r.t.Helper()
	now := time.Now()
	for told := 0; told < 2; {
		eventually(r.t, "Flink has answered", func() bool {
			c := readers.get(r.ctx, pos.Reader, r.fn.Config).flink.latest()
			return c != nil && c.asOf.After(now)
		})
		_, p := r.bundle(pos, nil)
		pos, now = *p, time.Now()
		told++
	}
	return pos
}

func TestFlinkAcknowledgesAfterACheckpoint(t *testing.T) {
	f, flink := newFakeServer(t), newFakeFlink(t)
	f.lease = 4 * time.Second // which the hold outlasts
	f.publish("a", 3, nil)
	r := newRunner(t, flink.config(f))
	flink.checkpoint(1, "COMPLETED", false)
	first, pos := r.some(r.fn.CreateInitialRestriction(nil))
	pos = r.known(pos)
	flink.checkpoint(2, "COMPLETED", true) // a savepoint, to which no failure leads back
	pos = r.known(pos)
	flink.checkpoint(3, "FAILED", false)
	pos = r.known(pos)
	flink.set(func() { flink.down = true })
	extended := Stats().LeaseExtensions
	eventually(t, "leases are extended while Flink does not answer", func() bool {
		_, p := r.bundle(pos, nil)
		pos = *p
		return Stats().LeaseExtensions >= extended+int64(len(first))
	})
	if got := f.count(); got.acked != 0 || got.expired != 0 {
		t.Fatalf("the server counts %+v before a checkpoint, want nothing acknowledged or expired", got)
	}
	flink.set(func() { flink.down = false })
	flink.checkpoint(4, "COMPLETED", false)
	pos = r.known(pos)
	eventually(t, "a checkpoint lets the bundle go", func() bool { return f.count().acked == 3 })

	// A clean stop waits for a checkpoint of what is left, and ends the input.
	f.publish("b", 2, nil)
	_, pos = r.some(pos)
	defer Drain()()
	pos = r.known(pos)
	if got := f.count(); got.acked != 3 {
		t.Fatalf("%d messages are acknowledged while the last bundle is in no checkpoint, want 3", got.acked)
	}
	flink.checkpoint(5, "COMPLETED", false)
	eventually(t, "the input ends", func() bool {
		_, p := r.bundle(pos, nil)
		if p != nil {
			pos = *p
		}
		return p == nil
	})
	if got := f.count(); got.acked != 5 || got.acks != 5 || got.redelivered != 0 {
		t.Errorf("the server counts %+v, want each of 5 messages acknowledged once", got)
	}
}

// A job that fails goes back to a checkpoint: what came after it is read again,
// what it has is not.
func TestFlinkReadsAgainWhatNoCheckpointHas(t *testing.T) {
	f, flink := newFakeServer(t), newFakeFlink(t)
	f.publish("a", 3, nil)
	r := newRunner(t, flink.config(f))
	flink.checkpoint(1, "COMPLETED", false)
	_, checkpointed := r.some(r.fn.CreateInitialRestriction(nil))
	r.known(checkpointed)
	f.publish("b", 2, nil)
	lost, later := r.some(checkpointed)
	r.known(later)

	// The same process gets the task again, from the checkpoint of the first bundle.
	again := &runner{t: t, fn: &readPubSubFn{Config: r.fn.Config}, we: r.we, ctx: r.ctx}
	flink.set(func() { flink.restored = 1 })
	reread, pos := again.some(checkpointed)
	if diff := cmp.Diff(lost, reread); diff != "" {
		t.Errorf("after the failure: %s", diff)
	}
	pos = again.known(pos)
	flink.checkpoint(2, "COMPLETED", false)
	eventually(t, "all is acknowledged", func() bool {
		pos = again.known(pos)
		return f.count().acked == 5
	})
	if got := f.count(); got.acks != 5 {
		t.Errorf("the server counts %+v, want each of 5 messages acknowledged once", got)
	}
}

// A reader whose job has gone on elsewhere acknowledges nothing more, whatever
// checkpoints that job completes, and gives back what it holds.
func TestFlinkSupersededReaderGivesBack(t *testing.T) {
	for _, resumed := range []bool{true, false} {
		t.Run(fmt.Sprintf("resumed=%v", resumed), func(t *testing.T) {
			f, flink := newFakeServer(t), newFakeFlink(t)
			f.publish("a", 3, nil)
			r := newRunner(t, flink.config(f))
			flink.checkpoint(1, "COMPLETED", false)
			_, pos := r.some(r.fn.CreateInitialRestriction(nil))
			pos = r.known(pos)
			flink.set(func() { flink.restored = 1 })
			flink.checkpoint(2, "COMPLETED", false)
			flink.checkpoint(3, "COMPLETED", false)
			if resumed {
				eventually(t, "the reader is told", func() bool {
					_, err := r.fn.ProcessElement(r.ctx, r.we, r.fn.CreateTracker(pos), nil, func(beam.EventTime, logentry.Batch) {})
					if err != nil && !errors.Is(err, errSuperseded) {
						t.Fatal(err)
					}
					return err != nil
				})
			}
			eventually(t, "the reader gives back and ends", func() bool { return Stats().Readers == 0 && f.count().leased == 0 })
			if got := f.count().acked; got != 0 {
				t.Errorf("%d messages are acknowledged, which the job's checkpoints do not have", got)
			}
		})
	}
}

// Before the first checkpoint a job that fails begins anew, of which no answer tells:
// a reader that read before and was cut off from the job manager would take the
// checkpoints of the new beginning for its own. So it does not read before.
func TestFlinkReadsAfterTheFirstCheckpoint(t *testing.T) {
	defer func(d time.Duration) { checkpointPatience = d }(checkpointPatience)
	checkpointPatience = 0
	warnings := captureLog(t)
	f, flink := newFakeServer(t), newFakeFlink(t)
	f.publish("a", 3, nil)
	r := newRunner(t, flink.config(f))
	pos := r.known(r.fn.CreateInitialRestriction(nil))
	for range 3 {
		delivered, p := r.bundle(pos, nil)
		if len(delivered) > 0 {
			t.Fatalf("%q was read before any checkpoint was complete", delivered)
		}
		pos = *p
	}
	if got := warnings(); !strings.Contains(got, "nothing is read until a checkpoint of the job test is complete") {
		t.Errorf("no warning that nothing is read:\n%s", got)
	}
	flink.checkpoint(1, "COMPLETED", false)
	delivered, pos := r.some(pos)
	if len(delivered) != 3 {
		t.Errorf("%q was read after the checkpoint, want 3 messages", delivered)
	}
	r.known(pos)
	eventually(t, "a reader whose bundles wait says so", func() bool {
		readers.get(r.ctx, pos.Reader, r.fn.Config).warned.Store(0) // as if long ago
		return strings.Contains(warnings(), "3 messages have waited for a checkpoint of the job test")
	})
}

// A job that was restored reads at once: a failure leads back to what it was restored
// from.
func TestFlinkReadsAtOnceWhenRestored(t *testing.T) {
	f, flink := newFakeServer(t), newFakeFlink(t)
	f.publish("a", 3, nil)
	flink.set(func() { flink.restored = 1 })
	r := newRunner(t, flink.config(f))
	if delivered, _ := r.some(r.fn.CreateInitialRestriction(nil)); len(delivered) != 3 {
		t.Errorf("%q was read, want 3 messages", delivered)
	}
}

func TestFlinkReaderHoldsNoMoreThanTold(t *testing.T) {
	f, flink := newFakeServer(t), newFakeFlink(t)
	cfg := flink.config(f)
	cfg.MaxBundle, cfg.Pullers, cfg.Flink.MaxHeld = 10, 1, 10
	r := newRunner(t, cfg)
	f.publish("a", 200, nil)
	flink.checkpoint(1, "COMPLETED", false)
	pos := r.fn.CreateInitialRestriction(nil)
	n := 0
	for empty := 0; n < 10 || empty < 3; {
		delivered, p := r.bundle(pos, nil)
		pos = *p
		n += len(delivered)
		if len(delivered) == 0 {
			empty++
		}
	}
	// Held, and what was pulled before so many were.
	if n < 10 || n > 50 {
		t.Errorf("%d messages were delivered without a checkpoint, want some more than 10", n)
	}
	flink.checkpoint(2, "COMPLETED", false)
	eventually(t, "what is acknowledged makes room", func() bool {
		delivered, p := r.bundle(pos, nil)
		pos = *p
		return len(delivered) > 0
	})
}

func TestFlinkAnswers(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"3 s": 3 * time.Second, "3000": 3 * time.Second, "1min": time.Minute, "250ms": 250 * time.Millisecond, "2 hours": 2 * time.Hour, "0": 0, "10 SECONDS": 10 * time.Second,
	} {
		if got, err := flinkDuration(in); err != nil || got != want {
			t.Errorf("%q is %v (%v), want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "s", "1 fortnight", "-1 s", "1.5 s", "99999999999 s"} {
		if got, err := flinkDuration(in); err == nil {
			t.Errorf("%q is %v, want an error", in, got)
		}
	}
	flink := newFakeFlink(t)
	for job, want := range map[string]string{"none": "no running job", "test": ""} {
		w := newFlinkWatch(FlinkConfig{Master: flink.URL, Job: job}, t.Logf)
		if _, err := w.ask(t.Context()); err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("job %s: %v, want %q", job, err, want)
		}
	}
	for job, want := range map[string]bool{"none": false, "test": true} {
		if got, err := (FlinkConfig{Master: flink.URL, Job: job}).Running(t.Context()); err != nil || got != want {
			t.Errorf("job %s: running %v (%v), want %v", job, got, err, want)
		}
	}
	for _, cfg := range []FlinkConfig{{Job: "j"}, {Master: "ftp://x", Job: "j"}, {Master: "localhost:8081"}, {Master: "localhost:8081", Job: "j", MaxHeld: -1}} {
		if cfg.Validate() == nil {
			t.Errorf("%+v is valid", cfg)
		}
	}
}
