package logentry

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// full uses every field that an Entry knows.
const full = `{
	"insertId": "id1", "timestamp": "2024-05-01T17:27:08.073884Z",
	"receiveTimestamp": "2024-05-01T17:27:11.021058278Z",
	"jsonPayload": {
		"@type": "type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry",
		"cacheId": "SIN-7c9ff679", "statusDetails": "response_from_cache", "remoteIp": "203.0.113.94",
		"cacheDecision": ["A", "B", {"c": [1, 2.5e-3, true, false, null]}],
		"parentInsertId": "id0",
		"securityPolicyRequestData": {"remoteIpInfo": {"regionCode": "BE", "asn": 64496}}
	},
	"httpRequest": {
		"requestMethod": "GET", "requestUrl": "http://192.0.2.59/cdn.png", "userAgent": "curl/7.81.0",
		"referer": "https://example.com/", "remoteIp": "203.0.113.93", "status": 200,
		"requestSize": "84", "responseSize": "308313", "latency": "1.332074s",
		"cacheHit": true, "cacheLookup": false
	},
	"resource": {"type": "http_load_balancer", "labels": {"zone": "global", "url_map_name": "cdn-lb"}}
}`

func fullEntry() Entry {
	return Entry{
		InsertID:        []byte("id1"),
		EventTime:       OptInt64{1714584428_073884, true},
		ReceiveTime:     OptInt64{1714584431_021058, true},
		CDNInternal:     true,
		CacheID:         []byte("SIN-7c9ff679"),
		StatusDetails:   []byte("response_from_cache"),
		PayloadRemoteIP: []byte("203.0.113.94"),
		RegionCode:      []byte("BE"),
		URLMap:          []byte("cdn-lb"),
		Method:          []byte("GET"),
		URL:             []byte("http://192.0.2.59/cdn.png"),
		UserAgent:       []byte("curl/7.81.0"),
		Referer:         []byte("https://example.com/"),
		RemoteIP:        []byte("203.0.113.93"),
		Status:          OptInt64{200, true},
		RequestSize:     OptInt64{84, true},
		ResponseSize:    OptInt64{308313, true},
		LatencyMicros:   OptInt64{1332074, true},
		CacheHit:        OptBool{true, true},
		CacheLookup:     OptBool{false, true},
	}
}

// distractor leaves as much behind in a reused Decoder and Entry as can be.
const distractor = `{"insertId":"\u0058\u0058\u0058","jsonPayload":{"parentInsertId":"p","cacheId":"\u0058\u0058",` +
	`"statusDetails":7,"remoteIp":"x","securityPolicyRequestData":{"remoteIpInfo":{"regionCode":"XX"}}},` +
	`"httpRequest":{"requestUrl":7,"requestMethod":"XX","userAgent":"\u0058","referer":"XX","status":999,` +
	`"requestSize":999,"responseSize":999,"latency":"9s","cacheHit":true,"cacheLookup":true},` +
	`"timestamp":"1999-09-09T09:09:09Z","receiveTimestamp":"1999-09-09T09:09:09Z","x":[[[{}]]],` +
	`"resource":{"labels":{"url_map_name":"XX"}}}`

// decodeTwice decodes on used objects, twice with other work between, and checks
// that both runs agree and that the input stays as it was.
func decodeTwice(t *testing.T, data []byte) (Entry, error) {
	t.Helper()
	var d Decoder
	var e Entry
	decode := func() (Entry, error) {
		before := bytes.Clone(data)
		err := d.Decode(data, &e)
		if !bytes.Equal(before, data) {
			t.Fatalf("Decode changed its input")
		}
		return clone(e), err
	}
	first, err1 := decode()
	if err := d.Decode([]byte(distractor), &e); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode([]byte(`{"a":[{"b":[`), &e); err == nil {
		t.Fatal("broken distractor was accepted")
	}
	second, err2 := decode()
	if fmt.Sprint(err1) != fmt.Sprint(err2) {
		t.Fatalf("first error %v, second %v", err1, err2)
	}
	if err1 == nil {
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("second decode differs (-first +second):\n%s", diff)
		}
	}
	return first, err1
}

// clone copies what an Entry borrows.
func clone(e Entry) Entry {
	for _, b := range []*[]byte{&e.InsertID, &e.CacheID, &e.StatusDetails, &e.PayloadRemoteIP, &e.RegionCode,
		&e.URLMap, &e.Method, &e.URL, &e.UserAgent, &e.Referer, &e.RemoteIP} {
		*b = bytes.Clone(*b)
	}
	return e
}

func TestDecodeFull(t *testing.T) {
	compact := strings.NewReplacer("\n", "", "\t", "", "\": ", "\":", ", \"", ",\"").Replace(full)
	// Every string of the entry, names too, written in \u escapes.
	var escaped strings.Builder
	in := false
	for _, r := range full {
		if r == '"' {
			in = !in
		} else if in {
			fmt.Fprintf(&escaped, `\u%04X`, r)
			continue
		}
		escaped.WriteRune(r)
	}
	for name, data := range map[string]string{
		"indented":    full,
		"compact":     compact,
		"escaped":     escaped.String(),
		"white space": " \t\r\n" + strings.ReplaceAll(full, ":", " \n: \t") + " \r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if name == "white space" {
				data = strings.NewReplacer(" \n: \t", ":").Replace(data)
				data = strings.ReplaceAll(data, `":`, "\" \n:\t\r ")
				data = strings.ReplaceAll(data, `,`+"\n", " \n,\t\r \n")
			}
			got, err := decodeTwice(t, []byte(data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(fullEntry(), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeFields(t *testing.T) {
	fieldErr := func(path, want, got string) *FieldError { return &FieldError{path, want, got} }
	urlErr := fieldErr("httpRequest.requestUrl", "a string", "number 7")
	for _, tt := range []struct {
		name string
		data string
		want Entry
	}{
		{"empty object", `{}`, Entry{}},
		{"unknown fields", `{"a":{"insertId":"x"},"b":["insertId"],"InsertId":"x","insertid":"x"}`, Entry{}},
		{"null is absent", `{"insertId":null,"timestamp":null,"httpRequest":null,"jsonPayload":{"parentInsertId":null},"resource":{"labels":null}}`, Entry{}},
		{"empty text is absent", `{"insertId":"","jsonPayload":{"cacheId":""},"httpRequest":{"requestUrl":"","referer":""}}`, Entry{}},
		{"parentInsertId is present even if empty", `{"jsonPayload":{"parentInsertId":""}}`, Entry{CDNInternal: true}},
		{"last one wins", `{"insertId":"a","insertId":"b"}`, Entry{InsertID: []byte("b")}},
		{"null after a value", `{"insertId":"a","insertId":null}`, Entry{}},
		{"objects merge", `{"httpRequest":{"status":1,"referer":"a"},"httpRequest":{"referer":"b","requestMethod":"GET"}}`,
			Entry{Status: OptInt64{1, true}, Referer: []byte("b"), Method: []byte("GET")}},
		{"null ends an object's fields",
			`{"httpRequest":{"status":1,"cacheHit":true,"referer":"a","latency":"1s"},"insertId":"i","httpRequest":null}`,
			Entry{InsertID: []byte("i")}},
		{"null ends nested fields",
			`{"jsonPayload":{"cacheId":"c","parentInsertId":"p","securityPolicyRequestData":{"remoteIpInfo":{"regionCode":"BE"}}},"jsonPayload":null}`,
			Entry{}},
		{"escaped name", `{"\u0069nsert\u0049d":"a\/b"}`, Entry{InsertID: []byte("a/b")}},
		{"all escapes", `{"insertId":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00"}`, Entry{InsertID: []byte("\"\\/\b\f\n\r\tAé€😀")}},
		{"escaped ampersand", `{"httpRequest":{"requestUrl":"http://h/p?a=1\u0026b=2"}}`, Entry{URL: []byte("http://h/p?a=1&b=2")}},
		{"unpaired surrogates", `{"insertId":"\ud800|\udc00|\ud800\u0041|\ud800\ud83d\ude00"}`, Entry{InsertID: []byte("\uFFFD|\uFFFD|\uFFFDA|\uFFFD😀")}},
		{"NUL", `{"insertId":"a\u0000b"}`, Entry{InsertID: []byte("a\x00b")}},
		{"raw UTF-8", `{"insertId":"é€😀\u007f` + "\x7f\uFFFD" + `"}`, Entry{InsertID: []byte("é€😀\x7f\x7f\uFFFD")}},

		{"integers as strings", `{"httpRequest":{"status":"200","requestSize":"-1","responseSize":"007"}}`,
			Entry{Status: OptInt64{200, true}, RequestSize: OptInt64{-1, true}, ResponseSize: OptInt64{7, true}}},
		{"integers as numbers", `{"httpRequest":{"status":200.0,"requestSize":2e2,"responseSize":-9223372036854775808}}`,
			Entry{Status: OptInt64{200, true}, RequestSize: OptInt64{200, true}, ResponseSize: OptInt64{-1 << 63, true}}},
		{"zero is a value", `{"httpRequest":{"status":0}}`, Entry{Status: OptInt64{0, true}}},
		{"latency that is none", `{"httpRequest":{"latency":"fast"}}`, Entry{}},
		{"timestamp that is none", `{"timestamp":"yesterday","receiveTimestamp":""}`, Entry{}},
		{"timestamp that is none after one", `{"timestamp":"2024-05-01T17:27:08Z","timestamp":"?"}`, Entry{}},

		{"status not a number", `{"httpRequest":{"status":"abc","requestMethod":"GET"}}`,
			Entry{Method: []byte("GET"), FieldError: fieldErr("httpRequest.status", "an integer", `string "abc"`)}},
		{"status empty", `{"httpRequest":{"status":""}}`,
			Entry{FieldError: fieldErr("httpRequest.status", "an integer", `string ""`)}},
		{"status with fraction", `{"httpRequest":{"status":200.5}}`,
			Entry{FieldError: fieldErr("httpRequest.status", "an integer", `number 200.5`)}},
		{"status too big", `{"httpRequest":{"status":9223372036854775808}}`,
			Entry{FieldError: fieldErr("httpRequest.status", "an integer", `number 9223372036854775808`)}},
		{"status a bool", `{"httpRequest":{"status":true}}`,
			Entry{FieldError: fieldErr("httpRequest.status", "an integer", `true`)}},
		{"status an array", `{"httpRequest":{"status":[200]}}`,
			Entry{FieldError: fieldErr("httpRequest.status", "an integer", `an array`)}},
		{"cacheHit a string", `{"httpRequest":{"cacheHit":"true"}}`,
			Entry{FieldError: fieldErr("httpRequest.cacheHit", "true or false", `string "true"`)}},
		{"insertId a number", `{"insertId":1}`, Entry{FieldError: fieldErr("insertId", "a string", "number 1")}},
		{"timestamp a number", `{"timestamp":1}`, Entry{FieldError: fieldErr("timestamp", "a string", "number 1")}},
		{"latency an object", `{"httpRequest":{"latency":{"seconds":1}}}`,
			Entry{FieldError: fieldErr("httpRequest.latency", "a string", "an object")}},
		{"parentInsertId a number", `{"jsonPayload":{"parentInsertId":1}}`,
			Entry{FieldError: fieldErr("jsonPayload.parentInsertId", "a string", "number 1")}},
		{"labels a string", `{"resource":{"labels":"x"}}`,
			Entry{FieldError: fieldErr("resource.labels", "an object", `string "x"`)}},
		{"deep field", `{"jsonPayload":{"securityPolicyRequestData":{"remoteIpInfo":{"regionCode":["BE"]}}}}`,
			Entry{FieldError: fieldErr("jsonPayload.securityPolicyRequestData.remoteIpInfo.regionCode", "a string", "an array")}},
		{"httpRequest a string", `{"httpRequest":"x"}`,
			Entry{FieldError: fieldErr("httpRequest", "an object", `string "x"`), RequestError: fieldErr("httpRequest", "an object", `string "x"`)}},
		{"requestUrl a number", `{"httpRequest":{"requestUrl":7}}`, Entry{FieldError: urlErr, RequestError: urlErr}},
		{"an earlier error", `{"insertId":{},"httpRequest":{"status":{},"requestUrl":7}}`,
			Entry{FieldError: fieldErr("insertId", "a string", "an object"), RequestError: urlErr}},
		{"a later error", `{"httpRequest":{"requestUrl":7,"status":{}},"insertId":{}}`, Entry{FieldError: urlErr, RequestError: urlErr}},
		{"value before an error", `{"insertId":"a","insertId":5}`,
			Entry{InsertID: []byte("a"), FieldError: fieldErr("insertId", "a string", "number 5")}},
		{"long wrong values are cut", `{"httpRequest":{"status":"` + strings.Repeat("é", 60) + `"}}`,
			Entry{FieldError: fieldErr("httpRequest.status", "an integer", `string "`+strings.Repeat(`\u00e9`, 23)+`\xc3"...`)}},
		{"long numbers are cut", `{"httpRequest":{"status":` + strings.Repeat("9", 60) + `}}`,
			Entry{FieldError: fieldErr("httpRequest.status", "an integer", `number `+strings.Repeat("9", 48)+`...`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeTwice(t, []byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	objects := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	large := func(size int) string {
		const frame = `{"insertId":"i","x":""}`
		return `{"insertId":"i","x":"` + strings.Repeat("x", size-len(frame)) + `"}`
	}
	for _, tt := range []struct {
		name   string
		data   string
		reason Reason // "" if the entry is sound
		offset int
	}{
		{"empty", ``, ReasonInvalidJSON, 0},
		{"white space", " \n", ReasonInvalidJSON, 2},
		{"array", `[]`, ReasonInvalidJSON, 0},
		{"string", `"x"`, ReasonInvalidJSON, 0},
		{"null", `null`, ReasonInvalidJSON, 0},
		{"byte order mark", "\uFEFF{}", ReasonInvalidJSON, 0},
		{"no end", `{`, ReasonInvalidJSON, 1},
		{"no colon", `{"a" 1}`, ReasonInvalidJSON, 5},
		{"no value", `{"a":}`, ReasonInvalidJSON, 5},
		{"no value of a known field", `{"insertId":}`, ReasonInvalidJSON, 12},
		{"end before a known value", `{"insertId":`, ReasonInvalidJSON, 12},
		{"end after a name", `{"insertId"`, ReasonInvalidJSON, 11},
		{"no comma", `{"a":1 "b":2}`, ReasonInvalidJSON, 7},
		{"comma at the end", `{"a":1,}`, ReasonInvalidJSON, 7},
		{"comma at the end of an array", `{"a":[1,]}`, ReasonInvalidJSON, 8},
		{"comma at the end of a nested object", `{"a":{"b":1,}}`, ReasonInvalidJSON, 12},
		{"only a comma", `{,}`, ReasonInvalidJSON, 1},
		{"wrong bracket", `{"a":[1}}`, ReasonInvalidJSON, 7},
		{"wrong brace", `{"a":{"b":1]}`, ReasonInvalidJSON, 11},
		{"unquoted name", `{a:1}`, ReasonInvalidJSON, 1},
		{"single quotes", `{'a':1}`, ReasonInvalidJSON, 1},
		{"second document", `{} {}`, ReasonInvalidJSON, 3},
		{"garbage after", `{}x`, ReasonInvalidJSON, 2},
		{"NUL after", "{}\x00", ReasonInvalidJSON, 2},
		{"other white space", "{\v}", ReasonInvalidJSON, 1},
		{"comment", `{/**/}`, ReasonInvalidJSON, 1},
		{"string without end", `{"a":"b`, ReasonInvalidJSON, 7},
		{"string ends in a backslash", `{"a":"b\`, ReasonInvalidJSON, 7},
		{"unknown escape", `{"a":"\x41"}`, ReasonInvalidJSON, 6},
		{"short escape", `{"a":"\u12"}`, ReasonInvalidJSON, 6},
		{"bad hex digit", `{"a":"\u12g4"}`, ReasonInvalidJSON, 6},
		{"escape in a known field", `{"insertId":"\q"}`, ReasonInvalidJSON, 13},
		{"escape in a name", `{"\q":1}`, ReasonInvalidJSON, 2},
		{"escape in a skipped name", `{"a":{"\q":1}}`, ReasonInvalidJSON, 7},
		{"raw newline", "{\"a\":\"b\nc\"}", ReasonInvalidJSON, 7},
		{"raw tab deep in a string", "{\"a\":\"0123456789\t\"}", ReasonInvalidJSON, 16},
		{"Latin-1", "{\"a\":\"caf\xe9\"}", ReasonInvalidJSON, 9},
		{"Latin-1 in a name", "{\"caf\xe9\":1}", ReasonInvalidJSON, 5},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", ReasonInvalidJSON, 6},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", ReasonInvalidJSON, 6},
		{"UTF-8 cut off", "{\"a\":\"\xe2\x82\"}", ReasonInvalidJSON, 6},
		{"beyond Unicode", "{\"a\":\"\xf4\x90\x80\x80\"}", ReasonInvalidJSON, 6},
		{"UTF-8 outside strings", "{\u00a0}", ReasonInvalidJSON, 1},
		{"leading zero", `{"a":01}`, ReasonInvalidJSON, 6},
		{"plus", `{"a":+1}`, ReasonInvalidJSON, 5},
		{"only a minus", `{"a":-}`, ReasonInvalidJSON, 6},
		{"no digit after the point", `{"a":1.}`, ReasonInvalidJSON, 7},
		{"no digit before the point", `{"a":.5}`, ReasonInvalidJSON, 5},
		{"no digit in the exponent", `{"a":1e+}`, ReasonInvalidJSON, 8},
		{"hexadecimal", `{"a":0x1}`, ReasonInvalidJSON, 6},
		{"NaN", `{"a":NaN}`, ReasonInvalidJSON, 5},
		{"cut literal", `{"a":tru}`, ReasonInvalidJSON, 5},
		{"cut null of a known field", `{"insertId":nul}`, ReasonInvalidJSON, 12},
		{"long literal", `{"a":truee}`, ReasonInvalidJSON, 9},
		{"broken behind a wrong type", `{"insertId":[1,}`, ReasonInvalidJSON, 15},

		{"deep enough", `{"a":` + nested(maxDepth-1) + `}`, "", 0},
		{"too deep", `{"a":` + nested(maxDepth) + `}`, ReasonInvalidJSON, 5 + maxDepth - 1},
		{"deep objects", `{"a":` + objects(maxDepth-1) + `}`, "", 0},
		{"too deep objects", `{"a":` + objects(maxDepth) + `}`, ReasonInvalidJSON, 5 * maxDepth},
		{"too deep in a known field", `{"httpRequest":{"status":` + nested(maxDepth-1) + `}}`, ReasonInvalidJSON, 25 + maxDepth - 2},
		{"100,000 brackets", `{"a":` + strings.Repeat("[", 100_000), ReasonInvalidJSON, 5 + maxDepth - 1},

		{"as large as can be", large(MaxSize), "", 0},
		{"too large", large(MaxSize + 1), ReasonTooLarge, MaxSize},
		{"too large by white space", `{}` + strings.Repeat(" ", MaxSize), ReasonTooLarge, MaxSize},
		{"too large and broken", large(MaxSize+1) + "}", ReasonInvalidJSON, MaxSize + 1},
		{"too large and no object", `"` + strings.Repeat("x", MaxSize) + `"`, ReasonInvalidJSON, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decodeTwice(t, []byte(tt.data))
			if tt.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var de *DecodeError
			if !errors.As(err, &de) {
				t.Fatalf("error is %v, want a *DecodeError", err)
			}
			if de.Reason != tt.reason || de.Offset != tt.offset {
				t.Errorf("got %s at %d (%v), want %s at %d", de.Reason, de.Offset, de, tt.reason, tt.offset)
			}
			if strings.ContainsFunc(de.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("message %q is not one line of printable ASCII", de.Error())
			}
		})
	}
}

// TestDecodeErrorMessages pins what people read in rejected_entries.
func TestDecodeErrorMessages(t *testing.T) {
	for data, want := range map[string]string{
		`{"a":1,}`:           `found '}' instead of a member name at byte 7`,
		`{`:                  `found the end of the input instead of a member name at byte 1`,
		"{\"a\":\x01}":       `found byte 0x01 instead of a value at byte 5`,
		"{\"a\":\"\xff\"}":   `invalid UTF-8 in a string at byte 6`,
		"{\"a\":\"\x02\"}":   `control character 0x02 in a string at byte 6`,
		`{"a":"b`:            `string without an end at byte 7`,
		`{"a":"\q"}`:         `unknown or unfinished escape in a string at byte 6`,
		`{"a":[1 2]}`:        `found '2' instead of a comma or the end of an array at byte 8`,
		`[]`:                 `found '[' instead of an object at byte 0`,
		`{} 1`:               `found '1' instead of nothing after the object at byte 3`,
		`{"httpRequest":{]}`: `found ']' instead of a member name at byte 16`,
	} {
		if _, err := decodeTwice(t, []byte(data)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", data, err, want)
		}
	}
}

func TestFieldErrorMessage(t *testing.T) {
	e, err := decodeTwice(t, []byte(`{"httpRequest":{"status":"abc"}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `httpRequest.status: want an integer, got string "abc"`
	if got := e.FieldError.Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestDecodePrefixes cuts an entry everywhere: no part of it is an entry.
func TestDecodePrefixes(t *testing.T) {
	var d Decoder
	var e Entry
	for i := range len(full) {
		if err := d.Decode([]byte(full[:i]), &e); err == nil {
			t.Errorf("the first %d bytes were accepted", i)
		}
	}
}

// TestDecodeBorrows checks the lifetime that Entry promises: text without
// escapes is the input itself, and no append can reach beyond it.
func TestDecodeBorrows(t *testing.T) {
	data := []byte(`{"insertId":"abc","httpRequest":{"referer":"d\u0065f","userAgent":"\u0067hi"}}`)
	var d Decoder
	var e Entry
	if err := d.Decode(data, &e); err != nil {
		t.Fatal(err)
	}
	if &e.InsertID[0] != &data[13] {
		t.Error("text without escapes was copied")
	}
	_ = append(e.InsertID, 'X')
	_ = append(e.Referer, 'X')
	if string(data[13:17]) != `abc"` || string(e.UserAgent) != "ghi" {
		t.Error("append to a field overwrote its neighbour")
	}
}

// TestSamples reads real entries, as a load balancer wrote them.
func TestSamples(t *testing.T) {
	lines := samples(t)
	if len(lines) != 12 {
		t.Fatalf("testdata holds %d entries, want 12", len(lines))
	}
	for i, line := range lines {
		got, err := decodeTwice(t, line)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		want, _, err := reference(line)
		if err != nil {
			t.Fatalf("line %d: reference: %v", i+1, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("line %d (-reference +got):\n%s", i+1, diff)
		}
		for name, set := range map[string]bool{
			"insertId": got.InsertID != nil, "timestamp": got.EventTime.Set, "receiveTimestamp": got.ReceiveTime.Set,
			"requestMethod": got.Method != nil, "requestUrl": got.URL != nil, "userAgent": got.UserAgent != nil,
			"remoteIp": got.RemoteIP != nil, "status": got.Status.Set, "requestSize": got.RequestSize.Set,
			"responseSize": got.ResponseSize.Set, "url_map_name": got.URLMap != nil, "no field error": got.FieldError == nil,
			"no parentInsertId": !got.CDNInternal,
		} {
			if !set {
				t.Errorf("line %d: %s is missing", i+1, name)
			}
		}
	}
}

func samples(tb testing.TB) [][]byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/lb-log-samples.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(b), []byte("\n"))
}
