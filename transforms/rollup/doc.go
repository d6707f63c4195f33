// Package rollup counts impressions per one-minute window and combination of
// dimensions, into rows of the table impression_counts.
//
// Entries are spread over shards by their id, so that a big campaign is no hot
// key: each shard counts its own distinct entries (copies of an entry have one
// id, and so one shard) and writes them as a part of its own. Readers take the
// latest pane of each part and sum the parts, as the view
// impression_counts_current does.
package rollup
