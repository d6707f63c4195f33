package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// flinkPoll is the most time between two questions, and flinkPollMin the least:
	// in between, three are asked while an answer lives in Flink's cache.
	flinkPoll    = time.Second
	flinkPollMin = 50 * time.Millisecond
	flinkTimeout = 10 * time.Second
	// flinkAnswer is the most bytes of an answer. That on the checkpoints has the
	// last ten of them.
	flinkAnswer = 16 << 20
	// flinkCache is how long Flink answers from its cache if its configuration does
	// not say otherwise.
	// https://nightlies.apache.org/flink/flink-docs-stable/docs/deployment/config/#rest-cache-checkpoint-statistics-timeout
	flinkCache = 3 * time.Second
)

// flinkWatch asks Flink's REST API for the checkpoints of one job.
// https://nightlies.apache.org/flink/flink-docs-stable/docs/ops/rest_api/
type flinkWatch struct {
	base   string
	job    string
	client *http.Client
	warn   func(format string, args ...any)

	id     string        // of the job; empty: not known
	cache  time.Duration // time to live of its answers; 0: not known
	answer atomic.Pointer[checkpoints]
}

func newFlinkWatch(cfg FlinkConfig, warn func(string, ...any)) *flinkWatch {
	return &flinkWatch{base: cfg.base(), job: cfg.Job, client: &http.Client{Timeout: flinkTimeout}, warn: warn}
}

// latest is the last answer, or nil.
func (w *flinkWatch) latest() *checkpoints { return w.answer.Load() }

// run asks until ctx is over, and tells of each answer.
func (w *flinkWatch) run(ctx context.Context, tell func(*checkpoints)) {
	defer w.client.CloseIdleConnections()
	for {
		c, err := w.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.warn("messages are not acknowledged while Flink does not tell of checkpoints of the job %s: %v", w.job, err)
		default:
			w.answer.Store(c)
			tell(c)
		}
		pause := flinkPoll
		if err == nil {
			pause = min(pause, max(flinkPollMin, w.cache/3))
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// ask returns the state of the job's checkpoints.
func (w *flinkWatch) ask(ctx context.Context) (*checkpoints, error) {
	if w.cache == 0 {
		d, err := w.cacheTime(ctx)
		if err != nil {
			return nil, err
		}
		w.cache = d
	}
	if w.id == "" {
		id, err := w.find(ctx)
		if err != nil {
			return nil, err
		}
		w.id = id
	}
	type checkpoint struct {
		ID          int64  `json:"id"`
		Status      string `json:"status"`
		IsSavepoint bool   `json:"is_savepoint"`
	}
	var answer struct {
		Latest struct {
			Completed *checkpoint `json:"completed"`
			Restored  *struct {
				ID        int64 `json:"id"`
				Timestamp int64 `json:"restore_timestamp"`
			} `json:"restored"`
		} `json:"latest"`
		History []checkpoint `json:"history"`
	}
	asOf := time.Now().Add(-w.cache)
	if err := w.get(ctx, "/jobs/"+w.id+"/checkpoints", &answer); err != nil {
		w.id = "" // it may have been launched again
		return nil, err
	}
	c := &checkpoints{asOf: asOf, era: w.id}
	if r := answer.Latest.Restored; r != nil {
		c.restored = true
		c.era += fmt.Sprintf(" restored from %d at %d", r.ID, r.Timestamp)
	}
	if p := answer.Latest.Completed; p != nil && !p.IsSavepoint && p.Status == "COMPLETED" {
		c.completed, c.begun = p.ID, p.ID
	}
	for _, p := range answer.History {
		c.begun = max(c.begun, p.ID)
		if p.Status == "COMPLETED" && !p.IsSavepoint {
			c.completed = max(c.completed, p.ID)
		}
	}
	return c, nil
}

// find returns the id of the one job of that name that has not ended.
func (w *flinkWatch) find(ctx context.Context) (string, error) {
	n, id, err := w.jobs(ctx)
	switch {
	case err != nil:
		return "", err
	case n == 0:
		return "", fmt.Errorf("%s has no running job of that name: is it the cluster that runs it (--flink_master)?", w.base)
	case n > 1:
		return "", fmt.Errorf("%s has %d running jobs of that name: launch each with a --job_name of its own", w.base, n)
	}
	return id, nil
}

// jobs returns how many jobs of that name have not ended, and the id of one.
func (w *flinkWatch) jobs(ctx context.Context) (n int, id string, err error) {
	var answer struct {
		Jobs []struct{ JID, Name, State string } `json:"jobs"`
	}
	if err := w.get(ctx, "/jobs/overview", &answer); err != nil {
		return 0, "", err
	}
	for _, j := range answer.Jobs {
		if j.Name == w.job && j.State != "FINISHED" && j.State != "CANCELED" && j.State != "FAILED" {
			n, id = n+1, j.JID
		}
	}
	return n, id, nil
}

// Running tells whether a job of that name runs, or several do. A second one would
// keep both from acknowledging.
func (c FlinkConfig) Running(ctx context.Context) (bool, error) {
	w := newFlinkWatch(c, nil)
	defer w.client.CloseIdleConnections()
	n, _, err := w.jobs(ctx)
	return n > 0, err
}

// cacheTime returns how old an answer on checkpoints may be.
func (w *flinkWatch) cacheTime(ctx context.Context) (time.Duration, error) {
	var settings []struct{ Key, Value string }
	if err := w.get(ctx, "/jobmanager/config", &settings); err != nil {
		return 0, err
	}
	values := map[string]string{}
	for _, s := range settings {
		values[s.Key] = s.Value
	}
	for _, key := range []string{"rest.cache.checkpoint-statistics.timeout", "web.refresh-interval"} {
		if v, ok := values[key]; ok {
			d, err := flinkDuration(v)
			if err != nil {
				return 0, fmt.Errorf("%s of Flink's configuration: %w", key, err)
			}
			return max(d, time.Millisecond), nil
		}
	}
	return flinkCache, nil
}

func (w *flinkWatch) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+path, nil)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, flinkAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s answers %s", w.base, path, resp.Status)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s%s: %w", w.base, path, err)
	}
	return nil
}

var flinkDurationPattern = regexp.MustCompile(`^(\d+)\s*([a-zµ]*)$`)

// flinkUnits are the units of Flink's durations.
// https://nightlies.apache.org/flink/flink-docs-stable/docs/deployment/config/
var flinkUnits = map[string]time.Duration{
	"d": 24 * time.Hour, "day": 24 * time.Hour,
	"h": time.Hour, "hour": time.Hour,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"": time.Millisecond, "ms": time.Millisecond, "milli": time.Millisecond, "millisecond": time.Millisecond,
	"µs": time.Microsecond, "micro": time.Microsecond, "microsecond": time.Microsecond,
	"ns": time.Nanosecond, "nano": time.Nanosecond, "nanosecond": time.Nanosecond,
}

// flinkDuration reads a duration as Flink writes it: "10 s", "1min", or a number of
// milliseconds.
func flinkDuration(s string) (time.Duration, error) {
	m := flinkDurationPattern.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if m != nil {
		n, err := strconv.ParseInt(m[1], 10, 32)
		unit, ok := flinkUnits[m[2]]
		if !ok {
			unit, ok = flinkUnits[strings.TrimSuffix(m[2], "s")]
		}
		if ok && err == nil {
			return time.Duration(n) * unit, nil
		}
	}
	return 0, fmt.Errorf("%q is not a duration", s)
}

// FlinkConfig says how a reader on Flink learns of checkpoints.
type FlinkConfig struct {
	// Master is host:port, or a URL, of Flink's REST API, reached from the task
	// managers.
	Master string
	// Job is the job's name, which no other running job of the cluster has.
	Job string
	// MaxHeld is how many messages may wait for a checkpoint. The reader pulls no
	// more until there are fewer, so it bounds the memory (about 250 bytes each)
	// and, with the time between checkpoints, the rate. 0 means DefaultMaxHeld.
	MaxHeld int
}

// DefaultMaxHeld is FlinkConfig's MaxHeld.
const DefaultMaxHeld = 1_000_000

// base is the URL of the REST API, without a slash at its end.
func (c FlinkConfig) base() string {
	if strings.Contains(c.Master, "://") {
		return strings.TrimSuffix(c.Master, "/")
	}
	return "http://" + c.Master
}

// Validate reports everything that is wrong with the configuration.
func (c FlinkConfig) Validate() error {
	var errs []error
	if u, err := url.Parse(c.base()); err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("%q is not an address of Flink's REST API: give host:port or a URL", c.Master))
	}
	if c.Job == "" {
		errs = append(errs, errors.New("a job on Flink needs a name"))
	}
	if c.MaxHeld < 0 {
		errs = append(errs, fmt.Errorf("the most messages that wait for a checkpoint are %d: it must be at least 1", c.MaxHeld))
	}
	return errors.Join(errs...)
}
