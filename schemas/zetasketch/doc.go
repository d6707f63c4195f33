// Package zetasketch counts distinct values in sketches that BigQuery merges.
//
// A Sketch is HyperLogLog++ in the format of Google's ZetaSketch: its bytes are
// what BigQuery's HLL_COUNT.INIT makes and what HLL_COUNT.MERGE, MERGE_PARTIAL
// and EXTRACT take, so that the reach of any set of windows and dimensions is a
// query over their sketches, without the users:
//
//	SELECT campaign_id, HLL_COUNT.MERGE(sketch) AS reach FROM ... GROUP BY campaign_id
//
// The default is BigQuery's: precision 15 and sparse precision 20. Up to about
// 22,500 values a sketch is a list of 1 to 3 bytes a value, exact but for collisions
// in 2^20 places; then it is 32,768 registers of a byte, with a standard error of
// 1.04/sqrt(2^15) = 0.57 %.
//
// # Bytes are a function of the set
//
// What was added decides the bytes, and not in which order it was added: the
// change from the list to registers depends on the set alone (see Sketch.Add).
// The one exception is num_values, the number of Adds, which the format carries
// and no estimate uses: whoever wants equal bytes adds equally often.
//
// # Sources
//
// The format: proto/aggregator.proto and proto/hllplus-unique.proto of
// https://github.com/google/zetasketch. The algorithm: Heule, Nunkesser, Hall,
// "HyperLogLog in Practice: Algorithmic Engineering of a State of The Art
// Cardinality Estimation Algorithm", EDBT 2013, and its appendix, whose tables
// are in bias.tsv (see NOTICE). The hash: Fingerprint2011, as Guava's
// Hashing.fingerprint2011 computes it. Bytes, hashes and estimates are compared with
// those of Google's Java implementation, zetasketch 0.1.0, which this command asks
// (JDK 17, Maven):
//
//	mvn -q -f schemas/zetasketch/testdata/vectors/pom.xml compile exec:java
package zetasketch
