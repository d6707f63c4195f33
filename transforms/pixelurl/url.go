package pixelurl

import (
	"bytes"
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// URL is a request URL in parts, each as sent. The parts borrow from the URL
// that was split.
type URL struct {
	// Scheme is http or https, in any case.
	Scheme []byte
	// Host is the host without user and port, in any case, an IPv6 address in
	// its brackets. It is never empty.
	Host []byte
	// Path begins at the slash and ends before the first ? or #. A URL without
	// a path has the path /, which is what a client asks for then.
	Path []byte
	// Query is what stands between the first ? and the first # after it; nil if
	// there is no ?.
	Query []byte
}

var rootPath = []byte("/")

// Split takes a request URL apart. ok is false unless the URL is absolute, its
// scheme is http or https, and it has a host; nothing else is checked.
func Split(raw []byte) (u URL, ok bool) {
	scheme, authority, rest, plain, ok := splitAuthority(raw)
	if !ok || !isHTTP(scheme) {
		return URL{}, false
	}
	u.Scheme, u.Host = scheme, authority
	if !plain {
		u.Host = hostOf(authority)
	}
	if len(u.Host) == 0 {
		return URL{}, false
	}
	u.Path = rest
	if i := bytes.IndexByte(rest, '?'); i >= 0 {
		u.Path, u.Query = rest[:i:i], rest[i+1:]
		if j := bytes.IndexByte(u.Query, '#'); j >= 0 {
			u.Query = u.Query[:j:j]
		}
	}
	if i := bytes.IndexByte(u.Path, '#'); i >= 0 {
		u.Path = u.Path[:i:i]
	}
	if len(u.Path) == 0 {
		u.Path = rootPath
	}
	return u, true
}

// HostOf appends the lower-case host, without user and port, of a URL of any
// scheme, or of one that begins with //, and returns the extended dst. It
// returns nil if the URL has no host, or one that the WHATWG URL Standard
// forbids (with a space in it, say).
func HostOf(raw, dst []byte) []byte {
	// Fast path: http or https, and a host of the plainest letters.
	from := 0
	switch {
	case len(raw) > 8 && string(raw[:8]) == "https://":
		from = 8
	case len(raw) > 7 && string(raw[:7]) == "http://":
		from = 7
	}
	if from > 0 {
		end := from
		for end < len(raw) && plainInHost[raw[end]] {
			end++
		}
		if end > from && (end == len(raw) || raw[end] == '/') {
			return AppendLower(dst, raw[from:end])
		}
	}
	_, authority, _, _, ok := splitAuthority(raw)
	if !ok {
		return nil
	}
	host := hostOf(authority)
	if host == nil {
		return nil
	}
	if host[0] == '[' {
		for _, c := range host[1 : len(host)-1] {
			if unhex[c] > 15 && c != ':' && c != '.' {
				return nil
			}
		}
	} else {
		for _, c := range host {
			if forbiddenInHost[c] {
				return nil
			}
		}
	}
	return AppendLower(dst, host)
}

// splitAuthority cuts scheme://authority from what follows. The scheme is empty
// for a URL that begins with //. As in browsers, a backslash ends the authority
// of http and https too. The authority is a mere host, perhaps an empty one, if
// plain.
func splitAuthority(raw []byte) (scheme, authority, rest []byte, plain, ok bool) {
	// Fast path: what nearly all URLs begin with.
	backslash := true
	switch {
	case len(raw) > 8 && string(raw[:8]) == "https://":
		scheme, rest = raw[:5], raw[8:]
	case len(raw) > 7 && string(raw[:7]) == "http://":
		scheme, rest = raw[:4], raw[7:]
	default:
		i := 0
		for i < len(raw) && isSchemeByte(raw[i], i == 0) {
			i++
		}
		scheme, rest = raw[:i], raw[i:]
		if i > 0 {
			if len(rest) == 0 || rest[0] != ':' {
				return nil, nil, nil, false, false
			}
			rest = rest[1:]
		}
		if len(rest) < 2 || rest[0] != '/' || rest[1] != '/' {
			return nil, nil, nil, false, false
		}
		rest = rest[2:]
		backslash = isHTTP(scheme)
	}
	end := 0
	for end < len(rest) && plainInHost[rest[end]] {
		end++
	}
	mere := end
	for end < len(rest) {
		if c := rest[end]; c == '/' || c == '?' || c == '#' || c == '\\' && backslash {
			break
		}
		end++
	}
	return scheme, rest[:end:end], rest[end:], end == mere, true
}

// hostOf cuts user and port off an authority; nil if no host is left.
func hostOf(authority []byte) []byte {
	host := authority[bytes.LastIndexByte(authority, '@')+1:]
	end := bytes.IndexByte(host, ':')
	if len(host) > 0 && host[0] == '[' {
		end = bytes.IndexByte(host, ']') + 1
		if end <= 2 { // no ], or nothing in the brackets
			return nil
		}
	}
	if end >= 0 {
		host = host[:end:end]
	}
	if len(host) == 0 {
		return nil
	}
	return host
}

func isHTTP(scheme []byte) bool {
	return string(scheme) == "https" || string(scheme) == "http" ||
		equalFold(scheme, "http") || equalFold(scheme, "https")
}

func isSchemeByte(c byte, first bool) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || !first && (isDigit(c) || c == '+' || c == '-' || c == '.')
}

// forbiddenInHost are the forbidden domain code points of the WHATWG URL
// Standard, but for %, which a host as logged may hold.
var forbiddenInHost = func() (t [256]bool) {
	for c := range byte(' ' + 1) {
		t[c] = true
	}
	for _, c := range []byte("#/:<>?@[\\]^|\x7f") {
		t[c] = true
	}
	return t
}()

// plainInHost are letters, digits, and what stands between them in most hosts.
var plainInHost = func() (t [256]bool) {
	for c := range t {
		t[c] = isDigit(byte(c)) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '.' || c == '-' || c == '_'
	}
	return t
}()

// AppendLower appends s in lower case. Letters beyond ASCII are mapped one by
// one, without regard to language.
func AppendLower(dst, s []byte) []byte {
	// Fast path: eight ASCII bytes at a time.
	for len(s) >= 8 {
		x := binary.LittleEndian.Uint64(s)
		if x&highBits != 0 {
			break
		}
		dst = binary.LittleEndian.AppendUint64(dst, lowerWord(x))
		s = s[8:]
	}
	for i, c := range s {
		switch {
		case c >= utf8.RuneSelf:
			for s = s[i:]; len(s) > 0; {
				r, n := utf8.DecodeRune(s)
				dst = utf8.AppendRune(dst, unicode.ToLower(r))
				s = s[n:]
			}
			return dst
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// UnescapePath appends path with each %XX replaced by its byte and returns the
// extended dst. A % that two hex digits do not follow stays.
func UnescapePath(dst, path []byte) []byte {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return append(dst, path...)
		}
		dst = append(dst, path[:i]...)
		c, ok := unescape(path[i:])
		if !ok {
			c = '%'
			i -= 2
		}
		dst = append(dst, c)
		path = path[i+3:]
	}
}
