package bigtabled

import (
	"context"
	"path"
	"sync"

	"google.golang.org/grpc"
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

func (s *Server) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := s.fault(info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (s *Server) interceptStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := s.fault(info.FullMethod); err != nil {
		return err
	}
	return handler(srv, ss)
}

func (s *Server) fault(fullMethod string) error {
	if s.opts.Fault == nil {
		return nil
	}
	method := path.Base(fullMethod)
	return s.opts.Fault(method, s.calls.next(method))
}
