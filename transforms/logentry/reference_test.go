package logentry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// reference decodes an entry slowly and plainly, with encoding/json, big numbers
// and package time. sure is false where the packages differ on purpose, so that
// times cannot be compared (see referenceTime).
func reference(data []byte) (e Entry, sure bool, err error) {
	if !json.Valid(data) || !utf8.Valid(data) {
		return Entry{}, true, errors.New("invalid")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	r := referenceReader{dec: dec, sure: true}
	if t := r.token(); t != json.Delim('{') {
		return Entry{}, true, fmt.Errorf("not an object: %v", t)
	}
	r.object(&r.e, "")
	return r.e, r.sure, nil
}

type referenceReader struct {
	dec  *json.Decoder
	e    Entry
	sure bool
}

func (r *referenceReader) token() json.Token {
	t, err := r.dec.Token()
	if err != nil && err != io.EOF {
		panic(err) // the document is valid
	}
	return t
}

// object reads members up to the closing brace, under a path prefix.
func (r *referenceReader) object(e *Entry, prefix string) {
	for r.dec.More() {
		path := prefix + r.token().(string)
		var raw json.RawMessage
		if err := r.dec.Decode(&raw); err != nil {
			panic(err)
		}
		r.member(e, path, raw)
	}
	r.token()
}

func (r *referenceReader) member(e *Entry, path string, raw json.RawMessage) {
	null := string(raw) == "null"
	fail := func(want string) {
		if null {
			return
		}
		err := &FieldError{Path: path, Want: want, Got: describe(raw)}
		if e.FieldError == nil {
			e.FieldError = err
		}
		if e.RequestError == nil && (path == "httpRequest" || path == "httpRequest.requestUrl") {
			e.RequestError = err
		}
	}
	text := func() (string, bool) {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			panic(err)
		}
		s, ok := v.(string)
		if !ok {
			fail("a string")
		}
		return s, ok
	}
	switch path {
	case "httpRequest", "jsonPayload", "resource", "resource.labels",
		"jsonPayload.securityPolicyRequestData", "jsonPayload.securityPolicyRequestData.remoteIpInfo":
		if raw[0] == '{' {
			sub := referenceReader{dec: json.NewDecoder(bytes.NewReader(raw)), sure: true}
			sub.token()
			sub.object(e, path+".")
			r.sure = r.sure && sub.sure
			return
		}
		fail("an object")
		if null {
			referenceClear(e, path)
		}
	case "timestamp", "receiveTimestamp", "httpRequest.latency":
		target := map[string]*OptInt64{"timestamp": &e.EventTime, "receiveTimestamp": &e.ReceiveTime,
			"httpRequest.latency": &e.LatencyMicros}[path]
		s, ok := text()
		switch {
		case null:
			*target = OptInt64{}
		case ok && path == "httpRequest.latency":
			*target = referenceDuration(s)
		case ok:
			v, sure := referenceTime(s)
			*target = v
			r.sure = r.sure && sure
		}
	case "jsonPayload.parentInsertId":
		if _, ok := text(); ok || null {
			e.CDNInternal = ok
		}
	case "httpRequest.status", "httpRequest.requestSize", "httpRequest.responseSize":
		target := map[string]*OptInt64{"httpRequest.status": &e.Status, "httpRequest.requestSize": &e.RequestSize,
			"httpRequest.responseSize": &e.ResponseSize}[path]
		if null {
			*target = OptInt64{}
			return
		}
		if v, ok := referenceInteger(raw); ok {
			*target = OptInt64{v, true}
			return
		}
		fail("an integer")
	case "httpRequest.cacheHit", "httpRequest.cacheLookup":
		target := map[string]*OptBool{"httpRequest.cacheHit": &e.CacheHit, "httpRequest.cacheLookup": &e.CacheLookup}[path]
		switch string(raw) {
		case "true", "false":
			*target = OptBool{string(raw) == "true", true}
		case "null":
			*target = OptBool{}
		default:
			fail("true or false")
		}
	default:
		target, known := map[string]*[]byte{
			"insertId":                  &e.InsertID,
			"jsonPayload.cacheId":       &e.CacheID,
			"jsonPayload.statusDetails": &e.StatusDetails,
			"jsonPayload.remoteIp":      &e.PayloadRemoteIP,
			"jsonPayload.securityPolicyRequestData.remoteIpInfo.regionCode": &e.RegionCode,
			"resource.labels.url_map_name":                                  &e.URLMap,
			"httpRequest.requestMethod":                                     &e.Method,
			"httpRequest.requestUrl":                                        &e.URL,
			"httpRequest.userAgent":                                         &e.UserAgent,
			"httpRequest.referer":                                           &e.Referer,
			"httpRequest.remoteIp":                                          &e.RemoteIP,
		}[path]
		if !known {
			return
		}
		if s, ok := text(); ok || null {
			*target = nil
			if s != "" {
				*target = []byte(s)
			}
		}
	}
}

// referenceClear makes an object absent: everything in it gets a null.
func referenceClear(e *Entry, path string) {
	errs := [2]*FieldError{e.FieldError, e.RequestError}
	r := referenceReader{}
	for _, s := range specs {
		if strings.HasPrefix(s.path, path+".") && s.kind != kindObject {
			r.member(e, s.path, json.RawMessage("null"))
		}
	}
	e.FieldError, e.RequestError = errs[0], errs[1]
}

// referenceInteger reads an integer exactly, as a fraction of big integers.
func referenceInteger(raw []byte) (int64, bool) {
	text := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			panic(err)
		}
		if !regexp.MustCompile(`^-?[0-9]+$`).MatchString(text) {
			return 0, false
		}
	} else if raw[0] != '-' && !isDigit(raw[0]) {
		return 0, false
	}
	// big.Rat would spend gigabytes on 1e1000000000.
	if m := regexp.MustCompile(`[eE][+-]?0*([1-9][0-9]{3,})$`).FindString(text); m != "" {
		return 0, !strings.ContainsAny(text[:len(text)-len(m)], "123456789")
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok || !v.IsInt() || !v.Num().IsInt64() {
		return 0, false
	}
	return v.Num().Int64(), true
}

var timeFormat = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-](\d\d):(\d\d))$`)

// referenceTime reads a time with package time, which takes some forms that RFC
// 3339 has not, and does not take leap seconds: of those it is not sure.
func referenceTime(s string) (v OptInt64, sure bool) {
	m := timeFormat.FindStringSubmatch(s)
	if m == nil || m[3] > "23" || m[4] > "59" {
		return OptInt64{}, true
	}
	if s[17:19] == "60" {
		return OptInt64{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s))
	if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return OptInt64{}, true
	}
	return OptInt64{t.UnixMicro(), true}, true
}

var durationFormat = regexp.MustCompile(`^-?[0-9]+(\.[0-9]{1,9})?s$`)

func referenceDuration(s string) OptInt64 {
	if !durationFormat.MatchString(s) {
		return OptInt64{}
	}
	seconds, _ := new(big.Rat).SetString(strings.TrimSuffix(s, "s"))
	micros := new(big.Rat).Mul(seconds, big.NewRat(1e6, 1))
	limit := big.NewRat(315_576_000_000, 1)
	if new(big.Rat).Abs(seconds).Cmp(limit) > 0 && new(big.Int).Quo(micros.Num(), micros.Denom()).CmpAbs(
		big.NewInt(315_576_000_000_000_000)) > 0 {
		return OptInt64{}
	}
	// Quo truncates towards zero.
	return OptInt64{new(big.Int).Quo(micros.Num(), micros.Denom()).Int64(), true}
}
