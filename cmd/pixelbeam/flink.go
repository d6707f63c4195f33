package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/metricsx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/hooks"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/protobuf/types/known/structpb"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/pipeline"
	"pixelbeam/pipeline/source"
)

// Defaults of a launch on Flink.
const (
	defaultJobServer = "localhost:8099" // a Flink job server's own
	// Beam ends a bundle that has nothing more to do when it is this old. The
	// reader's next bundle begins after that, and a row is that much later.
	flinkBundleMillis = 50
)

func init() { beam.RegisterRunner(pipeline.RunnerFlink, runFlink) }

// flinkLaunch is a submission to a Flink job server: our flags, Beam's, and what
// was said on the command line.
type flinkLaunch struct {
	opts  *pipeline.Options
	set   *flag.FlagSet
	given func(name string) bool
}

func (l *flinkLaunch) value(name string) string { return l.set.Lookup(name).Value.String() }

// defaults sets what the user left open. It must be called before Beam reads its
// flags.
func (l *flinkLaunch) defaults() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	values := map[string]string{
		"job_name":         defaultJobName,
		"endpoint":         defaultJobServer,
		"environment_type": "PROCESS",
		// Without it the Go SDK builds a worker binary at every launch.
		"worker_binary": self,
	}
	for name, value := range values {
		if !l.given(name) {
			if err := l.set.Set(name, value); err != nil {
				return fmt.Errorf("--%s: %w", name, err)
			}
		}
	}
	if strings.EqualFold(l.value("environment_type"), "PROCESS") && l.value("environment_config") == "" {
		config, err := json.Marshal(map[string]string{"command": self})
		if err != nil {
			return err
		}
		if err := l.set.Set("environment_config", string(config)); err != nil {
			return fmt.Errorf("--environment_config: %w", err)
		}
	}
	l.opts.FlinkJob = l.value("job_name")
	return nil
}

// check returns everything that would make the launch fail, or the job fail
// after it, joined: each names the flag and the remedy.
func (l *flinkLaunch) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := net.SplitHostPort(l.value("endpoint")); err != nil {
		wrong("--endpoint=%s is not an address: give host:port of the Flink job server", l.value("endpoint"))
	}
	config := l.value("environment_config")
	switch strings.ToUpper(l.value("environment_type")) {
	case "PROCESS":
		var c struct{ Command string }
		if err := json.Unmarshal([]byte(config), &c); err != nil || c.Command == "" {
			wrong(`--environment_config=%s does not name the worker: give {"command":"/path/to/pixelbeam"}, where pixelbeam lies on every task manager`, config)
		}
	case "EXTERNAL":
		if _, _, err := net.SplitHostPort(config); err != nil {
			wrong("--environment_type=EXTERNAL needs --environment_config=host:port of a pool of workers beside every task manager, started with pixelbeam --worker_pool=PORT; it is %q", config)
		}
	case "DOCKER":
	case "LOOPBACK":
		wrong("--environment_type=LOOPBACK has the workers in this process, which may end: give PROCESS, EXTERNAL or DOCKER")
	default:
		wrong("--environment_type=%s is not known: give PROCESS, EXTERNAL or DOCKER", l.value("environment_type"))
	}
	if n, err := strconv.Atoi(l.value("parallelism")); err == nil && n < 1 && n != -1 {
		wrong("--parallelism=%d is less than 1: give a number of subtasks, or leave it out for the cluster's default", n)
	}
	if info, err := os.Stat(l.value("worker_binary")); err != nil || info.IsDir() {
		wrong("--worker_binary=%s cannot be read: give the pixelbeam that the workers are to run", l.value("worker_binary"))
	}
	if l.value("job_name") == "" {
		wrong("--job_name is empty: give the name under which Flink is asked for the job's checkpoints")
	}
	return errors.Join(errs...)
}

// checkName returns an error if a job of that name runs already. Where Flink cannot
// be asked from here, its workers may still be able to.
func (l *flinkLaunch) checkName(ctx context.Context, log io.Writer) error {
	if !l.opts.Streaming() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	flink := source.FlinkConfig{Master: l.opts.FlinkMaster, Job: l.opts.FlinkJob}
	switch runs, err := flink.Running(ctx); {
	case err != nil:
		fmt.Fprintf(log, "Flink does not answer from here: %v. If it does not answer the workers at --flink_master=%s either, they acknowledge nothing.\n", err, l.opts.FlinkMaster)
	case runs:
		return cli.WithRemedy(fmt.Errorf("a job named %s runs already, and Flink is asked for checkpoints by the name", l.opts.FlinkJob),
			"stop that one with a savepoint and go on from it with --flink_savepoint, or give another --job_name")
	}
	return nil
}

// runnerOptions returns the options of Beam's Flink runner, by their names in
// snake case.
// https://beam.apache.org/documentation/runners/flink/#pipeline-options-for-the-flink-runner
func (l *flinkLaunch) runnerOptions() map[string]any {
	o := map[string]any{
		"streaming":             l.opts.Streaming(),
		"job_name":              l.opts.FlinkJob,
		"max_bundle_time_mills": flinkBundleMillis, // their spelling
		// A job that goes on without checkpoints acknowledges nothing, so it had
		// better say so.
		"fail_on_checkpointing_errors": true,
	}
	if l.opts.FlinkMaster != "" {
		o["flink_master"] = l.opts.FlinkMaster
	}
	if l.opts.Streaming() {
		o["checkpointing_interval"] = l.opts.FlinkCheckpointInterval.Milliseconds()
	}
	if l.opts.FlinkSavepoint != "" {
		o["savepoint_path"] = l.opts.FlinkSavepoint
	}
	for name, value := range l.opts.FlinkOptions {
		o[name] = value
	}
	return o
}

// submission is what runFlink is given besides the pipeline, which Beam's interface
// of a runner has no room for: the options of Beam's Flink runner, and where to say
// what was submitted.
var submission struct {
	options map[string]any
	log     io.Writer
}

// runFlink runs a pipeline by a Flink job server. Beam's own runner of that name
// passes no options of the Flink runner on, such as its checkpoints.
func runFlink(ctx context.Context, p *beam.Pipeline) (beam.PipelineResult, error) {
	edges, _, err := p.Build()
	if err != nil {
		return nil, err
	}
	environment, err := graphx.CreateEnvironment(ctx, jobopts.GetEnvironmentUrn(ctx), jobopts.GetEnvironmentConfig)
	if err != nil {
		return nil, err
	}
	model, err := graphx.Marshal(edges, &graphx.Options{Environment: environment, PipelineResourceHints: jobopts.GetPipelineResourceHints()})
	if err != nil {
		return nil, err
	}
	if err := runnerlib.UpdateGoEnvironmentWorker(*jobopts.WorkerBinary, model); err != nil {
		return nil, fmt.Errorf("--worker_binary: %w", err)
	}
	options, err := jobOptions(submission.options)
	if err != nil {
		return nil, err
	}
	cc, err := grpcx.Dial(ctx, *jobopts.Endpoint, 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("no Flink job server at --endpoint=%s: %w", *jobopts.Endpoint, err)
	}
	defer cc.Close()
	client := jobpb.NewJobServiceClient(cc)
	prepared, err := client.Prepare(ctx, &jobpb.PrepareJobRequest{Pipeline: model, PipelineOptions: options, JobName: *jobopts.JobName})
	if err != nil {
		return nil, fmt.Errorf("the job server at --endpoint=%s does not take the job: %w", *jobopts.Endpoint, err)
	}
	token, err := runnerlib.Stage(ctx, prepared.GetPreparationId(), prepared.GetArtifactStagingEndpoint().GetUrl(), *jobopts.WorkerBinary, prepared.GetStagingSessionToken())
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", *jobopts.WorkerBinary, err)
	}
	id, err := runnerlib.Submit(ctx, client, prepared.GetPreparationId(), token)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(submission.log, "Submitted job: %s\n", id)
	if *jobopts.Async {
		return nil, nil
	}
	if err := runnerlib.WaitForCompletion(ctx, client, id); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(submission.log, "Not waiting any longer: the job goes on.")
			return nil, nil
		}
		return nil, err
	}
	response, err := client.GetJobMetrics(ctx, &jobpb.GetJobMetricsRequest{JobId: id})
	if err != nil {
		return nil, fmt.Errorf("the job's counters: %w", err)
	}
	return flinkResult{id, metricsx.FromMonitoringInfos(model, response.GetMetrics().GetAttempted(), response.GetMetrics().GetCommitted())}, nil
}

// jobOptions returns the options of the job in the form of the job API: our and
// Beam's flags, which workers get, and those of the runner.
func jobOptions(runner map[string]any) (*structpb.Struct, error) {
	hooks.SerializeHooksToOptions()
	beam.PipelineOptions.LoadOptionsFromFlags(nil)
	options, err := tools.OptionsToProto(runtime.RawOptionsWrapper{
		Options:      beam.PipelineOptions.Export(),
		AppName:      *jobopts.JobName,
		Experiments:  append(jobopts.GetExperiments(), "beam_fn_api"),
		RetainDocker: *jobopts.RetainDockerContainers,
		Parallelism:  *jobopts.Parallelism,
	})
	if err != nil {
		return nil, err
	}
	for name, value := range runner {
		v, err := structpb.NewValue(value)
		if err != nil {
			return nil, fmt.Errorf("--flink_options: %s: %w", name, err)
		}
		options.Fields["beam:option:"+name+":v1"] = v
	}
	return options, nil
}

// flinkResult is what the job server tells of a job that has ended.
type flinkResult struct {
	id      string
	metrics *metrics.Results
}

// Metrics are the job's counters.
func (r flinkResult) Metrics() metrics.Results { return *r.metrics }

// JobID is the job server's name for the job.
func (r flinkResult) JobID() string { return r.id }
