package logentry

import "math"

// parseInteger reads an int64 as the JSON form of protocol buffers writes it in
// a string: an optional minus and decimal digits, nothing else.
func parseInteger(b []byte) (int64, bool) {
	digits, negative := b, false
	if len(b) > 0 && b[0] == '-' {
		digits, negative = b[1:], true
	}
	if len(digits) == 0 {
		return 0, false
	}
	var v uint64
	for _, c := range digits {
		if !isDigit(c) || v > math.MaxUint64/10-1 {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return signed(v, negative)
}

// parseNumber reads a valid JSON number that is a whole int64, in whatever way
// it is written: 200, 200.0 and 2e2 are the same number.
func parseNumber(b []byte) (int64, bool) {
	// Fast path: digits only.
	if v, ok := parseInteger(b); ok {
		return v, true
	}
	// Slow path: the value is mantissa * 10^exponent. Zeros are held back until
	// another digit follows, so that trailing ones never overflow.
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	var mantissa uint64
	zeros, exponent, fraction := 0, 0, false
	for i, c := range b {
		switch {
		case c == '.':
			fraction = true
			continue
		case c == 'e' || c == 'E':
			exponent += parseExponent(b[i+1:])
		case c == '0':
			zeros++
			if fraction {
				exponent--
			}
			continue
		default:
			for ; zeros > 0 && mantissa > 0; zeros-- {
				if mantissa > math.MaxUint64/10-1 {
					return 0, false
				}
				mantissa *= 10
			}
			zeros = 0
			if mantissa > math.MaxUint64/10-1 {
				return 0, false
			}
			mantissa = mantissa*10 + uint64(c-'0')
			if fraction {
				exponent--
			}
			continue
		}
		break
	}
	if mantissa == 0 {
		return 0, true
	}
	exponent += zeros
	if exponent < 0 {
		return 0, false
	}
	for ; exponent > 0; exponent-- {
		if mantissa > math.MaxUint64/10 {
			return 0, false
		}
		mantissa *= 10
	}
	return signed(mantissa, negative)
}

// parseExponent reads the digits after e, with their sign, held within a range
// far beyond any that matters.
func parseExponent(b []byte) int {
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	v := 0
	for _, c := range b {
		v = min(v*10+int(c-'0'), 1<<40)
	}
	if negative {
		return -v
	}
	return v
}

// signed applies a sign to a magnitude; false if the result is no int64.
func signed(v uint64, negative bool) (int64, bool) {
	if negative {
		return -int64(v), v <= 1<<63
	}
	return int64(v), v <= math.MaxInt64
}
