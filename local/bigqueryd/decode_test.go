package bigqueryd

import (
	"math"
	"math/big"
	"testing"

	"cloud.google.com/go/bigquery/storage/managedwriter/adapt"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

func TestNumeric(t *testing.T) {
	for _, tt := range []struct {
		text string
		want string // "" is refused
	}{
		{"0", "0"}, {"-0", "0"}, {"1", "1"}, {"+1.5", "1.5"}, {".5", "0.5"}, {"5.", "5"}, {"-1234567.000000009", "-1234567.000000009"},
		{"0.000000001", "0.000000001"}, {"0.0000000010", "0.000000001"}, {"0.0000000001", ""}, {"123456789012345678", "123456789012345678"},
		{"1234567890123456789", "1234567890123456789"}, {"99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999"},
		{"-99999999999999999999999999999.999999999", "-99999999999999999999999999999.999999999"}, {"100000000000000000000000000000", ""},
		{"1e3", "1000"}, {"1.5E-3", "0.0015"}, {"1e-10", ""}, {"1e29", ""}, {"0e999999999", "0"}, {"1e999999999", ""}, {"1e-999999999", ""},
		{"", ""}, {"-", ""}, {".", ""}, {"1.2.3", ""}, {"abc", ""}, {"1 2", ""}, {"0x10", ""}, {"1/2", ""}, {"1_000", ""}, {"NaN", ""}, {"Inf", ""}, {"e5", ""}, {"1e", ""},
	} {
		v, ok := parseNumeric([]byte(tt.text))
		got := ""
		if ok {
			got = formatDecimal(v.big(), 9)
		}
		if got != tt.want {
			t.Errorf("parseNumeric(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

// FuzzNumeric compares with arithmetic on rationals.
func FuzzNumeric(f *testing.F) {
	for _, seed := range []string{"1.5", "-0.000000001", "99999999999999999999999999999.999999999", "1e-9", "123456789012345678.9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, ok := parseNumeric([]byte(text))
		if !ok {
			return
		}
		want, valid := new(big.Rat).SetString(text)
		if !valid {
			t.Fatalf("%q accepted", text)
		}
		if got := new(big.Rat).SetFrac(v.big(), big.NewInt(1_000_000_000)); got.Cmp(want) != 0 {
			t.Fatalf("%q = %v, want %v", text, got, want)
		}
	})
}

// TestProtoTypes appends one row by every protobuf type that a column takes.
func TestProtoTypes(t *testing.T) {
	type protoField struct {
		name, column, mode string
		typ                descriptorpb.FieldDescriptorProto_Type
		message            string
	}
	const (
		none = ""
		wkt  = ".google.protobuf."
	)
	fields := []protoField{
		{"i32", "INT64", none, descriptorpb.FieldDescriptorProto_TYPE_INT32, none}, {"s32", "INT64", none, descriptorpb.FieldDescriptorProto_TYPE_SINT32, none},
		{"u32", "INT64", none, descriptorpb.FieldDescriptorProto_TYPE_UINT32, none}, {"s64", "INT64", none, descriptorpb.FieldDescriptorProto_TYPE_SINT64, none},
		{"f32", "INT64", none, descriptorpb.FieldDescriptorProto_TYPE_SFIXED32, none}, {"f64", "INT64", none, descriptorpb.FieldDescriptorProto_TYPE_SFIXED64, none},
		{"fl", "FLOAT64", none, descriptorpb.FieldDescriptorProto_TYPE_FLOAT, none}, {"db", "FLOAT64", none, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, none},
		{"bo", "BOOL", none, descriptorpb.FieldDescriptorProto_TYPE_BOOL, none}, {"by", "BYTES", none, descriptorpb.FieldDescriptorProto_TYPE_BYTES, none},
		{"day", "DATE", none, descriptorpb.FieldDescriptorProto_TYPE_INT32, none}, {"ni", "NUMERIC", none, descriptorpb.FieldDescriptorProto_TYPE_INT64, none},
		{"nb", "NUMERIC", none, descriptorpb.FieldDescriptorProto_TYPE_BYTES, none}, {"wi", "INT64", none, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, wkt + "Int64Value"},
		{"ws", "STRING", none, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, wkt + "StringValue"}, {"wd", "FLOAT64", none, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, wkt + "DoubleValue"},
		{"wz", "BOOL", none, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, wkt + "BoolValue"}, {"ts", "TIMESTAMP", none, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, wkt + "Timestamp"},
		{"ri", "INT64", "REPEATED", descriptorpb.FieldDescriptorProto_TYPE_INT64, none}, {"rd", "FLOAT64", "REPEATED", descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, none},
	}
	md := &descriptorpb.DescriptorProto{Name: proto.String("Row")}
	table := schemas.Table{Name: "types"}
	for i, f := range fields {
		fd := &descriptorpb.FieldDescriptorProto{Name: &f.name, Number: proto.Int32(int32(i + 1)), Type: &f.typ, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
		if i == 3 {
			fd.Number = proto.Int32(5000) // beyond the dense numbers
		}
		if f.message != none {
			fd.TypeName = &f.message
		}
		if f.mode != none {
			fd.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
			fd.Options = &descriptorpb.FieldOptions{Packed: proto.Bool(f.name == "ri")}
		}
		md.Field = append(md.Field, fd)
		table.Columns = append(table.Columns, schemas.Column{Name: f.name, Type: f.column, Mode: f.mode})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("row.proto"), Package: proto.String("p"), MessageType: []*descriptorpb.DescriptorProto{md},
		Dependency: []string{"google/protobuf/wrappers.proto", "google/protobuf/timestamp.proto"},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	var descriptor protoreflect.MessageDescriptor = file.Messages().Get(0)
	m := dynamicpb.NewMessage(descriptor)
	if err := protojson.Unmarshal([]byte(`{"i32": -1, "s32": -2, "u32": 4294967295, "s64": -9223372036854775808, "f32": -5, "f64": -6, "fl": 1.5, "db": -2.5, "bo": true,
		"by": "AP8=", "day": -1, "ni": -7, "nb": "AMqaOw==", "wi": 0, "ws": "", "wd": 0.5, "wz": false, "ts": "2024-02-29T01:02:03.456789Z", "ri": [1, -1, 0], "rd": [0.5]}`), m); err != nil {
		t.Fatal(err)
	}
	// The client sends well-known types as nested copies.
	normal, err := adapt.NormalizeDescriptor(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	s := startWithTables(t, Options{})
	if err := s.CreateTable(t.Context(), testDataset, table); err != nil {
		t.Fatal(err)
	}
	entry := tableEntryOf(t, s, "types")
	d, err := newDecoder(normal, entry.fields)
	if err != nil {
		t.Fatal(err)
	}
	block, bad := d.decode(marshal(t, m), nil)
	if bad != nil {
		t.Fatal(bad)
	}
	op := &appendOp{table: entry, block: block, done: make(chan error, 1)}
	s.lane.append(op)
	err = <-op.done
	block.release()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.Query(t.Context(), "SELECT * EXCEPT (ts), UNIX_MICROS(ts) AS ts FROM pixelbeam.types")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"i32": int64(-1), "s32": int64(-2), "u32": int64(math.MaxUint32), "s64": int64(math.MinInt64), "f32": int64(-5), "f64": int64(-6),
		"fl": 1.5, "db": -2.5, "bo": true, "by": []byte{0, 0xff}, "day": "1969-12-31", "ni": "-7", "nb": "1", "wi": int64(0), "ws": "", "wd": 0.5, "wz": false,
		"ts": int64(1709168523456789), "ri": []any{int64(1), int64(-1), int64(0)}, "rd": []any{0.5},
	}
	if diff := cmp.Diff(want, rows[0]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// FuzzDecode: no row, however broken, may panic, and a block that comes out must
// be one that can be stored.
func FuzzDecode(f *testing.F) {
	table := mustTable(f, "impressions")
	fields, err := fieldsOfColumns(table.Columns)
	if err != nil {
		f.Fatal(err)
	}
	d, err := newDecoder(descriptorOf(f, &pixelbeamv1.Impression{}), fields)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(marshal(f, fullImpression())[0], marshal(f, impression("x"))[0])
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, 51, protowire.BytesType), []byte("\x1a\x00")), []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		block, bad := d.decode([][]byte{a, b}, nil)
		if (block == nil) == (bad == nil) {
			t.Fatalf("block %v, errors %v", block, bad)
		}
		if block == nil {
			return
		}
		defer block.release()
		checkColumns(t, block.columns, 2)
	})
}

func checkColumns(t *testing.T, columns []*column, n int) {
	for _, c := range columns {
		if c.n != n || len(c.data) != n*c.width || len(c.valid) != (n+63)/64 {
			t.Fatalf("column %s: %d values, %d bytes, %d words, want %d", c.field.name, c.n, len(c.data), len(c.valid), n)
		}
		switch {
		case c.field.mode == repeated:
			next := 0
			for i := range n {
				offset, length := c.entry(i)
				if offset != next {
					t.Fatalf("column %s: row %d begins at %d, want %d", c.field.name, i, offset, next)
				}
				next += length
			}
			checkColumns(t, c.children, next)
		default:
			checkColumns(t, c.children, n)
		}
	}
}
