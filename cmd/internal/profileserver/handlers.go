package profileserver

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pixelbeam/profiles"
)

// OpenAPI is the description of the service, OpenAPI 3.1.
//
//go:embed openapi.json
var OpenAPI []byte

// defaultPeriod is the period of a profile's counters if none is named.
const defaultPeriod = "1d"

// batchRequest asks for profiles.
type batchRequest struct {
	Users  []string `json:"users"`
	Period string   `json:"period"`
}

type batchAnswer struct {
	Profiles []Profile `json:"profiles"`
	Unknown  []string  `json:"unknown"`
}

// checkRequest asks whether campaigns may be shown: each cap of each user.
type checkRequest struct {
	Users []string     `json:"users"`
	Caps  []capRequest `json:"caps"`
}

type capRequest struct {
	CampaignID string `json:"campaign_id"`
	EventType  string `json:"event_type"`
	Limit      int64  `json:"limit"`
	Period     string `json:"period"`
}

type checkAnswer struct {
	Users []userDecision `json:"users"`
}

type userDecision struct {
	UserID string `json:"user_id"`
	Known  bool   `json:"known"`
	// Allowed are the campaigns all of whose caps allow one more event.
	Allowed []string      `json:"allowed"`
	Caps    []capDecision `json:"caps"`
}

type capDecision struct {
	CampaignID string `json:"campaign_id"`
	EventType  string `json:"event_type"`
	Limit      int64  `json:"limit"`
	frequency
	Allowed bool `json:"allowed"`
}

// frequency is how often a user had events in a period.
type frequency struct {
	Period        string  `json:"period"`
	Count         int64   `json:"count"`
	AtMost        *int64  `json:"at_most"` // null if not known
	Invalid       int64   `json:"invalid"`
	LastEventTime *string `json:"last_event_time"`
}

type frequencyAnswer struct {
	UserID     string `json:"user_id"`
	Known      bool   `json:"known"`
	CampaignID string `json:"campaign_id"`
	EventType  string `json:"event_type"`
	frequency
	// Limit and Allowed are null if no limit was asked about.
	Limit   *int64 `json:"limit"`
	Allowed *bool  `json:"allowed"`
}

func newFrequency(f profiles.Frequency, period string) frequency {
	out := frequency{Period: period, Count: f.Count, Invalid: f.Invalid, LastEventTime: moment(f.Last)}
	if f.Known() {
		out.AtMost = &f.AtMost
	}
	return out
}

func (s *Server) getProfile(w http.ResponseWriter, r *http.Request) error {
	var v validation
	user := v.user("user_id", r.PathValue("user_id"))
	q := v.query(r, "period")
	d := v.period("period", q("period", defaultPeriod))
	if err := v.err(); err != nil {
		return err
	}
	period := profiles.Last(d, s.opts.Now())
	p, err := s.opts.Reader.Get(r.Context(), user, period)
	if errors.Is(err, profiles.ErrUnknown) {
		return &problem{Status: http.StatusNotFound, Code: "unknown_user", Detail: "nothing is known of this user"}
	}
	if err != nil {
		return err
	}
	view := View(p, period)
	// The tag is weak: it names what is known of the user, whatever the minute in
	// which it was asked for.
	same := view
	same.From, same.To = "", ""
	tag, err := etag(same)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeJSON(w, view)
}

func (s *Server) batchGet(w http.ResponseWriter, r *http.Request) error {
	var req batchRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	var v validation
	v.users("users", req.Users, s.opts.MaxUsers)
	if req.Period == "" {
		req.Period = defaultPeriod
	}
	d := v.period("period", req.Period)
	if err := v.err(); err != nil {
		return err
	}
	period := profiles.Last(d, s.opts.Now())
	found, err := s.opts.Reader.GetMany(r.Context(), req.Users, period)
	if err != nil {
		return err
	}
	answer := batchAnswer{Profiles: []Profile{}, Unknown: []string{}}
	done := map[string]bool{}
	for _, user := range req.Users {
		switch p := found[user]; {
		case done[user]:
		case p != nil:
			answer.Profiles = append(answer.Profiles, View(p, period))
		default:
			answer.Unknown = append(answer.Unknown, user)
		}
		done[user] = true
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, answer)
}

func (s *Server) getFrequency(w http.ResponseWriter, r *http.Request) error {
	var v validation
	user := v.user("user_id", r.PathValue("user_id"))
	q := v.query(r, "campaign_id", "event_type", "period", "limit")
	answer := frequencyAnswer{UserID: user, CampaignID: q("campaign_id", ""), EventType: q("event_type", profiles.Impression)}
	period := q("period", defaultPeriod)
	c := profiles.Cap{Campaign: answer.CampaignID, EventType: answer.EventType, Period: v.period("period", period)}
	if limit := q("limit", ""); limit != "" {
		c.Limit = v.limit("limit", limit)
		answer.Limit = &c.Limit
	}
	if err := v.err(); err != nil {
		return err
	}
	now := s.opts.Now()
	found, err := s.opts.Reader.GetMany(r.Context(), []string{user}, profiles.Last(c.Period, now))
	if err != nil {
		return err
	}
	decision := found[user].Check(c, now)
	answer.Known = found[user] != nil
	answer.frequency = newFrequency(decision.Frequency, period)
	if answer.Limit != nil {
		answer.Allowed = &decision.Allowed
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, answer)
}

func (s *Server) checkFrequency(w http.ResponseWriter, r *http.Request) error {
	var req checkRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	var v validation
	v.users("users", req.Users, s.opts.MaxUsers)
	if n := len(req.Caps); n == 0 || n > s.opts.MaxCaps {
		v.add("caps", "%d caps: want 1 to %d", n, s.opts.MaxCaps)
	}
	caps := make([]profiles.Cap, len(req.Caps))
	campaigns := make([]int, len(req.Caps)) // for each cap the first one of its campaign
	firsts := make(map[string]int, len(req.Caps))
	longest := profiles.Window
	for i := range req.Caps {
		c := &req.Caps[i]
		if c.EventType == "" {
			c.EventType = profiles.Impression
		}
		if c.Limit < 1 {
			v.add(fmt.Sprintf("caps[%d].limit", i), "%d: want at least 1", c.Limit)
		}
		period, ok := parsePeriod(c.Period)
		if !ok {
			v.addPeriod(fmt.Sprintf("caps[%d].period", i), c.Period)
		}
		caps[i] = profiles.Cap{Campaign: c.CampaignID, EventType: c.EventType, Limit: c.Limit, Period: period}
		longest = max(longest, period)
		if _, ok := firsts[c.CampaignID]; !ok {
			firsts[c.CampaignID] = i
		}
		campaigns[i] = firsts[c.CampaignID]
	}
	if err := v.err(); err != nil {
		return err
	}
	now := s.opts.Now()
	found, err := s.opts.Reader.GetMany(r.Context(), req.Users, profiles.Last(longest, now))
	if err != nil {
		return err
	}
	answer := checkAnswer{Users: make([]userDecision, 0, len(req.Users))}
	refused := make([]bool, len(caps))
	for _, user := range req.Users {
		p := found[user]
		u := userDecision{UserID: user, Known: p != nil, Allowed: []string{}, Caps: make([]capDecision, 0, len(caps))}
		clear(refused)
		for i, c := range caps {
			d := p.Check(c, now)
			u.Caps = append(u.Caps, capDecision{c.Campaign, c.EventType, c.Limit, newFrequency(d.Frequency, req.Caps[i].Period), d.Allowed})
			refused[campaigns[i]] = refused[campaigns[i]] || !d.Allowed
		}
		for i, c := range caps {
			if campaigns[i] == i && !refused[i] {
				u.Allowed = append(u.Allowed, c.Campaign)
			}
		}
		answer.Users = append(answer.Users, u)
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, &answer)
}

func (s *Server) getMetrics(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	var b bytes.Buffer
	s.metrics.write(&b)
	_, _ = w.Write(b.Bytes())
	return nil
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	return write(w, "application/json", OpenAPI)
}

// getHealth says that the process lives.
func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]string{"status": "ok"})
}

// getReady says whether requests should be sent here.
func (s *Server) getReady(w http.ResponseWriter, r *http.Request) error {
	if s.draining.Load() {
		return &problem{Status: http.StatusServiceUnavailable, Code: "draining", Detail: "this server is stopping"}
	}
	if err := s.ready.check(r.Context(), s); err != nil {
		s.opts.Log.Error("not ready", "error", err)
		return &problem{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the profile table cannot be read"}
	}
	return writeJSON(w, map[string]string{"status": "ready"})
}

// readJSON reads a request's body, which must be one JSON object without unknown
// fields. The body is in memory that serves again: what is read copies.
func readJSON(r *http.Request, into any) error {
	if kind := r.Header.Get("Content-Type"); kind != "application/json" {
		if kind, _, err := mime.ParseMediaType(kind); err != nil || kind != "application/json" {
			return &problem{Status: http.StatusUnsupportedMediaType, Code: "not_json", Detail: "send JSON, with the header 'Content-Type: application/json'"}
		}
	}
	body := buffers.Get().(*bytes.Buffer)
	defer putBuffer(body)
	_, err := body.ReadFrom(r.Body)
	if err == nil {
		if fast, ok := into.(interface{ parse(body string) bool }); ok && fast.parse(body.String()) {
			return nil
		}
		err = decodeJSON(body, into)
	}
	if err == nil {
		return nil
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: fmt.Sprintf("the body has more than %d bytes", large.Limit)}
	}
	if r.Context().Err() != nil {
		return r.Context().Err()
	}
	return &problem{Status: http.StatusBadRequest, Code: "invalid_json", Detail: strings.TrimPrefix(err.Error(), "json: ")}
}

func decodeJSON(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more follows the JSON object")
	}
	return nil
}

// buffers are for bodies.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// putBuffer gives a buffer back, unless it is larger than most bodies ask for.
func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= 64<<10 {
		b.Reset()
		buffers.Put(b)
	}
}

func writeJSON(w http.ResponseWriter, v any) error {
	b := buffers.Get().(*bytes.Buffer)
	defer putBuffer(b)
	if fast, ok := v.(interface{ appendJSON(dst []byte) []byte }); ok {
		b.Write(append(fast.appendJSON(b.AvailableBuffer()), '\n'))
		return write(w, "application/json", b.Bytes())
	}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return write(w, "application/json", b.Bytes())
}

func write(w http.ResponseWriter, kind string, body []byte) error {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // A client that went away needs no answer.
	return nil
}

// etag returns a weak entity tag of a value, the same on every server.
func etag(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, nil
}

// matches tells whether If-None-Match holds a tag, by weak comparison (RFC 9110,
// 8.8.3.2). Tags here have no commas.
func matches(headers []string, tag string) bool {
	for _, header := range headers {
		for candidate := range strings.SplitSeq(header, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// validation collects what is wrong with a request.
type validation struct{ errors []fieldError }

func (v *validation) add(field, format string, args ...any) {
	v.errors = append(v.errors, fieldError{field, fmt.Sprintf(format, args...)})
}

func (v *validation) err() error {
	if len(v.errors) == 0 {
		return nil
	}
	return &problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: v.errors[0].Field + ": " + v.errors[0].Detail, Errors: v.errors}
}

// maxUser is the length of the longest user id that has a profile, in bytes: a row
// key of 4 KiB less its prefix.
const maxUser = 4<<10 - 5

func validUser(user string) bool { return user != "" && len(user) <= maxUser }

func (v *validation) user(field, user string) string {
	if !validUser(user) {
		v.add(field, "%d bytes: want 1 to %d", len(user), maxUser)
	}
	return user
}

func (v *validation) users(field string, users []string, most int) {
	if len(users) == 0 || len(users) > most {
		v.add(field, "%d users: want 1 to %d", len(users), most)
		return
	}
	for i, user := range users {
		if !validUser(user) {
			v.user(fmt.Sprintf("%s[%d]", field, i), user)
		}
	}
}

// query returns a function that gives a parameter or its default. Unknown and
// repeated parameters are errors: a misspelled one must not be ignored.
func (v *validation) query(r *http.Request, known ...string) func(name, missing string) string {
	values := r.URL.Query()
	for name, all := range values {
		switch {
		case !slices.Contains(known, name):
			v.add(name, "no such parameter: want %s", strings.Join(known, ", "))
		case len(all) > 1:
			v.add(name, "it is given %d times", len(all))
		}
	}
	return func(name, missing string) string {
		if s := values.Get(name); s != "" {
			return s
		}
		return missing
	}
}

// parsePeriod reads a whole number of minutes, hours or days: 30m, 24h, 7d.
func parsePeriod(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 6 {
		return profiles.Window, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'm':
		unit = time.Minute
	case 'h':
		unit = time.Hour
	case 'd':
		unit = 24 * time.Hour
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	d := time.Duration(n) * unit
	if err != nil || d < profiles.Window || d > profiles.MaxPeriod() {
		return profiles.Window, false
	}
	return d, true
}

func (v *validation) addPeriod(field, s string) {
	v.add(field, "%q: want minutes, hours or days such as 30m, 24h or 7d, up to %dd, for which counters are kept", s, int(profiles.MaxPeriod().Hours())/24)
}

func (v *validation) period(field, s string) time.Duration {
	d, ok := parsePeriod(s)
	if !ok {
		v.addPeriod(field, s)
	}
	return d
}

func (v *validation) limit(field, s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		v.add(field, "%q: want a whole number, at least 1", s)
	}
	return n
}
