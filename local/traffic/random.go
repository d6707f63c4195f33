package traffic

import (
	"math/bits"
	"math/rand/v2"
)

// random draws from a PCG stream. It builds on Uint64 alone, whose results the
// Go documentation fixes by naming the algorithm.
type random struct{ pcg rand.PCG }

func (r *random) u64() uint64 { return r.pcg.Uint64() }

// below returns 0 to n-1; n is at least 1.
func (r *random) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.pcg.Uint64(), n)
	return hi
}

// intn returns 0 to n-1; n is at least 1.
func (r *random) intn(n int) int { return int(r.below(uint64(n))) }

// unit returns a number from 0 up to, but not including, 1.
func (r *random) unit() float64 {
	return float64(r.pcg.Uint64()>>11) * 0x1p-53
}

func (r *random) chance(p float64) bool { return p > 0 && r.unit() < p }

func pick[T any](r *random, from []T) T { return from[r.intn(len(from))] }

// mix is the finalizer of SplitMix64: a bijection, so that different counters
// give different ids, with bits good enough to draw a user's traits from.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// traits hands out draws that depend on a thing's identity only, not on when it
// is drawn: the same user always has the same address.
type traits uint64

func traitsOf(seed uint64, kind, index int) traits {
	return traits(mix(mix(seed+uint64(kind)*0x9e3779b97f4a7c15) + uint64(index)*0x9e3779b97f4a7c15))
}

func (t *traits) u64() uint64 {
	*t += 0x9e3779b97f4a7c15
	return mix(uint64(*t))
}

func (t *traits) intn(n int) int {
	hi, _ := bits.Mul64(t.u64(), uint64(n))
	return int(hi)
}

func (t *traits) chance(p float64) bool {
	return float64(t.u64()>>11)*0x1p-53 < p
}
