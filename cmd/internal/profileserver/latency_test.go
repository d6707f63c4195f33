package profileserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pixelbeam/schemas"
)

var (
	readRate  = flag.Int("reads", 2000, "BenchmarkLatency: reads a second")
	writeRate = flag.Float64("writes", 2000, "BenchmarkLatency: log entries a second into the job, 0 for no job")
	ahead     = flag.Bool("ahead", false, "BenchmarkLatency: all but the job go before it and everything else (SCHED_RR, by chrt of util-linux, as root)")
	maxCalls  = flag.Int("calls", MaxCalls, "BenchmarkLatency: --max_calls of the server")
	warmUp    = flag.Duration("warmup", 10*time.Second, "BenchmarkLatency: how long reads and writes go on before they are measured")
	apart     = flag.Bool("apart", false, "BenchmarkLatency: a process each for client, server, Bigtable and logs, not one for all but the job")
	profileTo = flag.String("profiles", "", "BenchmarkLatency: `folder` for a CPU profile of each process, ROLE.cpu")
	traceToo  = flag.Bool("traces", false, "BenchmarkLatency: with -profiles, an execution trace as well, ROLE.trace")
)

// BenchmarkLatency asks a served Server for frequency caps (one user, ten caps, the
// windows of a day) at a fixed rate, while the job, a process of its own, turns
// generated log entries into profiles of the same users in the same local
// Bigtable. A request's latency is taken from when it was due, not from when it was
// sent, so that a server that stalls cannot hide it by slowing its clients (open
// loop). Run it for a minute at least, so that windows end while it does:
//
//	go test ./cmd/internal/profileserver -run '^$' -bench Latency -benchtime 120000x -timeout 20m
//
// With -ahead the job takes no processor from the others while they want it, as in
// production, where it is on other machines; nor does what else this machine does.
//
// With -apart client, Server, Bigtable, and Pub/Sub with what publishes to it, are
// processes of their own, as in production, but here on the same few processors:
// that takes twice the CPU time, for waking each other. The CPU time of each is
// reported, a read; with -profiles a CPU profile of each is written as well. The
// client is light, as an ad server has a machine of its own.
func BenchmarkLatency(b *testing.B) {
	if b.N == 1 {
		return // the first round of every benchmark; the next has what -benchtime says
	}
	e := startLatency(b)
	if *ahead {
		e.goAhead(b)
	}
	if _, err := e.ask(int(warmUp.Seconds()) * *readRate); err != nil {
		b.Fatal(err)
	}
	e.start(b)
	b.ResetTimer()
	latencies, err := e.ask(b.N)
	b.StopTimer()
	e.stop(b)
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(latencies)
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50-ms", 0.5}, {"p95-ms", 0.95}, {"p99-ms", 0.99}, {"p99.9-ms", 0.999}, {"max-ms", 1}} {
		b.ReportMetric(float64(latencies[min(int(q.at*float64(b.N)), b.N-1)].Microseconds())/1000, q.name)
	}
	b.ReportMetric(0, "ns/op") // it is the rate, and says nothing
}

// BenchmarkCheck is what one of those requests takes, one after another and without
// the job: the client, Server, Bigtable and what is between them, in one process.
func BenchmarkCheck(b *testing.B) {
	bigtableAddr, _, stopBigtable, err := bigtableRole([]string{b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	client, err := benchClient(bigtableAddr)
	if err != nil {
		b.Fatal(err)
	}
	var users []string
	for i := range 1000 {
		users = append(users, fmt.Sprint("user-", i))
	}
	preload(b, client.Open(schemas.Profiles().Table), users)
	addr, _, stopServer, err := serverRole([]string{bigtableAddr, fmt.Sprint(*maxCalls)})
	if err != nil {
		b.Fatal(err)
	}
	c := clients{addr: addr}
	b.Cleanup(func() {
		c.close()
		if err := errors.Join(stopServer(), client.Close(), stopBigtable()); err != nil {
			b.Error(err)
		}
	})
	var requests [][]byte
	for _, user := range users {
		requests = append(requests, request(user))
	}
	done := make(chan error, 1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.send(requests[i%len(requests)], func(err error) { done <- err })
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// ask sends n requests, each when it is due, and returns how long after that each
// was answered. The error says how many failed, and how the first did.
func (e *latency) ask(n int) ([]time.Duration, error) {
	latencies := make([]time.Duration, n)
	var failed atomic.Int64
	var first atomic.Pointer[error]
	done := func(i int, due time.Time, err error) {
		latencies[i] = time.Since(due)
		if err != nil {
			failed.Add(1)
			first.CompareAndSwap(nil, &err)
		}
	}
	start := time.Now()
	const pacers = 4
	var pacing, requests sync.WaitGroup
	for p := range pacers {
		pacing.Go(func() {
			for i := p; i < n; i += pacers {
				due := start.Add(time.Duration(i) * time.Second / time.Duration(*readRate))
				time.Sleep(time.Until(due))
				requests.Add(1)
				e.clients.send(e.requests[i*7919%len(e.requests)], func(err error) {
					done(i, due, err)
					requests.Done()
				})
			}
		})
	}
	pacing.Wait()
	requests.Wait()
	if n := failed.Load(); n > 0 {
		return nil, fmt.Errorf("%d of %d requests failed, such as: %w", n, len(latencies), *first.Load())
	}
	return latencies, nil
}

// request is ten caps of a user, as it goes over the wire.
func request(user string) []byte {
	req := checkRequest{Users: []string{user}}
	for i := range 10 {
		req.Caps = append(req.Caps, capRequest{CampaignID: fmt.Sprint("campaign-", i*5), Limit: 3, Period: "1d"})
	}
	body, err := json.Marshal(req)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return fmt.Appendf(nil, "POST /v1/frequency:check HTTP/1.1\r\nHost: localhost\r\nUser-Agent: latency\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// clients are connections of HTTP/1.1, as many as there are requests at once. They
// are light, for an ad server has a machine of its own.
type clients struct {
	addr string

	mu   sync.Mutex
	idle []*httpConn // the last used comes first
}

// send sends a request and calls done, perhaps before it returns.
func (c *clients) send(request []byte, done func(error)) {
	c.mu.Lock()
	var conn *httpConn
	if n := len(c.idle); n > 0 {
		conn, c.idle = c.idle[n-1], c.idle[:n-1]
	}
	c.mu.Unlock()
	if conn == nil {
		conn = &httpConn{work: make(chan job, 1)}
		go conn.run(c)
	}
	conn.work <- job{request, done}
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		close(conn.work)
	}
	c.idle = nil
}

type job struct {
	request []byte
	done    func(error)
}

type httpConn struct{ work chan job }

// run sends one request after another, each when the one before was answered.
func (h *httpConn) run(c *clients) {
	var conn net.Conn
	var r *bufio.Reader
	var body []byte
	for j := range h.work {
		var err error
		if conn == nil {
			if conn, err = net.Dial("tcp", c.addr); err != nil {
				j.done(err)
				return
			}
			defer conn.Close()
			r = bufio.NewReaderSize(conn, 16<<10)
		}
		if _, err = conn.Write(j.request); err == nil {
			body, err = readAnswer(r, body[:0])
		}
		if err == nil && !bytes.Contains(body, []byte(`"known":true`)) {
			err = fmt.Errorf("not of a known user: %s", body)
		}
		j.done(err)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.idle = append(c.idle, h)
		c.mu.Unlock()
	}
}

// readAnswer appends the body of an answer, which must be a 200 with a length.
func readAnswer(r *bufio.Reader, body []byte) ([]byte, error) {
	length, status := -1, ""
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimSuffix(line, []byte("\r\n"))
		if len(line) == 0 {
			break
		}
		if status == "" {
			status = string(line)
		} else if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return nil, err
			}
		}
	}
	if length < 0 {
		return nil, errors.New("an answer without a length: " + status)
	}
	body = slices.Grow(body, length)[:length]
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	if status != "HTTP/1.1 200 OK" {
		return nil, fmt.Errorf("%s: %s", status, body)
	}
	return body, nil
}
