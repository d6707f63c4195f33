package profileserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pixelbeam/profiles"
)

// GCPercent and MemoryLimit (in bytes) are the settings of Go's garbage collector,
// GOGC and GOMEMLIMIT, for a process that is a Server. What a request needs is
// garbage when it is answered, and next to nothing else lives, so that with Go's
// default a collection would come every few megabytes; each stops requests for
// milliseconds (GODEBUG=gctrace=1 tells). Large answers to many at once live
// longer, and then the limit has it collect more often.
const (
	GCPercent   = 1600
	MemoryLimit = 512 << 20
)

// MaxCalls is a default of profiles.Options.MaxCalls: with 3 ms for a request it
// takes 2,600 reads a second before one waits for another.
const MaxCalls = 8

// Options of a Server. Zero values of limits are their defaults.
type Options struct {
	// Reader reads the profiles; required.
	Reader *profiles.Reader
	// Tokens of which each request has to bring one; nil asks for none.
	Tokens *Tokens
	// LocalOnly refuses requests whose Host header is not of this machine, so that
	// a web page cannot reach a server without tokens by a name of its own that it
	// points to loopback (DNS rebinding).
	LocalOnly bool
	// MaxUsers and MaxCaps bound a request, default 100 each, and MaxBody its body
	// in bytes, default 1 MiB.
	MaxUsers, MaxCaps int
	MaxBody           int64
	// MaxConcurrent is how many requests are worked on at once, default 128. More
	// wait for a short time and are then told to try again (503).
	MaxConcurrent int
	// Rate is how many requests a second are taken, 0 any number; one second's
	// worth may come at once. More are told to try again (429).
	Rate int
	// Timeout bounds the work on a request, default 1 s.
	Timeout time.Duration
	// Drain is how long requests may go on when the server stops, default 10 s.
	Drain time.Duration
	// Log is told of faults, never of users; default slog.Default.
	Log *slog.Logger
	// Now is the clock of periods; default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.MaxUsers, 100)
	set(&o.MaxCaps, 100)
	set(&o.MaxConcurrent, 128)
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if o.Drain == 0 {
		o.Drain = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Server is the HTTP service.
type Server struct {
	opts     Options
	mux      *http.ServeMux
	slots    chan struct{}
	limiter  *rate.Limiter
	metrics  *metrics
	draining atomic.Bool
	ready    readiness
}

// route is one operation. An open one needs no token and counts for no limit.
type route struct {
	method, path string
	open         bool
	handle       func(*Server, http.ResponseWriter, *http.Request) error
}

// routes are all operations, as in openapi.json.
var routes = []route{
	{http.MethodGet, "/v1/profiles/{user_id}", false, (*Server).getProfile},
	{http.MethodPost, "/v1/profiles:batchGet", false, (*Server).batchGet},
	{http.MethodGet, "/v1/profiles/{user_id}/frequency", false, (*Server).getFrequency},
	{http.MethodPost, "/v1/frequency:check", false, (*Server).checkFrequency},
	{http.MethodGet, "/metrics", false, (*Server).getMetrics},
	{http.MethodGet, "/openapi.json", true, (*Server).getOpenAPI},
	{http.MethodGet, "/healthz", true, (*Server).getHealth},
	{http.MethodGet, "/readyz", true, (*Server).getReady},
}

// New returns a server.
func New(opts Options) *Server {
	s := &Server{opts: opts.withDefaults(), mux: http.NewServeMux()}
	s.slots = make(chan struct{}, s.opts.MaxConcurrent)
	s.limiter = rate.NewLimiter(rate.Inf, 0)
	if s.opts.Rate > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(s.opts.Rate), s.opts.Rate)
	}
	s.metrics = newMetrics(routes)
	for i := range routes {
		s.mux.Handle(routes[i].method+" "+routes[i].path, s.operation(&routes[i], s.metrics.route(i)))
	}
	return s
}

// ServeHTTP serves a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	// What the multiplexer says of a path or method that it does not know.
	said := verdict{header: http.Header{}}
	handler.ServeHTTP(&said, r)
	if allow := said.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		writeProblem(w, &problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Detail: "this path takes " + allow})
		return
	}
	writeProblem(w, &problem{Status: http.StatusNotFound, Code: "no_such_path", Detail: "there is no such path; /openapi.json has those that there are"})
}

// verdict takes the status of an answer and drops its body.
type verdict struct{ header http.Header }

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }
func (v *verdict) WriteHeader(int)             {}

// operation puts limits and measures around a handler.
func (s *Server) operation(op *route, m *routeMetrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		s.metrics.inFlight.Add(1)
		answered := false
		defer func() {
			s.metrics.inFlight.Add(-1)
			if !answered { // It panics, and net/http cuts the connection.
				answer.status = http.StatusInternalServerError
			}
			m.observe(answer.status, time.Since(start))
		}()
		if err := s.guard(op, answer, r); err != nil {
			s.fail(answer, r, err)
		}
		answered = true
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// queueFor is how long a request waits for others to end.
const queueFor = 50 * time.Millisecond

// guard lets a request through to its handler if it may pass.
func (s *Server) guard(op *route, w http.ResponseWriter, r *http.Request) error {
	if s.opts.LocalOnly && !localHost(r.Host) {
		return &problem{Status: http.StatusMisdirectedRequest, Code: "not_local", Detail: "without tokens this server answers to localhost and loopback addresses only"}
	}
	if op.open {
		return op.handle(s, w, r)
	}
	if !s.opts.Tokens.allow(r, s.opts.Log) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="pixelbeam profiles"`)
		return &problem{Status: http.StatusUnauthorized, Code: "unauthorized", Detail: "send a token that this server knows, as 'Authorization: Bearer TOKEN'"}
	}
	if !s.limiter.Allow() {
		w.Header().Set("Retry-After", "1")
		return &problem{Status: http.StatusTooManyRequests, Code: "rate_limited", Detail: "this server takes no more requests in this second"}
	}
	if !s.enter(r.Context()) {
		w.Header().Set("Retry-After", "1")
		return &problem{Status: http.StatusServiceUnavailable, Code: "overloaded", Detail: "this server works on as many requests as it may"}
	}
	defer func() { <-s.slots }()
	ctx, cancel := context.WithTimeout(r.Context(), s.opts.Timeout)
	defer cancel()
	r = r.WithContext(ctx)
	r.Body = http.MaxBytesReader(w, r.Body, s.opts.MaxBody)
	return op.handle(s, w, r)
}

// enter takes a slot, waiting a little for one.
func (s *Server) enter(ctx context.Context) bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(queueFor)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// localHost tells whether a Host header names this machine.
func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return IsLoopback(host)
}

// IsLoopback tells whether a host is localhost or a loopback address.
func IsLoopback(host string) bool {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Serve serves connections of l, which it closes, until ctx ends; then it lets
// requests go on for Options.Drain, and /readyz says that it is not ready. With a
// certificate it speaks HTTPS (TLS 1.2 or later, HTTP/1.1 or 2), without (nil) HTTP. It returns nil if it stopped because of ctx and all requests ended.
func (s *Server) Serve(ctx context.Context, l net.Listener, cert *Certificate) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10, // a user id of 4 KiB, percent-encoded, and the rest
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() {
		if cert != nil {
			server.TLSConfig = cert.config(s.opts.Log)
			served <- server.ServeTLS(l, "", "")
			return
		}
		served <- server.Serve(l)
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Drain)
	defer cancel()
	err := server.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(errors.New("requests were cut off: they took longer than the drain time"), server.Close())
	}
	<-served // http.ErrServerClosed
	return err
}

// readiness remembers for a second whether the table could be read.
type readiness struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// check reads a row that does not exist, at most once a second.
func (r *readiness) check(ctx context.Context, s *Server) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.at.IsZero() || now.Sub(r.at) > time.Second {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Timeout)
		defer cancel()
		_, r.err = s.opts.Reader.Get(ctx, "readyz", profiles.Period{})
		if errors.Is(r.err, profiles.ErrUnknown) {
			r.err = nil
		}
		r.at = now
	}
	return r.err
}
