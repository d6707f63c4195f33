package logentry

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// benchmarkURL has a query of ordinary size, with 15 parameters.
const benchmarkURL = "https://pixel.example.com/pixel.gif?ev=impression&iid=01HX8J9K2M4N6P8Q0R2S4T6V8W&adv=4711&cid=spring-sale-2026&li=99812&crid=cr-300x250-b" +
	"&pl=homepage_top&site=news.example.com&uid=u-7f3a9c21d4&price=2.375&cur=EUR&sz=300x250" +
	"&url=https%3A%2F%2Fnews.example.com%2Fworld%2Farticle-12345.html&gdpr=1&cb=1714584428073884"

// benchmarkEntry is an entry of ordinary size, with the ampersands of its URL
// escaped.
var benchmarkEntry = func() []byte {
	url := strings.ReplaceAll(benchmarkURL, "&", `\u0026`)
	return []byte(`{"insertId":"jzp0p2filex0m","jsonPayload":{"@type":"type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry",` +
		`"cacheId":"SIN-63b91979","backendTargetProjectNumber":"projects/123456789012","remoteIp":"203.0.113.93",` +
		`"statusDetails":"response_from_cache","cacheDecision":["RESPONSE_HAS_CACHE_CONTROL","RESPONSE_HAS_ETAG","CACHE_MODE_FORCE_CACHE_ALL"]},` +
		`"httpRequest":{"requestMethod":"GET","requestUrl":"` + url + `","requestSize":"84","status":200,` +
		`"responseSize":"43","userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",` +
		`"referer":"https://news.example.com/","remoteIp":"203.0.113.93","cacheHit":true,"cacheLookup":true,"latency":"0.002182s"},` +
		`"resource":{"type":"http_load_balancer","labels":{"forwarding_rule_name":"pixel","project_id":"example-project",` +
		`"target_proxy_name":"pixel-target-proxy","url_map_name":"pixel","backend_service_name":"","zone":"global"}},` +
		`"timestamp":"2024-05-01T17:27:08.059694Z","severity":"INFO","logName":"projects/example-project/logs/requests",` +
		`"trace":"projects/example-project/traces/d90b3ece3b8b6ab19a63bc323165e7a2","receiveTimestamp":"2024-05-01T17:27:09.124426067Z",` +
		`"spanId":"59a92a2159c0a102"}`)
}()

var benchmarkTime = time.Date(2024, 5, 1, 17, 27, 8, 59694000, time.UTC)

func BenchmarkDecode(b *testing.B) {
	var d Decoder
	var e Entry
	b.SetBytes(int64(len(benchmarkEntry)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(benchmarkEntry, &e); err != nil || e.EventTime.Value != benchmarkTime.UnixMicro() ||
			e.ResponseSize.Value != 43 || len(e.URL) != len(benchmarkURL) || string(e.URLMap) != "pixel" || e.FieldError != nil {
			b.Fatalf("wrong result: %v, %+v, %d", err, e, len(e.URL))
		}
	}
}

// BenchmarkDecodeEncodingJSON is the same work as the standard library does it,
// with the fields of Entry and no others.
func BenchmarkDecodeEncodingJSON(b *testing.B) {
	b.SetBytes(int64(len(benchmarkEntry)))
	b.ReportAllocs()
	for b.Loop() {
		var e struct {
			InsertID         string    `json:"insertId"`
			Timestamp        time.Time `json:"timestamp"`
			ReceiveTimestamp time.Time `json:"receiveTimestamp"`
			JSONPayload      struct {
				ParentInsertID            *string `json:"parentInsertId"`
				CacheID                   string  `json:"cacheId"`
				StatusDetails             string  `json:"statusDetails"`
				RemoteIP                  string  `json:"remoteIp"`
				SecurityPolicyRequestData struct {
					RemoteIPInfo struct {
						RegionCode string `json:"regionCode"`
					} `json:"remoteIpInfo"`
				} `json:"securityPolicyRequestData"`
			} `json:"jsonPayload"`
			HTTPRequest struct {
				Method       string `json:"requestMethod"`
				URL          string `json:"requestUrl"`
				UserAgent    string `json:"userAgent"`
				Referer      string `json:"referer"`
				RemoteIP     string `json:"remoteIp"`
				Status       *int64 `json:"status"`
				RequestSize  *int64 `json:"requestSize,string"`
				ResponseSize *int64 `json:"responseSize,string"`
				Latency      string `json:"latency"`
				CacheHit     *bool  `json:"cacheHit"`
				CacheLookup  *bool  `json:"cacheLookup"`
			} `json:"httpRequest"`
			Resource struct {
				Labels struct {
					URLMapName string `json:"url_map_name"`
				} `json:"labels"`
			} `json:"resource"`
		}
		if err := json.Unmarshal(benchmarkEntry, &e); err != nil || !e.Timestamp.Equal(benchmarkTime) ||
			*e.HTTPRequest.ResponseSize != 43 || len(e.HTTPRequest.URL) != len(benchmarkURL) || e.Resource.Labels.URLMapName != "pixel" {
			b.Fatalf("wrong result: %v, %+v", err, e)
		}
	}
}

func BenchmarkParseTime(b *testing.B) {
	in := []byte("2024-05-01T17:27:08.059694Z")
	b.ReportAllocs()
	for b.Loop() {
		if v, ok := ParseTime(in); !ok || v != benchmarkTime.UnixMicro() {
			b.Fatalf("wrong result: %v, %v", v, ok)
		}
	}
}

func BenchmarkParseTimePackageTime(b *testing.B) {
	in := []byte("2024-05-01T17:27:08.059694Z")
	b.ReportAllocs()
	for b.Loop() {
		if v, err := time.Parse(time.RFC3339Nano, string(in)); err != nil || v.UnixMicro() != benchmarkTime.UnixMicro() {
			b.Fatalf("wrong result: %v, %v", v, err)
		}
	}
}

func TestDecodeAllocates(t *testing.T) {
	var d Decoder
	var e Entry
	lines := append(samples(t), benchmarkEntry, []byte(full))
	decode := func() {
		for _, line := range lines {
			if err := d.Decode(line, &e); err != nil {
				t.Error(err)
			}
		}
	}
	decode() // let buffers grow
	if n := testing.AllocsPerRun(100, decode); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
