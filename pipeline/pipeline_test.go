package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	//lint:ignore SA1019 users run their tests on it, so it has to work
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/vet"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/google/go-cmp/cmp"

	"pixelbeam/local/traffic"
	"pixelbeam/transforms/useragent"
)

func TestMain(m *testing.M) { ptest.Main(m) }

// generated writes n generated entries to a file and returns its name and what a
// job must make of them.
func generated(t *testing.T, n int) (string, traffic.Totals) {
	t.Helper()
	opts := traffic.DefaultOptions()
	// A file has no attributes, so a time must be in the entry.
	opts.AttributeTimeShare = 0
	opts.TooLargeShare = 0.0005
	g := traffic.New(opts)
	var b bytes.Buffer
	if err := traffic.Write(&b, g, n); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "entries.jsonl")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name, g.Totals()
}

// lines returns the sorted lines of the files that a job wrote.
func lines(t *testing.T, dir, prefix string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, prefix+"-*.jsonl"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s files in %s (%v)", prefix, dir, err)
	}
	var all []string
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
	}
	slices.Sort(all)
	return all
}

func total(m map[string]int64) (n int64) {
	for _, c := range m {
		n += c
	}
	return n
}

// Both local runners account for every entry and give the same rows.
func TestBatchOnBothRunners(t *testing.T) {
	input, want := generated(t, 6000)
	rows := map[string]map[string][]string{}
	for _, runner := range []string{RunnerPrism, RunnerDirect} {
		o := DefaultOptions()
		o.Runner, o.Input, o.OutputJSON = runner, []string{input}, t.TempDir()
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		result, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := result.Balance(); err != nil {
			t.Error(err)
		}
		got := [4]int64{result.Read(), result.Impressions(), result.Rejected(), result.Ignored()}
		if w := [4]int64{want.Entries, want.Impressions + want.DuplicateImpressions, total(want.Rejected), total(want.Ignored)}; got != w {
			t.Errorf("%s: read, impressions, rejected, ignored = %v, want %v", runner, got, w)
		}
		for reason, n := range want.Rejected {
			if got := result["pixelbeam/rejected_"+reason]; got != n {
				t.Errorf("%s: rejected %s %d, want %d", runner, reason, got, n)
			}
		}
		for reason, n := range want.Ignored {
			if got := result["pixelbeam/ignored_"+reason]; got != n {
				t.Errorf("%s: ignored %s %d, want %d", runner, reason, got, n)
			}
		}
		rows[runner] = map[string][]string{}
		for _, prefix := range []string{"impressions", "rejected", "counts", "ledger"} {
			rows[runner][prefix] = lines(t, o.OutputJSON, prefix)
		}
	}
	if diff := cmp.Diff(rows[RunnerDirect], rows[RunnerPrism]); diff != "" {
		t.Errorf("rows (-direct +prism):\n%.3000s", diff)
	}
	var gross, distinct int64
	for _, line := range rows[RunnerPrism]["counts"] {
		var row struct{ Gross, Invalid, Net int64 }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		gross += row.Gross
	}
	var read, impressions, duplicates int64
	for _, line := range rows[RunnerPrism]["ledger"] {
		var row struct{ Read, Impressions, Rejected, Ignored, Duplicates int64 }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if row.Read != row.Impressions+row.Rejected+row.Ignored {
			t.Errorf("an entry of the ledger does not add up: %s", line)
		}
		read, impressions, duplicates = read+row.Read, impressions+row.Impressions, duplicates+row.Duplicates
	}
	if got, w := [3]int64{read, impressions, duplicates}, [3]int64{want.Entries, want.Impressions + want.DuplicateImpressions, want.DuplicateImpressions}; got != w {
		t.Errorf("ledger: read, impressions, duplicates = %v, want %v", got, w)
	}
	distinct = int64(len(slices.Compact(rows[RunnerPrism]["impressions"])))
	if gross != want.Impressions || distinct != want.Impressions {
		t.Errorf("counted %d, distinct rows %d, want %d", gross, distinct, want.Impressions)
	}
}

// All that travels is registered, so that no step falls back to reflection.
func TestPipelineIsPerformant(t *testing.T) {
	for name, o := range map[string]Options{
		"batch":     {Runner: RunnerPrism, Input: []string{"pipeline_test.go"}},
		"streaming": {Runner: RunnerPrism, Subscription: "projects/p/subscriptions/pixel"},
		"dataflow":  {Runner: RunnerDataflow, Subscription: "projects/p/subscriptions/pixel"},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			d := DefaultOptions()
			d.Runner, d.Input, d.Subscription = o.Runner, o.Input, o.Subscription
			d.Project, d.BigQueryDataset, d.BigtableInstance, d.OutputJSON = "p", "d", "i", t.TempDir()
			if err := d.Validate(); err != nil {
				t.Fatal(err)
			}
			p, s := beam.NewPipelineWithRoot()
			Build(s, d)
			e, err := vet.Evaluate(context.Background(), p)
			if err != nil {
				t.Fatal(err)
			}
			if !e.Performant() {
				e.Generate("pipeline")
				t.Errorf("not registered:\n%s", e.Bytes())
			}
		})
	}
}

// Every error comes at once, and names the flag.
func TestValidateNamesFlags(t *testing.T) {
	ok := func() Options {
		o := DefaultOptions()
		o.Project, o.Subscription, o.BigQueryDataset = "p", "pixel", "d"
		return o
	}
	valid := ok()
	if err := valid.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		change func(*Options)
		want   []string
	}{
		{func(o *Options) { o.Runner = "spark" }, []string{"--runner=spark"}},
		{func(o *Options) { o.Subscription = "" }, []string{"--input", "--subscription"}},
		{func(o *Options) { o.Topic = "t-1" }, []string{"exclude each other"}},
		{func(o *Options) { o.Runner = RunnerDirect }, []string{"--runner=direct"}},
		{func(o *Options) { o.Subscription, o.Topic = "", "topic" }, []string{"--topic works on Dataflow only"}},
		{func(o *Options) { o.Subscription = "a b" }, []string{"--subscription=a b"}},
		{func(o *Options) { o.Project = "" }, []string{"give --project"}},
		{func(o *Options) { o.BigQueryDataset = "" }, []string{"--bigquery_dataset", "--output_json"}},
		{func(o *Options) { o.BigQueryDataset = "a-b" }, []string{"--bigquery_dataset=a-b"}},
		{func(o *Options) { o.Subscription, o.Input = "", []string{"no-such-*.json"} }, []string{"--input", "no-such-*.json"}},
		{func(o *Options) { o.PubSubPullers = 0 }, []string{"--pubsub_pullers=0"}},
		{func(o *Options) { o.Shards, o.AllowedLateness = 0, -time.Second }, []string{"--shards=0", "--allowed_lateness"}},
		{func(o *Options) { o.EarlyFirings = time.Millisecond }, []string{"--early_firings=1ms"}},
		{func(o *Options) { o.PixelPaths = []string{"p.gif"} }, []string{"--pixel_paths", "p.gif"}},
		{func(o *Options) { o.UserAgentRules = useragent.Rules{Name: "own.yaml"} }, []string{"--user_agent_rules", "own.yaml", "no user_agent_parsers"}},
		{func(o *Options) { o.Runner, o.UntilIdle = RunnerDataflow, true }, []string{"--until_idle"}},
		{func(o *Options) { o.TableSuffixBy = "site" }, []string{"--table_suffix_by=site", "give advertiser"}},
		{func(o *Options) { o.TableSuffixBy = SuffixByAdvertiser }, []string{"needs --advertiser_groups"}},
		{func(o *Options) { o.AdvertiserGroups = []byte("acme,retail") }, []string{"--advertiser_groups does nothing", "--table_suffix_by=advertiser"}},
		{func(o *Options) {
			o.TableSuffixBy, o.AdvertiserGroups, o.BigQueryDataset, o.OutputJSON = SuffixByAdvertiser, []byte("a,b"), "", "out"
		}, []string{"give --bigquery_dataset"}},
		{func(o *Options) {
			o.TableSuffixBy, o.AdvertiserGroups, o.Shards = SuffixByAdvertiser, []byte("acme\na,B\n"), 0
		}, []string{"--advertiser_groups: line 1: 1 values", "--advertiser_groups: line 2: group \"B\"", "--shards=0"}},
		{func(o *Options) { o.TableSuffixBy, o.AdvertiserGroups = SuffixByAdvertiser, []byte{} }, []string{"--advertiser_groups: it names no advertiser"}},
		{func(o *Options) { o.BigQueryDataset, o.Runner, o.Shards = "", "x", 0 }, []string{"--runner=x", "nowhere to write", "--shards=0"}},
	} {
		o := ok()
		test.change(&o)
		err := o.Validate()
		if err == nil {
			t.Errorf("no error, want %q", test.want)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not name %q", err, want)
			}
		}
	}
}

// A file of user agent rules decides in place of the embedded ones wherever the
// job runs: its content travels with the job.
func TestUserAgentRulesTravel(t *testing.T) {
	dir := t.TempDir()
	rules, input := filepath.Join(dir, "own.yaml"), filepath.Join(dir, "entries.jsonl")
	for name, text := range map[string]string{
		rules: `
user_agent_parsers: [{regex: '(Travelling) Browser/(\d+)'}]
os_parsers: [{regex: '(System) (\d+)'}]
device_parsers: [{regex: '(Device) (\d+)', brand_replacement: 'Maker', model_replacement: '$2'}]
`,
		input: `{"insertId": "1", "timestamp": "2026-11-26T12:00:00Z", "httpRequest": {"requestMethod": "GET", "requestUrl": "https://pixel.example/pixel.gif?cb=1", "status": 200, "userAgent": "Travelling Browser/7 (System 8; Device 9)"}}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var own useragent.Rules
	if err := (UserAgentRulesFlag{&own}).Set(rules); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(rules); err != nil { // a worker has no such file
		t.Fatal(err)
	}
	for _, runner := range []string{RunnerPrism, RunnerDirect} {
		o := DefaultOptions()
		o.Runner, o.Input, o.OutputJSON, o.Counts, o.UserAgentRules = runner, []string{input}, t.TempDir(), false, own
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		var row struct {
			Browser        string `json:"browser"`
			BrowserVersion string `json:"browser_version"`
			OS             string `json:"os"`
			OSVersion      string `json:"os_version"`
			DeviceBrand    string `json:"device_brand"`
			DeviceModel    string `json:"device_model"`
		}
		want := row
		want.Browser, want.BrowserVersion, want.OS, want.OSVersion, want.DeviceBrand, want.DeviceModel = "Travelling", "7", "System", "8", "Maker", "9"
		if err := json.Unmarshal([]byte(lines(t, o.OutputJSON, "impressions")[0]), &row); err != nil {
			t.Fatal(err)
		}
		if row != want {
			t.Errorf("%s: %+v, want %+v", runner, row, want)
		}
	}
}

// Whatever experiments the user asks for, Prism keeps its bundles whole.
func TestPrismKeepsBundlesWhole(t *testing.T) {
	defer func(before string) { *jobopts.Experiments = before }(*jobopts.Experiments)
	for before, want := range map[string]string{"": noSplit, "a,b": "a,b," + noSplit, noSplit: noSplit} {
		*jobopts.Experiments = before
		steadyPrism()
		if *jobopts.Experiments != want {
			t.Errorf("--experiments=%q becomes %q, want %q", before, *jobopts.Experiments, want)
		}
	}
}
