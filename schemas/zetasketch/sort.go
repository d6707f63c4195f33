package zetasketch

import (
	"slices"
	"sync"
)

// radixMin is from how many values on radix sort is quicker than slices.Sort.
const radixMin = 192

var scratch = sync.Pool{New: func() any { return new([]uint32) }}

// sortValues sorts values below 1<<width.
func sortValues(values []uint32, width int) {
	n := len(values)
	if n < radixMin {
		slices.Sort(values)
		return
	}
	digit := 8
	if n >= 2048 {
		digit = 11
	}
	var counts [1 << 11]uint32
	buffer := scratch.Get().(*[]uint32)
	defer scratch.Put(buffer)
	*buffer = slices.Grow((*buffer)[:0], n)[:n]
	from, to := values, *buffer
	for shift := 0; shift < width; shift += digit {
		counts := counts[:1<<digit]
		mask := uint32(len(counts) - 1)
		clear(counts)
		for _, v := range from {
			counts[v>>shift&mask]++
		}
		at := uint32(0)
		for i, c := range counts {
			counts[i] = at
			at += c
		}
		for _, v := range from {
			d := v >> shift & mask
			to[counts[d]] = v
			counts[d]++
		}
		from, to = to, from
	}
	if &from[0] != &values[0] {
		copy(values, from)
	}
}
