//go:build !purego

package bytescan

import "golang.org/x/sys/cpu"

// useAVX2 says that makeMask may use AVX2. Tests turn it off.
var useAVX2 = cpu.X86.HasAVX2

// makeMask sets bit i%64 of dst[i/64] if data[i] is in the set, for all of data,
// and clears the bits after it. dst has len(data)/64 + 1 words.
func makeMask(dst []uint64, set *Set, data []byte) {
	if !useAVX2 {
		maskGo(dst, set, data)
		return
	}
	// Whole blocks, then the rest in a block of its own, since nothing may be
	// read beyond the data.
	if blocks := len(data) / 64; blocks > 0 {
		maskAVX2(&dst[0], &data[0], blocks, &set.nibbles)
	}
	rest := len(data) % 64
	var last [64]byte
	copy(last[:], data[len(data)-rest:])
	word := &dst[len(dst)-1]
	maskAVX2(word, &last[0], 1, &set.nibbles)
	*word &= 1<<rest - 1
}

// maskAVX2 makes blocks words of the mask, from 64 times as many bytes.
//
//go:noescape
func maskAVX2(dst *uint64, data *byte, blocks int, nibbles *[3][16]byte)
