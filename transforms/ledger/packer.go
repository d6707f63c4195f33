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

// Impression adds a delivery of an entry that is an impression.
func (p *Packer) Impression(m *logentry.Message, entry distinct.ID, at int64, emit distinct.Emit) {
	if p.Shards == 0 {
		return
	}
	// Deliveries of an entry meet in one shard.
	shard := int64(entry.Hash() % uint64(p.Shards))
	p.packer.AddMember(shard, p.name(outcomeImpression, ""), delivery(m), max(1, entry.Hash()), at, emit)
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
	id := delivery(m)
	shard := -1 - int64(id.Hash()%uint64(p.Shards))
	p.packer.AddMember(shard, p.name(outcome, reason), id, 0, m.ReceiveTime, emit)
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

// delivery identifies a delivery.
func delivery(m *logentry.Message) distinct.ID {
	h := xxh3.HashString128Seed(m.Origin, uint64(m.Offset))
	if m.Origin == "" {
		// Of a source that names nothing, all that is known is what came.
		h = xxh3.Hash128(m.Data)
	}
	return distinct.NewID(h.Hi, h.Lo, false)
}
