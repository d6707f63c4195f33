package bigqueryd

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"
)

// location is what the API shows as the place of everything.
const location = "US"

func timeOfMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// cellValue makes a value of the REST API: a string, nil, or nested f and v.
func cellValue(v any, int64Timestamps bool) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return formatFloat(v)
	case bool:
		return strconv.FormatBool(v)
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case timestampValue:
		if int64Timestamps {
			return strconv.FormatInt(int64(v), 10)
		}
		return strconv.FormatFloat(float64(v)/1e6, 'E', -1, 64)
	case datetimeValue:
		return time.UnixMicro(int64(v)).UTC().Format("2006-01-02T15:04:05.999999")
	case dateValue:
		return v.String()
	case timeValue:
		return time.UnixMicro(int64(v)).UTC().Format("15:04:05.999999")
	case numericValue:
		return string(v)
	case jsonValue:
		return string(v)
	case intervalValue:
		return v.String()
	case listValue:
		out := make([]map[string]any, len(v))
		for i, e := range v {
			out[i] = map[string]any{"v": cellValue(e, int64Timestamps)}
		}
		return out
	case recordValue:
		return rowValue(v, int64Timestamps)
	}
	return fmt.Sprint(v)
}

// rowValue makes a row, or a RECORD, of the REST API.
func rowValue(row []any, int64Timestamps bool) map[string]any {
	cells := make([]map[string]any, len(row))
	for i, v := range row {
		cells[i] = map[string]any{"v": cellValue(v, int64Timestamps)}
	}
	return map[string]any{"f": cells}
}

func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func (d dateValue) String() string {
	return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly)
}

// String writes BigQuery's canonical form: Y-M D H:M:S.F.
func (v intervalValue) String() string {
	sign := func(n int64) string {
		if n < 0 {
			return "-"
		}
		return ""
	}
	months, micros := abs(int64(v.months)), abs(v.micros)
	s := fmt.Sprintf("%s%d-%d %d %s%d:%d:%d", sign(int64(v.months)), months/12, months%12, v.days,
		sign(v.micros), micros/3_600_000_000, micros/60_000_000%60, micros/1_000_000%60)
	if fraction := micros % 1_000_000; fraction != 0 {
		s += fmt.Sprintf(".%06d", fraction)
	}
	return s
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// goValue makes a value of Server.Query.
func goValue(v any, f field) any {
	switch v := v.(type) {
	case timestampValue:
		return time.UnixMicro(int64(v)).UTC()
	case datetimeValue, timeValue, intervalValue, numericValue, jsonValue:
		return cellValue(v, false)
	case dateValue:
		return v.String()
	case listValue:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = goValue(e, f.element())
		}
		return out
	case recordValue:
		return goRow(v, f.fields)
	}
	return v
}

func goRow(row []any, fields []field) map[string]any {
	out := make(map[string]any, len(row))
	for i, v := range row {
		out[fields[i].name] = goValue(v, fields[i])
	}
	return out
}

// sizeOf estimates the memory of a value.
func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return 32 + len(v)
	case []byte:
		return 40 + len(v)
	case jsonValue:
		return 32 + len(v)
	case numericValue:
		return 32 + len(v)
	case listValue:
		return sizeOfAll(v)
	case recordValue:
		return sizeOfAll(v)
	}
	return 24
}

func sizeOfAll(values []any) int {
	n := 40
	for _, v := range values {
		n += sizeOf(v)
	}
	return n
}
