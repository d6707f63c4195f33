package zetasketch

import (
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
)

//go:embed bias.tsv
var biasText string

// biasTable holds the bias of raw estimates of one precision, in the paper's
// order, which is nearly ascending.
type biasTable struct{ estimate, bias []float64 }

const (
	biasMin = 10
	biasMax = 18
)

var biasTables = sync.OnceValue(func() *[biasMax + 1]biasTable {
	tables, err := parseBias(biasText)
	if err != nil {
		panic("zetasketch: bias.tsv: " + err.Error())
	}
	return tables
})

func parseBias(text string) (*[biasMax + 1]biasTable, error) {
	var tables [biasMax + 1]biasTable
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 3 {
			return nil, fmt.Errorf("%q is not three fields", line)
		}
		p, err := strconv.Atoi(fields[0])
		if err != nil || p < biasMin || p > biasMax {
			return nil, fmt.Errorf("%q is not a precision from %d to %d", fields[0], biasMin, biasMax)
		}
		estimate, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return nil, err
		}
		bias, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return nil, err
		}
		tables[p].estimate = append(tables[p].estimate, estimate)
		tables[p].bias = append(tables[p].bias, bias)
	}
	return &tables, nil
}

// linearLimits are the estimates up to which linear counting is the better one, by
// precision from 10 (appendix of the paper).
var linearLimits = [...]float64{900, 1800, 3100, 6500, 11500, 20000, 50000, 120000, 350000}

// linearCount estimates how many values fell into m places of which zeros are
// empty.
func linearCount(m, zeros float64) float64 { return m * math.Log(m/zeros) }

// estimateSparse is the estimate of n distinct sparse values.
func estimateSparse(sp uint8, n int) int64 {
	m := float64(int(1) << sp)
	return round(linearCount(m, m-float64(n)))
}

// estimateDense is the estimate of the registers (figure 6 of the paper).
func estimateDense(p uint8, registers []byte) int64 {
	zeros := 0
	sum := 0.0
	// In the order of the registers, as rounding of the sum depends on it.
	for _, r := range registers {
		if r == 0 {
			zeros++
		}
		sum += inverse[r&63]
	}
	m := float64(int(1) << p)
	if zeros > 0 {
		limit := 2.5 * m
		if p <= biasMax {
			limit = linearLimits[p-biasMin]
		}
		if h := linearCount(m, float64(zeros)); h <= limit {
			return round(h)
		}
	}
	alpha := 0.7213 / (1 + 1.079/m)
	raw := alpha * m * m / sum
	return round(raw - biasOf(p, raw))
}

// inverse holds 2^-r.
var inverse = func() (powers [64]float64) {
	for r := range powers {
		powers[r] = math.Ldexp(1, -r)
	}
	return powers
}()

// neighbours is how many of the nearest points make the bias of an estimate.
const neighbours = 6

// biasOf returns the mean bias of the points nearest to the raw estimate, weighted
// by the inverse of the squared distance; 0 beyond the tables.
func biasOf(p uint8, raw float64) float64 {
	if p > biasMax {
		return 0
	}
	table := &biasTables()[p]
	points := table.estimate
	if raw < points[0] || raw > points[len(points)-1] {
		return 0
	}
	// The points are not wholly in order, so the steps of the search matter.
	low, high := 0, len(points)
	for low < high {
		mid := (low + high - 1) / 2
		if points[mid] == raw {
			low = mid
			break
		}
		if points[mid] < raw {
			low = mid + 1
		} else {
			high = mid
		}
	}
	from, to := max(low-neighbours, 0), min(low+neighbours, len(points))

	// The nearest, sorted by distance; equal ones stay in order.
	var distances, biases [2 * neighbours]float64
	n := 0
	for i := from; i < to; i++ {
		d := points[i] - raw
		d *= d
		j := n
		for ; j > 0 && distances[j-1] > d; j-- {
			distances[j], biases[j] = distances[j-1], biases[j-1]
		}
		distances[j], biases[j] = d, table.bias[i]
		n++
	}
	if distances[0] == 0 {
		return biases[0]
	}
	var sum, weight float64
	for i := range min(n, neighbours) {
		weight += 1 / distances[i]
		sum += biases[i] / distances[i]
	}
	return sum / weight
}

// round rounds to the nearest integer, halves up.
func round(f float64) int64 { return int64(math.Floor(f + 0.5)) }
