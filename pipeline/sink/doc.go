// Package sink writes rows where they belong: BigQuery tables, the Bigtable
// profile table, and JSON files for a look without any service.
//
// Every sink is a plain ParDo on PCollection<schemas.Row>, or on
// PCollection<schemas.Rows> where rows come in numbers, fused with what makes
// the rows: no shuffle, no key. A bundle ends only when the service has
// acknowledged all its rows, so a source that acknowledges after the bundle loses
// nothing. Delivery is at least once: a bundle or a request whose acknowledgement
// was lost is written again. Readers take that out by the entry's identity
// (impressions_unique) or by absolute values (counts, profiles).
//
// BigQueryOnce is the exception: it shuffles rows to have each in the table once.
//
// A row that the service refuses for its content leaves by the refused output as
// a RejectedEntry that keeps the original; it neither blocks the others nor is
// lost. Faults outside the data (service away, quota, broken stream) are retried
// with backoff for RetryTimeout and then fail the bundle, which the runner
// retries. Faults of the set-up (table missing, column missing, permission) fail
// the bundle at once with an error that names the table and the remedy.
//
// Rows are expected in the global window. The sinks keep the slices of a row
// until its acknowledgement and never change them.
package sink
