package bigqueryd

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// clock sets the time of a view or statement: half past twelve, on a Wednesday.
var clock = strings.NewReplacer(
	"CURRENT_TIMESTAMP()", "TIMESTAMP '2026-05-06 12:30:30 UTC'",
	"CURRENT_DATE()", "DATE '2026-05-06'",
)

// minute is a time of 2026 in microseconds.
func minute(t testing.TB, monthDayTime string) *int64 {
	t.Helper()
	v, err := time.Parse("2006-01-02 15:04", "2026-"+monthDayTime)
	if err != nil {
		t.Fatal(err)
	}
	return proto.Int64(v.UnixMicro())
}

// optional is a column's value; "" is NULL.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// lines runs a query and returns the names of its columns and its rows as text,
// columns separated by a space. Numbers have four digits.
func lines(t testing.TB, c *bigquery.Client, sql string) string {
	t.Helper()
	it, err := c.Query(sql).Read(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var out [][]string
	for {
		var row []bigquery.Value
		err := it.Next(&row)
		if len(out) == 0 {
			var head []string
			for _, f := range it.Schema {
				head = append(head, f.Name)
			}
			out = append(out, head)
		}
		if err == iterator.Done {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		var cells []string
		for _, v := range row {
			switch v := v.(type) {
			case nil:
				cells = append(cells, "-")
			case float64:
				cells = append(cells, strconv.FormatFloat(v, 'g', 4, 64))
			default:
				cells = append(cells, fmt.Sprint(v))
			}
		}
		out = append(out, cells)
	}
	var b strings.Builder
	for _, cells := range out {
		b.WriteString(strings.Join(cells, " ") + "\n")
	}
	return b.String()
}

// TestViewResults compares every view of impressions with results that were found
// by hand.
func TestViewResults(t *testing.T) {
	s := startWithTables(t, Options{})
	c := restClient(t, s)

	const (
		a = "https://news.example/a"
		b = "https://news.example/b"
		x = "https://shop.example/x"
	)
	type entry struct {
		id, at, user, page, device, os, browser, version string
		event                                            string // "": impression
		invalid, lint                                    []string
		stranger                                         bool // no advertiser, no campaign
	}
	entries := []entry{
		// The week of 4 May.
		{id: "i1", at: "05-04 10:00", user: "u1", page: a + "?q=1#top", device: "desktop", os: "Windows", browser: "Chrome", version: "120.0.1"},
		{id: "i2", at: "05-04 10:01", user: "u1", page: a, device: "desktop", os: "Windows", browser: "Chrome", version: "120.5"},
		{id: "i2", at: "05-04 10:01", user: "u1", page: a, device: "desktop", os: "Windows", browser: "Chrome", version: "120.5"}, // a copy
		{id: "i3", at: "05-04 10:02", user: "u1", page: b, device: "desktop", os: "Linux", browser: "Firefox", version: "115"},
		{id: "i4", at: "05-04 10:03", user: "u2", page: a, device: "desktop", os: "Windows", browser: "Chrome", version: "120.5"},
		{id: "i5", at: "05-04 10:04", user: "u3", page: a, device: "bot", invalid: []string{"data_centre", "declared_bot"}},
		{id: "i6", at: "05-04 10:05", user: "u4", device: "bot", invalid: []string{"declared_bot"}},
		{id: "i7", at: "05-04 10:06", page: b, device: "desktop", os: "Linux", browser: "Firefox", version: "115.2"},
		{id: "c1", at: "05-04 10:07", user: "u1", page: a, device: "desktop", os: "Windows", browser: "Chrome", version: "120.5", event: "click"},
		// The week of 11 May.
		{id: "i8", at: "05-11 09:00", user: "u1", page: a, device: "desktop", os: "Windows", browser: "Chrome", version: "121", lint: []string{"no_cache_buster"}},
		{id: "i9", at: "05-11 09:01", user: "u2", page: a, device: "desktop", os: "Windows", browser: "Chrome", version: "121"},
		{id: "n1", at: "05-11 09:02", device: "unknown", lint: []string{"bad_number", "no_cache_buster"}, stranger: true},
	}
	for i := range 25 { // a user with more than 20
		entries = append(entries, entry{id: fmt.Sprint("m", i), at: "05-11 12:00", user: "u5", page: x, device: "desktop", os: "Windows", browser: "Chrome", version: "121"})
	}
	var rows []proto.Message
	for i, e := range entries {
		if e.event == "" {
			e.event = "impression"
		}
		m := &pixelbeamv1.Impression{
			InsertId: &e.id, EventTime: minute(t, e.at), ReceiveTime: proto.Int64(*minute(t, e.at) + int64(i)), EventType: &e.event, ImpressionId: &e.id,
			AdvertiserId: proto.String("acme"), CampaignId: proto.String("spring"), CreativeId: proto.String("cr"),
			PlacementId: proto.String("pl"), SiteId: proto.String("si"), CacheBuster: proto.String("1"),
			UserId: optional(e.user), PageUrl: optional(e.page), DeviceType: &e.device, Os: optional(e.os),
			Browser: optional(e.browser), BrowserVersion: optional(e.version), InvalidReasons: e.invalid, Lint: e.lint,
		}
		if e.page != "" {
			m.PageHost = proto.String(strings.Split(e.page, "/")[2])
		}
		if e.lint != nil {
			m.CacheBuster = nil
		}
		if e.stranger {
			m.AdvertiserId, m.CampaignId = nil, nil
		}
		rows = append(rows, m)
	}
	if err := appendRows(t, openWriter(t, s, "impressions", rows[0]), marshal(t, rows...)); err != nil {
		t.Fatal(err)
	}
	rows = nil
	for _, reason := range []string{"invalid_json", "no_insert_id", "invalid_json"} {
		rows = append(rows, &pixelbeamv1.RejectedEntry{ReceiveTime: minute(t, "05-05 00:00"), Reason: proto.String(reason), Stage: proto.String("parse")})
	}
	if err := appendRows(t, openWriter(t, s, "rejected_entries", rows[0]), marshal(t, rows...)); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct{ view, order, want string }{
		// u1 saw 4, u2 saw 2, u5 saw 25; u3 and u4 are invalid traffic.
		{"frequency_per_campaign", "frequency", `
advertiser_id campaign_id frequency users impressions users_at_least reach share average_frequency
acme spring 2 1 2 3 3 0.3333 10.33
acme spring 4 1 4 2 3 0.3333 10.33
acme spring 20 1 25 1 3 0.3333 10.33
`},
		{"frequency_per_week", "week, frequency", `
week advertiser_id campaign_id frequency users impressions users_at_least reach share average_frequency
2026-05-04 acme spring 1 1 1 2 2 0.5 2
2026-05-04 acme spring 3 1 3 1 2 0.5 2
2026-05-11 acme spring 1 2 2 3 3 0.6667 9
2026-05-11 acme spring 20 1 25 1 3 0.3333 9
`},
		{"top_pages", "day, advertiser_id, position", `
day advertiser_id campaign_id page_host page gross invalid net clicks users share position
2026-05-04 acme spring news.example https://news.example/a 4 1 3 1 2 0.6 1
2026-05-04 acme spring news.example https://news.example/b 2 0 2 0 1 0.4 2
2026-05-04 acme spring - - 1 1 0 0 0 0 3
2026-05-11 - - - - 1 0 1 0 0 1 1
2026-05-11 acme spring shop.example https://shop.example/x 25 0 25 0 1 0.9259 1
2026-05-11 acme spring news.example https://news.example/a 2 0 2 0 2 0.07407 2
`},
		{"browsers", "day, advertiser_id, device_type, os", `
day advertiser_id campaign_id device_type os browser browser_major gross invalid net clicks users click_rate share
2026-05-04 acme spring bot - - - 2 2 0 0 0 - 0
2026-05-04 acme spring desktop Linux Firefox 115 2 0 2 0 1 0 0.4
2026-05-04 acme spring desktop Windows Chrome 120 3 0 3 1 2 0.3333 0.6
2026-05-11 - - unknown - - - 1 0 1 0 0 0 1
2026-05-11 acme spring desktop Windows Chrome 121 27 0 27 0 3 0 1
`},
		{"invalid_traffic", "day, reason", `
day advertiser_id campaign_id event_type reason entries only_reason gross invalid net share
2026-05-04 acme spring impression data_centre 1 0 7 2 5 0.1429
2026-05-04 acme spring impression declared_bot 2 1 7 2 5 0.2857
`},
		{"data_quality", "day, advertiser_id, problem, name", `
day advertiser_id problem name entries total share
2026-05-04 acme duplicate impressions 1 9 0.1111
2026-05-04 acme missing page_url 1 8 0.125
2026-05-04 acme missing user_id 1 8 0.125
2026-05-05 - rejected invalid_json 2 3 0.6667
2026-05-05 - rejected no_insert_id 1 3 0.3333
2026-05-11 - lint bad_number 1 1 1
2026-05-11 - lint no_cache_buster 1 1 1
2026-05-11 - missing advertiser_id 1 1 1
2026-05-11 - missing cache_buster 1 1 1
2026-05-11 - missing campaign_id 1 1 1
2026-05-11 - missing page_url 1 1 1
2026-05-11 - missing user_id 1 1 1
2026-05-11 acme lint no_cache_buster 1 27 0.03704
2026-05-11 acme missing cache_buster 1 27 0.03704
`},
	} {
		got := lines(t, c, "SELECT * FROM pixelbeam."+tt.view+" ORDER BY "+tt.order)
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.view, diff)
		}
	}

	// Of 101 pages the one with the fewest impressions is left out.
	if _, err := s.Query(t.Context(), `INSERT INTO pixelbeam.impressions (insert_id, event_time, event_type, impression_id, advertiser_id, page_url)
		SELECT CONCAT(CAST(page AS STRING), '-', CAST(i AS STRING)), TIMESTAMP '2026-05-20 00:00:00', 'impression', 'i', 'many', CONCAT('https://h.example/', CAST(page AS STRING))
		FROM UNNEST(GENERATE_ARRAY(1, 101)) AS page, UNNEST(GENERATE_ARRAY(0, page)) AS i`); err != nil {
		t.Fatal(err)
	}
	got := lines(t, c, "SELECT COUNT(*) AS n, MIN(net) AS least, MAX(net) AS most FROM pixelbeam.top_pages WHERE advertiser_id = 'many'")
	if want := "n least most\n100 3 102\n"; got != want {
		t.Errorf("top_pages of 101: %q, want %q", got, want)
	}
}

// minuteCount is a row of impression_counts.
type minuteCount struct {
	at, advertiser, campaign, event string
	gross, invalid, part, pane      int64
	users                           [2]int // from, to; without any: no sketch
}

func appendCounts(t *testing.T, s *Server, counts ...minuteCount) {
	t.Helper()
	var rows []proto.Message
	for _, n := range counts {
		start := minute(t, n.at)
		m := &pixelbeamv1.ImpressionCount{
			WindowStart: start, WindowEnd: proto.Int64(*start + time.Minute.Microseconds()), AdvertiserId: &n.advertiser, CampaignId: optional(n.campaign),
			EventType: &n.event, Gross: &n.gross, Invalid: &n.invalid, Net: proto.Int64(n.gross - n.invalid), Part: &n.part, Pane: &n.pane, Clicks: proto.Int64(0),
		}
		if n.event == "click" {
			m.Clicks = &n.gross
		}
		if n.users[1] > 0 {
			m.Sketch = sketchOf(t, n.users[0], n.users[1])
		}
		rows = append(rows, m)
	}
	if err := appendRows(t, openWriter(t, s, "impression_counts", rows[0]), marshal(t, rows...)); err != nil {
		t.Fatal(err)
	}
}

// TestPacing: by half past twelve; the last 60 whole minutes are from 11:30.
func TestPacing(t *testing.T) {
	s := startWithTables(t, Options{})
	c := restClient(t, s)
	for _, v := range schemas.Views() {
		if v.Name == "pacing" {
			v.Query = clock.Replace(v.Query)
			if err := s.CreateView(t.Context(), testDataset, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	appendCounts(t, s,
		minuteCount{at: "05-04 10:00", advertiser: "acme", campaign: "spring", event: "impression", gross: 3},
		minuteCount{at: "05-04 10:00", advertiser: "acme", campaign: "spring", event: "impression", gross: 7, invalid: 2, pane: 1},
		minuteCount{at: "05-06 11:29", advertiser: "acme", campaign: "spring", event: "impression", gross: 10},
		minuteCount{at: "05-06 11:30", advertiser: "acme", campaign: "spring", event: "impression", gross: 20},
		minuteCount{at: "05-06 12:00", advertiser: "acme", campaign: "spring", event: "click", gross: 3},
		minuteCount{at: "05-06 12:29", advertiser: "acme", campaign: "spring", event: "impression", gross: 40},
		minuteCount{at: "05-06 12:30", advertiser: "acme", campaign: "spring", event: "impression", gross: 5},
		minuteCount{at: "05-05 23:59", advertiser: "acme", campaign: "stopped", event: "impression", gross: 9},
		minuteCount{at: "04-20 00:00", advertiser: "acme", campaign: "old", event: "impression", gross: 1},
	)
	// 60 in the last hour, and 11:29:30 hours left: 689.5, rounded, to come.
	const want = `advertiser_id campaign_id day delivered gross cumulative last_hour projected
acme spring 2026-05-04 5 7 5 - 5
acme spring 2026-05-05 0 0 5 - 0
acme spring 2026-05-06 75 75 80 60 765
acme stopped 2026-05-05 9 9 9 - 9
acme stopped 2026-05-06 0 0 9 0 0
`
	got := lines(t, c, "SELECT * FROM pixelbeam.pacing WHERE campaign_id != 'old' ORDER BY campaign_id, day")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	got = lines(t, c, "SELECT MIN(day) AS first, MAX(day) AS last, SUM(delivered) AS n FROM pixelbeam.pacing WHERE campaign_id = 'old'")
	if want := "first last n\n2026-04-20 2026-04-27 1\n"; got != want {
		t.Errorf("a campaign that ended: %q, want %q", got, want)
	}
}

// TestWeeklyRollup runs the scheduled statement as of Wednesday, 6 May: the weeks
// of 20 and 27 April are written, those before and after are not.
func TestWeeklyRollup(t *testing.T) {
	s := startWithTables(t, Options{})
	c := restClient(t, s)
	var rollup schemas.Scheduled
	for _, rollup = range schemas.ScheduledStatements() {
		if rollup.Name == "weekly_rollup" {
			break
		}
	}
	appendCounts(t, s,
		minuteCount{at: "04-19 23:59", advertiser: "w", event: "impression", gross: 1},
		minuteCount{at: "04-26 23:59", advertiser: "w", event: "impression", gross: 2, invalid: 1, users: [2]int{0, 2}},
		minuteCount{at: "04-27 00:00", advertiser: "w", event: "impression", gross: 3, users: [2]int{0, 3}},
		minuteCount{at: "04-27 00:00", advertiser: "w", event: "impression", gross: 4, users: [2]int{2, 6}, part: 1},
		minuteCount{at: "05-03 23:59", advertiser: "w", event: "impression", gross: 5},
		minuteCount{at: "05-03 23:59", advertiser: "w", event: "click", gross: 6, users: [2]int{0, 1}},
		minuteCount{at: "05-04 00:00", advertiser: "w", event: "impression", gross: 7},
	)
	if _, err := s.Query(t.Context(), `INSERT INTO pixelbeam.impression_counts_weekly (week, advertiser_id, event_type, gross, invalid, net, clicks, reach)
		VALUES (DATE '2026-04-13', 'w', 'impression', 99, 0, 99, 0, 0), (DATE '2026-04-27', 'gone', 'impression', 99, 0, 99, 0, 0)`); err != nil {
		t.Fatal(err)
	}
	check := func(when string, impressions int) {
		t.Helper()
		queryAll(t, c, clock.Replace(rollup.In(testDataset)))
		want := fmt.Sprintf(`week advertiser_id campaign_id event_type gross invalid net clicks reach users
2026-04-13 w - impression 99 0 99 0 0 0
2026-04-20 w - impression 2 1 1 0 2 2
2026-04-27 w - click 6 0 6 6 1 1
2026-04-27 w - impression %d 0 %[1]d 0 6 6
`, impressions)
		got := lines(t, c, `SELECT week, advertiser_id, campaign_id, event_type, gross, invalid, net, clicks, reach, HLL_COUNT.EXTRACT(sketch) AS users
			FROM pixelbeam.impression_counts_weekly ORDER BY week, event_type`)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", when, diff)
		}
	}
	check("first", 12)
	check("again", 12)
	appendCounts(t, s, minuteCount{at: "04-27 00:00", advertiser: "w", event: "impression", gross: 10, pane: 1, users: [2]int{0, 3}})
	check("after a late entry", 19)
	queryAll(t, c, rollup.In(testDataset)) // as it is: by today's date
}

// TestDocumentedQueries runs every example of docs/queries.md, which has to name
// every view.
func TestDocumentedQueries(t *testing.T) {
	doc, err := os.ReadFile("../../docs/queries.md")
	if err != nil {
		t.Fatal(err)
	}
	s := startWithTables(t, Options{})
	c := restClient(t, s)
	examples := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	for _, example := range examples {
		q := c.Query(example[1])
		q.DefaultDatasetID = testDataset
		if _, err := q.Read(t.Context()); err != nil {
			t.Errorf("%s\n%v", example[1], err)
		}
	}
	for _, view := range schemas.Views() {
		if !strings.Contains(string(doc), "`"+view.Name+"`") {
			t.Errorf("%s is not there", view.Name)
		}
	}
}
