// Package ledger keeps the books of the job: per minute, what was read and what
// became of it, into rows of the table ledger.
//
// A contribution is a delivery: a Pub/Sub message id, or a file and offset. Deliveries
// are counted by sets, as everything in windows is (see package distinct), so that
// a bundle that a runner tries again, or a row that is appended twice, counts
// once. Of impressions the set holds entries and their deliveries: deliveries less
// entries are duplicates.
//
// The minute is that of the event time for impressions, and that of the receipt
// for entries that were rejected or ignored. A delivery that comes when the books
// of its minute are closed becomes a row of its own, under a name that is made of
// the set it came in.
package ledger
