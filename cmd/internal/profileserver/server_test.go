package profileserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pixelbeam/local/bigtabled"
	"pixelbeam/profiles"
	"pixelbeam/schemas"
	pb "pixelbeam/schemas/pixelbeam/v1"
)

// cloud is a Bigtable in this process, and a fault in it.
type cloud struct {
	reader *profiles.Reader
	table  *bigtable.Table
	fault  atomic.Pointer[func() error] // of reads
}

func startCloud(t testing.TB) *cloud {
	t.Helper()
	c := &cloud{}
	server, err := bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: t.TempDir(), Fault: func(method string, _ int) error {
		if f := c.fault.Load(); f != nil && method == "ReadRows" {
			return (*f)()
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if err := server.EnsureTable(t.Context(), "p", "i", schemas.Profiles()); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(server.Addr(), append(profiles.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client, err := bigtable.NewClientWithConfig(context.Background(), "p", "i",
		bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	c.table, c.reader = client.Open(schemas.Profiles().Table), profiles.NewReader(client, profiles.Options{})
	return c
}

func (c *cloud) fail(f func() error) { c.fault.Store(&f) }

// event of a window; see store.
func counter(campaign, event string, n int64) *pb.CampaignCounter {
	return &pb.CampaignCounter{CampaignId: &campaign, EventType: &event, Count: &n, LastEventOffset: proto.Int64(1)}
}

// store writes what a user did in a window.
func (c *cloud) store(t testing.TB, user string, window time.Time, counters ...*pb.CampaignCounter) {
	t.Helper()
	m := bigtable.NewMutation()
	set := func(family, column string, message proto.Message) {
		value, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		m.Set(family, column, bigtable.Time(window), value)
	}
	set(schemas.FamilyCounters, schemas.ColumnCounters, &pb.WindowCounters{Counters: counters})
	set(schemas.FamilyLatest, schemas.ColumnLatest, &pb.LatestEvent{EventTime: proto.Int64(window.UnixMicro()), Country: proto.String("DE")})
	if err := c.table.Apply(t.Context(), schemas.ProfileKey(user), m); err != nil {
		t.Fatal(err)
	}
}

// now is the clock of the servers, in the middle of a minute.
var now = time.Now().UTC().Truncate(time.Minute).Add(30 * time.Second)

func ago(minutes int) time.Time {
	return now.Truncate(time.Minute).Add(-time.Duration(minutes) * time.Minute)
}

// api is a served Server whose every exchange is compared with the description.
type api struct {
	t      *testing.T
	server *httptest.Server
	log    *bytes.Buffer
	token  string
	seen   map[string]bool // "GET /path STATUS"
}

func serve(t *testing.T, c *cloud, opts Options) *api {
	t.Helper()
	a := &api{t: t, log: new(bytes.Buffer), seen: map[string]bool{}}
	opts.Reader, opts.Now = c.reader, func() time.Time { return now }
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute // this machine may be busy
	}
	opts.Log = slog.New(slog.NewTextHandler(a.log, nil))
	a.server = httptest.NewServer(New(opts))
	t.Cleanup(a.server.Close)
	return a
}

// answer is what came of a request.
type answer struct {
	status int
	header http.Header
	body   []byte
	code   string // of a problem
}

func (a answer) decode(t *testing.T, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

// do sends a request; headers are "Name: value".
func (a *api) do(method, path, body string, headers ...string) answer {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.server.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
	res, err := a.server.Client().Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	got := answer{status: res.StatusCode, header: res.Header}
	if got.body, err = io.ReadAll(res.Body); err != nil {
		a.t.Fatal(err)
	}
	if res.Header.Get("Content-Type") == "application/problem+json" {
		var p problem
		got.decode(a.t, &p)
		if got.code = p.Code; p.Status != res.StatusCode || p.Title != http.StatusText(p.Status) || p.Detail == "" {
			a.t.Errorf("%s %s: problem %s with status %d", method, path, got.body, res.StatusCode)
		}
	}
	if op := description.operation(method, r.URL.EscapedPath()); op != nil {
		a.seen[fmt.Sprint(method, " ", op.path, " ", got.status)] = true
		op.check(a.t, body, &got)
	}
	return got
}

// description is openapi.json, read.
var description = readDescription()

type openAPI struct {
	compiler   *jsonschema.Compiler
	operations []*operation
}

type operation struct {
	method, path string
	requestBody  string // pointer to a schema; empty if there is none
	// responses are pointers to schemas by status and content type; a response
	// without content has the content type "".
	responses map[string]map[string]string
}

func readDescription() *openAPI {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(OpenAPI))
	if err != nil {
		panic(err)
	}
	api := &openAPI{compiler: jsonschema.NewCompiler()}
	api.compiler.DefaultDraft(jsonschema.Draft2020)
	api.compiler.AssertFormat()
	if err := api.compiler.AddResource("openapi.json", document); err != nil {
		panic(err)
	}
	at := func(v any, keys ...string) any {
		for _, key := range keys {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		return v
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	schema := func(content any, pointer string) map[string]string {
		out := map[string]string{}
		for kind := range content.(map[string]any) {
			out[kind] = "openapi.json#" + pointer + "/content/" + escape.Replace(kind) + "/schema"
		}
		return out
	}
	for path, item := range at(document, "paths").(map[string]any) {
		for method, op := range item.(map[string]any) {
			o := &operation{method: strings.ToUpper(method), path: path, responses: map[string]map[string]string{}}
			pointer := "/paths/" + escape.Replace(path) + "/" + method
			if content := at(op, "requestBody", "content"); content != nil {
				o.requestBody = schema(content, pointer+"/requestBody")["application/json"]
			}
			for status, response := range at(op, "responses").(map[string]any) {
				place := pointer + "/responses/" + status
				if ref, ok := at(response, "$ref").(string); ok {
					place = strings.TrimPrefix(ref, "#")
					response = at(document, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
				}
				if content := at(response, "content"); content != nil {
					o.responses[status] = schema(content, place)
				} else {
					o.responses[status] = map[string]string{"": ""}
				}
			}
			api.operations = append(api.operations, o)
		}
	}
	return api
}

func (d *openAPI) operation(method, path string) *operation {
	for _, op := range d.operations {
		want, got := strings.Split(op.path, "/"), strings.Split(path, "/")
		if op.method == method && slices.EqualFunc(want, got, func(w, g string) bool {
			return w == g || strings.HasPrefix(w, "{") && g != ""
		}) {
			return op
		}
	}
	return nil
}

// check compares an exchange with the description.
func (op *operation) check(t *testing.T, request string, got *answer) {
	t.Helper()
	kinds, ok := op.responses[fmt.Sprint(got.status)]
	if !ok {
		t.Errorf("%s %s answers %d, which is not described", op.method, op.path, got.status)
		return
	}
	kind, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
	pointer, ok := kinds[kind]
	switch {
	case !ok:
		t.Errorf("%s %s answers %d with content type %q, described are %v", op.method, op.path, got.status, kind, kinds)
	case strings.HasSuffix(kind, "json"):
		if err := valid(pointer, got.body); err != nil {
			t.Errorf("%s %s answers %s\n%v", op.method, op.path, got.body, err)
		}
	}
	if op.requestBody != "" {
		err := valid(op.requestBody, []byte(request))
		if got.status == http.StatusOK && err != nil {
			t.Errorf("%s %s takes %s\n%v", op.method, op.path, request, err)
		}
	}
}

// compiled holds schemas by pointer.
var compiled sync.Map

func valid(pointer string, data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	schema, ok := compiled.Load(pointer)
	if !ok {
		s, err := description.compiler.Compile(pointer)
		if err != nil {
			return err
		}
		schema, _ = compiled.LoadOrStore(pointer, s)
	}
	return schema.(*jsonschema.Schema).Validate(v)
}

// Every operation is described, and every one that is described is there.
func TestDescriptionHasTheRoutes(t *testing.T) {
	want, got := map[string]bool{}, map[string]bool{}
	for _, r := range routes {
		want[r.method+" "+r.path] = true
	}
	for _, op := range description.operations {
		got[op.method+" "+op.path] = true
		for status, kinds := range op.responses {
			for kind, pointer := range kinds {
				if kind == "" {
					continue
				}
				if _, err := description.compiler.Compile(pointer); err != nil {
					t.Errorf("%s %s, status %s: %v", op.method, op.path, status, err)
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-served +described):\n%s", diff)
	}
	var head struct{ OpenAPI string }
	if err := json.Unmarshal(OpenAPI, &head); err != nil || head.OpenAPI != "3.1.0" {
		t.Errorf("openapi %q, %v", head.OpenAPI, err)
	}
}

func TestOperations(t *testing.T) {
	c := startCloud(t)
	c.store(t, "a/b ü", ago(10), counter("spring", "impression", 2), counter("spring", "click", 1))
	c.store(t, "bob", ago(3000), counter("spring", "impression", 9))
	a := serve(t, c, Options{MaxUsers: 3, MaxCaps: 4, MaxBody: 1000})
	const user = "/v1/profiles/a%2Fb%20%C3%BC"
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string // in the body
	}{
		{"profile", "GET", user, "", 200, `"count":2`},
		{"profile, short period", "GET", user + "?period=5m", "", 200, `"counters":[]`},
		{"profile, days", "GET", "/v1/profiles/bob?period=3d", "", 200, `"count":9`},
		{"profile of nobody", "GET", "/v1/profiles/nobody", "", 404, `"unknown_user"`},
		{"profile, long period", "GET", user + "?period=35d", "", 400, `up to 34d`},
		{"profile, no unit", "GET", user + "?period=35", "", 400, `"field":"period"`},
		{"profile, misspelled", "GET", user + "?perod=1d", "", 400, `no such parameter`},
		{"profile, twice", "GET", user + "?period=1d&period=2d", "", 400, `2 times`},
		{"profile of a long id", "GET", "/v1/profiles/" + strings.Repeat("u", 4092), "", 400, `4092 bytes`},
		{"batch", "POST", "/v1/profiles:batchGet", `{"users":["bob","nobody","a/b ü","bob"],"period":"1h"}`, 400, `4 users: want 1 to 3`},
		{"batch", "POST", "/v1/profiles:batchGet", `{"users":["bob","nobody","a/b ü"],"period":"1h"}`, 200, `"unknown":["nobody"]`},
		{"batch, default period", "POST", "/v1/profiles:batchGet", `{"users":["a/b ü","a/b ü"]}`, 200, `"count":2`},
		{"batch of nobody", "POST", "/v1/profiles:batchGet", `{"users":[]}`, 400, `0 users`},
		{"batch of an empty id", "POST", "/v1/profiles:batchGet", `{"users":["u",""]}`, 400, `users[1]`},
		{"batch, unknown field", "POST", "/v1/profiles:batchGet", `{"user":["u"]}`, 400, `unknown field`},
		{"batch, no JSON", "POST", "/v1/profiles:batchGet", `{"users"`, 400, `"invalid_json"`},
		{"batch, more JSON", "POST", "/v1/profiles:batchGet", `{"users":["u"]} {}`, 400, `more follows`},
		{"batch, too large", "POST", "/v1/profiles:batchGet", `{"users":["` + strings.Repeat("u", 1000) + `"]}`, 413, `1000 bytes`},
		{"batch, too large behind", "POST", "/v1/profiles:batchGet", `{"users":["u"]}` + strings.Repeat(" ", 1000), 413, `1000 bytes`},
		{"frequency", "GET", user + "/frequency?campaign_id=spring&period=1h", "", 200, `"count":2,"at_most":2`},
		{"frequency, limit", "GET", user + "/frequency?campaign_id=spring&period=1h&limit=3", "", 200, `"limit":3,"allowed":true`},
		{"frequency, reached", "GET", user + "/frequency?campaign_id=spring&limit=2", "", 200, `"allowed":false`},
		{"frequency of clicks", "GET", user + "/frequency?campaign_id=spring&event_type=click", "", 200, `"count":1`},
		{"frequency of nobody", "GET", "/v1/profiles/nobody/frequency?campaign_id=spring&limit=1", "", 200, `"known":false`},
		{"frequency, wrong limit", "GET", user + "/frequency?limit=0", "", 400, `at least 1`},
		{"check", "POST", "/v1/frequency:check", `{"users":["a/b ü"],"caps":[{"campaign_id":"spring","limit":3,"period":"1h"}]}`, 200, `"allowed":["spring"]`},
		{"check of nothing", "POST", "/v1/frequency:check", `{"users":[],"caps":[]}`, 400, `"field":"caps"`},
		{"check, wrong caps", "POST", "/v1/frequency:check", `{"users":["u"],"caps":[{"campaign_id":"c","limit":1,"period":"1h"},{"campaign_id":"c","limit":0}]}`, 400, `"field":"caps[1].period"`},
		{"health", "GET", "/healthz", "", 200, `"ok"`},
		{"ready", "GET", "/readyz", "", 200, `"ready"`},
		{"openapi", "GET", "/openapi.json", "", 200, `"3.1.0"`},
		{"metrics", "GET", "/metrics", "", 200, `pixelbeam_profiles_requests_total{route="GET /v1/profiles/{user_id}",code="2xx"}`},
		{"no such path", "GET", "/v2/profiles", "", 404, `"no_such_path"`},
		{"no such method", "DELETE", user, "", 405, `"method_not_allowed"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := a.do(test.method, test.path, test.body)
			if got.status != test.status || !strings.Contains(string(got.body), test.want) {
				t.Errorf("%d %s\nwant %d with %s", got.status, got.body, test.status, test.want)
			}
		})
	}
	if got := a.do("POST", "/v1/profiles:batchGet", `{"users":["u"]}`, "Content-Type: text/plain"); got.status != 415 {
		t.Errorf("a body of text: %d %s", got.status, got.body)
	}
	if allow := a.do("PUT", user, "").header.Get("Allow"); !strings.Contains(allow, "GET") {
		t.Errorf("Allow %q", allow)
	}
	for _, op := range description.operations {
		if key := fmt.Sprint(op.method, " ", op.path, " 200"); !a.seen[key] {
			t.Errorf("no request was answered with %s", key)
		}
	}
	if a.log.Len() > 0 {
		t.Errorf("logged: %s", a.log)
	}
}

// One call decides on many users and campaigns.
func TestCheckFrequency(t *testing.T) {
	c := startCloud(t)
	c.store(t, "u1", ago(10), counter("spring", "impression", 2), counter("autumn", "impression", 1))
	c.store(t, "u1", ago(300), counter("spring", "impression", 3))
	a := serve(t, c, Options{})
	got := a.do("POST", "/v1/frequency:check", `{"users":["u1","u2","u1"],"caps":[
		{"campaign_id":"spring","limit":3,"period":"1h"},
		{"campaign_id":"spring","limit":5,"period":"24h"},
		{"campaign_id":"autumn","limit":2,"period":"24h"},
		{"campaign_id":"autumn","event_type":"click","limit":1,"period":"7d"}]}`)
	var answer checkAnswer
	got.decode(t, &answer)
	var summary []string
	for _, u := range answer.Users {
		line := fmt.Sprint(u.UserID, " ", u.Known, " ", u.Allowed)
		for _, cap := range u.Caps {
			line += fmt.Sprint(" ", cap.Count, "/", cap.Limit, ":", cap.Allowed)
		}
		summary = append(summary, line)
	}
	u1 := "u1 true [autumn] 2/3:true 5/5:false 1/2:true 0/1:true"
	want := []string{u1, "u2 false [spring autumn] 0/3:true 0/5:true 0/2:true 0/1:true", u1}
	if diff := cmp.Diff(want, summary); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestETag(t *testing.T) {
	c := startCloud(t)
	c.store(t, "u", ago(10), counter("c", "impression", 2))
	clock := now
	s := New(Options{Reader: c.reader, Timeout: time.Minute, Now: func() time.Time { return clock }})
	a := &api{t: t, server: httptest.NewServer(s), seen: map[string]bool{}}
	t.Cleanup(a.server.Close)
	first := a.do("GET", "/v1/profiles/u", "")
	tag := first.header.Get("ETag")
	clock = clock.Add(5 * time.Minute) // another period, nothing else
	for _, header := range []string{tag, `"x", ` + tag, strings.TrimPrefix(tag, "W/"), "*"} {
		if got := a.do("GET", "/v1/profiles/u", "", "If-None-Match: "+header); got.status != 304 || len(got.body) > 0 || got.header.Get("ETag") != tag {
			t.Errorf("If-None-Match: %s: %d %s", header, got.status, got.body)
		}
	}
	if got := a.do("GET", "/v1/profiles/u", "", `If-None-Match: W/"other"`); got.status != 200 {
		t.Errorf("another tag: %d", got.status)
	}
	c.store(t, "u", ago(10), counter("c", "impression", 3))
	if got := a.do("GET", "/v1/profiles/u", "", "If-None-Match: "+tag); got.status != 200 || got.header.Get("ETag") == tag {
		t.Errorf("after a restatement: %d, tag %s", got.status, got.header.Get("ETag"))
	}
}

func TestTokens(t *testing.T) {
	const one, two, three = "first-token-0123456789", "second-token-0123456789", "third-token-0123456789"
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("# ad servers\n"+one+" # the old one\n\n"+two+"\n", now)
	tokens, err := ReadTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	c := startCloud(t)
	a := serve(t, c, Options{Tokens: tokens})
	status := func(headers ...string) int {
		t.Helper()
		got := a.do("GET", "/metrics", "", headers...)
		if got.status == 401 && !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
			t.Error("401 without WWW-Authenticate")
		}
		return got.status
	}
	for header, want := range map[string]int{
		"Authorization: Bearer " + one: 200, "Authorization: bearer " + two: 200,
		"Authorization: Bearer " + three: 401, "Authorization: Basic " + one: 401, "Authorization: " + one: 401,
		"Authorization: Bearer ": 401, "X-Other: x": 401, "Authorization: Bearer " + one[:20]: 401,
	} {
		if got := status(header); got != want {
			t.Errorf("%s: %d, want %d", header, got, want)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if got := a.do("GET", path, ""); got.status != 200 {
			t.Errorf("%s without a token: %d", path, got.status)
		}
	}
	for _, path := range []string{"/v1/profiles/u", "/v1/profiles/u/frequency"} {
		if got := a.do("GET", path, ""); got.code != "unauthorized" {
			t.Errorf("%s without a token: %d", path, got.status)
		}
	}
	// A new file holds; a broken one does not.
	for _, step := range []struct {
		text     string
		one, two int
	}{{three + "," + two, 401, 200}, {"short", 401, 200}, {"", 401, 200}, {one, 200, 401}} {
		write(step.text, now.Add(time.Duration(len(step.text)+1)*time.Second))
		tokens.mu.Lock()
		tokens.checked = time.Time{}
		tokens.mu.Unlock()
		if got := status("Authorization: Bearer " + one); got != step.one {
			t.Errorf("%q: the first token gives %d, want %d", step.text, got, step.one)
		}
		if got := status("Authorization: Bearer " + two); got != step.two {
			t.Errorf("%q: the second token gives %d, want %d", step.text, got, step.two)
		}
	}
	if log := a.log.String(); strings.Count(log, "those before hold") < 2 || strings.Contains(log, one) {
		t.Errorf("logged of a broken file: %s", log)
	}
	for text, want := range map[string]string{"": "there is no token", "# none": "there is no token", one + "\nshort": "token 2 has 5 characters"} {
		if _, err := ParseTokens(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTokens(%q): %v", text, err)
		}
	}
	if _, err := ReadTokens(file + ".none"); err == nil {
		t.Error("a file that is missing is read")
	}
}

func TestRate(t *testing.T) {
	a := serve(t, startCloud(t), Options{Rate: 1})
	codes := map[string]int{}
	for range 5 {
		got := a.do("GET", "/v1/profiles/u/frequency", "")
		codes[got.code]++
		if got.status == 429 && got.header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if codes["rate_limited"] == 0 || codes[""] == 0 {
		t.Errorf("answers %v, want some of both", codes)
	}
	if got := a.do("GET", "/healthz", ""); got.status != 200 {
		t.Errorf("health is limited: %d", got.status)
	}
}

// blocked makes reads wait; entered receives for each that does, and release lets
// all of them go.
func blocked(t *testing.T, c *cloud) (entered <-chan struct{}, release func()) {
	in, out := make(chan struct{}, 100), make(chan struct{})
	c.fail(func() error {
		in <- struct{}{}
		<-out
		return nil
	})
	release = sync.OnceFunc(func() { close(out) })
	t.Cleanup(release)
	return in, release
}

func TestConcurrency(t *testing.T) {
	c := startCloud(t)
	a := serve(t, c, Options{MaxConcurrent: 1})
	entered, release := blocked(t, c)
	first := make(chan int)
	go func() {
		res, err := http.Get(a.server.URL + "/v1/profiles/u/frequency")
		if err != nil {
			first <- 0
			return
		}
		res.Body.Close()
		first <- res.StatusCode
	}()
	<-entered
	if got := a.do("GET", "/v1/profiles/u/frequency", ""); got.code != "overloaded" || got.header.Get("Retry-After") == "" {
		t.Errorf("the second request: %d %s", got.status, got.body)
	}
	release()
	if got := <-first; got != 200 {
		t.Errorf("the first request: %d", got)
	}
}

func TestTimeout(t *testing.T) {
	c := startCloud(t)
	a := serve(t, c, Options{Timeout: 20 * time.Millisecond})
	blocked(t, c)
	if got := a.do("GET", "/v1/profiles/u", ""); got.code != "timeout" || got.status != 504 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if !strings.Contains(a.log.String(), "took too long") {
		t.Errorf("logged: %s", a.log)
	}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		code   codes.Code
		status int
		want   string
	}{
		{codes.ResourceExhausted, 503, "unavailable"},
		{codes.PermissionDenied, 502, "bigtable_error"},
		{codes.NotFound, 502, "bigtable_error"},
	} {
		t.Run(test.want, func(t *testing.T) {
			c := startCloud(t)
			a := serve(t, c, Options{})
			c.fail(func() error { return status.Error(test.code, "secret words") })
			for _, got := range []answer{a.do("GET", "/v1/profiles/u", ""), a.do("POST", "/v1/profiles:batchGet", `{"users":["u"]}`)} {
				if got.status != test.status || got.code != test.want || strings.Contains(string(got.body), "secret") {
					t.Errorf("%d %s", got.status, got.body)
				}
			}
			if !strings.Contains(a.log.String(), "secret words") {
				t.Errorf("logged: %s", a.log)
			}
			if got := a.do("GET", "/readyz", ""); got.status != 503 {
				t.Errorf("ready: %d", got.status)
			}
			if got := a.do("GET", "/healthz", ""); got.status != 200 {
				t.Errorf("health: %d", got.status)
			}
		})
	}
}

func TestLocalOnly(t *testing.T) {
	a := serve(t, startCloud(t), Options{LocalOnly: true})
	for host, want := range map[string]int{"localhost:8085": 200, "127.0.0.1": 200, "[::1]:80": 200, "[::1]": 200, "rebound.example:8085": 421, "10.0.0.1": 421} {
		if got := a.do("GET", "/v1/profiles/u/frequency", "", "Host: "+host); got.status != want {
			t.Errorf("Host %s: %d, want %d", host, got.status, want)
		}
	}
}

// authority signs certificates for 127.0.0.1.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), crand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// write writes a certificate with a serial number, and its key.
func (a *authority) write(cert, key string, serial int64, end time.Time) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(-time.Hour), NotAfter: end, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
		at := now.Add(time.Duration(serial) * time.Second)
		if err := os.Chtimes(file, at, at); err != nil {
			a.t.Fatal(err)
		}
	}
}

// A client that checks certificates talks to a server whose certificate is renewed.
func TestHTTPS(t *testing.T) {
	ca := newAuthority(t)
	file, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	ca.write(file, key, 7, now.Add(time.Hour))
	cert, err := ReadCertificate(file, key)
	if err != nil {
		t.Fatal(err)
	}
	c := startCloud(t)
	c.store(t, "u1", ago(3), counter("c1", profiles.Impression, 2))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- New(Options{Reader: c.reader, Timeout: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))}).Serve(ctx, l, cert)
	}()
	// get makes a connection of its own, and returns the certificate's serial number.
	get := func(config *tls.Config) (serial int64, proto string, err error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
		res, err := client.Get("https://" + l.Addr().String() + "/v1/profiles/u1/frequency?campaign_id=c1")
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !bytes.Contains(body, []byte(`"count":2`)) {
			t.Errorf("%s %s %v", res.Status, body, err)
		}
		return res.TLS.PeerCertificates[0].SerialNumber.Int64(), res.Proto, nil
	}
	check := func(want int64) {
		t.Helper()
		cert.mu.Lock()
		cert.checked = time.Time{}
		cert.mu.Unlock()
		if serial, proto, err := get(&tls.Config{RootCAs: ca.pool}); err != nil || serial != want || proto != "HTTP/2.0" {
			t.Errorf("certificate %d by %s, %v; want %d by HTTP/2.0", serial, proto, err, want)
		}
	}
	check(7)
	if _, _, err := get(&tls.Config{}); err == nil {
		t.Error("a client that does not know the authority is content")
	}
	if _, _, err := get(&tls.Config{RootCAs: ca.pool, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if res, err := http.Get("http://" + l.Addr().String() + "/healthz"); err == nil {
		if res.Body.Close(); res.StatusCode != http.StatusBadRequest {
			t.Errorf("HTTP without TLS: %s", res.Status)
		}
	}
	ca.write(file, key, 8, now.Add(time.Hour)) // renewed
	check(8)
	ca.write(file, key+".other", 9, now.Add(time.Hour)) // the key is not there yet
	check(8)
	if err := os.Rename(key+".other", key); err != nil {
		t.Fatal(err)
	}
	check(9)
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, "the one before holds") || !strings.Contains(got, file) {
		t.Errorf("logged of a certificate without its key: %s", got)
	}
}

// lockedBuffer is a log of several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestReadCertificateErrors(t *testing.T) {
	ca := newAuthority(t)
	file := func(name string) string { return filepath.Join(t.TempDir(), name) }
	cert, key, expired, expiredKey, junk := file("cert"), file("key"), file("expired"), file("expiredkey"), file("junk")
	ca.write(cert, key, 1, now.Add(time.Hour))
	ca.write(expired, expiredKey, 2, now.Add(-time.Minute))
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ cert, key, want string }{
		{"none.pem", key, "none.pem: no such file"}, {cert, "none.pem", "none.pem: no such file"},
		{junk, key, junk + " with " + key}, {cert, junk, "failed to find any PEM data in key"},
		{key, cert, "PEM inputs may have been switched"}, {cert, expiredKey, "private key does not match public key"},
		{expired, expiredKey, "the certificate has expired on "},
	} {
		if _, err := ReadCertificate(test.cert, test.key); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("ReadCertificate(%s, %s): %v, want %q", test.cert, test.key, err, test.want)
		}
	}
}

// A server that is told to stop lets requests end, and says so if they do not.
func TestServeDrains(t *testing.T) {
	for name, test := range map[string]struct {
		drain time.Duration
		want  string
	}{"in time": {time.Minute, ""}, "too slow": {20 * time.Millisecond, "cut off"}} {
		t.Run(name, func(t *testing.T) {
			c := startCloud(t)
			entered, release := blocked(t, c)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := New(Options{Reader: c.reader, Timeout: time.Minute, Drain: test.drain})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			served, answered := make(chan error, 1), make(chan int, 1)
			go func() { served <- s.Serve(ctx, l, nil) }()
			go func() {
				res, err := http.Get("http://" + l.Addr().String() + "/v1/profiles/u/frequency")
				if err != nil {
					answered <- 0
					return
				}
				res.Body.Close()
				answered <- res.StatusCode
			}()
			<-entered
			stop()
			want := 0
			if test.want == "" {
				// The listener is closed first: then nobody new comes in.
				for {
					conn, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						break
					}
					conn.Close()
				}
				release()
				want = 200
			}
			if err := <-served; (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("Serve: %v", err)
			}
			if got := <-answered; got != want {
				t.Errorf("the request was answered with %d, want %d", got, want)
			}
			// Who still asks is told.
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
			if w.Code != 503 || !strings.Contains(w.Body.String(), "draining") {
				t.Errorf("ready: %d %s", w.Code, w.Body)
			}
		})
	}
}

// A request whose handler panics is cut off, and counted as a fault of the server.
func TestMetricsCountPanics(t *testing.T) {
	s := New(Options{Now: func() time.Time { panic(http.ErrAbortHandler) }, Log: slog.New(slog.DiscardHandler)})
	server := httptest.NewServer(s)
	defer server.Close()
	if resp, err := http.Get(server.URL + "/v1/profiles/u1"); err == nil {
		t.Errorf("answer %s, want none", resp.Status)
		resp.Body.Close()
	}
	server.Close() // waits for the handler
	var b bytes.Buffer
	s.metrics.write(&b)
	for _, want := range []string{`pixelbeam_profiles_in_flight 0`, `pixelbeam_profiles_requests_total{route="GET /v1/profiles/{user_id}",code="5xx"} 1`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("metrics lack %q:\n%s", want, b.String())
		}
	}
}
