package useragent

import (
	_ "embed"
	"fmt"
	"slices"
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
	`Teoma`:                    `Teoma(?:[^B]|$)`, // TeomaBar is a toolbar
	`mail\.ru`:                 `top\.mail\.ru`,   // in agents of apps too
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
	// In the address that other agents of Bing give.
	`bingbot`:  `(?:^|[^/])bingbot`,
	`Adidxbot`: `[Aa]didxbot`,
	`httpx`:    `^python-httpx|^httpx`,
}

// rekinded are patterns of crawlers.tsv whose operators say more than the tags
// of that list.
var rekinded = map[string]string{
	// https://developer.amazon.com/amazonbot
	`Amazonbot`:      KindAI,
	`AmazonBuyForMe`: KindAI,
	// https://developers.google.com/crawling/docs/crawlers-fetchers/google-user-triggered-fetchers
	`Google-Agent`:        KindAI,
	`GoogleAgent-Mariner`: KindAI,
	// https://developers.facebook.com/docs/sharing/webmasters/web-crawlers
	`meta-externalfetcher\/`: KindAI,
	`meta-webindexer`:        KindAI,
	// https://manus.im
	`Manus-User`: KindAI,
	// https://nova.amazon.com/act
	`Novaact\/`: KindAI,
	// https://about.you.com/youbot
	`YouBot`: KindAI,
	// https://webz.io/bot.html
	`omgili`: KindAI,
	`webzio`: KindAI,
	// https://docs.diffbot.com
	`Diffbot\/`: KindAI,
	// https://ds.rois.ac.jp/center8/crawler
	`Cotoyogi`: KindAI,
	// https://www.bing.com/webmasters/help/which-crawlers-does-bing-use-8c184ec0
	`Adidxbot`: KindAdvertising,
}

// loadCrawlers returns the rules that find automatic clients and the kind of
// each, in the order in which they decide: the clients that lists name; tools,
// which named ones are built with; words that any client may use.
func loadCrawlers() (rules []*rule, kinds []string, err error) {
	var named, tools, words crawlers
	for _, file := range []string{crawlersTSV, declaredTSV} {
		for line := range strings.Lines(file) {
			kind, expr, ok := tableLine(line)
			if !ok {
				continue
			}
			if own, ok := rekinded[expr]; ok {
				kind = own
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
			switch kind {
			case "word":
				words.add(r, KindOther)
			case KindTool:
				tools.add(r, kind)
			default:
				named.add(r, kind)
			}
		}
	}
	return slices.Concat(named.rules, tools.rules, words.rules), slices.Concat(named.kinds, tools.kinds, words.kinds), nil
}

type crawlers struct {
	rules []*rule
	kinds []string
}

func (c *crawlers) add(r *rule, kind string) {
	c.rules, c.kinds = append(c.rules, r), append(c.kinds, kind)
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

// bot returns kind and name of an automatic client; kind is empty for any
// other. It needs the workspace of a scan of ua and the families of uap-core.
func (p *Parser) bot(ua string, ascii bool, browser, os, family string, w *workspace) (kind, name string) {
	if n, at := p.label(listCrawlers, ua, ascii, w); n >= 0 {
		if name = botName(ua, at[0], at[1]); name == "" {
			name = browser
		}
		return p.kinds[n], name
	}
	// uap-core's last Spider rule goes by fragments of words: "silk" is in the
	// name of Amazon's browser, "zeal" in New Zealand. So it does not decide on
	// an agent that is otherwise that of a browser on a known system.
	asBrowser := os != "" && (strings.HasPrefix(ua, "Mozilla/") || strings.HasPrefix(ua, "Opera/"))
	if family == "Spider" && !asBrowser {
		return KindOther, browser
	}
	return "", ""
}

// botName widens a match to whole words and leaves out what is around them. It
// is empty if the match lies in the address of a description.
func botName(ua string, start, end int) string {
	word := func(i int) bool { return wordChar(ua[i]) || ua[i] == '-' || ua[i] == '.' || ua[i] == '!' }
	for start < end && !word(start) {
		start++
	}
	for end > start && !word(end-1) {
		end--
	}
	for start > 0 && word(start-1) {
		start--
	}
	for end < len(ua) && word(end) {
		end++
	}
	address := start
	for address > 0 && (word(address-1) || ua[address-1] == '/' || ua[address-1] == ':') {
		address--
	}
	if strings.HasPrefix(ua[address:], "http:") || strings.HasPrefix(ua[address:], "https:") {
		return ""
	}
	name, _, _ := strings.Cut(ua[start:end], "/")
	return name
}

// label returns the position in its list of the first rule that matches, and
// the captures of the match, valid until the next one; -1 if none does.
func (p *Parser) label(list int, ua string, ascii bool, w *workspace) (n int, captures []int) {
	for n := p.candidate(p.bounds[list], list, w); n >= 0; n = p.candidate(n+1, list, w) {
		if captures := p.rules[n].match(ua, ascii, &w.machine); captures != nil {
			return n - p.bounds[list], captures
		}
	}
	return -1, nil
}
