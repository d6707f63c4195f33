package traffic

import "strconv"

// query appends parameters, remembering whether one came before.
type query struct {
	b     []byte
	sep   byte
	begun bool
}

// name starts the next parameter and reports whether the tag sends it at all.
func (q *query) name(name string) bool {
	if name == "" {
		return false
	}
	if q.begun {
		q.b = append(q.b, q.sep)
	}
	q.begun = true
	q.b = append(q.b, name...)
	q.b = append(q.b, '=')
	return true
}

func (q *query) text(name, value string) {
	if q.name(name) {
		q.b = append(q.b, value...)
	}
}

func (q *query) number(name string, value int) {
	if q.name(name) {
		q.b = strconv.AppendInt(q.b, int64(value), 10)
	}
}

// pair adds name and value that are already one.
func (q *query) pair(pair string) {
	if q.begun {
		q.b = append(q.b, q.sep)
	}
	q.begun = true
	q.b = append(q.b, pair...)
}

// shown is an impression that a click or view can follow up.
type shown struct {
	iid      uint64
	user     int
	campaign int
}

// appendQuery appends the tag's query for an event of a campaign.
func (g *Generator) appendQuery(dst []byte, c *campaign, p *person, pg *page, event string, iid uint64) []byte {
	r := &g.rnd
	s := c.style
	q := query{b: dst, sep: s.sep}

	macro := -1
	if r.chance(g.opts.MacroShare) {
		macro = r.intn(6)
	}
	robotless := !p.robot

	if event != "impression" || r.chance(0.7) {
		q.text(s.event, event)
	}
	if q.name(s.impression) {
		if macro == 0 {
			q.b = append(q.b, "${AUCTION_ID}"...)
		} else {
			q.b = appendHex(q.b, iid, 16)
			q.b = appendHex(q.b, mix(iid), 8)
		}
	}
	if s.advertiser != "" {
		q.number(s.advertiser, c.adv)
	}
	if q.name(s.campaign) {
		if macro == 1 {
			q.b = append(q.b, "{campaignid}"...)
		} else {
			q.b = append(q.b, c.id...)
		}
	}
	if s.order != "" {
		q.number(s.order, c.order)
	}
	if s.line != "" {
		q.number(s.line, c.line)
	}
	if q.name(s.creative) {
		if macro == 2 {
			q.b = append(q.b, "%ecid!"...)
		} else {
			q.b = strconv.AppendInt(q.b, int64(c.line+1+r.intn(c.creatives)), 10)
		}
	}
	if s.ad != "" {
		q.number(s.ad, c.line*3+r.intn(3))
	}
	if s.placement != "" {
		q.number(s.placement, 70_000+c.site*3+r.intn(3))
	}
	if s.site != "" {
		q.number(s.site, c.site)
	}
	if s.publisher != "" {
		q.number(s.publisher, 400+c.site%37)
	}
	if c.deal != "" {
		q.text(s.deal, c.deal)
	}
	if q.name(s.price) {
		q.b = g.appendPrice(q.b, c, macro)
		q.text(s.currency, p.region.cur)
	}
	if c.size[0] > 0 {
		if s.width != "" {
			q.number(s.width, c.size[0])
			q.number(s.height, c.size[1])
		} else if q.name(s.size) {
			q.b = strconv.AppendInt(q.b, int64(c.size[0]), 10)
			q.b = append(q.b, 'x')
			q.b = strconv.AppendInt(q.b, int64(c.size[1]), 10)
		}
	}
	if robotless && p.uid != 0 && !r.chance(0.05) && q.name(s.user) {
		if macro == 4 {
			q.b = append(q.b, "[USERID]"...)
		} else {
			q.b = appendBase36(q.b, p.uid)
		}
	}
	if robotless && p.ifa != 0 && q.name(s.device) {
		q.b = appendUUID(q.b, p.ifa)
	}
	if !r.chance(0.08) && q.name(s.page) {
		q.b = append(q.b, pg.address...)
	}
	if s.referrer != "" && r.chance(0.4) {
		q.text(s.referrer, pick(r, referrers))
	}
	if event == "click" {
		q.text(s.click, c.landing)
	}
	g.appendConsent(&q, p, macro)
	g.appendExtras(&q, s, p)
	if !r.chance(g.opts.NoCacheBusterShare) && q.name(s.buster) {
		if macro == 3 {
			q.b = append(q.b, "%%CACHEBUSTER%%"...)
		} else {
			q.b = strconv.AppendUint(q.b, 1_000_000_000+r.u64()%9_000_000_000, 10)
		}
	}
	return q.b
}

var referrers = []string{
	"https%3A%2F%2Fwww.google.com%2F", "https%3A%2F%2Ft.co%2F", "https%3A%2F%2Fwww.bing.com%2F", "https%3A%2F%2Fnews.example.com%2F",
	"https%3A%2F%2Fm.facebook.com%2F", "https%3A%2F%2Fchatgpt.com%2F", "android-app%3A%2F%2Fcom.google.android.googlequicksearchbox%2F",
}

// appendPrice appends a price in currency units, which differs a little from
// request to request, as auctions make it.
func (g *Generator) appendPrice(dst []byte, c *campaign, macro int) []byte {
	if macro == 5 {
		return append(dst, "${AUCTION_PRICE}"...)
	}
	if g.rnd.chance(0.003) {
		return append(dst, "AUDIT"...)
	}
	micros := c.price - c.price/8 + g.rnd.intn(c.price/4)
	dst = strconv.AppendInt(dst, int64(micros/1_000_000), 10)
	dst = append(dst, '.')
	fraction := micros % 1_000_000
	for digit := 100_000; digit > 0; digit /= 10 {
		dst = append(dst, byte('0'+fraction/digit%10))
	}
	return dst
}

// appendConsent appends what the law of the user's region makes tags pass on,
// under the names that the IAB's specifications give.
func (g *Generator) appendConsent(q *query, p *person, macro int) {
	r := &g.rnd
	if p.robot {
		return
	}
	switch p.region.law {
	case lawGDPR:
		if r.chance(0.1) {
			return // a tag that knows nothing of consent
		}
		if macro >= 3 && r.chance(0.3) {
			q.text("gdpr", "${GDPR}")
			q.text("gdpr_consent", "${GDPR_CONSENT_755}")
			return
		}
		q.text("gdpr", "1")
		if !p.refused {
			q.text("gdpr_consent", p.consent)
		} else {
			q.text("gdpr_consent", "")
		}
		if r.chance(0.05) {
			q.text("addtl_consent", "1~43.46.55.61.70.83.89")
		}
	case lawUS:
		if r.chance(0.5) {
			if p.refused {
				q.text("us_privacy", "1YYN")
			} else {
				q.text("us_privacy", "1YNN")
			}
		}
		if r.chance(0.35) {
			q.text("gpp", "DBABLA~BVQqAAAAAgA.QA")
			q.text("gpp_sid", "7")
		}
		if p.refused && r.chance(0.3) {
			q.text("gpc", "1")
		}
		if r.chance(0.01) {
			q.text("coppa", "1")
		}
	default:
		if r.chance(0.3) {
			q.text("gdpr", "0")
		}
	}
}

// appendExtras appends parameters that no column takes, and now and then one
// that is spoilt.
func (g *Generator) appendExtras(q *query, s *style, p *person) {
	r := &g.rnd
	if s.sep == ';' {
		// Such a tag carries all of its own; an & in it would change the
		// meaning of every ; in the query.
		for _, pair := range s.extra {
			q.pair(pair)
		}
	} else if r.chance(0.6) {
		q.pair(pick(r, s.extra))
	}
	if r.chance(0.4) {
		q.text("lang", p.lang)
	}
	if r.chance(0.3) {
		q.number("tz", -720+60*r.intn(25))
	}
	if r.chance(0.2) && q.name("ts") {
		q.b = strconv.AppendInt(q.b, g.eventNanos/1_000_000, 10)
	}
	if r.chance(0.03) {
		q.pair("gclid=CjwKCAiA" + tokens[r.intn(len(tokens))])
	}
	if r.chance(g.opts.BadEscapeShare) {
		q.pair(pick(r, badEscapes))
	}
}

var tokens = []string{"0eS8BhBqEiwA_1234", "z9K6BhBsEiwAabcd_wcB", "ivO8BhBREiwAQm9v_x"}

var badEscapes = []string{"title=100%_wool", "q=50%+off", "kw=%E9t%E9", "name=caf%e", "t=%zz", "label=na%FFve"}
