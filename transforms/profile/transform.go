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
	impression.RegisterPacker(&packUsersFn{})
	dofn.Register[updatesFn](func(f func(distinct.Restatement, func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(distinct.Restatement), a[1].(func(schemas.Row)))}
	})
	register.Emitter1[schemas.Row]()
}

var noUserCounter = beam.NewCounter("pixelbeam", "profile_no_user")

// Options of Updates.
type Options struct {
	// Shards is how many shards users are hashed to, at least 1.
	Shards int
	distinct.Options
}

// Updates turns a PCollection<impression.Record> into a PCollection<schemas.Row>
// of pixelbeam.v1.ProfileUpdate: one per user and one-minute window, restated
// when entries come late. See distinct.Restate for when.
func Updates(s beam.Scope, records beam.PCollection, opts Options) beam.PCollection {
	s = s.Scope("profile.Updates")
	opts.Name = "profiles"
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

func (fn *packUsersFn) ProcessElement(r impression.Record, emit func(beam.EventTime, int64, []byte)) {
	if len(r.UserID) == 0 {
		fn.noUser++
		return
	}
	fn.key = appendKey(fn.key[:0], &r)
	fn.value = appendValue(fn.value[:0], &r)
	fn.packer.Add(shard(r.UserID, fn.Shards), fn.key, r.ID(), r.EventTime, fn.value, emit)
}

func (fn *packUsersFn) FinishBundle(ctx context.Context, emit func(beam.EventTime, int64, []byte)) {
	fn.packer.Flush(emit)
	noUserCounter.Inc(ctx, fn.noUser)
	fn.noUser = 0
}

// updatesFn makes one update of all that was restated of a user.
type updatesFn struct{}

func (fn *updatesFn) ProcessElement(r distinct.Restatement, emit func(schemas.Row)) error {
	return updates(&r, func(data []byte) {
		emit(schemas.Row{Data: data, ReceiveTime: r.WindowEnd})
	})
}
