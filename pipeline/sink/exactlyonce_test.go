package sink

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/vet"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/dofn"
)

func onceConfig(endpoint string) OnceConfig {
	return OnceConfig{
		BigQueryConfig:  BigQueryConfig{Project: "p", Dataset: "d", Table: "impressions", Endpoint: endpoint},
		Shards:          8,
		AllowedLateness: 10 * time.Minute,
	}
}

// A runner that runs bundles again at will, with what the protocol of
// bufferedTable asks of it: state and outputs of a bundle are committed together
// or not at all, the elements of a bundle that failed come again, in any bundles
// and any order; marks are delivered at least once, in any order.
type unsteadyRunner struct {
	rng     *rand.Rand
	table   *bufferedTable
	state   []cursor          // of each shard
	waiting [][][]schemas.Row // elements of each shard
	marks   []mark
	crashes int
}

// step runs one bundle of a shard.
func (r *unsteadyRunner) step(t *testing.T, shard int) {
	queue := r.waiting[shard]
	n := min(len(queue), 1+r.rng.IntN(3))
	at := r.state[shard]
	var marks []mark
	for _, rows := range queue[:n] {
		// A worker may be lost before, between and after appends.
		if r.rng.IntN(20) == 0 {
			r.crash(shard)
			return
		}
		var more []mark
		var err error
		at, more, err = r.table.append(t.Context(), "", at, rows, func(schemas.Row, *storagepb.RowError) { t.Error("a row was refused") })
		if err != nil {
			t.Logf("bundle failed: %v", err)
			r.crash(shard)
			return
		}
		marks = append(marks, more...)
	}
	if r.rng.IntN(10) == 0 {
		r.crash(shard)
		return
	}
	r.state[shard] = at
	r.waiting[shard] = queue[n:]
	for _, m := range marks {
		r.marks = append(r.marks, m)
		if r.rng.IntN(4) == 0 {
			r.marks = append(r.marks, m)
		}
	}
}

// crash has the elements of the shard come again in another order.
func (r *unsteadyRunner) crash(shard int) {
	r.crashes++
	queue := slices.Clone(r.waiting[shard])
	first := queue[:min(len(queue), 5)]
	r.rng.Shuffle(len(first), func(i, j int) { first[i], first[j] = first[j], first[i] })
	r.waiting[shard] = queue
}

// show delivers some of the marks, any of them first.
func (r *unsteadyRunner) show(t *testing.T, n int) {
	for range min(n, len(r.marks)) {
		i := r.rng.IntN(len(r.marks))
		if err := r.table.show(t.Context(), r.marks[i]); err != nil {
			t.Logf("showing failed: %v", err)
			continue // It comes again.
		}
		r.marks = slices.Delete(r.marks, i, i+1)
	}
}

// Through errors, lost answers and bundles that are run again at random, the
// table holds each of 200,000 rows once.
func TestExactlyOnceThroughFaults(t *testing.T) {
	total := 200_000
	if testing.Short() {
		total = 20_000
	}
	const shards = 8
	f := startFakeBuffered(t)
	rng := rand.New(rand.NewPCG(1, 2))
	faults := map[fault]int{}
	f.fault = func(string) fault {
		if rng.IntN(25) > 0 {
			return none
		}
		happens := fault(1 + rng.IntN(3))
		faults[happens]++
		return happens
	}
	cfg := onceConfig(f.endpoint)
	cfg.BigQueryConfig = cfg.BigQueryConfig.withDefaults()
	cfg.MaxBatchBytes = 4000
	table, err := acquireBuffered(cfg.BigQueryConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer table.release()
	table.pause = func(ctx context.Context, _ int) error { return ctx.Err() }

	r := &unsteadyRunner{rng: rand.New(rand.NewPCG(3, 4)), table: table, state: make([]cursor, shards), waiting: make([][][]schemas.Row, shards)}
	for i := 0; i < total; {
		n := min(total-i, 1+r.rng.IntN(80))
		var rows []schemas.Row
		for range n {
			rows = append(rows, impressionRow(fmt.Sprintf("id-%06d", i)))
			i++
		}
		shard := r.rng.IntN(shards)
		r.waiting[shard] = append(r.waiting[shard], rows)
	}
	for left := true; left; {
		left = false
		for shard := range shards {
			if len(r.waiting[shard]) > 0 {
				left = true
				r.step(t, shard)
			}
		}
		r.show(t, 10)
	}
	for _, at := range r.state {
		r.marks = append(r.marks, mark{at.Stream, at.Offset, true})
	}
	for len(r.marks) > 0 {
		r.show(t, len(r.marks))
	}
	once := 0
	for row, n := range f.visible() {
		if n != 1 {
			t.Errorf("a row is in the table %d times: %q", n, row)
		} else {
			once++
		}
	}
	if once != total {
		t.Errorf("%d rows are in the table once, want %d", once, total)
	}
	for name, s := range f.streams {
		// Those of bundles that failed are nobody's, and the service's to forget.
		if s.flushed > 0 && !s.finalized {
			t.Errorf("stream %s is left open", name)
		}
	}
	t.Logf("%d rows; %d bundles were run again; %d calls refused, %d answers lost, %d throttled; %d streams; calls %v",
		once, r.crashes, faults[refused], faults[lost], faults[throttled], len(f.streams), f.calls)
	if r.crashes == 0 || faults[lost] == 0 {
		t.Error("the test had no faults")
	}
}

// copiesFn makes Count rows, and of every third a copy.
type copiesFn struct{ Count int }

func (f *copiesFn) ProcessElement(_ []byte, emit func(schemas.Rows)) {
	for i := range f.Count {
		row := impressionRow(fmt.Sprintf("id-%06d", i))
		emit(together([]schemas.Row{row}))
		if i%3 == 0 {
			emit(together([]schemas.Row{row, row}))
		}
	}
}

func init() {
	dofn.Register[copiesFn](func(f func([]byte, func(schemas.Rows)), a []any) []any {
		f(a[0].([]byte), a[1].(func(schemas.Rows)))
		return nil
	})
	register.Emitter1[schemas.Rows]()
}

// The steps together, on Prism: copies are dropped, faults of the service are
// seen through, and every row is in the table once at the end.
func TestExactlyOnceOnPrism(t *testing.T) {
	f := startFakeBuffered(t)
	rng := rand.New(rand.NewPCG(5, 6))
	f.fault = func(string) fault {
		if rng.IntN(8) > 0 {
			return none
		}
		return fault(1 + rng.IntN(3))
	}
	p, s := beam.NewPipelineWithRoot()
	rows := beam.ParDo(s, &copiesFn{Count: 3000}, beam.Impulse(s))
	cfg := onceConfig(f.endpoint)
	Terminate(s, Rejected(s, BigQueryOnce(s, rows, cfg), cfg.BigQueryConfig))
	result := run(t, "prism", p)
	visible := f.visible()
	for row, n := range visible {
		if n != 1 {
			t.Errorf("a row is in the table %d times: %q", n, row)
		}
	}
	if len(visible) != 3000 {
		t.Errorf("%d rows are in the table, want 3000", len(visible))
	}
	if n := counter(result, "sink", "bigquery_duplicates_dropped"); n != 2000 {
		t.Errorf("%d copies were dropped, want 2000", n)
	}
}

// Rows that the service refuses are rejected, and the rest of their request is
// stored where it would have been.
func TestExactlyOnceRefusesRows(t *testing.T) {
	bad := []*storagepb.RowError{{Index: 1, Message: "bad"}}
	rows := impressionRows(3)
	var out []schemas.Row
	kept := without(rows, bad, func(row schemas.Row, e *storagepb.RowError) { out = append(out, row) })
	if len(kept) != 2 || len(out) != 1 || !bytes.Equal(out[0].Data, rows[1].Data) {
		t.Errorf("kept %d, refused %d", len(kept), len(out))
	}
	if without(rows, []*storagepb.RowError{{Index: 7}}, func(schemas.Row, *storagepb.RowError) {}) != nil {
		t.Error("a row error that names no row went unnoticed")
	}
}

// A table that is not there is an error of the set-up, with what to do.
func TestExactlyOnceWithoutTable(t *testing.T) {
	f := startFakeBuffered(t)
	cfg := onceConfig(f.endpoint).BigQueryConfig.withDefaults()
	table, err := acquireBuffered(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer table.release()
	// A stream that the service does not know is abandoned for a new one.
	at, marks, err := table.append(t.Context(), "", cursor{"projects/p/datasets/d/tables/impressions/streams/gone", 7}, impressionRows(2), nil)
	if err != nil || at.Offset != 2 || len(marks) != 2 || marks[0] != (mark{"projects/p/datasets/d/tables/impressions/streams/gone", 7, true}) {
		t.Errorf("at %v, marks %v, %v", at, marks, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := table.append(ctx, "", at, impressionRows(2), nil); err == nil {
		t.Error("no error in a context that is over")
	}
}

func TestFirstCopies(t *testing.T) {
	row := func(b byte) packedRow { return packedRow{id: entryID{b}} }
	var known []byte
	ids := func(rows []packedRow) (out []byte) {
		for _, r := range rows {
			out = append(out, r.id[0])
		}
		return out
	}
	for _, step := range []struct{ in, want []byte }{
		{[]byte{5, 3, 5, 9}, []byte{3, 5, 9}},
		{[]byte{9, 3, 1, 4, 12, 1}, []byte{1, 4, 12}},
		{[]byte{1, 3, 4, 5, 9, 12}, nil},
	} {
		var rows []packedRow
		for _, b := range step.in {
			rows = append(rows, row(b))
		}
		var fresh []packedRow
		fresh, known = firstCopies(known, rows)
		if got := ids(fresh); !bytes.Equal(got, step.want) {
			t.Errorf("%v: fresh %v, want %v", step.in, got, step.want)
		}
	}
	for i := 0; i+32 <= len(known); i += 16 {
		if bytes.Compare(known[i:i+16], known[i+16:i+32]) >= 0 {
			t.Errorf("ids are out of order: %x", known)
		}
	}
}

func TestIdentify(t *testing.T) {
	message := (*pixelbeamv1.Impression)(nil).ProtoReflect().Descriptor().Fields()
	for name, number := range map[string]int{"insert_id": insertIDField, "event_time": eventTimeField, "advertiser_id": advertiserField} {
		if f := message.ByName(protoreflect.Name(name)); f == nil || int(f.Number()) != number {
			t.Errorf("%s has not the number %d", name, number)
		}
	}
	row := func(id string, at int64) entryID {
		data, err := proto.Marshal(&pixelbeamv1.Impression{InsertId: &id, EventTime: &at})
		if err != nil {
			t.Fatal(err)
		}
		got, when, err := identify(data)
		if err != nil || when != at {
			t.Fatalf("%q %d: event time %d, %v", id, at, when, err)
		}
		return got
	}
	a, again := row("a", 1), row("a", 1)
	if a != again || a == row("b", 1) || a == row("a", 2) {
		t.Error("ids do not tell entries apart")
	}
	for _, bad := range [][]byte{nil, {0x08}, {0x0a, 5, 'a'}, []byte("hello")} {
		if _, _, err := identify(bad); err == nil {
			t.Errorf("%x: no error", bad)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack([]packedRow{{entryID{1}, impressionRow("a")}, {entryID{2}, impressionRow("b")}}))
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := unpack(b)
		if err != nil {
			return
		}
		again, err := unpack(pack(rows))
		if err != nil || len(again) != len(rows) {
			t.Errorf("%d rows, then %d: %v", len(rows), len(again), err)
		}
	})
}

func TestOncePerformant(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	rows := beam.ParDo(s, &copiesFn{Count: 1}, beam.Impulse(s))
	cfg := onceConfig("")
	Terminate(s, Rejected(s, BigQueryOnce(s, rows, cfg), cfg.BigQueryConfig))
	e, err := vet.Evaluate(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Performant() {
		e.Generate("sink")
		t.Errorf("unregistered:\n%s", e.Bytes())
	}
}
