package cost

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// At 100,000 requests/s of 1,600 bytes, 730 h are 2.628e11 requests.
func TestBillAt100k(t *testing.T) {
	e, err := Of(DefaultLoad(100_000), DefaultPrices())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"cdn_lookup": 197_100, // 26,280,000 x 0.0075
		// 2.628e11 x 500 / 2^30 = 122,375.8 GiB: 10,240 x 0.08 + 112,135.8 x 0.055
		"cdn_egress": 6_986.67,
		"lb_rules":   18.25, // 730 x 0.025
		// 2 x 2.628e11 x 1,699 / 2^40 = 812.17 TiB
		"pubsub": 32_486.79,
		// 2.628e11 x 1,280 / 2^30 = 313,282.0 GiB
		"bigquery_write":   7_832.05,
		"bigquery_storage": 6_265.64,
		// 100,000 x 100 us = 10 CPUs, / 0.6 = 16.7, in workers of 4: 5
		"dataflow_vcpu":             1_007.4,  // 20 x 730 x 0.069
		"dataflow_memory":           207.7288, // 80 x 730 x 0.003557
		"dataflow_streaming_engine": 7_048.85, // 391,602.5 GiB x 0.018
		"bigtable_node":             7_117.5,  // 15 x 730 x 0.65
		"bigtable_storage":          2_080.39, // 2.628e11 x 50 / 2^30 = 12,237.6 GiB x 0.17
		"archive":                   1_566.41,
	}
	sum := 0.0
	for _, i := range e.Items {
		if w, ok := want[i.PriceID]; !ok || math.Abs(i.USD-w) > 0.01*math.Max(1, w/1000) {
			t.Errorf("%s: $%.4f, want $%.4f", i.PriceID, i.USD, w)
		}
		sum += i.USD
		delete(want, i.PriceID)
	}
	for id := range want {
		t.Errorf("no item %s", id)
	}
	if e.USD != sum {
		t.Errorf("total %v, sum of items %v", e.USD, sum)
	}
	if got := math.Round(e.PerMillion*100) / 100; got != 1.03 {
		t.Errorf("$%v a million, want 1.03", got)
	}
	if d := e.Dominant(); d.PriceID != "cdn_lookup" || math.Round(d.Share*100) != 73 {
		t.Errorf("dominant %s with %.3f, want lookups with 73 %%", d.PriceID, d.Share)
	}
	if math.Round(e.Saved.USD/1000) != 196 {
		t.Errorf("the exclusion saves $%.0f, want 196k", e.Saved.USD)
	}
}

// What a minimum decides: one worker, one node.
func TestBillOfASmallPixel(t *testing.T) {
	l := DefaultLoad(1)
	e, err := Of(l, DefaultPrices())
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[string]float64)
	for _, i := range e.Items {
		byID[i.PriceID] = i.USD
	}
	if got, want := byID["bigtable_node"], 474.5; got != want {
		t.Errorf("one node: %v, want %v", got, want)
	}
	if got, want := byID["dataflow_vcpu"], 4*730*0.069; math.Abs(got-want) > 1e-9 {
		t.Errorf("one worker: %v, want %v", got, want)
	}
	if d := e.Dominant(); d.PriceID != "bigtable_node" {
		t.Errorf("dominant is %s", d.PriceID)
	}
	l.ProfileWrites = 0
	if e, err = Of(l, DefaultPrices()); err != nil {
		t.Fatal(err)
	}
	for _, i := range e.Items {
		if i.PriceID == "bigtable_node" && i.USD != 0 {
			t.Error("without profiles there are no nodes")
		}
	}
}

// The table in the documentation is what is computed.
func TestDocumentedTable(t *testing.T) {
	b, err := os.ReadFile("../../../docs/launch.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		if cells := strings.Split(strings.Trim(strings.ReplaceAll(line, "**", ""), "| \n"), " | "); len(cells) == 4 {
			rows[cells[0]] = cells[1:]
		}
	}
	for i, rate := range []float64{1000, 10_000, 100_000} {
		e, err := Of(DefaultLoad(rate), DefaultPrices())
		if err != nil {
			t.Fatal(err)
		}
		sum := func(ids ...string) (usd float64) {
			for _, item := range e.Items {
				if slices.Contains(ids, item.PriceID) {
					usd += item.USD
				}
			}
			return usd
		}
		whole := func(usd float64) string {
			s := strconv.FormatFloat(math.Round(usd), 'f', 0, 64)
			for at := len(s) - 3; at > 0; at -= 3 {
				s = s[:at] + "," + s[at:]
			}
			return s
		}
		for name, want := range map[string]string{
			"Cloud CDN lookups":                      whole(sum("cdn_lookup")),
			"Cloud CDN egress":                       whole(sum("cdn_egress")),
			"Load balancer":                          whole(sum("lb_rules")),
			"Pub/Sub":                                whole(sum("pubsub")),
			"BigQuery, writes and a month's storage": whole(sum("bigquery_write", "bigquery_storage")),
			"Dataflow":                               whole(sum("dataflow_vcpu", "dataflow_memory", "dataflow_streaming_engine")),
			"Bigtable, nodes and a month's storage":  whole(sum("bigtable_node", "bigtable_storage")),
			"Archive, a month's storage":             whole(sum("archive")),
			"Total":                                  whole(e.USD),
			"for a million requests":                 fmt.Sprintf("%.2f", e.PerMillion),
			"CDN lookups' share":                     fmt.Sprintf("%.0f %%", 100*sum("cdn_lookup")/e.USD),
			"saved by the exclusion of `_Default`":   whole(e.Saved.USD),
		} {
			if got := rows[name]; len(got) != 3 || got[i] != want {
				t.Errorf("%s at %v/s: the table has %q, want %s", name, rate, got, want)
			}
		}
	}
}

func TestTiers(t *testing.T) {
	p := Price{USD: 1, Tiers: []Tier{{Above: 10, USD: 0.5}, {Above: 20, USD: 0.1}}}
	for quantity, want := range map[float64]float64{0: 0, 10: 10, 12: 11, 20: 15, 30: 16} {
		if got := p.of(quantity); math.Abs(got-want) > 1e-12 {
			t.Errorf("%v units cost %v, want %v", quantity, got, want)
		}
	}
}

func TestOtherPrices(t *testing.T) {
	p := DefaultPrices()
	if err := p.Merge([]byte(`{"as_of": "2027-01", "prices": [{"id": "cdn_egress", "usd": 0.01}]}`)); err != nil {
		t.Fatal(err)
	}
	if err := p.Set("cdn_lookup", 0); err != nil {
		t.Fatal(err)
	}
	e, err := Of(DefaultLoad(100_000), p)
	if err != nil {
		t.Fatal(err)
	}
	if e.Items[0].USD != 0 || math.Abs(e.Items[1].USD-1_223.76) > 0.01 || e.AsOf != "2027-01" {
		t.Errorf("lookups %v, egress %v, as of %s", e.Items[0].USD, e.Items[1].USD, e.AsOf)
	}
	if d := DefaultPrices(); d.List[0].USD != 0.0075 {
		t.Error("the default prices have changed with a copy")
	}
}

func TestErrors(t *testing.T) {
	p := DefaultPrices()
	for name, err := range map[string]error{
		"there is no price":    p.Set("cdn_lookups", 1),
		"0 or more":            p.Set("pubsub", -1),
		"unknown field":        p.Merge([]byte(`{"price": []}`)),
		"rising numbers":       p.Merge([]byte(`{"prices": [{"id": "pubsub", "usd": 1, "tiers": [{"above": 0, "usd": 1}]}]}`)),
		"there is no price \"": p.Merge([]byte(`{"prices": [{"id": "x", "usd": 1}]}`)),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one with %q", err, name)
		}
	}
	for _, l := range []Load{DefaultLoad(0), DefaultLoad(-1), DefaultLoad(math.NaN()), DefaultLoad(math.Inf(1))} {
		if _, err := Of(l, p); err == nil || !strings.Contains(err.Error(), "rate") {
			t.Errorf("rate %v: error %v", l.Rate, err)
		}
	}
}

func TestDefaultPricesAreSourced(t *testing.T) {
	for _, p := range DefaultPrices().List {
		if !(p.USD > 0) || p.Per == "" || !strings.HasPrefix(p.Source, "https://cloud.google.com/") {
			t.Errorf("%+v", p)
		}
	}
}
