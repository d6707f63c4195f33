package profileserver

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const checkBody = `{"users":["u-1","u-2"],"caps":[
	{"campaign_id":"spring","event_type":"click","limit":3,"period":"1d"}, {"limit":10,"campaign_id":"","period":"7d"}]}`

// The plainest form is read without encoding/json, or nothing is gained.
func TestParse(t *testing.T) {
	for body, want := range map[string]bool{
		checkBody: true, `{}`: true, ` { "users" : [ ] , "caps" : [ { } ] } `: true,
		strings.Replace(checkBody, "u-1", "ü", 1):              false,
		strings.Replace(checkBody, "u-1", `\u0041`, 1):         false,
		strings.Replace(checkBody, "users", "Users", 1):        false,
		strings.Replace(checkBody, "10", "1e1", 1):             false,
		strings.Replace(checkBody, "10", "010", 1):             false,
		strings.Replace(checkBody, `["u-1","u-2"]`, "null", 1): false,
		strings.Replace(checkBody, `"limit":10,`, "", 1) + "x": false,
		`{"users":["a"],"users":["b"]}`:                        false, `{"users":["a",]}`: false, `{"users":["a"],}`: false,
		`[]`: false, ``: false, `{`: false, `{"users":["a`: false, `{"caps":[{"limit":`: false,
	} {
		if got := new(checkRequest).parse(body); got != want {
			t.Errorf("parse(%s) = %v, want %v", body, got, want)
		}
	}
}

// Whatever is read without encoding/json is what encoding/json reads.
func FuzzParse(f *testing.F) {
	f.Add(checkBody)
	f.Add(`{"users":[],"caps":[{"limit":999999999999999999}]}`)
	f.Add(`{"users":["a"],"caps":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		var got, want checkRequest
		if !got.parse(body) {
			if diff := cmp.Diff(checkRequest{}, got); diff != "" {
				t.Errorf("what was not read has changed: %s", diff)
			}
			return
		}
		if err := decodeJSON(strings.NewReader(body), &want); err != nil {
			t.Fatalf("%q was read; encoding/json: %v", body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-encoding/json +parse)\n%s", body, diff)
		}
	})
}

// What is written without encoding/json is what it writes.
func FuzzAppendJSON(f *testing.F) {
	f.Add("u-1", "spring", "impression", "1d", "2026-01-02T03:04:05.000006Z", int64(3), int64(2), true)
	f.Add("ü\"\\<\x00\xff", "", "click", "7d", "", int64(-1), int64(0), false)
	f.Fuzz(func(t *testing.T, user, campaign, event, period, last string, limit, count int64, yes bool) {
		c := capDecision{CampaignID: campaign, EventType: event, Limit: limit, Allowed: yes, frequency: frequency{Period: period, Count: count, Invalid: limit}}
		if yes {
			c.AtMost, c.LastEventTime = &count, &last
		}
		a := checkAnswer{Users: []userDecision{
			{UserID: user, Known: yes, Allowed: []string{campaign, user}, Caps: []capDecision{c, {frequency: frequency{AtMost: &limit}}}},
			{Allowed: []string{}, Caps: []capDecision{}},
		}}
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(a); err != nil {
			t.Fatal(err)
		}
		if got := string(a.appendJSON(nil)) + "\n"; got != want.String() {
			t.Errorf("got  %s\nwant %s", got, want.String())
		}
	})
}

// BenchmarkJSON reads a request of ten caps and writes its answer, beside
// encoding/json.
func BenchmarkJSON(b *testing.B) {
	_, body, _ := bytes.Cut(request("user-1"), []byte("\r\n\r\n"))
	var req checkRequest
	if !req.parse(string(body)) {
		b.Fatalf("parse(%s)", body)
	}
	one, last := int64(1), "2026-01-02T03:04:05.000006Z"
	answer := checkAnswer{Users: []userDecision{{UserID: "user-1", Known: true}}}
	for _, c := range req.Caps {
		answer.Users[0].Allowed = append(answer.Users[0].Allowed, c.CampaignID)
		answer.Users[0].Caps = append(answer.Users[0].Caps, capDecision{c.CampaignID, c.EventType, c.Limit, frequency{c.Period, 1, &one, 0, &last}, true})
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var out []byte
		for b.Loop() {
			var req checkRequest
			if !req.parse(string(body)) {
				b.Fatal()
			}
			out = answer.appendJSON(out[:0])
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		var out bytes.Buffer
		for b.Loop() {
			var req checkRequest
			out.Reset()
			if decodeJSON(bytes.NewReader(body), &req) != nil || json.NewEncoder(&out).Encode(answer) != nil {
				b.Fatal()
			}
		}
	})
}
