package rollup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/schemas/zetasketch"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

func encode(t *testing.T, r *distinct.Restatement, g *distinct.Group) ([]byte, error) {
	t.Helper()
	e, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	return e.AppendRow(nil, r, g)
}

func keyOf(r *impression.Record) []byte {
	d := dimensionsOf(r)
	return d.AppendKey(nil)
}

func TestRowOfGroup(t *testing.T) {
	rec := impression.Record{
		AdvertiserID: []byte("adv"), CampaignID: []byte("camp"), CreativeID: []byte("cre"),
		PlacementID: []byte("pl"), SiteID: []byte("site"), Country: []byte("SG"),
		DeviceType: []byte("mobile"), EventType: []byte("impression"),
	}
	r := &distinct.Restatement{Shard: 3, WindowStart: 60e6, WindowEnd: 120e6, Pane: 2}
	row, err := encode(t, r, &distinct.Group{Key: keyOf(&rec), Count: 7, Flagged: 2})
	if err != nil {
		t.Fatal(err)
	}
	got := new(pb.ImpressionCount)
	if err := (proto.UnmarshalOptions{}).Unmarshal(row, got); err != nil {
		t.Fatal(err)
	}
	want := &pb.ImpressionCount{
		WindowStart: proto.Int64(60e6), WindowEnd: proto.Int64(120e6),
		AdvertiserId: proto.String("adv"), CampaignId: proto.String("camp"), CreativeId: proto.String("cre"),
		PlacementId: proto.String("pl"), SiteId: proto.String("site"), Country: proto.String("SG"),
		DeviceType: proto.String("mobile"), EventType: proto.String("impression"),
		Gross: proto.Int64(7), Invalid: proto.Int64(2), Net: proto.Int64(5),
		Part: proto.Int64(3), Pane: proto.Int64(2), Clicks: proto.Int64(0),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

// An absent dimension is NULL, and zero counts are zero.
func TestAbsentDimensionsAreNull(t *testing.T) {
	row, err := encode(t, &distinct.Restatement{}, &distinct.Group{Key: keyOf(new(impression.Record))})
	if err != nil {
		t.Fatal(err)
	}
	got := new(pb.ImpressionCount)
	if err := proto.Unmarshal(row, got); err != nil {
		t.Fatal(err)
	}
	if got.AdvertiserId != nil || got.EventType != nil || got.Sketch != nil {
		t.Errorf("not NULL: %v", got)
	}
	if got.Gross == nil || got.Net == nil || got.Pane == nil {
		t.Errorf("NULL: %v", got)
	}
}

func TestRowOfBrokenKey(t *testing.T) {
	if _, err := encode(t, &distinct.Restatement{}, &distinct.Group{Key: []byte{9, 'x'}}); err == nil {
		t.Error("no error")
	}
}

func TestShardsAreInRangeAndUsed(t *testing.T) {
	used := map[int64]bool{}
	for i := int64(-50); i < 50; i++ {
		s := Part(&impression.Record{IDHigh: i * 7919}, 4)
		if s < 0 || s >= 4 {
			t.Fatalf("shard %d", s)
		}
		used[s] = true
	}
	if len(used) != 4 {
		t.Errorf("only shards %v", used)
	}
}

// A click counts in clicks, and the sketch is that of the users: whoever has
// none does not count, and one who comes twice counts once.
func TestClicksAndReach(t *testing.T) {
	var set distinct.Builder
	want, err := zetasketch.New(zetasketch.String, 15)
	if err != nil {
		t.Fatal(err)
	}
	for i, user := range []string{"ann", "bob", "", "ann", "cleo"} {
		r := impression.Record{EventType: []byte("click"), UserID: []byte(user), IDLow: int64(i) << 1, EventTime: int64(i)}
		Add(&set, &r)
		Add(&set, &r)
	}
	for _, user := range []string{"bob", "ann", "cleo"} {
		want.Add(user)
	}
	r, err := distinct.State(0, 0, set.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	row, err := encode(t, &r, &r.Groups[0])
	if err != nil {
		t.Fatal(err)
	}
	got := new(pb.ImpressionCount)
	if err := proto.Unmarshal(row, got); err != nil {
		t.Fatal(err)
	}
	if len(r.Groups) != 1 || got.GetGross() != 5 || got.GetClicks() != 5 {
		t.Errorf("gross %d, clicks %d, of %d groups", got.GetGross(), got.GetClicks(), len(r.Groups))
	}
	if bytes, err := want.MarshalBinary(); err != nil || string(got.Sketch) != string(bytes) {
		t.Errorf("sketch %x, want %x (%v)", got.Sketch, bytes, err)
	}
}
