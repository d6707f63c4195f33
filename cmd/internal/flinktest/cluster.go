package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cluster is a job manager, two task managers and a job server, all on loopback.
type cluster struct {
	tools     *tools
	config    *config
	dir       string
	url       string // of the REST API
	jobServer string // host:port
	pollEvery time.Duration

	all        []*process
	jobManager *process
	managers   []*process // task managers
	started    int        // of them
}

// process is a program that runs; its output is in a file.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

func startProcess(dir, name string, program string, args ...string) (*process, error) {
	out, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{name: name, cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to pass on
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// kill is kill -9 of the process and all that it has started.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ports returns n free ports.
func ports(n int) ([]int, error) {
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out, nil
}

// opens is what Flink needs of Java 17.
var opens = []string{"java.util", "java.lang", "java.net", "java.io", "java.nio", "java.lang.reflect", "java.text", "java.time",
	"java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"}

func (c *cluster) java(heap string, args ...string) []string {
	out := []string{"-Xmx" + heap, "-Dlog4j.configurationFile=" + filepath.Join(c.dir, "conf", "log4j.properties")}
	for _, p := range opens {
		out = append(out, "--add-opens=java.base/"+p+"=ALL-UNNAMED")
	}
	return append(out, args...)
}

const log4j = `rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
`

// startCluster starts everything and waits until both task managers are there.
func startCluster(ctx context.Context, t *tools, c *config, dir string) (_ *cluster, err error) {
	free, err := ports(5)
	if err != nil {
		return nil, err
	}
	cl := &cluster{tools: t, config: c, dir: dir, url: fmt.Sprintf("http://127.0.0.1:%d", free[0]), jobServer: fmt.Sprintf("127.0.0.1:%d", free[2]), pollEvery: 200 * time.Millisecond}
	defer func() {
		if err != nil {
			cl.close()
		}
	}()
	conf := filepath.Join(dir, "conf")
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return nil, err
	}
	// A task manager wants all its memory told, as Flink's shell scripts do.
	settings := map[string]string{
		"jobmanager.rpc.address": "127.0.0.1", "jobmanager.rpc.port": strconv.Itoa(free[1]), "jobmanager.bind-host": "127.0.0.1",
		"rest.address": "127.0.0.1", "rest.bind-address": "127.0.0.1", "rest.port": strconv.Itoa(free[0]),
		"taskmanager.host": "127.0.0.1", "taskmanager.bind-host": "127.0.0.1",
		"taskmanager.numberOfTaskSlots": strconv.Itoa(c.parallelism), "taskmanager.cpu.cores": "1",
		"taskmanager.memory.framework.heap.size": "128m", "taskmanager.memory.framework.off-heap.size": "128m",
		"taskmanager.memory.task.heap.size": "512m", "taskmanager.memory.task.off-heap.size": "0m",
		"taskmanager.memory.managed.size": "64m", "taskmanager.memory.network.min": "64m", "taskmanager.memory.network.max": "64m",
		"taskmanager.memory.jvm-metaspace.size": "256m", "taskmanager.memory.jvm-overhead.min": "192m", "taskmanager.memory.jvm-overhead.max": "192m",
		// Subtasks on both task managers.
		"taskmanager.load-balance.mode": "SLOTS", "cluster.evenly-spread-out-slots": "true",
		"heartbeat.interval": "1000", "heartbeat.timeout": "10000",
		"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": "100", "restart-strategy.fixed-delay.delay": "1 s",
		"state.checkpoints.dir": "file://" + filepath.Join(dir, "checkpoints"), "state.savepoints.dir": "file://" + filepath.Join(dir, "savepoints"),
		"io.tmp.dirs": filepath.Join(dir, "tmp"),
	}
	var yaml strings.Builder
	for k, v := range settings {
		fmt.Fprintf(&yaml, "%s: %s\n", k, v)
	}
	err = errors.Join(
		os.MkdirAll(filepath.Join(dir, "tmp"), 0o755),
		os.WriteFile(filepath.Join(conf, "config.yaml"), []byte(yaml.String()), 0o644),
		os.WriteFile(filepath.Join(conf, "log4j.properties"), []byte(log4j), 0o644),
	)
	if err != nil {
		return nil, err
	}
	if err := cl.startFlink(ctx); err != nil {
		return nil, err
	}
	if err := cl.start("jobserver", cl.java("512m", "-jar", t.jobServer, "--flink-master="+strings.TrimPrefix(cl.url, "http://"),
		"--artifacts-dir="+filepath.Join(dir, "artifacts"), "--job-host=127.0.0.1", "--job-port="+strconv.Itoa(free[2]),
		"--artifact-port="+strconv.Itoa(free[3]), "--expansion-port="+strconv.Itoa(free[4]))...); err != nil {
		return nil, err
	}
	return cl, cl.wait(ctx, c.patience, "the job server", func() (bool, error) {
		conn, err := net.DialTimeout("tcp", cl.jobServer, time.Second)
		if err != nil {
			return false, nil
		}
		return true, conn.Close()
	})
}

func (c *cluster) start(name string, args ...string) error {
	p, err := startProcess(c.dir, name, c.tools.java, args...)
	if err == nil {
		c.all = append(c.all, p)
	}
	return err
}

// startFlink starts the job manager and the task managers, and waits for them.
func (c *cluster) startFlink(ctx context.Context) error {
	err := c.start(fmt.Sprintf("jobmanager-%d", c.started), c.java("512m", "-cp", filepath.Join(c.tools.lib, "*"),
		"org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint", "--configDir", filepath.Join(c.dir, "conf"))...)
	if err != nil {
		return err
	}
	c.jobManager = c.all[len(c.all)-1]
	for range 2 {
		if err := c.startManager(); err != nil {
			return err
		}
	}
	return c.wait(ctx, c.config.patience, "the task managers", func() (bool, error) {
		var o struct{ TaskManagers int }
		return c.get("/overview", &o) == nil && o.TaskManagers >= 2, nil
	})
}

// killManagers is kill -9 of all task managers and their workers.
func (c *cluster) killManagers() {
	for _, p := range c.managers {
		p.kill()
	}
}

// newest returns the newest complete checkpoint of a job, as it lies on the disk: what
// Flink has told of it, it had written before.
func (c *cluster) newest(job string) (path string, err error) {
	found, err := filepath.Glob(filepath.Join(c.dir, "checkpoints", job, "chk-*", "_metadata"))
	if err != nil {
		return "", err
	}
	most := 0
	for _, name := range found {
		dir := filepath.Dir(name)
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), "chk-")); err == nil && n > most {
			most, path = n, "file://"+dir
		}
	}
	if path == "" {
		return "", fmt.Errorf("no checkpoint of %s is complete", job)
	}
	return path, nil
}

func (c *cluster) startManager() error {
	c.started++
	err := c.start(fmt.Sprintf("taskmanager-%d", c.started), c.java("640m", "-cp", filepath.Join(c.tools.lib, "*"),
		"org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", filepath.Join(c.dir, "conf"))...)
	if err == nil {
		c.managers = append(c.managers, c.all[len(c.all)-1])
	}
	return err
}

func (c *cluster) close() {
	for _, p := range c.all {
		p.kill()
	}
}

// wait polls until a condition holds.
func (c *cluster) wait(ctx context.Context, patience time.Duration, what string, condition func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; {
		ok, err := condition()
		if ok || err != nil {
			return err
		}
		if p := c.jobManager; p.ended() {
			return fmt.Errorf("the %s has ended: see %s.log", p.name, p.name)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s", patience, what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.pollEvery):
		}
	}
}

func (c *cluster) get(path string, v any) error {
	resp, err := http.Get(c.url + path)
	if err != nil {
		return err
	}
	return answer(resp, v)
}

func (c *cluster) post(path string, body, v any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := http.Post(c.url+path, "application/json", bytes.NewReader(b))
	if err != nil {
		return err
	}
	return answer(resp, v)
}

func answer(resp *http.Response, v any) error {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", resp.Status, b[:min(len(b), 500)])
	}
	return json.Unmarshal(b, v)
}

// job returns the id of the job that runs, with all its tasks.
func (c *cluster) job(ctx context.Context, patience time.Duration) (id string, err error) {
	return id, c.wait(ctx, patience, "the job's tasks", func() (bool, error) {
		var o struct {
			Jobs []struct {
				JID, State string
				Tasks      struct{ Running, Total int }
			}
		}
		if err := c.get("/jobs/overview", &o); err != nil {
			return false, nil
		}
		for _, j := range o.Jobs {
			if j.State == "RUNNING" && j.Tasks.Running == j.Tasks.Total {
				id = j.JID
				return true, nil
			}
		}
		return false, nil
	})
}

// checkpoints is what Flink tells of a job's checkpoints.
type checkpoints struct {
	Counts struct{ Completed, Restored int }
	Latest struct {
		Restored *struct {
			ID          int  `json:"id"`
			IsSavepoint bool `json:"is_savepoint"`
		}
	}
}

func (c *cluster) checkpoints(id string) (cp checkpoints, err error) {
	return cp, c.get("/jobs/"+id+"/checkpoints", &cp)
}

// stop stops a job with a savepoint, and returns that.
func (c *cluster) stop(ctx context.Context, id string, patience time.Duration) (savepoint string, err error) {
	var trigger struct {
		RequestID string `json:"request-id"`
	}
	if err := c.post("/jobs/"+id+"/stop", map[string]any{"drain": false}, &trigger); err != nil {
		return "", err
	}
	err = c.wait(ctx, patience, "the savepoint", func() (bool, error) {
		var s struct {
			Status    struct{ ID string }
			Operation struct {
				Location string
				Failure  json.RawMessage `json:"failure-cause"`
			}
		}
		if err := c.get("/jobs/"+id+"/savepoints/"+trigger.RequestID, &s); err != nil {
			return false, err
		}
		if s.Status.ID == "COMPLETED" && s.Operation.Location == "" {
			return false, fmt.Errorf("no savepoint: %s", s.Operation.Failure[:min(len(s.Operation.Failure), 1000)])
		}
		savepoint = s.Operation.Location
		return s.Status.ID == "COMPLETED", nil
	})
	if err != nil {
		return "", err
	}
	return savepoint, c.wait(ctx, patience, "the job to stop", func() (bool, error) {
		var j struct{ State string }
		err := c.get("/jobs/"+id, &j)
		return j.State == "FINISHED", err
	})
}

// reading returns the task manager whose worker has used most processor time, the
// one that reads, parses and writes rows, and that worker's process id.
func (c *cluster) reading() (manager *process, worker int) {
	var used time.Duration
	for _, p := range c.managers {
		if pid, cpu := busiestChild(p.cmd.Process.Pid); !p.ended() && cpu > used {
			manager, worker, used = p, pid, cpu
		}
	}
	return manager, worker
}
