package traffic

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// busy has more of everything odd, so that few entries show all of it.
func busy() Options {
	o := DefaultOptions()
	o.Users, o.Pages, o.Agents = 2_000, 300, 400
	o.BrokenShare, o.TooLargeShare = 0.03, 0.0005
	o.NotPixelShare, o.InternalShare, o.MethodShare, o.ErrorShare = 0.02, 0.02, 0.01, 0.02
	o.AttributeTimeShare, o.RegionalShare = 0.01, 0.03
	return o
}

// TestSameOnEveryPlatform holds the generator to its bytes: a change here means
// that recorded expectations elsewhere change too.
func TestSameOnEveryPlatform(t *testing.T) {
	tests := []struct {
		name string
		opts Options
		want string
	}{
		{"default", DefaultOptions(), "b50d39db3253910170ee92ed00ec204f075a3a222614f88f078c79f8ef5d374f"},
		{"busy", busy(), "e8e9e1e6d37bda21cfbb21c4352a6f994b0c98f6045286c954341b2153cb1be5"},
		{"plain", Options{}, "579ac4b1abe113ad86f73867132eed65d25e1c8776ee0de157fad35f062c56fe"},
		{"seed 2", Options{Seed: 2}, "be54cf6bb0bb8ae1e38272db7199c13df7c4673834cc623a6558462f22c6f2a6"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 2 {
				g, sum := New(test.opts), sha256.New()
				var e Entry
				for range 20_000 {
					g.Next(&e)
					sum.Write(e.Data)
					fmt.Fprintln(sum, e.Timestamp, e.EventTime.UnixNano(), e.Kind, e.Reason, e.Duplicate)
				}
				if got := hex.EncodeToString(sum.Sum(nil)); got != test.want {
					t.Fatalf("hash of 20,000 entries = %s, want %s", got, test.want)
				}
			}
		})
	}
}

// logEntry is what the reference reader needs of an entry.
type logEntry struct {
	InsertID         string `json:"insertId"`
	Timestamp        string `json:"timestamp"`
	ReceiveTimestamp string `json:"receiveTimestamp"`
	HTTPRequest      *struct {
		RequestMethod string `json:"requestMethod"`
		RequestURL    string `json:"requestUrl"`
		Status        int    `json:"status"`
		UserAgent     string `json:"userAgent"`
		RemoteIP      string `json:"remoteIp"`
		Referer       string `json:"referer"`
		CacheHit      bool   `json:"cacheHit"`
		RequestSize   string `json:"requestSize"`
		ResponseSize  string `json:"responseSize"`
		Latency       string `json:"latency"`
	} `json:"httpRequest"`
	JSONPayload struct {
		Type           string   `json:"@type"`
		ParentInsertID string   `json:"parentInsertId"`
		CacheID        string   `json:"cacheId"`
		CacheDecision  []string `json:"cacheDecision"`
		RemoteIP       string   `json:"remoteIp"`
	} `json:"jsonPayload"`
	Resource struct {
		Type   string            `json:"type"`
		Labels map[string]string `json:"labels"`
	} `json:"resource"`
}

// classify decides as docs of the pipeline say, with the standard library and
// without any knowledge of how entries are made.
func classify(data []byte, attribute string) (Kind, string, *logEntry) {
	if len(data) > 256<<10 {
		return Rejected, ReasonTooLarge, nil
	}
	if !json.Valid(data) || !utf8.Valid(data) {
		return Rejected, ReasonInvalidJSON, nil
	}
	var l logEntry
	err := json.Unmarshal(data, &l)
	if l.HTTPRequest == nil || l.HTTPRequest.RequestURL == "" {
		return Rejected, ReasonNotARequest, nil
	}
	scheme, rest, _ := strings.Cut(l.HTTPRequest.RequestURL, "://")
	authority, _, _ := strings.Cut(rest, "?")
	host, path, _ := strings.Cut(authority, "/")
	if (scheme != "http" && scheme != "https") || host == "" {
		return Rejected, ReasonInvalidURL, nil
	}
	if err != nil {
		return Rejected, ReasonInvalidField, nil
	}
	if l.Timestamp == "" && attribute == "" && l.ReceiveTimestamp == "" {
		return Rejected, ReasonNoTimestamp, nil
	}
	if l.InsertID == "" {
		return Rejected, ReasonNoInsertID, nil
	}
	if l.JSONPayload.ParentInsertID != "" || l.HTTPRequest.UserAgent == "Cloud-CDN-Google" {
		return Ignored, ReasonCDNInternal, &l
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || !slices.Contains([]string{"pixel.gif", "pixel.png", "p.gif"}, decoded) {
		return Ignored, ReasonNotAPixel, &l
	}
	if m := l.HTTPRequest.RequestMethod; m != "GET" && m != "HEAD" {
		return Ignored, ReasonMethod, &l
	}
	if l.HTTPRequest.Status >= 400 {
		return Ignored, ReasonErrorStatus, &l
	}
	return Impression, "", &l
}

func TestEntriesAreWhatTheySay(t *testing.T) {
	const n = 30_000
	g := New(busy())
	want := Totals{Ignored: map[string]int64{}, Rejected: map[string]int64{}}
	seen := map[string]bool{}   // identity of impressions
	copies := map[string]bool{} // of all bytes
	var e Entry
	for i := range n {
		g.Next(&e)
		kind, reason, l := classify(e.Data, e.Timestamp)
		if kind != e.Kind || reason != e.Reason {
			t.Fatalf("entry %d says %v %q, is %v %q: %.3000q", i, e.Kind, e.Reason, kind, reason, e.Data)
		}
		if bytes.IndexByte(e.Data, '\n') >= 0 {
			t.Fatalf("entry %d holds a newline: %q", i, e.Data)
		}
		// Two truncated entries can be the same without one being a copy.
		if copied := copies[string(e.Data)]; copied != e.Duplicate && reason != ReasonInvalidJSON {
			t.Fatalf("entry %d says duplicate=%v, is %v: %q", i, e.Duplicate, copied, e.Data)
		}
		copies[string(e.Data)] = true
		want.Entries++
		switch kind {
		case Ignored:
			want.Ignored[reason]++
		case Rejected:
			want.Rejected[reason]++
		case Impression:
			id := l.InsertID + "@" + e.EventTime.String()
			if seen[id] {
				want.DuplicateImpressions++
			} else {
				want.Impressions++
			}
			seen[id] = true
		}
		if (e.Timestamp == "") != (reason == ReasonNoTimestamp) {
			t.Fatalf("entry %d (%s) has the attribute %q", i, reason, e.Timestamp)
		}
		if e.Timestamp != "" {
			if at, err := time.Parse(time.RFC3339Nano, e.Timestamp); err != nil || !at.Equal(e.EventTime) {
				t.Fatalf("entry %d: attribute %q, EventTime %v: %v", i, e.Timestamp, e.EventTime, err)
			}
		}
		if l != nil {
			checkShape(t, l, &e)
		}
	}
	if diff := cmp.Diff(want, g.Totals()); diff != "" {
		t.Errorf("Totals (-counted here +generator):\n%s", diff)
	}
	for _, reason := range []string{ReasonCDNInternal, ReasonNotAPixel, ReasonMethod, ReasonErrorStatus} {
		if want.Ignored[reason] == 0 {
			t.Errorf("no entry was ignored as %s", reason)
		}
	}
	for _, reason := range []string{ReasonInvalidJSON, ReasonTooLarge, ReasonNotARequest, ReasonInvalidURL, ReasonInvalidField, ReasonNoTimestamp, ReasonNoInsertID} {
		if want.Rejected[reason] == 0 {
			t.Errorf("no entry was rejected as %s", reason)
		}
	}
}

// checkShape checks what holds of every readable entry.
func checkShape(t *testing.T, l *logEntry, e *Entry) {
	t.Helper()
	if l.Timestamp != "" && l.Timestamp != e.Timestamp {
		t.Errorf("timestamp %q, attribute %q", l.Timestamp, e.Timestamp)
	}
	received, err := time.Parse(time.RFC3339Nano, l.ReceiveTimestamp)
	if err != nil || !received.After(e.EventTime) {
		t.Errorf("receiveTimestamp %q, event time %v: %v", l.ReceiveTimestamp, e.EventTime, err)
	}
	h := l.HTTPRequest
	if strings.HasPrefix(l.Resource.Type, "http_external_regional") {
		if _, err := netip.ParseAddrPort(h.RemoteIP); err != nil {
			t.Errorf("regional remoteIp: %v", err)
		}
	} else {
		addr, err := netip.ParseAddr(h.RemoteIP)
		if err != nil || addr.String() != h.RemoteIP || l.JSONPayload.RemoteIP != h.RemoteIP {
			t.Errorf("remoteIp %q and %q: %v", h.RemoteIP, l.JSONPayload.RemoteIP, err)
		}
		if len(l.JSONPayload.CacheID) != 12 || l.JSONPayload.CacheID[3] != '-' {
			t.Errorf("cacheId %q", l.JSONPayload.CacheID)
		}
	}
	if d, err := time.ParseDuration(h.Latency); err != nil || d <= 0 || d > time.Second {
		t.Errorf("latency %q: %v", h.Latency, err)
	}
	if strings.ContainsAny(h.UserAgent, "{}") {
		t.Errorf("agent with an empty slot: %q", h.UserAgent)
	}
}

// TestDistributions holds the shares and shapes to roughly what the options and
// doc comments say. The draws are fixed, so this cannot fail by chance.
func TestDistributions(t *testing.T) {
	const n = 50_000
	g := New(DefaultOptions())
	opts := DefaultOptions()
	count := map[string]int{}
	agents, users, hosts := map[string]int{}, map[string]int{}, map[string]int{}
	bytesTotal, params, withURL := 0, 0, 0
	var e Entry
	for i := range n {
		g.Next(&e)
		bytesTotal += len(e.Data)
		if len(e.Data) > 1000 && len(e.Data) < 1800 {
			count["1.0-1.8 kB"]++
		}
		if e.Duplicate {
			count["duplicate"]++
		}
		base := opts.Start.Add(time.Duration(i) * time.Millisecond)
		if lag := base.Sub(e.EventTime); !e.Duplicate && e.Timestamp != "" && lag > time.Millisecond {
			count["late"]++
			if lag > opts.MaxLateness+time.Millisecond {
				t.Errorf("entry %d is %v late", i, lag)
			}
		}
		_, _, l := classify(e.Data, e.Timestamp)
		if e.Kind != Impression {
			count["no impression"]++
			continue
		}
		h := l.HTTPRequest
		agents[h.UserAgent]++
		hosts[h.RemoteIP]++
		_, query, _ := strings.Cut(h.RequestURL, "?")
		sep := "&"
		if !strings.Contains(query, "&") {
			sep = ";"
			count["semicolons"]++
		}
		pairs := strings.Split(query, sep)
		params += len(pairs)
		withURL++
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			switch strings.ToLower(name) {
			case "uid", "user_id", "userid", "d_mid":
				users[value]++
				count["user"]++
			case "gdpr_consent":
				count["gdpr_consent"]++
			case "us_privacy":
				count["us_privacy"]++
			case "gpp":
				count["gpp"]++
			case "cb", "ord", "rnd", "cachebuster", "correlator":
				count["cache-buster"]++
			}
			if strings.HasPrefix(value, "${") || strings.HasPrefix(value, "%%") || strings.HasPrefix(value, "[") || strings.HasPrefix(value, "{") || value == "%ecid!" {
				count["macro"]++
			}
			if _, err := url.QueryUnescape(value); err != nil && !strings.HasPrefix(value, "%%") && value != "%ecid!" {
				count["bad escape"]++
			}
		}
		switch {
		case h.Status == 0:
			count["client gone"]++
		case h.Status == 304:
			count["304"]++
		}
		if h.RequestMethod == "HEAD" {
			count["HEAD"]++
		}
		if strings.Contains(h.RemoteIP, ":") && strings.Count(h.RemoteIP, ":") > 1 {
			count["IPv6"]++
		}
		if h.Referer != "" {
			count["referer"]++
		}
		if slices.Contains(robots, h.UserAgent) {
			count["robot"]++
		}
	}
	for _, want := range []struct {
		what     string
		low, top float64 // shares of n
	}{
		{"1.0-1.8 kB", 0.95, 1},
		{"duplicate", 0.018, 0.022},
		{"late", 0.027, 0.033},
		{"no impression", 0.018, 0.024},
		{"semicolons", 0.01, 0.3},
		{"user", 0.5, 0.8},
		{"gdpr_consent", 0.2, 0.5},
		{"us_privacy", 0.1, 0.3},
		{"gpp", 0.05, 0.2},
		{"cache-buster", 0.93, 0.99},
		{"macro", 0.01, 0.06},
		{"bad escape", 0.001, 0.006},
		{"client gone", 0.001, 0.003},
		{"304", 0.025, 0.035},
		{"HEAD", 0.001, 0.003},
		{"IPv6", 0.3, 0.45},
		{"referer", 0.75, 0.95},
		{"robot", 0.02, 0.04},
	} {
		if got := float64(count[want.what]) / n; got < want.low || got > want.top {
			t.Errorf("share of %s = %.4f, want %g to %g", want.what, got, want.low, want.top)
		}
	}
	if mean := bytesTotal / n; mean < 1200 || mean > 1600 {
		t.Errorf("mean size = %d bytes, want 1,200 to 1,600", mean)
	}
	if mean := float64(params) / float64(withURL); mean < 10 || mean > 20 {
		t.Errorf("parameters a request = %.1f, want 10 to 20", mean)
	}
	// The tail is long, the head is heavy.
	if len(agents) < 800 || len(users) < 10_000 || len(hosts) < 20_000 {
		t.Errorf("%d agents, %d users, %d addresses", len(agents), len(users), len(hosts))
	}
	most := 0
	for _, c := range agents {
		most = max(most, c)
	}
	if most < n/20 {
		t.Errorf("the most popular agent sent %d of %d", most, n)
	}
}

// TestNextReusesData checks the lifetimes that Entry promises.
func TestNextReusesData(t *testing.T) {
	g := New(DefaultOptions())
	e := Entry{Data: make([]byte, 0, 8192)}
	before := &e.Data[:1][0]
	for range 1000 {
		g.Next(&e)
		if &e.Data[0] != before {
			t.Fatal("Next moved Data although it had room")
		}
	}
	var kept []Entry
	var want [][]byte
	for range 2000 {
		var fresh Entry
		g.Next(&fresh)
		kept = append(kept, fresh)
		want = append(want, bytes.Clone(fresh.Data))
	}
	for i := range kept {
		if !bytes.Equal(kept[i].Data, want[i]) {
			t.Fatalf("entry %d changed after later calls", i)
		}
	}
}

func TestTime(t *testing.T) {
	start := time.Date(2026, 12, 31, 23, 59, 59, 999_000_000, time.UTC)
	g := New(Options{Start: start, Rate: 1000})
	var e Entry
	for i := range 5 {
		g.Next(&e)
		if at := e.EventTime.Sub(start) / time.Millisecond; at != time.Duration(i) {
			t.Errorf("entry %d at %v, want %d ms after %v", i, e.EventTime, i, start)
		}
	}

	now := time.Date(2027, 1, 2, 3, 4, 5, 6000, time.UTC)
	live := Options{Live: true, Now: func() time.Time { now = now.Add(time.Second); return now }}
	a, b := New(live), New(live)
	for range 100 {
		var x, y Entry
		a.Next(&x)
		if x.EventTime.Truncate(time.Second) != now.Truncate(time.Second) {
			t.Fatalf("live entry at %v, want %v", x.EventTime, now)
		}
		b.Next(&y)
		_, _, lx := classify(x.Data, x.Timestamp)
		_, _, ly := classify(y.Data, y.Timestamp)
		if lx.InsertID == ly.InsertID {
			t.Fatalf("two live generators share the id %s", lx.InsertID)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Options)
		want   []string // of the error; none: valid
	}{
		{"default", func(*Options) {}, nil},
		{"zero", func(o *Options) { *o = Options{} }, nil},
		{"rate", func(o *Options) { o.Rate = -1 }, []string{"Rate is -1"}},
		{"several", func(o *Options) { o.Users = -1; o.LateShare = 1.5 }, []string{"Users is -1", "LateShare is 1.5"}},
		{"sum", func(o *Options) { o.BrokenShare, o.ErrorShare = 0.6, 0.6 }, []string{"the sum of"}},
		{"follow-ups", func(o *Options) { o.ClickShare = 0.95 }, []string{"ClickShare + ViewShare"}},
		{"skew", func(o *Options) { o.PageSkew = 9 }, []string{"PageSkew is 9"}},
		{"start", func(o *Options) { o.Start = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC) }, []string{"Start is"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := DefaultOptions()
			test.change(&o)
			err := o.Validate()
			if (err != nil) != (len(test.want) > 0) {
				t.Fatalf("Validate() = %v, want %q", err, test.want)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Validate() = %v, want it to name %q", err, want)
				}
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	g := New(DefaultOptions())
	var e Entry
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		g.Next(&e)
		size += len(e.Data)
	}
	b.SetBytes(int64(size / b.N))
}
