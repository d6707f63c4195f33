package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// timestampAttribute carries a message's event time; log sinks set it.
const timestampAttribute = "logging.googleapis.com/timestamp"

// logEntry is a google.logging.v2.LogEntry of an external Application Load
// Balancer, in proto3 JSON: int64 values are strings, false and 0 are left out.
// https://cloud.google.com/load-balancing/docs/https/https-logging-monitoring
type logEntry struct {
	InsertID         string      `json:"insertId"`
	JSONPayload      jsonPayload `json:"jsonPayload"`
	HTTPRequest      httpRequest `json:"httpRequest"`
	Resource         resource    `json:"resource"`
	Timestamp        string      `json:"timestamp"`
	Severity         string      `json:"severity"`
	LogName          string      `json:"logName"`
	Trace            string      `json:"trace"`
	ReceiveTimestamp string      `json:"receiveTimestamp"`
	SpanID           string      `json:"spanId"`
}

type jsonPayload struct {
	Type                       string   `json:"@type"`
	CacheID                    string   `json:"cacheId,omitempty"`
	BackendTargetProjectNumber string   `json:"backendTargetProjectNumber"`
	RemoteIP                   string   `json:"remoteIp"`
	StatusDetails              string   `json:"statusDetails"`
	CacheDecision              []string `json:"cacheDecision,omitempty"`
}

type httpRequest struct {
	RequestMethod  string `json:"requestMethod"`
	RequestURL     string `json:"requestUrl"`
	RequestSize    int64  `json:"requestSize,string"`
	Status         int    `json:"status,omitempty"`
	ResponseSize   int64  `json:"responseSize,string,omitempty"`
	UserAgent      string `json:"userAgent,omitempty"`
	RemoteIP       string `json:"remoteIp"`
	Referer        string `json:"referer,omitempty"`
	CacheLookup    bool   `json:"cacheLookup,omitempty"`
	CacheHit       bool   `json:"cacheHit,omitempty"`
	CacheFillBytes int64  `json:"cacheFillBytes,string,omitempty"`
	Latency        string `json:"latency"`
}

type resource struct {
	Type   string            `json:"type"`
	Labels map[string]string `json:"labels"`
}

// outcome is what became of a request.
type outcome struct {
	began, ended time.Time
	status       int   // 0 if the client had gone
	responseSize int64 // bytes, status line and headers included
	lookup, hit  bool  // in the cache
	fill         int64 // bytes that went into the cache
	details      string
	decision     []string
}

// logger makes entries. It is safe for concurrent use.
type logger struct {
	opts Options
	// prefix and sequence make insertIds that are unique in the process for sure
	// and between processes by chance, 36^8 to 1.
	prefix   string
	sequence atomic.Uint64
}

func newLogger(opts Options) *logger {
	prefix := make([]byte, 8)
	for i := range prefix {
		prefix[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[rand.N(36)]
	}
	return &logger{opts: opts, prefix: string(prefix)}
}

// entry returns the log entry of a request, as the sink publishes it.
func (l *logger) entry(r *http.Request, o outcome) (Entry, error) {
	ip := l.remoteIP(r)
	at := o.began.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
	received := l.opts.Now()
	if !received.After(o.ended) {
		received = o.ended.Add(time.Microsecond)
	}
	e := logEntry{
		InsertID: l.prefix + strconv.FormatUint(l.sequence.Add(1), 36),
		JSONPayload: jsonPayload{
			Type:                       "type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry",
			CacheID:                    l.opts.CacheID,
			BackendTargetProjectNumber: "projects/000000000000",
			RemoteIP:                   ip,
			StatusDetails:              o.details,
			CacheDecision:              o.decision,
		},
		HTTPRequest: httpRequest{
			RequestMethod:  clean(r.Method),
			RequestURL:     clean(requestURL(r)),
			RequestSize:    requestSize(r),
			Status:         o.status,
			ResponseSize:   o.responseSize,
			UserAgent:      clean(r.UserAgent()),
			RemoteIP:       ip,
			Referer:        clean(r.Referer()),
			CacheLookup:    o.lookup,
			CacheHit:       o.hit,
			CacheFillBytes: o.fill,
			Latency:        fmt.Sprintf("%.6fs", o.ended.Sub(o.began).Seconds()),
		},
		Resource: resource{
			Type: "http_load_balancer",
			Labels: map[string]string{
				"backend_service_name": "", // a bucket
				"forwarding_rule_name": l.opts.URLMap + "-forwarding-rule",
				"project_id":           l.opts.Project,
				"target_proxy_name":    l.opts.URLMap + "-target-proxy",
				"url_map_name":         l.opts.URLMap,
				"zone":                 "global",
			},
		},
		Timestamp:        at,
		Severity:         "INFO",
		LogName:          "projects/" + l.opts.Project + "/logs/requests",
		Trace:            fmt.Sprintf("projects/%s/traces/%016x%016x", l.opts.Project, rand.Uint64(), rand.Uint64()),
		ReceiveTimestamp: received.UTC().Format(time.RFC3339Nano),
		SpanID:           fmt.Sprintf("%016x", rand.Uint64()),
	}
	if o.status >= 400 {
		e.Severity = "WARNING"
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // entries hold a plain &
	if err := encoder.Encode(e); err != nil {
		return Entry{}, err
	}
	return Entry{
		Data:       bytes.TrimSuffix(b.Bytes(), []byte("\n")),
		Attributes: map[string]string{timestampAttribute: at},
	}, nil
}

// remoteIP returns the client's address without port or zone.
func (l *logger) remoteIP(r *http.Request) string {
	if l.opts.TrustForwardedFor {
		first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
		if ip, ok := parseIP(strings.TrimSpace(first)); ok {
			return ip
		}
	}
	if ip, ok := parseIP(r.RemoteAddr); ok {
		return ip
	}
	return r.RemoteAddr
}

// parseIP takes an address with or without port.
func parseIP(s string) (string, bool) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	addr, err := netip.ParseAddr(s)
	return addr.WithZone("").Unmap().String(), err == nil
}

// requestURL returns the URL of the request line with the host of the Host header,
// both as sent.
func requestURL(r *http.Request) string {
	if r.URL.IsAbs() { // a request line as for a proxy
		return r.RequestURI
	}
	if !strings.HasPrefix(r.RequestURI, "/") { // OPTIONS *, CONNECT
		return origin(r)
	}
	return origin(r) + r.RequestURI
}

// origin returns scheme and host of a request; the host is the address served on
// for clients so old that they send none.
func origin(r *http.Request) string {
	host := r.Host
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && host == "" {
		host = addr.String()
	}
	if r.TLS != nil {
		return "https://" + host
	}
	return "http://" + host
}

// requestSize returns the bytes of request line, headers and body.
func requestSize(r *http.Request) int64 {
	n := len(r.Method) + 1 + len(r.RequestURI) + 1 + len(r.Proto) + 2
	n += len("Host: ") + len(r.Host) + 2
	return int64(n) + headerSize(r.Header) + max(r.ContentLength, 0)
}

// headerSize returns the bytes of a header and the empty line after it.
func headerSize(h http.Header) int64 {
	n := 2
	for name, values := range h {
		for _, v := range values {
			n += len(name) + 2 + len(v) + 2
		}
	}
	return int64(n)
}

// clean replaces every byte that is not part of UTF-8 by a question mark, as
// Cloud Logging's writers do.
func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			b = append(b, '?')
		} else {
			b = append(b, s[:n]...)
		}
		s = s[n:]
	}
	return string(b)
}
