// Package logentry reads Google Cloud load balancer log entries: the JSON form
// of a LogEntry, as a log sink publishes it to Pub/Sub or writes it to Cloud
// Storage.
//
// [Decoder.Decode] makes one pass over the entry. It checks the whole document
// (JSON by RFC 8259, UTF-8 inside strings, nothing after the object) and picks
// out the fields of [Entry]; everything else is skipped unread, so that fields
// added to the format later do no harm. Key order, white space and escapes do
// not matter. In steady state nothing is allocated.
//
// Where the JSON form leaves a choice, this package follows encoding/json:
// containers nest 10,000 deep at most, an unpaired surrogate escape is U+FFFD,
// and of a repeated key the last value counts while objects are merged. It
// differs in three ways: names match in their exact case, invalid UTF-8 is
// refused, and a field of the wrong type is noted in [Entry.FieldError] and does
// not end the decoding. null is the same as absent, and so is an empty string,
// as in the JSON form of protocol buffers.
//
// The package decides about bytes only. What makes an entry an impression is
// decided in transforms/impression, with the reasons named here.
//
// Sources:
//   - https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
//   - https://cloud.google.com/load-balancing/docs/https/https-logging-monitoring
//   - https://protobuf.dev/programming-guides/json/
package logentry
