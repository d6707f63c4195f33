package bigqueryd

import (
	"fmt"
	"strings"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	bq "google.golang.org/api/bigquery/v2"

	"pixelbeam/local/bigqueryd/googlesql"
	"pixelbeam/schemas"
)

// kind is a BigQuery data type.
type kind int

const (
	kindInvalid kind = iota
	kindString
	kindInt64
	kindFloat64
	kindBool
	kindBytes
	kindTimestamp
	kindDatetime
	kindDate
	kindTime
	kindNumeric
	kindBigNumeric
	kindJSON
	kindInterval
	kindRecord
)

// kinds holds, for each kind, its names in GoogleSQL and in the API, the DuckDB
// type of its columns ("" where no column can have it), and its number in the
// Storage Write API.
var kinds = [...]struct {
	sql, api, duck string
	storage        storagepb.TableFieldSchema_Type
}{
	kindInvalid:    {"", "", "", 0},
	kindString:     {"STRING", "STRING", "VARCHAR", storagepb.TableFieldSchema_STRING},
	kindInt64:      {"INT64", "INTEGER", "BIGINT", storagepb.TableFieldSchema_INT64},
	kindFloat64:    {"FLOAT64", "FLOAT", "DOUBLE", storagepb.TableFieldSchema_DOUBLE},
	kindBool:       {"BOOL", "BOOLEAN", "BOOLEAN", storagepb.TableFieldSchema_BOOL},
	kindBytes:      {"BYTES", "BYTES", "BLOB", storagepb.TableFieldSchema_BYTES},
	kindTimestamp:  {"TIMESTAMP", "TIMESTAMP", "TIMESTAMPTZ", storagepb.TableFieldSchema_TIMESTAMP},
	kindDatetime:   {"DATETIME", "DATETIME", "TIMESTAMP", storagepb.TableFieldSchema_DATETIME},
	kindDate:       {"DATE", "DATE", "DATE", storagepb.TableFieldSchema_DATE},
	kindTime:       {"TIME", "TIME", "", storagepb.TableFieldSchema_TIME},
	kindNumeric:    {"NUMERIC", "NUMERIC", "DECIMAL(38,9)", storagepb.TableFieldSchema_NUMERIC},
	kindBigNumeric: {"BIGNUMERIC", "BIGNUMERIC", "", storagepb.TableFieldSchema_BIGNUMERIC},
	kindJSON:       {"JSON", "JSON", "JSON", storagepb.TableFieldSchema_JSON},
	kindInterval:   {"INTERVAL", "INTERVAL", "", storagepb.TableFieldSchema_INTERVAL},
	kindRecord:     {"STRUCT", "RECORD", "STRUCT", storagepb.TableFieldSchema_STRUCT},
}

var kindAliases = map[string]kind{
	"INT": kindInt64, "SMALLINT": kindInt64, "BIGINT": kindInt64, "TINYINT": kindInt64, "BYTEINT": kindInt64,
	"DECIMAL": kindNumeric, "FLOAT": kindFloat64, "DOUBLE": kindFloat64,
}

// kindNamed returns the kind of a type name of the API or of GoogleSQL.
func kindNamed(name string) kind {
	name = strings.ToUpper(name)
	for k, names := range kinds {
		if k != 0 && (names.sql == name || names.api == name) {
			return kind(k)
		}
	}
	return kindAliases[name]
}

// mode is a BigQuery column mode.
type mode int

const (
	nullable mode = iota
	required
	repeated
)

var modeNames = [...]string{nullable: "NULLABLE", required: "REQUIRED", repeated: "REPEATED"}

// field is a column of a table, or a field of a RECORD.
type field struct {
	name        string
	kind        kind
	mode        mode
	description string
	fields      []field
}

// element returns the field of one element of a repeated field.
func (f field) element() field {
	f.mode = nullable
	return f
}

// duckType returns the DuckDB type of the column.
func (f field) duckType() string {
	t := kinds[f.kind].duck
	if f.kind == kindRecord {
		var b strings.Builder
		b.WriteString("STRUCT(")
		for i, c := range f.fields {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(googlesql.Name(c.name) + " " + c.duckType())
		}
		b.WriteString(")")
		t = b.String()
	}
	if f.mode == repeated {
		t += "[]"
	}
	return t
}

// duckColumn returns the column definition, which must do for ALTER TABLE too: a
// repeated column is never NULL.
func (f field) duckColumn() string {
	s := googlesql.Name(f.name) + " " + f.duckType()
	if f.mode == repeated {
		s += " DEFAULT []"
	}
	return s
}

// newField checks and makes a field.
func newField(name, typ, modeName, description string, fields []field) (field, error) {
	f := field{name: name, kind: kindNamed(typ), description: description, fields: fields}
	if name == "" || len(name) > 300 {
		return f, fmt.Errorf("invalid field name %q", name)
	}
	if f.kind == kindInvalid || kinds[f.kind].duck == "" {
		return f, fmt.Errorf("field %s: this stand-in has no type %s", name, typ)
	}
	switch strings.ToUpper(modeName) {
	case "", "NULLABLE":
	case "REQUIRED":
		f.mode = required
	case "REPEATED":
		f.mode = repeated
	default:
		return f, fmt.Errorf("field %s: invalid mode %s", name, modeName)
	}
	if (f.kind == kindRecord) != (len(fields) > 0) {
		return f, fmt.Errorf("field %s: a RECORD, and nothing else, has fields", name)
	}
	return f, uniqueNames(fields)
}

func uniqueNames(fields []field) error {
	seen := make(map[string]bool, len(fields))
	for _, f := range fields {
		name := strings.ToLower(f.name)
		if seen[name] {
			return fmt.Errorf("duplicate field %s", f.name)
		}
		seen[name] = true
	}
	return nil
}

func fieldsOfColumns(columns []schemas.Column) ([]field, error) {
	out := make([]field, 0, len(columns))
	for _, c := range columns {
		children, err := fieldsOfColumns(c.Fields)
		if err != nil {
			return nil, err
		}
		f, err := newField(c.Name, c.Type, c.Mode, c.Description, children)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, uniqueNames(out)
}

func fieldsOfAPI(columns []*bq.TableFieldSchema) ([]field, error) {
	out := make([]field, 0, len(columns))
	for _, c := range columns {
		children, err := fieldsOfAPI(c.Fields)
		if err != nil {
			return nil, err
		}
		f, err := newField(c.Name, c.Type, c.Mode, c.Description, children)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, uniqueNames(out)
}

func apiFields(fields []field) []*bq.TableFieldSchema {
	out := make([]*bq.TableFieldSchema, 0, len(fields))
	for _, f := range fields {
		s := &bq.TableFieldSchema{Name: f.name, Type: kinds[f.kind].api, Mode: modeNames[f.mode], Description: f.description}
		if f.kind == kindRecord {
			s.Fields = apiFields(f.fields)
		}
		out = append(out, s)
	}
	return out
}

func storageFields(fields []field) []*storagepb.TableFieldSchema {
	out := make([]*storagepb.TableFieldSchema, 0, len(fields))
	for _, f := range fields {
		s := &storagepb.TableFieldSchema{
			Name: f.name, Type: kinds[f.kind].storage, Mode: storagepb.TableFieldSchema_Mode(f.mode + 1), Description: f.description,
		}
		s.Fields = storageFields(f.fields)
		out = append(out, s)
	}
	return out
}

// merge returns the fields of a table that has old and is to have want too. Only
// growth and relaxing REQUIRED are allowed, as in BigQuery. changes are the
// statements after "ALTER TABLE t "; after most of them no more fields are added.
func merge(old, want []field, prefix string, most int) (merged []field, changes []string, err error) {
	merged = append(merged, old...)
	for _, w := range want {
		i := fieldIndex(merged, w.name)
		path := prefix + googlesql.Name(w.name)
		if i < 0 {
			if w.mode == required {
				return nil, nil, fmt.Errorf("column %s: a column that is added cannot be REQUIRED", w.name)
			}
			if len(changes) == most {
				continue
			}
			merged = append(merged, w)
			change := "ADD COLUMN " + path + " " + w.duckType()
			if w.mode == repeated && prefix == "" {
				change += " DEFAULT []"
			}
			changes = append(changes, change)
			continue
		}
		have := merged[i]
		if have.kind != w.kind {
			return nil, nil, fmt.Errorf("column %s: type %s cannot become %s", w.name, kinds[have.kind].sql, kinds[w.kind].sql)
		}
		if have.mode != w.mode && (have.mode != required || w.mode != nullable) {
			return nil, nil, fmt.Errorf("column %s: mode %s cannot become %s", w.name, modeNames[have.mode], modeNames[w.mode])
		}
		if w.description != "" {
			have.description = w.description
		}
		have.mode = w.mode
		if have.kind == kindRecord {
			step := "."
			if have.mode == repeated {
				step = ".element."
			}
			var inner []string
			if have.fields, inner, err = merge(have.fields, w.fields, path+step, most-len(changes)); err != nil {
				return nil, nil, fmt.Errorf("column %s: %w", w.name, err)
			}
			changes = append(changes, inner...)
		}
		merged[i] = have
	}
	return merged, changes, nil
}

func fieldIndex(fields []field, name string) int {
	for i := range fields {
		if strings.EqualFold(fields[i].name, name) {
			return i
		}
	}
	return -1
}
