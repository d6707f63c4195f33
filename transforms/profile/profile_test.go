package profile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

func record(user, campaign, event, device, page string) *impression.Record {
	return &impression.Record{
		UserID: []byte(user), CampaignID: []byte(campaign), EventType: []byte(event),
		DeviceType: []byte(device), PageURL: []byte(page),
	}
}

func TestUpdatesOfUsers(t *testing.T) {
	group := func(r *impression.Record, count, first, last int64) distinct.Group {
		return distinct.Group{Key: appendKey(nil, r), Value: appendValue(nil, r), Count: count, First: first, Last: last}
	}
	r := &distinct.Restatement{WindowStart: 60e6, WindowEnd: 120e6, Groups: []distinct.Group{
		group(record("u1", "c1", "click", "mobile", "https://a/"), 1, 80e6, 80e6),
		group(record("u1", "c1", "impression", "mobile", "https://b/"), 3, 61e6, 90e6),
		group(record("u2", "", "impression", "desktop", ""), 1, 70e6, 70e6),
	}}
	var got []*pb.ProfileUpdate
	err := updates(r, func(data []byte) {
		u := new(pb.ProfileUpdate)
		if err := proto.Unmarshal(data, u); err != nil {
			t.Fatal(err)
		}
		got = append(got, u)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []*pb.ProfileUpdate{{
		UserId: proto.String("u1"), WindowStart: proto.Int64(60e6),
		Counters: []*pb.CampaignCounter{
			{CampaignId: proto.String("c1"), EventType: proto.String("click"), Count: proto.Int64(1), LastEventTime: proto.Int64(80e6)},
			{CampaignId: proto.String("c1"), EventType: proto.String("impression"), Count: proto.Int64(3), LastEventTime: proto.Int64(90e6)},
		},
		FirstSeen: proto.Int64(61e6), LastSeen: proto.Int64(90e6),
		DeviceType: proto.String("mobile"), PageUrl: proto.String("https://b/"),
	}, {
		UserId: proto.String("u2"), WindowStart: proto.Int64(60e6),
		Counters: []*pb.CampaignCounter{
			{EventType: proto.String("impression"), Count: proto.Int64(1), LastEventTime: proto.Int64(70e6)},
		},
		FirstSeen: proto.Int64(70e6), LastSeen: proto.Int64(70e6), DeviceType: proto.String("desktop"),
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
}

func TestUpdatesOfBrokenGroups(t *testing.T) {
	for name, g := range map[string]distinct.Group{
		"key":   {Key: []byte{9}},
		"rest":  {Key: []byte{1, 'u', 9}},
		"value": {Key: appendKey(nil, record("u", "c", "e", "", "")), Value: []byte{1}},
	} {
		if err := updates(&distinct.Restatement{Groups: []distinct.Group{g}}, func([]byte) {}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestShardDependsOnUserOnly(t *testing.T) {
	used := map[int64]bool{}
	for i := range 64 {
		user := []byte{byte(i)}
		s := shard(user, 4)
		if s < 0 || s >= 4 || s != shard(user, 4) {
			t.Fatalf("shard %d", s)
		}
		used[s] = true
	}
	if len(used) != 4 {
		t.Errorf("only shards %v", used)
	}
}
