package source

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"

	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/logentry"
)

func init() {
	beam.RegisterType(reflect.TypeFor[pubSubPosition]())
	beam.RegisterType(reflect.TypeFor[*pubSubTracker]())
	beam.RegisterType(reflect.TypeFor[*watermarkEstimator]())
	type emit = func(beam.EventTime, logentry.Batch)
	dofn.Register[readPubSubFn](func(f func(context.Context, *watermarkEstimator, *sdf.LockRTracker, []byte, emit) (sdf.ProcessContinuation, error), a []any) []any {
		next, err := f(a[0].(context.Context), a[1].(*watermarkEstimator), a[2].(*sdf.LockRTracker), a[3].([]byte), a[4].(emit))
		return []any{next, err}
	})
}

// Defaults of PubSubConfig.
const (
	DefaultPullers         = 8
	DefaultMaxBundle       = 20_000
	DefaultMaxBundleMillis = 200
	DefaultSlackMillis     = 2000
	DefaultIdleResponses   = 2
)

// PubSubConfig says what to read and how. It travels with the job as JSON.
type PubSubConfig struct {
	// Project is the project that Subscription belongs to if it is not a full
	// name. Optional otherwise.
	Project string
	// Subscription is projects/P/subscriptions/S, or S of Project. Required.
	Subscription string
	// Endpoint is host:port of a Pub/Sub server to be spoken to in plain text
	// and without credentials. If empty, PUBSUB_EMULATOR_HOST is used in the
	// same way, and if that is empty too, Google's with the default
	// credentials.
	Endpoint string
	// Pullers is how many pulls of up to 1,000 messages are under way at once.
	// More of them hide a longer way to the server. 0 means DefaultPullers.
	Pullers int
	// MaxBundle is the most messages in a bundle, 1 and up. Larger bundles cost
	// less each and are held in memory. 0 means DefaultMaxBundle.
	MaxBundle int
	// MaxBundleMillis is how long a bundle that is not full waits for more, in
	// milliseconds. 0 means DefaultMaxBundleMillis.
	MaxBundleMillis int
	// UntilIdle ends the input once the backlog is empty: every puller had
	// IdleResponses empty responses in a row, everything delivered is
	// acknowledged, and the condition set by SetIdleCondition holds.
	UntilIdle bool
	// IdleResponses is described at UntilIdle. 0 means DefaultIdleResponses.
	IdleResponses int
	// HoldWatermark keeps the watermark at its minimum until the input ends, so
	// that nothing in a replay is late. Windows fire only then.
	HoldWatermark bool
	// SlackMillis is how far the watermark stays behind what was seen and
	// behind the clock, in milliseconds: messages that are out of order by less
	// are not late. 0 means DefaultSlackMillis, a negative number none.
	SlackMillis int
	// Flink is set for a job on Flink, and for no other: messages are then
	// acknowledged when a completed checkpoint has them, and not when the runner
	// resumes the reader.
	Flink *FlinkConfig
}

var subscriptionName = regexp.MustCompile(`^projects/[^/]+/subscriptions/[^/]+$`)

// withDefaults fills in what was left zero.
func (c PubSubConfig) withDefaults() PubSubConfig {
	fill := func(v *int, value int) {
		if *v == 0 {
			*v = value
		}
	}
	if c.Project != "" && c.Subscription != "" && !subscriptionName.MatchString(c.Subscription) {
		c.Subscription = "projects/" + c.Project + "/subscriptions/" + c.Subscription
	}
	fill(&c.Pullers, DefaultPullers)
	fill(&c.MaxBundle, DefaultMaxBundle)
	fill(&c.MaxBundleMillis, DefaultMaxBundleMillis)
	fill(&c.SlackMillis, DefaultSlackMillis)
	fill(&c.IdleResponses, DefaultIdleResponses)
	c.SlackMillis = max(0, c.SlackMillis)
	if c.Flink != nil {
		flink := *c.Flink
		fill(&flink.MaxHeld, DefaultMaxHeld)
		c.Flink = &flink
	}
	return c
}

// Validate reports everything that is wrong with the configuration.
func (c PubSubConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	if !subscriptionName.MatchString(c.Subscription) {
		errs = append(errs, fmt.Errorf("subscription %q is not of the form projects/PROJECT/subscriptions/NAME", c.Subscription))
	}
	for _, v := range []struct {
		name  string
		value int
	}{
		{"pullers", c.Pullers},
		{"messages in a bundle", c.MaxBundle},
		{"milliseconds of a bundle", c.MaxBundleMillis},
		{"idle responses", c.IdleResponses},
	} {
		if v.value < 1 {
			errs = append(errs, fmt.Errorf("the number of %s is %d: it must be at least 1", v.name, v.value))
		}
	}
	if c.Flink != nil {
		errs = append(errs, c.Flink.Validate())
	}
	return errors.Join(errs...)
}

// PubSub returns PCollection<logentry.Batch>, the messages of a subscription,
// on a runner that resumes splittable DoFns once it has taken their outputs, as
// Prism does, and on Flink if cfg.Flink says how to learn of its checkpoints. (The
// direct runner ends after a bundle. Dataflow has PubSubNative.) It is unbounded,
// and panics on a configuration that does not validate.
//
// The event time of a message is its attribute logging.googleapis.com/timestamp,
// else its publish time; that of a batch is its earliest. Origin is the message id, Offset -1, ReceiveTime the
// publish time. The package comment tells about delivery.
//
// The server being away, or busy, or refusing for a while, is waited out with a
// warning in the log. A subscription that is absent or forbidden when the job
// starts fails the job.
func PubSub(s beam.Scope, cfg PubSubConfig) beam.PCollection {
	s = s.Scope("source.PubSub")
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	return beam.ParDo(s, &readPubSubFn{Config: cfg.withDefaults()}, beam.Impulse(s))
}

// readPubSubFn delivers bundles of messages from the reader of this process
// that its restriction names. There is one restriction and it is never split:
// Prism does not run several in parallel, and takes the watermark of one of
// them for that of all.
type readPubSubFn struct {
	Config PubSubConfig

	attempt *attempt // nil before the first bundle
}

func (fn *readPubSubFn) CreateInitialRestriction([]byte) pubSubPosition {
	return pubSubPosition{Reader: rand.Text()}
}

func (fn *readPubSubFn) SplitRestriction(_ []byte, pos pubSubPosition) []pubSubPosition {
	return []pubSubPosition{pos}
}

func (fn *readPubSubFn) RestrictionSize([]byte, pubSubPosition) float64 { return 1 }

func (fn *readPubSubFn) CreateTracker(pos pubSubPosition) *sdf.LockRTracker {
	return sdf.NewLockRTracker(&pubSubTracker{pos: pos})
}

// TruncateRestriction ends the input when the runner drains the job: what is
// left is to acknowledge the last bundle.
func (fn *readPubSubFn) TruncateRestriction(rt *sdf.LockRTracker, _ []byte) pubSubPosition {
	pos := rt.GetRestriction().(pubSubPosition)
	pos.End = true
	return pos
}

func (fn *readPubSubFn) InitialWatermarkEstimatorState(et beam.EventTime, _ pubSubPosition, _ []byte) int64 {
	return et.Milliseconds()
}

func (fn *readPubSubFn) CreateWatermarkEstimator(ms int64) *watermarkEstimator {
	we := &watermarkEstimator{}
	we.ms.Store(ms)
	return we
}

func (fn *readPubSubFn) WatermarkEstimatorState(we *watermarkEstimator) int64 { return we.ms.Load() }

// ProcessElement delivers one bundle. That it is called again with the position
// that the previous call left is the runner's word that it has taken that
// call's outputs.
func (fn *readPubSubFn) ProcessElement(ctx context.Context, we *watermarkEstimator, rt *sdf.LockRTracker, _ []byte, emit func(beam.EventTime, logentry.Batch)) (sdf.ProcessContinuation, error) {
	pos := rt.GetRestriction().(pubSubPosition)
	if fn.attempt == nil {
		fn.attempt = &attempt{}
	}
	r := readers.get(ctx, pos.Reader, fn.Config)
	defer r.report(ctx)
	if err := r.settle(fn.attempt, pos.Bundle); err != nil {
		return sdf.StopProcessing(), err
	}
	if pos.End {
		r.close()
	}

	number := pos.Bundle + 1
	deadline := time.Now().Add(time.Duration(fn.Config.MaxBundleMillis) * time.Millisecond)
	var bundle []*batch
	may := r.awaitCheckpoint(ctx, fn.attempt, deadline)
	for n := 0; may && n < fn.Config.MaxBundle; {
		b := r.next(ctx, fn.Config.MaxBundle-n, deadline)
		if b == nil {
			break
		}
		if !rt.TryClaim(number) {
			// Split off while we waited: the rest of the input, this batch
			// first, belongs to the call that resumes it.
			r.unread(b)
			r.deliver(number, bundle)
			return sdf.StopProcessing(), nil
		}
		r.keep()
		n += len(b.messages)
		emit(b.earliest, logentry.Batch{Messages: b.messages})
		b.messages = nil
		bundle = append(bundle, b)
	}
	r.deliver(number, bundle)

	if fn.attempt.superseded.Load() {
		return sdf.StopProcessing(), errSuperseded
	}
	if len(bundle) == 0 {
		if err := r.failure(); err != nil {
			r.close()
			return sdf.StopProcessing(), err
		}
		if r.over() {
			r.close()
			rt.TryClaim(endOfInput)
			return sdf.StopProcessing(), nil
		}
		if err := ctx.Err(); err != nil {
			return sdf.StopProcessing(), err
		}
		r.stopIfIdle()
	}
	if !fn.Config.HoldWatermark {
		we.advance(r.watermark(time.Now()))
	}
	r.noteWatermark(we.ms.Load())
	return sdf.ResumeProcessingIn(0), nil
}
