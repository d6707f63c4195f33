package source

// pubSubPosition is the restriction of a Pub/Sub reader: the input from some
// bundle on.
type pubSubPosition struct {
	// Reader names the reader in the process that holds the messages.
	Reader string
	// Bundle is the number of the last bundle before this position. The runner
	// offers a position only after it has taken everything before it, so this
	// is also the token that lets the bundle be acknowledged. 0 is the start.
	Bundle int64
	// End says that nothing is left to be delivered.
	End bool
}

// endOfInput is the claim that finishes a pubSubPosition; all other claims are
// bundle numbers.
const endOfInput int64 = -1

// pubSubTracker tracks a pubSubPosition. It only splits by checkpoint, which
// leaves everything after the claimed bundle to the residual.
type pubSubTracker struct {
	pos     pubSubPosition
	claimed int64 // number of the bundle under way, 0 if none
	done    bool
}

// TryClaim claims a bundle by its number, or endOfInput. A bundle may be
// claimed repeatedly while it is filled.
func (t *pubSubTracker) TryClaim(pos any) bool {
	if t.done {
		return false
	}
	if n := pos.(int64); n == endOfInput {
		t.done = true
	} else {
		t.claimed = n
	}
	return true
}

func (t *pubSubTracker) GetError() error { return nil }

func (t *pubSubTracker) TrySplit(fraction float64) (primary, residual any, err error) {
	if t.done || t.pos.End || fraction > 0 {
		return t.pos, nil, nil
	}
	t.done = true
	rest := pubSubPosition{Reader: t.pos.Reader, Bundle: max(t.pos.Bundle, t.claimed)}
	t.pos.End = true
	return t.pos, rest, nil
}

func (t *pubSubTracker) GetProgress() (done, remaining float64) {
	if t.done {
		return 1, 0
	}
	return 0, 1
}

func (t *pubSubTracker) IsDone() bool { return t.done }

func (t *pubSubTracker) GetRestriction() any { return t.pos }

func (t *pubSubTracker) IsBounded() bool { return t.pos.End }
