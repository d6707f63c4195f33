package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"

	"pixelbeam/pipeline/sink"
	"pixelbeam/pipeline/source"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/ledger"
	"pixelbeam/transforms/privacy"
	"pixelbeam/transforms/tablegroup"
	"pixelbeam/transforms/useragent"
)

// Runners that the job is known to run on.
const (
	RunnerPrism    = "prism"    // local, streaming and batch, in process
	RunnerDirect   = "direct"   // local, batch only
	RunnerDataflow = "dataflow" // Google Cloud Dataflow
	RunnerFlink    = "flink"    // Apache Flink, by a Beam job server
)

// Deliveries of rows to the table impressions.
const (
	// DeliveryAtLeastOnce may write a row again; the view impressions_unique has
	// each once.
	DeliveryAtLeastOnce = "at_least_once"
	// DeliveryExactlyOnce has each row in the table once, and pays for a shuffle.
	DeliveryExactlyOnce = "exactly_once"
)

// SuffixByAdvertiser writes the impressions of an advertiser that is in a group to
// the table impressions_for_GROUP.
const SuffixByAdvertiser = "advertiser"

// Options is what a user can choose. The zero value is not useful; begin with
// DefaultOptions.
type Options struct {
	// Runner is one of the Runner constants; default prism.
	Runner string
	// Project is the Google Cloud project of whatever names none.
	Project string

	// Input holds file patterns (local or gs://) for a batch job. Exactly one of
	// Input, Subscription and Topic is set.
	Input []string
	// Subscription is a Pub/Sub subscription, projects/P/subscriptions/S or S.
	Subscription string
	// Topic is a Pub/Sub topic, for which Dataflow makes a subscription of its
	// own. Dataflow only.
	Topic string
	// PubSubEndpoint is host:port of another Pub/Sub than Google's; optional.
	PubSubEndpoint string
	// PubSubPullers is how many pulls a worker keeps going; not on Dataflow.
	PubSubPullers int
	// UntilIdle ends a streaming job when the subscription is empty. Windows
	// then fire once, at the end. Not on Dataflow and Flink.
	UntilIdle bool
	// HoldWatermark keeps all windows open until the job drains or is idle, for
	// entries in no order of time. UntilIdle implies it. Not on Dataflow.
	HoldWatermark bool
	// WatermarkSlack is how far the watermark stays behind the event times seen;
	// default 2 s. Not on Dataflow.
	WatermarkSlack time.Duration

	// FlinkMaster is host:port, or a URL, of Flink's REST API, by which a streaming
	// job on Flink is submitted and by which its workers learn of checkpoints;
	// default localhost:8081.
	FlinkMaster string
	// FlinkJob is the job's name in Flink, which no other running job of the
	// cluster has; default pixelbeam.
	FlinkJob string
	// FlinkCheckpointInterval is how often Flink makes a checkpoint; default 10 s.
	// Messages are acknowledged after it, and as much is read again after a
	// failure.
	FlinkCheckpointInterval time.Duration
	// FlinkSavepoint is the savepoint or checkpoint that a job begins from;
	// optional.
	FlinkSavepoint string
	// FlinkOptions are further options of Beam's Flink runner, by their names in
	// snake case.
	FlinkOptions map[string]any

	// PixelPaths are the request paths of the pixel; default
	// impression.DefaultPixelPaths.
	PixelPaths []string
	// IP says what becomes of client addresses; default truncate.
	IP privacy.IPMode
	// Parameters is a dictionary of pixel parameters that adds to the default
	// one, as JSON; optional.
	Parameters []byte
	// UserAgentRules is a regexes.yaml of uap-core in place of the embedded
	// one; optional.
	UserAgentRules useragent.Rules

	// BigQueryDataset is DATASET or PROJECT.DATASET; empty writes no tables.
	BigQueryDataset string
	// BigQueryDelivery is one of the Delivery constants; default at_least_once.
	BigQueryDelivery string
	// TableSuffixBy says which impressions have tables of their own: none if it is
	// empty, those of groups of advertisers if it is SuffixByAdvertiser.
	TableSuffixBy string
	// AdvertiserGroups says which advertisers are in which group, as CSV
	// (tablegroup.Parse); required with SuffixByAdvertiser.
	AdvertiserGroups []byte
	// BigQueryEndpoint is the URL of another BigQuery REST API than Google's, at
	// which the tables are checked before the job starts, and those of groups
	// made; optional.
	BigQueryEndpoint string
	// BigQueryStorageEndpoint is host:port of another Storage Write API than
	// Google's; optional.
	BigQueryStorageEndpoint string
	// BigtableInstance holds the profiles; empty keeps none.
	BigtableInstance string
	// BigtableTable is the table of profiles; default profiles.
	BigtableTable string
	// BigtableEndpoint is host:port of another Bigtable than Google's; optional.
	BigtableEndpoint string
	// OutputJSON is a folder for the same rows as JSON lines; optional.
	OutputJSON string

	// Counts says whether to write impression_counts; default true.
	Counts bool
	// Ledger says whether to keep the books in the table ledger; default true.
	Ledger bool
	// Version is the program's, for the books.
	Version string
	// AllowedLateness is how long after its end a window takes entries; default
	// 10 minutes.
	AllowedLateness time.Duration
	// EarlyFirings is how often, in event time, a window that has not ended is
	// written; default 10 s. 0, or a minute and more: at its end only.
	EarlyFirings time.Duration
	// Shards is how many parts a window is aggregated in, 1 to 10,000; default
	// 16. More shards spread more load, and write more rows of counts.
	Shards int
}

// DefaultOptions returns the options of a job without flags.
func DefaultOptions() Options {
	return Options{
		Runner:                  RunnerPrism,
		PubSubPullers:           4,
		WatermarkSlack:          2 * time.Second,
		PixelPaths:              impression.DefaultPixelPaths(),
		IP:                      privacy.IPTruncate,
		FlinkMaster:             "localhost:8081",
		FlinkJob:                "pixelbeam",
		FlinkCheckpointInterval: 10 * time.Second,
		BigQueryDelivery:        DeliveryAtLeastOnce,
		BigtableTable:           "profiles",
		Counts:                  true,
		Ledger:                  true,
		AllowedLateness:         10 * time.Minute,
		EarlyFirings:            10 * time.Second,
		Shards:                  16,
	}
}

// Streaming tells whether the job reads an unbounded source.
func (o *Options) Streaming() bool { return len(o.Input) == 0 }

// RegisterFlags adds a flag for every option but Runner and Project, which Beam
// has flags for, with the present values as defaults.
func (o *Options) RegisterFlags(fs *flag.FlagSet) {
	fs.Var((*list)(&o.Input), "input", "`patterns` of log files to read, comma-separated: local or gs:// globs, folders, .json or .jsonl, plain or .gz (batch)")
	fs.StringVar(&o.Subscription, "subscription", o.Subscription, "Pub/Sub `subscription` to read (streaming)")
	fs.StringVar(&o.Topic, "topic", o.Topic, "Pub/Sub `topic` to read by a subscription that Dataflow makes (streaming, Dataflow only)")
	fs.StringVar(&o.PubSubEndpoint, "pubsub_endpoint", o.PubSubEndpoint, "`host:port` of a Pub/Sub service other than Google's, without TLS (else PUBSUB_EMULATOR_HOST)")
	fs.IntVar(&o.PubSubPullers, "pubsub_pullers", o.PubSubPullers, "concurrent pulls per worker (not on Dataflow)")
	fs.BoolVar(&o.UntilIdle, "until_idle", o.UntilIdle, "end when the subscription is empty (not on Dataflow and Flink)")
	fs.DurationVar(&o.WatermarkSlack, "watermark_slack", o.WatermarkSlack, "how far the watermark stays behind the event times seen (not on Dataflow)")
	fs.StringVar(&o.FlinkMaster, "flink_master", o.FlinkMaster, "`host:port` or URL of Flink's REST API: the job is submitted there, and its workers ask there which checkpoints are complete (Flink)")
	fs.DurationVar(&o.FlinkCheckpointInterval, "flink_checkpoint_interval", o.FlinkCheckpointInterval, "how often Flink makes a checkpoint, after which messages are acknowledged (streaming on Flink)")
	fs.StringVar(&o.FlinkSavepoint, "flink_savepoint", o.FlinkSavepoint, "`path` of the savepoint or checkpoint that the job goes on from (Flink)")
	fs.Var((*jsonObject)(&o.FlinkOptions), "flink_options", "more options of Beam's Flink runner, as a `JSON` object of names in snake case")
	fs.Var((*list)(&o.PixelPaths), "pixel_paths", "request `paths` of the pixel, comma-separated, matched exactly after percent-decoding")
	fs.Var((*ipFlag)(&o.IP), "ip", "what becomes of client addresses: `truncate` (to /24 and /48), keep or drop")
	fs.Func("parameters", "JSON `file` with pixel parameters that add to the default dictionary", func(name string) (err error) {
		o.Parameters, err = os.ReadFile(name)
		return err
	})
	fs.Var(UserAgentRulesFlag{&o.UserAgentRules}, "user_agent_rules", "regexes.yaml `file` of uap-core in place of the embedded rules; --version names both")
	fs.StringVar(&o.BigQueryDataset, "bigquery_dataset", o.BigQueryDataset, "`[project.]dataset` of the tables; none: no tables are written")
	fs.StringVar(&o.BigQueryDelivery, "bigquery_delivery", o.BigQueryDelivery, "how rows reach the table impressions: `at_least_once` (the view impressions_unique has each once) or exactly_once (the table has; costs a shuffle of all rows)")
	fs.StringVar(&o.TableSuffixBy, "table_suffix_by", o.TableSuffixBy, "`advertiser`: impressions of advertisers that are in a group of --advertiser_groups go to a table impressions_for_GROUP, made when it is first needed; none: all go to impressions")
	fs.Var(AdvertiserGroupsFlag{&o.AdvertiserGroups}, "advertiser_groups", "CSV `file` (local or gs://) with lines ADVERTISER,GROUP, for --table_suffix_by=advertiser; advertisers that it does not name stay in impressions")
	fs.StringVar(&o.BigQueryEndpoint, "bigquery_endpoint", o.BigQueryEndpoint, "`URL` of a BigQuery REST API other than Google's, without authentication; the tables are checked there first, and those of groups made")
	fs.StringVar(&o.BigQueryStorageEndpoint, "bigquery_storage_endpoint", o.BigQueryStorageEndpoint, "`host:port` of a Storage Write API other than Google's, without TLS")
	fs.StringVar(&o.BigtableInstance, "bigtable_instance", o.BigtableInstance, "Bigtable `instance` of the profiles; none: no profiles are kept")
	fs.StringVar(&o.BigtableTable, "bigtable_table", o.BigtableTable, "Bigtable `table` of the profiles")
	fs.StringVar(&o.BigtableEndpoint, "bigtable_endpoint", o.BigtableEndpoint, "`host:port` of a Bigtable service other than Google's, without TLS (else BIGTABLE_EMULATOR_HOST)")
	fs.StringVar(&o.OutputJSON, "output_json", o.OutputJSON, "`folder` for the same rows as JSON lines, beside or instead of the tables")
	fs.BoolVar(&o.Counts, "counts", o.Counts, "count impressions per minute into impression_counts")
	fs.BoolVar(&o.Ledger, "ledger", o.Ledger, "keep the books of what was read, per minute, in the table ledger")
	fs.DurationVar(&o.AllowedLateness, "allowed_lateness", o.AllowedLateness, "how long after its end a one-minute window takes late entries")
	fs.DurationVar(&o.EarlyFirings, "early_firings", o.EarlyFirings, "how often a window that has not ended is written; 0: at its end only")
	fs.IntVar(&o.Shards, "shards", o.Shards, "parts that a window is aggregated in")
}

var (
	datasetPattern      = regexp.MustCompile(`^([a-z][a-z0-9.:-]*\.)?[A-Za-z0-9_]+$`)
	subscriptionPattern = regexp.MustCompile(`^(projects/[^/]+/subscriptions/)?[A-Za-z][A-Za-z0-9._~%+-]{2,254}$`)
	tablePattern        = regexp.MustCompile(`^[_a-zA-Z0-9][-_.a-zA-Z0-9]{0,49}$`)
	topicPattern        = regexp.MustCompile(`^(projects/[^/]+/topics/)?[A-Za-z][A-Za-z0-9._~%+-]{2,254}$`)
)

// Validate returns every error of the options, joined; each names the flag and
// the remedy.
func (o *Options) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	switch o.Runner {
	case RunnerPrism, RunnerDirect, RunnerDataflow, RunnerFlink:
	default:
		wrong("--runner=%s is not known: give prism, direct, dataflow or flink", o.Runner)
	}
	sources := 0
	for _, set := range []bool{len(o.Input) > 0, o.Subscription != "", o.Topic != ""} {
		if set {
			sources++
		}
	}
	switch {
	case sources == 0:
		wrong("nothing to read: give --input (files), or --subscription (Pub/Sub)")
	case sources > 1:
		wrong("--input, --subscription and --topic exclude each other: give one of them")
	}
	if o.Streaming() && o.Runner == RunnerDirect {
		wrong("--runner=direct runs batch jobs only: give --input, or --runner=prism")
	}
	if o.Streaming() && o.Runner == RunnerFlink {
		if err := o.pubsub().Flink.Validate(); err != nil {
			wrong("--flink_master or --job_name: %w", err)
		}
		if o.FlinkCheckpointInterval < 100*time.Millisecond {
			wrong("--flink_checkpoint_interval=%v is less than 100ms: give 1s to 1m; messages are acknowledged after one", o.FlinkCheckpointInterval)
		}
	}
	if o.Topic != "" && o.Runner != RunnerDataflow {
		wrong("--topic works on Dataflow only: give --subscription")
	}
	if o.Topic != "" && !topicPattern.MatchString(o.Topic) {
		wrong("--topic=%s is not a topic: give projects/PROJECT/topics/NAME, or NAME", o.Topic)
	}
	if o.Subscription != "" && !subscriptionPattern.MatchString(o.Subscription) {
		wrong("--subscription=%s is not a subscription: give projects/PROJECT/subscriptions/NAME, or NAME", o.Subscription)
	}
	for _, name := range []string{o.Subscription, o.Topic} {
		if base := name[strings.LastIndexByte(name, '/')+1:]; strings.HasPrefix(strings.ToLower(base), "goog") {
			wrong("%s: names that begin with goog are Google's: give another", name)
		}
	}
	if name := o.Subscription + o.Topic; name != "" && !strings.HasPrefix(name, "projects/") && o.Project == "" {
		wrong("%s names no project: give --project, or the full name", name)
	}
	if len(o.Input) > 0 {
		if err := (source.FilesConfig{Patterns: o.Input}).Validate(); err != nil {
			wrong("--input: %w", err)
		}
	}
	if o.PubSubPullers < 1 || o.PubSubPullers > 256 {
		wrong("--pubsub_pullers=%d is not between 1 and 256: give such a number", o.PubSubPullers)
	}
	if o.UntilIdle && (!o.Streaming() || o.Runner == RunnerDataflow || o.Runner == RunnerFlink) {
		wrong("--until_idle ends a job that reads --subscription, and neither on Dataflow (drain that one) nor on Flink (stop that one with a savepoint)")
	}
	if o.BigQueryDataset == "" && o.OutputJSON == "" {
		wrong("nowhere to write: give --bigquery_dataset, or --output_json for a first look")
	}
	if o.BigQueryDataset != "" {
		if !datasetPattern.MatchString(o.BigQueryDataset) {
			wrong("--bigquery_dataset=%s is not a dataset: give DATASET or PROJECT.DATASET", o.BigQueryDataset)
		} else if project, _ := o.dataset(); project == "" {
			wrong("--bigquery_dataset=%s names no project: give --project, or PROJECT.DATASET", o.BigQueryDataset)
		}
	}
	switch o.BigQueryDelivery {
	case DeliveryAtLeastOnce, DeliveryExactlyOnce:
	default:
		wrong("--bigquery_delivery=%s is not known: give at_least_once or exactly_once", o.BigQueryDelivery)
	}
	if o.BigQueryDelivery == DeliveryExactlyOnce && o.BigQueryDataset == "" {
		wrong("--bigquery_delivery=exactly_once is for a table: give --bigquery_dataset")
	}
	if o.BigQueryDelivery == DeliveryExactlyOnce && o.Runner == RunnerDirect {
		wrong("--bigquery_delivery=exactly_once keeps state, which --runner=direct does not: give --runner=prism")
	}
	if o.BigQueryDelivery == DeliveryExactlyOnce && o.Streaming() && o.Runner == RunnerFlink {
		wrong("--bigquery_delivery=exactly_once shows rows when a bundle is over, which Flink may undo until its checkpoint: give at_least_once, and read the view impressions_unique")
	}
	errs = append(errs, o.validateGroups()...)
	if o.BigtableInstance != "" && o.Project == "" {
		wrong("--bigtable_instance=%s needs --project", o.BigtableInstance)
	}
	if strings.ContainsAny(o.BigtableInstance, "/ ") && o.Runner != RunnerDataflow { // where more is said
		wrong("--bigtable_instance=%s is not an instance: give its id alone", o.BigtableInstance)
	}
	if !tablePattern.MatchString(o.BigtableTable) {
		wrong("--bigtable_table=%s is not a table: give up to 50 letters, digits, underscores, hyphens and dots", o.BigtableTable)
	}
	errs = append(errs, o.validateEndpoints()...)
	if o.AllowedLateness < 0 {
		wrong("--allowed_lateness=%v is negative: give 0 or more", o.AllowedLateness)
	}
	if o.WatermarkSlack < 0 {
		wrong("--watermark_slack=%v is negative: give 0 or more", o.WatermarkSlack)
	}
	if o.EarlyFirings != 0 && o.EarlyFirings < time.Second {
		wrong("--early_firings=%v is less than 1s: give 1s to 1m, or 0 for none", o.EarlyFirings)
	}
	if o.Shards < 1 || o.Shards > 10_000 {
		wrong("--shards=%d is not between 1 and 10000: give such a number", o.Shards)
	}
	agents, err := useragent.SharedCacheFor(o.UserAgentRules)
	if err != nil {
		wrong("--user_agent_rules: give the regexes.yaml of a release of uap-core: %w", err)
	}
	if _, err := impression.NewConverter(o.parse(), agents); err != nil {
		wrong("--pixel_paths or --parameters: %w", err)
	}
	return errors.Join(errs...)
}

// validateEndpoints checks the addresses of services other than Google's.
func (o *Options) validateEndpoints() (errs []error) {
	if e := o.PubSubEndpoint; e != "" {
		if host, port, err := net.SplitHostPort(e); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("--pubsub_endpoint=%s is not an address: give host:port", e))
		}
	}
	for _, e := range []struct{ name, value string }{
		{"bigquery_storage_endpoint", o.BigQueryStorageEndpoint}, {"bigtable_endpoint", o.BigtableEndpoint},
	} {
		if sink.CheckEndpoint(e.value) != nil {
			errs = append(errs, fmt.Errorf("--%s=%s is not an address: give host:port", e.name, e.value))
		}
	}
	if e := o.BigQueryEndpoint; e != "" {
		if u, err := url.Parse(e); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("--bigquery_endpoint=%s is not a URL: give http://host:port", e))
		}
	}
	return errs
}

func (o *Options) validateGroups() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch o.TableSuffixBy {
	case "":
		if o.AdvertiserGroups != nil {
			wrong("--advertiser_groups does nothing by itself: give --table_suffix_by=advertiser too")
		}
		return errs
	case SuffixByAdvertiser:
	default:
		wrong("--table_suffix_by=%s is not known: give advertiser, or leave it out", o.TableSuffixBy)
		return errs
	}
	if o.BigQueryDataset == "" {
		wrong("--table_suffix_by=advertiser is for tables: give --bigquery_dataset")
	}
	if o.AdvertiserGroups == nil {
		wrong("--table_suffix_by=advertiser needs --advertiser_groups, a file with lines ADVERTISER,GROUP")
	} else if _, err := tablegroup.Parse(o.AdvertiserGroups); err != nil {
		for _, err := range unjoin(err) {
			wrong("--advertiser_groups: %w", err)
		}
	}
	return errs
}

// unjoin returns the errors that errors.Join joined.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// groups returns the advertisers' groups, nil if their rows have no tables of their
// own. The options must be valid.
func (o *Options) groups() tablegroup.Map {
	if o.TableSuffixBy == "" {
		return nil
	}
	groups, err := tablegroup.Parse(o.AdvertiserGroups)
	if err != nil {
		panic(fmt.Sprintf("pipeline: options are not valid: %v", err))
	}
	return groups
}

// dataset splits [project.]dataset.
func (o *Options) dataset() (project, dataset string) {
	if i := strings.LastIndexByte(o.BigQueryDataset, '.'); i >= 0 {
		return o.BigQueryDataset[:i], o.BigQueryDataset[i+1:]
	}
	return o.Project, o.BigQueryDataset
}

func (o *Options) parse() impression.Options {
	opts := impression.Options{PixelPaths: o.PixelPaths, IP: o.IP, Dictionary: o.Parameters, UserAgentRules: o.UserAgentRules,
		OmitRecords: !o.Counts && o.BigtableInstance == ""}
	if o.Ledger {
		opts.LedgerShards = o.Shards
	}
	return opts
}

// build says in the books what made them.
func (o *Options) build() ledger.Build {
	return ledger.Build{Version: o.Version, Rules: o.UserAgentRules.Version()}
}

func (o *Options) pubsub() source.PubSubConfig {
	cfg := source.PubSubConfig{
		Subscription: fullName(o.Project, "subscriptions", o.Subscription),
		Endpoint:     o.PubSubEndpoint,
		Pullers:      o.PubSubPullers,
		// Longer bundles are fewer late panes; a row is half a second later.
		MaxBundleMillis: 500,
		UntilIdle:       o.UntilIdle,
		HoldWatermark:   o.HoldWatermark || o.UntilIdle,
		SlackMillis:     int(o.WatermarkSlack.Milliseconds()),
	}
	if o.Runner == RunnerFlink {
		cfg.Flink = &source.FlinkConfig{Master: o.FlinkMaster, Job: o.FlinkJob}
	}
	return cfg
}

func (o *Options) pubsubNative() source.PubSubNativeConfig {
	return source.PubSubNativeConfig{
		Subscription: fullName(o.Project, "subscriptions", o.Subscription),
		Topic:        fullName(o.Project, "topics", o.Topic),
	}
}

func (o *Options) bigQuery(table string) sink.BigQueryConfig {
	project, dataset := o.dataset()
	return sink.BigQueryConfig{Project: project, Dataset: dataset, Table: table, Endpoint: o.BigQueryStorageEndpoint}
}

// bigQueryGroups is for impressions where some have tables of groups.
func (o *Options) bigQueryGroups() sink.BigQueryConfig {
	cfg := o.bigQuery("impressions")
	cfg.RESTEndpoint = o.BigQueryEndpoint
	return cfg
}

func (o *Options) bigQueryOnce() sink.OnceConfig {
	cfg := sink.OnceConfig{BigQueryConfig: o.bigQuery("impressions"), Shards: o.Shards, AllowedLateness: o.AllowedLateness}
	if groups := o.groups(); groups != nil {
		cfg.BigQueryConfig, cfg.Groups = o.bigQueryGroups(), groups
	}
	return cfg
}

// jsonPrefixes are the beginnings of file names of tables whose name is not
// their own.
var jsonPrefixes = map[string]string{"rejected_entries": "rejected", "impression_counts": "counts"}

func (o *Options) jsonConfig(table string) sink.JSONConfig {
	prefix := table
	if p, ok := jsonPrefixes[table]; ok {
		prefix = p
	}
	return sink.JSONConfig{Dir: o.OutputJSON, Prefix: prefix, Table: table}
}

func (o *Options) bigtable() sink.BigtableConfig {
	return sink.BigtableConfig{Project: o.Project, Instance: o.BigtableInstance, Table: o.BigtableTable, Endpoint: o.BigtableEndpoint}
}

func fullName(project, kind, name string) string {
	if name == "" || strings.HasPrefix(name, "projects/") {
		return name
	}
	return "projects/" + project + "/" + kind + "/" + name
}

// list is a comma-separated flag; it replaces the default.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	*l = nil
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

// jsonObject is a flag whose value is a JSON object.
type jsonObject map[string]any

func (o *jsonObject) String() string {
	if len(*o) == 0 {
		return ""
	}
	b, err := json.Marshal(*o)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (o *jsonObject) Set(s string) error {
	*o = nil
	return json.Unmarshal([]byte(s), (*map[string]any)(o))
}

// ipFlag is the flag of an IP mode.
type ipFlag privacy.IPMode

func (f *ipFlag) String() string { return string(*f) }

func (f *ipFlag) Set(s string) error {
	mode, err := privacy.ParseIPMode(s)
	if err == nil {
		*f = ipFlag(mode)
	}
	return err
}

// UserAgentRulesFlag is the value of a flag that names a file with user agent
// rules, for package flag and for pflag. Setting it reads the file; as a string
// it is the version of what was read, and empty for the embedded rules.
type UserAgentRulesFlag struct{ Rules *useragent.Rules }

func (f UserAgentRulesFlag) String() string {
	if f.Rules == nil || f.Rules.Name == "" {
		return ""
	}
	return f.Rules.Version()
}

// Type names the kind of value in pflag's help.
func (f UserAgentRulesFlag) Type() string { return "file" }

// Set reads the file.
func (f UserAgentRulesFlag) Set(name string) error {
	yaml, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	*f.Rules = useragent.Rules{Name: filepath.Base(name), YAML: yaml}
	return nil
}

// AdvertiserGroupsFlag is the value of a flag that names a file of advertisers'
// groups, local or gs://, for package flag and for pflag. Setting it reads the file.
type AdvertiserGroupsFlag struct{ File *[]byte }

func (f AdvertiserGroupsFlag) String() string { return "" }

// Type names the kind of value in pflag's help.
func (f AdvertiserGroupsFlag) Type() string { return "file" }

// Set reads the file.
func (f AdvertiserGroupsFlag) Set(name string) error {
	b, err := readFile(name)
	if err == nil {
		*f.File = append([]byte{}, b...) // not nil, if empty
	}
	return err
}

func readFile(name string) ([]byte, error) {
	if !strings.HasPrefix(name, "gs://") {
		return os.ReadFile(name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fs, err := filesystem.New(ctx, name)
	if err != nil {
		return nil, err
	}
	defer fs.Close()
	b, err := filesystem.Read(ctx, fs, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}
