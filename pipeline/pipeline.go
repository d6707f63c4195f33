package pipeline

import (
	"crypto/rand"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"pixelbeam/pipeline/sink"
	"pixelbeam/pipeline/source"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/ledger"
	"pixelbeam/transforms/profile"
	"pixelbeam/transforms/rollup"
)

// Build adds the job to the scope. The options must be valid.
//
//	entries -> Parse -+-> rows ------------------------------> impressions
//	                  +-> records -> Counts  (per minute) ---> impression_counts
//	                  |           -> Updates (per minute) ---> profiles (Bigtable)
//	                  +-> rejected --------------------------> rejected_entries
//	                  +-> deliveries -> Books (per minute) --> ledger
//
// Raw rows are written in the stage that reads and parses: nothing is shuffled
// but packed sets of small records. What a sink's service refuses for good is
// written to rejected_entries as well.
func Build(s beam.Scope, o Options) {
	rows, records, rejected, deliveries := impression.Parse(s, read(s.Scope("read"), o), o.parse())

	out := outputs{o}
	out.impressions(s.Scope("impressions"), rows)
	out.rejected(s.Scope("rejected"), rejected)

	windows := distinct.Options{Streaming: o.Streaming(), AllowedLateness: o.AllowedLateness, EarlyFirings: o.EarlyFirings,
		Rewinds: o.Runner == RunnerFlink}
	var uncounted beam.PCollection
	if o.Counts {
		var counts beam.PCollection
		counts, uncounted = rollup.Counts(s, records, rollup.Options{Shards: o.Shards, Options: windows})
		out.table(s.Scope("counts"), "impression_counts", counts)
	}
	if o.BigtableInstance != "" {
		updates := profile.Updates(s, records, profile.Options{Shards: o.Shards, Options: windows})
		out.profiles(s.Scope("profiles"), updates)
	}
	if o.Ledger {
		books := ledger.Books(s, deliveries, uncounted, ledger.Options{Options: windows, Build: o.build(), Run: o.run()})
		out.table(s.Scope("ledger"), "ledger", beam.Flatten(s, books...))
	}
}

// run names the run where its windows end with the process.
func (o *Options) run() string {
	if o.Streaming() && o.Runner == RunnerPrism {
		return rand.Text()[:8] + "-"
	}
	return ""
}

// read is the source of entries: files, or Pub/Sub in the way of the runner.
func read(s beam.Scope, o Options) beam.PCollection {
	switch {
	case len(o.Input) > 0:
		return source.Batch(s, source.Files(s, source.FilesConfig{Patterns: o.Input}))
	case o.Runner == RunnerDataflow:
		return source.Batch(s, source.PubSubNative(s, o.pubsubNative()))
	default:
		return source.PubSub(s, o.pubsub())
	}
}

// outputs writes to every place that the options name. Each write ends in a
// collection that something consumes: Prism spins on a stage without outputs.
type outputs struct{ Options }

// impressions writes the raw rows to the table impressions, delivered as that is to
// have them, and to those of groups.
func (o outputs) impressions(s beam.Scope, rows beam.PCollection) {
	var refused beam.PCollection
	switch {
	case o.BigQueryDataset != "" && o.BigQueryDelivery == DeliveryExactlyOnce:
		refused = sink.BigQueryOnce(s, rows, o.bigQueryOnce())
	case o.TableSuffixBy != "":
		refused = sink.BigQueryGroups(s, rows, o.bigQueryGroups(), o.groups())
	default:
		o.table(s, "impressions", rows)
		return
	}
	o.rejected(s.Scope("refused"), refused)
	o.json(s, "impressions", rows)
}

// table writes rows to a BigQuery table and to JSON files.
func (o outputs) table(s beam.Scope, table string, rows beam.PCollection) {
	if o.BigQueryDataset != "" {
		refused := sink.BigQuery(s, rows, o.bigQuery(table))
		o.rejected(s.Scope("refused"), refused)
	}
	o.json(s, table, rows)
}

// json writes rows to JSON files.
func (o outputs) json(s beam.Scope, table string, rows beam.PCollection) {
	if o.OutputJSON != "" {
		sink.Terminate(s, sink.JSON(s, rows, o.jsonConfig(table)))
	}
}

// rejected writes rows to the table rejected_entries, the end of the road: what
// cannot be written there is logged.
func (o outputs) rejected(s beam.Scope, rows beam.PCollection) {
	if o.BigQueryDataset != "" {
		sink.Terminate(s, sink.Rejected(s, rows, o.bigQuery("rejected_entries")))
	}
	o.json(s, "rejected_entries", rows)
}

// profiles writes updates to Bigtable.
func (o outputs) profiles(s beam.Scope, updates beam.PCollection) {
	o.rejected(s.Scope("refused"), sink.Profiles(s, updates, o.bigtable()))
}
