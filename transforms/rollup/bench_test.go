package rollup

import (
	"slices"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/local/traffic"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/useragent"
)

// minute returns the records of n generated impressions, all of one minute, and the
// bytes of their log entries and rows.
func minute(b *testing.B, n int) (records []impression.Record, entryBytes, rowBytes int) {
	b.Helper()
	c, err := impression.NewConverter(impression.Options{}, useragent.SharedCache())
	if err != nil {
		b.Fatal(err)
	}
	g := traffic.New(traffic.DefaultOptions())
	start := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC).UnixMicro()
	for len(records) < n {
		var e traffic.Entry
		g.Next(&e)
		m := logentry.Message{Data: e.Data, Timestamp: e.Timestamp}
		var r impression.Record
		if row, v := c.Convert(&m, nil, &r); v.Kind == impression.Impression {
			entryBytes += len(e.Data)
			rowBytes += len(row)
			r.EventTime = start + int64(len(records))*int64(time.Minute/time.Microsecond)/int64(n)
			records = append(records, r)
		}
	}
	return records, entryBytes, rowBytes
}

// BenchmarkWindow counts a minute of 200,000 impressions in bundles of 5,000 and 16
// shards, without Beam, and reports what it costs an impression: nanoseconds, bytes
// that are shuffled, bytes of the state of open windows, rows of impression_counts
// and their bytes; and beside them the bytes of a log entry and of its row of
// impressions.
func BenchmarkWindow(b *testing.B) {
	const n, bundle, shards = 200_000, 5_000, 16
	records, entryBytes, impressionBytes := minute(b, n)
	encoder, err := NewEncoder()
	if err != nil {
		b.Fatal(err)
	}
	var shuffled, state, rows, rowBytes int
	b.ReportAllocs()
	for b.Loop() {
		shuffled, state, rows, rowBytes = 0, 0, 0, 0
		fn := &packCountsFn{Shards: shards}
		sets := map[int64][][]byte{}
		emit := func(_ beam.EventTime, _ int64, data []byte) {
			shuffled += len(data)
			windows, err := distinct.Windows(data)
			if err != nil {
				b.Fatal(err)
			}
			for _, w := range windows {
				sets[w.Shard] = append(sets[w.Shard], w.Set)
			}
		}
		for all := range slices.Chunk(records, bundle) {
			fn.ProcessElement(impression.Records{Records: all}, emit)
			fn.FinishBundle(emit)
		}
		for shard, all := range sets {
			merged, err := distinct.MergeAll(all)
			if err != nil {
				b.Fatal(err)
			}
			state += len(merged)
			r, err := distinct.State(shard, distinct.WindowStart(records[0].EventTime), merged)
			if err != nil {
				b.Fatal(err)
			}
			for i := range r.Groups {
				row, err := encoder.AppendRow(nil, &r, &r.Groups[i])
				if err != nil {
					b.Fatal(err)
				}
				rows, rowBytes = rows+1, rowBytes+len(row)
			}
		}
	}
	each := func(v int) float64 { return float64(v) / n }
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/impression")
	b.ReportMetric(each(entryBytes), "entry-B/impression")
	b.ReportMetric(each(impressionBytes), "impression-row-B/impression")
	b.ReportMetric(each(shuffled), "shuffled-B/impression")
	b.ReportMetric(each(state), "state-B/impression")
	b.ReportMetric(each(rows), "rows/impression")
	b.ReportMetric(each(rowBytes), "count-row-B/impression")
	b.ReportMetric(0, "ns/op")
}
