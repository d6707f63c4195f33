package impression

import (
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/pixelurl"
	"pixelbeam/transforms/privacy"
)

// Field numbers of pixelbeam.v1.Impression; a test compares them with the
// message.
const (
	fieldInsertID         = 1
	fieldEventTime        = 2
	fieldReceiveTime      = 3
	fieldEventType        = 4
	fieldImpressionID     = 5
	fieldAdvertiserID     = 6
	fieldCampaignID       = 7
	fieldInsertionOrderID = 8
	fieldLineItemID       = 9
	fieldCreativeID       = 10
	fieldAdID             = 11
	fieldPlacementID      = 12
	fieldSiteID           = 13
	fieldPublisherID      = 14
	fieldDealID           = 15
	fieldUserID           = 16
	fieldDeviceID         = 17
	fieldPrice            = 18
	fieldCurrency         = 19
	fieldWidth            = 20
	fieldHeight           = 21
	fieldPageURL          = 22
	fieldPageHost         = 23
	fieldReferrer         = 24
	fieldReferrerHost     = 25
	fieldClickURL         = 26
	fieldCacheBuster      = 27
	fieldParams           = 28
	fieldRequestHost      = 29
	fieldRequestPath      = 30
	fieldRequestMethod    = 31
	fieldStatus           = 32
	fieldRequestSize      = 33
	fieldResponseSize     = 34
	fieldLatencyUS        = 35
	fieldCacheHit         = 36
	fieldCacheLookup      = 37
	fieldEdge             = 38
	fieldStatusDetails    = 39
	fieldIP               = 40
	fieldCountry          = 41
	fieldUserAgent        = 42
	fieldBrowser          = 43
	fieldBrowserVersion   = 44
	fieldOS               = 45
	fieldOSVersion        = 46
	fieldDeviceType       = 47
	fieldDeviceBrand      = 48
	fieldDeviceModel      = 49
	fieldConsent          = 51
	fieldLint             = 52
	fieldURLMap           = 53
)

// span is a place in the row under construction, which may still move.
type span struct{ from, to int }

func (s span) of(row []byte) []byte { return row[s.from:s.to:s.to] }

// appendRow appends the row of the entry and its parameters, and fills rec.
func (c *Converter) appendRow(dst []byte, rec *Record, at int64, url pixelurl.URL) []byte {
	e, p := &c.entry, &c.params
	c.scratch = rec.setID(e.InsertID, at, c.scratch)

	v := &p.Values
	dst, _ = appendBytes(dst, fieldInsertID, e.InsertID)
	dst = appendInt(dst, fieldEventTime, at)
	dst = appendOptInt(dst, fieldReceiveTime, e.ReceiveTime)
	var eventType, advertiser, campaign, creative, placement, site, user, page, country, browser, os, device span
	if v[pixelurl.EventType] != nil {
		dst, eventType = appendBytes(dst, fieldEventType, v[pixelurl.EventType])
	} else {
		dst, eventType = appendString(dst, fieldEventType, "impression")
	}
	id := v[pixelurl.ImpressionID]
	if id == nil {
		id = e.InsertID
	}
	dst, _ = appendBytes(dst, fieldImpressionID, id)
	dst, advertiser = appendBytes(dst, fieldAdvertiserID, v[pixelurl.AdvertiserID])
	dst, campaign = appendBytes(dst, fieldCampaignID, v[pixelurl.CampaignID])
	dst, _ = appendBytes(dst, fieldInsertionOrderID, v[pixelurl.InsertionOrderID])
	dst, _ = appendBytes(dst, fieldLineItemID, v[pixelurl.LineItemID])
	dst, creative = appendBytes(dst, fieldCreativeID, v[pixelurl.CreativeID])
	dst, _ = appendBytes(dst, fieldAdID, v[pixelurl.AdID])
	dst, placement = appendBytes(dst, fieldPlacementID, v[pixelurl.PlacementID])
	dst, site = appendBytes(dst, fieldSiteID, v[pixelurl.SiteID])
	dst, _ = appendBytes(dst, fieldPublisherID, v[pixelurl.PublisherID])
	dst, _ = appendBytes(dst, fieldDealID, v[pixelurl.DealID])
	dst, user = appendBytes(dst, fieldUserID, v[pixelurl.UserID])
	dst, _ = appendBytes(dst, fieldDeviceID, v[pixelurl.DeviceID])
	dst, _ = appendBytes(dst, fieldPrice, p.Price)
	dst, _ = appendBytes(dst, fieldCurrency, v[pixelurl.Currency])
	dst = appendOptInt(dst, fieldWidth, logentry.OptInt64(p.Width))
	dst = appendOptInt(dst, fieldHeight, logentry.OptInt64(p.Height))

	pageURL := v[pixelurl.PageURL]
	if pageURL == nil {
		pageURL = e.Referer
	}
	dst, page = appendBytes(dst, fieldPageURL, pageURL)
	dst = c.appendHost(dst, fieldPageHost, pageURL)
	dst, _ = appendBytes(dst, fieldReferrer, v[pixelurl.Referrer])
	dst = c.appendHost(dst, fieldReferrerHost, v[pixelurl.Referrer])
	dst, _ = appendBytes(dst, fieldClickURL, v[pixelurl.ClickURL])
	dst, _ = appendBytes(dst, fieldCacheBuster, v[pixelurl.CacheBuster])
	c.scratch = p.AppendParams(c.scratch[:0])
	dst, _ = appendBytes(dst, fieldParams, c.scratch)

	c.scratch = pixelurl.AppendLower(c.scratch[:0], url.Host)
	dst, _ = appendBytes(dst, fieldRequestHost, c.scratch)
	dst, _ = appendBytes(dst, fieldRequestPath, url.Path)
	dst, _ = appendBytes(dst, fieldRequestMethod, e.Method)
	dst = appendOptInt(dst, fieldStatus, e.Status)
	dst = appendOptInt(dst, fieldRequestSize, e.RequestSize)
	dst = appendOptInt(dst, fieldResponseSize, e.ResponseSize)
	dst = appendOptInt(dst, fieldLatencyUS, e.LatencyMicros)
	dst = appendOptBool(dst, fieldCacheHit, e.CacheHit)
	dst = appendOptBool(dst, fieldCacheLookup, e.CacheLookup)
	c.scratch = appendEdge(c.scratch[:0], e.CacheID)
	dst, _ = appendBytes(dst, fieldEdge, c.scratch)
	dst, _ = appendBytes(dst, fieldStatusDetails, e.StatusDetails)

	ip := e.RemoteIP
	if ip == nil {
		ip = e.PayloadRemoteIP
	}
	if kept := privacy.AppendIP(c.scratch[:0], ip, c.ip); kept != nil {
		c.scratch = kept
		dst, _ = appendBytes(dst, fieldIP, kept)
	}
	c.scratch = appendCountry(c.scratch[:0], e.RegionCode)
	dst, country = appendBytes(dst, fieldCountry, c.scratch)

	client := c.agents.Lookup(e.UserAgent)
	dst, _ = appendBytes(dst, fieldUserAgent, e.UserAgent)
	dst, browser = appendString(dst, fieldBrowser, client.Browser)
	dst, _ = appendString(dst, fieldBrowserVersion, client.BrowserVersion)
	dst, os = appendString(dst, fieldOS, client.OS)
	dst, _ = appendString(dst, fieldOSVersion, client.OSVersion)
	dst, device = appendString(dst, fieldDeviceType, client.DeviceType)
	dst, _ = appendString(dst, fieldDeviceBrand, client.DeviceBrand)
	dst, _ = appendString(dst, fieldDeviceModel, client.DeviceModel)
	c.scratch = appendConsent(c.scratch[:0], p)
	dst, _ = appendBytes(dst, fieldConsent, c.scratch)
	for _, name := range p.Lint.Names() {
		dst, _ = appendString(dst, fieldLint, name)
	}
	dst, _ = appendBytes(dst, fieldURLMap, e.URLMap)

	rec.Invalid = false
	rec.EventType, rec.AdvertiserID, rec.CampaignID = eventType.of(dst), advertiser.of(dst), campaign.of(dst)
	rec.CreativeID, rec.PlacementID, rec.SiteID = creative.of(dst), placement.of(dst), site.of(dst)
	rec.UserID, rec.PageURL, rec.Country = user.of(dst), page.of(dst), country.of(dst)
	rec.Browser, rec.OS, rec.DeviceType = browser.of(dst), os.of(dst), device.of(dst)
	return dst
}

func (c *Converter) appendHost(dst []byte, field protowire.Number, url []byte) []byte {
	host := pixelurl.HostOf(url, c.scratch[:0])
	if host == nil {
		return dst
	}
	c.scratch = host
	dst, _ = appendBytes(dst, field, host)
	return dst
}

// appendEdge appends the letters before '-' of a cacheId such as SIN-7c9ff679,
// upper-case, if there are three.
func appendEdge(dst, cacheID []byte) []byte {
	if len(cacheID) < 4 || cacheID[3] != '-' {
		return dst
	}
	return appendLetters(dst, cacheID[:3])
}

// appendCountry appends a region code of Cloud Armor if it is an ISO 3166-1
// alpha-2 code in form.
func appendCountry(dst, code []byte) []byte {
	if len(code) != 2 {
		return dst
	}
	return appendLetters(dst, code)
}

// appendLetters appends s upper-case, or nothing if it holds anything but ASCII
// letters.
func appendLetters(dst, s []byte) []byte {
	start := len(dst)
	for _, b := range s {
		if b |= 0x20; b < 'a' || b > 'z' {
			return dst[:start]
		}
		dst = append(dst, b&^0x20)
	}
	return dst
}

// appendBytes appends a string, bytes or message field, unless it is empty:
// absent is NULL and never "". It also returns where the value stands.
func appendBytes(dst []byte, field protowire.Number, v []byte) ([]byte, span) {
	n, i := len(v), len(dst)
	if n == 0 {
		return dst, span{}
	}
	if n >= 1<<7 || cap(dst)-i < n+3 {
		dst = append(appendLength(dst, field, n), v...)
		return dst, span{len(dst) - n, len(dst)}
	}
	// Fast path: a short value, and there is room.
	dst = dst[:i+n+3]
	if field < 16 {
		dst[i] = byte(field<<3 | protowire.Number(protowire.BytesType))
		dst[i+1] = byte(n)
		i += 2
	} else {
		dst[i] = byte(field<<3|protowire.Number(protowire.BytesType)) | 0x80
		dst[i+1] = byte(field >> 4)
		dst[i+2] = byte(n)
		i += 3
	}
	copy(dst[i:i+n], v)
	return dst[:i+n], span{i, i + n}
}

func appendString(dst []byte, field protowire.Number, v string) ([]byte, span) {
	if v == "" {
		return dst, span{}
	}
	dst = append(appendLength(dst, field, len(v)), v...)
	return dst, span{len(dst) - len(v), len(dst)}
}

// appendLength appends what stands before a value of n bytes. It is protowire's
// AppendTag and AppendVarint, quicker for the numbers of two bytes at most that
// occur here.
func appendLength(dst []byte, field protowire.Number, n int) []byte {
	dst = appendTag(dst, field, protowire.BytesType)
	switch {
	case n < 1<<7:
		return append(dst, byte(n))
	case n < 1<<14:
		return append(dst, byte(n)|0x80, byte(n>>7))
	}
	return protowire.AppendVarint(dst, uint64(n))
}

func appendTag(dst []byte, field protowire.Number, wireType protowire.Type) []byte {
	tag := uint(field)<<3 | uint(wireType)
	if tag < 1<<7 {
		return append(dst, byte(tag))
	}
	return append(dst, byte(tag)|0x80, byte(tag>>7))
}

func appendInt(dst []byte, field protowire.Number, v int64) []byte {
	dst = appendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(v))
}

func appendOptInt(dst []byte, field protowire.Number, v logentry.OptInt64) []byte {
	if !v.Set {
		return dst
	}
	return appendInt(dst, field, v.Value)
}

func appendOptBool(dst []byte, field protowire.Number, v logentry.OptBool) []byte {
	if !v.Set {
		return dst
	}
	return append(appendTag(dst, field, protowire.VarintType), byte(protowire.EncodeBool(v.Value)))
}
