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
