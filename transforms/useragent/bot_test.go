package useragent

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestBotKinds(t *testing.T) {
	for _, tt := range []struct{ ua, kind, name string }{
		{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", KindSearch, "Googlebot"},
		{"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", KindSearch, "Googlebot"},
		{"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", KindSearch, "bingbot"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", KindAI, "GPTBot"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", KindAI, "ClaudeBot"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot", KindAI, "ChatGPT-User"},
		{"Mozilla/5.0 (compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)", KindAI, "PerplexityBot"},
		{"Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", KindMonitoring, "UptimeRobot"},
		{"GoogleHC/1.0", KindMonitoring, "GoogleHC"},
		{"kube-probe/1.31", KindMonitoring, "kube-probe"},
		{"AdsBot-Google (+http://www.google.com/adsbot.html)", KindAdvertising, "AdsBot-Google"},
		{"curl/8.5.0", KindTool, "curl"},
		{"Wget/1.21.4", KindTool, "Wget"},
		{"python-requests/2.32.3", KindTool, "python-requests"},
		{"Python/3.12 aiohttp/3.9.5", KindTool, "aiohttp"},
		{"Go-http-client/2.0", KindTool, "Go-http-client"},
		{"okhttp/4.12.0", KindTool, "okhttp"},
		{"axios/1.7.2", KindTool, "axios"},
		{"Java/17.0.9", KindTool, "Java"},
		{"Apache-HttpClient/4.5.14 (Java/17.0.9)", KindTool, "Apache-HttpClient"},
		{"PostmanRuntime/7.39.0", KindTool, "PostmanRuntime"},
		{"Dart/3.4 (dart:io)", KindTool, "Dart"},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36", KindTool, "HeadlessChrome"},
		{"Mozilla/5.0 (compatible; SomethingNew-Bot/0.1)", KindOther, "SomethingNew-Bot"},
		{"acme-crawler 1.0", KindOther, "acme-crawler"},
		{"a thing of ours (+https://example.com/about)", KindOther, ""},
		{"Mozilla/5.0 (compatible; Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot)", KindAI, "Amazonbot"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Google-Agent; +https://developers.google.com/crawling/docs/crawlers-fetchers/google-agent) Chrome/142.0.0.0 Safari/537.36", KindAI, "Google-Agent"},
		{"meta-externalfetcher/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)", KindAI, "meta-externalfetcher"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; MistralAI-User/1.0; +https://docs.mistral.ai/robots)", KindAI, "MistralAI-User"},
		{"Claude-User (claude-code/2.0.1; +https://support.anthropic.com/)", KindAI, "Claude-User"},
		{"Mozilla/5.0 (compatible; adidxbot/2.0; +http://www.bing.com/bingbot.htm)", KindAdvertising, "adidxbot"},
		{"NewRelicPinger/1.0 (1234)", KindMonitoring, "NewRelicPinger"},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36 DatadogSynthetics", KindMonitoring, "DatadogSynthetics"},
		{"FAST Enterprise Crawler 6 used by Example", KindSearch, "FAST Enterprise Crawler"},
	} {
		got := Default().Parse(tt.ua)
		if got.BotKind != tt.kind || got.BotName != tt.name {
			t.Errorf("%q is %q of kind %q, want %q, %q", tt.ua, got.BotName, got.BotKind, tt.name, tt.kind)
		}
		if got.DeviceType != DeviceBot {
			t.Errorf("device type of %q is %s, want bot", tt.ua, got.DeviceType)
		}
	}
}

// Of the agents that crawler-user-agents lists, only those that the narrowed
// patterns give up are not bots.
func TestBotKnowsListedCrawlers(t *testing.T) {
	agents := unzipLines(t, crawlersGzip)
	missed := 0
	for _, ua := range agents {
		if Default().Parse(ua).BotKind == "" {
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
	named := regexp.MustCompile(`(?i)bot|crawl|spider|https?:|slurp|java|perl|curl|python|validator|archiver|fetch|index|monitor|search|check|preview|@|Teoma|Indy Library|WebCapture|Netcraft|Synapse|WinHttp|HTTrack|Gomez|ZyBorg|OpenVAS|PTST|Headless|PhantomJS|Pingdom|StatusCake|Scraper|Datanyze|WebThumb|Catchpoint`)
	agents := unzipLines(t, agentsGzip)
	for _, test := range uapCoreTests(t) {
		agents = append(agents, test.agent)
	}
	slices.Sort(agents)
	checked := 0
	for _, ua := range slices.Compact(agents) {
		if !browser.MatchString(ua) {
			continue
		}
		checked++
		if c := Default().Parse(ua); c.BotKind != "" && !named.MatchString(ua) {
			t.Errorf("%q is taken for the bot %s, kind %s", ua, c.BotName, c.BotKind)
		}
	}
	t.Logf("%d agents", checked)
}

func TestAdjustedPatternsExist(t *testing.T) {
	for _, expr := range slices.Concat(slices.Collect(maps.Keys(adjusted)), slices.Collect(maps.Keys(rekinded))) {
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
