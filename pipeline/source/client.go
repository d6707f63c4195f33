package source

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	pullTimeout  = 90 * time.Second // far beyond what the service makes a pull wait
	otherTimeout = 30 * time.Second // of every other call
	// keepAlive finds a dead connection under a waiting pull. Servers punish
	// shorter intervals.
	keepAlive = 5 * time.Minute

	// Bytes in flight of one response and of all, and of one read.
	streamWindow     = 4 << 20
	connectionWindow = 16 << 20
	readBuffer       = 128 << 10

	// defaultLease is the shortest deadline that the service knows, assumed of
	// a subscription that may be pulled from but not looked at.
	defaultLease = 10 * time.Second

	backoffMin = 100 * time.Millisecond
	backoffMax = 15 * time.Second
)

// newClient returns a client for cfg's endpoint whose calls are neither retried
// nor given a deadline: the reader does both.
func newClient(ctx context.Context, cfg PubSubConfig) (*pubsub.SubscriptionAdminClient, error) {
	opts := []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepAlive})),
		// A pull's response is one to two megabytes: it should come without waiting
		// for the window to be opened again, and in few reads.
		option.WithGRPCDialOption(grpc.WithInitialWindowSize(streamWindow)),
		option.WithGRPCDialOption(grpc.WithInitialConnWindowSize(connectionWindow)),
		option.WithGRPCDialOption(grpc.WithReadBufferSize(readBuffer)),
	}
	if cfg.Endpoint != "" {
		opts = append(opts,
			option.WithEndpoint(cfg.Endpoint),
			option.WithoutAuthentication(),
			option.WithTelemetryDisabled(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		)
	}
	client, err := pubsub.NewSubscriptionAdminClient(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("no Pub/Sub client: %w (log in with `gcloud auth application-default login`, or set PUBSUB_EMULATOR_HOST)", err)
	}
	client.CallOptions = &pubsub.SubscriptionAdminCallOptions{}
	return client, nil
}

// leaseOf returns the ack deadline of the subscription. The error is one that
// waiting may cure, or one that refused.
func leaseOf(ctx context.Context, client *pubsub.SubscriptionAdminClient, subscription string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, otherTimeout)
	defer cancel()
	sub, err := client.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: subscription})
	switch status.Code(err) {
	case codes.OK:
		return max(time.Second, time.Duration(sub.GetAckDeadlineSeconds())*time.Second), nil
	case codes.PermissionDenied, codes.Unimplemented:
		return defaultLease, nil
	}
	return 0, err
}

// refused says whether err is the server's answer to the request itself, which
// the same request will get again.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument,
		codes.FailedPrecondition, codes.Unimplemented:
		return true
	}
	return false
}

// explain turns a refusal into an error that names the subscription and what to
// do about it.
func explain(err error, cfg PubSubConfig) error {
	remedy := ""
	switch status.Code(err) {
	case codes.NotFound:
		remedy = ": create the subscription, or correct its name"
	case codes.PermissionDenied:
		remedy = ": grant roles/pubsub.subscriber on it to the account that the job runs as"
	case codes.Unauthenticated:
		remedy = ": log in with `gcloud auth application-default login`"
	case codes.FailedPrecondition:
		remedy = ": it must be a pull subscription"
	}
	return fmt.Errorf("cannot read subscription %s: %w%s", cfg.Subscription, err, remedy)
}

// backoff gives growing, jittered waits. The zero value is ready to use.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// wait sleeps and reports whether it slept to the end rather than being
// cancelled.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(backoffMax, max(backoffMin, 2*b.next))
	return sleep(ctx, b.next/2+rand.N(b.next/2))
}

// sleep reports whether it slept to the end rather than being cancelled.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
