package sink

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	"pixelbeam/transforms/tablegroup"
)

// Rows through the DoFn, in bundles of 5,000, to a server that drops them, in
// the same process and so on the same cores.
func BenchmarkBigQuery(b *testing.B) {
	rows := make([]schemas.Row, 5000)
	var bytes int64
	for i := range rows {
		data, err := proto.Marshal(typicalImpression(fmt.Sprint("id-", i)))
		if err != nil {
			b.Fatal(err)
		}
		rows[i] = schemas.Row{Data: data}
		bytes += int64(len(data))
	}
	for _, batch := range []int{256 << 10, 1 << 20, 4 << 20, 8 << 20} {
		b.Run(fmt.Sprintf("batch=%dKiB", batch>>10), func(b *testing.B) {
			f := startFakeWrite(b)
			f.discard = true
			cfg := testConfig(f)
			cfg.MaxBatchBytes = batch
			fn := &bigQueryFn{Config: cfg.withDefaults()}
			if err := fn.Setup(); err != nil {
				b.Fatal(err)
			}
			defer fn.Teardown()
			emit := func(schemas.Row) { b.Error("row refused") }
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				if err := fn.StartBundle(b.Context(), emit); err != nil {
					b.Fatal(err)
				}
				for _, row := range rows {
					if err := fn.ProcessElement(b.Context(), row, emit); err != nil {
						b.Fatal(err)
					}
				}
				if err := fn.FinishBundle(b.Context(), emit); err != nil {
					b.Fatal(err)
				}
				n += len(rows)
			}
			b.SetBytes(bytes)
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// Rows that travel together, 500 at a time, to one table and to those of ten groups:
// what it costs to sort them.
func BenchmarkBigQueryGroups(b *testing.B) {
	groups := tablegroup.Map{}
	for i := range 20 {
		groups[fmt.Sprint("adv-", i)] = fmt.Sprint("group", i%10)
	}
	var elements []schemas.Rows
	var bytes int64
	for range 10 {
		var rows []schemas.Row
		for i := range 500 {
			m := typicalImpression(fmt.Sprint("id-", i))
			m.AdvertiserId = proto.String(fmt.Sprint("adv-", i%40)) // half of them in no group
			data, err := proto.Marshal(m)
			if err != nil {
				b.Fatal(err)
			}
			rows = append(rows, schemas.Row{Data: data})
			bytes += int64(len(data))
		}
		elements = append(elements, together(rows))
	}
	type fn interface {
		Setup() error
		Teardown()
		StartBundle(context.Context, func(schemas.Row)) error
		ProcessElement(context.Context, schemas.Rows, func(schemas.Row)) error
		FinishBundle(context.Context, func(schemas.Row)) error
	}
	for name, make := range map[string]func(BigQueryConfig) fn{
		"one table": func(cfg BigQueryConfig) fn { return &bigQueryRowsFn{Config: cfg.withDefaults()} },
		"groups=10": func(cfg BigQueryConfig) fn { return &bigQueryGroupsFn{Config: cfg.withDefaults(), Groups: groups} },
	} {
		b.Run(name, func(b *testing.B) {
			f, tables := startFakeWrite(b), startFakeTables(b)
			f.discard, f.tables = true, tables
			cfg := testConfig(f)
			cfg.RESTEndpoint = tables.url
			fn := make(cfg)
			if err := fn.Setup(); err != nil {
				b.Fatal(err)
			}
			defer fn.Teardown()
			emit := func(schemas.Row) { b.Error("row refused") }
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				if err := fn.StartBundle(b.Context(), emit); err != nil {
					b.Fatal(err)
				}
				for _, rows := range elements {
					if err := fn.ProcessElement(b.Context(), rows, emit); err != nil {
						b.Fatal(err)
					}
					n += len(rows.Rows)
				}
				if err := fn.FinishBundle(b.Context(), emit); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(bytes)
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkAdvertiser finds the advertiser in a row.
func BenchmarkAdvertiser(b *testing.B) {
	m := typicalImpression("id")
	m.AdvertiserId = proto.String("adv-1")
	data, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	groups := tablegroup.Map{"adv-1": "group"}
	b.ReportAllocs()
	for b.Loop() {
		if groups.Group(advertiser(data)) != "group" {
			b.Fatal("another group")
		}
	}
}
