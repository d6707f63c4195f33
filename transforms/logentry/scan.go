package logentry

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"pixelbeam/transforms/bytescan"
)

// next returns the first byte at or after i that is no white space, and its
// index; 0 and len(data) at the end.
func next(data []byte, i int) (byte, int) {
	if i < len(data) && data[i] > ' ' {
		return data[i], i
	}
	return nextSlow(data, i)
}

func nextSlow(data []byte, i int) (byte, int) {
	for ; i < len(data); i++ {
		switch c := data[i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c, i
		}
	}
	return 0, i
}

// skip reads one value of any kind, iteratively, since the input decides how
// deep it is nested; there is no white space at i. depth containers are open
// around it.
func (d *Decoder) skip(data []byte, i, depth int) int {
	outside := depth
	for {
		// A value begins at i.
		c, at := next(data, i)
		switch i = at; c {
		case '"':
			i = d.skipString(data, i+1)
		case '{', '[':
			if depth == maxDepth {
				d.fault = DecodeError{ReasonInvalidJSON, i, "nested too deep"}
				return -1
			}
			depth++
			closing := byte(']')
			if c == '{' {
				d.open[depth/64] |= 1 << (depth % 64)
				closing = '}'
			} else {
				d.open[depth/64] &^= 1 << (depth % 64)
			}
			if c, i = next(data, i+1); c == closing {
				depth--
				i++
				break
			}
			if closing == '}' {
				if i = d.skipName(data, i); i < 0 {
					return -1
				}
			}
			continue
		case 't':
			i = d.literal(data, i, "true")
		case 'f':
			i = d.literal(data, i, "false")
		case 'n':
			i = d.literal(data, i, "null")
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			i = d.number(data, i)
		default:
			return d.expected(data, i, "a value")
		}
		if i < 0 {
			return -1
		}
		// A value has ended at i: close what ends here, up to the next value.
		for {
			if depth == outside {
				return i
			}
			c, i = next(data, i)
			object := d.open[depth/64]>>(depth%64)&1 != 0
			if c == ',' {
				if i++; object {
					_, i = next(data, i)
					if i = d.skipName(data, i); i < 0 {
						return -1
					}
				}
				break
			}
			if c == '}' && object || c == ']' && !object {
				depth--
				i++
				continue
			}
			if object {
				return d.expected(data, i, "a comma or the end of an object")
			}
			return d.expected(data, i, "a comma or the end of an array")
		}
	}
}

// skipName reads a member's name and the colon after it; there is no white space
// at i.
func (d *Decoder) skipName(data []byte, i int) int {
	if i >= len(data) || data[i] != '"' {
		return d.expected(data, i, "a member name")
	}
	if i = d.skipString(data, i+1); i < 0 {
		return -1
	}
	c, i := next(data, i)
	if c != ':' {
		return d.expected(data, i, "a colon")
	}
	return i + 1
}

// literal reads true, false or null.
func (d *Decoder) literal(data []byte, i int, word string) int {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		return d.expected(data, i, "a value")
	}
	return i + len(word)
}

// number reads a number by the grammar of RFC 8259, section 6.
func (d *Decoder) number(data []byte, i int) int {
	if data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++
	} else if i = d.digits(data, i); i < 0 {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		if i = d.digits(data, i+1); i < 0 {
			return -1
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		return d.digits(data, i)
	}
	return i
}

// digits reads one or more digits.
func (d *Decoder) digits(data []byte, i int) int {
	start := i
	for i < len(data) && isDigit(data[i]) {
		i++
	}
	if i == start {
		return d.expected(data, i, "a digit")
	}
	return i
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// inString are the bytes that end a stretch of plain ASCII in a string: quotes,
// backslashes, control characters, and what is beyond ASCII.
var inString = bytescan.NewSet(' ', '"', '\\')

// scanString finds the end of a string with escapes or characters beyond ASCII in
// it, and checks escapes, control characters and UTF-8 on the way. i is the first
// byte of the string that is inString. It returns the index of the closing quote and whether there is an
// escape, or the complement of the index of the fault, which is len(data) if
// there is no closing quote.
func (d *Decoder) scanString(data []byte, i int) (end int, escaped bool) {
	for ; i < len(data); i = d.index.Next(i) {
		switch c := data[i]; {
		case c == '"':
			return i, escaped
		case c == '\\':
			n := escapeLen(data[i:])
			if n == 0 {
				return ^i, escaped
			}
			i += n
			escaped = true
		case c < ' ':
			return ^i, escaped
		default:
			_, n := utf8.DecodeRune(data[i:])
			if n == 1 {
				return ^i, escaped
			}
			i += n
		}
	}
	return ^len(data), escaped
}

// escapeLen returns the length of the escape at the start of s, 0 if it is none.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(s); ok {
			return 6
		}
	}
	return 0
}

// hex4 returns the code unit of an escape (backslash, u, four hex digits) at the start of s.
func hex4(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	a, b, c, d := unhex[s[2]], unhex[s[3]], unhex[s[4]], unhex[s[5]]
	return rune(a)<<12 | rune(b)<<8 | rune(c)<<4 | rune(d), a|b|c|d <= 15
}

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

// appendUnescaped appends the text of a string that scanString accepted.
func appendUnescaped(dst, s []byte) []byte {
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		s = s[i:]
		if s[1] != 'u' {
			dst = append(dst, unescaped(s[1]))
			s = s[2:]
			continue
		}
		r, _ := hex4(s)
		s = s[6:]
		if utf16.IsSurrogate(r) {
			second, _ := hex4(s)
			r = utf16.DecodeRune(r, second)
			if r != utf8.RuneError {
				s = s[6:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
}

// unescaped returns what the letter of a short escape stands for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}
