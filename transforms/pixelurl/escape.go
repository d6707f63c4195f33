package pixelurl

import "unicode/utf8"

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

// decode appends query[i:end], which is a name or a value, to the scratch buffer
// as form values are decoded, and returns it: + is a space, %XX a byte, any other
// % stays (BadEscape), and what is not UTF-8 after that becomes U+FFFD (BadUTF8).
func (p *Parser) decode(query []byte, i, end int, r *Result) []byte {
	from := len(p.scratch)
	dst := p.scratch
	high := false // something is not ASCII
	for {
		next := min(p.index.Next(i), end)
		dst = append(dst, query[i:next]...)
		if next == end {
			break
		}
		c := query[next]
		i = next + 1
		if c == '+' {
			c = ' '
		} else if c == '%' {
			if b, ok := unescape(query[next:end]); ok {
				c = b
				i += 2
			} else {
				r.Lint |= BadEscape
			}
		}
		high = high || c >= utf8.RuneSelf
		dst = append(dst, c)
	}
	if high && !utf8.Valid(dst[from:]) {
		dst = repairUTF8(dst, from)
		r.Lint |= BadUTF8
	}
	p.scratch = dst
	return dst[from:len(dst):len(dst)]
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
