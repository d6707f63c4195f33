package bigqueryd

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pixelbeam/local/bigqueryd/googlesql"
)

// queryParameter is a parameter of the REST API. The client library's own type
// cannot tell NULL from "".
type queryParameter struct {
	Name  string         `json:"name"`
	Type  parameterType  `json:"parameterType"`
	Value parameterValue `json:"parameterValue"`
}

type parameterType struct {
	Type        string         `json:"type"`
	ArrayType   *parameterType `json:"arrayType"`
	StructTypes []struct {
		Name string        `json:"name"`
		Type parameterType `json:"type"`
	} `json:"structTypes"`
}

type parameterValue struct {
	Value        *json.RawMessage          `json:"value"`
	ArrayValues  []parameterValue          `json:"arrayValues"`
	StructValues map[string]parameterValue `json:"structValues"`
}

// parametersOf turns parameters into literals.
func parametersOf(params []queryParameter) (*parameters, error) {
	out := &parameters{named: map[string]googlesql.Value{}}
	for i, p := range params {
		v, _, err := literal(p.Type, p.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: query parameter %d %s: %w", errInvalid, i+1, p.Name, err)
		}
		if p.Name == "" {
			out.positional = append(out.positional, v)
		} else {
			out.named[strings.ToLower(p.Name)] = v
		}
	}
	return out, nil
}

// literalTypes are the types of parameters.
var literalTypes = map[string]struct {
	typ  googlesql.Type
	duck string
}{
	"STRING": {googlesql.String, "VARCHAR"}, "INT64": {googlesql.Int64, "BIGINT"}, "INTEGER": {googlesql.Int64, "BIGINT"},
	"FLOAT64": {googlesql.Float64, "DOUBLE"}, "FLOAT": {googlesql.Float64, "DOUBLE"}, "BOOL": {googlesql.Bool, "BOOLEAN"},
	"BOOLEAN": {googlesql.Bool, "BOOLEAN"}, "BYTES": {googlesql.Bytes, "BLOB"}, "TIMESTAMP": {googlesql.Timestamp, "TIMESTAMPTZ"},
	"DATE": {googlesql.Date, "DATE"}, "DATETIME": {googlesql.Datetime, "TIMESTAMP"}, "NUMERIC": {googlesql.Numeric, "DECIMAL(38,9)"},
	"JSON": {googlesql.JSON, "JSON"},
}

// literal writes a value as a DuckDB expression and returns its DuckDB type.
func literal(t parameterType, v parameterValue) (googlesql.Value, string, error) {
	switch t.Type {
	case "ARRAY":
		return arrayLiteral(t, v)
	case "STRUCT":
		return structLiteral(t, v)
	}
	lt, ok := literalTypes[t.Type]
	if !ok {
		return googlesql.Value{}, "", fmt.Errorf("type %s is not supported", t.Type)
	}
	cast := func(sql string) (googlesql.Value, string, error) {
		return googlesql.Value{SQL: "CAST(" + sql + " AS " + lt.duck + ")", Type: lt.typ}, lt.duck, nil
	}
	text, null, err := v.text()
	if err != nil || null {
		out, duck, _ := cast("NULL")
		return out, duck, err
	}
	switch lt.typ {
	case googlesql.Int64:
		_, err = strconv.ParseInt(text, 10, 64)
	case googlesql.Float64:
		_, err = strconv.ParseFloat(text, 64)
	case googlesql.Bool:
		_, err = strconv.ParseBool(text)
	case googlesql.Bytes:
		b, err := base64.StdEncoding.DecodeString(text)
		return googlesql.Value{SQL: googlesql.Blob(string(b)), Type: lt.typ}, lt.duck, err
	case googlesql.Timestamp:
		at, err := parameterTime(text)
		return googlesql.Value{SQL: fmt.Sprintf("make_timestamptz(%d)", at.UnixMicro()), Type: lt.typ}, lt.duck, err
	}
	if err != nil {
		return googlesql.Value{}, "", err
	}
	return cast(googlesql.Text(text))
}

// text returns the value's text; clients send strings, and sometimes JSON
// numbers.
func (v parameterValue) text() (text string, null bool, err error) {
	if v.Value == nil || string(*v.Value) == "null" {
		return "", true, nil
	}
	raw := string(*v.Value)
	if strings.HasPrefix(raw, `"`) {
		err = json.Unmarshal(*v.Value, &text)
		return text, false, err
	}
	return raw, false, nil
}

func parameterTime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999Z07:00", time.RFC3339Nano, "2006-01-02 15:04:05.999999999 MST", "2006-01-02 15:04:05.999999999", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("invalid TIMESTAMP %q", text)
}

func arrayLiteral(t parameterType, v parameterValue) (googlesql.Value, string, error) {
	if t.ArrayType == nil {
		return googlesql.Value{}, "", fmt.Errorf("an ARRAY without a type of elements")
	}
	_, duck, err := literal(*t.ArrayType, parameterValue{})
	if err != nil {
		return googlesql.Value{}, "", err
	}
	var parts []string
	for _, e := range v.ArrayValues {
		element, _, err := literal(*t.ArrayType, e)
		if err != nil {
			return googlesql.Value{}, "", err
		}
		parts = append(parts, element.SQL)
	}
	duck += "[]"
	return googlesql.Value{SQL: "CAST([" + strings.Join(parts, ", ") + "] AS " + duck + ")", Type: googlesql.Array}, duck, nil
}

func structLiteral(t parameterType, v parameterValue) (googlesql.Value, string, error) {
	var values, types []string
	for _, f := range t.StructTypes {
		value, duck, err := literal(f.Type, v.StructValues[f.Name])
		if err != nil {
			return googlesql.Value{}, "", err
		}
		values = append(values, googlesql.Name(f.Name)+" := "+value.SQL)
		types = append(types, googlesql.Name(f.Name)+" "+duck)
	}
	if values == nil {
		return googlesql.Value{}, "", fmt.Errorf("a STRUCT without fields")
	}
	return googlesql.Value{SQL: "struct_pack(" + strings.Join(values, ", ") + ")", Type: googlesql.Struct}, "STRUCT(" + strings.Join(types, ", ") + ")", nil
}
