package rollup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

func TestRowOfGroup(t *testing.T) {
	rec := impression.Record{
		AdvertiserID: []byte("adv"), CampaignID: []byte("camp"), CreativeID: []byte("cre"),
		PlacementID: []byte("pl"), SiteID: []byte("site"), Country: []byte("SG"),
		DeviceType: []byte("mobile"), EventType: []byte("impression"),
	}
	r := &distinct.Restatement{Shard: 3, WindowStart: 60e6, WindowEnd: 120e6, Pane: 2}
	row, err := appendRow(nil, r, &distinct.Group{Key: appendKey(nil, &rec), Count: 7, Flagged: 2})
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
		Part: proto.Int64(3), Pane: proto.Int64(2),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

// An absent dimension is NULL, and zero counts are zero.
func TestAbsentDimensionsAreNull(t *testing.T) {
	row, err := appendRow(nil, &distinct.Restatement{}, &distinct.Group{Key: appendKey(nil, new(impression.Record))})
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
	if _, err := appendRow(nil, &distinct.Restatement{}, &distinct.Group{Key: []byte{9, 'x'}}); err == nil {
		t.Error("no error")
	}
}

func TestShardsAreInRangeAndUsed(t *testing.T) {
	used := map[int64]bool{}
	for i := int64(-50); i < 50; i++ {
		s := shard(&impression.Record{IDHigh: i * 7919}, 4)
		if s < 0 || s >= 4 {
			t.Fatalf("shard %d", s)
		}
		used[s] = true
	}
	if len(used) != 4 {
		t.Errorf("only shards %v", used)
	}
}
