package pixelurl

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// unhex is the value of a hex digit, 255 for any other byte.
var unhex = func() (t [256]byte) {
	for c := range t {
		switch {
		case isDigit(byte(c)):
			t[c] = byte(c) - '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			t[c] = byte(c|0x20) - 'a' + 10
		default:
			t[c] = 255
		}
	}
	return t
}()

func isDigit(c byte) bool { return c-'0' <= 9 }

// unescape returns the byte of the escape %XX at the start of s; s begins with %.
func unescape(s []byte) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	high, low := unhex[s[1]], unhex[s[2]]
	return high<<4 | low, high|low <= 15
}

// valueEnd finds the end of a value that begins at i: the next separator or the
// end of the query. coded says that the value is not plain ASCII without escapes
// and pluses.
func valueEnd(query []byte, i int, separator byte) (end int, coded bool) {
	separators := uint64(separator) * eachByte
	for {
		// Fast path: eight bytes at a time. The high bit of each byte of the
		// mask says that the byte is the separator, %, + or beyond ASCII; a
		// borrow can set bits only above a true one.
		if len(query)-i >= 8 {
			x := binary.LittleEndian.Uint64(query[i:])
			mask := (((x ^ separators) - eachByte) |
				((x ^ '%'*eachByte) - eachByte) |
				((x ^ '+'*eachByte) - eachByte) |
				x) & highBits
			if mask == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(mask) / 8
		} else if i >= len(query) {
			return i, false
		}
		if query[i] == separator {
			return i, false
		}
		if c := query[i]; c == '%' || c == '+' || c >= utf8.RuneSelf {
			if n := bytes.IndexByte(query[i:], separator); n >= 0 {
				return i + n, true
			}
			return len(query), true
		}
		i++
	}
}

// appendDecoded appends s as form values are decoded: + is a space, %XX a byte,
// any other % stays (BadEscape), and what is not UTF-8 after that becomes U+FFFD
// (BadUTF8).
func appendDecoded(dst, s []byte) ([]byte, Lint) {
	var lint Lint
	from := len(dst)
	dst = slices.Grow(dst, len(s))
	out := dst[from : from+len(s)]
	n := 0
	var all byte // all bytes, or-ed
	for i := 0; i < len(s) && n < len(out); i++ {
		c := s[i]
		if c == '%' {
			if b, ok := unescape(s[i:]); ok {
				c = b
				i += 2
			} else {
				lint |= BadEscape
			}
		} else if c == '+' {
			c = ' '
		}
		all |= c
		out[n] = c
		n++
	}
	dst = dst[:from+n]
	if all >= utf8.RuneSelf && !utf8.Valid(dst[from:]) {
		dst = repairUTF8(dst, from)
		lint |= BadUTF8
	}
	return dst, lint
}

// repairUTF8 replaces what is not UTF-8 in dst[from:] by U+FFFD, one for each
// maximal part of a character that might have been, as the decoder of the WHATWG
// Encoding Standard does. (Package utf8 counts one for each byte.)
func repairUTF8(dst []byte, from int) []byte {
	// The repaired text is built behind the broken one, then moved.
	end := len(dst)
	for i := from; i < end; {
		r, n := utf8.DecodeRune(dst[i:end])
		if r == utf8.RuneError && n == 1 {
			n = brokenLen(dst[i:end])
		}
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return append(dst[:from], dst[end:]...)
}

// brokenLen returns how many bytes at the start of s, which is no UTF-8, one
// U+FFFD stands for: the first one and those that could have continued it.
func brokenLen(s []byte) int {
	low, high, need := byte(0x80), byte(0xBF), 0
	switch c := s[0]; {
	case 0xC2 <= c && c <= 0xDF:
		need = 1
	case 0xE0 <= c && c <= 0xEF:
		need = 2
	case 0xF0 <= c && c <= 0xF4:
		need = 3
	}
	switch s[0] {
	case 0xE0:
		low = 0xA0
	case 0xED:
		high = 0x9F
	case 0xF0:
		low = 0x90
	case 0xF4:
		high = 0x8F
	}
	n := 1
	for n <= need && n < len(s) && low <= s[n] && s[n] <= high {
		low, high = 0x80, 0xBF
		n++
	}
	return n
}
