package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/storage"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/local/gcsd"
	"pixelbeam/local/traffic"
	"pixelbeam/schemas"
)

// job is what of a Dataflow job the tests look at.
// https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.jobs#Job
type job struct {
	Name, Type, ReplaceJobID string
	Labels                   map[string]string
	Environment              struct {
		Experiments, ServiceOptions []string
		ServiceAccountEmail         string
		SdkPipelineOptions          struct {
			DisplayData []struct{ Key, Value string }
			Options     struct{ PipelineURL, Region, TempLocation string }
		}
		WorkerPools []struct {
			MachineType, IPConfiguration string
			AutoscalingSettings          struct {
				Algorithm     string
				MaxNumWorkers int
			}
			Packages []struct{ Name, Location, Sha256 string }
		}
	}
}

// fakeDataflow is the part of Dataflow's REST API that a submission uses.
type fakeDataflow struct {
	*httptest.Server
	mu      sync.Mutex
	created [][]byte
}

func startDataflow(t *testing.T) *fakeDataflow {
	t.Helper()
	d := &fakeDataflow{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1b3/projects/p-test/locations/europe-west1/jobs", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var j job
		if err := json.Unmarshal(body, &j); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if j.Name == "taken" && j.ReplaceJobID == "" {
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"error":{"code":409,"message":"a job with that name runs","status":"ALREADY_EXISTS"}}`)
			return
		}
		d.mu.Lock()
		d.created = append(d.created, body)
		d.mu.Unlock()
		io.WriteString(w, `{"id":"job-2"}`)
	})
	mux.HandleFunc("GET /v1b3/projects/p-test/locations/europe-west1/jobs", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"jobs":[{"id":"job-1","name":"taken"}]}`)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"secret-access-token","token_type":"Bearer","expires_in":3600}`)
	})
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

// jobs returns what was submitted.
func (d *fakeDataflow) jobs() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.created)
}

// credentials writes the key of a service account that gets its tokens from d.
func (d *fakeDataflow) credentials(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p-test", "client_email": "launcher@p-test.iam.gserviceaccount.com",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": d.URL + "/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Submissions to Dataflow, by the job as a program.
func TestDataflow(t *testing.T) {
	binary := build(t)
	for name, test := range map[string]func(*testing.T, *cloud){
		"submit": testSubmit, "update": testUpdate, "template": testTemplate, "dry run": testDryRun, "staged job": testStagedJob,
		"job server": testJobServer,
	} {
		t.Run(name, func(t *testing.T) { test(t, startCloud(t, binary)) })
	}
}

// build makes the job a program that runs on any Linux, stripped as a release is.
func build(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pixelbeam")
	cmd := exec.Command("go", "build", "-o", name)
	if runtime.GOOS == "linux" {
		// What was compiled for the test is linked again, statically.
		cmd.Args = append(cmd.Args, "-ldflags=-s -w -linkmode=external -extldflags=-static", ".")
	} else {
		cmd.Args = append(cmd.Args, "-ldflags=-s -w", ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return name
}

// cloud is Dataflow and Cloud Storage on this machine, and the environment of a
// process that uses them.
type cloud struct {
	dataflow *fakeDataflow
	storage  *gcsd.Server
	binary   string
	env      []string
}

func startCloud(t *testing.T, binary string) *cloud {
	t.Helper()
	c := &cloud{dataflow: startDataflow(t), binary: binary}
	var err error
	if c.storage, err = gcsd.Start("127.0.0.1:0", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.storage.Close() })
	if err := c.storage.PutObject("staging", "keep", nil); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(),
		"STORAGE_EMULATOR_HOST="+c.storage.Addr(),
		"GOOGLE_APPLICATION_CREDENTIALS="+c.dataflow.credentials(t),
		"GCE_METADATA_HOST=127.0.0.1:1")
	return c
}

// launch runs the job's command against Dataflow and returns what it printed.
func (c *cloud) launch(t *testing.T, flags ...string) (stdout, stderr string, code int) {
	t.Helper()
	return c.run(t, append([]string{
		"--project=p-test", "--region=europe-west1", "--staging_location=gs://staging/jobs",
		"--dataflow_endpoint=" + c.dataflow.URL + "/",
	}, flags...)...)
}

// run runs the job's command and returns what it printed.
func (c *cloud) run(t *testing.T, flags ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.binary, flags...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// object reads gs://BUCKET/NAME.
func (c *cloud) object(t *testing.T, location string) []byte {
	t.Helper()
	t.Setenv("STORAGE_EMULATOR_HOST", c.storage.Addr())
	client, err := storage.NewClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	bucket, name, _ := strings.Cut(strings.TrimPrefix(location, "gs://"), "/")
	r, err := client.Bucket(bucket).Object(name).NewReader(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", location, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// streaming are the flags of a whole streaming job.
var streaming = []string{"--subscription=logs", "--bigquery_dataset=ads", "--bigtable_instance=i-test"}

// A submission stages the worker and the pipeline, and creates a job that has
// what a job of this kind needs.
func testSubmit(t *testing.T, c *cloud) {
	stdout, stderr, code := c.launch(t, append(streaming, "--runner=DataflowRunner", `--labels={"team":"ads"}`, "--service_account_email=w@p-test.iam.gserviceaccount.com")...)
	if code != cli.ExitOK || !strings.Contains(stderr, "Submitted job: job-2") {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	jobs := c.dataflow.jobs()
	if len(jobs) != 1 {
		t.Fatalf("%d jobs were created", len(jobs))
	}
	var j job
	if err := json.Unmarshal(jobs[0], &j); err != nil {
		t.Fatal(err)
	}
	pool := j.Environment.WorkerPools[0]
	for _, check := range []struct{ what, got, want string }{
		{"name", j.Name, "pixelbeam"},
		{"type", j.Type, "JOB_TYPE_STREAMING"},
		{"labels", fmt.Sprint(j.Labels), "map[app:pixelbeam team:ads]"},
		{"service options", fmt.Sprint(j.Environment.ServiceOptions), "[streaming_mode_at_least_once]"},
		{"account", j.Environment.ServiceAccountEmail, "w@p-test.iam.gserviceaccount.com"},
		{"addresses", pool.IPConfiguration, "WORKER_IP_PRIVATE"},
		{"machine", pool.MachineType, "n2d-standard-4"},
		{"autoscaling", pool.AutoscalingSettings.Algorithm, "AUTOSCALING_ALGORITHM_BASIC"},
		{"most workers", strconv.Itoa(pool.AutoscalingSettings.MaxNumWorkers), "20"},
		{"region", j.Environment.SdkPipelineOptions.Options.Region, "europe-west1"},
		{"temp location", j.Environment.SdkPipelineOptions.Options.TempLocation, "gs://staging/jobs/tmp"},
		{"update", j.ReplaceJobID, ""},
	} {
		if check.got != check.want {
			t.Errorf("%s: %s, want %s", check.what, check.got, check.want)
		}
	}
	for _, want := range []string{"enable_streaming_engine", "enable_windmill_service", "use_runner_v2", "beam_fn_api"} {
		if !slices.Contains(j.Environment.Experiments, want) {
			t.Errorf("experiments %q lack %s", j.Environment.Experiments, want)
		}
	}
	for _, secret := range []string{"secret-access-token", "PRIVATE KEY", "launcher@"} {
		if bytes.Contains(jobs[0], []byte(secret)) {
			t.Errorf("the job holds the secret %q", secret)
		}
	}

	// What the job points to is there.
	staged := c.object(t, pool.Packages[0].Location)
	binary, err := os.ReadFile(c.binary)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(staged); !bytes.Equal(staged, binary) || hex.EncodeToString(sum[:]) != pool.Packages[0].Sha256 {
		t.Error("the staged worker is not the program")
	}
	model := c.model(t, &j)
	var reads int
	for _, transform := range model.GetComponents().GetTransforms() {
		if transform.GetSpec().GetUrn() == pubSubRead {
			reads++
			var payload pipepb.PubSubReadPayload
			if err := proto.Unmarshal(transform.GetSpec().GetPayload(), &payload); err != nil {
				t.Fatal(err)
			}
			if payload.GetSubscription() != "projects/p-test/subscriptions/logs" || payload.GetTimestampAttribute() != "logging.googleapis.com/timestamp" {
				t.Errorf("the job reads %v", &payload)
			}
		}
	}
	if reads != 1 {
		t.Errorf("the job reads Pub/Sub in %d places", reads)
	}
}

// An update names the job that it replaces; without --update a job of the same
// name is an error and no success.
func testUpdate(t *testing.T, c *cloud) {
	_, stderr, code := c.launch(t, append(streaming, "--runner=dataflow", "--job_name=taken")...)
	if code != cli.ExitFailure || !strings.Contains(stderr, "a job named taken runs already") || !strings.Contains(stderr, "--update") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	if stdout, stderr, code := c.launch(t, append(streaming, "--runner=dataflow", "--job_name=taken", "--update", `--transform_name_mapping={"a":"b"}`)...); code != cli.ExitOK {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	jobs := c.dataflow.jobs()
	if len(jobs) != 1 {
		t.Fatalf("%d jobs were created", len(jobs))
	}
	var j job
	if err := json.Unmarshal(jobs[0], &j); err != nil {
		t.Fatal(err)
	}
	if j.ReplaceJobID != "job-1" || !bytes.Contains(jobs[0], []byte(`"transformNameMapping":{"a":"b"}`)) {
		t.Errorf("replaces %q; %s", j.ReplaceJobID, jobs[0])
	}
}

// A template is the same job in a file, and nothing is submitted. The launcher of
// a Flex Template asks for one, and may name no runner.
func testTemplate(t *testing.T, c *cloud) {
	if stdout, stderr, code := c.launch(t, append(streaming, "-template_location=gs://staging/templates/job")...); code != cli.ExitOK {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	if n := len(c.dataflow.jobs()); n != 0 {
		t.Errorf("%d jobs were created", n)
	}
	var j job
	if err := json.Unmarshal(c.object(t, "gs://staging/templates/job"), &j); err != nil {
		t.Fatal(err)
	}
	if j.Type != "JOB_TYPE_STREAMING" || j.Environment.SdkPipelineOptions.Options.PipelineURL == "" {
		t.Errorf("template %+v", j)
	}
}

// A dry run prints the job, and nothing else. It needs no credentials, asks
// nobody anything, and leaves nothing behind.
func testDryRun(t *testing.T, c *cloud) {
	var asked atomic.Int64
	google := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer google.Close()
	address := strings.TrimPrefix(google.URL, "http://")
	for name, env := range map[string][]string{
		"no credentials": {"STORAGE_EMULATOR_HOST=", "GOOGLE_APPLICATION_CREDENTIALS=/nowhere"},
		"credentials":    {"STORAGE_EMULATOR_HOST=" + address, "HTTPS_PROXY=" + google.URL},
	} {
		dry := *c
		dry.env = append(slices.Clone(c.env), env...)
		stdout, stderr, code := dry.launch(t, append(streaming, "--runner=dataflow", "--dry-run")...)
		var j job
		if err := json.Unmarshal([]byte(stdout), &j); code != cli.ExitOK || err != nil || j.Name != "pixelbeam" || stderr != "" {
			t.Errorf("%s: exit %d, %v\n%s\n%s", name, code, err, stdout, stderr)
		}
		for _, secret := range []string{"secret-access-token", "PRIVATE KEY", "launcher@"} {
			if strings.Contains(stdout, secret) {
				t.Errorf("%s: it prints the secret %q", name, secret)
			}
		}
	}
	if n := len(c.dataflow.jobs()); n != 0 {
		t.Errorf("%d jobs were created", n)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("Google was asked %d times", n)
	}
}

// All that is wrong with a launch is said before anything is staged.
func TestLaunchErrorsComeTogether(t *testing.T) {
	t.Setenv("PUBSUB_EMULATOR_HOST", "localhost:1")
	var stdout, stderr bytes.Buffer
	defer flagValues()()
	code := cli.Run(t.Context(), command(), []string{
		"--runner=dataflow", "--project=p-test", "--staging_location=/tmp/x", "--subscription=logs", "--bigquery_dataset=ads",
		"--labels={\"Team\":\"x\"}", "--num_workers=30", "--max_num_workers=3", "--update", "--autoscaling_algorithm=FAST",
		"--worker_zone=a", "--worker_region=b", "--bigtable_endpoint=127.0.0.1:8086", "--bigtable_instance=i-test",
		"--output_json=out", "--worker_binary=dataflow.go", "--shards=0",
	}, &stdout, &stderr)
	if code != cli.ExitUsage {
		t.Errorf("exit %d, want %d", code, cli.ExitUsage)
	}
	for _, want := range []string{
		"--shards=0", "--region", "--staging_location", "--labels", "--num_workers=30", "--job_name", "--autoscaling_algorithm=FAST",
		"--worker_zone", "--bigtable_endpoint=127.0.0.1:8086", "PUBSUB_EMULATOR_HOST", "--output_json=out", "--worker_binary=dataflow.go is not a Linux program",
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in:\n%s", want, stderr.String())
		}
	}
}

// flagValues returns a function that gives Beam's flags the values that they
// have now.
func flagValues() (restore func()) {
	values := map[string]string{}
	flag.VisitAll(func(f *flag.Flag) { values[f.Name] = f.Value.String() })
	hints, overrides := jobopts.ResourceHints, jobopts.SdkHarnessContainerImageOverrides // setting these adds to them
	return func() {
		jobopts.ResourceHints, jobopts.SdkHarnessContainerImageOverrides = hints, overrides
		for name, value := range values {
			if f := flag.Lookup(name); f.Value.String() != value {
				flag.Set(name, value)
			}
		}
	}
}

const (
	pubSubRead = "beam:transform:pubsub_read:v1"
	testStream = "beam:transform:teststream:v1"
)

// model reads the pipeline that a job points to.
func (c *cloud) model(t *testing.T, j *job) *pipepb.Pipeline {
	t.Helper()
	p := new(pipepb.Pipeline)
	if err := proto.Unmarshal(c.object(t, j.Environment.SdkPipelineOptions.Options.PipelineURL), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// What was staged is what works: the staged worker runs the staged pipeline, on
// Prism in Dataflow's place. The service's own Pub/Sub source, which Prism lacks,
// is replaced by a stream of the messages that it would deliver; all else is as
// it was staged.
func testStagedJob(t *testing.T, c *cloud) {
	ctx := t.Context()
	bigQuery, err := bigqueryd.Start(bigqueryd.Options{Project: "p-test"})
	if err != nil {
		t.Fatal(err)
	}
	defer bigQuery.Close()
	if err := bigQuery.CreateDataset(ctx, "ads"); err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.Tables() {
		if err := bigQuery.CreateTable(ctx, "ads", table); err != nil {
			t.Fatal(err)
		}
	}
	for _, view := range schemas.Views() {
		if err := bigQuery.CreateView(ctx, "ads", view); err != nil {
			t.Fatal(err)
		}
	}
	if stdout, stderr, code := c.launch(t, "--runner=dataflow", "--subscription=logs", "--bigquery_dataset=ads",
		"--bigquery_storage_endpoint="+bigQuery.GRPCEndpoint()); code != cli.ExitOK {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	var j job
	if err := json.Unmarshal(c.dataflow.jobs()[0], &j); err != nil {
		t.Fatal(err)
	}
	worker := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(worker, c.object(t, j.Environment.WorkerPools[0].Packages[0].Location), 0o755); err != nil {
		t.Fatal(err)
	}
	model := c.model(t, &j)
	want := stream(t, model, 2000)
	runOnPrism(t, model, worker)

	for sql, n := range map[string]int64{
		"SELECT COUNT(*) AS n FROM (SELECT DISTINCT insert_id, event_time FROM `ads.impressions`)": want.Impressions,
		"SELECT SUM(gross) AS n FROM `ads.impression_counts_current`":                              want.Impressions,
	} {
		rows, err := bigQuery.Query(ctx, sql)
		if err != nil {
			t.Fatal(err)
		}
		if rows[0]["n"] != n {
			t.Errorf("%s: %v, want %d", sql, rows[0]["n"], n)
		}
	}
}

// stream puts n generated messages in the place of the Pub/Sub source.
func stream(t *testing.T, model *pipepb.Pipeline, n int) traffic.Totals {
	t.Helper()
	g := traffic.New(traffic.DefaultOptions())
	var elements []*pipepb.TestStreamPayload_TimestampedElement
	for range n {
		var e traffic.Entry
		g.Next(&e)
		m := &pubsubpb.PubsubMessage{Data: e.Data}
		at := time.Now()
		if e.Timestamp != "" {
			m.Attributes = map[string]string{"logging.googleapis.com/timestamp": e.Timestamp}
			var err error
			if at, err = time.Parse(time.RFC3339Nano, e.Timestamp); err != nil {
				t.Fatal(err)
			}
		}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		elements = append(elements, &pipepb.TestStreamPayload_TimestampedElement{
			EncodedElement: protowire.AppendBytes(nil, b), Timestamp: at.UnixMilli(),
		})
	}
	components := model.GetComponents()
	for _, transform := range components.GetTransforms() {
		if transform.GetSpec().GetUrn() != pubSubRead {
			continue
		}
		var coder string
		for _, id := range transform.GetOutputs() {
			coder = components.GetPcollections()[id].GetCoderId()
		}
		payload, err := proto.Marshal(&pipepb.TestStreamPayload{CoderId: coder, Events: []*pipepb.TestStreamPayload_Event{
			{Event: &pipepb.TestStreamPayload_Event_ElementEvent{ElementEvent: &pipepb.TestStreamPayload_Event_AddElements{Elements: elements}}},
			{Event: &pipepb.TestStreamPayload_Event_WatermarkEvent{WatermarkEvent: &pipepb.TestStreamPayload_Event_AdvanceWatermark{
				NewWatermark: mtime.MaxTimestamp.Milliseconds()}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		transform.Spec = &pipepb.FunctionSpec{Urn: testStream, Payload: payload}
		transform.EnvironmentId = ""
	}
	return g.Totals()
}

// runOnPrism runs a staged pipeline by a staged worker to its end.
func runOnPrism(t *testing.T, model *pipepb.Pipeline, worker string) {
	t.Helper()
	pool := startWorkerPool(t, worker)
	payload, err := proto.Marshal(&pipepb.ExternalPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: pool}})
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range model.GetComponents().GetEnvironments() {
		env.Urn, env.Payload = "beam:env:external:v1", payload
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := runnerlib.Execute(ctx, model, startJobServer(t), &runnerlib.JobOptions{
		Name: "staged", Worker: worker, Experiments: []string{"prism_disable_sdf_split"},
	}, false); err != nil {
		t.Fatal(err)
	}
}

// startWorkerPool starts a pool of workers of a program.
func startWorkerPool(t *testing.T, program string) (addr string) {
	t.Helper()
	lis, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	var output output
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serveWorkers(ctx, lis, program, &output) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("workers:\n%s", output.String())
		}
	})
	return lis.Addr().String()
}

// output is what several processes print.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
