package googlesql

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// tokenKind is a class of tokens.
type tokenKind int

const (
	tokenEOF    tokenKind = iota
	tokenName             // identifier or keyword
	tokenQuoted           // identifier in backticks; text is what they hold
	tokenString           // text is the string
	tokenBytes            // text is the bytes
	tokenNumber           // text as written
	tokenParam            // @name; text is the name, "" for ?
	tokenSymbol
)

// token is a lexical element.
type token struct {
	kind tokenKind
	text string
	pos  int  // byte offset in the statement
	glue bool // follows the token before without a gap
}

// Error is a statement that is wrong, or that this translation refuses.
type Error struct {
	Line, Column int // from 1
	Message      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s at [%d:%d]", e.Message, e.Line, e.Column)
}

// errorAt makes an Error of a byte offset.
func errorAt(sql string, pos int, format string, args ...any) *Error {
	before := sql[:min(pos, len(sql))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return &Error{line, column, fmt.Sprintf(format, args...)}
}

// longSymbols are the symbols of more than one character, longest first.
var longSymbols = []string{"<<", ">>", "<=", ">=", "!=", "<>", "||", "=>", "|>", "@@"}

// lex splits a statement into tokens; the last is tokenEOF.
func lex(sql string) ([]token, error) {
	var out []token
	end := -1
	for i := 0; i < len(sql); {
		start := i
		c := sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
			continue
		case c == '#' || strings.HasPrefix(sql[i:], "--"):
			n := strings.IndexByte(sql[i:], '\n')
			if n < 0 {
				i = len(sql)
			} else {
				i += n
			}
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			n := strings.Index(sql[i+2:], "*/")
			if n < 0 {
				return nil, errorAt(sql, i, "Unclosed comment")
			}
			i += n + 4
			continue
		}
		t, n, err := lexOne(sql, i, len(out) > 0 && out[len(out)-1].kind == tokenSymbol && out[len(out)-1].text == ".")
		if err != nil {
			return nil, err
		}
		i += n
		t.pos, t.glue = start, start == end
		end = i
		out = append(out, t)
	}
	return append(out, token{kind: tokenEOF, pos: len(sql)}), nil
}

// lexOne reads the token at i and returns its length.
func lexOne(sql string, i int, afterDot bool) (token, int, error) {
	rest := sql[i:]
	if prefix := stringPrefix(rest); prefix >= 0 {
		return lexString(sql, i, prefix)
	}
	c := rest[0]
	switch {
	case isNameStart(c):
		n := 1
		for n < len(rest) && (isNameStart(rest[n]) || isDigit(rest[n])) {
			n++
		}
		return token{kind: tokenName, text: rest[:n]}, n, nil
	case c == '`':
		text, n, err := unescape(sql, i+1, "`", false, false)
		if err != nil {
			return token{}, 0, err
		}
		if text == "" || strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			return token{}, 0, errorAt(sql, i, "Invalid identifier %q", text)
		}
		return token{kind: tokenQuoted, text: text}, n + 1, nil
	case isDigit(c) && afterDot:
		// In a path, as in t.1a.
		n := 1
		for n < len(rest) && (isNameStart(rest[n]) || isDigit(rest[n])) {
			n++
		}
		return token{kind: tokenName, text: rest[:n]}, n, nil
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]) && !afterDot:
		n := numberLength(rest)
		if n < len(rest) && isNameStart(rest[n]) {
			if rest[n-1] != '.' || n == 1 {
				return token{}, 0, errorAt(sql, i, "Missing whitespace between literal and alias")
			}
			n-- // a project's name, as in my-project-123.dataset
		}
		return token{kind: tokenNumber, text: rest[:n]}, n, nil
	case c == '?':
		return token{kind: tokenParam}, 1, nil
	case c == '@' && len(rest) > 1 && isNameStart(rest[1]):
		n := 2
		for n < len(rest) && (isNameStart(rest[n]) || isDigit(rest[n])) {
			n++
		}
		return token{kind: tokenParam, text: rest[1:n]}, n, nil
	}
	for _, s := range longSymbols {
		if strings.HasPrefix(rest, s) {
			return token{kind: tokenSymbol, text: s}, len(s), nil
		}
	}
	if strings.IndexByte("()[]{},.;+-*/<>=&|^~:@", c) >= 0 {
		return token{kind: tokenSymbol, text: rest[:1]}, 1, nil
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, 0, errorAt(sql, i, "Syntax error: Illegal input character %q", r)
}

func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func numberLength(s string) int {
	n := 0
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		n = 2
		for n < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[n]) >= 0 {
			n++
		}
		return n
	}
	digits := func() {
		for n < len(s) && isDigit(s[n]) {
			n++
		}
	}
	digits()
	if n < len(s) && s[n] == '.' {
		n++
		digits()
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		save := n
		n++
		if n < len(s) && (s[n] == '+' || s[n] == '-') {
			n++
		}
		if n == len(s) || !isDigit(s[n]) {
			return save
		}
		digits()
	}
	return n
}

// stringPrefix returns the number of letters (r, b) before a string's quote, or
// -1 if none starts here.
func stringPrefix(s string) int {
	for n := 0; n < len(s) && n <= 2; n++ {
		switch s[n] {
		case '\'', '"':
			return n
		case 'r', 'R', 'b', 'B':
			if n == 1 && (s[0]|0x20) == (s[1]|0x20) {
				return -1
			}
		default:
			return -1
		}
	}
	return -1
}

func lexString(sql string, i, prefix int) (token, int, error) {
	flags := strings.ToLower(sql[i : i+prefix])
	raw, bytes := strings.Contains(flags, "r"), strings.Contains(flags, "b")
	start := i + prefix
	quote := sql[start : start+1]
	if strings.HasPrefix(sql[start:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	text, n, err := unescape(sql, start+len(quote), quote, raw, bytes)
	if err != nil {
		return token{}, 0, err
	}
	t := token{kind: tokenString, text: text}
	if bytes {
		t.kind = tokenBytes
	} else if !utf8.ValidString(text) {
		return token{}, 0, errorAt(sql, i, "Structurally invalid UTF8 string")
	}
	return t, prefix + len(quote) + n, nil
}

// simpleEscapes are the escapes of one letter.
var simpleEscapes = map[byte]byte{
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
	'\\': '\\', '?': '?', '"': '"', '\'': '\'', '`': '`',
}

// unescape reads up to the closing quote and returns the text and the length of
// what it read, the quote included.
func unescape(sql string, start int, quote string, raw, bytes bool) (string, int, error) {
	var b strings.Builder
	for i := start; i < len(sql); {
		c := sql[i]
		switch {
		case strings.HasPrefix(sql[i:], quote):
			return b.String(), i + len(quote) - start, nil
		case c == '\n' && len(quote) == 1:
			return "", 0, errorAt(sql, start-1, "Unclosed string literal")
		case c != '\\':
			b.WriteByte(c)
			i++
		case i+1 == len(sql):
			return "", 0, errorAt(sql, start-1, "Unclosed string literal")
		case raw:
			b.WriteString(sql[i : i+2])
			i += 2
		default:
			n, err := escape(&b, sql, i, bytes)
			if err != nil {
				return "", 0, err
			}
			i += n
		}
	}
	return "", 0, errorAt(sql, start-1, "Unclosed string literal")
}

// escape writes what the escape at i stands for and returns its length.
func escape(b *strings.Builder, sql string, i int, bytes bool) (int, error) {
	c := sql[i+1]
	if s, ok := simpleEscapes[c]; ok {
		b.WriteByte(s)
		return 2, nil
	}
	digits, base, from := 0, 16, i+2
	switch {
	case c == 'x' || c == 'X':
		digits = 2
	case c == 'u' && !bytes:
		digits = 4
	case c == 'U' && !bytes:
		digits = 8
	case c >= '0' && c <= '3':
		digits, base, from = 3, 8, i+1
	}
	if digits == 0 || from+digits > len(sql) {
		return 0, errorAt(sql, i, "Illegal escape sequence: \\%c", c)
	}
	v, err := strconv.ParseUint(sql[from:from+digits], base, 32)
	if err != nil || v > utf8.MaxRune {
		return 0, errorAt(sql, i, "Illegal escape sequence: \\%c", c)
	}
	if bytes {
		b.WriteByte(byte(v))
	} else {
		b.WriteRune(rune(v))
	}
	return from + digits - i, nil
}
