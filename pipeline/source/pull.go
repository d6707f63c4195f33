package source

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc"
)

const (
	// pullSize is the most messages that a pull asks for. The service gives no
	// more.
	pullSize = 1000
	// A response with less than one part in smallPull of the messages asked for
	// says that the puller is ahead of the publishers. It then lets smallPause
	// go by, so that a slow stream is not pulled one message at a time.
	smallPull  = 4
	smallPause = 25 * time.Millisecond
	// A server that answers an empty pull sooner than quickEmpty does not wait
	// for messages itself; the puller pauses up to emptyPause.
	quickEmpty = 20 * time.Millisecond
	emptyPause = 250 * time.Millisecond
)

// pull is one puller. It pulls until the reader is stopped.
func (r *reader) pull(i int) {
	defer r.pullerDone()
	var wait backoff
	pause := time.Duration(0)
	for {
		select {
		case r.slots <- struct{}{}:
		case <-r.active.Done():
		}
		for r.full() && sleep(r.active, smallPause) {
		}
		if r.active.Err() != nil {
			return
		}
		begin := time.Now()
		n, err := r.pullOnce(i)
		if n == 0 {
			<-r.slots
		}
		if err != nil {
			switch {
			case r.active.Err() != nil:
				return
			case refused(err) && r.counts.pulls.Load() == 0:
				r.fail(explain(err, r.cfg))
				return
			}
			r.counts.pullErrors.Add(1)
			r.warnf("%s: pulling again after: %v", r.cfg.Subscription, err)
			wait.wait(r.active)
			continue
		}
		wait.reset()
		switch {
		case n == 0 && time.Since(begin) < quickEmpty:
			pause = min(emptyPause, max(smallPause, 2*pause))
		case n < r.pullMax/smallPull:
			pause = smallPause
		default:
			pause = 0
		}
		if pause > 0 {
			sleep(r.active, pause)
		}
	}
}

// pullOnce queues the messages of one pull and returns their number.
func (r *reader) pullOnce(i int) (int, error) {
	ctx, cancel := context.WithTimeout(r.pullCtx, pullTimeout)
	defer cancel()
	codec := newPullCodec()
	_, err := r.client.Pull(ctx, &pubsubpb.PullRequest{Subscription: r.cfg.Subscription, MaxMessages: int32(r.pullMax)},
		gax.WithGRPCOptions(grpc.ForceCodecV2(codec)))
	if err != nil {
		return 0, err
	}
	r.counts.pulls.Add(1)
	b := codec.batch
	n := len(b.messages)
	if n > 0 {
		r.leases.hold(b)
		r.counts.read.Add(int64(n))
	}
	r.pulled(i, b) // from here on b is the bundle's
	return n, nil
}
