package useragent

import (
	"regexp"
	"strings"
	"testing"
)

func TestBotKinds(t *testing.T) {
	for _, tt := range []struct{ ua, kind string }{
		{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", KindSearch},
		{"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", KindSearch},
		{"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", KindSearch},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", KindAI},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", KindAI},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot", KindAI},
		{"Mozilla/5.0 (compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)", KindAI},
		{"Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", KindMonitoring},
		{"GoogleHC/1.0", KindMonitoring},
		{"kube-probe/1.31", KindMonitoring},
		{"AdsBot-Google (+http://www.google.com/adsbot.html)", KindAdvertising},
		{"curl/8.5.0", KindTool},
		{"Wget/1.21.4", KindTool},
		{"python-requests/2.32.3", KindTool},
		{"Python/3.12 aiohttp/3.9.5", KindTool},
		{"Go-http-client/2.0", KindTool},
		{"okhttp/4.12.0", KindTool},
		{"axios/1.7.2", KindTool},
		{"Java/17.0.9", KindTool},
		{"Apache-HttpClient/4.5.14 (Java/17.0.9)", KindTool},
		{"PostmanRuntime/7.39.0", KindTool},
		{"Dart/3.4 (dart:io)", KindTool},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36", KindTool},
		{"Mozilla/5.0 (compatible; SomethingNew-Bot/0.1)", KindOther},
		{"acme-crawler 1.0", KindOther},
		{"fetcher of ours (+https://example.com/about)", KindOther},
	} {
		if kind, ok := Default().Bot(tt.ua); !ok || kind != tt.kind {
			t.Errorf("Bot(%q) = %q, %t, want %q", tt.ua, kind, ok, tt.kind)
		}
		if got := Default().Parse(tt.ua).DeviceType; got != DeviceBot {
			t.Errorf("device type of %q is %s, want bot", tt.ua, got)
		}
	}
}

// Of the agents that crawler-user-agents lists, only those that the narrowed
// patterns give up are not bots.
func TestBotKnowsListedCrawlers(t *testing.T) {
	agents := unzipLines(t, crawlersGzip)
	missed := 0
	for _, ua := range agents {
		if _, ok := Default().Bot(ua); !ok {
			missed++
			t.Logf("not a bot: %s", ua)
		}
	}
	if missed*100 > len(agents) {
		t.Errorf("%d of %d listed crawlers are missed, more than 1 %%", missed, len(agents))
	}
}

// Of the agents at hand that begin as browsers do, none may be taken for a bot
// that does not say a word for it.
func TestBotOnBrowsers(t *testing.T) {
	browser := regexp.MustCompile(`^(?:Mozilla|Opera)/`)
	named := regexp.MustCompile(`(?i)bot|crawl|spider|https?:|slurp|java|perl|curl|python|validator|archiver|fetch|index|monitor|search|check|preview|@|Teoma|Indy Library|WebCapture|Netcraft|Synapse|WinHttp|HTTrack`)
	for _, ua := range unzipLines(t, agentsGzip) {
		if !browser.MatchString(ua) || named.MatchString(ua) {
			continue
		}
		if kind, ok := Default().Bot(ua); ok {
			t.Errorf("%q is taken for a bot, kind %s", ua, kind)
		}
	}
}

func TestAdjustedPatternsExist(t *testing.T) {
	for expr := range adjusted {
		if !strings.Contains(crawlersTSV, "\t"+expr+"\n") {
			t.Errorf("adjusted pattern %s is not in crawlers.tsv", expr)
		}
	}
}

func TestTablesHaveKnownLabels(t *testing.T) {
	p := Default()
	for i, kind := range p.kinds {
		switch kind {
		case KindSearch, KindAI, KindMonitoring, KindAdvertising, KindTool, KindOther:
		default:
			t.Errorf("crawler %s: kind %q", p.rules[p.bounds[listCrawlers]+i].expr, kind)
		}
	}
	for i, deviceType := range p.types {
		switch deviceType {
		case DeviceMobile, DeviceTablet, DeviceTV, DeviceConsole, DeviceWearable:
		default:
			t.Errorf("device rule %s: type %q", p.rules[p.bounds[listDeviceTypes]+i].expr, deviceType)
		}
	}
}
