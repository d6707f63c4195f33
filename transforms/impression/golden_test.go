package impression

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/logentry"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// readEntries returns the entries of a file of JSON lines.
func readEntries(t testing.TB, path string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) < 2 {
		t.Fatalf("%s has %d entries", path, len(lines))
	}
	return lines
}

// entryFiles are entries as real load balancers wrote them, and of the traffic
// generator (local/traffic, 160 entries of seed 7 with large shares of all that
// is odd), with the rows that they make.
var entryFiles = []struct{ entries, golden string }{
	{"../logentry/testdata/lb-log-samples.jsonl", "testdata/samples.golden"},
	{"testdata/pixel-samples.jsonl", "testdata/pixel-samples.golden"},
	{"testdata/traffic.jsonl", "testdata/traffic.golden"},
}

// allEntries returns the entries of all files, and full.
func allEntries(t testing.TB) [][]byte {
	out := [][]byte{[]byte(full)}
	for _, f := range entryFiles {
		out = append(out, readEntries(t, f.entries)...)
	}
	return out
}

// A judge converts with the fast code, each entry twice with others between, and
// holds the results to the reference.
type judge struct {
	testing.TB
	c *Converter
}

func newJudge(t testing.TB) *judge { return &judge{t, converter(t, Options{})} }

// distractors leave as much behind in a used Converter as can be: an entry with
// all columns and escapes everywhere, a broken one, one with faulty fields.
var distractors = [][]byte{
	[]byte(strings.NewReplacer("a", `\u0061`, "1", `\u0031`).Replace(strings.ReplaceAll(full, "\n", "")) + "}"),
	[]byte(strings.ReplaceAll(full, "/", `\/`)),
	[]byte(`{"insertId":1,"httpRequest":{"requestUrl":[2],"status":"x"},"a":[[[{"b":`),
}

// convert returns the outcome for an entry. Impressions are returned as messages.
func (j *judge) convert(data []byte, attribute string) (*pb.Impression, Verdict) {
	j.Helper()
	// A buffer that is full elsewhere, as in a worker.
	const before = "what stands before"
	once := func() ([]byte, Verdict, Record) {
		input := bytes.Clone(data)
		var rec Record
		row, v := j.c.Convert(&logentry.Message{Data: input, Timestamp: attribute}, nil, &rec)
		if !bytes.Equal(input, data) {
			j.Fatalf("Convert changed its input:\n%q\n%q", data, input)
		}
		clear(input) // the row must not borrow from it
		return row, v, rec
	}
	first, v1, rec := once()
	for _, d := range distractors {
		j.c.Convert(&logentry.Message{Data: d}, []byte(before)[:0:0], new(Record))
	}
	second, v2, _ := once()
	if v1 != v2 || !bytes.Equal(first, second) {
		j.Fatalf("a second conversion differs: %+v, then %+v\n%q\n%q\nof %q", v1, v2, first, second, data)
	}
	if v1.Kind != Impression {
		if len(first) > 0 {
			j.Fatalf("a row for %+v", v1)
		}
		return nil, v1
	}
	row := new(pb.Impression)
	if err := proto.Unmarshal(first, row); err != nil {
		j.Fatalf("row of %q: %v", data, err)
	}
	// The record says what the row says.
	m := row.ProtoReflect()
	fields := reflect.ValueOf(rec)
	for name, column := range map[string]string{
		"EventType": "event_type", "AdvertiserID": "advertiser_id", "CampaignID": "campaign_id", "CreativeID": "creative_id",
		"PlacementID": "placement_id", "SiteID": "site_id", "UserID": "user_id", "PageURL": "page_url", "Country": "country",
		"Browser": "browser", "OS": "os", "DeviceType": "device_type",
	} {
		got, want := fields.FieldByName(name).Bytes(), m.Get(m.Descriptor().Fields().ByTextName(column)).String()
		if string(got) != want {
			j.Fatalf("record's %s is %q, the row's is %q", name, got, want)
		}
	}
	if rec.EventTime != row.GetEventTime() {
		j.Fatalf("record's time is %d, the row's is %d", rec.EventTime, row.GetEventTime())
	}
	return row, v1
}

// check converts an entry and compares with the reference.
func (j *judge) check(data []byte, attribute string) (*pb.Impression, Verdict) {
	j.Helper()
	got, v := j.convert(data, attribute)
	want, reason := referenceConvert(data, attribute)
	if v.Reason != reason || (got == nil) != (want == nil) {
		j.Fatalf("%q (%s), the reference says %q, of entry\n%q", v.Reason, v.Detail, reason, data)
	}
	if want != nil && !proto.Equal(want, got) {
		j.Fatalf("(-reference +row), entry\n%q\n%s", data, cmp.Diff(want, got, protocmp.Transform()))
	}
	return got, v
}

// TestGolden compares rows of known entries with what was read and found right
// once, and with the reference. go test -update writes them anew; read the
// difference.
func TestGolden(t *testing.T) {
	for _, f := range entryFiles {
		t.Run(f.golden, func(t *testing.T) {
			j := newJudge(t)
			var out bytes.Buffer
			for i, data := range readEntries(t, f.entries) {
				row, v := j.check(data, "")
				fmt.Fprintf(&out, "# %d %s%s\n", i+1, [...]string{"impression", "rejected ", "ignored "}[v.Kind], v.Reason)
				if row == nil {
					continue
				}
				// protojson adds white space at random; compact it.
				text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(row)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Indent(&out, text, "", " "); err != nil {
					t.Fatal(err)
				}
				out.WriteByte('\n')
			}
			if *update {
				if err := os.WriteFile(f.golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(f.golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(out.String(), "\n")); diff != "" {
				t.Errorf("(-golden +row):\n%s", diff)
			}
		})
	}
}

// FuzzEntry compares with the reference on any bytes.
func FuzzEntry(f *testing.F) {
	for i, data := range allEntries(f) {
		f.Add(data, []string{"", "2026-01-15T12:00:00+01:00", "nonsense"}[i%3])
	}
	f.Add([]byte("{}"), "")
	j := newJudge(f)
	f.Fuzz(func(t *testing.T, data []byte, attribute string) {
		j.TB = t
		j.check(data, attribute)
	})
}

// FuzzShapes compares with the reference on real entries, changed and written in
// all the ways that JSON allows.
func FuzzShapes(f *testing.F) {
	entries := allEntries(f)
	for i := range entries {
		f.Add(uint16(i), uint64(0), "x")
		f.Add(uint16(i), uint64(i), "a=%41&\u00e9")
	}
	j := newJudge(f)
	f.Fuzz(func(t *testing.T, which uint16, seed uint64, text string) {
		j.TB = t
		j.check(shape(entries[int(which)%len(entries)], seed, text), "")
	})
}

// TestShapes runs through many shapes of each entry, as FuzzShapes does, and
// sees that they come to all outcomes.
func TestShapes(t *testing.T) {
	rounds := uint64(40)
	if testing.Short() {
		rounds = 4
	}
	j := newJudge(t)
	seen := map[logentry.Reason]int{}
	for i, data := range allEntries(t) {
		for round := range rounds {
			_, v := j.check(shape(data, uint64(i)*1000+round, "%66&x=\u00e9"), "")
			seen[v.Reason]++
		}
	}
	for _, reason := range append(append(logentry.RejectReasons(), logentry.IgnoreReasons()...), "") {
		// Entries of more than 256 KiB have a test of their own.
		if seen[reason] == 0 && reason != logentry.ReasonTooLarge {
			t.Errorf("no entry came to %q; %v", reason, seen)
		}
	}
}
