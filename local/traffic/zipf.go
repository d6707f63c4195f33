package traffic

import "math"

// zipf draws 0 to n-1, k in proportion to (k+1)^-skew, in constant time by
// Walker's alias method as M. Vose gave it (IEEE Transactions on Software
// Engineering 17, 1991).
type zipf struct {
	threshold []uint32 // of 2^32: below it k itself, else its alias
	alias     []int32
}

// newZipf builds the tables. Products are rounded by explicit conversions, which
// keeps compilers from fusing them with sums, and powers come from lnSteps and
// expNeg: thus all platforms build the same tables.
func newZipf(n int, skew float64) *zipf {
	weights := make([]float64, n)
	sum, ln := 0.0, 0.0
	for k := range weights {
		if k > 0 {
			ln += lnStep(k)
		}
		weights[k] = expNeg(float64(skew * ln))
		sum += weights[k]
	}
	z := &zipf{threshold: make([]uint32, n), alias: make([]int32, n)}
	var small, large []int32
	for k := range weights {
		weights[k] = float64(weights[k]*float64(n)) / sum
		if weights[k] < 1 {
			small = append(small, int32(k))
		} else {
			large = append(large, int32(k))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		z.threshold[s] = uint32(float64(weights[s] * 0x1p32))
		z.alias[s] = l
		weights[l] -= 1 - weights[s]
		if weights[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	// What remains has weight 1 but for rounding.
	for _, k := range append(small, large...) {
		z.threshold[k] = math.MaxUint32
		z.alias[k] = k
	}
	return z
}

func (z *zipf) draw(r *random) int { return z.at(r.u64()) }

// at maps 64 uniform bits to a draw: the upper half selects the column, the
// lower one decides between the column and its alias.
func (z *zipf) at(bits uint64) int {
	k := int((bits >> 32) * uint64(len(z.threshold)) >> 32)
	if uint32(bits) < z.threshold[k] {
		return k
	}
	return int(z.alias[k])
}

// lnStep returns ln(k+1) - ln(k) by the series of 2 artanh(1/(2k+1)).
func lnStep(k int) float64 {
	x := 1 / float64(2*k+1)
	xx := float64(x * x)
	sum, term := 0.0, x
	for i := 1; i < 60 && term > 1e-18; i += 2 {
		sum += term / float64(i)
		term = float64(term * xx)
	}
	return 2 * sum
}

// expNeg returns e^-y for y >= 0: Taylor's series on y/2^10, squared ten times.
func expNeg(y float64) float64 {
	x := -y / 1024
	sum, term := 1.0, 1.0
	for i := 1; i < 20; i++ {
		term = float64(term*x) / float64(i)
		sum += term
	}
	for range 10 {
		sum = float64(sum * sum)
	}
	return sum
}
