package bigqueryd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	// Writer schemas may name these.
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// decoder turns rows in protobuf wire format, written by one writer schema, into
// blocks of one version of a table. Generated or dynamic messages would cost
// several times more.
type decoder struct {
	fields  []field
	message *messagePlan
	pool    sync.Pool // of *block
}

// messagePlan says where the fields of a message go.
type messagePlan struct {
	byNumber []*fieldPlan // up to maxDense
	rest     map[protowire.Number]*fieldPlan
}

const maxDense = 512

// fieldPlan says how one protobuf field becomes a column.
type fieldPlan struct {
	column  int
	name    string
	kind    protoreflect.Kind
	wire    protowire.Type
	target  kind
	message *messagePlan // of a RECORD
	// wrapped is the value inside a well-known wrapper message, or a timestamp's.
	wrapped   *fieldPlan
	timestamp bool
}

// schemaError is a writer schema that the table cannot take.
type schemaError struct {
	extra bool // the writer has a field that the table lacks
	msg   string
}

func (e *schemaError) Error() string { return e.msg }

// newDecoder compares a writer schema with a table.
func newDecoder(schema *descriptorpb.DescriptorProto, fields []field) (*decoder, error) {
	file := &descriptorpb.FileDescriptorProto{
		Name:        proto.String("writer.proto"),
		Dependency:  []string{"google/protobuf/wrappers.proto", "google/protobuf/timestamp.proto"},
		MessageType: []*descriptorpb.DescriptorProto{schema},
	}
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		return nil, &schemaError{msg: "Invalid proto schema: " + err.Error()}
	}
	plan, err := newMessagePlan(fd.Messages().Get(0), fields, "root", 0)
	if err != nil {
		return nil, err
	}
	d := &decoder{fields: fields, message: plan}
	d.pool.New = func() any { return &block{columns: newColumns(fields), pool: &d.pool} }
	return d, nil
}

func newMessagePlan(md protoreflect.MessageDescriptor, fields []field, path string, depth int) (*messagePlan, error) {
	if depth > 15 {
		return nil, &schemaError{msg: "Proto schema nests deeper than 15 levels at " + path}
	}
	m := &messagePlan{}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		name := path + "." + string(fd.Name())
		n := fieldIndex(fields, string(fd.Name()))
		if n < 0 {
			return nil, &schemaError{true, fmt.Sprintf("Input schema has more fields than BigQuery schema, extra fields: '%s'", strings.TrimPrefix(name, "root."))}
		}
		if (fd.Cardinality() == protoreflect.Repeated) != (fields[n].mode == repeated) {
			return nil, &schemaError{msg: fmt.Sprintf("Proto field %s and BigQuery column %s must be both repeated or both not", name, fields[n].name)}
		}
		p, err := newFieldPlan(fd, fields[n], name, depth)
		if err != nil {
			return nil, err
		}
		p.column = n
		if fd.Number() <= maxDense {
			for len(m.byNumber) <= int(fd.Number()) {
				m.byNumber = append(m.byNumber, nil)
			}
			m.byNumber[fd.Number()] = p
			continue
		}
		if m.rest == nil {
			m.rest = map[protowire.Number]*fieldPlan{}
		}
		m.rest[fd.Number()] = p
	}
	return m, nil
}

// wireTypes is the encoding of each protobuf kind.
var wireTypes = map[protoreflect.Kind]protowire.Type{
	protoreflect.BoolKind: protowire.VarintType, protoreflect.EnumKind: protowire.VarintType,
	protoreflect.Int32Kind: protowire.VarintType, protoreflect.Sint32Kind: protowire.VarintType,
	protoreflect.Uint32Kind: protowire.VarintType, protoreflect.Int64Kind: protowire.VarintType,
	protoreflect.Sint64Kind: protowire.VarintType, protoreflect.Uint64Kind: protowire.VarintType,
	protoreflect.Sfixed32Kind: protowire.Fixed32Type, protoreflect.Fixed32Kind: protowire.Fixed32Type,
	protoreflect.FloatKind: protowire.Fixed32Type, protoreflect.Sfixed64Kind: protowire.Fixed64Type,
	protoreflect.Fixed64Kind: protowire.Fixed64Type, protoreflect.DoubleKind: protowire.Fixed64Type,
	protoreflect.StringKind: protowire.BytesType, protoreflect.BytesKind: protowire.BytesType,
	protoreflect.MessageKind: protowire.BytesType,
}

var integerKinds = []protoreflect.Kind{
	protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind, protoreflect.Int64Kind, protoreflect.Sint64Kind,
	protoreflect.Sfixed32Kind, protoreflect.Fixed32Kind, protoreflect.Sfixed64Kind, protoreflect.EnumKind,
}

// accepted lists the protobuf kinds that each column type takes.
var accepted = map[kind][]protoreflect.Kind{
	kindString:    {protoreflect.StringKind},
	kindJSON:      {protoreflect.StringKind},
	kindBytes:     {protoreflect.BytesKind, protoreflect.StringKind},
	kindInt64:     integerKinds,
	kindTimestamp: integerKinds,
	kindDate:      {protoreflect.Int32Kind, protoreflect.Int64Kind},
	kindBool:      {protoreflect.BoolKind},
	kindFloat64:   {protoreflect.DoubleKind, protoreflect.FloatKind},
	kindNumeric:   append([]protoreflect.Kind{protoreflect.BytesKind, protoreflect.StringKind}, integerKinds...),
}

func newFieldPlan(fd protoreflect.FieldDescriptor, f field, name string, depth int) (*fieldPlan, error) {
	p := &fieldPlan{name: name, kind: fd.Kind(), target: f.kind}
	wire, ok := wireTypes[p.kind]
	if !ok {
		return nil, &schemaError{msg: fmt.Sprintf("Proto field %s has type %s, which is not supported", name, p.kind)}
	}
	p.wire = wire
	if p.kind == protoreflect.MessageKind {
		var err error
		if f.kind == kindRecord {
			p.message, err = newMessagePlan(fd.Message(), f.fields, name, depth+1)
			return p, err
		}
		return p, p.wrap(fd.Message(), f, name, depth)
	}
	for _, k := range accepted[f.kind] {
		if k == p.kind {
			return p, nil
		}
	}
	return nil, &schemaError{msg: fmt.Sprintf("Proto field %s of type %s cannot be converted to BigQuery type %s", name, p.kind, kinds[f.kind].sql)}
}

// wrap plans a well-known message for a plain column. NormalizeDescriptor of the
// client turns the dots of nested message names into underscores.
func (p *fieldPlan) wrap(md protoreflect.MessageDescriptor, f field, name string, depth int) error {
	full := strings.ReplaceAll(string(md.FullName()), "_", ".")
	switch {
	case strings.HasSuffix(full, "google.protobuf.Timestamp") && f.kind == kindTimestamp:
		p.timestamp = true
		return nil
	case strings.Contains(full, "google.protobuf.") && strings.HasSuffix(full, "Value") && md.Fields().Len() == 1:
		inner, err := newFieldPlan(md.Fields().Get(0), f, name, depth+1)
		p.wrapped = inner
		return err
	}
	return &schemaError{msg: fmt.Sprintf("Proto field %s of message type %s cannot be converted to BigQuery type %s", name, md.FullName(), kinds[f.kind].sql)}
}

// rowError is a row that does not fit the table.
type rowError struct {
	index   int
	message string
}

// decode makes a block of rows, or lists what is wrong with them; then the block
// is nil.
func (d *decoder) decode(rows [][]byte, fault func(row int) string) (*block, []rowError) {
	size := 0
	for _, r := range rows {
		size += len(r)
	}
	b := d.pool.Get().(*block)
	b.prepare(size)
	var bad []rowError
	for i, r := range rows {
		err := d.message.parse(b.keep(r), b.columns, i)
		missing := finish(b.columns, d.fields, i)
		if err == nil {
			err = missing
		}
		message := ""
		if err != nil {
			message = err.Error()
		} else if fault != nil {
			message = fault(i)
		}
		if message != "" {
			bad = append(bad, rowError{i, message})
		}
		b.rows++
	}
	if len(bad) > 0 {
		b.release()
		return nil, bad
	}
	return b, nil
}

// finish gives the columns that row did not set NULL, and complains about the
// first that is REQUIRED.
func finish(columns []*column, fields []field, row int) error {
	var err error
	for i, c := range columns {
		if c.n == row {
			c.setNull(row)
			if fields[i].mode == required && err == nil {
				err = fmt.Errorf("Field %s is required but missing", fields[i].name)
			}
		}
	}
	return err
}

var errTruncated = fmt.Errorf("Invalid proto wire format")

// parse sets what data holds in row row of columns.
func (m *messagePlan) parse(data []byte, columns []*column, row int) error {
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errTruncated
		}
		data = data[n:]
		var p *fieldPlan
		if int(number) < len(m.byNumber) {
			p = m.byNumber[number]
		} else {
			p = m.rest[number]
		}
		if p == nil {
			// The service drops such a field without a word; here nothing may
			// be lost without one.
			return fmt.Errorf("Field number %d is not in the writer schema", number)
		}
		var varint uint64
		var text []byte
		switch wire {
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(data)
			varint = uint64(v)
		case protowire.Fixed64Type:
			varint, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(data)
		default:
			return errTruncated
		}
		if n < 0 {
			return errTruncated
		}
		data = data[n:]
		c := columns[p.column]
		switch {
		case wire == p.wire && c.field.mode == repeated:
			element, at := c.addElement(row)
			if err := p.set(element, at, varint, text); err != nil {
				return err
			}
		case wire == p.wire:
			if err := p.set(c, row, varint, text); err != nil {
				return err
			}
		case wire == protowire.BytesType && c.field.mode == repeated:
			if err := p.packed(c, row, text); err != nil {
				return err
			}
		default:
			return errTruncated
		}
	}
	return nil
}

// packed appends the elements of a packed repeated field.
func (p *fieldPlan) packed(c *column, row int, data []byte) error {
	for len(data) > 0 {
		var v uint64
		var n int
		switch p.wire {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var v32 uint32
			v32, n = protowire.ConsumeFixed32(data)
			v = uint64(v32)
		default:
			v, n = protowire.ConsumeFixed64(data)
		}
		if n < 0 {
			return errTruncated
		}
		data = data[n:]
		element, at := c.addElement(row)
		if err := p.set(element, at, v, nil); err != nil {
			return err
		}
	}
	return nil
}

// Ranges of BigQuery's types.
const (
	minTimestamp = -62135596800000000 // 0001-01-01 00:00:00
	maxTimestamp = 253402300799999999 // 9999-12-31 23:59:59.999999
	minDate      = minTimestamp / 86400000000
	maxDate      = maxTimestamp / 86400000000
)

// set stores one value in c. On an error the value is unset, and row errors name
// the field.
func (p *fieldPlan) set(c *column, row int, v uint64, text []byte) error {
	switch {
	case p.message != nil:
		c.slot(row)
		err := p.message.parse(text, c.children, row)
		if missing := finish(c.children, c.field.fields, row); err == nil {
			err = missing
		}
		return err
	case p.timestamp:
		micros, ok := timestampMessage(text)
		if !ok {
			return p.invalid("a timestamp")
		}
		return p.setTimestamp(c, row, micros)
	case p.wrapped != nil:
		return p.setWrapped(c, row, text)
	}
	switch p.target {
	case kindString:
		if !utf8.Valid(text) {
			return p.invalid("UTF-8")
		}
		c.setBytes(row, text)
	case kindJSON:
		if !utf8.Valid(text) || !json.Valid(text) {
			return p.invalid("JSON")
		}
		c.setBytes(row, text)
	case kindBytes:
		c.setBytes(row, text)
	case kindInt64:
		c.setInt64(row, p.integer(v))
	case kindTimestamp:
		return p.setTimestamp(c, row, p.integer(v))
	case kindDate:
		days := p.integer(v)
		if days < minDate || days > maxDate {
			return p.invalid("a date from 0001-01-01 to 9999-12-31")
		}
		c.setInt32(row, int32(days))
	case kindBool:
		c.setBool(row, v != 0)
	case kindFloat64:
		f := math.Float64frombits(v)
		if p.kind == protoreflect.FloatKind {
			f = float64(math.Float32frombits(uint32(v)))
		}
		c.setInt64(row, int64(math.Float64bits(f)))
	case kindNumeric:
		n, ok := numericOfInt(p.integer(v)), true
		switch p.kind {
		case protoreflect.StringKind:
			n, ok = parseNumeric(bytes.TrimSpace(text))
		case protoreflect.BytesKind:
			n, ok = decodeNumeric(text)
		}
		if !ok {
			return p.invalid("a NUMERIC: 29 digits before the point and 9 after it")
		}
		c.setInt128(row, n)
	}
	return nil
}

func (p *fieldPlan) invalid(want string) error {
	return fmt.Errorf("Field %s: the value is not %s", p.name, want)
}

func (p *fieldPlan) setTimestamp(c *column, row int, micros int64) error {
	if micros < minTimestamp || micros > maxTimestamp {
		return p.invalid("a timestamp from year 1 to 9999, in microseconds")
	}
	c.setInt64(row, micros)
	return nil
}

// integer returns the value of a field of an integer kind.
func (p *fieldPlan) integer(v uint64) int64 {
	switch p.kind {
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.DecodeZigZag(v)
	case protoreflect.Sfixed32Kind, protoreflect.Int32Kind, protoreflect.EnumKind:
		return int64(int32(v))
	case protoreflect.Uint32Kind:
		return int64(uint32(v))
	}
	return int64(v)
}

// setWrapped stores the field inside a wrapper; an empty wrapper holds the zero
// value.
func (p *fieldPlan) setWrapped(c *column, row int, data []byte) error {
	inner := p.wrapped
	var varint uint64
	var text []byte
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errTruncated
		}
		size := protowire.ConsumeFieldValue(number, wire, data[n:])
		if size < 0 {
			return errTruncated
		}
		if number == 1 && wire == inner.wire {
			switch wire {
			case protowire.VarintType:
				varint, _ = protowire.ConsumeVarint(data[n:])
			case protowire.Fixed32Type:
				v, _ := protowire.ConsumeFixed32(data[n:])
				varint = uint64(v)
			case protowire.Fixed64Type:
				varint, _ = protowire.ConsumeFixed64(data[n:])
			case protowire.BytesType:
				text, _ = protowire.ConsumeBytes(data[n:])
			}
		}
		data = data[n+size:]
	}
	return inner.set(c, row, varint, text)
}

// timestampMessage reads a google.protobuf.Timestamp as microseconds.
func timestampMessage(data []byte) (micros int64, ok bool) {
	var seconds, nanos int64
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 || wire != protowire.VarintType {
			return 0, false
		}
		v, m := protowire.ConsumeVarint(data[n:])
		if m < 0 {
			return 0, false
		}
		switch number {
		case 1:
			seconds = int64(v)
		case 2:
			nanos = int64(v)
		}
		data = data[n+m:]
	}
	if seconds < minTimestamp/1_000_000 || seconds > maxTimestamp/1_000_000 || nanos < 0 || nanos >= 1_000_000_000 {
		return 0, false
	}
	return seconds*1_000_000 + nanos/1000, true
}
