package useragent

import (
	_ "embed"
	"fmt"
	"strings"
)

// Kinds of automatic clients.
const (
	KindSearch      = "search"      // crawlers of search engines
	KindAI          = "ai"          // training crawlers, AI search, assistants and agents acting for a user
	KindMonitoring  = "monitoring"  // health checks, uptime and performance tests
	KindAdvertising = "advertising" // ad review, contextual and ads.txt crawlers
	KindTool        = "tool"        // HTTP libraries, command line tools, browser automation
	KindOther       = "other"       // any other: SEO, previews, feeds, archives, scanners
)

//go:embed data/crawlers.tsv
var crawlersTSV string

//go:embed data/declared.tsv
var declaredTSV string

// adjusted replaces patterns of crawlers.tsv that would also hit browsers or
// apps that people use; an empty replacement drops the pattern.
var adjusted = map[string]string{
	`AP3A\.240617\.008`:        "", // an Android build, on millions of phones
	`MetaIAB Facebook`:         "", // the browser inside Meta's apps
	`Code\/1\.`:                "", // browsers built into editors
	`Trae\/`:                   "",
	`Fluid`:                    "", // a site-specific browser
	`Amazon CloudFront`:        "", // proxies that fetch for a person and hide the person's agent
	`GoogleImageProxy`:         "",
	`YahooMailProxy`:           "",
	`mail\.ru`:                 `top\.mail\.ru`, // in agents of apps too
	`Goodreads`:                `compatible; Goodreads`,
	`Blackboard`:               `Blackboard Safeassign`,
	`Bluesky\/`:                `^Bluesky/`,
	`Sonic`:                    `\bSonic/|RankSonic`,
	`Sogou`:                    `Sogou [A-Za-z]+ [Ss]pider|Sogou-Test-Spider|Sogou [Hh]ead`,
	`speedy`:                   `speedy_spider`,
	`coccoc`:                   `coccoc(?:bot|/|$)`,
	`Hatena`:                   `Hatena(?:-|::| )`,
	`Viber`:                    `^Viber$`,
	`Spider[\s\S]*spider\.com`: `\bSpider;.*/www\.spider\.com`,
	`WhatsApp`:                 `^WhatsApp(?:/[0-9.]+)?(?: [A-Z])?$`, // the app adds its device
	`Butterfly`:                `Butterfly/1`,                        // a phone by HTC
	`Fever`:                    `Fever/`,
	`Genieo`:                   `Genieo/`,
	`Yeti`:                     `\bYeti/`,
	`ichiro`:                   `ichiro/`,
	`linko`:                    `\blinko\.app`,
	`ds9`:                      `^ds9 `,
	`Devin`:                    `\bDevin/`,
	`Magellan`:                 `^Magellan`,
	`Adventurer`:               `^Adventurer`,
	`Charlotte`:                `Charlotte/`,
	`Jumio`:                    `^Jumio`,
	`Hotjar`:                   `Hotjar Version/`,
	`Notion\/`:                 `^Notion/`, // the desktop app says so too, further on
	`Asana\/`:                  `^Asana/`,
	`Tumblr\/`:                 `^Tumblr/\d+\.\d+\.\d+\.\d+$`,
	`upday\/`:                  `; upday/`,
	`PayPal\/`:                 `PayPal IPN`,
	`CapitalOneShopping`:       `^CapitalOneShopping/`,
	`Instapaper\/`:             `Instaparser`,
	`RED\/`:                    `^RED/`,
	`Make\/`:                   `^Make/`,
	`BW\/`:                     `\bBW/`,
	`008\/`:                    `^008/`,
	`Operator\/`:               `\bOperator/`,
	// Apps put their own name before that of the library; the library alone
	// says that a program, not a person, asks.
	`okhttp`: `^okhttp`,
	`axios`:  `^axios`,
	`httpx`:  `^python-httpx|^httpx`,
}

// loadCrawlers returns the rules that find automatic clients and the kind of
// each.
func loadCrawlers() (rules []*rule, kinds []string, err error) {
	for _, file := range []string{crawlersTSV, declaredTSV} {
		for line := range strings.Lines(file) {
			kind, expr, ok := tableLine(line)
			if !ok {
				continue
			}
			if replacement, ok := adjusted[expr]; ok {
				if replacement == "" {
					continue
				}
				expr = replacement
			}
			r, err := newRule(expr, "")
			if err != nil {
				return nil, nil, fmt.Errorf("useragent: crawler %s: %w", expr, err)
			}
			rules, kinds = append(rules, r), append(kinds, kind)
		}
	}
	return rules, kinds, nil
}

// tableLine reads a line of a data table: a label, an expression, a source.
func tableLine(line string) (label, expr string, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	label, rest, ok := strings.Cut(line, "\t")
	expr, _, _ = strings.Cut(rest, "\t")
	return label, expr, ok
}

// Bot reports whether an agent declares an automatic client, and of which
// kind. It is true exactly where Parse gives the device type "bot".
func (p *Parser) Bot(ua string) (kind string, ok bool) {
	if ua == "" {
		return "", false
	}
	w := p.pool.Get().(*workspace)
	defer p.pool.Put(w)
	ascii := isASCII(ua)
	p.filter.scan(ua, ascii, w.scratch)
	return p.bot(ua, ascii, p.first(listSystems, ua, ascii, w)[0], p.first(listDevices, ua, ascii, w)[0], w)
}

// bot needs the workspace of a scan of ua and the families of uap-core.
func (p *Parser) bot(ua string, ascii bool, os, family string, w *workspace) (kind string, ok bool) {
	if n := p.label(listCrawlers, ua, ascii, w); n >= 0 {
		return p.kinds[n], true
	}
	// uap-core's last Spider rule goes by fragments of words: "silk" is in the
	// name of Amazon's browser, "zeal" in New Zealand. So it does not decide on
	// an agent that is otherwise that of a browser on a known system.
	asBrowser := os != "" && (strings.HasPrefix(ua, "Mozilla/") || strings.HasPrefix(ua, "Opera/"))
	if family == "Spider" && !asBrowser {
		return KindOther, true
	}
	return "", false
}

// label returns the position in its list of the first rule that matches, -1
// if none does.
func (p *Parser) label(list int, ua string, ascii bool, w *workspace) int {
	for n := p.candidate(p.bounds[list], list, w); n >= 0; n = p.candidate(n+1, list, w) {
		if p.rules[n].match(ua, ascii, &w.machine) != nil {
			return n - p.bounds[list]
		}
	}
	return -1
}
