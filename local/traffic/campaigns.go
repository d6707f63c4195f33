package traffic

import "strconv"

// style is how a tag spells its parameters. An empty name: the tag does not send
// that one.
type style struct {
	sep byte
	event, impression, advertiser, campaign, order, line, creative, ad, placement,
	site, publisher, deal, price, currency, user, device, page, referrer,
	width, height, size, buster, click string
	// extra is what such a tag carries besides, ready for the URL.
	extra []string
}

// styles are the ways of tags met in practice, as the pixel parameter dictionary
// lists them: the canonical names, two families of long names, a data management
// platform's, and Campaign Manager 360's with semicolons.
var styles = []style{
	{
		sep: '&', event: "ev", impression: "iid", advertiser: "adv", campaign: "cid", order: "io", line: "li", creative: "crid",
		ad: "adid", placement: "pl", site: "site", publisher: "pub", deal: "dealid", price: "price", currency: "cur", user: "uid",
		device: "ifa", page: "url", referrer: "ref", width: "w", height: "h", buster: "cb", click: "click",
		extra: []string{"v=2", "seg=sports&seg=news", "utm_source=newsletter&utm_campaign=spring_sale"},
	},
	{
		sep: '&', event: "event", impression: "impression_id", advertiser: "advertiser_id", campaign: "campaign_id", order: "io",
		line: "li", creative: "creative_id", ad: "ad_id", placement: "placement_id", publisher: "publisher", price: "price",
		currency: "cur", user: "user_id", device: "gaid", page: "url", referrer: "ref", size: "sz", buster: "cachebuster",
		click: "click",
		extra: []string{"sdk=js-4.2.1", "env=prod", "ab=variant%20B"},
	},
	{
		sep: '&', event: "e", impression: "impid", advertiser: "advertiserId", campaign: "campaignId", creative: "bannerId",
		placement: "zoneId", site: "site", price: "price", user: "userid", device: "idfa", page: "url", width: "w", height: "h",
		buster: "rnd", click: "u",
		extra: []string{"source=", "charset=UTF-8", "OACBLOCK=3600"},
	},
	{
		sep: '&', event: "d_event", advertiser: "d_adsrc", campaign: "d_campaign", creative: "d_creative", placement: "d_placement",
		user: "d_mid", device: "dc_rdid", page: "url", buster: "ord", click: "d_rd",
		extra: []string{"d_bu=1183", "d_cb=demdexCallback", "d_stuff=1"},
	},
	{
		sep: ';', event: "ev", campaign: "campaign", creative: "dc_trk_cid", ad: "dc_trk_aid", size: "sz", user: "uid",
		device: "dc_rdid", page: "url", buster: "ord",
		extra: []string{"src=9731482", "type=view0", "cat=homep0", "dc_lat=", "tag_for_child_directed_treatment=", "tfua=", "npa="},
	},
	{
		sep: '&', event: "EV", impression: "IID", advertiser: "AdvertiserID", campaign: "CampaignID", creative: "Creative",
		placement: "Placement", publisher: "Pub", price: "Price", currency: "CUR", user: "UserID", page: "URL", width: "W",
		height: "H", buster: "CorrelatoR",
		extra: []string{"Source=legacy%2Dtag"},
	},
}

// styleShares are the parts per hundred of campaigns that use each style.
var styleShares = []int{46, 22, 14, 7, 8, 3}

var sizes = [][2]int{{300, 250}, {728, 90}, {320, 50}, {970, 250}, {160, 600}, {300, 600}, {320, 480}, {1, 1}, {640, 360}}

type campaign struct {
	style     *style
	id        string // ready for the URL
	adv       int
	order     int
	line      int
	creatives int // of them; ids follow line
	site      int
	price     int // micro-units
	size      [2]int
	deal      string
	landing   string
}

// campaignNames are ids that are names: they need escapes.
var campaignNames = []string{
	"spring%20sale%202026", "Fr%C3%BChling+2026", "brand_awareness_q1", "%E5%A4%8F%E3%81%AE%E3%82%BB%E3%83%BC%E3%83%AB",
	"retargeting-30d", "promo%2Fau%2Ftv", "Back+to+School", "50%25-off",
}

func campaignTable(seed uint64, n int) []campaign {
	table := make([]campaign, n)
	for i := range table {
		t := traitsOf(seed, traitCampaign, i)
		c := &table[i]
		c.style = styleOf(t.intn(100))
		c.id = strconv.Itoa(20_000_000 + 7*i)
		if t.chance(0.1) {
			c.id = campaignNames[t.intn(len(campaignNames))] + "-" + strconv.Itoa(i)
		}
		c.adv = 1000 + t.intn(1+n/5)
		c.order = 500_000 + i/3
		c.line = 3_000_000 + 40*i
		c.creatives = 1 + t.intn(8)
		c.site = 1 + t.intn(9999)
		c.price = 150_000 + t.intn(9_000_000)
		c.size = sizes[t.intn(len(sizes))]
		if t.chance(0.3) {
			c.deal = "PM-" + string(appendBase36(nil, t.u64()>>32))
		}
		c.landing = "https%3A%2F%2Fshop" + strconv.Itoa(c.adv) + ".example.com%2Fp%2F" + strconv.Itoa(t.intn(90000)) + "%3Futm_source%3Ddisplay"
	}
	return table
}

func styleOf(percent int) *style {
	for i, share := range styleShares {
		if percent -= share; percent < 0 {
			return &styles[i]
		}
	}
	return &styles[0]
}

var (
	publishers = []string{
		"news.example.com", "www.example.org", "m.sports-daily.example", "recipes.example.net", "wetter.example.de", "forum.example.io",
		"www.lemonde-du-jour.example", "finance.example.co.uk", "games.example.tv", "blog.example.dev", "video.example.com.br",
		"shop.example.in", "tech-review.example", "auto.example.it", "reise.example.at", "jobs.example.nl", "xn--mnchen-3ya.example",
	}
	sections = []string{"politics", "sport", "culture", "tech", "travel", "food", "market", "local", "science", "life"}
	words    = []string{
		"city", "council", "votes", "final", "summer", "record", "rain", "new", "phone", "review", "market", "falls", "team", "wins",
		"best", "pasta", "guide", "island", "train", "strike", "film", "star", "price", "energy", "garden", "tips",
	}
)

// page is an address that carries pixels.
type page struct {
	address string // ready for the URL
	origin  string // what browsers send as Referer across origins
}

func pageTable(seed uint64, n int) []page {
	table := make([]page, n)
	for i := range table {
		t := traitsOf(seed, traitPage, i)
		host := publishers[t.intn(len(publishers))]
		b := append([]byte(nil), "https%3A%2F%2F"...)
		b = append(b, host...)
		b = append(b, "%2F"...)
		b = append(b, sections[t.intn(len(sections))]...)
		b = append(b, "%2F"...)
		for range 3 + t.intn(5) {
			b = append(b, words[t.intn(len(words))]...)
			b = append(b, '-')
		}
		b = strconv.AppendInt(b, int64(100_000+i), 10)
		b = append(b, ".html"...)
		if t.chance(0.3) {
			b = append(b, "%3Fpage%3D"...)
			b = strconv.AppendInt(b, int64(1+t.intn(5)), 10)
			b = append(b, "%26sort%3Dnew"...)
		}
		table[i] = page{address: string(b), origin: "https://" + host + "/"}
	}
	return table
}
