// Package cost estimates what a pixel costs a month on Google Cloud, from list
// prices and from quantities that follow from the request rate. It is arithmetic
// without free tiers, discounts and taxes.
package cost

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

//go:embed prices.json
var defaultPrices []byte

// Price is a unit price.
type Price struct {
	ID string `json:"id"`
	// USD is the price of the first unit.
	USD float64 `json:"usd"`
	// Per is the unit.
	Per string `json:"per"`
	// Tiers are prices of units beyond so many in a month, in rising order.
	Tiers  []Tier `json:"tiers,omitempty"`
	Source string `json:"source"`
}

// Tier is the price of units above a number.
type Tier struct {
	Above float64 `json:"above"`
	USD   float64 `json:"usd"`
}

// of returns the price of a quantity.
func (p Price) of(quantity float64) float64 {
	var sum float64
	usd, from := p.USD, 0.0
	for _, t := range p.Tiers {
		if quantity <= t.Above {
			break
		}
		sum += (t.Above - from) * usd
		usd, from = t.USD, t.Above
	}
	return sum + (quantity-from)*usd
}

// Prices is a price list.
type Prices struct {
	// AsOf is the month in which the prices were read.
	AsOf   string  `json:"as_of"`
	Region string  `json:"region"`
	List   []Price `json:"prices"`
}

// DefaultPrices returns Google's list prices in US dollars, each with its source.
func DefaultPrices() Prices {
	var p Prices
	if err := json.Unmarshal(defaultPrices, &p); err != nil {
		panic(fmt.Sprintf("cost: prices.json: %v", err)) // a test reads it
	}
	return p
}

// Merge replaces prices by those of a JSON file of the same form, which may hold
// some of them only.
func (p *Prices) Merge(data []byte) error {
	var other Prices
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&other); err != nil {
		return err
	}
	for _, o := range other.List {
		mine, err := p.find(o.ID)
		if err != nil {
			return err
		}
		if !valid(o.USD) {
			return fmt.Errorf("price %s is %v: give US dollars, 0 or more", o.ID, o.USD)
		}
		above := 0.0
		for _, t := range o.Tiers {
			if !valid(t.USD) || !(t.Above > above) {
				return fmt.Errorf("price %s: tiers need rising numbers of units and prices of 0 or more", o.ID)
			}
			above = t.Above
		}
		mine.USD, mine.Tiers = o.USD, o.Tiers
		if o.Source != "" {
			mine.Source = o.Source
		}
	}
	if other.AsOf != "" {
		p.AsOf = other.AsOf
	}
	if other.Region != "" {
		p.Region = other.Region
	}
	return nil
}

// Set replaces one price, for any quantity.
func (p *Prices) Set(id string, usd float64) error {
	mine, err := p.find(id)
	if err != nil {
		return err
	}
	if !valid(usd) {
		return fmt.Errorf("price %s is %v: give US dollars, 0 or more", id, usd)
	}
	mine.USD, mine.Tiers = usd, nil
	return nil
}

func valid(usd float64) bool { return usd >= 0 && !math.IsInf(usd, 1) }

func (p *Prices) find(id string) (*Price, error) {
	var ids []string
	for i := range p.List {
		if p.List[i].ID == id {
			return &p.List[i], nil
		}
		ids = append(ids, p.List[i].ID)
	}
	return nil, fmt.Errorf("there is no price %q: the prices are %s", id, strings.Join(ids, ", "))
}

// Load is what is to be paid for. The zero value is not useful; begin with
// DefaultLoad.
type Load struct {
	// Rate is requests a second, on average over the month; above 0.
	Rate float64 `json:"rate"`
	// EntryBytes is the size of a log entry as JSON.
	EntryBytes float64 `json:"entry_bytes"`
	// RowBytes is the size of a row in BigQuery (logical); 0 is 0.8 of an entry.
	RowBytes float64 `json:"row_bytes"`
	// ResponseBytes is what a browser is sent for a pixel, headers included.
	ResponseBytes float64 `json:"response_bytes"`
	// CPUMicros is the CPU time of a worker for an entry, in microseconds.
	CPUMicros float64 `json:"cpu_us"`
	// ProfileWrites is Bigtable rows written for an entry.
	ProfileWrites float64 `json:"profile_writes"`
	// ProfileBytes is what such a write adds to a profile: the counters of a user's
	// window. What it overwrites is not in it.
	ProfileBytes float64 `json:"profile_bytes"`
	// Hours is the hours of the month.
	Hours float64 `json:"hours"`
}

// DefaultLoad returns the load of a rate with the sizes seen in real logs.
func DefaultLoad(rate float64) Load {
	return Load{Rate: rate, EntryBytes: 1600, ResponseBytes: 500, CPUMicros: 100, ProfileWrites: 1, ProfileBytes: 50, Hours: 730}
}

// Assumptions that are no parameters.
const (
	// Pub/Sub charges for attributes, 20 bytes of timestamp and the message id
	// beside the data: the attribute logging.googleapis.com/timestamp has 32 bytes
	// of name and 30 of value, and ids have 17 digits.
	messageOverhead = 32 + 30 + 20 + 17
	workerCPUs      = 4   // a worker, n2d-standard-4
	workerGB        = 16  // its memory
	workerUse       = 0.6 // of its CPU, as the autoscaler keeps it
	nodeWrites      = 10_000
	nodeUse         = 0.7 // of a Bigtable node

	gib = 1 << 30
	tib = 1 << 40
)

// Item is one line of the bill.
type Item struct {
	Service  string  `json:"service"`
	What     string  `json:"what"`
	PriceID  string  `json:"price"`
	Quantity float64 `json:"quantity"`
	Unit     string  `json:"unit"`
	USD      float64 `json:"usd"`
	// Share of the total, 0 to 1.
	Share float64 `json:"share"`
}

// Estimate is a month's bill.
type Estimate struct {
	Load Load `json:"load"`
	// Requests in the month.
	Requests float64 `json:"requests"`
	Items    []Item  `json:"items"`
	USD      float64 `json:"usd"`
	// PerMillion is US dollars for a million requests.
	PerMillion float64 `json:"usd_per_million"`
	// Saved is what the log bucket _Default would cost without the exclusion.
	Saved Item   `json:"saved_by_exclusion"`
	AsOf  string `json:"prices_as_of"`
}

// Dominant returns the largest item.
func (e Estimate) Dominant() Item {
	var top Item
	for _, i := range e.Items {
		if i.USD > top.USD {
			top = i
		}
	}
	return top
}

// Of estimates a month. Storage is what the month itself adds: each further month
// that is kept costs the same again.
func Of(l Load, p Prices) (Estimate, error) {
	for _, v := range []struct {
		name  string
		value float64
		zero  bool
	}{
		{"rate", l.Rate, false}, {"entry_bytes", l.EntryBytes, false}, {"row_bytes", l.RowBytes, true},
		{"response_bytes", l.ResponseBytes, true}, {"cpu_us", l.CPUMicros, true},
		{"profile_writes", l.ProfileWrites, true}, {"profile_bytes", l.ProfileBytes, true}, {"hours", l.Hours, false},
	} {
		if !(v.value > 0 || v.zero && v.value == 0) || math.IsInf(v.value, 1) {
			return Estimate{}, fmt.Errorf("%s is %v: give a number above 0", v.name, v.value)
		}
	}
	if l.RowBytes == 0 {
		l.RowBytes = 0.8 * l.EntryBytes
	}
	e := Estimate{Load: l, Requests: l.Rate * 3600 * l.Hours, AsOf: p.AsOf}
	item := func(service, what, id string, quantity float64) (Item, error) {
		price, err := p.find(id)
		if err != nil {
			return Item{}, err
		}
		return Item{Service: service, What: what, PriceID: id, Quantity: quantity, Unit: price.Per, USD: price.of(quantity)}, nil
	}
	workers := math.Max(1, math.Ceil(l.Rate*l.CPUMicros/1e6/workerUse/workerCPUs))
	nodes := 0.0
	if l.ProfileWrites > 0 {
		nodes = math.Max(1, math.Ceil(l.Rate*l.ProfileWrites/nodeWrites/nodeUse))
	}
	for _, in := range []struct {
		service, what, id string
		quantity          float64
	}{
		{"Cloud CDN", "lookups", "cdn_lookup", e.Requests / 10_000},
		{"Cloud CDN", "egress", "cdn_egress", e.Requests * l.ResponseBytes / gib},
		// What the cache answers does not go through the load balancer, which charges for
		// bytes that do; infra/ has four rules.
		{"Load balancer", "forwarding rules", "lb_rules", l.Hours},
		{"Pub/Sub", "publish and deliver", "pubsub", 2 * e.Requests * (l.EntryBytes + messageOverhead) / tib},
		{"BigQuery", "writes", "bigquery_write", e.Requests * l.RowBytes / gib},
		{"BigQuery", "storage of the month", "bigquery_storage", e.Requests * l.RowBytes / gib},
		{"Dataflow", fmt.Sprintf("CPU of %.0f workers", workers), "dataflow_vcpu", workers * workerCPUs * l.Hours},
		{"Dataflow", "memory", "dataflow_memory", workers * workerGB * l.Hours},
		{"Dataflow", "Streaming Engine", "dataflow_streaming_engine", e.Requests * l.EntryBytes / gib},
		{"Bigtable", fmt.Sprintf("%.0f nodes", nodes), "bigtable_node", nodes * l.Hours},
		{"Bigtable", "storage of the month", "bigtable_storage", e.Requests * l.ProfileWrites * l.ProfileBytes / gib},
		{"Archive", "storage of the month", "archive", e.Requests * l.EntryBytes / gib},
	} {
		i, err := item(in.service, in.what, in.id, in.quantity)
		if err != nil {
			return Estimate{}, err
		}
		e.Items = append(e.Items, i)
		e.USD += i.USD
	}
	for i := range e.Items {
		if e.USD > 0 {
			e.Items[i].Share = e.Items[i].USD / e.USD
		}
	}
	e.PerMillion = e.USD / e.Requests * 1e6
	saved, err := item("Cloud Logging", "log bucket _Default", "logging", e.Requests*l.EntryBytes/gib)
	e.Saved = saved
	return e, err
}
