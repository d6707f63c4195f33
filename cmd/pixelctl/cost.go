package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/cmd/internal/cost"
)

func costCommand() *cobra.Command {
	load := cost.DefaultLoad(0)
	var format, file string
	var overrides []string
	var list bool
	cmd := &cobra.Command{
		Use:   "cost --rate REQUESTS",
		Short: "Estimate what a pixel costs a month on Google Cloud",
		Long: `Estimate what a pixel costs a month on Google Cloud: what each service costs, what
dominates, and what the exclusion of the log bucket _Default saves.

It is arithmetic over list prices in US dollars, without free tiers, discounts and
taxes, and asks nobody. Storage is what the month itself adds; queries are not in it.
--list_prices prints the prices with their sources. Replace some by --price, or by a
file of the same form as --list_prices --format=json prints.`,
		Example: `  pixelctl cost --rate=1000
  pixelctl cost --rate=100000 --entry_bytes=1400 --price=cdn_lookup=0.004
  pixelctl cost --rate=100000 --format=json | jq .usd_per_million`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			prices, err := costPrices(file, overrides)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			if list {
				return printPrices(out, prices, format)
			}
			if !cmd.Flags().Changed("rate") {
				return cli.Usagef("--rate is not given: the requests a second, on average over the month")
			}
			e, err := cost.Of(load, prices)
			if err != nil {
				return cli.Usagef("--%w", err)
			}
			return printEstimate(out, e, format)
		},
	}
	flags := cmd.Flags()
	flags.Float64Var(&load.Rate, "rate", 0, "requests a second, on average over the month")
	flags.Float64Var(&load.EntryBytes, "entry_bytes", load.EntryBytes, "`bytes` of a log entry as JSON")
	flags.Float64Var(&load.RowBytes, "row_bytes", 0, "`bytes` of a row in BigQuery; 0 is 0.8 of an entry")
	flags.Float64Var(&load.ResponseBytes, "response_bytes", load.ResponseBytes, "`bytes` that a browser is sent for a pixel, headers included")
	flags.Float64Var(&load.CPUMicros, "cpu_us", load.CPUMicros, "CPU `microseconds` of a Dataflow worker for an entry")
	flags.Float64Var(&load.ProfileWrites, "profile_writes", load.ProfileWrites, "Bigtable `rows` written for an entry; 0 is no profiles")
	flags.Float64Var(&load.ProfileBytes, "profile_bytes", load.ProfileBytes, "`bytes` that such a row adds to a user's profile")
	flags.Float64Var(&load.Hours, "hours", load.Hours, "`hours` of the month")
	flags.StringVar(&file, "prices", "", "JSON `file` with prices that replace listed ones")
	flags.StringArrayVar(&overrides, "price", nil, "`ID=USD`, a price that replaces a listed one; may be repeated")
	flags.BoolVar(&list, "list_prices", false, "print the prices and their sources, and no estimate")
	formatFlag(cmd, &format, "table", "json")
	return cmd
}

// costPrices returns the list prices with the user's in place of some.
func costPrices(file string, overrides []string) (cost.Prices, error) {
	prices := cost.DefaultPrices()
	if file != "" {
		b, err := os.ReadFile(file)
		if err == nil {
			err = prices.Merge(b)
		}
		if err != nil {
			return prices, fmt.Errorf("--prices=%s: %w", file, err)
		}
	}
	for _, o := range overrides {
		id, value, ok := strings.Cut(o, "=")
		usd, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			return prices, cli.Usagef("--price=%s is not ID=USD, such as cdn_lookup=0.0075", o)
		}
		if err := prices.Set(id, usd); err != nil {
			return prices, cli.Usagef("--price=%s: %w", o, err)
		}
	}
	return prices, nil
}

func printPrices(w *bufio.Writer, prices cost.Prices, format string) error {
	if format == "json" {
		return printJSON(w, prices)
	}
	t := &table{w: w, columns: []column{{name: "price"}, {name: "usd", right: true}, {name: "per"}, {name: "source"}}}
	for _, p := range prices.List {
		per := p.Per
		for _, tier := range p.Tiers {
			per += fmt.Sprintf("; above %s: %s", grouped(tier.Above, 0), number(tier.USD))
		}
		if err := t.row([]string{p.ID, number(p.USD), per, p.Source}); err != nil {
			return err
		}
	}
	if err := t.close(); err != nil {
		return err
	}
	fmt.Fprintf(w, "As of %s; %s.\n", prices.AsOf, prices.Region)
	return w.Flush()
}

func printEstimate(w *bufio.Writer, e cost.Estimate, format string) error {
	if format == "json" {
		return printJSON(w, e)
	}
	fmt.Fprintf(w, "%s requests a second, %s million in %s hours\n\n", grouped(e.Load.Rate, -1), grouped(e.Requests/1e6, 0), number(e.Load.Hours))
	t := &table{w: w, columns: []column{
		{name: "service"}, {name: "what"}, {name: "quantity", right: true}, {name: "unit"}, {name: "usd", right: true}, {name: "share", right: true},
	}}
	for _, i := range e.Items {
		if err := t.row([]string{i.Service, i.What, grouped(i.Quantity, 0), i.Unit, grouped(i.USD, 0), percent(i.Share)}); err != nil {
			return err
		}
	}
	if err := t.row([]string{"Total", "", "", "", grouped(e.USD, 0), percent(1)}); err != nil {
		return err
	}
	if err := t.close(); err != nil {
		return err
	}
	top := e.Dominant()
	fmt.Fprintf(w, "\n$%.2f for a million requests. %s (%s) dominates with %s.\n", e.PerMillion, top.Service, top.What, percent(top.Share))
	fmt.Fprintf(w, "The exclusion of _Default saves $%s: without it, logs would cost $%s a month in all.\n",
		grouped(e.Saved.USD, 0), grouped(e.USD+e.Saved.USD, 0))
	fmt.Fprintf(w, "List prices as of %s, without free tiers, discounts, taxes and queries.\n", e.AsOf)
	return w.Flush()
}

func printJSON(w *bufio.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	return w.Flush()
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + "%" }

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// grouped writes a number with commas between thousands.
func grouped(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	whole, rest, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		return whole + "." + rest
	}
	return whole
}
