// Package infra_test holds the Terraform configuration to the program: the log
// filter lets through what the parser may count, and the template's parameters are
// the job's flags. What needs no program is in tests/*.tftest.hcl.
package infra_test

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"testing"

	"pixelbeam/pipeline"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/useragent"
)

// TestRequests holds the parser to tests/requests.json, to which ingest.tftest.hcl
// holds the log filter: together they say that the filter keeps nothing from the job
// that it would count or reject.
func TestRequests(t *testing.T) {
	var cases []struct {
		Why     string
		Outcome string
		Sent    bool
		Entry   json.RawMessage
	}
	read(t, "tests/requests.json", &cases)
	converter, err := impression.NewConverter(impression.Options{}, useragent.SharedCache())
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make(map[string]int)
	for _, c := range cases {
		var record impression.Record
		_, verdict := converter.Convert(&logentry.Message{Data: c.Entry}, nil, &record)
		got := "impression"
		switch verdict.Kind {
		case impression.Rejected:
			got = "rejected " + string(verdict.Reason)
		case impression.Ignored:
			got = "ignored " + string(verdict.Reason)
		}
		if got != c.Outcome {
			t.Errorf("%s: %s, want %s\n%s", c.Why, got, c.Outcome, c.Entry)
		}
		if !c.Sent && verdict.Kind != impression.Ignored {
			t.Errorf("%s: the log filter keeps it from the job, which would not ignore it\n%s", c.Why, c.Entry)
		}
		outcomes[got]++
	}
	for _, reason := range logentry.IgnoreReasons() {
		if outcomes["ignored "+string(reason)] == 0 {
			t.Errorf("no request is ignored for %s: add one to tests/requests.json", reason)
		}
	}
}

// notParameters are the flags of the job that its Flex Template leaves out.
var notParameters = []string{
	"input", "topic", "output_json", // the template streams from a subscription
	"pubsub_endpoint", "bigquery_endpoint", "bigquery_storage_endpoint", "bigtable_endpoint", // services other than Google's
	"pubsub_pullers", "until_idle", "watermark_slack", // not on Dataflow
	"flink_master", "flink_checkpoint_interval", "flink_savepoint", "flink_options", // Flink's
	"parameters", "user_agent_rules", // files of the machine that launches
}

// TestMetadata compares the parameters of the Flex Template with the job's flags.
func TestMetadata(t *testing.T) {
	var metadata struct {
		Streaming  bool
		Parameters []struct {
			Name         string
			Label        string
			HelpText     string
			IsOptional   bool
			Regexes      []string
			DefaultValue *string
		}
	}
	read(t, "modules/dataflow/metadata.json", &metadata)
	opts := pipeline.DefaultOptions()
	flags := flag.NewFlagSet("pixelbeam", flag.ContinueOnError)
	opts.RegisterFlags(flags)
	for _, p := range metadata.Parameters {
		f := flags.Lookup(p.Name)
		if f == nil {
			t.Errorf("%s is no flag of the job", p.Name)
			continue
		}
		if p.Label == "" || p.HelpText == "" {
			t.Errorf("%s has no label or no help", p.Name)
		}
		if p.DefaultValue != nil && *p.DefaultValue != f.DefValue {
			t.Errorf("%s has the default %q, the flag has %q", p.Name, *p.DefaultValue, f.DefValue)
		}
		for _, r := range p.Regexes {
			pattern, err := regexp.Compile(r)
			if err != nil {
				t.Errorf("%s: %v", p.Name, err)
			} else if f.DefValue != "" && !pattern.MatchString(f.DefValue) {
				t.Errorf("%s: the flag's default %q does not match %s", p.Name, f.DefValue, r)
			}
		}
	}
	flags.VisitAll(func(f *flag.Flag) {
		known := slices.Contains(notParameters, f.Name)
		for _, p := range metadata.Parameters {
			known = known || p.Name == f.Name
		}
		if !known {
			t.Errorf("--%s is no parameter of the template: add it to metadata.json, or to notParameters with the reason", f.Name)
		}
	})
	if !metadata.Streaming {
		t.Error("the template is not a streaming one")
	}
}

// What the template lets through is what the job takes, and nothing else: each regular
// expression is held to values that are right and wrong.
func TestMetadataValues(t *testing.T) {
	values := map[string]struct{ right, wrong []string }{
		"subscription":      {[]string{"projects/p-1/subscriptions/pixelbeam-requests", "projects/example.com:p-1/subscriptions/a.b"}, []string{"", "logs", "projects/p/topics/t", "projects/p/subscriptions/x", "projects/P/subscriptions/logs"}},
		"bigquery_dataset":  {[]string{"pixelbeam", "p-1.pixelbeam", "example.com:p-1.pixelbeam"}, []string{"", "a-b", "p-1.a-b", "p-1:pixelbeam"}},
		"bigquery_delivery": {[]string{"at_least_once", "exactly_once"}, []string{"", "once", "exactly_once "}},
		"table_suffix_by":   {[]string{"advertiser"}, []string{"campaign"}},
		"advertiser_groups": {[]string{"gs://my-bucket/groups.csv"}, []string{"groups.csv", "gs://my-bucket", "gs:///x", "gs://My/x"}},
		"bigtable_instance": {[]string{"pixelbeam"}, []string{"inst", "Pixelbeam", "pixelbeam-", "projects/p/instances/pixelbeam"}},
		"bigtable_table":    {[]string{"profiles", "_x.y-z"}, []string{"", "a b", "-x"}},
		"pixel_paths":       {[]string{"/pixel.gif", "/a.gif,/b.gif"}, []string{"", "pixel.gif", "/a,", "/a,b"}},
		"ip":                {[]string{"truncate", "keep", "drop"}, []string{"", "hash"}},
		"counts":            {[]string{"true", "false"}, []string{"", "yes", "TRUE"}},
		"ledger":            {[]string{"true", "false"}, []string{"", "1"}},
		"early_firings":     {[]string{"0", "10s", "1m", "1m30s"}, []string{"", "10", "-1s", "1d"}},
		"allowed_lateness":  {[]string{"0", "0s", "10m0s", "1h"}, []string{"", "10", "-1s", "1d"}},
		"shards":            {[]string{"1", "16", "9999", "10000"}, []string{"", "0", "016", "10001", "99999", "-1", "1.5"}},
	}
	var metadata struct {
		Parameters []struct {
			Name    string
			Regexes []string
		}
	}
	read(t, "modules/dataflow/metadata.json", &metadata)
	for _, p := range metadata.Parameters {
		all := func(value string) bool {
			for _, r := range p.Regexes {
				if !regexp.MustCompile(r).MatchString(value) {
					return false
				}
			}
			return len(p.Regexes) > 0
		}
		v, ok := values[p.Name]
		if !ok {
			t.Errorf("no values of %s are tried", p.Name)
		}
		for _, value := range v.right {
			if !all(value) {
				t.Errorf("%s: %q is refused", p.Name, value)
			}
			if !takes(p.Name, value) {
				t.Errorf("%s: %q is right for the template, and the job refuses it", p.Name, value)
			}
		}
		for _, value := range v.wrong {
			if all(value) {
				t.Errorf("%s: %q is taken", p.Name, value)
			}
		}
	}
}

// takes tells whether the job takes a value of a flag. Files are not read.
func takes(name, value string) bool {
	opts := pipeline.DefaultOptions()
	opts.Runner, opts.Project, opts.Subscription, opts.BigQueryDataset = pipeline.RunnerDataflow, "p-test", "logs", "ads"
	flags := flag.NewFlagSet("pixelbeam", flag.ContinueOnError)
	opts.RegisterFlags(flags)
	if name == "table_suffix_by" {
		opts.AdvertiserGroups = []byte("acme,retail\n")
	}
	if name != "advertiser_groups" && flags.Set(name, value) != nil {
		return false
	}
	return opts.Validate() == nil
}

// The example of variables has each of them.
func TestExampleHasAllVariables(t *testing.T) {
	variables, err := os.ReadFile("variables.tf")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("terraform.tfvars.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^variable "(.+)"`).FindAllSubmatch(variables, -1) {
		if !regexp.MustCompile(`(?m)^(# )?` + string(m[1]) + ` *=`).Match(example) {
			t.Errorf("terraform.tfvars.example has no %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:# )?([a-z_]+) *=`).FindAllSubmatch(example, -1) {
		if !regexp.MustCompile(`(?m)^variable "` + string(m[1]) + `"`).Match(variables) {
			t.Errorf("terraform.tfvars.example has %s, which is no variable", m[1])
		}
	}
}

func read(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
