package main

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
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
	// Dataflow Prime chooses machines, and takes no type.
	// https://cloud.google.com/dataflow/docs/guides/enable-dataflow-prime
	if l.first("worker_machine_type", "machine_type") == "" && !strings.Contains(l.value("dataflow_service_options"), prime) {
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
	// https://cloud.google.com/resource-manager/docs/creating-managing-projects
	projectPattern = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	regionPattern  = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+$`)
	zonePattern    = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+-[a-z]$`)
	jobNamePattern = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,998}[a-z0-9])?$`)
	// https://cloud.google.com/storage/docs/buckets#naming
	bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
	// https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.jobs#Job
	labelKeyPattern   = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$`)
	labelValuePattern = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$`)
	machinePattern    = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`)
	// armMachines are the series of machine types with Arm processors.
	// https://cloud.google.com/compute/docs/instances/arm-on-compute
	armMachines    = regexp.MustCompile(`^(t2a|c4a|n4a)-`)
	accountPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*@[a-z0-9.-]+\.[a-z]+$`)
	// https://cloud.google.com/dataflow/docs/guides/specifying-networks
	subnetworkPattern = regexp.MustCompile(`^(https://[^/]+/compute/[^/]+/projects/[^/]+/)?regions/([^/]+)/subnetworks/[a-z]([-a-z0-9]*[a-z0-9])?$`)
	kmsKeyPattern     = regexp.MustCompile(`^projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+$`)
)

// check returns everything that would make the launch fail, or the job fail
// after it, joined: each names the flag and the remedy.
func (l *launch) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if project := l.opts.Project; !projectPattern.MatchString(project) {
		wrong("--runner=dataflow needs --project, the id of the Google Cloud project that runs the job, such as my-project-1; it is %q", project)
	}
	if region := l.value("region"); !regionPattern.MatchString(region) {
		wrong("--runner=dataflow needs --region, such as europe-west1 (https://cloud.google.com/dataflow/docs/resources/locations); it is %q", region)
	}
	if l.value("staging_location") == "" {
		wrong("--runner=dataflow needs --staging_location=gs://BUCKET/FOLDER, for the worker binary")
	}
	for _, name := range []string{"staging_location", "temp_location", "template_location", "cpu_profiling"} {
		if v := l.value(name); v != "" && !bucketPath(v) {
			wrong("--%s=%s is not in Cloud Storage: give gs://BUCKET/FOLDER; a bucket's name has 3 or more lower-case letters, digits, hyphens, underscores and dots", name, v)
		}
	}
	if name := l.value("job_name"); !jobNamePattern.MatchString(name) {
		wrong("--job_name=%s is not a job name: give lower-case letters, digits and hyphens, a letter first", name)
	}
	if i := l.opts.BigtableInstance; i != "" && !instancePattern.MatchString(i) {
		wrong("--bigtable_instance=%s is not an instance id: give 6 to 33 lower-case letters, digits and hyphens, a letter first", i)
	}
	if a := l.value("service_account_email"); a != "" && !accountPattern.MatchString(a) {
		wrong("--service_account_email=%s is not an account: give NAME@PROJECT.iam.gserviceaccount.com", a)
	}
	if u, err := url.Parse(l.value("dataflow_endpoint")); err != nil || u.String() != "" && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		wrong("--dataflow_endpoint=%s is not a URL: leave it out, for Google's, or give https://HOST/", l.value("dataflow_endpoint"))
	}
	errs = append(errs, l.checkWorkers()...)
	errs = append(errs, l.checkPlaces()...)
	errs = append(errs, l.checkUpdate()...)
	errs = append(errs, checkLabels(l.value("labels"))...)
	errs = append(errs, l.checkReach()...)
	errs = append(errs, l.checkServiceOptions()...)
	errs = append(errs, l.checkBeam()...)
	if err := checkWorkerBinary(l.value("worker_binary"), l.first("worker_machine_type", "machine_type")); err != nil {
		errs = append(errs, err)
	}
	if !l.on("dry_run") {
		errs = append(errs, checkCredentials("to submit a job"))
	}
	return errors.Join(errs...)
}

var instancePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{4,31}[a-z0-9]$`)

func bucketPath(v string) bool {
	path, ok := strings.CutPrefix(v, "gs://")
	bucket, _, _ := strings.Cut(path, "/")
	return ok && bucketPattern.MatchString(bucket)
}

func (l *launch) number(name string) int64 {
	return l.set.Lookup(name).Value.(flag.Getter).Get().(int64)
}

func (l *launch) checkWorkers() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	// https://cloud.google.com/dataflow/quotas
	n, most := l.number("num_workers"), l.number("max_num_workers")
	for _, name := range []string{"num_workers", "max_num_workers"} {
		if v := l.number(name); v < 0 || v > 4000 {
			wrong("--%s=%d is not between 1 and 4000: give such a number, or leave it out", name, v)
		}
	}
	if n > 0 && most > 0 && n > most {
		wrong("--num_workers=%d is more than --max_num_workers=%d: raise the latter", n, most)
	}
	for _, name := range []string{"number_of_worker_harness_threads", "disk_size_gb", "disk_provisioned_iops", "disk_provisioned_throughput_mibps"} {
		if v := l.number(name); v < 0 {
			wrong("--%s=%d is negative: give a number, or leave it out for the service's", name, v)
		}
	}
	if a := l.value("autoscaling_algorithm"); a != autoscaling && a != "NONE" {
		wrong("--autoscaling_algorithm=%s is not known: give %s or NONE", a, autoscaling)
	} else if a == "NONE" && n == 0 {
		wrong("--autoscaling_algorithm=NONE leaves the job with one worker: give --num_workers too")
	}
	for _, name := range []string{"worker_machine_type", "machine_type"} {
		if v := l.value(name); v != "" && !machinePattern.MatchString(v) {
			wrong("--%s=%s is not a machine type: give one such as %s", name, v, defaultMachineType)
		}
	}
	if a, b := l.value("worker_machine_type"), l.value("machine_type"); a != "" && b != "" && a != b {
		wrong("--worker_machine_type=%s and --machine_type=%s contradict each other: give one of them", a, b)
	}
	switch goal := l.value("flexrs_goal"); goal {
	case "":
	case "FLEXRS_UNSPECIFIED", "FLEXRS_SPEED_OPTIMIZED", "FLEXRS_COST_OPTIMIZED":
		if l.opts.Streaming() {
			wrong("--flexrs_goal=%s is for batch jobs: leave it out, or give --input", goal)
		}
	default:
		wrong("--flexrs_goal=%s is not known: give FLEXRS_SPEED_OPTIMIZED or FLEXRS_COST_OPTIMIZED", goal)
	}
	return errs
}

// checkPlaces checks regions, zones, networks and keys, which have to be together.
func (l *launch) checkPlaces() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	places := 0
	for _, name := range []string{"zone", "worker_zone", "worker_region"} {
		v := l.value(name)
		if v == "" {
			continue
		}
		places++
		pattern, example := zonePattern, "europe-west1-b"
		if name == "worker_region" {
			pattern, example = regionPattern, "europe-west1"
		}
		if !pattern.MatchString(v) {
			wrong("--%s=%s is no %s: give one such as %s", name, v, strings.TrimPrefix(name, "worker_"), example)
		}
	}
	if places > 1 {
		wrong("--worker_zone, --worker_region and --zone exclude each other: give one of them")
	}
	region := l.first("worker_region", "region")
	if zone := l.first("worker_zone", "zone"); zonePattern.MatchString(zone) {
		region = zone[:len(zone)-2]
	}
	if s := l.value("subnetwork"); s != "" {
		switch m := subnetworkPattern.FindStringSubmatch(s); {
		case m == nil:
			wrong("--subnetwork=%s is not a subnetwork: give regions/REGION/subnetworks/NAME, or the URL of one of a shared VPC", s)
		case m[2] != region && regionPattern.MatchString(region):
			wrong("--subnetwork=%s is in %s, and the workers in %s: give a subnetwork of their region", s, m[2], region)
		}
	}
	if key := l.value("dataflow_kms_key"); key != "" {
		switch m := kmsKeyPattern.FindStringSubmatch(key); {
		case m == nil:
			wrong("--dataflow_kms_key=%s is not a key: give projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY", key)
		case m[1] != l.value("region") && regionPattern.MatchString(l.value("region")):
			wrong("--dataflow_kms_key=%s is in %s, and the job in %s: give a key of its region", key, m[1], l.value("region"))
		}
	}
	if l.given("use_public_ips") && l.given("no_use_public_ips") && l.on("use_public_ips") == l.on("no_use_public_ips") {
		wrong("--use_public_ips and --no_use_public_ips contradict each other: give one of them")
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
			errs = append(errs, fmt.Errorf(`--transform_name_mapping is not a JSON object of strings: give old and new step names, {"old":"new"}: %w`, err))
		}
	}
	return errs
}

// Limits of a job's labels.
// https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.jobs#Job
const (
	maxLabels     = 64
	maxLabelBytes = 128
)

func checkLabels(given string) (errs []error) {
	var labels map[string]string
	if err := json.Unmarshal([]byte(given), &labels); err != nil {
		return []error{fmt.Errorf(`--labels=%s is not a JSON object of strings: give {"team":"ads"}`, given)}
	}
	if len(labels) > maxLabels {
		errs = append(errs, fmt.Errorf("--labels: %d are more than a job may have: give at most %d", len(labels)-1, maxLabels-1))
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		value := labels[key]
		if !labelKeyPattern.MatchString(key) || !labelValuePattern.MatchString(value) || len(key) > maxLabelBytes || len(value) > maxLabelBytes {
			errs = append(errs, fmt.Errorf("--labels: %q: %q is not a label: give up to 63 lower-case letters, digits, hyphens and underscores, a letter first in the key", key, value))
		}
	}
	return errs
}

// serviceOptions are options of the service that users are known to give. Dataflow
// has more, and gets new ones; these are here to find misspelt ones.
// https://cloud.google.com/dataflow/docs/reference/service-options
var serviceOptions = []string{
	atLeastOnce, exactlyOnce, prime, "enable_google_cloud_profiler", "enable_google_cloud_heap_sampling",
	"enable_preflight_validation", "enable_streaming_engine_resource_based_billing", "enable_image_streaming",
	"enable_dynamic_thread_scaling", "enable_lineage", "min_num_workers", "max_workflow_runtime_walltime_seconds",
	"worker_utilization_hint", "worker_accelerator", "automatically_use_created_reservation", "block_project_ssh_keys",
	"graph_validate_only",
}

const (
	exactlyOnce = "streaming_mode_exactly_once"
	prime       = "enable_prime"
)

func (l *launch) checkServiceOptions() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	given := map[string]string{}
	value := l.value("dataflow_service_options")
	for option := range strings.SplitSeq(value, ",") {
		name, v, _ := strings.Cut(option, "=")
		switch near := cli.Nearest(name, serviceOptions); {
		case value == "":
		case name == "" || strings.ContainsAny(name, " \t"):
			wrong("--dataflow_service_options=%s has %q: give names, or NAME=VALUE, with commas alone between them", value, option)
		case !slices.Contains(serviceOptions, name) && near != "":
			wrong("--dataflow_service_options: %s is not known: did you mean %s?", name, near)
		}
		given[name] = v
	}
	_, least := given[atLeastOnce]
	_, exactly := given[exactlyOnce]
	switch {
	case least && exactly:
		wrong("--dataflow_service_options: %s and %s exclude each other: give one of them", atLeastOnce, exactlyOnce)
	case (least && l.given("dataflow_service_options") || exactly) && !l.opts.Streaming():
		wrong("--dataflow_service_options: streaming modes are for streaming jobs: leave them out, or give --subscription")
	case least && l.opts.BigQueryDelivery == pipeline.DeliveryExactlyOnce:
		wrong("--bigquery_delivery=exactly_once needs Dataflow's exactly-once mode: take %s out of --dataflow_service_options", atLeastOnce)
	}
	if v, ok := given["min_num_workers"]; ok {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < 1 || l.number("max_num_workers") > 0 && n > l.number("max_num_workers") {
			wrong("--dataflow_service_options: min_num_workers=%s is not between 1 and --max_num_workers=%d: give such a number", v, l.number("max_num_workers"))
		}
	}
	if v, ok := given["worker_utilization_hint"]; ok {
		if n, err := strconv.ParseFloat(v, 64); err != nil || n < 0.1 || n > 0.9 {
			wrong("--dataflow_service_options: worker_utilization_hint=%s is not between 0.1 and 0.9: give such a number", v)
		}
	}
	if _, ok := given[prime]; ok && (l.given("worker_machine_type") || l.given("machine_type")) {
		wrong("--dataflow_service_options: with %s the service chooses the machines: leave --worker_machine_type out", prime)
	}
	return errs
}

// checkBeam finds what Beam's launcher would end on, with a panic or late.
func (l *launch) checkBeam() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if l.value("sdk_container_image") != "" && l.value("worker_harness_container_image") != "" {
		wrong("--sdk_container_image and --worker_harness_container_image are the same: give the first alone")
	}
	if e := l.value("environment_type"); e != "" && !strings.EqualFold(e, "DOCKER") {
		wrong("--environment_type=%s is not for Dataflow, whose workers are containers: leave it out", e)
	}
	for experiment := range strings.SplitSeq(l.value("experiments"), ",") {
		for _, off := range []string{"disable_runner_v2", "disable_prime_runner_v2", "disable_portable_runner", "enable_streaming_java_runner"} {
			if strings.Contains(experiment, off) {
				wrong("--experiments: %s turns off the only runner that runs Go: leave it out", experiment)
			}
		}
	}
	return errs
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

// withoutCredentials keeps Beam, on a dry run, from asking Cloud Storage about the buckets: it
// finds no credentials.
func withoutCredentials() error {
	return errors.Join(os.Unsetenv("STORAGE_EMULATOR_HOST"), os.Setenv("GOOGLE_APPLICATION_CREDENTIALS", os.DevNull))
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
	if messages.dryRun {
		if err := withoutCredentials(); err != nil {
			return err
		}
	}
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
	if l.dryRun && strings.HasPrefix(msg, "Error creating GCS client") {
		return // as is meant: see withoutCredentials
	}
	show := sev >= beamlog.SevWarn
	for _, prefix := range told {
		show = show || strings.HasPrefix(msg, prefix)
	}
	if show {
		fmt.Fprintln(l.stderr, msg)
	}
}
