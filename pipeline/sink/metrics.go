package sink

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/schemas"
)

// metrics are the counts of one table, in the namespace "sink/TABLE". A
// namespace for each table, because the direct runner tells steps apart by the
// type of their DoFn only and keeps one count for each step and name.
type metrics struct {
	written, refused, requests, retries beam.Counter // bigquery_...
	requestBytes                        beam.Distribution
	jsonWritten, jsonUnreadable         beam.Counter // json_...
}

var tableMetrics = func() map[string]metrics {
	all := map[string]metrics{}
	for _, t := range schemas.Tables() {
		if t.Message == "" { // not the job's
			continue
		}
		namespace := "sink/" + t.Name
		all[t.Name] = metrics{
			written:        beam.NewCounter(namespace, "bigquery_rows_written"),
			refused:        beam.NewCounter(namespace, "bigquery_rows_refused"),
			requests:       beam.NewCounter(namespace, "bigquery_requests"),
			retries:        beam.NewCounter(namespace, "bigquery_retries"),
			requestBytes:   beam.NewDistribution(namespace, "bigquery_request_bytes"),
			jsonWritten:    beam.NewCounter(namespace, "json_rows_written"),
			jsonUnreadable: beam.NewCounter(namespace, "json_rows_unreadable"),
		}
	}
	return all
}()

// Metrics of no BigQuery table are in the namespace "sink".
var (
	rejectedSplit = beam.NewCounter("sink", "rejected_entries_split")
	rejectedLost  = beam.NewCounter("sink", "rejected_entries_unwritable")

	duplicateRows = beam.NewCounter("sink", "bigquery_duplicates_dropped")
	lostMarks     = beam.NewCounter("sink", "bigquery_streams_gone")

	profilesWritten     = beam.NewCounter("sink", "bigtable_rows_written")
	profilesRefused     = beam.NewCounter("sink", "bigtable_rows_refused")
	profileCellsWritten = beam.NewCounter("sink", "bigtable_cells_written")
	profileRequests     = beam.NewCounter("sink", "bigtable_requests")
	profileRetries      = beam.NewCounter("sink", "bigtable_retries")
	profileBatchRows    = beam.NewDistribution("sink", "bigtable_request_rows")
)
