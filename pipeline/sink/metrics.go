package sink

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/schemas"
)

// Metrics are in the namespace "sink", or "sink/TABLE" for those of BigQuery.

type bigQueryMetrics struct {
	written, refused, requests, retries beam.Counter
	requestBytes                        beam.Distribution
}

var tableMetrics = func() map[string]bigQueryMetrics {
	all := map[string]bigQueryMetrics{}
	for _, t := range schemas.Tables() {
		namespace := "sink/" + t.Name
		all[t.Name] = bigQueryMetrics{
			written:      beam.NewCounter(namespace, "bigquery_rows_written"),
			refused:      beam.NewCounter(namespace, "bigquery_rows_refused"),
			requests:     beam.NewCounter(namespace, "bigquery_requests"),
			retries:      beam.NewCounter(namespace, "bigquery_retries"),
			requestBytes: beam.NewDistribution(namespace, "bigquery_request_bytes"),
		}
	}
	return all
}()

var (
	rejectedSplit = beam.NewCounter("sink", "rejected_entries_split")
	rejectedLost  = beam.NewCounter("sink", "rejected_entries_unwritable")

	jsonRows       = beam.NewCounter("sink", "json_rows_written")
	jsonUnreadable = beam.NewCounter("sink", "json_rows_unreadable")

	profilesWritten  = beam.NewCounter("sink", "bigtable_rows_written")
	profilesRefused  = beam.NewCounter("sink", "bigtable_rows_refused")
	profileCells     = beam.NewCounter("sink", "bigtable_cells_written")
	profileRequests  = beam.NewCounter("sink", "bigtable_requests")
	profileRetries   = beam.NewCounter("sink", "bigtable_retries")
	profileBatchSize = beam.NewDistribution("sink", "bigtable_request_rows")
)
