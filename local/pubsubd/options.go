package pubsubd

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	defaultAckDeadline  = 60 * time.Second
	defaultPullWait     = time.Second
	defaultSegmentBytes = 64 << 20
	defaultWaitingBytes = 32 << 20

	// ackFlushInterval bounds how long an acknowledgement stays in memory only.
	ackFlushInterval = 50 * time.Millisecond
)

// Options configure a Server. The zero value is a server in memory.
type Options struct {
	// Dir is the folder of the log, made if missing. Empty: memory only.
	Dir string
	// Sync makes every batch of publishes survive a power cut, by fsync.
	Sync bool
	// AckDeadline of subscriptions made by Server.CreateSubscription, 10-600 s in
	// whole seconds; default 60 s.
	AckDeadline time.Duration
	// PullWait is how long a Pull without ReturnImmediately waits for a message
	// before it answers with none; default 1 s.
	PullWait time.Duration
	// SegmentBytes is the size at which a new log segment is begun, 4 KiB or
	// more; default 64 MiB.
	SegmentBytes int64
	// WaitingBytes is how much may wait in a subscription before what comes is
	// left in the log only, and read from there when its turn comes, so that a
	// backlog takes about 300 bytes of memory a message; default 32 MiB. It means
	// nothing without Dir.
	WaitingBytes int64
	// Fault, if set, is called with the name of the method ("Publish", "Pull",
	// "Acknowledge"...) before a call is handled, Server.Publish included, from
	// many goroutines. An error is the answer in place of handling; make it with
	// google.golang.org/grpc/status to choose the code.
	Fault func(method string) error
	// Now is the clock of leases and publish times; default time.Now. Waiting is
	// always done in real time.
	Now func() time.Time
	// Logger gets warnings; default slog.Default().
	Logger *slog.Logger
}

// withDefaults returns the options with defaults filled in, or an error that
// names every field out of range.
func (o Options) withDefaults() (Options, error) {
	if o.AckDeadline == 0 {
		o.AckDeadline = defaultAckDeadline
	}
	if o.PullWait == 0 {
		o.PullWait = defaultPullWait
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.WaitingBytes == 0 {
		o.WaitingBytes = defaultWaitingBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	var errs []error
	if o.AckDeadline < 10*time.Second || o.AckDeadline > 600*time.Second || o.AckDeadline%time.Second != 0 {
		errs = append(errs, fmt.Errorf("pubsubd: AckDeadline %v: want 10s to 600s in whole seconds", o.AckDeadline))
	}
	if o.PullWait < 0 {
		errs = append(errs, fmt.Errorf("pubsubd: PullWait %v: want 0 or more", o.PullWait))
	}
	if o.SegmentBytes < 4<<10 {
		errs = append(errs, fmt.Errorf("pubsubd: SegmentBytes %d: want 4096 or more", o.SegmentBytes))
	}
	if o.WaitingBytes < 0 {
		errs = append(errs, fmt.Errorf("pubsubd: WaitingBytes %d: want 1 or more", o.WaitingBytes))
	}
	return o, errors.Join(errs...)
}
