package bigtabled

import (
	"context"
	"path"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// callCounter numbers the requests of each method.
type callCounter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *callCounter) next(method string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[method]++
	return c.n[method]
}

func (s *Server) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	if err := s.fault(info.FullMethod); err != nil {
		return nil, err
	}
	defer unimplemented(info.FullMethod, &err)
	return handler(ctx, req)
}

func (s *Server) interceptStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	if err := s.fault(info.FullMethod); err != nil {
		return err
	}
	defer unimplemented(info.FullMethod, &err)
	return handler(srv, ss)
}

func (s *Server) fault(fullMethod string) error {
	if s.opts.Fault == nil {
		return nil
	}
	method := path.Base(fullMethod)
	return s.opts.Fault(method, s.calls.next(method))
}

// unimplemented turns a panic into an answer: bttest panics in methods that it
// does not have.
func unimplemented(fullMethod string, err *error) {
	if r := recover(); r != nil {
		*err = status.Errorf(codes.Unimplemented, "bigtabled: %s is not supported: %v", fullMethod, r)
	}
}
