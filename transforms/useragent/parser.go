package useragent

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// A Parser applies one set of rules. It is safe for concurrent use.
type Parser struct {
	version string
	rules   []*rule  // one list after the other
	bounds  [6]int   // where each list starts, and the end
	kinds   []string // position in listCrawlers -> kind
	types   []string // position in listDeviceTypes -> device type
	filter  *prefilter
	pool    sync.Pool // *workspace
}

// The lists of Parser.rules.
const (
	listBrowsers = iota
	listSystems
	listDevices
	listCrawlers
	listDeviceTypes
)

type workspace struct {
	scratch *scratch
	machine machine
}

// Default returns the parser of the embedded rules. They are prepared at the
// first call, once in a process.
func Default() *Parser { return defaultParser() }

var defaultParser = sync.OnceValue(func() *Parser {
	p, err := New(Rules{})
	if err != nil {
		panic(err) // the tests have read the same bytes
	}
	return p
})

// New returns a parser of the given rules. The lists of automatic clients and
// of device types stay those of the package.
//
// The error joins all faults and names line, list and position of each rule. A
// rule is refused if its regex is none to Go's regexp package, which has
// neither look-around nor back references; uap-core uses neither. All others
// are applied exactly: those that the fast matcher does not take go to package
// regexp.
func New(r Rules) (*Parser, error) {
	lists, err := loadRules(r.yaml())
	if err != nil {
		return nil, fmt.Errorf("user agent rules %s: %w", r.Name, err)
	}
	crawlers, kinds, err := loadCrawlers()
	if err != nil {
		return nil, err
	}
	deviceTypes, types, err := loadDeviceTypes()
	if err != nil {
		return nil, err
	}
	p := &Parser{version: r.Version(), kinds: kinds, types: types}
	for i, list := range append(lists[:], crawlers, deviceTypes) {
		p.rules = append(p.rules, list...)
		p.bounds[i+1] = len(p.rules)
	}
	p.filter = newPrefilter(p.rules)
	p.pool.New = func() any { return &workspace{scratch: p.filter.newScratch()} }
	return p, nil
}

// Version names the parser's rules; see [Rules.Version].
func (p *Parser) Version() string { return p.version }

// Parse returns what an agent says about itself. The strings may share memory
// with ua. An empty agent is an unknown device.
//
// In each of uap-core's three lists the first rule that matches decides. A
// rule whose family comes out empty does not count as a match; the
// specification is silent on it, uap-go does the same. Any string is accepted,
// UTF-8 or not; time grows with its length.
func (p *Parser) Parse(ua string) Client {
	if ua == "" {
		return Client{DeviceType: DeviceUnknown}
	}
	w := p.pool.Get().(*workspace)
	defer p.pool.Put(w)
	ascii := isASCII(ua)
	p.filter.scan(ua, ascii, w.scratch)

	var c Client
	browser, version := p.first(listBrowsers, ua, ascii, w)
	c.Browser, c.BrowserVersion = browser[0], version
	system, version := p.first(listSystems, ua, ascii, w)
	c.OS, c.OSVersion = system[0], version
	device, _ := p.first(listDevices, ua, ascii, w)
	c.DeviceBrand, c.DeviceModel = device[1], device[2]
	if c.BotKind, c.BotName = p.bot(ua, ascii, browser[0], system[0], device[0], w); c.BotKind != "" {
		c.DeviceType = DeviceBot
	} else {
		c.DeviceType = p.deviceType(ua, ascii, system[0], device[0], device[1], w)
	}
	return c
}

// first returns the values of the first rule of a list that matches and gives
// a family, and its version; none if there is no such rule or the family is
// "Other".
func (p *Parser) first(list int, ua string, ascii bool, w *workspace) (values [4]string, version string) {
	for n := p.candidate(p.bounds[list], list, w); n >= 0; n = p.candidate(n+1, list, w) {
		r := p.rules[n]
		captures := r.match(ua, ascii, &w.machine)
		if captures == nil {
			continue
		}
		for i := range values {
			values[i] = r.values[i].expand(ua, captures)
			if list == listDevices {
				values[i] = strings.TrimSpace(values[i])
			}
		}
		if values[0] == "" {
			continue
		}
		if values[0] == "Other" {
			break
		}
		if list != listDevices {
			version = r.version(ua, captures, values[1:])
		}
		return values, version
	}
	return [4]string{}, ""
}

// candidate returns the next rule of a list, from n on, that is worth trying,
// or -1.
func (p *Parser) candidate(n, list int, w *workspace) int {
	end := p.bounds[list+1]
	for n = w.scratch.candidates.next(n, end); n < end; n = w.scratch.candidates.next(n+1, end) {
		if p.filter.possible(uint32(n), w.scratch) {
			return n
		}
	}
	return -1
}

// match returns the captures of the leftmost match, nil if there is none. They
// are valid until the next call with the same machine.
func (r *rule) match(ua string, ascii bool, m *machine) []int {
	if ascii && r.prog != nil {
		captures, result := r.prog.match(ua, m)
		if result != undecided {
			return captures
		}
	}
	return r.regexp().FindStringSubmatchIndex(ua)
}

// version joins the non-empty parts of a version by dots. Where they stand so
// in the agent, the result is a part of it, which takes no memory.
func (r *rule) version(ua string, captures []int, parts []string) string {
	start, end := -1, -1
	for i, part := range parts {
		if part == "" {
			continue
		}
		group := r.values[i+1].group
		if group == 0 {
			return joinVersion(parts)
		}
		from, to := captures[2*group], captures[2*group+1]
		switch {
		case start < 0:
			start, end = from, to
		case from == end+1 && ua[end] == '.':
			end = to
		default:
			return joinVersion(parts)
		}
	}
	if start < 0 {
		return ""
	}
	return ua[start:end]
}

func joinVersion(parts []string) string {
	var version string
	for _, part := range parts {
		switch {
		case part == "":
		case version == "":
			version = part
		default:
			version += "." + part
		}
	}
	return version
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
