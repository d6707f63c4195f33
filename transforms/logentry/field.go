package logentry

// field is a known field of an entry. Objects are fields too; the entry itself
// is the object root.
type field uint8

const (
	unknown field = iota
	root
	insertID
	timestamp
	receiveTimestamp
	httpRequest
	requestMethod
	requestURL
	userAgent
	referer
	remoteIP
	status
	requestSize
	responseSize
	latency
	cacheHit
	cacheLookup
	jsonPayload
	parentInsertID
	cacheID
	statusDetails
	payloadRemoteIP
	securityData
	remoteIPInfo
	regionCode
	resource
	labels
	urlMapName
	numFields
)

// kind is the JSON type that a field should have, and how it is read.
type kind uint8

const (
	kindObject kind = iota
	kindText
	kindPresence // text of which only the presence counts
	kindTime
	kindDuration
	kindInteger
	kindBool
)

// wants describes the kinds in messages.
var wants = [...]string{
	kindObject:   "an object",
	kindText:     "a string",
	kindPresence: "a string",
	kindTime:     "a string",
	kindDuration: "a string",
	kindInteger:  "an integer",
	kindBool:     "true or false",
}

var specs = [numFields]struct {
	kind kind
	path string
}{
	root:             {kindObject, ""},
	insertID:         {kindText, "insertId"},
	timestamp:        {kindTime, "timestamp"},
	receiveTimestamp: {kindTime, "receiveTimestamp"},
	httpRequest:      {kindObject, "httpRequest"},
	requestMethod:    {kindText, "httpRequest.requestMethod"},
	requestURL:       {kindText, "httpRequest.requestUrl"},
	userAgent:        {kindText, "httpRequest.userAgent"},
	referer:          {kindText, "httpRequest.referer"},
	remoteIP:         {kindText, "httpRequest.remoteIp"},
	status:           {kindInteger, "httpRequest.status"},
	requestSize:      {kindInteger, "httpRequest.requestSize"},
	responseSize:     {kindInteger, "httpRequest.responseSize"},
	latency:          {kindDuration, "httpRequest.latency"},
	cacheHit:         {kindBool, "httpRequest.cacheHit"},
	cacheLookup:      {kindBool, "httpRequest.cacheLookup"},
	jsonPayload:      {kindObject, "jsonPayload"},
	parentInsertID:   {kindPresence, "jsonPayload.parentInsertId"},
	cacheID:          {kindText, "jsonPayload.cacheId"},
	statusDetails:    {kindText, "jsonPayload.statusDetails"},
	payloadRemoteIP:  {kindText, "jsonPayload.remoteIp"},
	securityData:     {kindObject, "jsonPayload.securityPolicyRequestData"},
	remoteIPInfo:     {kindObject, "jsonPayload.securityPolicyRequestData.remoteIpInfo"},
	regionCode:       {kindText, "jsonPayload.securityPolicyRequestData.remoteIpInfo.regionCode"},
	resource:         {kindObject, "resource"},
	labels:           {kindObject, "resource.labels"},
	urlMapName:       {kindText, "resource.labels.url_map_name"},
}

// fieldOf returns the field of a name inside a known object, or unknown.
func fieldOf(in field, name []byte) field {
	switch in {
	case root:
		switch string(name) {
		case "insertId":
			return insertID
		case "timestamp":
			return timestamp
		case "receiveTimestamp":
			return receiveTimestamp
		case "httpRequest":
			return httpRequest
		case "jsonPayload":
			return jsonPayload
		case "resource":
			return resource
		}
	case httpRequest:
		switch string(name) {
		case "requestMethod":
			return requestMethod
		case "requestUrl":
			return requestURL
		case "userAgent":
			return userAgent
		case "referer":
			return referer
		case "remoteIp":
			return remoteIP
		case "status":
			return status
		case "requestSize":
			return requestSize
		case "responseSize":
			return responseSize
		case "latency":
			return latency
		case "cacheHit":
			return cacheHit
		case "cacheLookup":
			return cacheLookup
		}
	case jsonPayload:
		switch string(name) {
		case "parentInsertId":
			return parentInsertID
		case "cacheId":
			return cacheID
		case "statusDetails":
			return statusDetails
		case "remoteIp":
			return payloadRemoteIP
		case "securityPolicyRequestData":
			return securityData
		}
	case securityData:
		if string(name) == "remoteIpInfo" {
			return remoteIPInfo
		}
	case remoteIPInfo:
		if string(name) == "regionCode" {
			return regionCode
		}
	case resource:
		if string(name) == "labels" {
			return labels
		}
	case labels:
		if string(name) == "url_map_name" {
			return urlMapName
		}
	}
	return unknown
}

// text returns where a field of kindText goes.
func (e *Entry) text(f field) *[]byte {
	switch f {
	case insertID:
		return &e.InsertID
	case requestMethod:
		return &e.Method
	case requestURL:
		return &e.URL
	case userAgent:
		return &e.UserAgent
	case referer:
		return &e.Referer
	case remoteIP:
		return &e.RemoteIP
	case cacheID:
		return &e.CacheID
	case statusDetails:
		return &e.StatusDetails
	case payloadRemoteIP:
		return &e.PayloadRemoteIP
	case regionCode:
		return &e.RegionCode
	case urlMapName:
		return &e.URLMap
	}
	panic("logentry: no text field")
}

// integer returns where a field of kindInteger, kindTime or kindDuration goes.
func (e *Entry) integer(f field) *OptInt64 {
	switch f {
	case timestamp:
		return &e.EventTime
	case receiveTimestamp:
		return &e.ReceiveTime
	case status:
		return &e.Status
	case requestSize:
		return &e.RequestSize
	case responseSize:
		return &e.ResponseSize
	case latency:
		return &e.LatencyMicros
	}
	panic("logentry: no integer field")
}

// boolean returns where a field of kindBool goes.
func (e *Entry) boolean(f field) *OptBool {
	switch f {
	case cacheHit:
		return &e.CacheHit
	case cacheLookup:
		return &e.CacheLookup
	}
	panic("logentry: no boolean field")
}

// clear makes a field absent, for a null: an object with all that it holds.
func (e *Entry) clear(f field) {
	switch specs[f].kind {
	case kindText:
		*e.text(f) = nil
	case kindPresence:
		e.CDNInternal = false
	case kindTime, kindDuration, kindInteger:
		*e.integer(f) = OptInt64{}
	case kindBool:
		*e.boolean(f) = OptBool{}
	case kindObject:
		for member := f + 1; member < numFields && within(member, f); member++ {
			if specs[member].kind != kindObject {
				e.clear(member)
			}
		}
	}
}

// within reports whether a field lies in an object, at any depth.
func within(f, object field) bool {
	path, prefix := specs[f].path, specs[object].path
	return len(path) > len(prefix) && path[:len(prefix)] == prefix && path[len(prefix)] == '.'
}
