package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pixelbeam/cmd/internal/cli"
)

// program writes the head of a static Linux program, which is all that is looked
// at, for a machine of debug/elf.
func program(t *testing.T, machine uint16) string {
	t.Helper()
	head := make([]byte, 64)
	copy(head, "\x7fELF\x02\x01\x01") // 64 bits, little endian
	binary.LittleEndian.PutUint16(head[16:], 2)
	binary.LittleEndian.PutUint16(head[18:], machine)
	binary.LittleEndian.PutUint32(head[20:], 1)
	binary.LittleEndian.PutUint16(head[52:], 64)
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, head, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	amd64 = 62
	arm64 = 183
)

// errorsOf runs the command and returns what it finds wrong, a line each.
func errorsOf(t *testing.T, args ...string) []string {
	t.Helper()
	defer flagValues()()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), command(), args, &stdout, &stderr)
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if last := len(lines) - 1; code != cli.ExitUsage || stdout.Len() > 0 || !strings.Contains(lines[last], "--help") {
		t.Fatalf("%q: exit %d, want %d and a pointer to the help\n%s\n%s", args, code, cli.ExitUsage, stdout.String(), stderr.String())
	}
	return lines[:len(lines)-1]
}

// launchFlags are those of a launch in which nothing is wrong.
func launchFlags(t *testing.T) []string {
	return []string{
		"--runner=dataflow", "--dry_run", "--project=my-project", "--region=europe-west1", "--staging_location=gs://my-bucket/staging",
		"--subscription=logs", "--bigquery_dataset=ads", "--bigtable_instance=profiles", "--worker_binary=" + program(t, amd64),
	}
}

// Each wrong flag gets one error, which names it and the remedy.
func TestWrongFlags(t *testing.T) {
	for _, test := range []struct {
		flags string // separated by "; "
		want  string
	}{
		{"--project=My_Project", "--project"},
		{"--region=", "--region"},
		{"--region=europe-west1-b", "--region"},
		{"--staging_location=", "--staging_location=gs://BUCKET"},
		{"--staging_location=my-bucket/x", "--staging_location=my-bucket/x is not in Cloud Storage"},
		{"--staging_location=gs://My_Bucket/x", "--staging_location=gs://My_Bucket/x"},
		{"--temp_location=/tmp", "--temp_location=/tmp"},
		{"--template_location=/tmp/x", "--template_location=/tmp/x"},
		{"--cpu_profiling=here", "--cpu_profiling=here"},
		{"--subscription=projects/p/subscription/x", "--subscription=projects/p/subscription/x"},
		{"--subscription=projects/p/topics/x", "--subscription=projects/p/topics/x"},
		{"--subscription=google-logs", "google-logs: names that begin with goog"},
		{"--input=gs://my-bucket/x", "exclude each other"},
		{"--bigquery_dataset=ads-2", "--bigquery_dataset=ads-2"},
		{"--bigquery_endpoint=nowhere", "--bigquery_endpoint=nowhere is not a URL"},
		{"--bigquery_storage_endpoint=http://host", "--bigquery_storage_endpoint=http://host is not an address"},
		{"--bigtable_endpoint=host", "--bigtable_endpoint=host is not an address"},
		{"--pubsub_endpoint=http://host:1", "--pubsub_endpoint=http://host:1 is not an address"},
		{"--pubsub_endpoint=localhost:1", "--pubsub_endpoint=localhost:1 is on this machine"},
		{"--bigtable_instance=Bad", "--bigtable_instance=Bad"},
		{"--bigtable_table=a b", "--bigtable_table=a b"},
		{"--table_suffix_by=campaign", "--table_suffix_by=campaign"},
		{"--table_suffix_by=advertiser", "--advertiser_groups"},
		{"--dataflow_service_options=enable_primes", "did you mean enable_prime?"},
		{"--dataflow_service_options=streaming_mode_at_least_once,streaming_mode_exactly_once", "exclude each other"},
		{"--dataflow_service_options=enable_prime, x", `has " x"`},
		{"--dataflow_service_options=min_num_workers=30", "min_num_workers=30"},
		{"--dataflow_service_options=worker_utilization_hint=5", "worker_utilization_hint=5"},
		{"--dataflow_service_options=enable_prime; --worker_machine_type=n2d-standard-4", "leave --worker_machine_type out"},
		{"--dataflow_service_options=streaming_mode_at_least_once; --bigquery_delivery=exactly_once", "--bigquery_delivery=exactly_once"},
		{"--num_workers=-1", "--num_workers=-1"},
		{"--num_workers=21", "--num_workers=21 is more than --max_num_workers=20"},
		{"--max_num_workers=5000", "--max_num_workers=5000"},
		{"--autoscaling_algorithm=none", "--autoscaling_algorithm=none"},
		{"--autoscaling_algorithm=NONE", "--num_workers"},
		{"--number_of_worker_harness_threads=-5", "--number_of_worker_harness_threads=-5"},
		{"--disk_size_gb=-5", "--disk_size_gb=-5"},
		{"--worker_machine_type=n2 standard", "--worker_machine_type=n2 standard"},
		{"--worker_machine_type=n2-standard-4; --machine_type=n2d-standard-4", "contradict each other"},
		{"--worker_machine_type=c4a-standard-4", "give --worker_binary=bin/release/pixelbeam-linux-arm64"},
		{"--worker_binary=/nowhere", "--worker_binary"},
		{"--service_account_email=worker", "--service_account_email=worker"},
		{"--subnetwork=workers", "--subnetwork=workers"},
		{"--subnetwork=regions/us-east1/subnetworks/workers", "is in us-east1, and the workers in europe-west1"},
		{"--dataflow_kms_key=key", "--dataflow_kms_key=key"},
		{"--dataflow_kms_key=projects/p/locations/us-east1/keyRings/r/cryptoKeys/k", "is in us-east1, and the job in europe-west1"},
		{"--worker_zone=europe-west1", "--worker_zone=europe-west1 is no zone"},
		{"--worker_region=europe-west1-b", "--worker_region=europe-west1-b is no region"},
		{"--worker_zone=europe-west1-b; --worker_region=europe-west1", "exclude each other"},
		{"--use_public_ips; --no_use_public_ips", "contradict each other"},
		{"--flexrs_goal=FLEXRS_COST_OPTIMIZED", "--flexrs_goal=FLEXRS_COST_OPTIMIZED is for batch jobs"},
		{"--flexrs_goal=CHEAP", "--flexrs_goal=CHEAP"},
		{"--dataflow_endpoint=nowhere", "--dataflow_endpoint=nowhere"},
		{"--job_name=Bad Name", "--job_name=Bad Name"},
		{"--update", "--job_name"},
		{"--transform_name_mapping={}", "--update"},
		{"--labels=x", "--labels=x"},
		{`--labels={"Team":"ads"}`, `--labels: "Team"`},
		{`--labels={"team":"` + strings.Repeat("ü", 63) + `z"}`, `--labels: "team"`},
		{"--experiments=disable_runner_v2", "disable_runner_v2"},
		{"--environment_type=PROCESS", "--environment_type=PROCESS"},
		{"--sdk_container_image=a; --worker_harness_container_image=b", "--sdk_container_image"},
		{"--resource_hints=much", "--resource_hints"},
		{"--sdk_harness_container_image_override=x", "--sdk_harness_container_image_override"},
		{"--flink_savepoint=x", "--flink_savepoint does nothing with --runner=dataflow"},
		{"--watermark_slack=5s", "--watermark_slack does nothing with --runner=dataflow"},
		{"--pprof=localhost:6060", "--pprof does nothing with --runner=dataflow"},
		{"--output_json=out", "--output_json=out"},
		{"--until_idle", "--until_idle"},
		{"--early_firings=1ms", "--early_firings=1ms"},
		{"--allowed_lateness=-1s", "--allowed_lateness=-1s"},
		{"--shards=0", "--shards=0"},
		// What cannot be read at all.
		{"--shards=many", "--shards=many is not a whole number"},
		{"--allowed_lateness=long", "--allowed_lateness=long is not a duration"},
		{"--counts=maybe", "--counts=maybe is not true or false"},
		{"--max_num_workers=many", "--max_num_workers=many is not a whole number"},
		{"--ip=hash", "--ip=hash"},
		{"--parameters=/nowhere", "--parameters=/nowhere"},
		{"--user_agent_rules=/nowhere", "--user_agent_rules=/nowhere"},
		{"--bigquery_datasets=ads", "did you mean --bigquery_dataset?"},
		{"--subscriptions", "did you mean --subscription?"},
		{"false", `"false" is no flag`},
	} {
		flags := strings.Split(test.flags, "; ")
		if got := errorsOf(t, append(launchFlags(t), flags...)...); len(got) != 1 || !strings.Contains(got[0], test.want) {
			t.Errorf("%s:\n%s\nwant one error with %q", test.flags, strings.Join(got, "\n"), test.want)
		}
	}
}

// Valid values are taken: beside them one wrong flag is the only error.
func TestRightFlags(t *testing.T) {
	arm := "--worker_binary=" + program(t, arm64)
	for _, flags := range [][]string{
		{},
		{"--project=example.com:my-project"},
		{"--subscription=projects/p/subscriptions/logs"},
		{"--subscription=", "--topic=projects/p/topics/logs"},
		{"--subscription=", "--input=gs://my-bucket/*.json", "--flexrs_goal=FLEXRS_COST_OPTIMIZED", "--execute_async"},
		{"--dataflow_service_options=enable_prime,min_num_workers=2,worker_utilization_hint=0.7"},
		{"--dataflow_service_options=an_option_of_next_year"},
		{"--dataflow_service_options=streaming_mode_exactly_once", "--bigquery_delivery=exactly_once"},
		{"--worker_machine_type=c4a-standard-4", arm},
		{"--machine_type=t2a-standard-1", arm},
		{"--worker_machine_type=n2-custom-4-8192"},
		{"--autoscaling_algorithm=NONE", "--num_workers=40"},
		{"--subnetwork=regions/europe-west1/subnetworks/workers"},
		{"--subnetwork=https://www.googleapis.com/compute/v1/projects/host/regions/us-east1/subnetworks/s", "--worker_zone=us-east1-c"},
		{"--dataflow_kms_key=projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"},
		{"--service_account_email=pixelbeam-worker@my-project.iam.gserviceaccount.com"},
		{"--service_account_email=123-compute@developer.gserviceaccount.com"},
		{"--update", "--job_name=pixelbeam", `--transform_name_mapping={"a":"b"}`},
		{`--labels={"team":"ads_1","größe":""}`},
		{"--use_public_ips"},
		{"--resource_hints=min_ram=4GB", "--sdk_harness_container_image_override=.*,image"},
		{"--bigquery-dataset=ads"},
	} {
		if got := errorsOf(t, append(append(launchFlags(t), flags...), "--shards=0")...); len(got) != 1 || !strings.Contains(got[0], "--shards=0") {
			t.Errorf("%q:\n%s", flags, strings.Join(got, "\n"))
		}
	}
}

// Whatever is wrong is said at once: flags that are not known, values that cannot
// be read or do not go together, and what else there is.
func TestAllErrorsComeTogether(t *testing.T) {
	got := strings.Join(errorsOf(t, "--runner=dataflow", "--bogus=1", "--shards=many", "--allowed_lateness=long", "--ip=hash", "extra",
		"--region=europe", "--flink_savepoint=x", "--num_workers=-1", `--labels={"B":"x","A":"x"}`), "\n")
	for _, want := range []string{
		"--bogus", "--shards=many", "--allowed_lateness=long", "--ip=hash", `"extra"`, "--region", "--flink_savepoint", "--num_workers=-1",
		`"A"`, `"B"`, "--project", "--staging_location", "nothing to read", "nowhere to write",
	} {
		if n := strings.Count(got, want); n == 0 {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "--shards=0") {
		t.Errorf("a value that could not be read has more than one error:\n%s", got)
	}
}

// A flag that would do nothing is refused: a job that was to be submitted to
// Dataflow, or to be printed only, must not run here.
func TestFlagsOfOtherRunners(t *testing.T) {
	for _, test := range []struct{ runner, flag, want string }{
		{"prism", "--dry_run", "--dry_run does nothing with --runner=prism: give --runner=dataflow"},
		{"prism", "--region=europe-west1", "--region does nothing"},
		{"direct", "--template_location=gs://b/t", "--template_location does nothing"},
		{"prism", "--flink_checkpoint_interval=1s", "give --runner=flink"},
		{"FlinkRunner", "--max_num_workers=3", "--max_num_workers does nothing with --runner=flink"},
		{"flink", "--pprof=localhost:1", "--pprof does nothing"},
	} {
		got := errorsOf(t, "--runner="+test.runner, "--input=check_test.go", "--output_json="+t.TempDir(), test.flag)
		if len(got) != 1 || !strings.Contains(got[0], test.want) {
			t.Errorf("%s %s:\n%s", test.runner, test.flag, strings.Join(got, "\n"))
		}
	}
}

// What is refused elsewhere is a flag.
func TestPlaceFlags(t *testing.T) {
	cmd := command()
	for _, name := range slices.Concat(dataflowFlags, flinkFlags, hereFlags, readerFlags) {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("--%s is no flag", name)
		}
	}
}

// Without credentials a job that needs Google's services ends before it begins.
func TestNoCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
	for _, args := range [][]string{
		{"--project=my-project", "--subscription=logs", "--output_json=" + t.TempDir()},
		{"--project=my-project", "--input=check_test.go", "--bigquery_dataset=ads"},
		append(launchFlags(t), "--dry_run=false"),
	} {
		if got := errorsOf(t, args...); len(got) != 1 || !strings.Contains(got[0], "gcloud auth application-default login") {
			t.Errorf("%q:\n%s", args, strings.Join(got, "\n"))
		}
	}
}
