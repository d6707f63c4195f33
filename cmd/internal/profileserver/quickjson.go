package profileserver

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// An ad server asks /v1/frequency:check before each ad. What is most frequent there
// is read and written without encoding/json, which takes most of the time that this
// package takes; all else still is. Tests compare the two.

// parse reads a request of the plainest form: the fields as they are spelled, none
// twice, no null, strings of printable ASCII without escapes. It tells whether the
// body was one; if not, c is as it was.
func (c *checkRequest) parse(body string) bool {
	p := parser{body}
	var req checkRequest
	var users, caps bool
	ok := p.object(func(name string) bool {
		switch {
		case name == "users" && !users:
			users = true
			req.Users = []string{}
			return p.array(func() bool {
				user, ok := p.string()
				req.Users = append(req.Users, user)
				return ok
			})
		case name == "caps" && !caps:
			caps = true
			req.Caps = []capRequest{}
			return p.array(func() bool {
				req.Caps = append(req.Caps, capRequest{})
				return req.Caps[len(req.Caps)-1].parse(&p)
			})
		}
		return false
	})
	if p.space(); !ok || p.rest != "" {
		return false
	}
	*c = req
	return true
}

func (c *capRequest) parse(p *parser) bool {
	var campaign, event, limit, period bool
	return p.object(func(name string) (ok bool) {
		switch {
		case name == "campaign_id" && !campaign:
			campaign = true
			c.CampaignID, ok = p.string()
		case name == "event_type" && !event:
			event = true
			c.EventType, ok = p.string()
		case name == "limit" && !limit:
			limit = true
			c.Limit, ok = p.integer()
		case name == "period" && !period:
			period = true
			c.Period, ok = p.string()
		}
		return ok
	})
}

// parser reads JSON. What its methods return borrows from the text; once one has
// returned false the parser is of no more use.
type parser struct{ rest string }

func (p *parser) space() {
	for p.rest != "" && (p.rest[0] == ' ' || p.rest[0] == '\n' || p.rest[0] == '\t' || p.rest[0] == '\r') {
		p.rest = p.rest[1:]
	}
}

// skip skips a byte and the white space before it.
func (p *parser) skip(b byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != b {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// object calls value for each field, to read its value.
func (p *parser) object(value func(name string) bool) bool {
	if !p.skip('{') {
		return false
	}
	if p.skip('}') {
		return true
	}
	for {
		name, ok := p.string()
		if !ok || !p.skip(':') || !value(name) {
			return false
		}
		if !p.skip(',') {
			return p.skip('}')
		}
	}
}

// array calls element for each element, to read it.
func (p *parser) array(element func() bool) bool {
	if !p.skip('[') {
		return false
	}
	if p.skip(']') {
		return true
	}
	for {
		if !element() {
			return false
		}
		if !p.skip(',') {
			return p.skip(']')
		}
	}
}

func (p *parser) string() (string, bool) {
	if !p.skip('"') {
		return "", false
	}
	n := plain(p.rest)
	if n == len(p.rest) || p.rest[n] != '"' {
		return "", false
	}
	s := p.rest[:n]
	p.rest = p.rest[n+1:]
	return s, true
}

// integer reads a whole number of up to 18 digits, without a sign.
func (p *parser) integer() (int64, bool) {
	p.space()
	n := 0
	for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	if n == 0 || n > 18 || n > 1 && p.rest[0] == '0' {
		return 0, false
	}
	v, err := strconv.ParseInt(p.rest[:n], 10, 64)
	p.rest = p.rest[n:]
	return v, err == nil
}

// plain returns how many bytes at the beginning of s stand for themselves in JSON:
// printable ASCII without quotes and backslashes.
func plain(s string) int {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return i
		}
	}
	return len(s)
}

// appendJSON appends the answer as encoding/json would, HTML unescaped.
func (a *checkAnswer) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"users":[`...)
	for i := range a.Users {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = a.Users[i].appendJSON(dst)
	}
	return append(dst, "]}"...)
}

func (u *userDecision) appendJSON(dst []byte) []byte {
	dst = appendString(append(dst, `{"user_id":`...), u.UserID)
	dst = strconv.AppendBool(append(dst, `,"known":`...), u.Known)
	dst = append(dst, `,"allowed":[`...)
	for i, campaign := range u.Allowed {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, campaign)
	}
	dst = append(dst, `],"caps":[`...)
	for i := range u.Caps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = u.Caps[i].appendJSON(dst)
	}
	return append(dst, "]}"...)
}

func (c *capDecision) appendJSON(dst []byte) []byte {
	dst = appendString(append(dst, `{"campaign_id":`...), c.CampaignID)
	dst = appendString(append(dst, `,"event_type":`...), c.EventType)
	dst = strconv.AppendInt(append(dst, `,"limit":`...), c.Limit, 10)
	dst = appendString(append(dst, `,"period":`...), c.Period)
	dst = strconv.AppendInt(append(dst, `,"count":`...), c.Count, 10)
	dst = append(dst, `,"at_most":`...)
	if c.AtMost == nil {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, *c.AtMost, 10)
	}
	dst = strconv.AppendInt(append(dst, `,"invalid":`...), c.Invalid, 10)
	dst = append(dst, `,"last_event_time":`...)
	if c.LastEventTime == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, *c.LastEventTime)
	}
	dst = strconv.AppendBool(append(dst, `,"allowed":`...), c.Allowed)
	return append(dst, '}')
}

func appendString(dst []byte, s string) []byte {
	if plain(s) == len(s) {
		dst = append(append(dst, '"'), s...)
		return append(dst, '"')
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // there is no such string
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}
