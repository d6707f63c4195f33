package pixelurl

import (
	"net/url"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	const none = "-" // stands for nil
	for _, tt := range []struct{ in, scheme, host, path, query string }{
		{"http://192.0.2.59/cdn.png", "http", "192.0.2.59", "/cdn.png", none},
		{"https://pixel.example.com/p.gif?a=1&b=2", "https", "pixel.example.com", "/p.gif", "a=1&b=2"},
		{"HTTPS://Pixel.Example.COM:443/P.gif?A", "HTTPS", "Pixel.Example.COM", "/P.gif", "A"},
		{"http://192.0.2.8:80/a;b=/c?d=$(id%3E)", "http", "192.0.2.8", "/a;b=/c", "d=$(id%3E)"},
		{"http://[2001:db8::1]:8080/x", "http", "[2001:db8::1]", "/x", none},
		{"http://[2001:db8::1]", "http", "[2001:db8::1]", "/", none},
		{"http://user:pass@host:80/x", "http", "host", "/x", none},
		{"http://user@evil@host/x", "http", "host", "/x", none},
		// A path is what comes before the first ? or #, and never empty.
		{"http://host", "http", "host", "/", none},
		{"http://host?a=b", "http", "host", "/", "a=b"},
		{"http://host#f", "http", "host", "/", none},
		{"http://host//a//b", "http", "host", "//a//b", none},
		{"http://host/a%2Fb", "http", "host", "/a%2Fb", none},
		{`http://host\a?b`, "http", "host", `\a`, "b"},
		// A query is what stands between the first ? and the first # after it.
		{"http://host/?", "http", "host", "/", ""},
		{"http://host/p?a?b=c", "http", "host", "/p", "a?b=c"},
		{"http://host/p?a=b#c", "http", "host", "/p", "a=b"},
		{"http://host/p?#c?d", "http", "host", "/p", ""},
		{"http://host/p#c?a=b#d", "http", "host", "/p", "a=b"},
		{"http://host/?url=http://other/x?y=z", "http", "host", "/", "url=http://other/x?y=z"},
		{"http://host:port/", "http", "host", "/", none},

		{in: ""},
		{in: "/p.gif?a=b"},
		{in: "//host/p.gif"},
		{in: "host/p.gif"},
		{in: "host:80/p.gif"},
		{in: "http:"},
		{in: "http:/host"},
		{in: "http:host"},
		{in: "http//host"},
		{in: "http://"},
		{in: "http:///p.gif"},
		{in: "http://?a=b"},
		{in: "http://#a"},
		{in: "http://:80/p.gif"},
		{in: "http://user@/p.gif"},
		{in: "http://user@:80"},
		{in: "http://[]/p.gif"},
		{in: "http://[2001:db8::1/p.gif"},
		{in: "ftp://host/p.gif"},
		{in: "httpx://host/p.gif"},
		{in: "ws://host/p.gif"},
		{in: " http://host/p.gif"},
		{in: "*"},
		{in: "://host/"},
		{in: "1http://host/"},
	} {
		got, ok := Split([]byte(tt.in))
		if ok != (tt.host != "") {
			t.Errorf("Split(%q) is %v", tt.in, ok)
			continue
		}
		for _, part := range []struct {
			name string
			got  []byte
			want string
		}{{"scheme", got.Scheme, tt.scheme}, {"host", got.Host, tt.host}, {"path", got.Path, tt.path}, {"query", got.Query, tt.query}} {
			isNil := part.want == none || !ok
			if (part.got == nil) != isNil || !isNil && string(part.got) != part.want {
				t.Errorf("Split(%q): %s is %q, want %q", tt.in, part.name, part.got, part.want)
			}
		}
	}
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{
		"https://News.Example.com/a?b#c":      "news.example.com",
		"https://news.example.com:8443":       "news.example.com",
		"https://news.example.com?x":          "news.example.com",
		"https://news.example.com#x":          "news.example.com",
		"https://user:p@ss@news.example.com/": "news.example.com",
		"http://[2001:DB8::1]:80/":            "[2001:db8::1]",
		"http://[::ffff:1.2.3.4]":             "[::ffff:1.2.3.4]",
		"//CDN.example.com/x":                 "cdn.example.com",
		"android-app://com.Example.app/path":  "com.example.app",
		"chrome-extension://abcdef/x":         "abcdef",
		"ftp://host/x":                        "host",
		"http://ÜBER.example/":                "über.example",
		`https://good.example\@evil.example/`: "good.example",
		"https://host./":                      "host.",
		"http://1.2.3.4:80/":                  "1.2.3.4",
		"http://ex%41mple/":                   "ex%41mple",
		"":                                    "",
		"/path":                               "",
		"path":                                "",
		"news.example.com/a":                  "",
		"news.example.com:80/a":               "",
		"about:blank":                         "",
		"data:text/html,//x":                  "",
		"mailto:a@b":                          "",
		"javascript://":                       "",
		"file:///etc/passwd":                  "",
		"https:///x":                          "",
		"https://:443/":                       "",
		"https%3A%2F%2Fnews.example.com":      "",
		"https://a b/":                        "",
		"https://a<b/":                        "",
		"https://a\x00b/":                     "",
		"https://[PAGE_URL]/":                 "",
		"https://[::1/":                       "",
		"https://]/":                          "",
		"[PAGE_URL]":                          "",
		"unknown":                             "",
	} {
		got := HostOf([]byte(in), nil)
		if string(got) != want || (got == nil) != (want == "") {
			t.Errorf("HostOf(%q) = %q, want %q", in, got, want)
		}
		got = HostOf([]byte(in), []byte("before "))
		if want == "" && got != nil || want != "" && string(got) != "before "+want {
			t.Errorf("HostOf(%q) appends %q, want %q", in, got, want)
		}
	}
}

func TestAppendLower(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "abc": "abc", "ABC xyz-09_@[`{": "abc xyz-09_@[`{", "ÄÖÜ": "äöü", "aÉB": "aéb", "K": "k", "A\xffB": "a\uFFFDb",
	} {
		if got := AppendLower([]byte("X"), []byte(in)); string(got) != "X"+want {
			t.Errorf("AppendLower(%q) appends %q, want %q", in, got[1:], want)
		}
		if strings.ToValidUTF8(in, "") == in && strings.ToLower(in) != want {
			t.Errorf("%q: the test wants %q, and strings.ToLower gives %q", in, want, strings.ToLower(in))
		}
	}
}

func TestUnescapePath(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "/pixel.gif": "/pixel.gif", "/pi%78el%2Egif": "/pixel.gif", "/a+b": "/a+b", "/%": "/%", "/%4": "/%4",
		"/%zz%41": "/%zzA", "%2f%2F": "//", "/%%41": "/%A", "/%c3%a9": "/é", "/%FF": "/\xff", "%25%34%31": "%41", "/100%": "/100%",
	} {
		if got := UnescapePath([]byte("X"), []byte(in)); string(got) != "X"+want {
			t.Errorf("UnescapePath(%q) appends %q, want %q", in, got[1:], want)
		}
	}
}

// FuzzSplit compares with net/url where that takes the URL, and checks that the
// parts are parts.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{string(benchmarkURL), "http://u:p@[::1]:80/a%2f?b#c", "//h/x", `http://h\a`, "http://h?#", "android-app://x", "http://É/"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := string(raw)
		got, ok := Split(raw)
		host := HostOf(raw, nil)
		if host != nil && len(host) == 0 {
			t.Fatalf("HostOf(%q) is empty, not nil", s)
		}
		if ok && (len(got.Host) == 0 || len(got.Path) == 0 || !strings.Contains(s, string(got.Host)) ||
			!strings.Contains(s, string(got.Query)) || strings.ContainsAny(string(got.Path), "?#") || strings.Contains(string(got.Query), "#")) {
			t.Fatalf("Split(%q) = %q", s, got)
		}
		if dst := UnescapePath(nil, raw); !strings.Contains(s, "%") && string(dst) != s {
			t.Fatalf("UnescapePath(%q) = %q", s, dst)
		} else if want, err := url.PathUnescape(s); err == nil && want != string(dst) {
			t.Fatalf("UnescapePath(%q) = %q, net/url says %q", s, dst, want)
		}
		u, err := url.Parse(s)
		if err != nil || strings.Contains(s, `\`) {
			return
		}
		isHTTP := u.Scheme == "http" || u.Scheme == "https"
		if want := isHTTP && u.Hostname() != ""; want != ok {
			t.Fatalf("Split(%q) is %v, net/url has scheme %q, host %q", s, ok, u.Scheme, u.Host)
		}
		if !ok {
			return
		}
		wantPath := u.EscapedPath()
		if u.Path == "" {
			wantPath = "/"
		}
		unescaped, err := url.PathUnescape(wantPath)
		if err != nil {
			t.Fatal(err)
		}
		if string(UnescapePath(nil, got.Path)) != unescaped {
			t.Fatalf("Split(%q): path is %q, net/url says %q", s, got.Path, wantPath)
		}
		// net/url looks for the query before the fragment only, and unescapes
		// hosts.
		if !strings.Contains(s, "#") && string(got.Query) != u.RawQuery {
			t.Fatalf("Split(%q): query is %q, net/url says %q", s, got.Query, u.RawQuery)
		}
		if want := strings.Trim(u.Hostname(), "[]"); !strings.Contains(s, "%") && strings.Trim(string(got.Host), "[]") != want {
			t.Fatalf("Split(%q): host is %q, net/url says %q", s, got.Host, want)
		}
		if want := strings.ToLower(string(got.Host)); host != nil && string(host) != want {
			t.Fatalf("HostOf(%q) = %q, want %q", s, host, want)
		}
	})
}
