package bigqueryd

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// fullImpression has every column set, texts on both sides of DuckDB's 12 bytes
// for inline strings, and zero values where NULL would be something else.
func fullImpression() *pixelbeamv1.Impression {
	m := impression("full")
	m.ReceiveTime = proto.Int64(0)
	m.AdvertiserId = proto.String("twelve bytes")
	m.CampaignId = proto.String("thirteen byte")
	m.UserId = proto.String("")
	m.Price = proto.String("-1234567.000000009")
	m.Width = proto.Int64(0)
	m.CacheHit = proto.Bool(false)
	m.CacheLookup = proto.Bool(true)
	m.PageUrl = proto.String("https://example.com/" + strings.Repeat("ü", 1000))
	m.Params = proto.String(`{"utm_source": "x", "n": 12345678901234567890.10, "a": ["b", "c"]}`)
	m.InvalidReasons = []string{"declared_bot", "", "a reason longer than twelve bytes"}
	m.Consent = &pixelbeamv1.Consent{Gdpr: proto.Bool(true), UsPrivacy: proto.String("1YNN")}
	return m
}

func TestDefaultStreamReadBack(t *testing.T) {
	s := startWithTables(t, Options{})
	ms := openWriter(t, s, "impressions", &pixelbeamv1.Impression{})
	if err := appendRows(t, ms, marshal(t, fullImpression(), impression("bare"))); err != nil {
		t.Fatal(err)
	}
	client := restClient(t, s)
	wantFull := map[string]bigquery.Value{
		"insert_id": "full", "event_time": time.UnixMicro(1_700_000_000_123_456).UTC(), "receive_time": time.UnixMicro(0).UTC(),
		"advertiser_id": "twelve bytes", "campaign_id": "thirteen byte", "user_id": "", "device_id": nil, "width": int64(0), "height": nil,
		"cache_hit": false, "cache_lookup": true, "page_url": "https://example.com/" + strings.Repeat("ü", 1000),
		"params":          `{"utm_source": "x", "n": 12345678901234567890.10, "a": ["b", "c"]}`,
		"invalid_reasons": []bigquery.Value{"declared_bot", "", "a reason longer than twelve bytes"}, "lint": []bigquery.Value{},
		"consent": map[string]bigquery.Value{"gdpr": true, "tc_string": nil, "us_privacy": "1YNN", "gpp_string": nil, "coppa": nil, "gpc": nil},
	}
	wantBare := map[string]bigquery.Value{
		"insert_id": "bare", "receive_time": nil, "advertiser_id": nil, "width": nil, "cache_hit": nil, "params": nil, "price": nil,
		"invalid_reasons": []bigquery.Value{}, "consent": nil,
	}
	check := func(t *testing.T, rows []map[string]bigquery.Value) {
		t.Helper()
		if len(rows) != 2 {
			t.Fatalf("%d rows", len(rows))
		}
		for i, want := range []map[string]bigquery.Value{wantFull, wantBare} {
			if len(rows[i]) != 53 {
				t.Errorf("row %d has %d columns", i, len(rows[i]))
			}
			for name, value := range want {
				if diff := cmp.Diff(value, rows[i][name]); diff != "" {
					t.Errorf("row %d, %s: -want +got\n%s", i, name, diff)
				}
			}
		}
		want, _ := new(big.Rat).SetString("-1234567.000000009")
		if got, ok := rows[0]["price"].(*big.Rat); !ok || got.Cmp(want) != 0 {
			t.Errorf("price = %v, want %v", rows[0]["price"], want)
		}
	}
	t.Run("query", func(t *testing.T) {
		check(t, queryAll(t, client, "SELECT * FROM `pixelbeam-local.pixelbeam.impressions` ORDER BY insert_id DESC"))
	})
	t.Run("view", func(t *testing.T) {
		check(t, queryAll(t, client, "SELECT * FROM pixelbeam.impressions_unique ORDER BY insert_id DESC"))
	})
	t.Run("table", func(t *testing.T) {
		rows, err := readAll(client.Dataset(testDataset).Table("impressions").Read(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		check(t, rows)
	})
}
