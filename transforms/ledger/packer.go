package ledger

import (
	"github.com/zeebo/xxh3"

	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/logentry"
)

// Outcomes of entries, as the first byte of a group's name.
const (
	outcomeImpression = 'i'
	outcomeRejected   = 'r'
	outcomeIgnored    = 'g'
)

// Packer packs the deliveries of a bundle. The zero value packs nothing; give it
// Shards.
type Packer struct {
	// Shards is how many shards deliveries are spread over; 0 packs nothing.
	Shards int

	packer distinct.Packer
	key    []byte
}

// Impression adds a delivery of an entry that is an impression. spread is a hash of
// the entry, of other bits than its id, by which deliveries of an entry meet in one
// shard.
func (p *Packer) Impression(m *logentry.Message, entry distinct.ID, spread uint64, at int64, emit distinct.Emit) {
	if p.Shards == 0 {
		return
	}
	p.packer.AddCopy(int64(spread%uint64(p.Shards)), p.name(outcomeImpression, ""), entry, delivery(m).Lo, at, emit)
}

// Rejected adds a delivery that was rejected.
func (p *Packer) Rejected(m *logentry.Message, reason logentry.Reason, emit distinct.Emit) {
	p.other(m, outcomeRejected, reason, emit)
}

// Ignored adds a delivery that was ignored.
func (p *Packer) Ignored(m *logentry.Message, reason logentry.Reason, emit distinct.Emit) {
	p.other(m, outcomeIgnored, reason, emit)
}

// other adds a delivery by its time of receipt. Its shards are others, below 0,
// because event times and times of receipt may be far apart.
func (p *Packer) other(m *logentry.Message, outcome byte, reason logentry.Reason, emit distinct.Emit) {
	if p.Shards == 0 {
		return
	}
	h := delivery(m)
	shard := -1 - int64(h.Hi%uint64(p.Shards))
	p.packer.AddMember(shard, p.name(outcome, reason), distinct.NewID(h.Lo, false), 0, m.ReceiveTime, emit)
}

// Flush emits all and empties the packer. Call it in FinishBundle.
func (p *Packer) Flush(emit distinct.Emit) { p.packer.Flush(emit) }

// name makes the key of a group. The first field is the same for all, so that
// they are neighbours (see distinct.Options.Whole).
func (p *Packer) name(outcome byte, reason logentry.Reason) []byte {
	p.key = distinct.AppendField(p.key[:0], nil)
	p.key = append(append(p.key, outcome), reason...)
	return p.key
}

// delivery is a hash of what identifies a delivery.
func delivery(m *logentry.Message) xxh3.Uint128 {
	if m.Origin == "" {
		// Of a source that names nothing, all that is known is what came.
		return xxh3.Hash128(m.Data)
	}
	return xxh3.HashString128Seed(m.Origin, uint64(m.Offset))
}
