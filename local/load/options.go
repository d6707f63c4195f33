package load

import (
	"errors"
	"fmt"
	"time"

	"pixelbeam/local/traffic"
)

// Names of what a Server serves.
const (
	Project      = "pixelbeam-load"
	Subscription = "projects/" + Project + "/subscriptions/load"
)

// Options says what to publish. A zero Options is not valid: one of Rate and
// Count is needed.
type Options struct {
	// Addr is the TCP address of all services; default a free port of 127.0.0.1.
	Addr string
	// Rate is how many messages are published a second, in steps of 10 ms; 0
	// publishes all of Count at once, so that the job sets the pace.
	Rate float64
	// Count is how many messages are published; 0 means no end.
	Count int64
	// Entries is how many different entries are made and taken in turn; default
	// 20,000, which is 35 MB.
	Entries int
	// AckDeadline is how long a message is leased; default 60 s.
	AckDeadline time.Duration
	// Traffic says what entries there are. Exact copies are left out: a message
	// has an insertId of its own.
	Traffic traffic.Options
}

func (o Options) withDefaults() (Options, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Entries == 0 {
		o.Entries = 20_000
	}
	if o.AckDeadline == 0 {
		o.AckDeadline = time.Minute
	}
	o.Traffic.DuplicateShare = 0
	errs := []error{o.Traffic.Validate()}
	if !(o.Rate >= 0 && o.Rate <= 1e7) {
		errs = append(errs, fmt.Errorf("load: a rate of %v messages a second: want 0 to 10,000,000", o.Rate))
	}
	if o.Count < 0 || o.Count > maxMessages {
		errs = append(errs, fmt.Errorf("load: %d messages: want 0 to %d", o.Count, int64(maxMessages)))
	}
	if o.Rate == 0 && o.Count == 0 {
		errs = append(errs, errors.New("load: neither a rate nor a number of messages"))
	}
	if o.Entries < 1 || o.Entries > 1_000_000 {
		errs = append(errs, fmt.Errorf("load: %d different entries: want 1 to 1,000,000", o.Entries))
	}
	if o.AckDeadline < 10*time.Second || o.AckDeadline > 10*time.Minute {
		errs = append(errs, fmt.Errorf("load: an ack deadline of %v: want 10 s to 10 min", o.AckDeadline))
	}
	return o, errors.Join(errs...)
}
