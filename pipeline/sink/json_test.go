package sink

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func table(t testing.TB, name string) schemas.Table {
	t.Helper()
	found, ok := schemas.LookupTable(name)
	if !ok {
		t.Fatalf("no table %s", name)
	}
	return found
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAppendJSONGolden(t *testing.T) {
	full := &pixelbeamv1.Impression{
		InsertId: proto.String("1x2y"), EventTime: proto.Int64(1714584428073884), ReceiveTime: proto.Int64(1714584429000000),
		EventType: proto.String("impression"), ImpressionId: proto.String("1x2y"),
		AdvertiserId: proto.String(""), // empty is not NULL
		CampaignId:   proto.String("quote \" backslash \\ tab \t line \n bell \x07 ünï 🦊"),
		Price:        proto.String("0.00125"), Currency: proto.String("EUR"),
		Width: proto.Int64(300), Height: proto.Int64(0), RequestSize: proto.Int64(1<<53 + 1), ResponseSize: proto.Int64(-(1 << 53)),
		Params:   proto.String("{\"a\": \"b\",\n \"n\": [1, 2.50, null]}"),
		CacheHit: proto.Bool(true), CacheLookup: proto.Bool(false),
		UserAgent:      proto.String("not \xff utf-8"),
		InvalidReasons: []string{"declared_bot", "data_centre"},
		Consent:        &pixelbeamv1.Consent{Gdpr: proto.Bool(true), UsPrivacy: proto.String("1YNN")},
	}
	tests := []struct {
		name    string
		table   string
		message proto.Message
	}{
		{"impression", "impressions", full},
		{"empty", "impressions", &pixelbeamv1.Impression{Params: proto.String("{not json")}},
		{"rejected", "rejected_entries", &pixelbeamv1.RejectedEntry{
			ReceiveTime: proto.Int64(0), Reason: proto.String("invalid_json"), Payload: []byte{0, 0xff, '{'},
		}},
		{"count", "impression_counts", &pixelbeamv1.ImpressionCount{
			WindowStart: proto.Int64(firstTimestamp), WindowEnd: proto.Int64(lastTimestamp), Gross: proto.Int64(math.MaxInt64),
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := AppendJSON([]byte("kept "), table(t, test.table), marshal(t, test.message))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := bytes.CutPrefix(got, []byte("kept "))
			if !ok || bytes.ContainsAny(got, "\n\r") || !json.Valid(got) {
				t.Fatalf("not one line of JSON after what was there: %q", got)
			}
			name := filepath.Join("testdata", test.name+".json")
			if *update {
				if err := os.WriteFile(name, append(got, '\n'), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.ReplaceAll(string(want), `,"`, ",\n\""), strings.ReplaceAll(string(got)+"\n", `,"`, ",\n\"")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Against protobuf's own decoder: random messages of every table give the value
// of each column that the generated messages give.
func TestAppendJSONMatchesMessages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, table := range schemas.Tables() {
		if table.Message == "" { // not the job's
			continue
		}
		messageType, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(table.Message))
		if err != nil {
			t.Fatal(err)
		}
		encoder, err := NewRowEncoder(table)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			m := messageType.New()
			fill(rng, m, table.Columns)
			// Concatenated messages merge: later scalars win, lists join.
			data := marshal(t, m.Interface())
			if rng.IntN(3) == 0 {
				more := messageType.New()
				fill(rng, more, table.Columns)
				data = append(data, marshal(t, more.Interface())...)
			}
			// A field of a later version is passed over.
			data = protowire.AppendTag(data, 9999, protowire.BytesType)
			data = protowire.AppendString(data, "new")
			decoded := messageType.New()
			if err := proto.Unmarshal(data, decoded.Interface()); err != nil {
				t.Fatal(err)
			}
			line, err := encoder.Append(nil, data)
			if err != nil {
				t.Fatal(err)
			}
			var got any
			d := json.NewDecoder(bytes.NewReader(line))
			d.UseNumber()
			if err := d.Decode(&got); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if diff := cmp.Diff(reference(decoded, table.Columns), got); diff != "" {
				t.Fatalf("%s: %s", table.Name, diff)
			}
		}
	}
}

// fill sets random fields.
func fill(rng *rand.Rand, m protoreflect.Message, columns []schemas.Column) {
	for _, c := range columns {
		field := m.Descriptor().Fields().ByName(protoreflect.Name(c.Name))
		if rng.IntN(3) == 0 {
			continue
		}
		if field.IsList() {
			for range rng.IntN(3) {
				m.Mutable(field).List().Append(protoreflect.ValueOfString(strconv.Itoa(rng.IntN(100))))
			}
			continue
		}
		switch c.Type {
		case "RECORD":
			fill(rng, m.Mutable(field).Message(), c.Fields)
		case "TIMESTAMP":
			m.Set(field, protoreflect.ValueOfInt64(firstTimestamp+rng.Int64N(lastTimestamp-firstTimestamp)))
		case "INT64":
			m.Set(field, protoreflect.ValueOfInt64(rng.Int64N(1<<53)-rng.Int64N(1<<53)))
		case "BOOL":
			m.Set(field, protoreflect.ValueOfBool(rng.IntN(2) == 0))
		case "BYTES":
			b := make([]byte, rng.IntN(10))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			m.Set(field, protoreflect.ValueOfBytes(b))
		case "JSON":
			m.Set(field, protoreflect.ValueOfString(fmt.Sprintf(`{"k":[%d,"x"]}`, rng.IntN(9))))
		default:
			r := []rune{rune(rng.IntN(0xd800)), '"', rune(rng.IntN(128))}
			m.Set(field, protoreflect.ValueOfString(string(r[:rng.IntN(4)])))
		}
	}
}

// reference is what a JSON decoder should see of a message.
func reference(m protoreflect.Message, columns []schemas.Column) any {
	out := map[string]any{}
	for _, c := range columns {
		field := m.Descriptor().Fields().ByName(protoreflect.Name(c.Name))
		if field.IsList() {
			list := []any{}
			for i := range m.Get(field).List().Len() {
				list = append(list, m.Get(field).List().Get(i).String())
			}
			out[c.Name] = list
			continue
		}
		if !m.Has(field) {
			out[c.Name] = nil
			continue
		}
		v := m.Get(field)
		switch c.Type {
		case "RECORD":
			out[c.Name] = reference(v.Message(), c.Fields)
		case "TIMESTAMP":
			out[c.Name] = time.UnixMicro(v.Int()).UTC().Format("2006-01-02T15:04:05.000000Z")
		case "INT64":
			out[c.Name] = json.Number(strconv.FormatInt(v.Int(), 10))
		case "BOOL":
			out[c.Name] = v.Bool()
		case "BYTES":
			out[c.Name] = base64.StdEncoding.EncodeToString(v.Bytes())
		case "JSON":
			var inner any
			d := json.NewDecoder(strings.NewReader(v.String()))
			d.UseNumber()
			if err := d.Decode(&inner); err != nil {
				panic(err)
			}
			out[c.Name] = inner
		default:
			out[c.Name] = v.String()
		}
	}
	return out
}

func TestAppendJSONErrors(t *testing.T) {
	tests := []struct {
		name, want string
		data       []byte
	}{
		{"no message", "table impressions: broken message", []byte{0xff}},
		{"cut off", "table impressions: broken message: field 1", []byte{0x0a, 5, 'a'}},
		{"broken record", "column consent: broken message", protowire.AppendBytes(protowire.AppendTag(nil, 51, protowire.BytesType), []byte{0xff})},
		{"time out of range", "column event_time: timestamp", marshal(t, &pixelbeamv1.Impression{EventTime: proto.Int64(math.MaxInt64)})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := AppendJSON([]byte("kept"), table(t, "impressions"), test.data)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if string(got) != "kept" {
				t.Errorf("dst is now %q", got)
			}
		})
	}
}

func TestNewRowEncoderErrors(t *testing.T) {
	good := table(t, "impressions")
	tests := []struct {
		name, want string
		change     func(*schemas.Table)
	}{
		{"unknown message", "nowhere.Row", func(t *schemas.Table) { t.Message = "nowhere.Row" }},
		{"unknown column", "column extra", func(t *schemas.Table) { t.Columns = []schemas.Column{{Name: "extra", Type: "STRING"}} }},
		{"unknown type", "GEOGRAPHY", func(t *schemas.Table) { t.Columns = []schemas.Column{{Name: "insert_id", Type: "GEOGRAPHY"}} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			broken := good
			test.change(&broken)
			if _, err := NewRowEncoder(broken); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// Of damaged messages too comes one line of JSON or an error, and an error only
// where protobuf sees one as well or a time is out of range. (A seeded test and
// no fuzz target: instrumenting what this package links takes minutes.)
func TestAppendJSONDamaged(t *testing.T) {
	encoder, err := NewRowEncoder(table(t, "impressions"))
	if err != nil {
		t.Fatal(err)
	}
	whole := marshal(t, typicalImpression("1x2y"))
	rng := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 20_000 {
		data := bytes.Clone(whole)
		for range 1 + rng.IntN(3) {
			data[rng.IntN(len(data))] = byte(rng.Uint32())
		}
		data = data[:len(data)-rng.IntN(3)*rng.IntN(50)]
		line, err := encoder.Append(nil, data)
		if err == nil {
			if !json.Valid(line) || bytes.ContainsAny(line, "\n\r") {
				t.Fatalf("%x gives %q", data, line)
			}
			continue
		}
		refused++
		if proto.Unmarshal(data, &pixelbeamv1.Impression{}) == nil && !strings.Contains(err.Error(), "timestamp") {
			t.Fatalf("%x: protobuf takes it, we say %v", data, err)
		}
	}
	if refused == 0 || refused == 20_000 {
		t.Errorf("%d of 20,000 refused: the test tests one side only", refused)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	encoder, err := NewRowEncoder(table(b, "impressions"))
	if err != nil {
		b.Fatal(err)
	}
	data := marshal(b, typicalImpression("1x2y"))
	var line []byte
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if line, err = encoder.Append(line[:0], data); err != nil {
			b.Fatal(err)
		}
	}
}

// A row that is no message is left out and counted; the others are written.
func TestJSONUnreadableRow(t *testing.T) {
	dir := t.TempDir()
	fn := &jsonFn{Config: JSONConfig{Dir: dir, Prefix: "x", Table: "impressions"}, Run: "run"}
	if err := fn.Setup(); err != nil {
		t.Fatal(err)
	}
	fn.StartBundle(t.Context(), nil)
	for _, row := range []schemas.Row{impressionRow("a"), {Data: []byte{0xff}}, impressionRow("b")} {
		if err := fn.ProcessElement(t.Context(), row, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := fn.FinishBundle(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	lines := readLines(t, dir, "x")
	if len(lines) != 2 || lines[0]["insert_id"] != "a" || lines[1]["insert_id"] != "b" {
		t.Errorf("lines %v", lines)
	}
}

// halfFile fails one write in the middle, as a full disk does.
type halfFile struct {
	growing
	fail bool
}

func (f *halfFile) Write(p []byte) (int, error) {
	if !f.fail {
		return f.growing.Write(p)
	}
	n, _ := f.growing.Write(p[:len(p)/2])
	return n, syscall.ENOSPC
}

// A failed write leaves whole lines, and the next bundle goes on behind them.
func TestLineFileCutsBrokenLine(t *testing.T) {
	f := &lineFile{stem: filepath.Join(t.TempDir(), "new", "x")}
	if err := f.append([]byte("one\n")); err != nil {
		t.Fatal(err)
	}
	half := &halfFile{growing: f.file, fail: true}
	f.file = half
	if err := f.append([]byte("lost\n")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want ENOSPC", err)
	}
	half.fail = false
	if err := f.append([]byte("two\n")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.stem + ".jsonl")
	if err != nil || string(got) != "one\ntwo\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// Runs write files of their own, also within a process.
func TestJSONRunsDoNotMix(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		p, s := beam.NewPipelineWithRoot()
		rows := beam.ParDo(s, &makeFn{Count: 5}, beam.Impulse(s))
		Terminate(s, JSON(s, rows, JSONConfig{Dir: dir, Prefix: "impressions", Table: "impressions"}))
		run(t, "direct", p)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("files %v, %v; want two", names, err)
	}
	if got := len(readLines(t, dir, "impressions")); got != 10 {
		t.Errorf("%d lines, want 10", got)
	}
}

// Where files cannot grow, bundles write objects.
func TestJSONObjects(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	rows := beam.ParDo(s, &makeFn{Count: 100}, beam.Impulse(s))
	Terminate(s, JSON(s, rows, JSONConfig{Dir: "memfs://out/", Prefix: "impressions", Table: "impressions"}))
	run(t, "direct", p)
	fs, err := filesystem.New(t.Context(), "memfs://out")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.List(t.Context(), "memfs://out/impressions-*-000001.jsonl")
	if err != nil || len(names) != 1 {
		t.Fatalf("objects %v, %v; want one", names, err)
	}
	r, err := fs.OpenRead(t.Context(), names[0])
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil || bytes.Count(data, []byte("\n")) != 100 {
		t.Errorf("%d lines, %v; want 100", bytes.Count(data, []byte("\n")), err)
	}
}

func TestJSONConfigValidate(t *testing.T) {
	err := JSONConfig{Prefix: "a/b", Table: "nope"}.Validate()
	for _, want := range []string{"Dir is required", `Prefix "a/b"`, `"nope"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
