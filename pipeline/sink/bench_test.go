package sink

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
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
