package traffic

import (
	"strconv"
	"strings"
)

// browsers are user agents of people's devices, most popular first. {name} is a
// slot that is filled from agentSlots; the first value is the most popular.
var browsers = []string{
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{safari} Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36 Edg/{chrome}.0.0.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{safari} Safari/605.1.15",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{firefox}.0) Gecko/20100101 Firefox/{firefox}.0",
	"Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/{fb}.0.0.37.106;FBBV/{build};FBDV/iPhone{iphone};FBMD/iPhone;FBSN/iOS;FBSV/18.6;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5;FBRV/0]",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/{samsung}.0 Chrome/{chrome}.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Linux; Android {android}; {model} Build/{abuild}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{chrome}.0.{cbuild}.{cpatch} Mobile Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram {insta}.0.0.28.83 (iPhone{iphone}; iOS {ios}; en_US; en; scale=3.00; 1179x2556; {build})",
	"Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/{chrome}.0.{cbuild}.{cpatch} Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Linux; Android {android}; {model} Build/{abuild}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{chrome}.0.{cbuild}.{cpatch} Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/{fb}.0.0.45.104;]",
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/{gsa}.0.{build} Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36 OPR/{opera}.0.0.0",
	"Mozilla/5.0 (Linux; Android {android}; {model}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.{cbuild}.{cpatch} Mobile Safari/537.36",
	"Mozilla/5.0 (iPad; CPU OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{safari} Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Android {android}; Mobile; rv:{firefox}.0) Gecko/{firefox}.0 Firefox/{firefox}.0",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Mobile Safari/537.36 EdgA/{chrome}.0.0.0",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:{firefox}.0) Gecko/20100101 Firefox/{firefox}.0",
	"Mozilla/5.0 (Linux; Android {android}; {model}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{chrome}.0.{cbuild}.{cpatch} Mobile Safari/537.36 musical_ly_{build} BytedanceWebview/d8a21c6",
	"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36",
	"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:{firefox}.0) Gecko/20100101 Firefox/{firefox}.0",
	"Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/{firefox}.0 Mobile/15E148 Safari/605.1.15",
	"Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{safari} EdgiOS/{chrome}.0.{cbuild}.{cpatch} Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 YaBrowser/25.8.0.0 Safari/537.36",
	"Mozilla/5.0 (Linux; U; Android {android}; en-us; {model} Build/{abuild}) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/112.0.5615.136 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.{cpatch}.0-gn",
	"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager",
	"Mozilla/5.0 (SMART-TV; LINUX; Tizen {tizen}) AppleWebKit/537.36 (KHTML, like Gecko) {tizen}.0 TV Safari/537.36",
	"Mozilla/5.0 (Linux; Android {android}; SM-X{tab} Build/{abuild}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{chrome}.0.{cbuild}.{cpatch} Safari/537.36",
	"Dalvik/2.1.0 (Linux; U; Android {android}; {model} Build/{abuild})",
	"Mozilla/5.0 (Linux; Android 9; AFTSS Build/PS7{cbuild}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{chrome}.0.{cbuild}.{cpatch} Mobile Safari/537.36",
	"Mozilla/5.0 (PlayStation; PlayStation 5/{tizen}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.5 Safari/605.1.15",
	"Roku/DVP-{tizen} (14.{cpatch}.4.{build}-A0)",
	"Mozilla/5.0 (Windows NT 6.1; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Mobile Safari/537.36 OPR/{opera}.0.0.0",
	"Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{safari} Mobile/15E148 DuckDuckGo/7 Safari/605.1.15",
}

// agentSlots are the values of slots that are no plain number; the others are
// ranges, in agentRanges.
var agentSlots = map[string][]string{
	"ios":    {"18_6", "18_7", "18_5", "17_6_1", "26_0", "18_3_2", "16_7_11", "26_1", "17_7", "15_8_4", "18_4_1", "16_6"},
	"safari": {"18.6", "18.5", "17.6", "26.0", "18.3.1", "16.6", "26.1", "17.4.1", "15.6.6"},
	"iphone": {"15,3", "16,1", "14,5", "17,3", "14,7", "13,2", "12,1", "16,2"},
	"android": {
		"14", "15", "13", "12", "16", "11", "10", "9",
	},
	"model": {
		"SM-S921B", "SM-A546B", "Pixel 8", "SM-S928U", "23129RAA4G", "SM-A155F", "Pixel 7a", "2201117TG", "CPH2581", "SM-G991B",
		"SM-A256E", "V2250", "M2101K6G", "RMX3710", "SM-S918B", "moto g84 5G", "Pixel 9 Pro", "SM-A346B", "XQ-DQ54", "Infinix X6833B",
		"SM-S931B", "2312DRA50G", "TECNO KJ5", "CPH2385", "SM-A057F", "ELE-L29", "motorola edge 40", "Nokia G42 5G", "A142", "SM-F946B",
	},
	"abuild": {"UP1A.231005.007", "AP3A.240905.015.A2", "TP1A.220624.014", "AP2A.240805.005", "BP1A.250305.019", "SP1A.210812.016", "RP1A.200720.011"},
	"tizen":  {"8.0", "7.0", "6.5", "9.0", "6.0", "5.5"},
	"tab":    {"710", "200", "810", "510", "616"},
}

// agentRanges are slots that are numbers: the most popular, and how far down
// from it they go.
var agentRanges = map[string]struct{ top, span int }{
	"chrome":  {148, 24},
	"firefox": {146, 18},
	"samsung": {29, 6},
	"opera":   {124, 12},
	"fb":      {540, 60},
	"insta":   {410, 50},
	"gsa":     {390, 40},
	"cbuild":  {7559, 1100},
	"cpatch":  {179, 170},
	"build":   {899123456, 90000000},
}

// robots are agents that say what they are: crawlers, AI agents, monitors and
// HTTP libraries.
var robots = []string{
	"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
	"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.7339.80 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
	"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
	"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/136.0.0.0 Safari/537.36",
	"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
	"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
	"meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
	"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
	"Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
	"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
	"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot) Chrome/119.0.6045.214 Safari/537.36",
	"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
	"Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
	"Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
	"CCBot/2.0 (https://commoncrawl.org/faq/)",
	"AdsBot-Google (+http://www.google.com/adsbot.html)",
	"Mediapartners-Google",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/138.0.7204.183 Safari/537.36",
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 (compatible; IAS Crawler; http://integralads.com/site-indexing-policy)",
	"Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
	"python-requests/2.32.4",
	"curl/8.7.1",
	"Go-http-client/2.0",
	"Apache-HttpClient/5.2.1 (Java/21.0.1)",
	"axios/1.7.9",
}

// agentTable returns n agents, most popular first: every template with the most
// popular values, then ever rarer combinations. Past a template's combinations
// agents repeat.
func agentTable(seed uint64, n int) []string {
	table := make([]string, n)
	for i := range table {
		template := browsers[i%len(browsers)]
		round := i / len(browsers)
		t := traitsOf(seed, traitAgent, i)
		table[i] = fillSlots(template, round, &t)
	}
	return table
}

// fillSlots replaces every {name}; the same name has the same value throughout.
// Round 0 takes the most popular values; later rounds reach further down.
func fillSlots(template string, round int, t *traits) string {
	var b strings.Builder
	chosen := map[string]string{}
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		value, ok := chosen[name]
		if !ok {
			if values, listed := agentSlots[name]; listed {
				value = values[t.intn(min(round+1, len(values)))]
			} else {
				r := agentRanges[name]
				value = strconv.Itoa(r.top - t.intn(min(round*round+1, r.span)))
			}
			chosen[name] = value
		}
		b.WriteString(value)
		template = after
	}
}
