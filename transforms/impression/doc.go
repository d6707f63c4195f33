// Package impression turns a log entry into a row of the table impressions.
//
// It composes the packages that each understand one part of an entry: logentry
// (the JSON), pixelurl (the request URL), useragent, privacy. Every entry has
// exactly one of three outcomes, so that
//
//	entries read = impressions + rejected + ignored
//
// An impression becomes a row; an entry that cannot be understood is rejected,
// with its bytes, a reason and a place; one that is understood and is not an
// impression is ignored, and counted by reason. No entry is an error.
package impression
