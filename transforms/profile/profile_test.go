package profile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"pixelbeam/schemas"
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

func group(r *impression.Record, count, first, last int64) distinct.Group {
	return distinct.Group{Key: appendKey(nil, r), Value: appendValue(nil, r), Count: count, First: first, Last: last}
}

// decoded is an update with what it holds.
type decoded struct {
	update  *pb.ProfileUpdate
	window  *pb.WindowCounters
	latest  *pb.LatestEvent
	counter []byte // the encoded window
}

// updatesOf returns the updates of a restatement.
func updatesOf(t testing.TB, e *encoder, r *distinct.Restatement) []decoded {
	t.Helper()
	var out []decoded
	err := e.updates(r, func(data []byte) {
		d := decoded{new(pb.ProfileUpdate), new(pb.WindowCounters), new(pb.LatestEvent), nil}
		if err := proto.Unmarshal(data, d.update); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(d.update.Counters, d.window); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(d.update.Latest, d.latest); err != nil {
			t.Fatal(err)
		}
		d.counter, d.update.Counters, d.update.Latest = d.update.Counters, nil, nil
		out = append(out, d)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUpdatesOfUsers(t *testing.T) {
	flagged := group(record("u1", "c1", "impression", "mobile", "https://b/"), 3, 61e6, 90e6)
	flagged.Flagged = 2
	var e encoder
	got := updatesOf(t, &e, &distinct.Restatement{WindowStart: 60e6, WindowEnd: 120e6, Groups: []distinct.Group{
		group(record("u1", "c1", "click", "mobile", "https://a/"), 1, 80e6, 80e6),
		flagged,
		group(record("u2", "", "impression", "desktop", ""), 1, 70e6, 70e6),
	}})
	want := []decoded{{
		update: &pb.ProfileUpdate{UserId: proto.String("u1"), WindowStart: proto.Int64(60e6), FirstSeen: proto.Int64(61e6)},
		window: &pb.WindowCounters{Counters: []*pb.CampaignCounter{
			{CampaignId: proto.String("c1"), EventType: proto.String("click"), LastEventOffset: proto.Int64(20e6)},
			{CampaignId: proto.String("c1"), Count: proto.Int64(3), Invalid: proto.Int64(2), LastEventOffset: proto.Int64(30e6)},
		}},
		latest: &pb.LatestEvent{EventTime: proto.Int64(90e6), DeviceType: proto.String("mobile"), PageUrl: proto.String("https://b/")},
	}, {
		update: &pb.ProfileUpdate{UserId: proto.String("u2"), WindowStart: proto.Int64(60e6), FirstSeen: proto.Int64(70e6)},
		window: &pb.WindowCounters{Counters: []*pb.CampaignCounter{{LastEventOffset: proto.Int64(10e6)}}},
		latest: &pb.LatestEvent{EventTime: proto.Int64(70e6), DeviceType: proto.String("desktop")},
	}}
	if len(got) != len(want) {
		t.Fatalf("%d updates, want %d", len(got), len(want))
	}
	for i := range want {
		for _, pair := range [][2]proto.Message{{want[i].update, got[i].update}, {want[i].window, got[i].window}, {want[i].latest, got[i].latest}} {
			if diff := cmp.Diff(pair[0], pair[1], protocmp.Transform()); diff != "" {
				t.Errorf("update %d (-want +got):\n%s", i, diff)
			}
		}
	}
	if e.bounded != (bounded{}) {
		t.Errorf("something was left out: %+v", e.bounded)
	}
	// The defaults that are not written are those of the message.
	if c := got[1].window.Counters[0]; c.GetEventType() != "impression" || c.GetCount() != 1 {
		t.Errorf("defaults: %v", c)
	}
}

func TestUpdatesOfBrokenGroups(t *testing.T) {
	for name, g := range map[string]distinct.Group{
		"key":   {Key: []byte{9}},
		"rest":  {Key: []byte{1, 'u', 9}},
		"value": {Key: appendKey(nil, record("u", "c", "e", "", "")), Value: []byte{1}},
	} {
		var e encoder
		if err := e.updates(&distinct.Restatement{Groups: []distinct.Group{g}}, func([]byte) {}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// checkBound checks a window against the counters that it was made of: it fits,
// it holds what has the largest counts, and what it lacks is accounted for.
func checkBound(t *testing.T, d decoded, groups []distinct.Group) {
	t.Helper()
	if len(d.counter) > schemas.MaxWindowCounters {
		t.Fatalf("window of %d bytes, the bound is %d", len(d.counter), schemas.MaxWindowCounters)
	}
	var events, kept int64
	for _, g := range groups {
		events += g.Count
	}
	for _, c := range d.window.Counters {
		kept += c.GetCount()
	}
	if left := d.window.GetTruncated(); kept+left.GetEvents() != events || len(d.window.Counters)+int(left.GetCounters()) != len(groups) {
		t.Fatalf("kept %d counters of %d events, left out %v; want %d counters of %d events in all", len(d.window.Counters), kept, left, len(groups), events)
	}
}

// A user with 10,000 campaigns in a minute costs one bounded cell.
func TestTooManyCampaigns(t *testing.T) {
	var groups []distinct.Group
	for i := range 10_000 {
		count := int64(1)
		if i%1000 == 7 {
			count = int64(5 + i)
		}
		at := 60e6 + int64(i)
		groups = append(groups, group(record("bot", fmt.Sprintf("campaign-%05d", i), "impression", "bot", ""), count, at, at))
	}
	var e encoder
	got := updatesOf(t, &e, &distinct.Restatement{WindowStart: 60e6, WindowEnd: 120e6, Groups: groups})
	if len(got) != 1 {
		t.Fatalf("%d updates, want 1", len(got))
	}
	checkBound(t, got[0], groups)
	if n := len(got[0].window.Counters); n < 45 {
		t.Errorf("%d counters kept, want at least 45 of such short ids", n)
	}
	var large int
	for _, c := range got[0].window.Counters {
		if c.GetCount() > 1 {
			large++
		}
	}
	if large != 10 {
		t.Errorf("%d of the 10 large counters kept", large)
	}
	left := got[0].window.GetTruncated()
	if left.GetMaxCount() != 1 {
		t.Errorf("largest counter left out: %d, want 1", left.GetMaxCount())
	}
	if want := (bounded{windows: 1, counters: left.GetCounters(), events: left.GetEvents()}); e.bounded != want {
		t.Errorf("counted %+v, want %+v", e.bounded, want)
	}
}

// A campaign id that can never fit takes no place from others.
func TestHugeCampaignID(t *testing.T) {
	groups := []distinct.Group{
		group(record("u", strings.Repeat("x", 2000), "impression", "", ""), 9, 61e6, 61e6),
		group(record("u", "c1", "impression", "", ""), 1, 62e6, 62e6),
	}
	var e encoder
	got := updatesOf(t, &e, &distinct.Restatement{WindowStart: 60e6, Groups: groups})[0]
	checkBound(t, got, groups)
	if len(got.window.Counters) != 1 || got.window.Counters[0].GetCampaignId() != "c1" || got.window.Truncated.GetMaxCount() != 9 {
		t.Errorf("window %v, want c1 kept", got.window)
	}
}

func TestLongAttributesAreCut(t *testing.T) {
	r := record("u", "c", "impression", strings.Repeat("d", schemas.MaxAttribute), "https://example.com/"+strings.Repeat("ü", schemas.MaxPageURL))
	r.OS = []byte(strings.Repeat("o", schemas.MaxAttribute+1))
	var e encoder
	got := updatesOf(t, &e, &distinct.Restatement{WindowStart: 60e6, Groups: []distinct.Group{group(r, 1, 60e6, 60e6)}})[0].latest
	if got.GetDeviceType() != string(r.DeviceType) {
		t.Errorf("device_type %q was changed", got.GetDeviceType())
	}
	for name, v := range map[string]struct {
		got, full string
		limit     int
	}{"os": {got.GetOs(), string(r.OS), schemas.MaxAttribute}, "page_url": {got.GetPageUrl(), string(r.PageURL), schemas.MaxPageURL}} {
		text, ok := strings.CutSuffix(v.got, "…")
		if !ok || !strings.HasPrefix(v.full, text) || len(v.got) > v.limit || len(v.got) < v.limit-utf8.UTFMax || !utf8.ValidString(v.got) {
			t.Errorf("%s is %q, %d bytes", name, v.got, len(v.got))
		}
	}
	if e.values != 2 {
		t.Errorf("%d values cut, want 2", e.values)
	}
	// Nor does the state of a window hold more than it needs.
	if n, most := len(appendValue(nil, r)), schemas.MaxPageURL+4*schemas.MaxAttribute+attributes*3; n > most {
		t.Errorf("the value of a group has %d bytes, more than %d", n, most)
	}
}

// What is written depends on the set of counters and not on who came before.
func FuzzWindowIsBounded(f *testing.F) {
	f.Add(uint64(1), 3, 10)
	f.Add(uint64(2), 300, 40)
	f.Add(uint64(3), 40, 900)
	f.Fuzz(func(t *testing.T, seed uint64, n, length int) {
		n, length = 1+abs(n)%2000, 1+abs(length)%1500
		rng := rand.New(rand.NewPCG(seed, 0))
		seen := map[string]bool{}
		var groups []distinct.Group
		for range n {
			id := strings.Repeat("c", rng.IntN(length)) + fmt.Sprint(rng.IntN(n))
			if seen[id] {
				continue
			}
			seen[id] = true
			last := 60e6 + rng.Int64N(60e6)
			groups = append(groups, group(record("u", id, []string{"impression", "click"}[rng.IntN(2)], "", ""), 1+rng.Int64N(1<<rng.IntN(40)), 60e6, last))
		}
		slices.SortFunc(groups, func(a, b distinct.Group) int { return bytes.Compare(a.Key, b.Key) })
		r := &distinct.Restatement{WindowStart: 60e6, Groups: groups}
		var e encoder
		first := updatesOf(t, &e, r)
		checkBound(t, first[0], groups)
		if again := updatesOf(t, &e, r); !bytes.Equal(again[0].counter, first[0].counter) {
			t.Error("the same groups give another window")
		}
	})
}

func abs(n int) int { return max(n, -(n + 1)) }

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

// BenchmarkUpdates makes the updates of 1,000 users with 5 counters each.
func BenchmarkUpdates(b *testing.B) {
	var groups []distinct.Group
	for u := range 1000 {
		for c := range 5 {
			groups = append(groups, group(record(fmt.Sprintf("user-%04d", u), fmt.Sprintf("campaign-%d", c), "impression", "mobile", "https://example.com/a/page"), 2, 61e6, 62e6))
		}
	}
	r := &distinct.Restatement{WindowStart: 60e6, Groups: groups}
	var e encoder
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := e.updates(r, func([]byte) { n++ }); err != nil || n != 1000 {
			b.Fatal(n, err)
		}
	}
}
