package sink

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	firstPause = 100 * time.Millisecond
	longPause  = 15 * time.Second
)

// pause sleeps before the n-th retry (from 1): exponential, with full jitter so
// that workers which failed together do not come back together. It ends early
// with the context's error.
func pause(ctx context.Context, n int) error {
	bound := longPause
	if n < 8 { // 100 ms << 7 is 12.8 s
		bound = min(bound, firstPause<<(n-1))
	}
	timer := time.NewTimer(bound/2 + rand.N(bound/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outside tells whether an error is a fault of the service or the way to it, so
// that the same request may succeed later. An error without a gRPC status (a
// closed connection's io.EOF) counts as one.
func outside(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.Internal,
		codes.DeadlineExceeded, codes.Canceled, codes.Unknown:
		return true
	}
	return false
}
