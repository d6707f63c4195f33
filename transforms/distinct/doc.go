// Package distinct counts log entries so that the answer is a function of the
// set of distinct entries, whatever their order, duplication, lateness or split
// into bundles.
//
// A Set groups entry ids by key (a combination of dimensions, a user's
// campaign). Sets are built per bundle, shard and window by a Builder, encoded as
// bytes, shuffled by shard, and merged: union of the ids, so that merging a set
// twice changes nothing. One shard's window is one value of state, read and
// written once per pane and not once per entry.
//
// # Encoding
//
// A set is a sequence of groups in ascending order of key:
//
//	uvarint   length of key, then the key
//	uvarint   number of ids, then the ids in ascending order, 16 bytes each
//	uvarint   number of members, then the members in ascending order, 8 bytes each
//	varint    first event time, in microseconds since the Unix epoch
//	varint    last event time
//	16 bytes  id of the entry that gave the value
//	uvarint   length of value, then the value
//
// An empty set is no bytes. The encoding of a set is unique: equal sets have
// equal bytes.
package distinct
