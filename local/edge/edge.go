package edge

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// cacheControl is what the real set-up sends in place of a client TTL.
const cacheControl = "no-cache, no-store, must-revalidate"

// Stats are an Edge's figures since it was made.
type Stats struct {
	// Requests counts requests that became a log entry.
	Requests int64
	// Published counts entries published, Failed those that could not be.
	Published, Failed int64
	// Queued counts entries that wait.
	Queued int64
}

// Edge is the HTTP handler of a pixel edge. It is safe for concurrent use.
type Edge struct {
	opts     Options
	pages    map[string]http.Handler
	filled   map[string]*atomic.Int64 // when a pixel path came into the cache, Unix seconds, 0 if not yet
	log      *logger
	sink     *sink
	requests atomic.Int64
}

// New returns an Edge, or an error that names every option that cannot be used.
// Close it after the HTTP server that it serves in has been shut down.
func New(opts Options) (*Edge, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Edge{
		opts:   opts,
		pages:  pages(opts),
		filled: map[string]*atomic.Int64{},
		log:    newLogger(opts),
		sink:   startSink(opts),
	}
	for _, p := range opts.PixelPaths {
		e.filled[p] = new(atomic.Int64)
	}
	return e, nil
}

// Close publishes the entries that are queued, trying for up to 15 seconds. The
// error says how many entries have been lost since the Edge was made.
func (e *Edge) Close() error { return e.sink.close() }

// Stats returns the figures.
func (e *Edge) Stats() Stats {
	return Stats{
		Requests:  e.requests.Load(),
		Published: e.sink.published.Load(),
		Failed:    e.sink.failed.Load(),
		Queued:    int64(len(e.sink.queue)),
	}
}

// ServeHTTP answers and logs a request, or shows a page. It needs the request as a
// server received it.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if page, ok := e.pages[r.URL.Path]; ok {
		page.ServeHTTP(w, r)
		return
	}
	o := outcome{began: e.opts.Now()}
	if r.Context().Err() != nil {
		o.details = "client_disconnected_before_any_response"
	} else {
		e.answer(&recorder{ResponseWriter: w, proto: r.Proto}, r, &o)
	}
	o.ended = e.opts.Now()
	e.requests.Add(1)
	entry, err := e.log.entry(r, o)
	if err != nil {
		e.sink.failed.Add(1)
		e.opts.Logger.Error("edge: log entry lost: cannot encode it", "error", err)
		return
	}
	e.sink.put(entry, func() {
		// The client need not wait for the log, but its next request will.
		_ = http.NewResponseController(w).Flush()
	})
}

// answer writes the response and notes what became of the request.
func (e *Edge) answer(w *recorder, r *http.Request, o *outcome) {
	h := w.Header()
	// The set-up adds it to every response, errors included.
	h.Set("Cache-Control", cacheControl)
	h.Set("Via", "1.1 google")
	h.Set("Date", o.began.UTC().Format(http.TimeFormat))
	o.details = "response_sent_by_backend"
	filled, ok := e.filled[r.URL.Path]
	switch {
	case !ok:
		o.lookup = r.Method == http.MethodGet || r.Method == http.MethodHead
		refuse(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		o.decision = []string{"RESPONSE_HAS_CONTENT_TYPE", "CACHE_MODE_FORCE_CACHE_ALL"}
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	default:
		o.lookup = true
		e.pixel(w, r, filled, o)
	}
	o.status = w.status
	o.responseSize = w.headBytes + w.bodyBytes
}

// pixel answers from the cache, or from the bucket as long as no GET has filled
// the cache.
func (e *Edge) pixel(w *recorder, r *http.Request, filled *atomic.Int64, o *outcome) {
	img := imageFor(r.URL.Path)
	h := w.Header()
	h.Set("Content-Type", img.contentType)
	h.Set("ETag", img.etag)
	// Pages that isolate themselves load images of other origins only with this.
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	now := o.began.Unix()
	at := filled.Load()
	if at == 0 && r.Method == http.MethodGet && filled.CompareAndSwap(0, now) {
		o.fill = int64(len(img.content))
	} else if at != 0 {
		o.hit = true
		o.details = "response_from_cache"
		h.Set("Age", strconv.FormatInt(max(0, now-at), 10))
	}
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "Range"} {
		if r.Header.Get(name) != "" {
			o.decision = append(o.decision, "REQUEST_HAS_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
		}
	}
	o.decision = slices.Concat(
		[]string{"RESPONSE_HAS_CACHE_CONTROL", "RESPONSE_HAS_ETAG", "RESPONSE_HAS_LAST_MODIFIED", "RESPONSE_HAS_CONTENT_TYPE"},
		o.decision, []string{"CACHE_MODE_FORCE_CACHE_ALL"})
	http.ServeContent(w, r, "", modified, strings.NewReader(img.content))
}

// refuse answers with an error as Cloud Storage words it.
func refuse(w http.ResponseWriter, status int, code, message string) {
	body := "<?xml version='1.0' encoding='UTF-8'?><Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>"
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// For HEAD the server leaves the body out. That the client is gone is not
	// known for sure here, and the load balancer would not know either.
	_, _ = w.Write([]byte(body))
}

// recorder counts what goes to the client.
type recorder struct {
	http.ResponseWriter
	proto     string
	status    int
	headBytes int64
	bodyBytes int64
}

// Unwrap lets http.ResponseController reach the server's writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
		w.headBytes = int64(len(w.proto)+len(" 200 ")+len(http.StatusText(status))+2) + headerSize(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(b)
	w.bodyBytes += int64(n)
	return n, err
}

// healthz answers that the edge is there.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte("ok " + time.Now().UTC().Format(time.RFC3339) + "\n"))
}
