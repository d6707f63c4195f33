package profile

import (
	"context"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/impression"
)

func init() {
	impression.RegisterPacker[packUsersFn]()
	dofn.Register[updatesFn](func(f func(context.Context, distinct.Restatement, func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(distinct.Restatement), a[2].(func(schemas.Row)))}
	})
	register.Emitter1[schemas.Row]()
}

var (
	noUserCounter            = beam.NewCounter("pixelbeam", "profile_no_user")
	windowsTruncatedCounter  = beam.NewCounter("pixelbeam", "profile_windows_truncated")
	countersTruncatedCounter = beam.NewCounter("pixelbeam", "profile_counters_truncated")
	eventsTruncatedCounter   = beam.NewCounter("pixelbeam", "profile_events_truncated")
	valuesCutCounter         = beam.NewCounter("pixelbeam", "profile_values_cut")
)

// Options of Updates.
type Options struct {
	// Shards is how many shards users are hashed to, at least 1.
	Shards int
	distinct.Options
}

// Updates turns a PCollection<impression.Records> into a PCollection<schemas.Row>
// of pixelbeam.v1.ProfileUpdate: all that a user did in a one-minute window,
// again whenever it changed. See distinct.Restate for when.
func Updates(s beam.Scope, records beam.PCollection, opts Options) beam.PCollection {
	s = s.Scope("profile.Updates")
	opts.Name, opts.Whole = "profiles", true // An update says all of a user's window.
	packed := beam.ParDo(s, &packUsersFn{Shards: opts.Shards}, records)
	return beam.ParDo(s, &updatesFn{}, distinct.Restate(s, packed, opts.Options))
}

// packUsersFn packs the records of a bundle by user shard and window.
type packUsersFn struct {
	Shards int

	packer     distinct.Packer
	key, value []byte
	noUser     int64
}

func (fn *packUsersFn) ProcessElement(records impression.Records, emit distinct.Emit) {
	for i := range records.Records {
		r := &records.Records[i]
		if len(r.UserID) == 0 {
			fn.noUser++
			continue
		}
		fn.key = appendKey(fn.key[:0], r)
		fn.value = appendValue(fn.value[:0], r)
		fn.packer.Add(shard(r.UserID, fn.Shards), fn.key, r.ID(), r.EventTime, fn.value, emit)
	}
}

func (fn *packUsersFn) FinishBundle(ctx context.Context, emit distinct.Emit) {
	fn.packer.Flush(emit)
	noUserCounter.Inc(ctx, fn.noUser)
	fn.noUser = 0
}

// updatesFn makes one update of every user of which something was restated.
type updatesFn struct{ encoder encoder }

func (fn *updatesFn) ProcessElement(ctx context.Context, r distinct.Restatement, emit func(schemas.Row)) error {
	err := fn.encoder.updates(&r, func(data []byte) {
		emit(schemas.Row{Data: data, ReceiveTime: r.WindowEnd})
	})
	if b := fn.encoder.bounded; b != (bounded{}) {
		windowsTruncatedCounter.Inc(ctx, b.windows)
		countersTruncatedCounter.Inc(ctx, b.counters)
		eventsTruncatedCounter.Inc(ctx, b.events)
		valuesCutCounter.Inc(ctx, b.values)
		fn.encoder.bounded = bounded{}
	}
	return err
}
