package impression

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/useragent"
)

func converter(t testing.TB, opts Options) *Converter {
	t.Helper()
	c, err := NewConverter(opts, useragent.SharedCache())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// full is an entry with every field that becomes a column.
const full = `{"insertId":"i1","timestamp":"2026-01-15T12:00:00.123456789+01:00",
"receiveTimestamp":"2026-01-15T11:00:01.5Z","logName":"projects/p/logs/requests","severity":"INFO",
"httpRequest":{"requestMethod":"GET","requestUrl":"https://Px.Example.com:443/pixel.gif?ev=Viewable&adv=a1&cid=c1&io=o1&li=l1&crid=cr1&adid=ad1&pl=p1&site=s1&pub=pb1&dealid=d1&uid=u1&ifa=i-f&price=1.50&cur=EUR&sz=300x250&url=https%3A%2F%2FNews.Example%3A8080%2Fx%3Fy&ref=https://r.example/&click=https://shop.example/&cb=42&utm_campaign=sale&gdpr=1&gdpr_consent=CPtc&us_privacy=1YNN&iid=imp-7&k=1&k=2",
"status":200,"requestSize":"84","responseSize":308,"userAgent":"curl/7.81.0","referer":"https://ignored.example/","remoteIp":"203.0.113.93:4711","latency":"0.0021829s","cacheHit":true,"cacheLookup":true},
"jsonPayload":{"cacheId":"sin-7c9ff679","statusDetails":"response_from_cache","securityPolicyRequestData":{"remoteIpInfo":{"regionCode":"de"}}},
"resource":{"type":"http_load_balancer","labels":{"url_map_name":"pixel-map","backend_service_name":""}}}`

func TestFullRow(t *testing.T) {
	c := converter(t, Options{})
	var rec Record
	row, verdict := c.Convert(&logentry.Message{Data: []byte(full)}, nil, &rec)
	if verdict.Kind != Impression {
		t.Fatalf("verdict %+v", verdict)
	}
	got := new(pb.Impression)
	if err := proto.Unmarshal(row, got); err != nil {
		t.Fatal(err)
	}
	const want = `
insert_id: "i1" event_time: 1768474800123456 receive_time: 1768474801500000
event_type: "viewable" impression_id: "imp-7" advertiser_id: "a1" campaign_id: "c1"
insertion_order_id: "o1" line_item_id: "l1" creative_id: "cr1" ad_id: "ad1" placement_id: "p1"
site_id: "s1" publisher_id: "pb1" deal_id: "d1" user_id: "u1" device_id: "i-f"
price: "1.5" currency: "EUR" width: 300 height: 250
page_url: "https://News.Example:8080/x?y" page_host: "news.example"
referrer: "https://r.example/" referrer_host: "r.example" click_url: "https://shop.example/" cache_buster: "42"
params: "{\"utm_campaign\":\"sale\",\"gdpr\":\"1\",\"gdpr_consent\":\"CPtc\",\"us_privacy\":\"1YNN\",\"k\":[\"1\",\"2\"]}"
request_host: "px.example.com" request_path: "/pixel.gif" request_method: "GET" status: 200
request_size: 84 response_size: 308 latency_us: 2182 cache_hit: true cache_lookup: true edge: "SIN"
status_details: "response_from_cache" ip: "203.0.113.0" country: "DE"
user_agent: "curl/7.81.0" browser: "curl" browser_version: "7.81.0" device_type: "bot"
consent: { gdpr: true tc_string: true us_privacy: "1YNN" } url_map: "pixel-map"`
	expect := new(pb.Impression)
	if err := prototext.Unmarshal([]byte(want), expect); err != nil {
		t.Fatal(err)
	}
	// What uap-core calls the device of curl is its business.
	got.DeviceBrand, got.DeviceModel = nil, nil
	if diff := cmp.Diff(expect, got, protocmp.Transform()); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	for name, pair := range map[string][2]string{
		"EventType": {string(rec.EventType), "viewable"}, "AdvertiserID": {string(rec.AdvertiserID), "a1"},
		"CampaignID": {string(rec.CampaignID), "c1"}, "CreativeID": {string(rec.CreativeID), "cr1"},
		"PlacementID": {string(rec.PlacementID), "p1"}, "SiteID": {string(rec.SiteID), "s1"},
		"UserID": {string(rec.UserID), "u1"}, "PageURL": {string(rec.PageURL), "https://News.Example:8080/x?y"},
		"Country": {string(rec.Country), "DE"}, "Browser": {string(rec.Browser), "curl"}, "DeviceType": {string(rec.DeviceType), "bot"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("record %s = %q, want %q", name, pair[0], pair[1])
		}
	}
	if rec.EventTime != 1768474800123456 {
		t.Errorf("record EventTime = %d", rec.EventTime)
	}
}

// A bare request has few columns, and what is absent is NULL.
func TestBareRow(t *testing.T) {
	c := converter(t, Options{})
	const bare = `{"insertId":"i2","timestamp":"2026-01-15T12:00:00Z","httpRequest":{"requestMethod":"HEAD","requestUrl":"http://h/p.gif","referer":"https://Ref.example/a"}}`
	row, verdict := c.Convert(&logentry.Message{Data: []byte(bare)}, nil, new(Record))
	if verdict.Kind != Impression {
		t.Fatalf("verdict %+v", verdict)
	}
	got := new(pb.Impression)
	if err := proto.Unmarshal(row, got); err != nil {
		t.Fatal(err)
	}
	want := &pb.Impression{
		InsertId: proto.String("i2"), EventTime: proto.Int64(1768478400000000), EventType: proto.String("impression"),
		ImpressionId: proto.String("i2"), PageUrl: proto.String("https://Ref.example/a"), PageHost: proto.String("ref.example"),
		Params: proto.String("{}"), RequestHost: proto.String("h"), RequestPath: proto.String("/p.gif"),
		RequestMethod: proto.String("HEAD"), DeviceType: proto.String("unknown"), Lint: []string{"no_cache_buster"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

// entry builds an entry from parts; "" leaves a part out.
func entry(insertID, timestamp, request, rest string) string {
	var parts []string
	for _, p := range [][2]string{{"insertId", insertID}, {"timestamp", timestamp}, {"httpRequest", request}} {
		if p[1] != "" {
			parts = append(parts, `"`+p[0]+`":`+p[1])
		}
	}
	if rest != "" {
		parts = append(parts, rest)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestVerdicts(t *testing.T) {
	const (
		id   = `"i"`
		at   = `"2026-01-15T12:00:00Z"`
		good = `{"requestMethod":"GET","requestUrl":"http://h/pixel.gif","status":200}`
	)
	request := func(s string) string { return entry(id, at, s, "") }
	for _, test := range []struct {
		name, data, attribute string
		kind                  Kind
		reason                logentry.Reason
	}{
		{"good", request(good), "", Impression, ""},
		{"not JSON", "hello", "", Rejected, logentry.ReasonInvalidJSON},
		{"not an object", `[1]`, "", Rejected, logentry.ReasonInvalidJSON},
		{"truncated", request(good)[:40], "", Rejected, logentry.ReasonInvalidJSON},
		{"empty", "", "", Rejected, logentry.ReasonInvalidJSON},
		{"not UTF-8", entry(id, at, good, "\"x\":\"\xff\""), "", Rejected, logentry.ReasonInvalidJSON},
		{"100,000 brackets", entry(id, at, good, `"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)), "", Rejected, logentry.ReasonInvalidJSON},
		{"too large", entry(id, at, good, `"x":"`+strings.Repeat("a", 256<<10)+`"`), "", Rejected, logentry.ReasonTooLarge},
		{"broken and too large", strings.Repeat("a", 256<<10+1), "", Rejected, logentry.ReasonInvalidJSON},
		{"no request", entry(id, at, "", ""), "", Rejected, logentry.ReasonNotARequest},
		{"no URL", request(`{"requestMethod":"GET"}`), "", Rejected, logentry.ReasonNotARequest},
		{"no host", request(`{"requestUrl":"http:///pixel.gif"}`), "", Rejected, logentry.ReasonInvalidURL},
		{"ftp", request(`{"requestUrl":"ftp://h/pixel.gif"}`), "", Rejected, logentry.ReasonInvalidURL},
		{"request of the wrong type", request(`"x"`), "", Rejected, logentry.ReasonInvalidField},
		{"status of the wrong type", request(`{"requestUrl":"http://h/pixel.gif","status":"abc"}`), "", Rejected, logentry.ReasonInvalidField},
		{"status of the wrong type, no URL", request(`{"status":"abc"}`), "", Rejected, logentry.ReasonNotARequest},
		{"status as a string", request(`{"requestMethod":"GET","requestUrl":"http://h/pixel.gif","status":"200"}`), "", Impression, ""},
		{"no time", entry(id, "", good, ""), "", Rejected, logentry.ReasonNoTimestamp},
		{"bad time", entry(id, `"yesterday"`, good, ""), "", Rejected, logentry.ReasonNoTimestamp},
		{"time of the attribute", entry(id, "", good, ""), "2026-01-15T12:00:00Z", Impression, ""},
		{"receive time", entry(id, "", good, `"receiveTimestamp":`+at), "nonsense", Impression, ""},
		{"no insertId", entry("", at, good, ""), "", Rejected, logentry.ReasonNoInsertID},
		{"cdn by parent", entry(id, at, good, `"jsonPayload":{"parentInsertId":"x"}`), "", Ignored, logentry.ReasonCDNInternal},
		{"cdn by agent", request(`{"requestUrl":"http://h/other","userAgent":"Cloud-CDN-Google"}`), "", Ignored, logentry.ReasonCDNInternal},
		{"other path", request(`{"requestMethod":"POST","requestUrl":"http://h/Pixel.gif"}`), "", Ignored, logentry.ReasonNotAPixel},
		{"escaped path", request(`{"requestMethod":"GET","requestUrl":"http://h/pi%78el.gif"}`), "", Impression, ""},
		{"method", request(`{"requestMethod":"POST","requestUrl":"http://h/pixel.gif","status":404}`), "", Ignored, logentry.ReasonMethod},
		{"no method", request(`{"requestUrl":"http://h/pixel.gif"}`), "", Ignored, logentry.ReasonMethod},
		{"404", request(`{"requestMethod":"GET","requestUrl":"http://h/pixel.gif","status":404}`), "", Ignored, logentry.ReasonErrorStatus},
		{"304", request(`{"requestMethod":"GET","requestUrl":"http://h/pixel.gif","status":304}`), "", Impression, ""},
		{"no status", request(`{"requestMethod":"GET","requestUrl":"http://h/pixel.gif"}`), "", Impression, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := converter(t, Options{})
			// Twice on one converter, with another entry between.
			for range 2 {
				row, v := c.Convert(&logentry.Message{Data: []byte(test.data), Timestamp: test.attribute}, nil, new(Record))
				if v.Kind != test.kind || v.Reason != test.reason {
					t.Fatalf("got %d %q (%s), want %d %q", v.Kind, v.Reason, v.Detail, test.kind, test.reason)
				}
				if (len(row) > 0) != (test.kind == Impression) {
					t.Errorf("row of %d bytes", len(row))
				}
				if (v.Detail != "") != (test.kind == Rejected) {
					t.Errorf("detail %q", v.Detail)
				}
				c.Convert(&logentry.Message{Data: []byte(full)}, nil, new(Record))
			}
		})
	}
}

// The columns and the constants agree.
func TestFieldNumbers(t *testing.T) {
	check := func(m protoreflect.MessageDescriptor, want map[string]protoreflect.FieldNumber) {
		for name, number := range want {
			f := m.Fields().ByName(protoreflect.Name(name))
			if f == nil || f.Number() != number {
				t.Errorf("%s.%s has not the number %d", m.Name(), name, number)
			}
		}
	}
	check((*pb.Impression)(nil).ProtoReflect().Descriptor(), map[string]protoreflect.FieldNumber{
		"insert_id": fieldInsertID, "params": fieldParams, "consent": fieldConsent, "lint": fieldLint, "url_map": fieldURLMap,
	})
	check((*pb.Consent)(nil).ProtoReflect().Descriptor(), map[string]protoreflect.FieldNumber{
		"gdpr": fieldGDPR, "tc_string": fieldTCString, "us_privacy": fieldUSPrivacy, "gpp_string": fieldGPPString, "coppa": fieldCOPPA, "gpc": fieldGPC,
	})
}

func TestIDsNameEntries(t *testing.T) {
	c := converter(t, Options{})
	id := func(data string) [2]int64 {
		var rec Record
		if _, v := c.Convert(&logentry.Message{Data: []byte(data)}, nil, &rec); v.Kind != Impression {
			t.Fatalf("%+v", v)
		}
		return [2]int64{rec.IDHigh, rec.IDLow}
	}
	a := id(full)
	if id(full) != a {
		t.Error("copies of an entry have two ids")
	}
	if id(strings.Replace(full, `"i1"`, `"i3"`, 1)) == a || id(strings.Replace(full, "12:00:00.12", "12:00:00.13", 1)) == a {
		t.Error("two entries have one id")
	}
	// The table keeps microseconds, so what is below them makes no difference.
	if id(strings.Replace(full, "123456789", "123456", 1)) != a {
		t.Error("nanoseconds make another entry")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, opts := range map[string]Options{
		"relative path": {PixelPaths: []string{"pixel.gif"}},
		"dictionary":    {Dictionary: []byte(`[{"kind":"column","name":"x","column":"no_such_column"}]`)},
	} {
		if _, err := NewConverter(opts, useragent.SharedCache()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRejectedRowKeepsBytes(t *testing.T) {
	payload := []byte("\x00\xffnot json")
	m := &logentry.Message{Data: payload, ReceiveTime: 5, Origin: "f.json", Offset: 12}
	row := RejectedRow(m, "parse", "invalid_json", "why")
	got := new(pb.RejectedEntry)
	if err := proto.Unmarshal(row.Data, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Payload, payload) || got.GetReceiveTime() != 5 || got.GetReason() != "invalid_json" ||
		got.GetDetail() != "why" || got.GetStage() != "parse" || got.GetSource() != "f.json@12" {
		t.Errorf("got %v", got)
	}
}
