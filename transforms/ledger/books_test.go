package ledger

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/logentry"
)

func init() {
	beam.RegisterType(reflect.TypeFor[told]())
	register.DoFn2x0[told, func(beam.EventTime, int64, []byte)](&packToldFn{})
	register.DoFn1x1[schemas.Row, error](&keepFn{})
	register.Emitter3[beam.EventTime, int64, []byte]()
}

func TestMain(m *testing.M) { ptest.Main(m) }

// told is a delivery: of an entry that is an impression, unless there is a reason.
type told struct {
	Message         string
	Entry           int64
	At              int64 // event time, or that of the receipt; microseconds
	Outcome, Reason string
}

// packToldFn packs deliveries as Parse does.
type packToldFn struct{ packer Packer }

func (fn *packToldFn) ProcessElement(d told, emit func(beam.EventTime, int64, []byte)) {
	fn.packer.Shards = 3
	m := &logentry.Message{Origin: d.Message, Offset: -1, ReceiveTime: d.At}
	switch d.Outcome {
	case "rejected":
		fn.packer.Rejected(m, logentry.Reason(d.Reason), emit)
	case "ignored":
		fn.packer.Ignored(m, logentry.Reason(d.Reason), emit)
	default:
		h := xxh3.HashString128(strconv.FormatInt(d.Entry, 10))
		fn.packer.Impression(m, distinct.NewID(h.Lo, d.Entry%5 == 0), h.Hi, d.At, emit)
	}
}

func (fn *packToldFn) FinishBundle(emit func(beam.EventTime, int64, []byte)) { fn.packer.Flush(emit) }

// keepFn keeps the row of the highest pane of each part and minute, by test.
type keepFn struct{ Test string }

var books = struct {
	sync.Mutex
	tests map[string]map[string]*pb.LedgerEntry
}{tests: map[string]map[string]*pb.LedgerEntry{}}

func (fn *keepFn) ProcessElement(row schemas.Row) error {
	e := new(pb.LedgerEntry)
	if err := proto.Unmarshal(row.Data, e); err != nil {
		return err
	}
	books.Lock()
	defer books.Unlock()
	if books.tests[fn.Test] == nil {
		books.tests[fn.Test] = map[string]*pb.LedgerEntry{}
	}
	name := fmt.Sprint(e.GetMinute(), " ", e.GetPart())
	if old := books.tests[fn.Test][name]; old == nil || old.GetPane() < e.GetPane() {
		books.tests[fn.Test][name] = e
	}
	return nil
}

// sums are the books of a minute: what was delivered, and of impressions the entries
// that they are of.
type sums struct{ Read, Impressions, Entries, TooLarge, Method int64 }

// The books of each minute are those of an exact computation, on Prism: whatever the
// order of deliveries, however often a message comes again, and how late, and by how
// many messages an entry comes. What comes when the books are closed is in them, and
// not taken for an entry.
func TestBooksOnPrism(t *testing.T) {
	entries := 1500
	if testing.Short() {
		entries = 150
	}
	if s := os.Getenv("PIXELBEAM_CASES"); s != "" {
		factor, err := strconv.Atoi(s)
		if err != nil || factor < 1 {
			t.Fatalf("PIXELBEAM_CASES=%s is not a number from 1", s)
		}
		entries *= factor
	}
	// Deliveries come up to lead before the watermark is where their event time is.
	// Prism lets what is ahead of the watermark wait for the timers before it, and what
	// is packed with it: so the last deliveries come some time before the books close.
	const lateness, lead = 2 * time.Minute, 1e6
	rng := rand.New(rand.NewPCG(4, uint64(entries)))
	type arrival struct {
		at int64
		told
	}
	var arrivals []arrival
	want := map[int64]sums{}
	messages, again, late := 0, 0, 0
	for entry := range entries {
		at := rng.Int64N(int64(entries/300+4)*60) * 1e6
		minute := distinct.WindowStart(at)
		open := minute + 60e6 + lateness.Microseconds() - at // from then on its books are closed
		w := want[minute]
		d := told{Entry: int64(entry), At: at}
		switch rng.IntN(8) {
		case 0:
			d.Outcome, d.Reason = "rejected", string(logentry.ReasonTooLarge)
			w.TooLarge++
		case 1:
			d.Outcome, d.Reason = "ignored", string(logentry.ReasonMethod)
			w.Method++
		default:
			w.Entries++
		}
		for n := 0; n == 0 || d.Outcome == "" && rng.IntN(3) == 0; n++ {
			messages++
			d.Message = strconv.Itoa(messages)
			w.Read++
			if d.Outcome == "" {
				w.Impressions++
			}
			if n > 0 && rng.IntN(4) == 0 {
				late++
				arrivals = append(arrivals, arrival{at + open + rng.Int64N(60e6), d})
				continue
			}
			for n := 0; n == 0 || rng.IntN(3) == 0; n++ {
				again += min(n, 1)
				arrivals = append(arrivals, arrival{at - lead + rng.Int64N(2)*rng.Int64N(open-2*lead), d})
			}
		}
		want[minute] = w
	}
	slices.SortFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })

	// The watermark advances to when the first of some is due, so that none comes later
	// than it should.
	stream := teststream.NewConfig()
	watermark := mtime.MinTimestamp
	for len(arrivals) > 0 {
		if at := mtime.FromTime(time.UnixMicro(arrivals[0].at)); at > watermark {
			if err := stream.AdvanceWatermark(int64(at)); err != nil {
				t.Fatal(err)
			}
			watermark = at
		}
		n := 1
		for n < len(arrivals) && n < 60 && arrivals[n].at < arrivals[0].at+lead && rng.IntN(30) > 0 {
			n++
		}
		var elements []any
		earliest := arrivals[0].At
		for _, a := range arrivals[:n] {
			elements = append(elements, a.told)
			earliest = min(earliest, a.At)
		}
		if err := stream.AddElements(int64(mtime.FromTime(time.UnixMicro(earliest))), elements...); err != nil {
			t.Fatal(err)
		}
		arrivals = arrivals[n:]
	}
	stream.AdvanceWatermarkToInfinity()

	p, s := beam.NewPipelineWithRoot()
	packed := beam.ParDo(s, &packToldFn{}, teststream.Create(s, stream))
	opts := Options{Options: distinct.Options{Streaming: true, AllowedLateness: lateness, EarlyFirings: 10 * time.Second}}
	for _, rows := range Books(s, packed, beam.PCollection{}, opts) {
		beam.ParDo0(s, &keepFn{t.Name()}, rows)
	}
	if _, err := prism.Execute(context.Background(), p); err != nil {
		t.Fatal(err)
	}

	got := map[int64]sums{}
	unmatched := int64(0)
	for _, e := range books.tests[t.Name()] {
		g := got[e.GetMinute()]
		g.Read += e.GetRead()
		g.Impressions += e.GetImpressions()
		g.Entries += e.GetImpressions() - e.GetDuplicates() - e.GetUnmatched()
		g.TooLarge += e.GetRejectedTooLarge()
		g.Method += e.GetIgnoredMethod()
		got[e.GetMinute()] = g
		unmatched += e.GetUnmatched()
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("books by minute (-want +got):\n%s", diff)
	}
	t.Logf("%d messages of %d entries, %d of them more than once, %d when the books were closed, of which %d were unmatched", messages, entries, again, late, unmatched)
	if again == 0 || unmatched == 0 {
		t.Error("no message came again, or none too late: this shows nothing")
	}
}
