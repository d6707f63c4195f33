package edge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	stdgif "image/gif"
	stdpng "image/png"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// topic gathers what an Edge publishes, one by one.
type topic struct {
	mu      sync.Mutex
	entries []Entry
	fail    func(attempt int) error // nil: never
	attempt int
	gate    chan struct{} // if set, each publish waits for a value
}

func (p *topic) Publish(_ context.Context, data []byte, attributes map[string]string) error {
	if p.gate != nil {
		<-p.gate
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempt++
	if p.fail != nil {
		if err := p.fail(p.attempt); err != nil {
			return err
		}
	}
	p.entries = append(p.entries, Entry{data, attributes})
	return nil
}

// batchTopic takes batches.
type batchTopic struct {
	topic
	batches []int
}

func (p *batchTopic) PublishBatch(ctx context.Context, entries []Entry) error {
	for _, e := range entries {
		if err := p.Publish(ctx, e.Data, e.Attributes); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches = append(p.batches, len(entries))
	return nil
}

// parsed is an entry as a stranger to this package reads it.
type parsed struct {
	attributes  map[string]string
	InsertID    string         `json:"insertId"`
	JSONPayload map[string]any `json:"jsonPayload"`
	HTTPRequest map[string]any `json:"httpRequest"`
	Resource    struct {
		Type   string            `json:"type"`
		Labels map[string]string `json:"labels"`
	} `json:"resource"`
	Timestamp        time.Time `json:"timestamp"`
	ReceiveTimestamp time.Time `json:"receiveTimestamp"`
	Severity         string    `json:"severity"`
	LogName          string    `json:"logName"`
	Trace            string    `json:"trace"`
	SpanID           string    `json:"spanId"`
}

// rig is an Edge behind a real server.
type rig struct {
	*Edge
	server *httptest.Server
	topic  *topic
}

func newRig(t *testing.T, opts Options) *rig {
	t.Helper()
	p := &topic{}
	if opts.Publisher == nil {
		opts.Publisher = p
	}
	opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	e, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return &rig{e, server, p}
}

// do sends a request and returns the response and its body.
func (r *rig) do(t *testing.T, method, target string, header map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, r.server.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := r.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// finish closes the Edge and returns its entries in the order of their requests,
// which were made one after the other.
func (r *rig) finish(t *testing.T) []parsed {
	t.Helper()
	r.server.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	out := make([]parsed, len(r.topic.entries))
	for _, e := range r.topic.entries {
		p := parse(t, e)
		// The last part of an insertId counts from 1.
		n := strings.Index("0123456789abcdefghijklmnopqrstuvwxyz", p.InsertID[8:]) - 1
		if len(p.InsertID) != 9 || n < 0 || n >= len(out) {
			t.Fatalf("insertId %q among %d entries", p.InsertID, len(out))
		}
		out[n] = p
	}
	return out
}

func parse(t *testing.T, e Entry) parsed {
	t.Helper()
	p := parsed{attributes: e.Attributes}
	decoder := json.NewDecoder(bytes.NewReader(e.Data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%v in %s", err, e.Data)
	}
	return p
}

func TestImages(t *testing.T) {
	r := newRig(t, Options{})
	for _, target := range []string{"/pixel.gif", "/p.gif", "/pixel.png", "/pixel%2Egif?x=%zz;b"} {
		resp, body := r.do(t, "GET", target, nil)
		if resp.StatusCode != 200 || resp.ContentLength != int64(len(body)) {
			t.Errorf("%s: status %d, length %d, %d bytes", target, resp.StatusCode, resp.ContentLength, len(body))
		}
		decode, contentType := stdgif.Decode, "image/gif"
		if strings.Contains(target, "png") {
			decode, contentType = stdpng.Decode, "image/png"
		}
		img, err := decode(strings.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if size := img.Bounds().Size(); size.X != 1 || size.Y != 1 {
			t.Errorf("%s: size %v", target, size)
		}
		if _, _, _, alpha := img.At(0, 0).RGBA(); alpha != 0 {
			t.Errorf("%s: alpha %d", target, alpha)
		}
		if got := resp.Header.Get("Content-Type"); got != contentType {
			t.Errorf("%s: Content-Type %q", target, got)
		}
		if got := resp.Header.Get("Cache-Control"); got != "no-cache, no-store, must-revalidate" {
			t.Errorf("%s: Cache-Control %q", target, got)
		}
		if resp.Header.Get("ETag") == "" || resp.Header.Get("Last-Modified") == "" || resp.Header.Get("Via") != "1.1 google" {
			t.Errorf("%s: header %v", target, resp.Header)
		}
	}
	if len(gif.content) != 43 {
		t.Errorf("the GIF has %d bytes", len(gif.content))
	}
}

func TestEntry(t *testing.T) {
	r := newRig(t, Options{Project: "my-project", URLMap: "ads", CacheID: "SIN-7c9ff679"})
	before := time.Now()
	target := "/pixel.gif?adv=a&cid=%24(x)&u=$(id);|'<b>&amp;"
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: Ads.Example.com:8080\r\nUser-Agent: Agent \"7\"\r\nReferer: https://site.example/p?q=1&r=2\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n", target)
	response := raw(t, r, request)
	entries := r.finish(t)
	if len(entries) != 1 {
		t.Fatalf("%d entries", len(entries))
	}
	e := entries[0]
	want := map[string]any{
		"requestMethod":  "GET",
		"requestUrl":     "http://Ads.Example.com:8080" + target,
		"requestSize":    fmt.Sprint(len(request)),
		"status":         float64(200),
		"responseSize":   fmt.Sprint(len(response)),
		"userAgent":      `Agent "7"`,
		"remoteIp":       "127.0.0.1",
		"referer":        "https://site.example/p?q=1&r=2",
		"cacheLookup":    true,
		"cacheFillBytes": "43",
	}
	for k, v := range want {
		if e.HTTPRequest[k] != v {
			t.Errorf("%s is %v, want %v", k, e.HTTPRequest[k], v)
		}
	}
	latency, _ := e.HTTPRequest["latency"].(string)
	if !regexp.MustCompile(`^\d+\.\d{6}s$`).MatchString(latency) {
		t.Errorf("latency %q", latency)
	}
	if len(e.HTTPRequest) != len(want)+1 {
		t.Errorf("httpRequest is %v", e.HTTPRequest)
	}
	if p := e.JSONPayload; p["@type"] != "type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry" ||
		p["cacheId"] != "SIN-7c9ff679" || p["statusDetails"] != "response_sent_by_backend" || p["remoteIp"] != "127.0.0.1" {
		t.Errorf("jsonPayload is %v", p)
	}
	labels := e.Resource.Labels
	if name, ok := labels["backend_service_name"]; e.Resource.Type != "http_load_balancer" || labels["url_map_name"] != "ads" ||
		labels["project_id"] != "my-project" || labels["zone"] != "global" || name != "" || !ok {
		t.Errorf("resource is %+v", e.Resource)
	}
	if e.LogName != "projects/my-project/logs/requests" || e.Severity != "INFO" ||
		!regexp.MustCompile(`^projects/my-project/traces/[0-9a-f]{32}$`).MatchString(e.Trace) ||
		!regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(e.SpanID) {
		t.Errorf("entry is %+v", e)
	}
	if e.Timestamp.Before(before.Truncate(time.Microsecond)) || !e.ReceiveTimestamp.After(e.Timestamp) || e.ReceiveTimestamp.After(time.Now().Add(time.Millisecond)) {
		t.Errorf("timestamp %v, receiveTimestamp %v", e.Timestamp, e.ReceiveTimestamp)
	}
	attribute := e.attributes["logging.googleapis.com/timestamp"]
	if at, err := time.Parse(time.RFC3339Nano, attribute); err != nil || !at.Equal(e.Timestamp) || len(e.attributes) != 1 {
		t.Errorf("attributes %v, timestamp %v", e.attributes, e.Timestamp)
	}
}

// raw sends bytes and returns the bytes that come back.
func raw(t *testing.T, r *rig, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	// The server's own addition, which is not the load balancer's.
	return strings.Replace(string(response), "Connection: close\r\n", "", 1)
}

func TestOutcomes(t *testing.T) {
	r := newRig(t, Options{})
	etag := gif.etag
	steps := []struct {
		method, target string
		header         map[string]string
		status         int
		body           int // bytes; -1: an error's text
		cacheHit       bool
		fill           string
		lookup         bool
		details        string
		severity       string
	}{
		{"HEAD", "/pixel.gif", nil, 200, 0, false, "", true, "response_sent_by_backend", "INFO"},
		{"GET", "/pixel.gif", nil, 200, 43, false, "43", true, "response_sent_by_backend", "INFO"},
		{"GET", "/pixel.gif?2", nil, 200, 43, true, "", true, "response_from_cache", "INFO"},
		{"HEAD", "/pixel.gif", nil, 200, 0, true, "", true, "response_from_cache", "INFO"},
		{"GET", "/pixel.gif", map[string]string{"If-None-Match": etag}, 304, 0, true, "", true, "response_from_cache", "INFO"},
		{"GET", "/pixel.gif", map[string]string{"If-None-Match": `"other"`}, 200, 43, true, "", true, "response_from_cache", "INFO"},
		{"GET", "/pixel.gif", map[string]string{"If-Modified-Since": modified.Format(http.TimeFormat)}, 304, 0, true, "", true, "response_from_cache", "INFO"},
		{"GET", "/pixel.gif", map[string]string{"Range": "bytes=0-5"}, 206, 6, true, "", true, "response_from_cache", "INFO"},
		{"GET", "/pixel.png", nil, 200, len(png.content), false, fmt.Sprint(len(png.content)), true, "response_sent_by_backend", "INFO"},
		{"POST", "/pixel.gif", nil, 405, -1, false, "", false, "response_sent_by_backend", "WARNING"},
		{"OPTIONS", "/pixel.gif", nil, 405, -1, false, "", false, "response_sent_by_backend", "WARNING"},
		{"GET", "/", nil, 404, -1, false, "", true, "response_sent_by_backend", "WARNING"},
		{"HEAD", "/favicon.ico", nil, 404, 0, false, "", true, "response_sent_by_backend", "WARNING"},
		{"GET", "/PIXEL.gif", nil, 404, -1, false, "", true, "response_sent_by_backend", "WARNING"},
		{"GET", "/pixel.gif/", nil, 404, -1, false, "", true, "response_sent_by_backend", "WARNING"},
		{"GET", "//pixel.gif", nil, 404, -1, false, "", true, "response_sent_by_backend", "WARNING"},
	}
	for i, step := range steps {
		resp, body := r.do(t, step.method, step.target, step.header)
		if resp.StatusCode != step.status {
			t.Errorf("%d: status %d, want %d", i, resp.StatusCode, step.status)
		}
		if step.body >= 0 && len(body) != step.body || step.body < 0 && !strings.Contains(body, "<Error>") {
			t.Errorf("%d: body %q", i, body)
		}
		if hit := resp.Header.Get("Age") != ""; hit != step.cacheHit {
			t.Errorf("%d: Age %q", i, resp.Header.Get("Age"))
		}
	}
	entries := r.finish(t)
	if len(entries) != len(steps) {
		t.Fatalf("%d entries of %d requests", len(entries), len(steps))
	}
	for i, step := range steps {
		e := entries[i]
		is := func(name string, want any) {
			t.Helper()
			if got := e.HTTPRequest[name]; got != want {
				t.Errorf("%d: %s is %v, want %v", i, name, got, want)
			}
		}
		// What is false or 0 is absent.
		or := func(present bool, v any) any {
			if present {
				return v
			}
			return nil
		}
		is("requestMethod", step.method)
		is("requestUrl", r.server.URL+step.target)
		is("status", float64(step.status))
		is("cacheLookup", or(step.lookup, true))
		is("cacheHit", or(step.cacheHit, true))
		is("cacheFillBytes", or(step.fill != "", step.fill))
		is("referer", nil)
		if e.JSONPayload["statusDetails"] != step.details || e.Severity != step.severity {
			t.Errorf("%d: %v, severity %s", i, e.JSONPayload["statusDetails"], e.Severity)
		}
	}
	if st := r.Stats(); st != (Stats{Requests: int64(len(steps)), Published: int64(len(steps))}) {
		t.Errorf("stats %+v", st)
	}
}

func TestHeadHasTheHeadersOfGet(t *testing.T) {
	r := newRig(t, Options{Now: func() time.Time { return time.Unix(1767323045, 0) }})
	r.do(t, "GET", "/pixel.gif", nil) // fills the cache
	get, _ := r.do(t, "GET", "/pixel.gif", nil)
	head, _ := r.do(t, "HEAD", "/pixel.gif", nil)
	if fmt.Sprint(get.Header) != fmt.Sprint(head.Header) || head.ContentLength != 43 {
		t.Errorf("GET  %v\nHEAD %v", get.Header, head.Header)
	}
}

func TestOddRequests(t *testing.T) {
	r := newRig(t, Options{})
	requests := []struct{ request, url, agent string }{
		{"GET /pixel.gif?a=\xff\xfeb\xc3\xa9 HTTP/1.1\r\nHost: h\r\nUser-Agent: x\x80y\r\nConnection: close\r\n\r\n", "http://h/pixel.gif?a=??b\u00e9", "x?y"},
		{"GET http://other.example/pixel.gif?p HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "http://other.example/pixel.gif?p", ""},
		{"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "http://h", ""},
		{"GET /pixel.gif HTTP/1.0\r\n\r\n", r.server.URL + "/pixel.gif", ""},
		{"BREW /pixel.gif HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", "http://h/pixel.gif", ""},
	}
	var want []string
	for _, q := range requests {
		if raw(t, r, q.request) == "" {
			t.Errorf("no answer to %q", q.request)
		}
		want = append(want, q.url)
	}
	// net/http answers OPTIONS * itself.
	want = append(want[:2], want[3:]...)
	requests = append(requests[:2], requests[3:]...)
	entries := r.finish(t)
	if len(entries) != len(want) {
		t.Fatalf("%d entries, want %d", len(entries), len(want))
	}
	for i, e := range entries {
		if e.HTTPRequest["requestUrl"] != want[i] {
			t.Errorf("requestUrl %v, want %v", e.HTTPRequest["requestUrl"], want[i])
		}
		if agent, _ := e.HTTPRequest["userAgent"].(string); agent != requests[i].agent {
			t.Errorf("userAgent %q, want %q", agent, requests[i].agent)
		}
		if size := e.HTTPRequest["requestSize"]; i == 3 && size != fmt.Sprint(len(requests[i].request)) {
			t.Errorf("requestSize %v with a body, want %d", size, len(requests[i].request))
		}
	}
}

func TestClientGone(t *testing.T) {
	r := newRig(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/pixel.gif", nil))
	e := r.finish(t)[0]
	if _, ok := e.HTTPRequest["status"]; ok || w.Body.Len() != 0 || e.JSONPayload["statusDetails"] != "client_disconnected_before_any_response" {
		t.Errorf("entry %+v", e)
	}
}

func TestRemoteIP(t *testing.T) {
	tests := []struct {
		trust         bool
		remote, xff   string
		want, comment string
	}{
		{false, "192.0.2.1:1234", "203.0.113.9", "192.0.2.1", "not trusted"},
		{true, "192.0.2.1:1234", "", "192.0.2.1", "none"},
		{true, "192.0.2.1:1234", "203.0.113.9, 10.0.0.1", "203.0.113.9", "first"},
		{true, "192.0.2.1:1234", " 203.0.113.9:80", "203.0.113.9", "with port"},
		{true, "192.0.2.1:1234", "2001:db8::9", "2001:db8::9", "IPv6"},
		{true, "192.0.2.1:1234", "[2001:db8::9]:80", "2001:db8::9", "IPv6 with port"},
		{true, "192.0.2.1:1234", "unknown", "192.0.2.1", "no address"},
		{false, "[fe80::1%eth0]:1234", "", "fe80::1", "zone"},
		{false, "[::ffff:192.0.2.1]:1234", "", "192.0.2.1", "mapped"},
	}
	for _, test := range tests {
		r := newRig(t, Options{TrustForwardedFor: test.trust})
		req := httptest.NewRequest("GET", "/pixel.gif", nil)
		req.RemoteAddr = test.remote
		if test.xff != "" {
			req.Header.Set("X-Forwarded-For", test.xff)
		}
		r.ServeHTTP(httptest.NewRecorder(), req)
		e := r.finish(t)[0]
		if e.HTTPRequest["remoteIp"] != test.want || e.JSONPayload["remoteIp"] != test.want {
			t.Errorf("%s: %v and %v, want %s", test.comment, e.HTTPRequest["remoteIp"], e.JSONPayload["remoteIp"], test.want)
		}
	}
}

func TestConcurrentRequests(t *testing.T) {
	p := &batchTopic{}
	r := newRig(t, Options{Publisher: p, QueueSize: 10})
	const clients, each = 8, 50
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() {
			for i := range each {
				r.do(t, "GET", fmt.Sprintf("/pixel.gif?%d-%d", c, i), nil)
			}
		})
	}
	running.Wait()
	r.server.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	ids, urls := map[string]bool{}, map[string]bool{}
	fills := 0
	for _, e := range p.entries {
		got := parse(t, e)
		ids[got.InsertID] = true
		urls[got.HTTPRequest["requestUrl"].(string)] = true
		if got.HTTPRequest["cacheFillBytes"] != nil {
			fills++
		}
	}
	if len(p.entries) != clients*each || len(ids) != clients*each || len(urls) != clients*each {
		t.Errorf("%d entries, %d insertIds, %d URLs, want %d", len(p.entries), len(ids), len(urls), clients*each)
	}
	if fills != 1 {
		t.Errorf("the cache was filled %d times", fills)
	}
}

func TestFullQueueDelaysTheNextRequestOnly(t *testing.T) {
	p := &topic{gate: make(chan struct{})}
	r := newRig(t, Options{Publisher: p, QueueSize: 1})
	// More than the workers and the queue have room for at once.
	const n = 5 * sinkWorkers
	conns := make([]net.Conn, 0, n)
	for range n {
		conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /pixel.gif HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		conns = append(conns, conn)
	}
	for i, conn := range conns {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("connection %d: %v, %v", i, resp, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 43 {
			t.Errorf("connection %d: %d bytes, %v", i, len(body), err)
		}
	}
	close(p.gate)
	r.server.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(p.entries) != n {
		t.Errorf("%d entries of %d requests", len(p.entries), n)
	}
}

func TestCloseDrains(t *testing.T) {
	p := &topic{gate: make(chan struct{})}
	r := newRig(t, Options{Publisher: p})
	for range 100 {
		r.do(t, "GET", "/pixel.gif", nil)
	}
	r.server.Close()
	closed := make(chan error)
	go func() { closed <- r.Close() }()
	close(p.gate)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if len(p.entries) != 100 {
		t.Errorf("%d entries of 100 requests", len(p.entries))
	}
}

func TestPublishIsTriedAgain(t *testing.T) {
	for _, batch := range []bool{false, true} {
		p := &batchTopic{}
		p.fail = func(attempt int) error {
			if attempt%3 != 0 {
				return errors.New("injected")
			}
			return nil
		}
		r := newRig(t, Options{Publisher: p})
		if !batch {
			r = newRig(t, Options{Publisher: &p.topic})
		}
		for range 3 {
			r.do(t, "GET", "/pixel.gif", nil)
		}
		r.server.Close()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, e := range p.entries {
			ids[parse(t, e).InsertID] = true
		}
		if st := r.Stats(); len(ids) != 3 || st.Published != 3 || st.Failed != 0 {
			t.Errorf("batch %v: %d entries, stats %+v", batch, len(ids), st)
		}
	}
}

func TestLostEntriesAreCounted(t *testing.T) {
	p := &topic{fail: func(int) error { return errors.New("injected") }}
	r := newRig(t, Options{Publisher: p})
	resp, _ := r.do(t, "GET", "/pixel.gif", nil)
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	r.server.Close()
	r.sink.cancel() // no more time
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "1 log entries") {
		t.Errorf("Close: %v", err)
	}
	// What comes after Close is answered and counted.
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/pixel.gif", nil))
	if st := r.Stats(); w.Code != 200 || st != (Stats{Requests: 2, Failed: 2}) {
		t.Errorf("status %d, stats %+v", w.Code, st)
	}
}

func TestNewRefuses(t *testing.T) {
	for want, opts := range map[string]Options{
		"Publisher is missing": {},
		"QueueSize":            {Publisher: &topic{}, QueueSize: -1},
		`"pixel.gif"`:          {Publisher: &topic{}, PixelPaths: []string{"pixel.gif"}},
	} {
		if _, err := New(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %s", err, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{"": "", "plain é €": "plain é €", "\xff": "?", "a\xe2\x82b": "a??b", "\xed\xa0\x80": "???", "\ufffd": "\ufffd"} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func BenchmarkServeHTTP(b *testing.B) {
	e, err := New(Options{Publisher: discard{}})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	req := httptest.NewRequest("GET", "/pixel.gif?adv=acme&cid=autumn&crid=300x250&pl=box&uid=u1&w=300&h=250&cb=12345", nil)
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
	b.ReportAllocs()
	for b.Loop() {
		e.ServeHTTP(httptest.NewRecorder(), req)
	}
}

type discard struct{}

func (discard) Publish(context.Context, []byte, map[string]string) error { return nil }
