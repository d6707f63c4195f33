package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/useragent"
)

// idiomatic does it as most Go programs would: encoding/json, net/url and
// protobuf messages. It does no more than typical entries need.
type idiomatic struct {
	names  map[string]name
	fields map[string]protoreflect.FieldDescriptor
	agents *useragent.Cache

	// What the stages leave for the next.
	entry   logEntry
	url     *url.URL
	columns map[string]string
	signals map[string]string
	params  []byte
	lint    []string
}

func newIdiomatic(agents *useragent.Cache) *idiomatic {
	r := &idiomatic{names: readNames(), fields: map[string]protoreflect.FieldDescriptor{}, agents: agents}
	all := (*pb.Impression)(nil).ProtoReflect().Descriptor().Fields()
	for i := range all.Len() {
		r.fields[string(all.Get(i).Name())] = all.Get(i)
	}
	return r
}

func (r *idiomatic) json(data []byte) error {
	r.entry = logEntry{}
	if err := json.Unmarshal(data, &r.entry); err != nil {
		return err
	}
	return r.entry.times()
}

var macro = regexp.MustCompile(`^(\$\{[\w:.-]+\}|%%[\w:.-]+%%|\[[\w:.-]+\]|\{[\w:.-]+\}|%e\w+!)$`)

// isMacro spares nearly all values the regular expression.
func isMacro(v string) bool {
	return v != "" && strings.IndexByte("[{$%", v[0]) >= 0 && macro.MatchString(v)
}

func (r *idiomatic) query() error {
	var err error
	if r.url, err = url.Parse(r.entry.HTTPRequest.RequestURL); err != nil {
		return err
	}
	if r.url.Path != "/pixel.gif" && r.url.Path != "/pixel.png" && r.url.Path != "/p.gif" {
		return errors.New("not a pixel")
	}
	query := r.url.RawQuery
	if !strings.Contains(query, "&") { // as Campaign Manager 360 separates
		query = strings.ReplaceAll(query, ";", "&")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return err
	}
	r.columns, r.signals = map[string]string{}, map[string]string{}
	r.lint = nil
	canonical := map[string]bool{}
	params := map[string]any{}
	unexpanded := false
	for spelled, list := range values {
		n, known := r.names[strings.ToLower(spelled)]
		var rest []string
		for _, v := range list {
			isMacro := isMacro(v)
			unexpanded = unexpanded || isMacro
			switch {
			case !known || v == "" || isMacro:
				rest = append(rest, v)
			case n.signal:
				r.signals[n.target] = v
				rest = append(rest, v)
			case r.columns[n.target] != "" && (canonical[n.target] || !n.canonical):
				rest = append(rest, v)
			default:
				if n.target == "event_type" {
					v = strings.ToLower(v)
				}
				r.columns[n.target], canonical[n.target] = v, n.canonical
			}
		}
		switch len(rest) {
		case 0:
		case 1:
			params[spelled] = rest[0]
		default:
			params[spelled] = rest
		}
	}
	if size, ok := r.columns["size"]; ok {
		w, h, _ := strings.Cut(size, "x")
		r.columns["width"], r.columns["height"] = w, h
		delete(r.columns, "size")
	}
	if r.columns["cache_buster"] == "" {
		r.lint = append(r.lint, "no_cache_buster")
	}
	if unexpanded {
		r.lint = append(r.lint, "unexpanded_macro")
	}
	r.params, err = json.Marshal(params)
	return err
}

// row is the last stage. The result is a new slice.
func (r *idiomatic) row(dst []byte) ([]byte, error) {
	e := &r.entry
	q := &e.HTTPRequest
	row := &pb.Impression{
		InsertId: &e.InsertID, EventTime: &e.eventTime, ReceiveTime: &e.receiveTime,
		Params: proto.String(string(r.params)), Lint: r.lint,
		RequestHost: text(strings.ToLower(r.url.Hostname())), RequestPath: text(r.url.EscapedPath()), RequestMethod: text(q.RequestMethod),
		RequestSize: q.RequestSize, ResponseSize: q.ResponseSize, CacheHit: q.CacheHit, CacheLookup: q.CacheLookup,
		StatusDetails: text(e.JSONPayload.StatusDetails), UserAgent: text(q.UserAgent), UrlMap: text(e.Resource.Labels.URLMapName),
	}
	if q.Status != 0 {
		row.Status = &q.Status
	}
	if e.hasLatency {
		row.LatencyUs = &e.latency
	}
	m := row.ProtoReflect()
	for column, value := range r.columns {
		field := r.fields[column]
		if field.Kind() == protoreflect.StringKind {
			m.Set(field, protoreflect.ValueOfString(value))
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, err
		}
		m.Set(field, protoreflect.ValueOfInt64(n))
	}
	if row.Price != nil {
		price := normalPrice(*row.Price)
		row.Price = &price
	}
	if row.EventType == nil {
		row.EventType = proto.String("impression")
	}
	if row.ImpressionId == nil {
		row.ImpressionId = &e.InsertID
	}
	if row.PageUrl == nil {
		row.PageUrl = text(q.Referer)
	}
	row.PageHost, row.ReferrerHost = host(row.GetPageUrl()), host(row.GetReferrer())
	if edge, _, ok := strings.Cut(e.JSONPayload.CacheID, "-"); ok && len(edge) == 3 {
		row.Edge = text(strings.ToUpper(edge))
	}
	row.Ip = truncated(q.RemoteIP)
	row.Country = text(strings.ToUpper(e.JSONPayload.SecurityPolicyRequestData.RemoteIPInfo.RegionCode))
	client := r.agents.Lookup([]byte(q.UserAgent))
	row.Browser, row.BrowserVersion, row.Os, row.OsVersion = text(client.Browser), text(client.BrowserVersion), text(client.OS), text(client.OSVersion)
	row.DeviceType, row.DeviceBrand, row.DeviceModel = text(client.DeviceType), text(client.DeviceBrand), text(client.DeviceModel)
	if len(r.signals) > 0 {
		c := &pb.Consent{Gdpr: zeroOrOne(r.signals["gdpr"]), Coppa: zeroOrOne(r.signals["coppa"]), Gpc: zeroOrOne(r.signals["gpc"])}
		if r.signals["gdpr_consent"] != "" {
			c.TcString = proto.Bool(true)
		}
		if r.signals["gpp"] != "" {
			c.GppString = proto.Bool(true)
		}
		if s := r.signals["us_privacy"]; len(s) == 4 {
			c.UsPrivacy = &s
		}
		row.Consent = c
	}
	return proto.Marshal(row)
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func zeroOrOne(s string) *bool {
	if s != "0" && s != "1" {
		return nil
	}
	return proto.Bool(s == "1")
}

func host(page string) *string {
	u, err := url.Parse(page)
	if err != nil {
		return nil
	}
	return text(strings.ToLower(u.Hostname()))
}

func truncated(remoteIP string) *string {
	addr, err := netip.ParseAddr(remoteIP)
	if err != nil {
		withPort, err := netip.ParseAddrPort(remoteIP)
		if err != nil {
			return nil
		}
		addr = withPort.Addr()
	}
	bits := 48
	if addr = addr.Unmap(); addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return nil
	}
	return text(prefix.Addr().String())
}

// normalPrice is a price as BigQuery prints it, of one with few digits.
func normalPrice(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// name is what a parameter name means.
type name struct {
	target            string
	signal, canonical bool
}

func readNames() map[string]name {
	var file []struct {
		Kind, Name, Column string
		Aliases            []string
	}
	if err := json.Unmarshal(dictionary(), &file); err != nil {
		panic(fmt.Sprintf("the dictionary that all tests read: %v", err))
	}
	names := map[string]name{}
	for _, p := range file {
		if p.Kind == "param" {
			continue
		}
		n := name{target: p.Column, signal: p.Kind == "signal"}
		if n.signal {
			n.target = p.Name
		}
		for i, spelled := range slices.Insert(p.Aliases, 0, p.Name) {
			n.canonical = i == 0
			names[strings.ToLower(spelled)] = n
		}
	}
	return names
}
