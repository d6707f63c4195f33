package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/artifact"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/pipeline/source"
)

// boot is the program as the boot program of a worker, what a container has in
// Beam's image: a runner, or a pool of workers, starts it with flags of these
// names.
// https://s.apache.org/beam-fn-api-container-contract
type boot struct {
	pool                string
	provision, artifact string
}

func (b *boot) register(fs *flag.FlagSet) {
	fs.StringVar(&b.pool, "worker_pool", "", "serve as a pool of workers at this `host:port`, for a runner with --environment_type=EXTERNAL, and do nothing else")
	fs.StringVar(&b.provision, "provision_endpoint", "", "`host:port` that the runner gives when it starts this program as a worker")
	fs.StringVar(&b.artifact, "artifact_endpoint", "", "`host:port` that the runner gives when it starts this program as a worker")
}

// asked tells whether the program is to be a worker, or to start some.
func (b *boot) asked() bool { return b.pool != "" || b.provision != "" }

// run starts workers until ctx is over, or becomes one.
func (b *boot) run(ctx context.Context, log io.Writer) error {
	if b.pool == "" {
		return b.becomeWorker(ctx)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	lis, err := net.Listen("tcp", b.pool)
	if err != nil {
		return cli.Usage(fmt.Errorf("--worker_pool=%s: %w: give host:port, such as localhost:50000", b.pool, err))
	}
	fmt.Fprintf(log, "Workers can be had at %s.\n", lis.Addr())
	return serveWorkers(ctx, lis, self, log)
}

// workerPatience is how long a worker that is to stop may take to give back what
// it holds.
const workerPatience = 5 * time.Second

// workerPool starts workers, as processes of a program, for runners that ask.
type workerPool struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer
	program string
	log     io.Writer

	ctx     context.Context // of the workers
	workers sync.WaitGroup
	mu      sync.Mutex
	stop    map[string]context.CancelFunc
}

// serveWorkers is a pool of workers until ctx is over, and ends with them.
func serveWorkers(ctx context.Context, lis net.Listener, program string, log io.Writer) error {
	p := &workerPool{program: program, log: log, ctx: ctx, stop: map[string]context.CancelFunc{}}
	server := grpc.NewServer()
	fnpb.RegisterBeamFnExternalWorkerPoolServer(server, p)
	defer context.AfterFunc(ctx, server.Stop)()
	err := server.Serve(lis)
	p.workers.Wait()
	return err
}

// StartWorker starts a worker under the id of the request.
func (p *workerPool) StartWorker(_ context.Context, req *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	id := req.GetWorkerId()
	ctx, cancel := context.WithCancel(p.ctx)
	cmd := exec.CommandContext(ctx, p.program, "--id="+id,
		"--provision_endpoint="+req.GetProvisionEndpoint().GetUrl(), "--artifact_endpoint="+req.GetArtifactEndpoint().GetUrl(),
		"--control_endpoint="+req.GetControlEndpoint().GetUrl(), "--logging_endpoint="+req.GetLoggingEndpoint().GetUrl())
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = workerPatience
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop[id] != nil {
		cancel()
		return &fnpb.StartWorkerResponse{Error: fmt.Sprintf("there is a worker %s", id)}, nil
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return &fnpb.StartWorkerResponse{Error: err.Error()}, nil
	}
	p.stop[id] = cancel
	p.workers.Go(func() {
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			fmt.Fprintf(p.log, "worker %s: %v\n", id, err)
		}
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.stop, id)
	})
	return &fnpb.StartWorkerResponse{}, nil
}

// StopWorker has a worker end, if it has not.
func (p *workerPool) StopWorker(_ context.Context, req *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stop := p.stop[req.GetWorkerId()]; stop != nil {
		stop()
	}
	return &fnpb.StopWorkerResponse{}, nil
}

// becomeWorker fetches the program that the job was launched with, which may be
// another build than this, and replaces this process with it.
func (b *boot) becomeWorker(ctx context.Context) error {
	id := flag.Lookup("id").Value.String()
	ctx = grpcx.WriteWorkerID(ctx, id)
	info, err := tools.ProvisionInfo(ctx, b.provision)
	if err != nil {
		return fmt.Errorf("--provision_endpoint=%s: %w", b.provision, err)
	}
	endpoint := func(name, given string, of func() string) (string, error) {
		if url := of(); url != "" {
			return url, nil
		}
		if given == "" {
			return "", fmt.Errorf("the runner gives no --%s", name)
		}
		return given, nil
	}
	logging, err1 := endpoint("logging_endpoint", flag.Lookup("logging_endpoint").Value.String(), info.GetLoggingEndpoint().GetUrl)
	control, err2 := endpoint("control_endpoint", flag.Lookup("control_endpoint").Value.String(), info.GetControlEndpoint().GetUrl)
	artifacts, err3 := endpoint("artifact_endpoint", b.artifact, info.GetArtifactEndpoint().GetUrl)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", workerFolder)
	if err != nil {
		return err
	}
	worker, err := fetchWorker(ctx, artifacts, info, dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	options, err := tools.ProtoToJSON(info.GetPipelineOptions())
	if err != nil {
		return err
	}
	optionsFile := filepath.Join(dir, "options.json")
	if err := os.WriteFile(optionsFile, []byte(options), 0o600); err != nil {
		return err
	}
	env := append(os.Environ(), "PIPELINE_OPTIONS_FILE="+optionsFile,
		"RUNNER_CAPABILITIES="+strings.Join(info.GetRunnerCapabilities(), " "))
	if s := info.GetStatusEndpoint().GetUrl(); s != "" {
		env = append(env, "STATUS_ENDPOINT="+s)
	}
	return syscall.Exec(worker, []string{worker, "--worker=true", "--id=" + id,
		"--logging_endpoint=" + logging, "--control_endpoint=" + control, "--semi_persist_dir=" + dir}, env)
}

// fetchWorker fetches the job's program into dir.
func fetchWorker(ctx context.Context, endpoint string, info *fnpb.ProvisionInfo, dir string) (string, error) {
	got, err := artifact.Materialize(artifact.WithArtifactValidation(ctx, true), endpoint, info.GetDependencies(), info.GetRetrievalToken(), dir)
	if err != nil {
		return "", fmt.Errorf("fetch the job's program from %s: %w", endpoint, err)
	}
	var binary *pipepb.ArtifactInformation
	for _, a := range got {
		if binary == nil || a.GetRoleUrn() == artifact.URNGoWorkerBinaryRole {
			binary = a
		}
	}
	if binary == nil {
		return "", errors.New("the runner has no program of the job: it was launched without --worker_binary")
	}
	name, _ := artifact.MustExtractFilePayload(binary)
	name = filepath.Join(dir, name)
	return name, os.Chmod(name, 0o700)
}

// workerFolder is how the name of a worker's folder begins.
const workerFolder = "pixelbeam-worker-"

// onWorker prepares what Beam does not where the process is a worker: told to end,
// it gives back the messages that it holds. The file of the program that was fetched
// for it, 80 MB, goes at once.
func onWorker(ctx context.Context) {
	if flag.Lookup("worker").Value.String() != "true" {
		return
	}
	dir := ""
	if self, err := os.Executable(); err == nil && strings.HasPrefix(filepath.Base(filepath.Dir(self)), workerFolder) {
		dir = filepath.Dir(self)
		_ = os.Remove(self)
	}
	context.AfterFunc(ctx, func() {
		source.Abort()
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
		os.Exit(cli.ExitFailure)
	})
}
