package zetasketch

import (
	"encoding/binary"
	"math/bits"
)

// The multipliers of Fingerprint2011.
const (
	k0 = 0xa5b85c5e198ed849
	k1 = 0x8d58ac26afe12e47
	k2 = 0xc47b6e9e3a970ed3
	k3 = 0xc6a4a7935bd1e995
)

// Fingerprint returns the 64-bit Fingerprint2011 of value, by which BigQuery's
// sketches hash a STRING (its UTF-8 bytes) or BYTES value, and an INT64 as its 8
// little-endian bytes. It is never 0 or 1.
func Fingerprint[T string | []byte](value T) uint64 {
	n := len(value)
	var h uint64
	switch {
	case n <= 32:
		h = murmur(value, k0^k1^k2)
	case n <= 64:
		h = medium(value)
	default:
		h = long(value)
	}
	first, last := uint64(k0), uint64(k0)
	if n >= 8 {
		first = load(value, 0)
	}
	if n >= 9 {
		last = load(value, n-8)
	}
	h = fold(h+last, first)
	if h <= 1 {
		h -= 2
	}
	return h
}

// fingerprint64 is the Fingerprint of the 8 little-endian bytes of v.
func fingerprint64(v uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return Fingerprint(b[:])
}

// fingerprint32 is the Fingerprint of the 4 little-endian bytes of v.
func fingerprint32(v uint32) uint64 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return Fingerprint(b[:])
}

// load returns the 8 bytes of s at i as a little-endian number.
func load[T string | []byte](s T, i int) uint64 {
	w := s[i : i+8]
	return uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
		uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
}

// mix folds the upper 17 bits into the lower ones.
func mix(h uint64) uint64 { return h ^ h>>47 }

// fold reduces 128 bits to 64.
func fold(high, low uint64) uint64 {
	h := mix((low ^ high) * k3)
	return mix((high^h)*k3) * k3
}

func ror(h uint64, n int) uint64 { return bits.RotateLeft64(h, -n) }

// murmur hashes up to 32 bytes: 8 at a time, then the rest.
func murmur[T string | []byte](s T, seed uint64) uint64 {
	h := seed ^ uint64(len(s))*k3
	i := 0
	for ; i+8 <= len(s); i += 8 {
		h = (h ^ mix(load(s, i)*k3)*k3) * k3
	}
	if i < len(s) {
		var rest uint64
		for shift := 0; i < len(s); i, shift = i+1, shift+8 {
			rest |= uint64(s[i]) << shift
		}
		h = (h ^ rest) * k3
	}
	return mix(mix(h) * k3)
}

// half mixes 32 bytes, of which a is the first word, already seeded, and z the
// last, into two words.
func half(a, second, third, z uint64) (uint64, uint64) {
	rotated := ror(a+z, 52)
	sum := ror(a, 37)
	a += second
	sum += ror(a, 7)
	a += third
	return a + z, rotated + ror(a, 31) + sum
}

// medium hashes 33 to 64 bytes, as two halves that may overlap.
func medium[T string | []byte](s T) uint64 {
	n := len(s)
	v0, v1 := half(load(s, 0)+(uint64(n)+load(s, n-16))*k0, load(s, 8), load(s, 16), load(s, 24))
	w0, w1 := half(load(s, 16)+load(s, n-32), load(s, n-24), load(s, n-16), load(s, n-8))
	return mix(mix((v0+w1)*k2+(w0+v1)*k0)*k0+v1) * k2
}

// weak mixes the 32 bytes of s at i and two seeds into two words.
func weak[T string | []byte](s T, i int, a, b uint64) (uint64, uint64) {
	last := load(s, i+24)
	a += load(s, i)
	first := a
	b = ror(b+a+last, 51)
	a += load(s, i+8) + load(s, i+16)
	return a + last, b + ror(a, 23) + first
}

// long hashes more than 64 bytes: the end first, then 64 at a time.
func long[T string | []byte](s T) uint64 {
	n := len(s)
	x := load(s, 0)
	y := load(s, n-16) ^ k1
	z := load(s, n-56) ^ k0
	v0, v1 := weak(s, n-64, uint64(n), y)
	w0, w1 := weak(s, n-32, uint64(n)*k1, k0)
	z += mix(v1) * k1
	x = ror(z+x, 39) * k1
	y = ror(y, 33) * k1
	for i := 0; i < (n-1)&^63; i += 64 {
		x = ror(x+y+v0+load(s, i+16), 37)*k1 ^ w1
		y = ror(y+v1+load(s, i+48), 42)*k1 ^ v0
		z = ror(z^w0, 33)
		v0, v1 = weak(s, i, v1*k1, x+w0)
		w0, w1 = weak(s, i+32, z+w1, y)
		x, z = z, x
	}
	return fold(fold(v0, w0)+mix(y)*k1+z, fold(v1, w1)+x)
}
