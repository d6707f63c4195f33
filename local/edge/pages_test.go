package edge

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestSamplePage(t *testing.T) {
	r := newRig(t, Options{PixelPaths: []string{"/t.png"}, Status: func(context.Context) (Status, error) { return Status{}, nil }})
	resp, body := r.do(t, "GET", "/sample.html", nil)
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("status %d, header %v", resp.StatusCode, resp.Header)
	}
	tag := regexp.MustCompile(`<noscript><img src="([^"]+)"`).FindStringSubmatch(body)
	if tag == nil {
		t.Fatal("no pixel for browsers without scripts")
	}
	u, err := url.Parse(html.UnescapeString(tag[1]))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"adv", "cid", "crid", "pl", "uid", "url", "w", "h", "cb"} {
		if u.Query().Get(name) == "" {
			t.Errorf("the tag %s has no %s", u, name)
		}
		if !regexp.MustCompile(`[ {,]` + name + `: `).MatchString(body) {
			t.Errorf("the script has no %s", name)
		}
	}
	if got := u.Query().Get("url"); got != r.server.URL+"/sample.html" {
		t.Errorf("url is %q", got)
	}
	for _, want := range []string{`pixel("click")`, `"/t.png"`, `href="/status"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	_, again := r.do(t, "GET", "/sample.html", nil)
	if strings.Contains(again, u.Query().Get("cb")) {
		t.Error("the cache-buster comes twice")
	}
	// The tag's request is answered with the pixel and logged; pages are not.
	pixel, _ := r.do(t, "GET", u.String(), nil)
	if pixel.StatusCode != 200 || pixel.Header.Get("Content-Type") != "image/png" {
		t.Errorf("the tag's request got %d, %v", pixel.StatusCode, pixel.Header)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/status": "Log entries", "/status.json": `"entries"`} {
		if resp, body := r.do(t, "GET", path, nil); resp.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		if resp, _ := r.do(t, "POST", path, nil); resp.StatusCode != 405 {
			t.Errorf("POST %s: %d", path, resp.StatusCode)
		}
	}
	if entries := r.finish(t); len(entries) != 1 || entries[0].HTTPRequest["requestUrl"] != r.server.URL+u.String() {
		t.Errorf("entries %+v", entries)
	}
}

func TestStatus(t *testing.T) {
	status := Status{
		Started: time.Now().Add(-time.Hour),
		Entries: Entries{
			Published: 1234567, Read: 10, Impressions: 4, Rejected: 3, Ignored: 2, BigtableCells: 99,
			RejectedByReason: map[string]int64{"invalid_json": 3},
			IgnoredByReason:  map[string]int64{"not_a_pixel": 2},
		},
		Backlog:        7,
		Watermark:      time.Now(),
		Tables:         []Table{{"impressions", 4}, {"rejected_entries", 3}},
		Recent:         []map[string]any{{"campaign_id": "<script>x", "event_time": time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), "country": nil, "other": 1}},
		RecentRejected: []map[string]any{{"reason": "invalid_json", "payload": []byte("{" + strings.Repeat("x", 500))}},
		Addresses:      map[string]string{"Pub/Sub": "127.0.0.1:8085"},
	}
	r := newRig(t, Options{Status: func(context.Context) (Status, error) { return status, nil }})
	_, page := r.do(t, "GET", "/status", nil)
	for _, want := range []string{
		`http-equiv="refresh"`, "Up 1h0m0s", "1\u202f234\u202f567", "invalid_json", "not_a_pixel", "rejected_entries", "127.0.0.1:8085",
		"&lt;script&gt;x", "2026-01-02 03:04:05.006", "…", `Read and not yet decided<td class="n">1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	for _, not := range []string{"<script>x", "<th>country", "<th>other", "src=", "<link rel=\"stylesheet\""} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %s", not)
		}
	}
	resp, text := r.do(t, "GET", "/status.json", nil)
	var got Status
	if err := json.Unmarshal([]byte(text), &got); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s", err, text)
	}
	if got.Entries.RejectedByReason["invalid_json"] != 3 || got.Tables[1].Rows != 3 || !got.Started.Equal(status.Started) || got.Recent[0]["other"] != 1.0 {
		t.Errorf("read back %+v", got)
	}
}

func TestStatusErrors(t *testing.T) {
	r := newRig(t, Options{Status: func(context.Context) (Status, error) { return Status{}, errors.New("database is closed") }})
	for _, path := range []string{"/status", "/status.json"} {
		if resp, body := r.do(t, "GET", path, nil); resp.StatusCode != 503 || !strings.Contains(body, "database is closed") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	none := newRig(t, Options{})
	if resp, _ := none.do(t, "GET", "/status", nil); resp.StatusCode != 404 {
		t.Errorf("without a status: %d", resp.StatusCode)
	}
	if len(none.finish(t)) != 0 {
		t.Error("a page was logged")
	}
}

func TestGroup(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1 000", -1000: "-1 000", -100: "-100", 1234567: "1 234 567"} {
		if got := strings.ReplaceAll(group(n), "\u202f", " "); got != want {
			t.Errorf("group(%d) = %q, want %q", n, got, want)
		}
	}
}
