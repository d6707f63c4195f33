// Package load is a source and a drain for measuring a job: a Pub/Sub
// subscription that never runs dry, and BigQuery and Bigtable endpoints that
// take everything and keep nothing. They speak the real protocols, so the job
// under measurement runs unchanged, and cost so little that it has the machine.
//
// What is published is a function of its number: the log entries of
// [pixelbeam/local/traffic] are made once, and each message is one of them with
// an insertId, times and ids of its own written into fixed places. So a backlog
// takes no memory, a redelivered message has the same bytes, and an arriving row
// tells by its insert_id which message it came from. [Server.Books] compares the
// two sides one by one: every message acknowledged, every impression in the
// table, nothing that was not published.
//
// Served are Pull, Acknowledge, ModifyAckDeadline and GetSubscription of the one
// subscription; AppendRows on default streams, and GetWriteStream; MutateRows.
// Leases expire and messages are given back as in the real service. Rows are
// looked at for their insert_id only: this is no check of their content.
package load
