package useragent

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// linear applies the rules as the specification says: each in turn, by package
// regexp, without prefilter and backtracker.
func linear(p *Parser, ua string) Client {
	if ua == "" {
		return Client{DeviceType: DeviceUnknown}
	}
	var found [3][4]string
	for list := range found {
		for _, r := range p.rules[p.bounds[list]:p.bounds[list+1]] {
			captures := r.regexp().FindStringSubmatchIndex(ua)
			if captures == nil {
				continue
			}
			var values [4]string
			for i := range values {
				values[i] = r.values[i].expand(ua, captures)
				if list == listDevices {
					values[i] = strings.TrimSpace(values[i])
				}
			}
			if values[0] == "Other" {
				break
			}
			if values[0] != "" {
				found[list] = values
				break
			}
		}
	}
	browser, system, device := found[0], found[1], found[2]
	c := Client{
		Browser:        browser[0],
		BrowserVersion: joinVersion(browser[1:]),
		OS:             system[0],
		OSVersion:      joinVersion(system[1:]),
		DeviceBrand:    device[1],
		DeviceModel:    device[2],
	}
	named := strings.HasPrefix(ua, "Mozilla/") || strings.HasPrefix(ua, "Opera/")
	if i, at := linearLabel(p, listCrawlers, ua); i >= 0 {
		c.DeviceType, c.BotKind, c.BotName = DeviceBot, p.kinds[i], cmp.Or(botName(ua, at[0], at[1]), c.Browser)
	} else if device[0] == "Spider" && !(named && c.OS != "") {
		c.DeviceType, c.BotKind, c.BotName = DeviceBot, KindOther, c.Browser
	} else {
		c.DeviceType = linearDeviceType(p, ua, system[0], device)
	}
	return c
}

func linearLabel(p *Parser, list int, ua string) (n int, at []int) {
	for i, r := range p.rules[p.bounds[list]:p.bounds[list+1]] {
		if at := r.regexp().FindStringIndex(ua); at != nil {
			return i, at
		}
	}
	return -1, nil
}

func linearDeviceType(p *Parser, ua, os string, device [4]string) string {
	if i, _ := linearLabel(p, listDeviceTypes, ua); i >= 0 {
		return p.types[i]
	}
	switch {
	case device[0] == "Generic Tablet", os == "Android" && strings.HasPrefix(ua, "Mozilla/"):
		return DeviceTablet
	case os == "Android", os == "iOS", strings.HasPrefix(device[0], "Generic "):
		return DeviceMobile
	case desktopSystems[os]:
		return DeviceDesktop
	case device[1] != "":
		return DeviceMobile
	case strings.Contains(ua, "X11"), strings.Contains(ua, "Macintosh"):
		return DeviceDesktop
	}
	return DeviceUnknown
}

// FuzzParse compares with the linear scan. Every input is parsed twice, to
// catch what a reused workspace keeps from the call before.
func FuzzParse(f *testing.F) {
	for i, ua := range corpus(f) {
		if i%100 == 0 {
			f.Add(ua)
		}
	}
	f.Add("")
	f.Add("\u212aindle/3 \u017fafari")
	f.Add("Mozilla/5.0 (Linux; Android 9; \xff\xfe Build/X) Mobile")
	p := Default()
	f.Fuzz(func(t *testing.T, ua string) {
		if len(ua) > 4096 {
			return // the linear scan would take a second
		}
		want := linear(p, ua)
		for range 2 {
			if got := p.Parse(ua); got != want {
				t.Fatalf("Parse(%q)\n got %+v\nwant %+v", ua, got, want)
			}
		}
	})
}

// checkRule compares one rule with package regexp on a text: what it matches,
// and that the prefilter lets it through.
func checkRule(t *testing.T, p *Parser, n int, text string, w *workspace) (matches bool) {
	t.Helper()
	r, ascii := p.rules[n], isASCII(text)
	want := r.regexp().FindStringSubmatchIndex(text)
	if got := r.match(text, ascii, &w.machine); !slices.Equal(got, want) {
		t.Errorf("%s on %q: %v, want %v", r.expr, text, got, want)
	}
	if want == nil {
		return false
	}
	p.filter.scan(text, ascii, w.scratch)
	if !w.scratch.candidates.has(uint32(n)) || !p.filter.possible(uint32(n), w.scratch) {
		t.Errorf("%s matches %q, but the prefilter drops it", r.expr, text)
	}
	return true
}

// FuzzRule is FuzzParse for one rule at a time, a thousand times as fast.
func FuzzRule(f *testing.F) {
	rnd := rand.New(rand.NewPCG(11, 12))
	for i, tree := range trees() {
		if i%20 == 0 {
			f.Add(uint16(i), sentence(rnd, tree))
		}
	}
	p := Default()
	f.Fuzz(func(t *testing.T, n uint16, text string) {
		w := p.pool.Get().(*workspace)
		defer p.pool.Put(w)
		for range 2 {
			checkRule(t, p, int(n)%len(p.rules), text, w)
		}
	})
}

// FuzzExpression compares any expression that a file of rules may hold with
// package regexp: captures, and that the prefilter lets a match through.
func FuzzExpression(f *testing.F) {
	for _, seed := range []struct{ expr, text string }{
		{`(?i)^.{0,9}?([a-c]{0,5}(?:bot|x|[a-z]d))[/ ](\d+)(?:\.(\d+)|)`, "a Bot/1.2"},
		{`\b(?:foo|ba[rz]|\w{0,3}q)+(?:x|)$`, "bar bazqx"},
		{`(a|ab|)(?:c{2,3}?|d*)(?s:.)`, "abcc\n"},
		{`(?:a?){3}b|(?U)c+d`, "aabccd"},
		{`[\x{fffd}é]ſ|(?i)ſk`, "SK\xff"},
		{`(?m)^a$|\Bb\z`, "b\na"},
	} {
		f.Add(seed.expr, seed.text)
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		if len(expr) > 200 || len(text) > 300 {
			return // package regexp may be slow
		}
		r, err := newRule(expr, "")
		if err != nil {
			return
		}
		p := &Parser{rules: []*rule{r}, filter: newPrefilter([]*rule{r})}
		w := &workspace{scratch: p.filter.newScratch()}
		for range 2 {
			checkRule(t, p, 0, text, w)
		}
	})
}
