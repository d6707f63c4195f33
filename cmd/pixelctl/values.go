package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/bigquery"
	"cloud.google.com/go/civil"
)

// text returns a value that is not NULL as it stands in a table or in CSV. ARRAY
// and STRUCT are JSON.
func text(f *bigquery.FieldSchema, v bigquery.Value) string {
	if f.Repeated || f.Type == bigquery.RecordFieldType {
		return string(appendJSON(nil, f, v))
	}
	return scalar(v)
}

// scalar returns a value that is neither NULL, ARRAY nor STRUCT as text.
func scalar(v bigquery.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return float(v)
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case time.Time:
		return timestamp(v)
	case civil.Time:
		return bigquery.CivilTimeString(v)
	case civil.DateTime:
		return v.Date.String() + "T" + bigquery.CivilTimeString(v.Time)
	case *big.Rat:
		return decimal(v)
	case *bigquery.RangeValue:
		return "[" + bound(v.Start) + ", " + bound(v.End) + ")"
	}
	return fmt.Sprint(v) // DATE and INTERVAL
}

func bound(v bigquery.Value) string {
	if v == nil {
		return "UNBOUNDED"
	}
	return scalar(v)
}

// appendRecord appends a row, or a STRUCT, as a JSON object with its fields in
// the schema's order.
func appendRecord(b []byte, schema bigquery.Schema, values []bigquery.Value) []byte {
	b = append(b, '{')
	for i, f := range schema {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, f.Name), ':')
		b = appendJSON(b, f, values[i])
	}
	return append(b, '}')
}

// appendJSON appends a value, which may be NULL, as JSON.
func appendJSON(b []byte, f *bigquery.FieldSchema, v bigquery.Value) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	if f.Repeated {
		element := *f
		element.Repeated = false
		b = append(b, '[')
		for i, e := range v.([]bigquery.Value) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, &element, e)
		}
		return append(b, ']')
	}
	switch v := v.(type) {
	case []bigquery.Value:
		return appendRecord(b, f.Schema, v)
	case int64, bool:
		return append(b, scalar(v)...)
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return append(b, float(v)...)
		}
	case string:
		if f.Type == bigquery.JSONFieldType {
			var compact bytes.Buffer
			if json.Compact(&compact, []byte(v)) == nil {
				return append(b, compact.Bytes()...)
			}
		}
	}
	return appendString(b, scalar(v))
}

func appendString(b []byte, s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(strings.ToValidUTF8(s, string(utf8.RuneError))); err != nil {
		panic(err) // a string always has a JSON form
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// float returns f as GoogleSQL writes it where JSON can too, else NaN, Infinity
// or -Infinity.
func float(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0 || math.Abs(f) >= 1e-6 && math.Abs(f) < 1e21:
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'e', -1, 64) // "NaN" as well
}

// decimal returns a NUMERIC or BIGNUMERIC without trailing zeros.
func decimal(r *big.Rat) string {
	s := r.FloatString(bigquery.BigNumericScaleDigits)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// timestamp returns t in UTC as RFC 3339 with microseconds.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }
