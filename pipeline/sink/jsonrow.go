package sink

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"pixelbeam/schemas"
)

// AppendJSON appends to dst the row data, a wire-format message of the table t,
// as one JSON object without a line break, and returns the extended slice. On an
// error, which names table and column, dst is returned unchanged. To write many
// rows of a table use a RowEncoder.
//
// Columns come in schema order, all of them: NULL is null, REPEATED an array,
// RECORD an object. Values are written as BigQuery's TO_JSON_STRING writes them
// (https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#json_encodings):
// INT64 as a number, as a string beyond 2^53 where readers would round it; BYTES
// as base64; JSON as the value itself. Two differ, so that a column has one form:
// TIMESTAMP is UTC with always six fraction digits, and NUMERIC always a string
// with the decimal as written, which is also how BigQuery exports it. Invalid
// UTF-8 becomes U+FFFD; what is not JSON in a JSON column becomes a string.
// BigQuery loads all of these forms.
func AppendJSON(dst []byte, t schemas.Table, data []byte) ([]byte, error) {
	e, err := NewRowEncoder(t)
	if err != nil {
		return dst, err
	}
	return e.Append(dst, data)
}

// A RowEncoder turns the rows of one table into JSON. It reuses its memory from
// row to row and is not safe for concurrent use.
type RowEncoder struct {
	table  string
	record *record
}

// NewRowEncoder returns an encoder for a table whose message is linked in.
func NewRowEncoder(t schemas.Table) (*RowEncoder, error) {
	message, err := tableMessage(t)
	if err != nil {
		return nil, err
	}
	r, err := newRecord(t.Columns, message)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	return &RowEncoder{table: t.Name, record: r}, nil
}

// Append is AppendJSON for the encoder's table.
func (e *RowEncoder) Append(dst, data []byte) ([]byte, error) {
	out, err := e.record.append(dst, data)
	if err != nil {
		return dst, fmt.Errorf("table %s: %w", e.table, err)
	}
	return out, nil
}

// record is a table or RECORD column: its columns, and where their values lie in
// the message at hand.
type record struct {
	columns []column
	byField map[protowire.Number]int
	// values holds per column the values found, which borrow from the message.
	values [][]value
}

type column struct {
	schemas.Column
	key    []byte // "name":
	wire   protowire.Type
	record *record // of a RECORD column
}

// value is one field value: number for varints, else bytes.
type value struct {
	number uint64
	bytes  []byte
}

func newRecord(columns []schemas.Column, message protoreflect.MessageDescriptor) (*record, error) {
	r := &record{byField: map[protowire.Number]int{}, values: make([][]value, len(columns))}
	for i, c := range columns {
		field := message.Fields().ByName(protoreflect.Name(c.Name))
		if field == nil {
			return nil, fmt.Errorf("column %s: message %s has no such field", c.Name, message.FullName())
		}
		col := column{Column: c, key: append(appendString(nil, []byte(c.Name)), ':'), wire: protowire.BytesType}
		switch c.Type {
		case "INT64", "BOOL", "TIMESTAMP":
			col.wire = protowire.VarintType
		case "STRING", "BYTES", "NUMERIC", "JSON":
		case "RECORD":
			inner, err := newRecord(c.Fields, field.Message())
			if err != nil {
				return nil, fmt.Errorf("column %s: %w", c.Name, err)
			}
			col.record = inner
		default:
			return nil, fmt.Errorf("column %s: type %s is not supported", c.Name, c.Type)
		}
		r.columns = append(r.columns, col)
		r.byField[field.Number()] = i
	}
	return r, nil
}

func (r *record) append(dst, data []byte) ([]byte, error) {
	if err := r.scan(data); err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	for i := range r.columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		c, values := &r.columns[i], r.values[i]
		dst = append(dst, c.key...)
		var err error
		switch {
		case c.Mode == "REPEATED":
			dst = append(dst, '[')
			for j, v := range values {
				if j > 0 {
					dst = append(dst, ',')
				}
				if dst, err = c.append(dst, v); err != nil {
					return nil, fmt.Errorf("column %s: %w", c.Name, err)
				}
			}
			dst = append(dst, ']')
		case len(values) == 0:
			dst = append(dst, "null"...)
		default:
			if dst, err = c.append(dst, values[0]); err != nil {
				return nil, fmt.Errorf("column %s: %w", c.Name, err)
			}
		}
	}
	return append(dst, '}'), nil
}

// scan finds the values of the columns in a message. As protobuf has it, of
// several values of a field that is not repeated the last holds, and messages
// merge.
func (r *record) scan(data []byte) error {
	for i := range r.values {
		r.values[i] = r.values[i][:0]
	}
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("broken message: %w", protowire.ParseError(n))
		}
		data = data[n:]
		i, known := r.byField[number]
		if !known || wire != r.columns[i].wire {
			n := protowire.ConsumeFieldValue(number, wire, data)
			if n < 0 {
				return fmt.Errorf("broken message: field %d: %w", number, protowire.ParseError(n))
			}
			data = data[n:]
			continue
		}
		var v value
		if wire == protowire.VarintType {
			v.number, n = protowire.ConsumeVarint(data)
		} else {
			v.bytes, n = protowire.ConsumeBytes(data)
		}
		if n < 0 {
			return fmt.Errorf("broken message: field %d: %w", number, protowire.ParseError(n))
		}
		data = data[n:]
		if c := &r.columns[i]; c.Mode != "REPEATED" && len(r.values[i]) > 0 {
			if c.record != nil {
				// Concatenated messages are merged messages.
				v.bytes = bytes.Join([][]byte{r.values[i][0].bytes, v.bytes}, nil)
			}
			r.values[i][0] = v
			continue
		}
		r.values[i] = append(r.values[i], v)
	}
	return nil
}

func (c *column) append(dst []byte, v value) ([]byte, error) {
	switch c.Type {
	case "INT64":
		return appendInt(dst, int64(v.number)), nil
	case "BOOL":
		return strconv.AppendBool(dst, v.number != 0), nil
	case "TIMESTAMP":
		return appendTimestamp(dst, int64(v.number))
	case "BYTES":
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.bytes)
		return append(dst, '"'), nil
	case "JSON":
		return appendInline(dst, v.bytes), nil
	case "RECORD":
		return c.record.append(dst, v.bytes)
	default: // STRING, NUMERIC
		return appendString(dst, v.bytes), nil
	}
}

// exactInt is the bound to which a float64 holds every whole number.
const exactInt = 1 << 53

func appendInt(dst []byte, n int64) []byte {
	if -exactInt <= n && n <= exactInt {
		return strconv.AppendInt(dst, n, 10)
	}
	dst = append(dst, '"')
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '"')
}

// firstTimestamp is 0001-01-01T00:00:00Z, the start of the range of BigQuery
// timestamps, in microseconds since the Unix epoch.
const firstTimestamp = -62135596800000000

func appendTimestamp(dst []byte, micros int64) ([]byte, error) {
	if micros < firstTimestamp || micros > lastTimestamp {
		return nil, fmt.Errorf("timestamp %d is not between the years 1 and 9999", micros)
	}
	return time.UnixMicro(micros).UTC().AppendFormat(dst, `"2006-01-02T15:04:05.000000Z"`), nil
}

// appendInline appends a JSON text without line breaks.
func appendInline(dst, text []byte) []byte {
	if !json.Valid(text) || !utf8.Valid(text) {
		return appendString(dst, text)
	}
	if !bytes.ContainsAny(text, "\n\r") {
		return append(dst, bytes.TrimSpace(text)...)
	}
	b := bytes.NewBuffer(dst)
	// Compact fails only on what is not valid.
	_ = json.Compact(b, text)
	return b.Bytes()
}

const hex = "0123456789abcdef"

// appendString appends a JSON string.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			if b >= ' ' && b != '"' && b != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch b {
			case '"', '\\':
				dst = append(dst, '\\', b)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\uFFFD"...)
			i++
			start = i
			continue
		}
		i += n
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
