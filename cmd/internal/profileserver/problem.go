package profileserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// problem is an error as its client sees it: problem details (RFC 9457) with two
// extension members, code and errors.
type problem struct {
	Type   string       `json:"type"` // about:blank: the title is that of the status
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Code   string       `json:"code"` // for programs
	Detail string       `json:"detail"`
	Errors []fieldError `json:"errors,omitempty"`
}

// fieldError is what is wrong with one field or parameter of a request.
type fieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// writeProblem answers a request.
func writeProblem(w http.ResponseWriter, p *problem) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers only
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // A client that went away needs no answer.
}

// fail answers a request with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	if !errors.As(err, &p) {
		p = s.fault(r, err)
		w.Header().Set("Retry-After", "1")
	}
	writeProblem(w, p)
}

// fault makes a problem of an error of Bigtable. Its words go to the log: they are
// for the operator.
func (s *Server) fault(r *http.Request, err error) *problem {
	code := status.Code(err)
	if errors.Is(err, context.DeadlineExceeded) || code == codes.DeadlineExceeded {
		s.opts.Log.Warn("reading profiles took too long", "route", r.Pattern, "timeout", s.opts.Timeout)
		return &problem{Status: http.StatusGatewayTimeout, Code: "timeout", Detail: "reading the profiles took longer than " + s.opts.Timeout.String()}
	}
	if r.Context().Err() == nil { // else the client went away
		s.opts.Log.Error("reading profiles failed", "route", r.Pattern, "error", err)
	}
	switch code {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.Canceled:
		return &problem{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the profiles cannot be read at the moment"}
	}
	return &problem{Status: http.StatusBadGateway, Code: "bigtable_error", Detail: "the profiles cannot be read; the log of this server says why"}
}
