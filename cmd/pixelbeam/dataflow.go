package main

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"

	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/pipeline"
)

// Defaults of Beam's Dataflow flags, where a job of this kind wants another
// value than Beam has, or the service would choose one that depends on the day.
const (
	defaultJobName     = "pixelbeam"
	defaultMachineType = "n2d-standard-4"
	defaultMaxWorkers  = "20"
	autoscaling        = "THROUGHPUT_BASED"
	// Rows go to BigQuery at least once anyway and windows are functions of sets,
	// so exactly-once processing would be paid for and not used.
	// https://cloud.google.com/dataflow/docs/guides/streaming-modes
	atLeastOnce = "streaming_mode_at_least_once"
)

// launch is a submission to Dataflow: Beam's own flags, and what was said on the
// command line.
type launch struct {
	opts pipeline.Options
	// set holds Beam's flags.
	set *flag.FlagSet
	// given tells whether a flag was on the command line.
	given func(name string) bool
}

func (l *launch) value(name string) string { return l.set.Lookup(name).Value.String() }

func (l *launch) on(name string) bool { return l.value(name) == "true" }

// first returns the value of the first of the flags that has one. Beam has some
// under two names.
func (l *launch) first(names ...string) string {
	for _, name := range names {
		if v := l.value(name); v != "" {
			return v
		}
	}
	return ""
}

// defaults sets what the user left open. It must be called before Beam reads its
// flags.
func (l *launch) defaults() error {
	values := map[string]string{
		"job_name":              defaultJobName,
		"autoscaling_algorithm": autoscaling,
	}
	if !l.given("num_workers") || l.value("autoscaling_algorithm") != "NONE" {
		values["max_num_workers"] = defaultMaxWorkers
	}
	if l.first("worker_machine_type", "machine_type") == "" {
		values["worker_machine_type"] = defaultMachineType
	}
	// Workers need no way in from the internet, and public addresses cost.
	if !l.given("use_public_ips") {
		values["no_use_public_ips"] = "true"
	}
	if l.opts.Streaming() {
		options := l.value("dataflow_service_options")
		if l.opts.BigQueryDelivery != pipeline.DeliveryExactlyOnce && !strings.Contains(options, "streaming_mode_") {
			l.set.Set("dataflow_service_options", strings.Trim(options+","+atLeastOnce, ","))
		}
		if !l.given("execute_async") {
			values["async"] = "true" // A streaming job has no end to wait for.
		}
	}
	if !l.given("worker_binary") {
		// Without it the Go SDK builds a worker binary at every launch.
		self, err := os.Executable()
		if err != nil {
			return err
		}
		values["worker_binary"] = self
	}
	for name, value := range values {
		if !l.given(name) {
			if err := l.set.Set(name, value); err != nil {
				return fmt.Errorf("--%s: %w", name, err)
			}
		}
	}
	return l.label()
}

// label adds the label that bills and dashboards find the job by. Labels that
// cannot be read are left to check.
func (l *launch) label() error {
	labels := map[string]string{"app": "pixelbeam"}
	if given := l.value("labels"); given != "" {
		if err := json.Unmarshal([]byte(given), &labels); err != nil {
			return nil
		}
	}
	b, err := json.Marshal(labels)
	if err != nil {
		return err
	}
	return l.set.Set("labels", string(b))
}

var (
	regionPattern  = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+$`)
	jobNamePattern = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	// https://cloud.google.com/compute/docs/labeling-resources
	labelKeyPattern   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	labelValuePattern = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
	// armMachines are the series of machine types with Arm processors.
	// https://cloud.google.com/compute/docs/instances/arm-on-compute
	armMachines = regexp.MustCompile(`^(t2a|c4a|n4a)-`)
)

// check returns everything that would make the launch fail, or the job fail
// after it, joined: each names the flag and the remedy.
func (l *launch) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if l.opts.Project == "" {
		wrong("--runner=dataflow needs --project, the Google Cloud project that runs the job")
	}
	if region := l.value("region"); !regionPattern.MatchString(region) {
		wrong("--runner=dataflow needs --region, such as europe-west1 (https://cloud.google.com/dataflow/docs/resources/locations); it is %q", region)
	}
	if staging := l.value("staging_location"); !bucketPath(staging) {
		wrong("--runner=dataflow needs --staging_location=gs://BUCKET/FOLDER, for the worker binary; it is %q", staging)
	}
	for _, name := range []string{"temp_location", "template_location"} {
		if v := l.value(name); v != "" && !bucketPath(v) {
			wrong("--%s=%s is not in Cloud Storage: give gs://BUCKET/FOLDER", name, v)
		}
	}
	if name := l.value("job_name"); !jobNamePattern.MatchString(name) {
		wrong("--job_name=%s is not a job name: give lower-case letters, digits and hyphens, a letter first", name)
	}
	if a := l.value("autoscaling_algorithm"); a != autoscaling && a != "NONE" {
		wrong("--autoscaling_algorithm=%s is not known: give %s or NONE", a, autoscaling)
	}
	errs = append(errs, l.checkWorkers()...)
	errs = append(errs, l.checkUpdate()...)
	if err := checkLabels(l.value("labels")); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, l.checkReach()...)
	if l.opts.BigQueryDelivery == pipeline.DeliveryExactlyOnce && strings.Contains(l.value("dataflow_service_options"), atLeastOnce) {
		wrong("--bigquery_delivery=exactly_once needs Dataflow's exactly-once mode: take %s out of --dataflow_service_options", atLeastOnce)
	}
	if !l.on("dry_run") {
		if err := checkWorkerBinary(l.value("worker_binary"), l.first("worker_machine_type", "machine_type")); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func bucketPath(v string) bool {
	bucket, ok := strings.CutPrefix(v, "gs://")
	return ok && bucket != "" && bucket[0] != '/'
}

func (l *launch) checkWorkers() (errs []error) {
	n := l.set.Lookup("num_workers").Value.(flag.Getter).Get().(int64)
	most := l.set.Lookup("max_num_workers").Value.(flag.Getter).Get().(int64)
	// https://cloud.google.com/dataflow/quotas
	if n < 0 || most < 0 || most > 4000 {
		errs = append(errs, fmt.Errorf("--num_workers=%d, --max_num_workers=%d: give numbers from 1 to 4000", n, most))
	} else if most > 0 && n > most {
		errs = append(errs, fmt.Errorf("--num_workers=%d is more than --max_num_workers=%d: raise the latter", n, most))
	}
	places := 0
	for _, name := range []string{"zone", "worker_zone", "worker_region"} {
		if l.value(name) != "" {
			places++
		}
	}
	if places > 1 {
		errs = append(errs, errors.New("--worker_zone, --worker_region and --zone exclude each other: give one of them"))
	}
	if l.given("use_public_ips") && l.given("no_use_public_ips") && l.on("use_public_ips") == l.on("no_use_public_ips") {
		errs = append(errs, errors.New("--use_public_ips and --no_use_public_ips contradict each other: give one of them"))
	}
	return errs
}

func (l *launch) checkUpdate() (errs []error) {
	mapping := l.value("transform_name_mapping")
	switch {
	case l.on("update") && !l.given("job_name"):
		errs = append(errs, errors.New("--update replaces the running job of the same name: give its --job_name"))
	case l.on("update") && !l.opts.Streaming():
		errs = append(errs, errors.New("--update is for streaming jobs: give --subscription, or leave it out"))
	case mapping != "" && !l.on("update"):
		errs = append(errs, errors.New("--transform_name_mapping goes with --update: give both"))
	}
	if mapping != "" {
		if err := json.Unmarshal([]byte(mapping), new(map[string]string)); err != nil {
			errs = append(errs, fmt.Errorf(`--transform_name_mapping is not a JSON object of old to new step names, {"old":"new"}: %w`, err))
		}
	}
	return errs
}

func checkLabels(given string) error {
	var labels map[string]string
	if err := json.Unmarshal([]byte(given), &labels); err != nil {
		return fmt.Errorf(`--labels is not a JSON object of strings, {"team":"ads"}: %w`, err)
	}
	for key, value := range labels {
		if !labelKeyPattern.MatchString(key) || !labelValuePattern.MatchString(value) {
			return fmt.Errorf("--labels: %q: %q is not a label: give up to 63 lower-case letters, digits, hyphens and underscores, a letter first in the key", key, value)
		}
	}
	return nil
}

// checkReach finds services and files that are here and not where the workers
// are. Where Dataflow itself is on this machine, for a test, so are the workers.
func (l *launch) checkReach() (errs []error) {
	if u, err := url.Parse(l.value("dataflow_endpoint")); err == nil && onThisMachine(u.Host) {
		return nil
	}
	type endpoint struct{ name, value string }
	endpoints := []endpoint{
		{"pubsub_endpoint", l.opts.PubSubEndpoint},
		{"bigquery_storage_endpoint", l.opts.BigQueryStorageEndpoint},
		{"bigtable_endpoint", l.opts.BigtableEndpoint},
	}
	if l.opts.TableSuffixBy != "" {
		endpoints = append(endpoints, endpoint{"bigquery_endpoint", l.opts.BigQueryEndpoint})
	}
	for _, e := range endpoints {
		if onThisMachine(e.value) {
			errs = append(errs, fmt.Errorf("--%s=%s is on this machine, where workers cannot reach it: leave it out, for Google's", e.name, e.value))
		}
	}
	for _, name := range []string{"PUBSUB_EMULATOR_HOST", "BIGTABLE_EMULATOR_HOST"} {
		if os.Getenv(name) != "" {
			errs = append(errs, fmt.Errorf("%s is set, but workers on Dataflow would not use that emulator: unset it, or give --runner=prism", name))
		}
	}
	for _, pattern := range l.opts.Input {
		if !strings.HasPrefix(pattern, "gs://") {
			errs = append(errs, fmt.Errorf("--input=%s is on this machine, where workers cannot read it: copy it to Cloud Storage and give gs://BUCKET/PATH", pattern))
		}
	}
	if l.opts.OutputJSON != "" {
		errs = append(errs, fmt.Errorf("--output_json=%s would be on the disks of workers: give --bigquery_dataset alone", l.opts.OutputJSON))
	}
	return errs
}

func onThisMachine(endpoint string) bool {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// checkWorkerBinary opens the program that is shipped to workers, which run Linux
// on the processor of their machine type and have no libraries.
func checkWorkerBinary(name, machineType string) error {
	machine, arch := elf.EM_X86_64, "amd64"
	if armMachines.MatchString(machineType) {
		machine, arch = elf.EM_AARCH64, "arm64"
	}
	const remedy = "build it with make release, and give --worker_binary=bin/release/pixelbeam-linux-%s"
	f, err := elf.Open(name)
	var format *elf.FormatError
	switch {
	case errors.As(err, &format):
		return fmt.Errorf("--worker_binary=%s is not a Linux program: "+remedy, name, arch)
	case err != nil:
		return fmt.Errorf("--worker_binary: %w", err)
	}
	defer f.Close()
	if f.Machine != machine {
		return fmt.Errorf("--worker_binary=%s is for %s, but --worker_machine_type=%s is %s: "+remedy, name, f.Machine, machineType, arch, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("--worker_binary=%s is linked dynamically, and may not find its libraries on a worker: "+remedy, name, arch)
		}
	}
	return nil
}

// submit builds the job and hands it to Dataflow. Of a streaming job it returns
// when the service has it; of others, or with --async=false, at the job's end. If
// ctx ends it stops waiting: the job goes on.
func (l *launch) submit(ctx context.Context, stdout, stderr io.Writer) error {
	messages := &launchLog{stdout: stdout, stderr: stderr, dryRun: l.on("dry_run")}
	beamlog.SetLogger(messages)
	type outcome struct {
		result pipeline.Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := pipeline.Run(context.WithoutCancel(ctx), l.opts)
		done <- outcome{result, err}
	}()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		fmt.Fprintf(stderr, "No longer waiting. A job that was submitted goes on; to end it: gcloud dataflow jobs drain JOB_ID --project=%s --region=%s\n",
			l.opts.Project, l.value("region"))
		return ctx.Err()
	}
	switch {
	case o.err != nil:
		return o.err
	case messages.exists.Load():
		return cli.WithRemedy(fmt.Errorf("a job named %s runs already, and nothing was submitted", l.value("job_name")),
			"give --update to replace it, or another --job_name")
	case len(o.result) == 0:
		return nil // The job went on without us.
	}
	return errors.Join(o.result.Write(stdout), o.result.Balance())
}

// launchLog takes what Beam logs while it submits a job. Beam prints the whole
// job and model along the way; a user wants the few lines that say where the job
// is, and on a dry run the job alone.
type launchLog struct {
	stdout, stderr io.Writer
	dryRun         bool
	// exists is set when a job of that name runs already, which Beam takes for
	// success if it is not to wait for the job.
	exists atomic.Bool
}

// told are the beginnings of Beam's messages that users want to see (Beam 2.77,
// runners/dataflow/dataflowlib).
var told = []string{"Staged worker binary", "Submitted job", "Console:", "Logs:", "Template staged", "Job "}

func (l *launchLog) Log(_ context.Context, sev beamlog.Severity, _ int, msg string) {
	if strings.Contains(msg, "job with same name is already actively running") {
		l.exists.Store(true)
		return
	}
	if l.dryRun && sev == beamlog.SevInfo && json.Valid([]byte(msg)) {
		fmt.Fprintln(l.stdout, msg)
		return
	}
	show := sev >= beamlog.SevWarn
	for _, prefix := range told {
		show = show || strings.HasPrefix(msg, prefix)
	}
	if show {
		fmt.Fprintln(l.stderr, msg)
	}
}
