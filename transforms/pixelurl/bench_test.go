package pixelurl

import (
	"net/url"
	"testing"
)

// benchmarkQuery is a query of ordinary size: 15 parameters, two of them escaped
// URLs, one unknown.
const benchmarkQuery = "ev=impression&iid=01HX8J9K2M4N6P8Q0R2S4T6V8W&adv=4711&cid=spring-sale-2026&li=99812&crid=cr-300x250-b" +
	"&pl=homepage_top&site=news.example.com&uid=u-7f3a9c21d4&price=2.375&cur=EUR&sz=300x250" +
	"&url=https%3A%2F%2Fnews.example.com%2Fworld%2Farticle-12345.html%3Fsection%3Dtop&ref=https%3A%2F%2Fwww.google.com%2F" +
	"&utm_campaign=spring&gdpr=1&cb=1714584428073884"

func BenchmarkParse(b *testing.B) {
	p := NewParser(DefaultDictionary())
	query := []byte(benchmarkQuery)
	var r Result
	b.SetBytes(int64(len(query)))
	b.ReportAllocs()
	for b.Loop() {
		p.Parse(query, &r)
		if string(r.Values[CampaignID]) != "spring-sale-2026" || r.Lint != 0 || !r.Width.Set ||
			string(r.Values[Referrer]) != "https://www.google.com/" {
			b.Fatalf("wrong result: %v", answerOf(&r))
		}
	}
}

func BenchmarkAppendParams(b *testing.B) {
	p := NewParser(DefaultDictionary())
	var r Result
	p.Parse([]byte(benchmarkQuery), &r)
	const want = `{"utm_campaign":"spring","gdpr":"1"}`
	b.SetBytes(int64(len(want)))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		if dst = r.AppendParams(dst[:0]); string(dst) != want {
			b.Fatalf("got %s", dst)
		}
	}
}

// BenchmarkParseNetURL is the standard library's part of the same work: it splits
// and decodes, and knows no columns.
func BenchmarkParseNetURL(b *testing.B) {
	b.SetBytes(int64(len(benchmarkQuery)))
	b.ReportAllocs()
	for b.Loop() {
		values, err := url.ParseQuery(benchmarkQuery)
		if err != nil || values.Get("cid") != "spring-sale-2026" || values.Get("ref") != "https://www.google.com/" {
			b.Fatalf("wrong result: %v, %v", values, err)
		}
	}
}

var benchmarkURL = []byte("https://pixel.example.com/pixel.gif?" + benchmarkQuery)

func BenchmarkSplit(b *testing.B) {
	b.SetBytes(int64(len(benchmarkURL)))
	b.ReportAllocs()
	for b.Loop() {
		u, ok := Split(benchmarkURL)
		if !ok || string(u.Host) != "pixel.example.com" || string(u.Path) != "/pixel.gif" || string(u.Query) != benchmarkQuery {
			b.Fatalf("wrong result: %v", u)
		}
	}
}

func BenchmarkSplitNetURL(b *testing.B) {
	b.SetBytes(int64(len(benchmarkURL)))
	b.ReportAllocs()
	for b.Loop() {
		u, err := url.Parse(string(benchmarkURL))
		if err != nil || u.Host != "pixel.example.com" || u.Path != "/pixel.gif" || u.RawQuery != benchmarkQuery {
			b.Fatalf("wrong result: %v, %v", u, err)
		}
	}
}
