package profileserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
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

// latency is the setting of BenchmarkLatency.
type latency struct {
	clients   clients
	requests  [][]byte
	processes []*process
	bigtable  *process

	began   time.Time
	cpu     []time.Duration // of the processes, and of this one, when it began
	written int
}

// Names in the local cloud.
const (
	benchTopic        = "projects/p/topics/logs"
	benchSubscription = "projects/p/subscriptions/pixelbeam"
	benchUsers        = 5000
	benchWindows      = 60 // of history, for each user, in the last day
)

// Roles that this program takes, by roleVariable, when it is started as one of the
// processes of BenchmarkLatency.
const (
	roleVariable    = "PIXELBEAM_LATENCY_ROLE"
	profileVariable = "PIXELBEAM_LATENCY_PROFILES"
	traceVariable   = "PIXELBEAM_LATENCY_TRACE"
)

var roles = map[string]func(args []string) (addr string, rows func() int64, end func() error, err error){
	"bigtable": bigtableRole,
	"server":   serverRole,
	"logs":     logsRole,
}

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		if err := playRole(role); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Getenv(roleVariable), err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// playRole prints the address, and goes on until the standard input ends. To each
// line of that it answers with the number of rows; start and stop are of profiling.
func playRole(role func([]string) (string, func() int64, func() error, error)) error {
	addr, rows, end, err := role(os.Args[1:])
	if err != nil {
		return err
	}
	fmt.Println(addr)
	stop := func() error { return nil }
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var err error
		switch dir := os.Getenv(profileVariable); {
		case dir == "":
		case in.Text() == "start":
			stop, err = startProfiles(filepath.Join(dir, os.Getenv(roleVariable)))
		case in.Text() == "stop":
			err = stop()
		}
		if err != nil {
			return err
		}
		fmt.Println(rows())
	}
	return end()
}

// startProfiles begins a CPU profile and, if *traceToo, a trace; the function that it
// returns ends them.
func startProfiles(name string) (stop func() error, err error) {
	cpu, err := os.Create(name + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	stop = func() error {
		pprof.StopCPUProfile()
		return cpu.Close()
	}
	if os.Getenv(traceVariable) == "" {
		return stop, nil
	}
	events, err := os.Create(name + ".trace")
	if err != nil {
		return nil, err
	}
	return func() error {
		trace.Stop()
		return errors.Join(events.Close(), stop())
	}, trace.Start(events)
}

// process is one beside this.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	addr string
	rows func() int64 // if it is in this process
}

// startRole starts this program in a role, or plays it in this process.
func (e *latency) startRole(b *testing.B, role string, args ...string) *process {
	b.Helper()
	if !*apart {
		addr, rows, end, err := roles[role](args)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := end(); err != nil {
				b.Errorf("%s: %v", role, err)
			}
		})
		return &process{name: role, addr: addr, rows: rows}
	}
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, profileVariable+"="+*profileTo)
	if *traceToo {
		cmd.Env = append(cmd.Env, traceVariable+"=1")
	}
	p := &process{name: role, cmd: cmd}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if p.in, err = cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		p.in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("%s: %v", role, err)
		}
	})
	p.out = bufio.NewScanner(out)
	if !p.out.Scan() {
		b.Fatalf("%s did not start", role)
	}
	p.addr = p.out.Text()
	e.processes = append(e.processes, p)
	return p
}

// tell sends a line and returns the number of rows that is the answer.
func (p *process) tell(b *testing.B, line string) int {
	b.Helper()
	if p.rows != nil {
		return int(p.rows())
	}
	if _, err := fmt.Fprintln(p.in, line); err != nil || !p.out.Scan() {
		b.Fatalf("%s: %v", p.name, errors.Join(err, p.out.Err()))
	}
	n, err := strconv.Atoi(p.out.Text())
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// cpuTime is what a process has used, by Linux's /proc; 0 elsewhere.
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The fields after the name, which is in brackets: utime is the 14th of all.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] {
		n, _ := strconv.Atoi(field)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

func (e *latency) cpuTimes() []time.Duration {
	all := make([]time.Duration, 0, len(e.processes)+1)
	for _, p := range e.processes {
		all = append(all, cpuTime(p.cmd.Process.Pid))
	}
	return append(all, cpuTime(os.Getpid()))
}

// start is called before requests are measured.
func (e *latency) start(b *testing.B) {
	for _, p := range e.processes {
		if p.in != nil {
			p.tell(b, "start")
		}
	}
	e.written = e.bigtable.tell(b, "")
	e.began, e.cpu = time.Now(), e.cpuTimes()
}

// stop is called after requests were measured, and reports what they took.
func (e *latency) stop(b *testing.B) {
	took := time.Since(e.began)
	var total time.Duration
	for i, cpu := range e.cpuTimes() {
		cpu -= e.cpu[i]
		total += cpu
		name := "client"
		if !*apart {
			name = "this"
		}
		if i < len(e.processes) {
			name = e.processes[i].name
		}
		b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), name+"-us/read")
	}
	b.ReportMetric(total.Seconds()/took.Seconds(), "cores")
	b.ReportMetric(float64(b.N)/took.Seconds(), "reads/s")
	b.ReportMetric(float64(e.bigtable.tell(b, "")-e.written)/took.Seconds(), "rows-written/s")
	for _, p := range e.processes {
		if p.in != nil {
			p.tell(b, "stop")
		}
	}
}

// goAhead has Linux run all processes but the job before any of usual priority.
func (e *latency) goAhead(b *testing.B) {
	b.Helper()
	pids := []int{os.Getpid()}
	for _, p := range e.processes {
		if p.name != "job" {
			pids = append(pids, p.cmd.Process.Pid)
		}
	}
	for _, pid := range pids {
		if out, err := exec.Command("chrt", "--all-tasks", "--rr", "--pid", "1", fmt.Sprint(pid)).CombinedOutput(); err != nil {
			b.Fatalf("chrt: %v: %s", err, out)
		}
	}
}

func startLatency(b *testing.B) *latency {
	b.Helper()
	dir := b.TempDir()
	e := &latency{}
	e.bigtable = e.startRole(b, "bigtable", filepath.Join(dir, "bigtable"))
	client, err := benchClient(e.bigtable.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	var users []string
	if *writeRate > 0 {
		e.startJob(b, dir)
		// The job's users are those that are asked for.
		for reader := profiles.NewReader(client, profiles.Options{}); len(users) < benchUsers; time.Sleep(time.Second) {
			users = users[:0]
			err := reader.Scan(b.Context(), profiles.Segment{}, func(p *profiles.Profile) bool {
				users = append(users, p.User)
				return len(users) < benchUsers
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	for len(users) < benchUsers {
		users = append(users, fmt.Sprint("user-", len(users)))
	}
	preload(b, client.Open(schemas.Profiles().Table), users)
	for _, user := range users {
		e.requests = append(e.requests, request(user))
	}
	e.clients.addr = e.startRole(b, "server", e.bigtable.addr, fmt.Sprint(*maxCalls)).addr
	b.Cleanup(e.clients.close)
	return e
}

func benchClient(addr string) (*bigtable.Client, error) {
	conn, err := grpc.NewClient(addr, append(profiles.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, err
	}
	return bigtable.NewClientWithConfig(context.Background(), "p", "i",
		bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, option.WithGRPCConn(conn))
}

// bigtableRole is the local Bigtable, in the folder args[0].
func bigtableRole(args []string) (string, func() int64, func() error, error) {
	s, err := bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: args[0]})
	if err != nil {
		return "", nil, nil, err
	}
	if err := s.EnsureTable(context.Background(), "p", "i", schemas.Profiles()); err != nil {
		return "", nil, nil, err
	}
	return s.Addr(), func() int64 { return s.Stats().RowsWritten }, s.Close, nil
}

// serverRole is a Server that reads of the Bigtable at args[0], with args[1] requests
// at once. Its limits are far
// away, so that what is slow is seen as slow.
func serverRole(args []string) (string, func() int64, func() error, error) {
	debug.SetGCPercent(GCPercent)
	debug.SetMemoryLimit(MemoryLimit)
	calls, err := strconv.Atoi(args[1])
	if err != nil {
		return "", nil, nil, err
	}
	client, err := benchClient(args[0])
	if err != nil {
		return "", nil, nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		reader := profiles.NewReader(client, profiles.Options{MaxCalls: calls})
		served <- New(Options{
			Reader: reader, MaxConcurrent: 10_000, Timeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
		}).Serve(ctx, l, nil)
	}()
	end := func() error {
		stop()
		return errors.Join(<-served, client.Close())
	}
	return l.Addr().String(), func() int64 { return 0 }, end, nil
}

// logsRole is a Pub/Sub in the folder args[0], and what publishes args[1] log
// entries a second to it.
func logsRole(args []string) (string, func() int64, func() error, error) {
	rate, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return "", nil, nil, err
	}
	pubsub, err := pubsubd.Start("127.0.0.1:0", pubsubd.Options{Dir: args[0]})
	if err != nil {
		return "", nil, nil, err
	}
	if err := errors.Join(pubsub.CreateTopic(benchTopic), pubsub.CreateSubscription(benchSubscription, benchTopic)); err != nil {
		return "", nil, nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	sent := make(chan error, 1)
	go func() {
		opts := traffic.DefaultOptions()
		opts.Live = true
		sent <- traffic.Run(ctx, traffic.New(opts), rate, func(_ context.Context, batch []traffic.Entry) error {
			msgs := make([]pubsubd.Message, len(batch))
			for i, entry := range batch {
				msgs[i] = pubsubd.Message{Data: entry.Data}
			}
			_, err := pubsub.Publish(benchTopic, msgs...)
			return err
		})
	}()
	end := func() error {
		stop()
		err := <-sent
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		return errors.Join(err, pubsub.Close())
	}
	return pubsub.Addr(), func() int64 { return 0 }, end, nil
}

// preload gives every user a day of history.
func preload(b *testing.B, table *bigtable.Table, users []string) {
	b.Helper()
	now := time.Now().UTC().Truncate(time.Minute)
	for chunk := range slices.Chunk(users, 100) {
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

// startJob starts cmd/pixelbeam and sends it log entries until the benchmark ends.
func (e *latency) startJob(b *testing.B, dir string) {
	b.Helper()
	binary := filepath.Join(dir, "pixelbeam")
	if out, err := exec.Command("go", "build", "-o", binary, "pixelbeam/cmd/pixelbeam").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	logs := e.startRole(b, "logs", filepath.Join(dir, "pubsub"), fmt.Sprint(*writeRate))
	args := []string{
		"--quiet", "--project=p", "--subscription=" + benchSubscription, "--pubsub_endpoint=" + logs.addr,
		"--bigtable_instance=i", "--bigtable_endpoint=" + e.bigtable.addr, "--output_json=" + filepath.Join(dir, "out"),
	}
	cmd := exec.Command(binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	e.processes = append(e.processes, &process{name: "job", cmd: cmd})
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil && b.Failed() {
			b.Logf("job: %v\n%s", err, stderr.String())
		}
	})
}
