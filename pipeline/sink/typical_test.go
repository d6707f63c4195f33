package sink

import (
	"google.golang.org/protobuf/proto"

	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// typicalImpression has the columns that a row of real traffic has; some 900
// bytes on the wire.
func typicalImpression(id string) *pixelbeamv1.Impression {
	s, n, b := proto.String, proto.Int64, proto.Bool
	return &pixelbeamv1.Impression{
		InsertId: s(id), EventTime: n(1714584428073884), ReceiveTime: n(1714584429000000), EventType: s("impression"), ImpressionId: s(id),
		AdvertiserId: s("adv-1029"), CampaignId: s("cmp-88213"), LineItemId: s("li-10"), CreativeId: s("cr-771"), PlacementId: s("pl-1"),
		SiteId: s("site-3"), PublisherId: s("pub-3"), UserId: s("7c9ff679-7c9f-4f67-9f67-7c9ff6797c9f"), Price: s("0.00125"), Currency: s("EUR"),
		Width: n(300), Height: n(250), PageUrl: s("https://www.example.com/news/2024/05/some-article-with-a-long-name.html?ref=home"), PageHost: s("www.example.com"),
		CacheBuster: s("1714584428"), Params: s(`{"utm_source":"news","utm_medium":"banner","gdpr":"1","x":["1","2"]}`),
		RequestHost: s("pixel.example.com"), RequestPath: s("/pixel.gif"), RequestMethod: s("GET"), Status: n(200), RequestSize: n(612), ResponseSize: n(412),
		LatencyUs: n(2182), CacheHit: b(true), CacheLookup: b(true), Edge: s("SIN"), StatusDetails: s("response_from_cache"), Ip: s("203.0.113.0"), Country: s("SG"),
		UserAgent: s("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1"),
		Browser:   s("Mobile Safari"), BrowserVersion: s("17.4"), Os: s("iOS"), OsVersion: s("17.4"), DeviceType: s("mobile"), DeviceBrand: s("Apple"), DeviceModel: s("iPhone"),
		Consent: &pixelbeamv1.Consent{Gdpr: b(true), TcString: b(true)}, UrlMap: s("pixel-map"),
	}
}
