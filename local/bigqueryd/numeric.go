package bigqueryd

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// numericLimit is 10^38: a NUMERIC is a whole number of billionths below it.
var numericLimit = new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil)

// parseNumeric reads a decimal number as billionths; ok is false if it is none,
// or out of NUMERIC's range, or has more than nine fraction digits.
func parseNumeric(s []byte) (v int128, ok bool) {
	// Fast path: up to 18 digits in all.
	i, negative := 0, false
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		negative = s[0] == '-'
		i++
	}
	digits, fraction, point := 0, 0, false
	var n uint64
	for ; i < len(s) && digits <= 18; i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n = n*10 + uint64(c-'0')
			digits++
			if point {
				fraction++
			}
		case c == '.' && !point:
			point = true
		default:
			return parseLongNumeric(string(s))
		}
	}
	if digits == 0 || digits > 18 || fraction > 9 || i < len(s) {
		return parseLongNumeric(string(s))
	}
	scale := uint64(1)
	for range 9 - fraction {
		scale *= 10
	}
	hi, lo := bits.Mul64(n, scale)
	v = int128{lo: lo, hi: int64(hi)}
	if negative {
		v = v.negate()
	}
	return v, true
}

// Slow path: exponents and long numbers.
func parseLongNumeric(s string) (v int128, ok bool) {
	digits, exponent := 0, false
	for i, c := range s {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && !exponent:
		case (c == '-' || c == '+') && (i == 0 || s[i-1] == 'e' || s[i-1] == 'E'):
		case (c == 'e' || c == 'E') && digits > 0 && !exponent:
			exponent = true
		default:
			return v, false
		}
	}
	// The bound keeps an exponent from asking for gigabytes.
	if digits == 0 || len(s) > 100 {
		return v, false
	}
	f, _, err := big.ParseFloat(s, 10, 400, big.ToNearestEven)
	if err != nil || f.MantExp(nil) > 128 || f.MantExp(nil) < -128 {
		return v, err == nil && f != nil && f.Sign() == 0
	}
	r, valid := new(big.Rat).SetString(s)
	if !valid {
		return v, false
	}
	r.Mul(r, big.NewRat(1_000_000_000, 1))
	if !r.IsInt() {
		return v, false
	}
	return int128Of(r.Num())
}

func int128Of(n *big.Int) (v int128, ok bool) {
	if n.CmpAbs(numericLimit) >= 0 {
		return v, false
	}
	var b [16]byte
	new(big.Int).Abs(n).FillBytes(b[:])
	v = int128{lo: binary.BigEndian.Uint64(b[8:]), hi: int64(binary.BigEndian.Uint64(b[:8]))}
	if n.Sign() < 0 {
		v = v.negate()
	}
	return v, true
}

// decodeNumeric reads the Storage Write API's BYTES form of a NUMERIC:
// billionths in two's complement, little-endian, as short as possible.
func decodeNumeric(s []byte) (v int128, ok bool) {
	if len(s) == 0 || len(s) > 16 {
		return v, false
	}
	var b [16]byte
	copy(b[:], s)
	if s[len(s)-1]&0x80 != 0 {
		for i := len(s); i < 16; i++ {
			b[i] = 0xFF
		}
	}
	v = int128{lo: binary.LittleEndian.Uint64(b[:8]), hi: int64(binary.LittleEndian.Uint64(b[8:]))}
	return v, v.big().CmpAbs(numericLimit) < 0
}

// numericOfInt returns a whole number as billionths.
func numericOfInt(n int64) int128 {
	u := uint64(n)
	if n < 0 {
		u = -u
	}
	hi, lo := bits.Mul64(u, 1_000_000_000)
	v := int128{lo: lo, hi: int64(hi)}
	if n < 0 {
		v = v.negate()
	}
	return v
}

func (v int128) negate() int128 {
	lo, borrow := bits.Sub64(0, v.lo, 0)
	hi, _ := bits.Sub64(0, uint64(v.hi), borrow)
	return int128{lo: lo, hi: int64(hi)}
}
