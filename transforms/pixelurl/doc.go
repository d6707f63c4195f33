// Package pixelurl reads what a pixel's URL says: [Split] takes the URL apart,
// and a [Parser] turns its query into typed columns, the JSON of all other
// parameters, and lint about the tag.
//
// The query is parsed as browsers build it, by the application/x-www-form-urlencoded
// rules of the WHATWG URL Standard: nothing is refused and nothing is dropped,
// whatever the tag sends. Which name means which column is data, the
// [Dictionary].
//
// One pass is made over the query, without a map, and in steady state nothing is
// allocated. Text borrows from the input, or from the Parser where it had to be
// decoded.
//
// Sources:
//   - https://url.spec.whatwg.org/#concept-urlencoded-parser
//   - https://encoding.spec.whatwg.org/#utf-8-decoder
//   - https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
package pixelurl
