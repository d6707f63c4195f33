package impression

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A document is JSON as a tree that keeps the order of members and the text of
// numbers: object, []any, string, json.Number, bool or nil.
type object []member

type member struct {
	name  string
	value any
}

// parseDocument reads valid JSON.
func parseDocument(data []byte) any {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var value func() any
	token := func() json.Token {
		t, err := dec.Token()
		if err != nil {
			panic(err)
		}
		return t
	}
	value = func() any {
		switch t := token(); t {
		case json.Delim('{'):
			o := object{}
			for dec.More() {
				name := token().(string)
				o = append(o, member{name, value()})
			}
			token()
			return o
		case json.Delim('['):
			a := []any{}
			for dec.More() {
				a = append(a, value())
			}
			token()
			return a
		default:
			return t
		}
	}
	return value()
}

// A shaper changes a document at random and writes it as oddly as JSON allows.
type shaper struct {
	*rand.Rand
	text string // from the fuzzer
	// spaces and escapes are how often, of 256, there are needless ones.
	spaces, escapes int
}

func (s *shaper) oneIn(n int) bool { return s.IntN(n) == 0 }

// pick returns one of several.
func pick[T any](s *shaper, from ...T) T { return from[s.IntN(len(from))] }

// oddValues are what a field may hold instead of what it should.
func (s *shaper) oddValue() any {
	return pick[any](s, nil, "", "0", "200", "-1", "abc", "1e2", "9223372036854775807", "9223372036854775808", s.text,
		json.Number("0"), json.Number("-0"), json.Number("200.0"), json.Number("2e2"), json.Number("404"), json.Number("1e999999999"),
		json.Number("0.5"), json.Number("9223372036854775808"), true, false, object{}, []any{}, []any{"a", nil},
		object{{"insertId", "x"}, {"requestUrl", json.Number("1")}}, strings.Repeat("x", 100),
		"2026-01-15T12:00:00Z", "2026-01-15t12:00:00z", "2026-01-15T23:59:60Z", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59.9999999+23:59", "0.0000019s", "-1.5s",
		"203.0.113.93:4711", "[2001:db8::1]:443", "::ffff:203.0.113.9", "2001:db8:1:2::3%eth0", "sin-1", "SIN-x", "S\u0130N-1", "de", "d\u00df")
}

// oddPairs are parts of queries.
var oddPairs = []string{
	"", "=", "=v", "x", "x=", "cid", "cid=", "cid=1", "CID=2", "campaign=3", "%63id=4", "cb=1", "ord=2", "cb=%%CACHEBUSTER%%", "cb=[X]", "uid=%eaid!",
	"uid=$%7BA%7D", "uid={a b}", "w=1", "w=", "h=100001", "w=x", "sz=1x2", "sz=1", "sz=0300x00250", "sz=100000x100001", "price=1.0000000005",
	"price=-0.0000000004", "price=AUDIT", "price=1e3", "price=+1", "price=%2B1", "price=99999999999999999999999999999.9999999999", "ev=CLICK", "ev=%C4%B0%E2%84%AA",
	"url=https%3A%2F%2FA.Example%3A8080%2F", "url=//x", "url=http%3A%2F%2Fa%20b%2F", "url=http://%5B::1%5D:80", "url=http://u@h\\@x/", "ref=android-app%3A%2F%2FCom.X",
	"ref=about:blank", "ref=https://a%25b", "a=%", "a=%4", "a=%zz", "%=1", "a=%E2%82", "a=%FF%C0%AF", "%ff=1", "a=%F0%9F%98%80", "a=\u00e9", "a=%22%5C%00%0A%7f",
	"b=%E2%80%A8", "x+y=a+b", "gdpr=1", "gdpr=0", "gdpr=2", "gdpr_consent=C", "gpp=D", "us_privacy=1yN-", "us_privacy=2YNN", "tfcd=1", "coppa=0", "gpc=1", "gpc=",
	"iid=%20", "iid=i", "utm_campaign=u", "%75tm_source=v", "li=%00", "pl=a;b", ";", "#", "?", "a#b?c", "click=x", "u=y", "d_rd=z",
	"p0=0&p1=1&p2=2&p3=3&p4=4&p5=5&p6=6&p7=7&p8=8&p9=9&p10=&p11=&p12=&p13=&p14=&p15=&p16=&p0=again",
}

// oddURLs are the part before the query.
var oddURLs = []string{"http://h/pixel.gif?", "https://u:p@H.Example:1/p.gif?", "HTTP://[2001:DB8::1]:80/pixel.png?", "http:///pixel.gif?", "http://h:80", "http://h?",
	"ftp://h/pixel.gif?", "http://h/pi%78el.gif?", "http://h/pixel.gif%?", "http://h/pixel.gif#?", `http://h\pixel.gif?`, "//h/pixel.gif?", "http://h\u00c9/p.gif?", "http://:1/p.gif?",
	"http://a b/p.gif?", "http://[x]/p.gif?", "http://[]/p.gif?", "http://[::1/p.gif?"}

// change changes one thing in a document.
func (s *shaper) change(doc any) any {
	o, ok := doc.(object)
	if !ok || len(o) == 0 {
		return s.oddValue()
	}
	o = slices.Clone(o)
	i := s.IntN(len(o))
	if s.oneIn(2) { // where most happens
		if j := slices.IndexFunc(o, func(m member) bool { return m.name == pick(s, "httpRequest", "requestUrl", "jsonPayload") }); j >= 0 {
			i = j
		}
	}
	m := &o[i]
	if _, ok := m.value.(object); ok && !s.oneIn(6) {
		m.value = s.change(m.value)
		return o
	}
	switch s.IntN(10) {
	case 0:
		return slices.Delete(o, i, i+1)
	case 1: // once more, elsewhere
		return slices.Insert(o, s.IntN(len(o)+1), member{m.name, s.change(m.value)})
	case 2:
		return slices.Insert(o, s.IntN(len(o)+1), *m)
	case 3:
		return slices.Insert(o, s.IntN(len(o)+1), member{pick(s, "", "new", m.name+"x", strings.ToUpper(m.name), "httpRequest.status", s.text), s.oddValue()})
	case 4:
		m.value = s.oddValue()
	case 5:
		m.value = pick[any](s, nil, m.value, object{{m.name, m.value}})
	case 6: // numbers as strings, and the other way round
		switch v := m.value.(type) {
		case json.Number:
			m.value = v.String()
		case string:
			m.value = json.Number("12")
		}
	case 7:
		s.Shuffle(len(o), func(i, j int) { o[i], o[j] = o[j], o[i] })
	default:
		text, ok := m.value.(string)
		if !ok {
			m.value = s.oddValue()
		} else if m.name == "requestUrl" || m.name == "referer" {
			m.value = s.changeURL(text)
		} else {
			m.value = s.changeText(text)
		}
	}
	return o
}

func (s *shaper) changeText(text string) string {
	i := s.IntN(len(text) + 1)
	j := i + s.IntN(len(text)-i+1)
	return strings.ToValidUTF8(pick(s, text[:i]+s.text+text[i:], text[:i]+text[j:], text[:i]+pick(s, "\x00", "\u20ac", "\U0001F600", "%", "+", "\"", "\\", " ")+text[i:], strings.ToUpper(text)), "")
}

func (s *shaper) changeURL(url string) string {
	base, query, found := strings.Cut(url, "?")
	if !found || s.oneIn(6) {
		base = strings.TrimSuffix(pick(s, oddURLs...), "?")
	}
	separator := pick(s, "&", "&", "&", ";")
	pairs := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	for range s.IntN(6) {
		pairs = slices.Insert(pairs, s.IntN(len(pairs)+1), pick(s, append(slices.Clone(pairs), append(oddPairs, s.text)...)...))
	}
	if len(pairs) > 0 && s.oneIn(3) {
		i := s.IntN(len(pairs))
		pairs[i] = s.changeText(pairs[i])
	}
	return base + "?" + strings.Join(pairs, separator)
}

// write writes a document.
func (s *shaper) write(dst []byte, doc any) []byte {
	space := func() {
		for s.IntN(256) < s.spaces {
			dst = append(dst, pick[byte](s, ' ', '\t', '\r', '\n'))
		}
	}
	list := func(open, shut byte, n int, each func(i int)) {
		dst = append(dst, open)
		for i := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			each(i)
		}
		space()
		dst = append(dst, shut)
	}
	space()
	switch v := doc.(type) {
	case object:
		list('{', '}', len(v), func(i int) {
			space()
			dst = s.writeText(dst, v[i].name)
			space()
			dst = append(dst, ':')
			dst = s.write(dst, v[i].value)
		})
	case []any:
		list('[', ']', len(v), func(i int) { dst = s.write(dst, v[i]) })
	case string:
		dst = s.writeText(dst, v)
	case nil:
		dst = append(dst, "null"...)
	default:
		dst = fmt.Append(dst, v)
	}
	space()
	return dst
}

func (s *shaper) writeText(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for _, r := range text {
		short := strings.IndexByte("\b\f\n\r\t\"\\/", byte(r))
		needed := r < ' ' || r == '"' || r == '\\'
		switch odd := needed || s.IntN(256) < s.escapes; {
		case !odd:
			dst = append(dst, string(r)...)
		case short >= 0 && r < 128 && !s.oneIn(4):
			dst = append(dst, '\\', `bfnrt"\/`[short])
		case r > 0xFFFF:
			r -= 0x10000
			dst = fmt.Appendf(dst, `\u%04x\u%04X`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		default:
			dst = fmt.Appendf(dst, pick(s, `\u%04x`, `\u%04X`), r)
		}
		if s.escapes > 0 && s.oneIn(4096) {
			dst = append(dst, pick(s, `\ud800`, `\udc00`, `\ud83d\u0041`)...)
		}
	}
	return append(dst, '"')
}

// shape returns a changed entry. Seed 0 is the entry itself.
func shape(entry []byte, seed uint64, text string) []byte {
	if seed == 0 {
		return entry
	}
	s := &shaper{Rand: rand.New(rand.NewPCG(seed, 0)), text: strings.ToValidUTF8(text, "\uFFFD")}
	s.spaces, s.escapes = pick(s, 0, 0, 20, 100), pick(s, 0, 0, 2, 30, 256)
	data := entry
	if json.Valid(entry) {
		doc := parseDocument(entry)
		for range s.IntN(5) {
			doc = s.change(doc)
		}
		data = s.write(nil, doc)
	}
	if s.oneIn(8) && len(data) > 0 { // break it, perhaps
		i := s.IntN(len(data))
		switch s.IntN(4) {
		case 0:
			data = data[:i]
		case 1:
			data = slices.Insert(slices.Clone(data), i, pick[byte](s, 0xFF, 0x80, 0xC3, 0xE2, '"', '\\', '{', '}', ',', 0, '1', 0x7F))
		case 2:
			data = slices.Delete(slices.Clone(data), i, i+1)
		case 3:
			data = slices.Clone(data)
			data[i] = byte(s.Uint32())
		}
	}
	return data
}
