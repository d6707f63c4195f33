package impression

import (
	"encoding/binary"
	"unsafe"

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

// last is where the last n bytes of a row stand.
func last(row []byte, n int) span { return span{len(row) - n, len(row)} }

func (s span) of(row []byte) []byte { return row[s.from:s.to:s.to] }

// defaultEvent is the event_type of a request that names none.
var defaultEvent = []byte("impression")

// appendRow appends the row of the entry and its parameters, and fills rec.
func (c *Converter) appendRow(dst []byte, rec *Record, at int64, url pixelurl.URL) []byte {
	e, p := &c.entry, &c.params
	c.scratch = rec.setID(e.InsertID, at, c.scratch)

	v := &p.Values
	dst = appendText(dst, fieldInsertID, e.InsertID)
	dst = appendInt(dst, fieldEventTime, at)
	dst = appendOptInt(dst, fieldReceiveTime, e.ReceiveTime)
	var event, advertiser, campaign, creative, placement, site, user, page, country, browser, os, device span
	if v[pixelurl.EventType] != nil {
		dst, event = appendKept(dst, fieldEventType, v[pixelurl.EventType])
	} else {
		dst, event = appendKept(dst, fieldEventType, defaultEvent)
	}
	id := v[pixelurl.ImpressionID]
	if id == nil {
		id = e.InsertID
	}
	dst = appendText(dst, fieldImpressionID, id)
	dst, advertiser = appendKept(dst, fieldAdvertiserID, v[pixelurl.AdvertiserID])
	dst, campaign = appendKept(dst, fieldCampaignID, v[pixelurl.CampaignID])
	dst = appendText(dst, fieldInsertionOrderID, v[pixelurl.InsertionOrderID])
	dst = appendText(dst, fieldLineItemID, v[pixelurl.LineItemID])
	dst, creative = appendKept(dst, fieldCreativeID, v[pixelurl.CreativeID])
	dst = appendText(dst, fieldAdID, v[pixelurl.AdID])
	dst, placement = appendKept(dst, fieldPlacementID, v[pixelurl.PlacementID])
	dst, site = appendKept(dst, fieldSiteID, v[pixelurl.SiteID])
	dst = appendText(dst, fieldPublisherID, v[pixelurl.PublisherID])
	dst = appendText(dst, fieldDealID, v[pixelurl.DealID])
	dst, user = appendKept(dst, fieldUserID, v[pixelurl.UserID])
	dst = appendText(dst, fieldDeviceID, v[pixelurl.DeviceID])
	dst = appendText(dst, fieldPrice, p.Price)
	dst = appendText(dst, fieldCurrency, v[pixelurl.Currency])
	dst = appendOptInt(dst, fieldWidth, logentry.OptInt64(p.Width))
	dst = appendOptInt(dst, fieldHeight, logentry.OptInt64(p.Height))

	pageURL := v[pixelurl.PageURL]
	if pageURL == nil {
		pageURL = e.Referer
	}
	dst, page = appendKept(dst, fieldPageURL, pageURL)
	dst = appendHost(dst, fieldPageHost, pageURL)
	dst = appendText(dst, fieldReferrer, v[pixelurl.Referrer])
	dst = appendHost(dst, fieldReferrerHost, v[pixelurl.Referrer])
	dst = appendText(dst, fieldClickURL, v[pixelurl.ClickURL])
	dst = appendText(dst, fieldCacheBuster, v[pixelurl.CacheBuster])
	dst, from := begin(dst, fieldParams)
	dst = end(p.AppendParams(dst), from)

	dst, from = begin(dst, fieldRequestHost)
	dst = end(pixelurl.AppendLower(dst, url.Host), from)
	dst = appendText(dst, fieldRequestPath, url.Path)
	dst = appendText(dst, fieldRequestMethod, e.Method)
	dst = appendOptInt(dst, fieldStatus, e.Status)
	dst = appendOptInt(dst, fieldRequestSize, e.RequestSize)
	dst = appendOptInt(dst, fieldResponseSize, e.ResponseSize)
	dst = appendOptInt(dst, fieldLatencyUS, e.LatencyMicros)
	dst = appendOptBool(dst, fieldCacheHit, e.CacheHit)
	dst = appendOptBool(dst, fieldCacheLookup, e.CacheLookup)
	c.scratch = appendEdge(c.scratch[:0], e.CacheID)
	dst = appendText(dst, fieldEdge, c.scratch)
	dst = appendText(dst, fieldStatusDetails, e.StatusDetails)

	ip := e.RemoteIP
	if ip == nil {
		ip = e.PayloadRemoteIP
	}
	row, from := begin(dst, fieldIP)
	if row = privacy.AppendIP(row, ip, c.ip); row != nil {
		dst = end(row, from)
	}
	c.scratch = appendCountry(c.scratch[:0], e.RegionCode)
	dst, country = appendKept(dst, fieldCountry, c.scratch)

	client := c.agents.Lookup(e.UserAgent)
	dst = appendText(dst, fieldUserAgent, e.UserAgent)
	dst = appendString(dst, fieldBrowser, client.Browser)
	browser = last(dst, len(client.Browser))
	dst = appendString(dst, fieldBrowserVersion, client.BrowserVersion)
	dst = appendString(dst, fieldOS, client.OS)
	os = last(dst, len(client.OS))
	dst = appendString(dst, fieldOSVersion, client.OSVersion)
	dst = appendString(dst, fieldDeviceType, client.DeviceType)
	device = last(dst, len(client.DeviceType))
	dst = appendString(dst, fieldDeviceBrand, client.DeviceBrand)
	dst = appendString(dst, fieldDeviceModel, client.DeviceModel)
	c.scratch = appendConsent(c.scratch[:0], p)
	dst = appendText(dst, fieldConsent, c.scratch)
	for _, name := range p.Lint.Names() {
		dst = appendString(dst, fieldLint, name)
	}
	dst = appendText(dst, fieldURLMap, e.URLMap)

	rec.Invalid = false
	rec.EventType, rec.AdvertiserID, rec.CampaignID = event.of(dst), advertiser.of(dst), campaign.of(dst)
	rec.CreativeID, rec.PlacementID, rec.SiteID = creative.of(dst), placement.of(dst), site.of(dst)
	rec.UserID, rec.PageURL, rec.Country = user.of(dst), page.of(dst), country.of(dst)
	rec.Browser, rec.OS, rec.DeviceType = browser.of(dst), os.of(dst), device.of(dst)
	return dst
}

func appendHost(dst []byte, field protowire.Number, url []byte) []byte {
	if len(url) == 0 {
		return dst
	}
	row, from := begin(dst, field)
	if row = pixelurl.HostOf(url, row); row == nil {
		return dst
	}
	return end(row, from)
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

// appendKept is appendText that also returns where the value stands.
func appendKept(dst []byte, field protowire.Number, v []byte) ([]byte, span) {
	dst = appendText(dst, field, v)
	return dst, last(dst, len(v))
}

// appendText appends a string, bytes or message field, unless it is empty:
// absent is NULL and never "".
func appendText(dst []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return appendFull(dst, field, v)
}

// appendString is appendText for a string, whose bytes are only read.
func appendString(dst []byte, field protowire.Number, v string) []byte {
	return appendText(dst, field, unsafe.Slice(unsafe.StringData(v), len(v)))
}

// appendFull appends a value that is not empty.
func appendFull(dst []byte, field protowire.Number, v []byte) []byte {
	n, i := len(v), len(dst)
	if n >= 1<<7 || cap(dst)-i < n+3 {
		dst = protowire.AppendVarint(appendTag(dst, field, protowire.BytesType), uint64(n))
		return append(dst, v...)
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
	out := dst[i : i+n]
	switch { // copy, without a call for the most frequent lengths
	case n > 16:
		copy(out, v)
	case n >= 8: // two words that overlap
		first, last := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[n-8:])
		binary.LittleEndian.PutUint64(out, first)
		binary.LittleEndian.PutUint64(out[n-8:], last)
	case n >= 4:
		first, last := binary.LittleEndian.Uint32(v), binary.LittleEndian.Uint32(v[n-4:])
		binary.LittleEndian.PutUint32(out, first)
		binary.LittleEndian.PutUint32(out[n-4:], last)
	default:
		for j := range out {
			out[j] = v[j]
		}
	}
	return dst[:i+n]
}

// begin appends what stands before a value that the caller appends in place, and
// returns where the value will begin. end puts the length there.
func begin(dst []byte, field protowire.Number) (row []byte, from int) {
	row = append(appendTag(dst, field, protowire.BytesType), 0)
	return row, len(row)
}

// end completes the field that begin began and whose value, row[from:], has been
// appended.
func end(row []byte, from int) []byte {
	n := len(row) - from
	if n < 1<<7 {
		row[from-1] = byte(n)
		return row
	}
	// The length takes more than the one byte that begin left for it.
	var length [binary.MaxVarintLen64]byte
	more := binary.PutUvarint(length[:], uint64(n)) - 1
	row = append(row, length[:more]...)
	copy(row[from+more:], row[from:from+n])
	copy(row[from-1:], length[:more+1])
	return row
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
