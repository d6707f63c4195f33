package traffic

import (
	"math"
	"testing"
)

func TestZipfFollowsItsLaw(t *testing.T) {
	for _, skew := range []float64{0, 0.6, 1, 2.5} {
		const n, draws = 50, 400_000
		z := newZipf(n, skew)
		var r random
		r.pcg.Seed(7, 7)
		var got [n]int
		for range draws {
			got[z.draw(&r)]++
		}
		sum := 0.0
		for k := range n {
			sum += math.Pow(float64(k+1), -skew)
		}
		for k := range n {
			want := draws * math.Pow(float64(k+1), -skew) / sum
			if diff := math.Abs(float64(got[k]) - want); diff > 6*math.Sqrt(want)+1 {
				t.Errorf("skew %g: %d drawn %d times, want about %.0f", skew, k, got[k], want)
			}
		}
	}
}

func TestOwnPowers(t *testing.T) {
	ln := 0.0
	for k := 1; k < 100_000; k++ {
		ln += lnStep(k)
	}
	if want := math.Log(100_000); math.Abs(ln-want) > 1e-9 {
		t.Errorf("ln(100000) = %v, want %v", ln, want)
	}
	for _, y := range []float64{0, 1e-9, 0.5, 3, 17, 46} {
		if got, want := expNeg(y), math.Exp(-y); math.Abs(got-want) > 1e-11*want {
			t.Errorf("e^-%g = %v, want %v", y, got, want)
		}
	}
}
