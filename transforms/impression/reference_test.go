package impression

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"pixelbeam/schemas"
	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/useragent"
)

// This file says again what docs/semantics.md says, slowly and plainly: with
// encoding/json, maps, regular expressions, big numbers and packages time and
// netip. It shares no code with what it checks, apart from the user agent parser,
// which package useragent checks, and the names of reasons and columns.

// referenceKinds are the fields that matter, by path, and their JSON types.
var referenceKinds = map[string]string{
	"httpRequest": "object", "jsonPayload": "object", "resource": "object", "resource.labels": "object",
	"jsonPayload.securityPolicyRequestData":                         "object",
	"jsonPayload.securityPolicyRequestData.remoteIpInfo":            "object",
	"jsonPayload.securityPolicyRequestData.remoteIpInfo.regionCode": "text",
	"insertId": "text", "timestamp": "text", "receiveTimestamp": "text",
	"httpRequest.requestMethod": "text", "httpRequest.requestUrl": "text", "httpRequest.userAgent": "text",
	"httpRequest.referer": "text", "httpRequest.remoteIp": "text", "httpRequest.latency": "text",
	"httpRequest.status": "integer", "httpRequest.requestSize": "integer", "httpRequest.responseSize": "integer",
	"httpRequest.cacheHit": "bool", "httpRequest.cacheLookup": "bool",
	"jsonPayload.parentInsertId": "text", "jsonPayload.cacheId": "text", "jsonPayload.statusDetails": "text",
	"jsonPayload.remoteIp": "text", "resource.labels.url_map_name": "text",
}

// referenceEntry has the values of an entry by path, each a string, int64 or
// bool, and the paths of those with a wrong type.
type referenceEntry struct {
	values map[string]any
	wrong  []string
}

// read reads the members of an object, in order: of a repeated name the last
// counts, and objects are merged.
func (e *referenceEntry) read(object []byte, prefix string) {
	must := func(err error) {
		if err != nil {
			panic(err) // the document is valid
		}
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	_, err := dec.Token()
	must(err)
	for dec.More() {
		name, err := dec.Token()
		must(err)
		var raw json.RawMessage
		must(dec.Decode(&raw))
		path := prefix + name.(string)
		// A name may hold dots: it is then no path.
		kind, known := referenceKinds[path]
		if !known || strings.Contains(name.(string), ".") {
			continue
		}
		var v any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		must(d.Decode(&v))
		if v == nil {
			for p := range e.values {
				if p == path || strings.HasPrefix(p, path+".") {
					delete(e.values, p)
				}
			}
			continue
		}
		ok := false
		switch kind {
		case "object":
			if _, ok = v.(map[string]any); ok {
				e.read(raw, path+".")
			}
			v = nil
		case "text":
			_, ok = v.(string)
		case "bool":
			_, ok = v.(bool)
		case "integer":
			v, ok = referenceInteger(v)
		}
		if !ok {
			e.wrong = append(e.wrong, path)
		} else if v != nil {
			e.values[path] = v
		}
	}
}

var referenceDecimal = regexp.MustCompile(`^-?[0-9]+$`)

// referenceInteger takes an int64 as a number, however written, or as decimal
// digits in a string.
func referenceInteger(v any) (any, bool) {
	var text string
	switch v := v.(type) {
	case string:
		if text = v; !referenceDecimal.MatchString(text) {
			return nil, false
		}
	case json.Number:
		text = v.String()
		// A big.Rat of 1e1000000000 would take gigabytes.
		mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
		if len(strings.TrimLeft(exponent, "+-0")) > 4 {
			return int64(0), !strings.ContainsAny(mantissa, "123456789")
		}
	default:
		return nil, false
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return nil, false
	}
	return r.Num().Int64(), true
}

func (e *referenceEntry) text(path string) string {
	s, _ := e.values[path].(string)
	return s
}

// number returns a number as a column: nil is NULL.
func (e *referenceEntry) number(path string) *int64 {
	if v, ok := e.values[path].(int64); ok {
		return &v
	}
	return nil
}

func (e *referenceEntry) flag(path string) *bool {
	if v, ok := e.values[path].(bool); ok {
		return &v
	}
	return nil
}

// column is a text as a column: empty is NULL.
func column(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

var (
	referenceURL = regexp.MustCompile(`(?is)^(https?)://([^/?#\\]*)([^?#]*)(.*)$`)
	// The host of any URL, for page_host and referrer_host. A backslash ends the
	// authority of http and https.
	referencePage    = regexp.MustCompile(`(?is)^(?:(https?):|[a-z][a-z0-9+.-]*:)?//([^/?#]*)`)
	referenceHost    = regexp.MustCompile(`(?s)^(\[[^\]]+\]|[^:\[][^:]*)`)
	referenceNoHost  = regexp.MustCompile("[\x00-\x20#/:<>?@\\[\\\\\\]^|\x7f]")
	referenceAddress = regexp.MustCompile(`^\[[0-9A-Fa-f:.]+\]$`)
	referenceEscape  = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	referenceTimes   = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-](\d\d):(\d\d))$`)
	referenceSeconds = regexp.MustCompile(`^-?[0-9]+(\.[0-9]{1,9})?s$`)
	referenceEdge    = regexp.MustCompile(`^([A-Za-z]{3})-`)
	referenceCountry = regexp.MustCompile(`^[A-Za-z]{2}$`)
	referencePrivacy = regexp.MustCompile(`^1[YyNn-]{3}$`)
)

// referenceAuthority returns the host of an authority, "" if there is none.
func referenceAuthority(authority string) string {
	return referenceHost.FindString(authority[strings.LastIndex(authority, "@")+1:])
}

func referencePageHost(page string) *string {
	m := referencePage.FindStringSubmatch(page)
	if m == nil {
		return nil
	}
	authority := m[2]
	if m[1] != "" {
		authority, _, _ = strings.Cut(authority, `\`)
	}
	host := referenceAuthority(authority)
	if strings.HasPrefix(host, "[") {
		if !referenceAddress.MatchString(host) {
			return nil
		}
	} else if referenceNoHost.MatchString(host) {
		return nil
	}
	return column(strings.ToLower(host))
}

// referenceTime reads an RFC 3339 time in microseconds.
func referenceTime(s string) (int64, bool) {
	m := referenceTimes.FindStringSubmatch(s)
	if m == nil || m[3] > "23" || m[4] > "59" {
		return 0, false
	}
	var leap time.Duration
	if s[17:19] == "60" {
		// The second after 23:59:59 UTC.
		s, leap = s[:17]+"59"+s[19:], time.Second
	}
	t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s))
	if leap > 0 && t.UTC().Format("15:04:05") != "23:59:59" {
		return 0, false
	}
	t = t.Add(leap).UTC()
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return 0, false
	}
	return t.UnixMicro(), true
}

func referenceLatency(s string) *int64 {
	if !referenceSeconds.MatchString(s) {
		return nil
	}
	seconds, _ := new(big.Rat).SetString(strings.TrimSuffix(s, "s"))
	micros := new(big.Rat).Mul(seconds, big.NewRat(1_000_000, 1))
	whole := new(big.Int).Quo(micros.Num(), micros.Denom()) // towards zero
	if whole.CmpAbs(big.NewInt(315_576_000_000_000_000)) > 0 {
		return nil // beyond the format's limit
	}
	v := whole.Int64()
	return &v
}

func referenceIP(s string) *string {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(s)
		addr = withPort.Addr()
	}
	if err != nil && strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		if addr, err = netip.ParseAddr(s[1 : len(s)-1]); err == nil && !addr.Is6() {
			return nil
		}
	}
	if err != nil {
		return nil
	}
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		panic(err)
	}
	return column(prefix.Addr().String())
}

// referenceConvert judges an entry, with the options' defaults. A nil row means
// that the entry is no impression, for the reason.
func referenceConvert(data []byte, attribute string) (*pb.Impression, logentry.Reason) {
	if !json.Valid(data) || !utf8.Valid(data) || bytes.TrimLeft(data, " \t\r\n")[0] != '{' {
		return nil, logentry.ReasonInvalidJSON
	}
	if len(data) > 262144 {
		return nil, logentry.ReasonTooLarge
	}
	e := &referenceEntry{values: map[string]any{}}
	e.read(data, "")
	if slices.Contains(e.wrong, "httpRequest") || slices.Contains(e.wrong, "httpRequest.requestUrl") {
		return nil, logentry.ReasonInvalidField
	}
	if e.text("httpRequest.requestUrl") == "" {
		return nil, logentry.ReasonNotARequest
	}
	url := referenceURL.FindStringSubmatch(e.text("httpRequest.requestUrl"))
	if url == nil || referenceAuthority(url[2]) == "" {
		return nil, logentry.ReasonInvalidURL
	}
	if len(e.wrong) > 0 {
		return nil, logentry.ReasonInvalidField
	}
	received, haveReceived := referenceTime(e.text("receiveTimestamp"))
	at, ok := referenceTime(e.text("timestamp"))
	if !ok {
		at, ok = referenceTime(attribute)
	}
	if !ok {
		at, ok = received, haveReceived
	}
	insertID := e.text("insertId")
	path := url[3]
	if path == "" {
		path = "/"
	}
	plainPath := referenceEscape.ReplaceAllStringFunc(path, func(s string) string {
		b, err := hex.DecodeString(s[1:])
		if err != nil {
			panic(err)
		}
		return string(b)
	})
	method := e.text("httpRequest.requestMethod")
	_, internal := e.values["jsonPayload.parentInsertId"]
	status := e.number("httpRequest.status")
	switch {
	case !ok:
		return nil, logentry.ReasonNoTimestamp
	case insertID == "":
		return nil, logentry.ReasonNoInsertID
	case internal || e.text("httpRequest.userAgent") == "Cloud-CDN-Google":
		return nil, logentry.ReasonCDNInternal
	case !slices.Contains([]string{"/pixel.gif", "/pixel.png", "/p.gif"}, plainPath):
		return nil, logentry.ReasonNotAPixel
	case method != "GET" && method != "HEAD":
		return nil, logentry.ReasonMethod
	case status != nil && *status >= 400:
		return nil, logentry.ReasonErrorStatus
	}

	_, query, _ := strings.Cut(url[4], "?")
	query, _, _ = strings.Cut(query, "#")
	q := referenceQuery(query)
	row := &pb.Impression{
		InsertId: &insertID, EventTime: &at,
		EventType: proto.String("impression"), ImpressionId: proto.String(insertID),
		PageUrl: column(e.text("httpRequest.referer")), Params: column(q.params), Lint: q.lint,
		RequestHost: column(strings.ToLower(referenceAuthority(url[2]))), RequestPath: &path,
		RequestMethod: column(method), Status: status,
		RequestSize: e.number("httpRequest.requestSize"), ResponseSize: e.number("httpRequest.responseSize"),
		LatencyUs: referenceLatency(e.text("httpRequest.latency")),
		CacheHit:  e.flag("httpRequest.cacheHit"), CacheLookup: e.flag("httpRequest.cacheLookup"),
		StatusDetails: column(e.text("jsonPayload.statusDetails")),
		UserAgent:     column(e.text("httpRequest.userAgent")),
		UrlMap:        column(e.text("resource.labels.url_map_name")),
	}
	if haveReceived {
		row.ReceiveTime = &received
	}
	m := row.ProtoReflect()
	for name, value := range q.columns {
		field := m.Descriptor().Fields().ByTextName(name)
		if name == "width" || name == "height" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				panic(err)
			}
			m.Set(field, protoreflect.ValueOfInt64(n))
			continue
		}
		m.Set(field, protoreflect.ValueOfString(value))
	}
	row.PageHost = referencePageHost(row.GetPageUrl())
	row.ReferrerHost = referencePageHost(row.GetReferrer())
	if m := referenceEdge.FindStringSubmatch(e.text("jsonPayload.cacheId")); m != nil {
		row.Edge = column(strings.ToUpper(m[1]))
	}
	ip, inRequest := e.values["httpRequest.remoteIp"].(string)
	if !inRequest || ip == "" {
		ip = e.text("jsonPayload.remoteIp")
	}
	row.Ip = referenceIP(ip)
	if code := e.text("jsonPayload.securityPolicyRequestData.remoteIpInfo.regionCode"); referenceCountry.MatchString(code) {
		row.Country = column(strings.ToUpper(code))
	}
	client := useragent.Default().Parse(row.GetUserAgent())
	row.Browser, row.BrowserVersion = column(client.Browser), column(client.BrowserVersion)
	row.Os, row.OsVersion = column(client.OS), column(client.OSVersion)
	row.DeviceType, row.DeviceBrand, row.DeviceModel = column(client.DeviceType), column(client.DeviceBrand), column(client.DeviceModel)

	zeroOrOne := func(name string) *bool {
		switch q.signals[name] {
		case "0", "1":
			return proto.Bool(q.signals[name] == "1")
		}
		return nil
	}
	came := func(name string) *bool {
		if q.signals[name] == "" {
			return nil
		}
		return proto.Bool(true)
	}
	consent := &pb.Consent{
		Gdpr: zeroOrOne("gdpr"), TcString: came("gdpr_consent"), GppString: came("gpp"),
		Coppa: zeroOrOne("coppa"), Gpc: zeroOrOne("gpc"),
	}
	if s := q.signals["us_privacy"]; referencePrivacy.MatchString(s) {
		consent.UsPrivacy = &s
	}
	if proto.Size(consent) > 0 {
		row.Consent = consent
	}
	return row, ""
}

// referenceNames has the meaning of each parameter name, in lower case.
var referenceNames = func() map[string]referenceName {
	var file []struct {
		Kind, Name, Column string
		Aliases            []string
	}
	if err := json.Unmarshal(schemas.Dictionary(), &file); err != nil {
		panic(err)
	}
	names := map[string]referenceName{}
	for _, p := range file {
		target := p.Column
		if p.Kind == "signal" {
			target = p.Name
		}
		if p.Kind == "param" {
			continue
		}
		names[strings.ToLower(p.Name)] = referenceName{target, p.Kind == "signal", true}
		for _, alias := range p.Aliases {
			names[strings.ToLower(alias)] = referenceName{target, p.Kind == "signal", false}
		}
	}
	return names
}()

type referenceName struct {
	target            string
	signal, canonical bool
}

// referencePair is one pair of a query.
type referencePair struct {
	name, value  string
	means        referenceName
	macro, typed bool
}

// referenceAnswer is what a query says. Columns have the text of the column.
type referenceAnswer struct {
	columns, signals map[string]string
	params           string
	lint             []string
}

var (
	referenceMacro  = regexp.MustCompile(`^(\$\{[\w:.-]+\}|%%[\w:.-]+%%|\[[\w:.-]+\]|\{[\w:.-]+\}|%e\w+!)$`)
	referencePrice  = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)
	referenceSize   = regexp.MustCompile(`^([0-9]+)x([0-9]+)$`)
	referencePixels = regexp.MustCompile(`^0*([0-9]{1,5}|100000)$`)
)

func referenceQuery(query string) referenceAnswer {
	a := referenceAnswer{columns: map[string]string{}, signals: map[string]string{}}
	fault := func(name string) {
		if !slices.Contains(a.lint, name) {
			a.lint = append(a.lint, name)
		}
	}
	separator := "&"
	if !strings.Contains(query, "&") {
		separator = ";"
	}
	var pairs []*referencePair
	winners := map[string]*referencePair{}
	wOrH := false
	for _, text := range strings.Split(query, separator) {
		if text == "" {
			continue
		}
		name, value, _ := strings.Cut(text, "=")
		p := &referencePair{name: referenceDecoded(name, fault), value: value, macro: referenceMacro.MatchString(value)}
		if !p.macro {
			p.value = referenceDecoded(value, fault)
			p.macro = referenceMacro.MatchString(p.value)
		}
		if p.macro {
			fault("unexpanded_macro")
		}
		pairs = append(pairs, p)
		p.means = referenceNames[asciiLower(p.name)]
		if p.means.target == "" || p.value == "" {
			continue
		}
		wOrH = wOrH || p.means.target == "width" || p.means.target == "height"
		if before := winners[p.means.target]; !p.macro && (before == nil || p.means.canonical && !before.means.canonical) {
			winners[p.means.target] = p
		}
	}
	for target, p := range winners {
		switch {
		case p.means.signal:
			a.signals[target] = p.value
			continue
		case target == "size" && wOrH:
			continue
		case target == "size":
			if m := referenceSize.FindStringSubmatch(p.value); m != nil && referencePixels.MatchString(m[1]) && referencePixels.MatchString(m[2]) {
				a.columns["width"], a.columns["height"] = m[1], m[2]
				p.typed = true
			}
		case target == "width", target == "height":
			if p.typed = referencePixels.MatchString(p.value); p.typed {
				a.columns[target] = p.value
			}
		case target == "price":
			var text string
			if text, p.typed = referenceNumeric(p.value); p.typed {
				a.columns[target] = text
			}
		case target == "event_type":
			a.columns[target], p.typed = strings.ToLower(p.value), true
		default:
			a.columns[target], p.typed = p.value, true
		}
		if !p.typed {
			fault("bad_number")
		}
	}
	if a.columns["cache_buster"] == "" {
		fault("no_cache_buster")
	}
	slices.Sort(a.lint)

	// Built by hand, for the order of the names and the escapes of JSON text.
	var names []string
	values := map[string][]string{}
	for _, p := range pairs {
		if p.typed {
			continue
		}
		if values[p.name] == nil {
			names = append(names, p.name)
		}
		values[p.name] = append(values[p.name], jsonText(p.value))
	}
	for i, name := range names {
		text := strings.Join(values[name], ",")
		if len(values[name]) > 1 {
			text = "[" + text + "]"
		}
		names[i] = jsonText(name) + ":" + text
	}
	a.params = "{" + strings.Join(names, ",") + "}"
	return a
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func jsonText(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err)
	}
	// encoding/json writes these two as escapes, for JavaScript's sake.
	return strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSuffix(b.String(), "\n"))
}

// referenceDecoded decodes a name or value of a form.
func referenceDecoded(s string, fault func(string)) string {
	var out []byte
	for len(s) > 0 {
		switch {
		case s[0] == '+':
			out = append(out, ' ')
		case s[0] != '%':
			out = append(out, s[0])
		case len(s) > 2 && referenceEscape.MatchString(s[:3]):
			b, err := hex.DecodeString(s[1:3])
			if err != nil {
				panic(err)
			}
			out = append(out, b...)
			s = s[2:]
		default:
			fault("bad_escape")
			out = append(out, '%')
		}
		s = s[1:]
	}
	if utf8.Valid(out) {
		return string(out)
	}
	fault("bad_utf8")
	return referenceUTF8(out)
}

// referenceUTF8 replaces each longest beginning of a character, or else each
// byte, by U+FFFD. It tries all characters' encodings that begin so.
func referenceUTF8(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			out.WriteRune(r)
			b = b[n:]
			continue
		}
		n := 1
		for n < 4 && n < len(b) && beginsCharacter(b[:n+1]) {
			n++
		}
		out.WriteRune(utf8.RuneError)
		b = b[n:]
	}
	return out.String()
}

// beginsCharacter tells whether some continuation bytes make b a character.
func beginsCharacter(b []byte) bool {
	for rest := 1; len(b)+rest <= utf8.UTFMax; rest++ {
		// The lowest and the highest continuation are enough to try.
		for _, c := range []byte{0x80, 0xBF} {
			if r, n := utf8.DecodeRune(append(slices.Clone(b), bytes.Repeat([]byte{c}, rest)...)); r != utf8.RuneError && n == len(b)+rest {
				return true
			}
		}
	}
	return false
}

// referenceNumeric is a price as BigQuery prints it.
func referenceNumeric(s string) (string, bool) {
	if !referencePrice.MatchString(s) {
		return "", false
	}
	r, _ := new(big.Rat).SetString(s)
	text := r.FloatString(9) // rounds half away from zero
	text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	if text == "-0" {
		text = "0"
	}
	integer, _, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	return text, len(integer) <= 29
}
