package main

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"unsafe"

	"github.com/bytedance/sonic"
	"github.com/valyala/fasthttp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/privacy"
	"pixelbeam/transforms/useragent"
)

// best does it with the quickest libraries that are correct, as quickly as they
// allow: sonic without copies, with strings validated; fasthttp's URI and Args,
// reused; and rows appended by protowire without messages. Where Pixelbeam has
// no rival, it uses Pixelbeam.
type best struct {
	api    sonic.API
	names  map[string]column
	others []protowire.Number // the columns from colOther, as fields
	agents *useragent.Cache

	entry logEntry
	uri   fasthttp.URI
	page  fasthttp.URI
	args  fasthttp.Args
	// separated is a query whose semicolons were replaced.
	separated []byte
	columns   [numColumns][]byte
	// canonical and signals by column, as in columns.
	canonical [numColumns]bool
	params    []byte
	rest      []pair
	lower     []byte
	lint      []string
	scratch   []byte
}

type pair struct{ name, value []byte }

// column is what a parameter name means: an index of the columns, which have
// signals at the end.
type column struct {
	index     int
	signal    bool
	canonical bool
}

const (
	colEvent = iota
	colImpression
	colPrice
	colWidth
	colHeight
	colSize
	colPage
	colReferrer
	colBuster
	colGDPR
	colTC
	colPrivacy
	colGPP
	colCOPPA
	colGPC
	colOther
	numColumns = colOther + 20
)

var columnIndex = map[string]int{
	"event_type": colEvent, "impression_id": colImpression, "price": colPrice, "width": colWidth, "height": colHeight, "size": colSize,
	"page_url": colPage, "referrer": colReferrer, "cache_buster": colBuster, "gdpr": colGDPR, "gdpr_consent": colTC,
	"us_privacy": colPrivacy, "gpp": colGPP, "coppa": colCOPPA, "gpc": colGPC,
}

func newBest(agents *useragent.Cache) *best {
	b := &best{
		api:    sonic.Config{ValidateString: true}.Froze(),
		names:  map[string]column{},
		agents: agents,
	}
	fields := (*pb.Impression)(nil).ProtoReflect().Descriptor().Fields()
	own := map[string]int{}
	for spelled, n := range readNames() {
		i, ok := columnIndex[n.target]
		if !ok {
			if i, ok = own[n.target]; !ok {
				i = colOther + len(b.others)
				own[n.target] = i
				b.others = append(b.others, protowire.Number(fields.ByName(protoreflect.Name(n.target)).Number()))
			}
		}
		b.names[spelled] = column{i, n.signal, n.canonical}
	}
	return b
}

func (b *best) json(data []byte) error {
	b.entry = logEntry{}
	// The entry borrows from data.
	if err := b.api.UnmarshalFromString(unsafe.String(unsafe.SliceData(data), len(data)), &b.entry); err != nil {
		return err
	}
	return b.entry.times()
}

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func (b *best) query() error {
	if err := b.uri.Parse(nil, bytesOf(b.entry.HTTPRequest.RequestURL)); err != nil {
		return err
	}
	switch string(b.uri.Path()) {
	case "/pixel.gif", "/pixel.png", "/p.gif":
	default:
		return errors.New("not a pixel")
	}
	clear(b.columns[:])
	clear(b.canonical[:])
	b.rest, b.lint = b.rest[:0], b.lint[:0]
	unexpanded := false
	query := b.uri.QueryString()
	if bytes.IndexByte(query, '&') < 0 && bytes.IndexByte(query, ';') >= 0 { // as Campaign Manager 360 separates
		b.separated = append(b.separated[:0], query...)
		for i, c := range b.separated {
			if c == ';' {
				b.separated[i] = '&'
			}
		}
		query = b.separated
	}
	b.args.ParseBytes(query)
	for name, value := range b.args.All() {
		b.lower = append(b.lower[:0], name...)
		for i, c := range b.lower {
			if 'A' <= c && c <= 'Z' {
				b.lower[i] = c | 0x20
			}
		}
		c, known := b.names[string(b.lower)]
		isMacro := isMacro(unsafe.String(unsafe.SliceData(value), len(value)))
		unexpanded = unexpanded || isMacro
		switch {
		case !known || len(value) == 0 || isMacro:
			b.rest = append(b.rest, pair{name, value})
		case c.signal:
			b.columns[c.index] = value
			b.rest = append(b.rest, pair{name, value})
		case b.columns[c.index] != nil && (b.canonical[c.index] || !c.canonical):
			b.rest = append(b.rest, pair{name, value})
		default:
			b.columns[c.index], b.canonical[c.index] = value, c.canonical
		}
	}
	if b.columns[colBuster] == nil {
		b.lint = append(b.lint, "no_cache_buster")
	}
	if unexpanded {
		b.lint = append(b.lint, "unexpanded_macro")
	}
	if s := b.columns[colSize]; s != nil {
		b.columns[colWidth], b.columns[colHeight], _ = bytes.Cut(s, []byte("x"))
	}
	b.params = append(b.params[:0], '{')
	for i, p := range b.rest {
		same := func(q pair) bool { return bytes.Equal(p.name, q.name) }
		if slices.ContainsFunc(b.rest[:i], same) {
			continue
		}
		if i > 0 {
			b.params = append(b.params, ',')
		}
		b.params = append(appendJSON(b.params, p.name), ':')
		if !slices.ContainsFunc(b.rest[i+1:], same) {
			b.params = appendJSON(b.params, p.value)
			continue
		}
		b.params = appendJSON(append(b.params, '['), p.value)
		for _, q := range b.rest[i+1:] {
			if same(q) {
				b.params = appendJSON(append(b.params, ','), q.value)
			}
		}
		b.params = append(b.params, ']')
	}
	b.params = append(b.params, '}')
	return nil
}

// appendJSON appends a string that needs few escapes.
func appendJSON(dst, s []byte) []byte {
	if bytes.IndexByte(s, '"') < 0 && bytes.IndexByte(s, '\\') < 0 {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	return strconv.AppendQuote(dst, string(s))
}

func appendText[T string | []byte](dst []byte, n protowire.Number, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, n, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(v)))
	return append(dst, v...)
}

func appendNumber(dst []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, n, protowire.VarintType), v)
}

func appendBool(dst []byte, n protowire.Number, v *bool) []byte {
	if v == nil {
		return dst
	}
	return appendNumber(dst, n, protowire.EncodeBool(*v))
}

func appendFlag(dst []byte, n protowire.Number, v []byte) []byte {
	if len(v) != 1 || v[0] != '0' && v[0] != '1' {
		return dst
	}
	return appendNumber(dst, n, uint64(v[0]-'0'))
}

func (b *best) appendHost(dst []byte, n protowire.Number, page []byte) []byte {
	if len(page) == 0 || b.page.Parse(nil, page) != nil {
		return dst
	}
	return appendText(dst, n, withoutPort(b.page.Host()))
}

// withoutPort cuts the port off a host of fasthttp, which is in lower case.
func withoutPort(h []byte) []byte {
	if i := bytes.LastIndexByte(h, ':'); i >= 0 && (h[0] != '[' || i > bytes.IndexByte(h, ']')) {
		return h[:i]
	}
	return h
}

// row is the last stage. Fields are in any order, as the wire format allows.
func (b *best) row(dst []byte) ([]byte, error) {
	e, q, c := &b.entry, &b.entry.HTTPRequest, &b.columns
	dst = appendText(dst, 1, e.InsertID)
	dst = appendNumber(dst, 2, uint64(e.eventTime))
	dst = appendNumber(dst, 3, uint64(e.receiveTime))
	if c[colEvent] == nil {
		dst = appendText(dst, 4, "impression")
	} else {
		dst = appendText(dst, 4, bytes.ToLower(c[colEvent]))
	}
	if c[colImpression] == nil {
		dst = appendText(dst, 5, e.InsertID)
	} else {
		dst = appendText(dst, 5, c[colImpression])
	}
	for i, n := range b.others {
		dst = appendText(dst, n, c[colOther+i])
	}
	price := c[colPrice]
	if bytes.IndexByte(price, '.') >= 0 {
		price = bytes.TrimRight(bytes.TrimRight(price, "0"), ".")
	}
	dst = appendText(dst, 18, price)
	for n, v := range [2][]byte{c[colWidth], c[colHeight]} {
		if v != nil {
			pixels, err := fasthttp.ParseUint(v)
			if err != nil {
				return nil, err
			}
			dst = appendNumber(dst, protowire.Number(20+n), uint64(pixels))
		}
	}
	page := c[colPage]
	if page == nil {
		page = bytesOf(q.Referer)
	}
	dst = appendText(dst, 22, page)
	dst = b.appendHost(dst, 23, page)
	dst = appendText(dst, 24, c[colReferrer])
	dst = b.appendHost(dst, 25, c[colReferrer])
	dst = appendText(dst, 27, c[colBuster])
	dst = appendText(dst, 28, b.params)
	dst = appendText(dst, 29, withoutPort(b.uri.Host()))
	dst = appendText(dst, 30, b.uri.PathOriginal())
	dst = appendText(dst, 31, q.RequestMethod)
	if q.Status != 0 {
		dst = appendNumber(dst, 32, uint64(q.Status))
	}
	if q.RequestSize != nil {
		dst = appendNumber(dst, 33, uint64(*q.RequestSize))
	}
	if q.ResponseSize != nil {
		dst = appendNumber(dst, 34, uint64(*q.ResponseSize))
	}
	if e.hasLatency {
		dst = appendNumber(dst, 35, uint64(e.latency))
	}
	dst = appendBool(dst, 36, q.CacheHit)
	dst = appendBool(dst, 37, q.CacheLookup)
	if id := e.JSONPayload.CacheID; len(id) > 3 && id[3] == '-' {
		dst = appendText(dst, 38, bytes.ToUpper(bytesOf(id[:3])))
	}
	dst = appendText(dst, 39, e.JSONPayload.StatusDetails)
	b.scratch = privacy.AppendIP(b.scratch[:0], bytesOf(q.RemoteIP), privacy.IPTruncate)
	dst = appendText(dst, 40, b.scratch)
	dst = appendText(dst, 41, bytes.ToUpper(bytesOf(e.JSONPayload.SecurityPolicyRequestData.RemoteIPInfo.RegionCode)))
	dst = appendText(dst, 42, q.UserAgent)
	client := b.agents.Lookup(bytesOf(q.UserAgent))
	dst = appendText(dst, 43, client.Browser)
	dst = appendText(dst, 44, client.BrowserVersion)
	dst = appendText(dst, 45, client.OS)
	dst = appendText(dst, 46, client.OSVersion)
	dst = appendText(dst, 47, client.DeviceType)
	dst = appendText(dst, 48, client.DeviceBrand)
	dst = appendText(dst, 49, client.DeviceModel)
	b.scratch = appendFlag(b.scratch[:0], 1, c[colGDPR])
	if c[colTC] != nil {
		b.scratch = appendNumber(b.scratch, 2, 1)
	}
	if len(c[colPrivacy]) == 4 {
		b.scratch = appendText(b.scratch, 3, c[colPrivacy])
	}
	if c[colGPP] != nil {
		b.scratch = appendNumber(b.scratch, 4, 1)
	}
	b.scratch = appendFlag(b.scratch, 5, c[colCOPPA])
	b.scratch = appendFlag(b.scratch, 6, c[colGPC])
	dst = appendText(dst, 51, b.scratch)
	for _, l := range b.lint {
		dst = appendText(dst, 52, l)
	}
	return appendText(dst, 53, e.Resource.Labels.URLMapName), nil
}
