package pixelurl

import "bytes"

// OptInt is an int64 that may be absent.
type OptInt struct {
	Value int64
	Set   bool
}

// maxPixels is the largest width or height.
const maxPixels = 100_000

// parsePixels reads a whole number of 0 to maxPixels: digits, nothing else.
func parsePixels(b []byte) OptInt {
	if len(b) == 0 {
		return OptInt{}
	}
	var v int64
	for _, c := range b {
		if !isDigit(c) {
			return OptInt{}
		}
		if v = v*10 + int64(c-'0'); v > maxPixels {
			return OptInt{}
		}
	}
	return OptInt{v, true}
}

// parseSize reads a size such as 300x250. Both are absent if it is none.
func parseSize(b []byte) (width, height OptInt) {
	w, h, ok := bytes.Cut(b, []byte("x"))
	if !ok {
		return OptInt{}, OptInt{}
	}
	width, height = parsePixels(w), parsePixels(h)
	if !width.Set || !height.Set {
		return OptInt{}, OptInt{}
	}
	return width, height
}

// Digits that a BigQuery NUMERIC holds before and after the point.
const (
	numericInteger  = 29
	numericFraction = 9
)

// isNumeric reports whether b is a price in the ordinary form, which is also that
// in which BigQuery prints it: no sign, no needless zeros, few digits.
func isNumeric(b []byte) bool {
	integer, fraction, point := bytes.Cut(b, []byte("."))
	return allDigits(integer) && len(integer) <= numericInteger && (integer[0] != '0' || len(integer) == 1) &&
		(!point || allDigits(fraction) && len(fraction) <= numericFraction && fraction[len(fraction)-1] != '0')
}

// appendNumeric appends a plain decimal (optional sign, digits, optionally a
// point and digits) in the form that BigQuery prints a NUMERIC: no plus, no
// needless zeros, no negative zero. More than nine fraction digits are rounded
// half away from zero, as CAST(... AS NUMERIC) does. ok is false, and dst as it
// was, if b is no plain decimal or too large for a NUMERIC.
func appendNumeric(dst, b []byte) (_ []byte, ok bool) {
	unsigned := b
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		unsigned = b[1:]
	}
	integer, fraction, point := bytes.Cut(unsigned, []byte("."))
	if !allDigits(integer) || point && !allDigits(fraction) {
		return dst, false
	}
	integer = bytes.TrimLeft(integer, "0")
	if len(integer) > numericInteger {
		return dst, false
	}
	roundUp := len(fraction) > numericFraction && fraction[numericFraction] >= '5'
	fraction = fraction[:min(len(fraction), numericFraction)]

	// The magnitude is written with a zero before it, into which a carry can go.
	var buffer [1 + numericInteger + 1 + numericFraction]byte
	digits := append(buffer[:0], '0')
	digits = append(digits, integer...)
	digits = append(digits, '.')
	digits = append(digits, fraction...)
	for i := len(digits) - 1; roundUp; i-- {
		switch digits[i] {
		case '.':
		case '9':
			digits[i] = '0'
		default:
			digits[i]++
			roundUp = false
		}
	}
	if len(integer) == numericInteger && digits[0] != '0' {
		return dst, false
	}
	digits = bytes.TrimRight(bytes.TrimLeft(digits, "0"), "0")
	digits = bytes.TrimSuffix(digits, []byte("."))
	if len(digits) == 0 {
		return append(dst, '0'), true
	}
	if b[0] == '-' {
		dst = append(dst, '-')
	}
	if digits[0] == '.' {
		dst = append(dst, '0')
	}
	return append(dst, digits...), true
}

// allDigits reports whether b is one or more digits.
func allDigits(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return len(b) > 0
}
