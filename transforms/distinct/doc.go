// Package distinct counts log entries so that the answer is a function of the
// set of distinct entries, whatever their order, duplication, lateness or split
// into bundles.
//
// A set groups entry ids by key (a combination of dimensions, a user's
// campaign). Sets are built per bundle, shard and window by a Builder, encoded as
// bytes, shuffled by lanes of a few shards, and merged: union of the ids, so that
// merging a set twice changes nothing. The state of a shard's window is a list of
// sets, one a pane: a pane adds itself and need not write what is there.
//
// # Encoding
//
// A set is a sequence of groups in ascending order of the hash (XXH3, 64 bits) of the
// first field of their key, then of the key, as bytes:
//
//	uvarint   length of key, then the key
//	uvarint   number of ids times 4, plus 1 if entries came with values, plus 2 if
//	          they came with copies
//	          the ids in ascending order, 8 bytes each, behind each the 5 bytes of its
//	          copy, if there are copies: then an id stands once for each copy
//	uvarint   number of members, then the members in ascending order, 4 bytes each
//
// and, if entries came with values:
//
//	varint    first event time, in microseconds since the Unix epoch
//	varint    last event time, less the first
//	8 bytes   id of the entry that gave the value
//	uvarint   length of value, then the value
//
// An empty set is no bytes. The encoding of a set is unique: equal sets have
// equal bytes.
package distinct
