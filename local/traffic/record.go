package traffic

import "strconv"

// record is a log entry before it is written as JSON. Its strings need no
// escapes in JSON, but for the & that some writers escape.
type record struct {
	id                  uint64
	timestamp, received []byte
	attributeOnly       bool // timestamp is in the message attribute only

	method  string
	url     []byte
	referer string
	status  int // 0: not logged
	agent   string
	ip      []byte
	ipv6    bool
	edge    string

	requestSize, responseSize, fillBytes int
	latency                              int // microseconds
	hit, lookup                          bool
	details                              string
	parent                               uint64 // insertId of the request that made Cloud CDN ask; 0: none
	regional                             bool

	// What is missing or wrong on purpose.
	noID, noTime, noRequest, wordStatus bool
}

// reset empties the record and keeps its buffers.
func (r *record) reset() {
	*r = record{timestamp: r.timestamp[:0], received: r.received[:0], url: r.url[:0], ip: r.ip[:0]}
}

var (
	pixelHosts = []string{"px.example.com", "pixel.example.net", "t.ads.example.org", "px.example.com:443"}
	pixelPaths = []string{
		"/pixel.gif", "/pixel.gif", "/pixel.gif", "/pixel.gif", "/pixel.gif", "/pixel.gif", "/pixel.gif", "/pixel.gif",
		"/pixel.png", "/pixel.png", "/p.gif", "/pixel%2Egif",
	}
	otherPaths = []string{
		"/favicon.ico", "/robots.txt", "/", "/pixel.gif/", "/Pixel.gif", "/.env", "/wp-login.php", "/apple-touch-icon.png",
		"/pixel.gif.bak", "/cgi-bin/luci/;stok=/locale", "/js/tag.js", "/pixel",
	}
	badMethods  = []string{"POST", "POST", "OPTIONS", "PUT", "PROPFIND"}
	errorStatus = []int{404, 404, 403, 429, 400, 502, 503}
	badURLs     = []string{"/pixel.gif?", "https:///pixel.gif?", "ftp://px.example.com/pixel.gif?", "about:blank?", "http://?"}
)

// fillRequest makes the request that the record logs.
func (g *Generator) fillRequest(rec *record, kind Kind, reason string) {
	r := &g.rnd
	who := &g.who
	user := g.userRank.draw(r)
	camp := g.campaignRank.draw(r)
	event := "impression"
	iid := mix(rec.id)
	followUp := false
	if kind == Impression {
		if x := r.unit(); x < g.opts.ClickShare+g.opts.ViewShare && g.shownN > 0 {
			prior := g.shown[r.intn(min(g.shownN, len(g.shown)))]
			user, camp, iid, followUp = prior.user, prior.campaign, prior.iid, true
			event = "viewable"
			if x < g.opts.ClickShare {
				event = "click"
			}
		}
	}
	if !followUp && r.chance(g.opts.BotShare) {
		g.fillRobot(who)
	} else {
		g.fillUser(who, user)
		if kind == Impression && !followUp {
			g.shown[g.shownN%len(g.shown)] = shown{iid, user, camp}
			g.shownN++
		}
	}
	pg := &g.pages[g.pageRank.draw(r)]

	rec.agent, rec.edge, rec.ipv6 = who.agent, who.edge, who.ipv6
	rec.ip = append(rec.ip, who.ip...)
	if !who.robot && r.chance(0.88) {
		rec.referer = pg.origin
	}
	rec.method, rec.status = "GET", 200
	if r.chance(g.opts.HeadShare) {
		rec.method = "HEAD"
	}
	rec.requestSize = 250 + r.intn(900)
	rec.responseSize = 380 + r.intn(120)
	rec.latency = 200 + r.intn(3000)
	rec.lookup, rec.hit, rec.details = true, true, "response_from_cache"
	switch {
	case r.chance(g.opts.NotModifiedShare):
		rec.status, rec.responseSize = 304, 157
	case r.chance(g.opts.ClientGoneShare):
		rec.status, rec.responseSize, rec.details = 0, 0, "client_disconnected_before_any_response"
	case r.chance(0.01):
		rec.hit, rec.details, rec.fillBytes = false, "response_sent_by_backend", rec.responseSize
		rec.latency += 20_000 + r.intn(200_000)
	}
	rec.regional = r.chance(g.opts.RegionalShare) && !rec.ipv6
	if rec.regional {
		rec.hit, rec.lookup = false, false
		rec.ip = append(rec.ip, ':')
		rec.ip = strconv.AppendInt(rec.ip, int64(1024+r.intn(60000)), 10)
	}

	path := pick(r, pixelPaths)
	switch reason {
	case ReasonNotAPixel:
		path = pick(r, otherPaths)
		rec.status = []int{200, 404, 404, 403}[r.intn(4)]
	case ReasonCDNInternal:
		// Both marks together, or either alone.
		which := r.intn(3)
		if which != 1 {
			rec.parent = mix(rec.id + 1)
		}
		if which != 2 {
			rec.agent = "Cloud-CDN-Google"
		}
		rec.hit, rec.details, rec.fillBytes = false, "response_sent_by_backend", rec.responseSize
	case ReasonMethod:
		rec.method, rec.status, rec.hit = pick(r, badMethods), 405, false
	case ReasonErrorStatus:
		rec.status = pick(r, errorStatus)
		rec.hit = false
		if rec.status == 403 {
			rec.details = "denied_by_security_policy"
		}
	case ReasonNoInsertID:
		rec.noID = true
	case ReasonNoTimestamp:
		rec.noTime = true
	case ReasonNotARequest:
		rec.noRequest = true
	case ReasonInvalidField:
		rec.wordStatus = true
	}

	switch {
	case reason == ReasonInvalidURL:
		rec.url = append(rec.url, pick(r, badURLs)...)
	case r.chance(0.97):
		rec.url = append(rec.url, "https://"...)
		rec.url = append(rec.url, pick(r, pixelHosts)...)
		rec.url = append(rec.url, path...)
		rec.url = append(rec.url, '?')
	default:
		rec.url = append(rec.url, "http://192.0.2.59"...)
		rec.url = append(rec.url, path...)
		rec.url = append(rec.url, '?')
	}
	rec.url = g.appendQuery(rec.url, &g.campaigns[camp], who, pg, event, iid)
}
