package logentry

// OptInt64 is an int64 that may be absent.
type OptInt64 struct {
	Value int64
	Set   bool
}

// OptBool is a bool that may be absent.
type OptBool struct {
	Value bool
	Set   bool
}

// Entry is what a log entry says about a request. A nil slice or Set == false
// means that the field is absent, null or, for text, empty; text is never
// non-nil and empty.
//
// Text is valid UTF-8. It borrows from the bytes given to Decode, or from the
// Decoder where it held escapes, and is valid until those bytes change or the
// Decoder decodes again, whichever comes first. Copy what must live longer.
type Entry struct {
	// InsertID is insertId.
	InsertID []byte
	// EventTime is timestamp in microseconds since the Unix epoch; not set if
	// the text is no RFC 3339 time (see ParseTime).
	EventTime OptInt64
	// ReceiveTime is receiveTimestamp, likewise.
	ReceiveTime OptInt64

	// CDNInternal: jsonPayload.parentInsertId is present, so Cloud CDN made
	// this request itself.
	CDNInternal bool
	// CacheID is jsonPayload.cacheId, such as SIN-7c9ff679.
	CacheID []byte
	// StatusDetails is jsonPayload.statusDetails.
	StatusDetails []byte
	// PayloadRemoteIP is jsonPayload.remoteIp.
	PayloadRemoteIP []byte
	// RegionCode is
	// jsonPayload.securityPolicyRequestData.remoteIpInfo.regionCode, the
	// client's country as Cloud Armor sees it.
	RegionCode []byte
	// URLMap is resource.labels.url_map_name.
	URLMap []byte

	// Method, URL, UserAgent, Referer and RemoteIP are requestMethod,
	// requestUrl, userAgent, referer and remoteIp of httpRequest, as logged.
	Method, URL, UserAgent, Referer, RemoteIP []byte
	// Status is httpRequest.status; absent if the client left before a
	// response.
	Status OptInt64
	// RequestSize and ResponseSize are those of httpRequest, in bytes.
	RequestSize, ResponseSize OptInt64
	// LatencyMicros is httpRequest.latency; not set if the text is no duration
	// (see ParseDuration).
	LatencyMicros OptInt64
	// CacheHit and CacheLookup are those of httpRequest. The load balancer
	// logs them only when they are true.
	CacheHit, CacheLookup OptBool

	// FieldError is the first known field in the document with the wrong JSON
	// type, or nil. Such a field keeps the value that an earlier field of the
	// same name gave it.
	FieldError *FieldError
	// RequestError is the first one that concerns httpRequest or
	// httpRequest.requestUrl itself, or nil. Without them it cannot be said
	// whether the entry is about a request at all.
	RequestError *FieldError
}

// FieldError says that a known field has the wrong JSON type.
type FieldError struct {
	// Path is the field, such as httpRequest.status.
	Path string
	// Want is what it should be, such as "an integer".
	Want string
	// Got is what was found, such as `string "abc"`; long values are cut.
	Got string
}

// Error describes the fault on one line.
func (f *FieldError) Error() string {
	return f.Path + ": want " + f.Want + ", got " + f.Got
}
