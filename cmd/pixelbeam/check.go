package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"google.golang.org/api/option"
	"google.golang.org/api/transport"

	"pixelbeam/pipeline"
)

// checkArgs refuses words that are no flags.
func checkArgs(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%q is no flag: give flags alone, each with its value as --name=value", strings.Join(args, " "))
}

// Flags that are of use with one runner alone.
var (
	dataflowFlags = []string{
		"dataflow_endpoint", "staging_location", "labels", "service_account_email", "num_workers",
		"number_of_worker_harness_threads", "max_num_workers", "disk_size_gb", "disk_type", "disk_provisioned_iops",
		"disk_provisioned_throughput_mibps", "autoscaling_algorithm", "zone", "dataflow_kms_key", "network", "subnetwork",
		"no_use_public_ips", "use_public_ips", "temp_location", "worker_machine_type", "machine_type", "min_cpu_platform",
		"worker_region", "worker_zone", "dataflow_service_options", "flexrs_goal", "update", "transform_name_mapping",
		"dry_run", "teardown_policy", "template_location", "region", "worker_harness_container_image", "sdk_container_image",
		"cpu_profiling",
	}
	flinkFlags = []string{"flink_master", "flink_checkpoint_interval", "flink_savepoint", "flink_options", "parallelism"}
	// hereFlags are of use where the job runs in this process.
	hereFlags = []string{"pprof"}
	// readerFlags are of the reader that Dataflow does without.
	readerFlags = []string{"pubsub_pullers", "watermark_slack"}
)

// checkRunnerFlags refuses flags that would do nothing with the runner: whoever gives
// them expects something of them, such as that --dry_run submits nothing.
func checkRunnerFlags(runner string, given func(string) bool) error {
	var errs []error
	refuse := func(names []string, remedy string) {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !given(name) })
		switch len(names) {
		case 0:
		case 1:
			errs = append(errs, fmt.Errorf("--%s does nothing with --runner=%s: %s, or leave it out", names[0], runner, remedy))
		default:
			errs = append(errs, fmt.Errorf("--%s do nothing with --runner=%s: %s, or leave them out", strings.Join(names, ", --"), runner, remedy))
		}
	}
	switch runner {
	case pipeline.RunnerPrism, pipeline.RunnerDirect, pipeline.RunnerFlink, pipeline.RunnerDataflow:
	default:
		return nil // It is not known, which is said elsewhere.
	}
	if runner != pipeline.RunnerDataflow {
		refuse(dataflowFlags, "give --runner=dataflow")
	}
	if runner != pipeline.RunnerFlink {
		refuse(flinkFlags, "give --runner=flink")
	}
	if !local(runner) {
		refuse(hereFlags, "give --runner=prism")
	}
	if runner == pipeline.RunnerDataflow {
		refuse(readerFlags, "Dataflow reads Pub/Sub itself; give --runner=prism")
	}
	return errors.Join(errs...)
}

// checkBeamFlags finds values on which Beam panics.
func checkBeamFlags(set *flag.FlagSet) error {
	return errors.Join(
		panics("resource_hints", set, "give hints such as min_ram=12GB", func() { jobopts.GetPipelineResourceHints() }),
		panics("sdk_harness_container_image_override", set, "give PATTERN,IMAGE", func() { jobopts.GetSdkImageOverrides() }),
	)
}

func panics(name string, set *flag.FlagSet, remedy string, f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("--%s=%s cannot be read: %s", name, set.Lookup(name).Value, remedy)
		}
	}()
	f()
	return nil
}

// checkLocalCredentials looks for credentials if a job in this process needs any.
func checkLocalCredentials(o *pipeline.Options) error {
	google := o.BigQueryDataset != "" && o.BigQueryStorageEndpoint == "" ||
		o.BigtableInstance != "" && o.BigtableEndpoint == "" && os.Getenv("BIGTABLE_EMULATOR_HOST") == "" ||
		o.Subscription != "" && o.PubSubEndpoint == "" && os.Getenv("PUBSUB_EMULATOR_HOST") == ""
	if os.Getenv("STORAGE_EMULATOR_HOST") == "" {
		google = google || slices.ContainsFunc(o.Input, func(p string) bool { return strings.HasPrefix(p, "gs://") })
	}
	if !google {
		return nil
	}
	return checkCredentials("for Google's services; those of a Pixelbeam on this machine are given by --pubsub_endpoint, --bigquery_storage_endpoint and --bigtable_endpoint")
}

// checkCredentials returns an error unless this machine has credentials of Google's.
func checkCredentials(use string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := transport.Creds(ctx, option.WithScopes("https://www.googleapis.com/auth/cloud-platform")); err != nil {
		return fmt.Errorf("no credentials %s: log in with 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS: %w", use, err)
	}
	return nil
}
