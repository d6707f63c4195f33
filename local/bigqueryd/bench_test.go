package bigqueryd

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"cloud.google.com/go/bigquery/storage/managedwriter"

	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// typicalImpression is about what the pipeline writes: 1 kB, 40 columns set.
func typicalImpression(i int) *pixelbeamv1.Impression {
	m := impression(fmt.Sprintf("1m9xk2f%07d", i))
	m.EventTime = proto.Int64(1_700_000_000_000_000 + int64(i)*500)
	m.ReceiveTime = proto.Int64(m.GetEventTime() + 1_200_000)
	for _, f := range []**string{
		&m.AdvertiserId, &m.CampaignId, &m.InsertionOrderId, &m.LineItemId, &m.CreativeId, &m.AdId, &m.PlacementId, &m.SiteId,
		&m.PublisherId, &m.UserId,
	} {
		*f = proto.String(fmt.Sprintf("id-%06d", i%997))
	}
	m.Price = proto.String("1.234567")
	m.Currency = proto.String("EUR")
	m.Width, m.Height = proto.Int64(300), proto.Int64(250)
	m.PageUrl = proto.String(fmt.Sprintf("https://news.example.com/articles/2026/11/some-long-title-%d?ref=home", i%5000))
	m.PageHost = proto.String("news.example.com")
	m.CacheBuster = proto.String(fmt.Sprint(1_000_000_007 * i))
	m.Params = proto.String(`{"utm_source":"newsletter","utm_medium":"email","gclid":"EAIaIQobChMI7","slot":"top"}`)
	m.RequestHost, m.RequestPath, m.RequestMethod = proto.String("px.example.com"), proto.String("/pixel.gif"), proto.String("GET")
	m.Status, m.RequestSize, m.ResponseSize, m.LatencyUs = proto.Int64(200), proto.Int64(812), proto.Int64(43), proto.Int64(1820)
	m.CacheHit, m.CacheLookup = proto.Bool(true), proto.Bool(true)
	m.Edge, m.StatusDetails, m.Ip, m.Country = proto.String("SIN"), proto.String("response_from_cache"), proto.String("203.0.113.0"), proto.String("SG")
	m.UserAgent = proto.String("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36")
	m.Browser, m.BrowserVersion, m.Os, m.OsVersion, m.DeviceType = proto.String("Chrome"), proto.String("130.0.0"), proto.String("Windows"), proto.String("10"), proto.String("desktop")
	m.Consent = &pixelbeamv1.Consent{Gdpr: proto.Bool(false)}
	m.Lint = []string{"no_cache_buster"}
	m.UrlMap = proto.String("pixel-url-map")
	return m
}

func typicalRows(b testing.TB, n int) [][]byte {
	var rows []proto.Message
	for i := range n {
		rows = append(rows, typicalImpression(i))
	}
	return marshal(b, rows...)
}

// BenchmarkAppend is what the client library and the server together do, in one
// process: 1,000 rows a request, several requests in flight, into a file.
func BenchmarkAppend(b *testing.B) {
	s := startWithTables(b, Options{Path: filepath.Join(b.TempDir(), "bench.duckdb")})
	rows := typicalRows(b, 1000)
	size := 0
	for _, r := range rows {
		size += len(r)
	}
	ms := openWriter(b, s, "impressions", &pixelbeamv1.Impression{})
	ctx := context.Background()
	b.SetBytes(int64(size / len(rows)))
	b.ReportAllocs()
	b.ResetTimer()
	var pending []*managedwriter.AppendResult
	settle := func(keep int) {
		for len(pending) > keep {
			if _, err := pending[0].GetResult(ctx); err != nil {
				b.Fatal(err)
			}
			pending = pending[1:]
		}
	}
	for n := 0; n < b.N; n += len(rows) {
		result, err := ms.AppendRows(ctx, rows)
		if err != nil {
			b.Fatal(err)
		}
		pending = append(pending, result)
		settle(16)
	}
	settle(0)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkDecode is the server's own part before DuckDB.
func BenchmarkDecode(b *testing.B) {
	t, err := tableOfSchema(testDataset, mustTable(b, "impressions"))
	if err != nil {
		b.Fatal(err)
	}
	d, err := newDecoder(descriptorOf(b, &pixelbeamv1.Impression{}), t.fields)
	if err != nil {
		b.Fatal(err)
	}
	rows := typicalRows(b, 1000)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(rows) {
		block, bad := d.decode(rows, nil)
		if bad != nil {
			b.Fatal(bad)
		}
		block.release()
	}
}

// BenchmarkCommit is the price of a transaction, whatever it holds: one row each.
func BenchmarkCommit(b *testing.B) {
	s := startWithTables(b, Options{Path: filepath.Join(b.TempDir(), "bench.duckdb"), CommitInterval: 1})
	ms := openWriter(b, s, "impressions", &pixelbeamv1.Impression{})
	rows := typicalRows(b, 1)
	for b.Loop() {
		if err := appendRows(b, ms, rows); err != nil {
			b.Fatal(err)
		}
	}
}
