// Package bigtabled serves the Bigtable data and table admin APIs on a local
// port, for the unchanged Google clients, and keeps the data in a folder.
//
// Rows live in the in-memory server of the Go client
// (cloud.google.com/go/bigtable/bttest), which also reads and filters them. This
// package stands in front of it and adds what a long-running stand-in needs:
//
//   - Every change is written to a log before it is applied and answered. After a
//     kill of the process nothing that was acknowledged is missing. The log is not
//     synced to disk per request, so a power cut can lose its end.
//   - The log is compacted: a snapshot replaces it when it has outgrown the data.
//   - Garbage collection rules hold. As in the real service it happens at
//     compaction, so a cell can be read for a while after its rule condemned it;
//     in families with a limit of one version, a write also removes the versions
//     before its own, so that steady rewriting needs no memory.
//   - An entry of a bulk write is applied whole or not at all, and the service's
//     limits are enforced: 100,000 mutations a request, 4 KiB a row key, 16 KiB a
//     column qualifier.
//   - Faults can be injected.
//
// What it refuses, with Unimplemented: AddToCell, MergeToCell, aggregate families
// and ReadModifyWriteRow, whose outcome a retry changes; use SetCell of absolute
// values. What it is not: it has no clusters, replication, backups, authorized
// views, SQL or change streams, instances are names only and any will do, and
// there is no authentication. One process at a time may use a folder.
package bigtabled
