package profileserver

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"pixelbeam/local/bigtabled"
	"pixelbeam/local/pubsubd"
	"pixelbeam/local/traffic"
	"pixelbeam/profiles"
	"pixelbeam/schemas"
	pb "pixelbeam/schemas/pixelbeam/v1"
)

var (
	readRate  = flag.Int("reads", 2000, "BenchmarkLatency: reads a second")
	writeRate = flag.Float64("writes", 2000, "BenchmarkLatency: log entries a second into the job, 0 for no job")
)

// BenchmarkLatency asks a served Server for frequency caps (one user, ten caps, the
// windows of a day) at a fixed rate, while the job, a process of its own, turns
// generated log entries into profiles of the same users in the same local
// Bigtable. A request's latency is taken from when it was due, not from when it
// was sent, so that a server that stalls cannot hide it by slowing its clients
// (open loop). Run it for a minute at least, so that windows end while it does:
//
//	go test ./cmd/internal/profileserver -run '^$' -bench Latency -benchtime 150000x -timeout 20m
func BenchmarkLatency(b *testing.B) {
	if b.N == 1 {
		return // the first round of every benchmark; the next has what -benchtime says
	}
	e := startLatency(b)
	written, cpu := e.bigtable.Stats().RowsWritten, cpuTime(b)
	latencies := make([]time.Duration, b.N)
	var failed atomic.Int64
	var first atomic.Pointer[string]
	var requests sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	const pacers = 4
	var pacing sync.WaitGroup
	for p := range pacers {
		pacing.Go(func() {
			for i := p; i < b.N; i += pacers {
				due := start.Add(time.Duration(i) * time.Second / time.Duration(*readRate))
				time.Sleep(time.Until(due))
				requests.Go(func() {
					if err := e.ask(e.users[i*7919%len(e.users)]); err != nil {
						failed.Add(1)
						text := err.Error()
						first.CompareAndSwap(nil, &text)
					}
					latencies[i] = time.Since(due)
				})
			}
		})
	}
	pacing.Wait()
	requests.Wait()
	took := time.Since(start)
	b.StopTimer()
	cpu = cpuTime(b) - cpu
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d of %d requests failed, such as: %s", n, b.N, *first.Load())
	}
	slices.Sort(latencies)
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50-ms", 0.5}, {"p95-ms", 0.95}, {"p99-ms", 0.99}, {"p99.9-ms", 0.999}, {"max-ms", 1}} {
		b.ReportMetric(float64(latencies[min(int(q.at*float64(b.N)), b.N-1)].Microseconds())/1000, q.name)
	}
	b.ReportMetric(float64(b.N)/took.Seconds(), "reads/s")
	b.ReportMetric(float64(e.bigtable.Stats().RowsWritten-written)/took.Seconds(), "rows-written/s")
	// Of the clients, the server and Bigtable, which also takes the job's writes.
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/read")
	b.ReportMetric(0, "ns/op") // it is the rate, and says nothing
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// latency is the setting of BenchmarkLatency.
type latency struct {
	bigtable *bigtabled.Server
	url      string
	client   http.Client
	users    []string
}

// Names in the local cloud.
const (
	benchTopic        = "projects/p/topics/logs"
	benchSubscription = "projects/p/subscriptions/pixelbeam"
	benchUsers        = 5000
	benchWindows      = 60 // of history, for each user, in the last day
)

func startLatency(b *testing.B) *latency {
	b.Helper()
	dir := b.TempDir()
	e := &latency{}
	var err error
	if e.bigtable, err = bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: filepath.Join(dir, "bigtable")}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.bigtable.Close() })
	if err := e.bigtable.EnsureTable(b.Context(), "p", "i", schemas.Profiles()); err != nil {
		b.Fatal(err)
	}
	conn, err := grpc.NewClient(e.bigtable.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	client, err := bigtable.NewClientWithConfig(context.Background(), "p", "i",
		bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, option.WithGRPCConn(conn))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	reader := profiles.NewReader(client, profiles.Options{})

	if *writeRate > 0 {
		startJob(b, dir, e.bigtable.Addr())
		// The job's users are those that are asked for.
		for len(e.users) < benchUsers {
			e.users = e.users[:0]
			err := reader.Scan(b.Context(), profiles.Segment{}, func(p *profiles.Profile) bool {
				e.users = append(e.users, p.User)
				return len(e.users) < benchUsers
			})
			if err != nil {
				b.Fatal(err)
			}
			time.Sleep(time.Second)
		}
	}
	for len(e.users) < benchUsers {
		e.users = append(e.users, fmt.Sprint("user-", len(e.users)))
	}
	e.preload(b, client.Open(schemas.Profiles().Table))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- New(Options{Reader: reader, MaxConcurrent: 1000, Timeout: 10 * time.Second}).Serve(ctx, l, nil)
	}()
	b.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	e.url = "http://" + l.Addr().String() + "/v1/frequency:check"
	e.client.Transport = &http.Transport{MaxIdleConnsPerHost: 1000}
	b.Cleanup(e.client.CloseIdleConnections)
	for range 500 { // connections, and code that is paged in
		if err := e.ask(e.users[rand.IntN(len(e.users))]); err != nil {
			b.Fatal(err)
		}
	}
	return e
}

// preload gives every user a day of history.
func (e *latency) preload(b *testing.B, table *bigtable.Table) {
	b.Helper()
	now := time.Now().UTC().Truncate(time.Minute)
	for chunk := range slices.Chunk(e.users, 100) {
		var keys []string
		var muts []*bigtable.Mutation
		for _, user := range chunk {
			m := bigtable.NewMutation()
			for range benchWindows {
				i := rand.IntN(50)
				value, err := proto.Marshal(&pb.WindowCounters{Counters: []*pb.CampaignCounter{
					counter(fmt.Sprint("campaign-", i), profiles.Impression, 1), counter(fmt.Sprint("campaign-", i+1), profiles.Impression, 2),
					counter(fmt.Sprint("campaign-", i), profiles.Click, 1),
				}})
				if err != nil {
					b.Fatal(err)
				}
				m.Set(schemas.FamilyCounters, schemas.ColumnCounters, bigtable.Time(now.Add(-time.Duration(1+rand.IntN(1380))*time.Minute)), value)
			}
			keys, muts = append(keys, schemas.ProfileKey(user)), append(muts, m)
		}
		if errs, err := table.ApplyBulk(b.Context(), keys, muts); err != nil || errs != nil {
			b.Fatal(errs, err)
		}
	}
}

// ask checks ten caps of a user.
func (e *latency) ask(user string) error {
	req := checkRequest{Users: []string{user}}
	for i := range 10 {
		req.Caps = append(req.Caps, capRequest{CampaignID: fmt.Sprint("campaign-", i*5), Limit: 3, Period: "1d"})
	}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	res, err := e.client.Post(e.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"known":true`))) {
		err = fmt.Errorf("%s: %s", res.Status, answer)
	}
	return err
}

// startJob starts cmd/pixelbeam and sends it log entries until the benchmark ends.
func startJob(b *testing.B, dir, bigtableAddr string) {
	b.Helper()
	binary := filepath.Join(dir, "pixelbeam")
	if out, err := exec.Command("go", "build", "-o", binary, "pixelbeam/cmd/pixelbeam").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	pubsub, err := pubsubd.Start("127.0.0.1:0", pubsubd.Options{Dir: filepath.Join(dir, "pubsub")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { pubsub.Close() })
	if err := pubsub.CreateTopic(benchTopic); err != nil {
		b.Fatal(err)
	}
	if err := pubsub.CreateSubscription(benchSubscription, benchTopic); err != nil {
		b.Fatal(err)
	}
	job := exec.Command(binary, "--quiet", "--project=p", "--subscription="+benchSubscription, "--pubsub_endpoint="+pubsub.Addr(),
		"--bigtable_instance=i", "--bigtable_endpoint="+bigtableAddr, "--output_json="+filepath.Join(dir, "out"))
	var stderr bytes.Buffer
	job.Stderr = &stderr
	if err := job.Start(); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	sent := make(chan error, 1)
	go func() {
		opts := traffic.DefaultOptions()
		opts.Live = true
		sent <- traffic.Run(ctx, traffic.New(opts), *writeRate, func(_ context.Context, batch []traffic.Entry) error {
			msgs := make([]pubsubd.Message, len(batch))
			for i, entry := range batch {
				msgs[i] = pubsubd.Message{Data: entry.Data}
			}
			_, err := pubsub.Publish(benchTopic, msgs...)
			return err
		})
	}()
	b.Cleanup(func() {
		stop()
		if err := <-sent; err != nil {
			b.Error(err)
		}
		_ = job.Process.Signal(syscall.SIGTERM)
		if err := job.Wait(); err != nil && b.Failed() {
			b.Logf("job: %v\n%s", err, stderr.String())
		}
		_ = os.RemoveAll(dir)
	})
}
