package logentry

// Reason says why an entry did not become an impression. The set is closed:
// tables, metrics and the ledger count by it.
type Reason string

// Reasons of rejection, in the order in which they are tried. A rejected entry
// is kept with its bytes.
const (
	// ReasonInvalidJSON: not a JSON object, broken JSON, or invalid UTF-8.
	ReasonInvalidJSON Reason = "invalid_json"
	// ReasonTooLarge: more than MaxSize bytes.
	ReasonTooLarge Reason = "too_large"
	// ReasonNotARequest: no httpRequest.requestUrl.
	ReasonNotARequest Reason = "not_a_request"
	// ReasonInvalidURL: requestUrl has no host or is neither http nor https.
	ReasonInvalidURL Reason = "invalid_url"
	// ReasonInvalidField: a known field has the wrong JSON type.
	ReasonInvalidField Reason = "invalid_field"
	// ReasonNoTimestamp: no usable time in the entry or its attributes.
	ReasonNoTimestamp Reason = "no_timestamp"
	// ReasonNoInsertID: no insertId, without which duplicates are not found.
	ReasonNoInsertID Reason = "no_insert_id"
)

// Reasons to ignore an entry: it is sound, and it is not an impression. Ignored
// entries are counted and not kept.
const (
	// ReasonCDNInternal: a request that Cloud CDN made itself.
	ReasonCDNInternal Reason = "cdn_internal"
	// ReasonNotAPixel: another path than that of a pixel.
	ReasonNotAPixel Reason = "not_a_pixel"
	// ReasonMethod: another method than GET or HEAD.
	ReasonMethod Reason = "method"
	// ReasonErrorStatus: answered with 400 or more.
	ReasonErrorStatus Reason = "error_status"
)

// RejectReasons lists the reasons of rejection, in the order of precedence.
func RejectReasons() []Reason {
	return []Reason{
		ReasonInvalidJSON, ReasonTooLarge, ReasonNotARequest, ReasonInvalidURL,
		ReasonInvalidField, ReasonNoTimestamp, ReasonNoInsertID,
	}
}

// IgnoreReasons lists the reasons to ignore, in the order of precedence.
func IgnoreReasons() []Reason {
	return []Reason{ReasonCDNInternal, ReasonNotAPixel, ReasonMethod, ReasonErrorStatus}
}
