package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pixelbeam/cmd/internal/cli"
)

func runCost(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(t.Context(), root(), append([]string{"cost"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCostTable(t *testing.T) {
	code, out, errs := runCost(t, "--rate=100000")
	if code != 0 {
		t.Fatal(errs)
	}
	for _, want := range []string{
		"100,000 requests a second, 262,800 million in 730 hours",
		"197,100", "$1.03 for a million requests. Cloud CDN (lookups) dominates with 73.", "saves $195,801:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestCostJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(file, []byte(`{"prices": [{"id": "pubsub", "usd": 0}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runCost(t, "--rate=10", "--hours=1", "--prices="+file, "--price=cdn_lookup=10000", "--format=json")
	if code != 0 {
		t.Fatal(errs)
	}
	var e struct {
		Requests float64
		Items    []struct {
			Price string
			USD   float64
		}
	}
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatal(err)
	}
	// 36,000 requests at a dollar each.
	usd := map[string]float64{}
	for _, item := range e.Items {
		usd[item.Price] = item.USD
	}
	if free, ok := usd["pubsub"]; e.Requests != 36_000 || e.Items[0].Price != "cdn_lookup" || usd["cdn_lookup"] != 36_000 || !ok || free != 0 {
		t.Errorf("%+v", e)
	}
}

// What --list_prices prints as JSON, --prices takes.
func TestCostPricesRoundTrip(t *testing.T) {
	_, list, errs := runCost(t, "--list_prices", "--format=json")
	file := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	_, want, _ := runCost(t, "--rate=5000")
	code, got, errs2 := runCost(t, "--rate=5000", "--prices="+file)
	if code != 0 || got != want {
		t.Errorf("code %d, %s%s, got\n%s\nwant\n%s", code, errs, errs2, got, want)
	}
}

func TestCostUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--rate is not given"},
		{[]string{"--rate=0"}, "--rate is 0"},
		{[]string{"--rate=1", "--entry_bytes=-5"}, "--entry_bytes is -5"},
		{[]string{"--rate=1", "--price=pubsub"}, "ID=USD"},
		{[]string{"--rate=1", "--price=pubsubs=1"}, "the prices are cdn_lookup"},
		{[]string{"--rate=1", "extra"}, "extra"},
	} {
		code, out, errs := runCost(t, c.args...)
		if code != cli.ExitUsage || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%v: code %d, want %d and %q, got %s%s", c.args, code, cli.ExitUsage, c.want, errs, out)
		}
	}
}

func TestGrouped(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := grouped(v, 0); got != want {
			t.Errorf("grouped(%v) = %s, want %s", v, got, want)
		}
	}
	if got := grouped(1234.5, -1); got != "1,234.5" {
		t.Errorf("got %s", got)
	}
}
