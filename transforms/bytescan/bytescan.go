// Package bytescan finds the bytes that matter to a parser: an [Index] of some
// data jumps from one byte of a [Set] to the next.
//
// Where the processor has AVX2, the index is a bitmap that is made at once, 64
// bytes at a time. Elsewhere, and with the build tag purego, Next looks at the
// data, 8 bytes at a time; the results are the same. What AVX2 gains is in the
// README, under Performance.
package bytescan

import (
	"encoding/binary"
	"math/bits"
)

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// maxSingle is the number of single bytes that a set can have.
const maxSingle = 4

// A Set is a set of bytes. It does not change and may be shared.
type Set struct {
	// single has each of the single bytes eight times; fromBound has eight times
	// what makes a byte of seven bits 0x80 or more if it is not below the bound.
	single    [maxSingle]uint64
	fromBound uint64
	// nibbles are tables for AVX2: a byte is in the set if the entries of its
	// low and its high four bits have a bit in common. The third is a mask.
	nibbles [3][16]byte
}

// NewSet returns the set of the bytes below a bound of at most 0x80, of one to
// four single ASCII bytes, and of all bytes of 0x80 and more.
func NewSet(below byte, single ...byte) *Set {
	if below > 0x80 || len(single) == 0 || len(single) > maxSingle {
		panic("bytescan: no such set")
	}
	s := &Set{fromBound: uint64(0x80-below) * eachByte}
	var in [256]bool
	for c := range in {
		in[c] = c < int(below) || c >= 0x80
	}
	for i := range s.single {
		c := single[i%len(single)]
		if c >= 0x80 {
			panic("bytescan: no such set")
		}
		s.single[i] = uint64(c) * eachByte
		in[c] = true
	}
	// High nibbles with the same low nibbles in the set share a bit; with these
	// sets there are no more than six.
	var classes []uint16
	for high := range 16 {
		var lows uint16
		for low := range 16 {
			if in[high<<4|low] {
				lows |= 1 << low
			}
		}
		if lows == 0 {
			continue
		}
		class := 0
		for class < len(classes) && classes[class] != lows {
			class++
		}
		if class == len(classes) {
			classes = append(classes, lows)
		}
		s.nibbles[1][high] = 1 << class
	}
	for class, lows := range classes {
		for low := range 16 {
			s.nibbles[0][low] |= byte(lows>>low&1) << class
		}
	}
	for i := range s.nibbles[2] {
		s.nibbles[2][i] = 0x0F
	}
	return s
}

// An Index finds the bytes of a set in some data. The zero Index is ready for
// Reset, which it keeps memory for.
type Index struct {
	// mask has one bit for each byte of data and one for its end.
	mask []uint64
}

// Reset makes x an index of data as they are now. It does not keep data.
func (x *Index) Reset(set *Set, data []byte) {
	words := len(data)/64 + 1
	if words > cap(x.mask) {
		x.mask = make([]uint64, words+words/2)
	}
	x.mask = x.mask[:words]
	makeMask(x.mask, set, data)
	x.mask[words-1] |= 1 << (len(data) % 64)
}

// Next returns the first i that is from or later with data[i] in the set, or
// len(data) if there is none. from is at most len(data).
func (x *Index) Next(from int) int {
	if word := x.mask[uint(from)>>6] >> (from & 63); word != 0 {
		return from + bits.TrailingZeros64(word)
	}
	return x.next(from)
}

// next goes on where Next found nothing in the first word.
func (x *Index) next(from int) int {
	i := from >> 6
	for {
		i++ // the bit of the end is in the last word
		if word := x.mask[i]; word != 0 {
			return i<<6 + bits.TrailingZeros64(word)
		}
	}
}

// maskGo is makeMask in plain Go.
func maskGo(dst []uint64, set *Set, data []byte) {
	for i := range dst {
		var word uint64
		block := data[64*i : min(64*i+64, len(data))]
		for at := 0; at < len(block); at += 8 {
			var x uint64
			if rest := block[at:]; len(rest) >= 8 {
				x = binary.LittleEndian.Uint64(rest)
			} else {
				var last [8]byte
				copy(last[:], rest)
				x = binary.LittleEndian.Uint64(last[:])
			}
			word |= uint64(set.find(x)) << at
		}
		if rest := len(block); rest < 64 {
			word &= 1<<rest - 1
		}
		dst[i] = word
	}
}

// find has a bit for each of eight bytes, set if the byte is in the set.
func (s *Set) find(x uint64) byte {
	const low = ^uint64(highBits)
	// The high bit of each byte is clear in one of these if the low seven bits
	// are those of a single byte or below the bound. No sum carries.
	others := (((x ^ s.single[0]) & low) + low) &
		(((x ^ s.single[1]) & low) + low) &
		(((x ^ s.single[2]) & low) + low) &
		(((x ^ s.single[3]) & low) + low) &
		((x & low) + s.fromBound)
	found := (^others | x) & highBits
	// The product gathers the eight high bits in its highest byte.
	return byte(found >> 7 * 0x0102040810204080 >> 56)
}
