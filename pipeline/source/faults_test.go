package source

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A subscription that is deleted and made again while the job runs, or that the job
// may not read for a while, is waited for: the job goes on, and what it had delivered
// is acknowledged, if the lease has lasted.
func TestPubSubOutlastsRefusals(t *testing.T) {
	for _, code := range []codes.Code{codes.NotFound, codes.PermissionDenied, codes.Unauthenticated} {
		t.Run(code.String(), func(t *testing.T) {
			const n = 2000
			f := newFakeServer(t)
			var away atomic.Bool
			var refusals, acks atomic.Int64
			f.fault = func(method string) (error, bool) {
				if !away.Load() {
					return nil, false
				}
				refusals.Add(1)
				if method == "Acknowledge" {
					acks.Add(1)
				}
				return status.Error(code, "away"), false
			}
			f.publish("m", n, nil)
			j := start(t, f.config(), nil)
			eventually(t, "the first are delivered", func() bool { return j.c.len() == n })
			away.Store(true)
			eventually(t, "it is tried again", func() bool { return refusals.Load() > 30 && (acks.Load() > ackTries || f.count().acked == n) })
			away.Store(false)
			f.publish("n", n, nil)
			eventually(t, "the rest is delivered, and all acknowledged", func() bool { return j.c.len() == 2*n && f.count().acked == 2*n })
			if got := f.count(); got.redelivered != 0 {
				t.Errorf("the server counts %+v, want no message delivered again", got)
			}
			defer Drain()()
			j.wait()
		})
	}
}

// A subscription that delivers exactly once says of each message by itself whether it
// is acknowledged. What is not for the moment is acknowledged again, alone; what never
// will be comes again.
func TestPubSubExactlyOnceDelivery(t *testing.T) {
	const n = 1000
	f := newFakeServer(t)
	tries := map[string]int{} // guarded by the server
	f.result = func(id string) string {
		tries[id]++
		switch {
		case strings.HasSuffix(id, "7") && tries[id] < 8:
			return "TRANSIENT_FAILURE_ACK_DELIVERY"
		case id == "ack-13":
			return "PERMANENT_FAILURE_INVALID_ACK_ID"
		}
		return ""
	}
	f.publish("m", n, nil)
	j := start(t, f.config(), nil)
	eventually(t, "all but one are acknowledged", func() bool { return f.count().acked == n-1 })
	if got := f.count(); got.acks != n-1 {
		t.Errorf("the server counts %+v, want each message acknowledged once", got)
	}
	f.mu.Lock()
	if got := tries["ack-13"]; got != 1 {
		t.Errorf("what can never be acknowledged was tried %d times", got)
	}
	f.mu.Unlock()
	defer Drain()()
	requireCounter(t, j.wait().res, "pubsub_acks", n-1, n-1)
}

// Messages of every size that Pub/Sub has are delivered, with ordering keys too.
func TestPubSubSizes(t *testing.T) {
	f := newFakeServer(t)
	f.publish("m", 4, nil)
	f.mu.Lock()
	for i, data := range [][]byte{nil, bytes.Repeat([]byte("x"), 10<<20), []byte("key 1"), []byte("key 2")} {
		m := f.messages[fmt.Sprintf("ack-%d", i)].m
		m.Data = data
		m.Attributes = map[string]string{"a": "b"}
		if i >= 2 {
			m.OrderingKey = "key"
		}
	}
	f.mu.Unlock()
	cfg := f.config()
	cfg.UntilIdle = true
	j := start(t, cfg, nil).wait()
	var sizes []int
	for _, m := range j.c.messages {
		sizes = append(sizes, len(m.Data))
	}
	if got := fmt.Sprint(sizes); got != fmt.Sprint([]int{0, 10 << 20, 5, 5}) || f.count().acked != 4 {
		t.Errorf("messages of %s bytes were delivered, %d acknowledged", got, f.count().acked)
	}
}

// Clocks of publishers that go wrong, by years too, keep nothing back and hold the
// watermark neither back nor ahead of the others for long.
func TestPubSubWrongClocks(t *testing.T) {
	f := newFakeServer(t)
	now := time.Now()
	f.publish("m", 300, func(i int) time.Time {
		switch i {
		case 100:
			return now.AddDate(100, 0, 0)
		case 200:
			return now.AddDate(-50, 0, 0)
		}
		return now
	})
	r := newRunner(t, f.config())
	delivered, pos := r.some(r.fn.CreateInitialRestriction(nil))
	for len(delivered) < 300 {
		var more []string
		more, pos = r.some(pos)
		delivered = append(delivered, more...)
	}
	eventually(t, "the watermark is near the clock", func() bool {
		_, p := r.bundle(pos, nil)
		pos = *p
		return time.Since(r.we.CurrentWatermark()).Abs() < 10*time.Second
	})
	if ahead := time.Until(r.we.CurrentWatermark()); ahead > 0 {
		t.Errorf("the watermark is %v ahead of the clock", ahead)
	}
}
