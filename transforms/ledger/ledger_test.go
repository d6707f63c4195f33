package ledger

import (
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/logentry"
)

// pack returns what a packer makes of a bundle, by shard.
func pack(add func(*Packer, distinct.Emit)) map[int64][]byte {
	out := map[int64][]byte{}
	emit := func(_ beam.EventTime, shard int64, data []byte) { out[shard] = data }
	p := Packer{Shards: 1}
	add(&p, emit)
	p.Flush(emit)
	return out
}

func message(origin string, received int64) *logentry.Message {
	return &logentry.Message{Data: []byte(origin), Origin: origin, Offset: -1, ReceiveTime: received}
}

func decode(t *testing.T, e Entry) *pb.LedgerEntry {
	t.Helper()
	got := new(pb.LedgerEntry)
	if err := proto.Unmarshal(e.Append(nil), got); err != nil {
		t.Fatal(err)
	}
	if len(got.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("unknown fields %x", got.ProtoReflect().GetUnknown())
	}
	return got
}

// A message delivered twice is one delivery; an entry delivered by two messages is
// a duplicate.
func TestEntryOfDeliveries(t *testing.T) {
	id := func(n uint64) distinct.ID { return distinct.NewID(n<<1, n%2 == 0) }
	packs := pack(func(p *Packer, emit distinct.Emit) {
		p.Impression(message("m1", 99e6), id(1), 0, 61e6, emit)
		p.Impression(message("m1", 99e6), id(1), 0, 61e6, emit)
		p.Impression(message("m2", 99e6), id(1), 0, 61e6, emit)
		p.Impression(message("m3", 99e6), id(2), 0, 62e6, emit)
		p.Rejected(message("m4", 99e6), logentry.ReasonTooLarge, emit)
		p.Rejected(message("m5", 99e6), logentry.ReasonInvalidJSON, emit)
		p.Rejected(message("m5", 99e6), logentry.ReasonInvalidJSON, emit)
		p.Ignored(message("m6", 98e6), logentry.ReasonMethod, emit)
	})
	if len(packs) != 2 {
		t.Fatalf("%d packs, want one of event times and one of times of receipt", len(packs))
	}
	build := Build{"v1", "rules"}
	var sum Entry
	for _, shard := range []int64{0, -1} {
		windows, err := distinct.Windows(packs[shard])
		if err != nil || len(windows) != 1 {
			t.Fatalf("shard %d: %d windows, %v", shard, len(windows), err)
		}
		r, err := distinct.State(shard, windows[0].Start, windows[0].Set)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ofWindow(&r, "run-", build)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[int64]string{0: "run-0", -1: "run--1"}[shard]; e.Minute != 60e6 || e.Part != want {
			t.Errorf("minute %d part %s, want 60e6 %s", e.Minute, e.Part, want)
		}
		sum.Impressions += e.Impressions
		sum.Duplicates += e.Duplicates
		if e.Rejected != nil {
			sum.Rejected, sum.Ignored = e.Rejected, e.Ignored
		}
	}
	sum.Minute, sum.Part, sum.Build, sum.TooLate = 60e6, "p", build, 4
	want := &pb.LedgerEntry{
		Minute: proto.Int64(60e6), Part: proto.String("p"), Pane: proto.Int64(0),
		Read: proto.Int64(6), Impressions: proto.Int64(3), Rejected: proto.Int64(2), Ignored: proto.Int64(1),
		Duplicates: proto.Int64(1), TooLate: proto.Int64(4), Unmatched: proto.Int64(0),
		RejectedTooLarge: proto.Int64(1), RejectedInvalidJson: proto.Int64(1), IgnoredMethod: proto.Int64(1),
		RejectedNotARequest: proto.Int64(0), RejectedInvalidUrl: proto.Int64(0), RejectedInvalidField: proto.Int64(0),
		RejectedNoTimestamp: proto.Int64(0), RejectedNoInsertId: proto.Int64(0),
		IgnoredCdnInternal: proto.Int64(0), IgnoredNotAPixel: proto.Int64(0), IgnoredErrorStatus: proto.Int64(0),
		Version: proto.String("v1"), UserAgentRules: proto.String("rules"),
	}
	if diff := cmp.Diff(want, decode(t, sum), protocmp.Transform()); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
}

// Every reason has the column that bears its name.
func TestReasonsHaveColumns(t *testing.T) {
	fields := new(pb.LedgerEntry).ProtoReflect().Descriptor().Fields()
	for prefix, reasons := range map[string][]logentry.Reason{"rejected_": logentry.RejectReasons(), "ignored_": logentry.IgnoreReasons()} {
		for i, reason := range reasons {
			f := fields.ByName(protoreflect.Name(prefix + string(reason)))
			first := fieldRejectedReason
			if prefix == "ignored_" {
				first = fieldIgnoredReason
			}
			if f == nil || int(f.Number()) != first+i {
				t.Errorf("%s%s is %v, want field %d", prefix, reason, f, first+i)
			}
		}
	}
	if n := fields.Len(); n != fieldRecovered {
		t.Errorf("%d fields, want %d", n, fieldRecovered)
	}
}

// What comes too late has a name of its own, made of what it is.
func TestTooLateEntries(t *testing.T) {
	packs := pack(func(p *Packer, emit distinct.Emit) {
		p.Impression(message("m1", 0), distinct.NewID(2, false), 0, 61e6, emit)
		p.Impression(message("m2", 0), distinct.NewID(2, false), 0, 61e6, emit)
	})
	windows, err := distinct.Windows(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := distinct.State(0, 60e6, windows[0].Set)
	if err != nil {
		t.Fatal(err)
	}
	late := &distinct.TooLate{WindowStart: 60e6, Name: "abc", Entries: 2, Groups: r.Groups}
	e, err := ofLateBooks(late, Build{})
	if err != nil {
		t.Fatal(err)
	}
	if e.Part != "late-abc" || e.Impressions != 2 || e.Duplicates != 1 || e.Unmatched != 2 || e.TooLate != 0 {
		t.Errorf("late for the books: %+v", e)
	}
	e = ofLateCounts(late, Build{})
	if e.Part != "uncounted-abc" || e.Impressions != 0 || e.TooLate != 2 {
		t.Errorf("late for the counts: %+v", e)
	}
}

// What is found in the tables is said to be found.
func TestEntryOfTables(t *testing.T) {
	got := decode(t, OfTables(60e6, 2, 5, map[logentry.Reason]int64{logentry.ReasonTooLarge: 3}, Build{Version: "v1"}))
	if got.GetMinute() != 60e6 || got.GetPart() != RecoveredPart || got.GetPane() != 2 || got.GetVersion() != "v1" ||
		got.GetRead() != 8 || got.GetImpressions() != 5 || got.GetRejected() != 3 || got.GetRejectedTooLarge() != 3 || got.GetRecovered() != 8 {
		t.Errorf("%v", got)
	}
}

// A source that names nothing has no two deliveries alike but by their bytes.
func TestDeliveryIDs(t *testing.T) {
	ids := map[xxh3.Uint128]bool{}
	for _, m := range []logentry.Message{
		{Origin: "f", Offset: 0}, {Origin: "f", Offset: 10}, {Origin: "g", Offset: 0}, {Origin: "f", Offset: -1},
		{Data: []byte("a"), Offset: -1}, {Data: []byte("b"), Offset: -1},
	} {
		ids[delivery(&m)] = true
	}
	if len(ids) != 6 {
		t.Errorf("%d ids of 6 deliveries", len(ids))
	}
}

func TestBrokenGroups(t *testing.T) {
	for _, key := range [][]byte{nil, {9}, {0}, {0, 'x'}} {
		if err := new(Entry).add([]distinct.Group{{Key: key}}); err == nil {
			t.Errorf("key %x: no error", key)
		}
	}
}
