// Package bigtabled serves the Bigtable data and table admin APIs on a local
// port, for the unchanged Google clients, and keeps the data in a folder.
//
// Rows lie in an embedded store on disk (github.com/cockroachdb/pebble), so that
// memory does not grow with them. A write is stored as a change of its row, without
// a read; the store merges the changes of a row when it is read and when it compacts.
//
//   - What was acknowledged survives a kill of the process. The store's log is not
//     synced to disk per request, so a power cut can lose its end.
//   - A bulk write is applied whole, but for entries that are refused, and of those
//     nothing; the service's limits are enforced: 100,000 mutations a request, 4 KiB
//     a row key, 16 KiB a column qualifier.
//   - Garbage collection rules hold. As in the real service it happens later, once
//     an hour, so a cell can be read for a while after its rule condemned it; in
//     families with a limit of one version, a write also removes the versions
//     before its own.
//   - ReadRows has all filters of data.proto, ranges, limits and reversed scans;
//     what they do is tested against the Go client's bttest, where that is right.
//   - Faults can be injected.
//
// What it refuses, with Unimplemented: AddToCell, MergeToCell and aggregate
// families. What it is not: it has no clusters, replication, backups, authorized
// views, SQL or change streams, instances are names only and any will do, and
// there is no authentication. One process at a time may use a folder.
package bigtabled
