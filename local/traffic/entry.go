package traffic

import (
	"bytes"
	"strconv"
)

// maxEntry is the size above which an entry is too large, in bytes.
const maxEntry = 256 << 10

// appendEntry appends the record as a LogEntry. Keys come in one of two orders
// that are seen in real logs.
func (g *Generator) appendEntry(dst []byte, rec *record) []byte {
	w := writer{b: dst, escapeAmp: g.rnd.chance(0.05)}
	w.b = append(w.b, '{')
	if g.rnd.chance(0.5) {
		w.id(rec)
		w.payload(g, rec)
		w.request(rec)
		w.resource(rec)
		w.times(rec)
		w.severity(rec)
		w.logName(rec)
		w.trace(rec)
	} else {
		w.request(rec)
		w.id(rec)
		w.payload(g, rec)
		w.logName(rec)
		w.resource(rec)
		w.severity(rec)
		w.trace(rec)
		w.times(rec)
	}
	w.b[len(w.b)-1] = '}' // in place of the last comma
	return w.b
}

// writer appends members, each with a comma behind it.
type writer struct {
	b         []byte
	escapeAmp bool
}

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

func (w *writer) end() { w.b = append(w.b, '"', ',') }

// text appends a member; key is the member's name in quotes with a colon and the
// opening quote of its value.
func (w *writer) text(key, value string) {
	w.raw(key)
	w.raw(value)
	w.end()
}

func (w *writer) number(key string, value int) {
	w.raw(key)
	w.b = strconv.AppendInt(w.b, int64(value), 10)
}

func (w *writer) quoted(key string, value int) {
	w.number(key, value)
	w.end()
}

func (w *writer) id(rec *record) {
	if rec.noID {
		return
	}
	w.raw(`"insertId":"`)
	w.b = appendBase36(w.b, rec.id)
	w.end()
}

func (w *writer) times(rec *record) {
	if rec.noTime {
		return
	}
	if !rec.attributeOnly {
		w.raw(`"timestamp":"`)
		w.b = append(w.b, rec.timestamp...)
		w.end()
	}
	w.raw(`"receiveTimestamp":"`)
	w.b = append(w.b, rec.received...)
	w.end()
}

func (w *writer) severity(rec *record) {
	if rec.status >= 400 {
		w.raw(`"severity":"WARNING",`)
	} else {
		w.raw(`"severity":"INFO",`)
	}
}

func (w *writer) logName(rec *record) {
	if rec.regional {
		w.raw(`"logName":"projects/example-project/logs/loadbalancing.googleapis.com%2Fexternal_regional_requests",`)
	} else {
		w.raw(`"logName":"projects/example-project/logs/requests",`)
	}
}

func (w *writer) trace(rec *record) {
	if rec.regional {
		return
	}
	a := mix(rec.id + 2)
	w.raw(`"trace":"projects/example-project/traces/`)
	w.b = appendHex(w.b, a, 16)
	w.b = appendHex(w.b, mix(a), 16)
	w.end()
	w.raw(`"spanId":"`)
	w.b = appendHex(w.b, mix(a+1), 16)
	w.end()
}

func (w *writer) resource(rec *record) {
	if rec.regional {
		w.raw(`"resource":{"type":"http_external_regional_lb_rule","labels":{"backend_name":"pixel-mig","backend_scope":"europe-west3-a",` +
			`"backend_scope_type":"ZONE","backend_target_name":"pixel-backend","backend_target_type":"BACKEND_SERVICE",` +
			`"backend_type":"INSTANCE_GROUP","forwarding_rule_name":"pixel-regional","matched_url_path_rule":"UNMATCHED",` +
			`"network_name":"default","project_id":"example-project","region":"europe-west3","target_proxy_name":"pixel-regional-proxy",` +
			`"url_map_name":"pixel-regional"}},`)
		return
	}
	w.raw(`"resource":{"type":"http_load_balancer","labels":{"forwarding_rule_name":"pixel-https","project_id":"example-project",` +
		`"target_proxy_name":"pixel-https-proxy","url_map_name":"pixel","backend_service_name":"","zone":"global"}},`)
}

// payload appends jsonPayload.
func (w *writer) payload(g *Generator, rec *record) {
	w.raw(`"jsonPayload":{"@type":"type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry",`)
	// Entries of a cache hit are often terse.
	full := !rec.hit || g.rnd.chance(0.3)
	if full {
		w.raw(`"backendTargetProjectNumber":"projects/123456789012",`)
	}
	if rec.regional {
		if rec.status >= 500 {
			w.raw(`"proxyStatus":"error=\"destination_unavailable\"; details=\"failed_to_pick_backend\"",`)
		}
	} else {
		if g.rnd.chance(0.98) {
			w.text(`"statusDetails":"`, rec.details)
		}
		w.raw(`"cacheId":"`)
		w.raw(rec.edge)
		w.b = append(w.b, '-')
		// A site has some dozens of caches.
		w.b = appendHex(w.b, mix(uint64(rec.edge[0])<<16|uint64(rec.edge[2])<<8|rec.id%24), 8)
		w.end()
		if full {
			w.raw(`"cacheDecision":["RESPONSE_HAS_CACHE_CONTROL","RESPONSE_HAS_ETAG","RESPONSE_HAS_CONTENT_TYPE","CACHE_MODE_FORCE_CACHE_ALL"],`)
		}
		w.raw(`"remoteIp":"`)
		w.b = append(w.b, rec.ip...)
		w.end()
	}
	if rec.parent != 0 {
		w.raw(`"parentInsertId":"`)
		w.b = appendBase36(w.b, rec.parent)
		w.end()
	}
	if rec.details == "denied_by_security_policy" {
		w.raw(`"enforcedSecurityPolicy":{"configuredAction":"DENY","name":"block-list","outcome":"DENY","priority":1000},`)
	}
	w.b[len(w.b)-1] = '}'
	w.b = append(w.b, ',')
}

// request appends httpRequest.
func (w *writer) request(rec *record) {
	if rec.noRequest {
		return
	}
	w.text(`"httpRequest":{"requestMethod":"`, rec.method)
	w.raw(`"requestUrl":"`)
	if w.escapeAmp {
		w.ampEscaped(rec.url)
	} else {
		w.b = append(w.b, rec.url...)
	}
	w.end()
	w.quoted(`"requestSize":"`, rec.requestSize)
	switch {
	case rec.wordStatus:
		w.raw(`"status":"OK",`)
	case rec.status != 0:
		w.number(`"status":`, rec.status)
		w.raw(",")
	}
	if rec.responseSize > 0 {
		w.quoted(`"responseSize":"`, rec.responseSize)
	}
	w.text(`"userAgent":"`, rec.agent)
	w.raw(`"remoteIp":"`)
	w.b = append(w.b, rec.ip...)
	w.end()
	if rec.referer != "" {
		w.text(`"referer":"`, rec.referer)
	}
	if rec.hit {
		w.raw(`"cacheHit":true,`)
	}
	if rec.lookup {
		w.raw(`"cacheLookup":true,`)
	}
	if rec.fillBytes > 0 {
		w.quoted(`"cacheFillBytes":"`, rec.fillBytes)
	}
	if rec.regional {
		w.raw(`"protocol":"HTTP/2","serverIp":"10.20.0.4:80",`)
	}
	w.raw(`"latency":"`)
	w.number("", rec.latency/1_000_000)
	w.raw(".")
	for unit := 100_000; unit > 0; unit /= 10 {
		w.b = append(w.b, byte('0'+rec.latency/unit%10))
	}
	w.raw(`s"},`)
}

// ampEscaped appends a URL with & as \u0026, as many JSON writers do.
func (w *writer) ampEscaped(url []byte) {
	for {
		i := bytes.IndexByte(url, '&')
		if i < 0 {
			w.b = append(w.b, url...)
			return
		}
		w.b = append(w.b, url[:i]...)
		w.raw(`\u0026`)
		url = url[i+1:]
	}
}

// spoil breaks what the record could not: the JSON itself, or its size.
func (g *Generator) spoil(data []byte, reason string) []byte {
	switch reason {
	case ReasonInvalidJSON:
		if g.rnd.chance(0.5) {
			// No proper prefix of a JSON object is valid.
			return data[:1+g.rnd.intn(len(data)-1)]
		}
		at := bytes.Index(data, []byte(`"userAgent":"`)) + len(`"userAgent":"`)
		data[at] = 0xff // no UTF-8 text holds this byte
		return data
	case ReasonTooLarge:
		data[len(data)-1] = ','
		data = append(data, `"labels":{"filler":"`...)
		for len(data) <= maxEntry {
			data = append(data, "all work and no play makes a long log entry "...)
		}
		return append(data, `"}}`...)
	}
	return data
}
