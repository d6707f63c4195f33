package pipeline

import (
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/ledger"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/profile"
	"pixelbeam/transforms/rollup"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// A running job is updated in place if steps have the names, inputs and coders
// that they had. A difference here means that an update needs
// --transform_name_mapping (names), or a drain and a new job (coders and state):
// say so in the changelog, and write the golden file anew with
//
//	go test ./pipeline -run TestUpdateCompatible -update
func TestUpdateCompatible(t *testing.T) {
	const golden = "testdata/update.golden"
	got := steps(t, updatable())
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("a running job could not be updated in place; see the comment of this test (-want +got):\n%s", diff)
	}
}

// updatable are the options of a job with all steps of the default.
func updatable() Options {
	o := DefaultOptions()
	o.Runner, o.Project = RunnerDataflow, "p-test"
	o.Subscription = "projects/p-test/subscriptions/logs"
	o.BigQueryDataset, o.BigtableInstance = "ads", "i-test"
	return o
}

// steps describes the steps of a job.
func steps(t *testing.T, o Options) string {
	t.Helper()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	p, s := beam.NewPipelineWithRoot()
	Build(s, o)
	edges, _, err := p.Build()
	if err != nil {
		t.Fatal(err)
	}
	env := &pipepb.Environment{Urn: "beam:env:docker:v1"}
	model, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		t.Fatal(err)
	}
	return describe(model.GetComponents())
}

// Tables of groups change one step, and with exactly-once delivery none, so that a
// running job can begin with them, end them, and change the groups.
func TestGroupsUpdateCompatible(t *testing.T) {
	grouped := func(o Options) Options {
		o.TableSuffixBy, o.AdvertiserGroups = SuffixByAdvertiser, []byte("acme,retail\n")
		return o
	}
	o := updatable()
	before, after := steps(t, o), steps(t, grouped(o))
	renamed := strings.NewReplacer("impressions/BigQueryGroups/sink.bigQueryGroupsFn", "impressions/BigQuery/sink.bigQueryRowsFn").Replace(after)
	if before == after || sorted(before) != sorted(renamed) {
		t.Errorf("more than one step is another (-without +with groups):\n%s", cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
	}
	o.BigQueryDelivery = DeliveryExactlyOnce
	if diff := cmp.Diff(strings.Split(steps(t, o), "\n"), strings.Split(steps(t, grouped(o)), "\n")); diff != "" {
		t.Errorf("exactly once, -without +with groups:\n%s", diff)
	}
}

// Sets travel between steps, and lie in the state of windows, as bytes, of which the
// coders tell nothing. A job that is updated finds those of the one before it. A
// difference here means a drain and a new job: say so in the changelog, and write the
// golden file anew with
//
//	go test ./pipeline -run TestStateFormats -update
func TestStateFormats(t *testing.T) {
	const golden = "testdata/formats.golden"
	minute := int64(1_767_225_600_000_000) // 2026-01-01
	var b strings.Builder
	show := func(what string, format []byte) { fmt.Fprintf(&b, "%s\n%s\n", what, hex.Dump(format)) }

	var scratch []byte
	var counts, profiles distinct.Builder
	var packer distinct.Packer
	emit := func(at beam.EventTime, key int64, pack []byte) {
		show(fmt.Sprintf("pack of lane %d at %d", key, at.Milliseconds()), pack)
	}
	books := ledger.Packer{Shards: 2}
	for i := range 3 {
		var r impression.Record
		r, scratch = impression.NewRecord(fmt.Append(nil, "entry-", i), minute+int64(i)*7_000_000, scratch)
		r.Invalid = i == 1
		for _, f := range []struct {
			to   *[]byte
			text string
		}{
			{&r.EventType, "impression"}, {&r.AdvertiserID, "acme"}, {&r.CampaignID, "spring"}, {&r.CreativeID, "cr"}, {&r.PlacementID, "pl"}, {&r.SiteID, "site"},
			{&r.UserID, "user"}, {&r.PageURL, "https://example.com/"}, {&r.Country, "DE"}, {&r.Browser, "Firefox"}, {&r.OS, "Linux"}, {&r.DeviceType, "desktop"},
		} {
			*f.to = []byte(f.text)
		}
		rollup.Add(&counts, &r)
		profile.Add(&profiles, &r)
		packer.Add(int64(i), []byte("key"), r.ID(), r.EventTime, []byte("value"), emit)
		m := logentry.Message{Origin: "1234", Offset: int64(i), ReceiveTime: minute}
		books.Impression(&m, r.ID(), uint64(r.IDHigh), r.EventTime, emit)
		books.Rejected(&m, logentry.RejectReasons()[0], emit)
		books.Ignored(&m, logentry.IgnoreReasons()[0], emit)
	}
	show("set of counts", counts.Append(nil))
	show("set of profiles", profiles.Append(nil))
	packer.Flush(emit)
	books.Flush(emit)

	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("a running job would not understand what the one before it left; see the comment of this test (-want +got):\n%s", diff)
	}
}

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// describe returns a line for each leaf step, with the coders of what it reads
// and writes and, where it has any, its windows, side inputs, state and timers.
func describe(c *pipepb.Components) string {
	var lines []string
	for _, step := range c.GetTransforms() {
		if len(step.GetSubtransforms()) > 0 {
			continue
		}
		collections := func(m map[string]string) string {
			var out []string
			for _, name := range slices.Sorted(maps.Keys(m)) {
				p := c.GetPcollections()[m[name]]
				text := coder(c, p.GetCoderId())
				if w := windows(c.GetWindowingStrategies()[p.GetWindowingStrategyId()]); w != "" {
					text += " in " + w
				}
				out = append(out, text)
			}
			return strings.Join(out, " + ")
		}
		line := fmt.Sprintf("%s\n\tin  %s\n\tout %s\n", step.GetUniqueName(), collections(step.GetInputs()), collections(step.GetOutputs()))
		var payload pipepb.ParDoPayload
		if step.GetSpec().GetUrn() == "beam:transform:pardo:v1" && proto.Unmarshal(step.GetSpec().GetPayload(), &payload) == nil {
			for _, name := range slices.Sorted(maps.Keys(payload.GetStateSpecs())) {
				line += fmt.Sprintf("\tstate %s %s\n", name, stateSpec(c, payload.GetStateSpecs()[name]))
			}
			for _, name := range slices.Sorted(maps.Keys(payload.GetTimerFamilySpecs())) {
				spec := payload.GetTimerFamilySpecs()[name]
				line += fmt.Sprintf("\ttimer %s %v of %s\n", name, spec.GetTimeDomain(), coder(c, spec.GetTimerFamilyCoderId()))
			}
			for _, name := range slices.Sorted(maps.Keys(payload.GetSideInputs())) {
				line += fmt.Sprintf("\tside input %s %s\n", name, payload.GetSideInputs()[name].GetAccessPattern().GetUrn())
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// windows spells a windowing strategy out, nothing for the global window.
func windows(w *pipepb.WindowingStrategy) string {
	const global = "beam:window_fn:global_windows:v1"
	if w.GetWindowFn().GetUrn() == global && w.GetTrigger().GetDefault() != nil {
		return ""
	}
	return fmt.Sprintf("%s %x, %v, %v, lateness %d", w.GetWindowFn().GetUrn(), w.GetWindowFn().GetPayload(), w.GetTrigger(), w.GetAccumulationMode(), w.GetAllowedLateness())
}

// stateSpec is the kind of a state and the coders of what it holds.
func stateSpec(c *pipepb.Components, spec *pipepb.StateSpec) string {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", spec.GetSpec()), "*pipeline_v1.StateSpec_")
	switch {
	case spec.GetReadModifyWriteSpec() != nil:
		return kind + " of " + coder(c, spec.GetReadModifyWriteSpec().GetCoderId())
	case spec.GetBagSpec() != nil:
		return kind + " of " + coder(c, spec.GetBagSpec().GetElementCoderId())
	}
	return fmt.Sprintf("%s of %v", kind, spec.GetSpec())
}

// coder spells a coder out, as its id depends on the order of construction.
func coder(c *pipepb.Components, id string) string {
	spec := c.GetCoders()[id]
	urn := spec.GetSpec().GetUrn()
	name := strings.TrimSuffix(strings.TrimPrefix(urn, "beam:coder:"), ":v1")
	if name == "row" {
		var schema pipepb.Schema
		if proto.Unmarshal(spec.GetSpec().GetPayload(), &schema) == nil {
			return "row" + fields(&schema)
		}
	}
	if len(spec.GetComponentCoderIds()) == 0 {
		return name
	}
	var parts []string
	for _, part := range spec.GetComponentCoderIds() {
		parts = append(parts, coder(c, part))
	}
	return name + "(" + strings.Join(parts, ",") + ")"
}

// fields spells out the fields of a row, in order.
func fields(s *pipepb.Schema) string {
	var out []string
	for _, f := range s.GetFields() {
		out = append(out, f.GetName()+" "+fieldType(f.GetType()))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func fieldType(f *pipepb.FieldType) string {
	switch {
	case f.GetRowType() != nil:
		return fields(f.GetRowType().GetSchema())
	case f.GetArrayType() != nil:
		return "[]" + fieldType(f.GetArrayType().GetElementType())
	case f.GetIterableType() != nil:
		return "[]" + fieldType(f.GetIterableType().GetElementType())
	case f.GetLogicalType() != nil:
		return f.GetLogicalType().GetUrn()
	}
	return f.GetAtomicType().String()
}
