package bigqueryd

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/google/go-cmp/cmp"

	"pixelbeam/local/bigqueryd/googlesql"
)

// Every function that is translated is run by a test in these files.
func TestEveryFunctionIsRun(t *testing.T) {
	var source []byte
	for _, file := range []string{"query_test.go", "sketch_test.go"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, b...)
	}
	for _, name := range googlesql.Functions() {
		if !regexp.MustCompile(`\b` + name + `\(`).Match(source) {
			t.Errorf("%s is not tested", name)
		}
	}
}

// TestExpressions holds what BigQuery returns.
func TestExpressions(t *testing.T) {
	s := start(t, Options{})
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return v.UTC()
	}
	// ts is before the epoch where rounding down and truncation differ.
	const from = ` FROM (SELECT TIMESTAMP '2024-02-29 13:45:56.789012 UTC' AS ts, TIMESTAMP '1969-12-31 23:59:58.5 UTC' AS old,
		DATE '2024-02-29' AS d, DATETIME '2024-02-29 13:45:56.5' AS dt, b'a\xffz' AS raw, b'text' AS utf, 'Straße' AS s, 2.5 AS f, 7 AS i,
		NUMERIC '1.50' AS n, JSON '{"a": {"b": [1, "x", null, true, 1.50]}, "k.l": "dot", "o": {}}' AS j, [10, 20, 30] AS arr,
		STRUCT(1 AS x, 'y' AS y) AS st, CAST(NULL AS STRING) AS nul, CAST(NULL AS INT64) AS ni)`
	for _, tt := range []struct {
		sql  string
		want any
	}{
		// Numbers.
		{"1 + 2 * 3", int64(7)}, {"7 / 2", 3.5}, {"2147483647 + 1", int64(2147483648)}, {"5000000 * 5000000", int64(25_000_000_000_000)},
		{"MOD(-7, 3)", int64(-1)}, {"DIV(-7, 2)", int64(-3)}, {"SAFE_DIVIDE(1, 0)", nil}, {"SAFE_DIVIDE(i, 2)", 3.5}, {"IEEE_DIVIDE(1, 2)", 0.5},
		{"CAST(f AS INT64)", int64(3)}, {"CAST(-2.5 AS INT64)", int64(-3)}, {"CAST('12' AS INT64)", int64(12)}, {"CAST(n AS INT64)", int64(2)},
		{"SAFE_CAST('x' AS INT64)", nil}, {"ROUND(2.5)", 3.0}, {"ROUND(-2.5)", -3.0}, {"ROUND(1.25, 1)", 1.3}, {"TRUNC(-2.7)", -2.0},
		{"GREATEST(1, 3, 2)", int64(3)}, {"GREATEST(1, ni)", nil}, {"LEAST(2, 1)", int64(1)}, {"6 ^ 3", int64(5)}, {"6 | 1", int64(7)}, {"1 << 3", int64(8)},
		{"ABS(-i)", int64(7)}, {"POW(2, 3)", 8.0}, {"LOG(8, 2)", 3.0}, {"0xFF", int64(255)}, {"IFNULL(ni, 4)", int64(4)}, {"COALESCE(ni, i)", int64(7)},
		{"NULLIF(i, 7)", nil}, {"SAFE.LN(-1)", nil}, {"i / 2.0", 3.5}, {"1e3", 1000.0},
		// Strings.
		{"LENGTH(s)", int64(6)}, {"BYTE_LENGTH(s)", int64(7)}, {"LENGTH(raw)", int64(3)}, {"BYTE_LENGTH(raw)", int64(3)}, {"LENGTH('é')", int64(1)},
		{"UPPER('abc')", "ABC"}, {"CONCAT('a', 'b', 'c')", "abc"}, {"CONCAT('a', nul)", nil}, {"'a' || 'b'", "ab"},
		{"SUBSTR('hello', 0, 2)", "he"}, {"SUBSTR('hello', -2)", "lo"}, {"SUBSTR('hello', -9, 2)", "he"}, {"SUBSTR(s, 5)", "ße"}, {"SUBSTR('hello', 2, 0)", ""},
		{"SPLIT('a,b,,c')", []any{"a", "b", "", "c"}}, {"SPLIT('', ',')", []any{""}}, {"TRIM('\\t x \\n')", "x"}, {"LTRIM('xxa', 'x')", "a"},
		{"STARTS_WITH(s, 'Str')", true}, {"ENDS_WITH(s, 'x')", false}, {"CONTAINS_SUBSTR('Hello World', 'WORLD')", true}, {"STRPOS('abc', 'c')", int64(3)},
		{"REPLACE('aXbX', 'X', '-')", "a-b-"}, {`REGEXP_CONTAINS('a1', r'\\d')`, false}, {`REGEXP_CONTAINS('a1', r'\d')`, true},
		{`REGEXP_EXTRACT('key=val', r'=(\w+)')`, "val"}, {`REGEXP_EXTRACT('abc', r'\d+')`, nil}, {`REGEXP_EXTRACT('a12', r'\d+')`, "12"},
		{`REGEXP_REPLACE('a1b2', r'(\d)', r'<\1>')`, "a<1>b<2>"}, {`REGEXP_EXTRACT_ALL('a1b22', r'\d+')`, []any{"1", "22"}},
		{`REGEXP_SUBSTR('a12', r'\d+')`, "12"}, {"NET.HOST('http://u:p@a.b:80/path?q')", "a.b"}, {"NET.HOST('https://[::1]:80')", "[::1]"}, {"NET.HOST(' www.Example.Co.UK  ')", "www.Example.Co.UK"},
		{"NET.HOST('//x.y/@z')", "x.y"}, {"NET.HOST('mailto:?to=&subject=')", "mailto"}, {"NET.HOST('')", nil}, {"NET.HOST(nul)", nil},
		{"LPAD('7', 3, '0')", "007"}, {"REVERSE('abc')", "cba"}, {"LEFT('abc', 2)", "ab"}, {"RIGHT('abc', 2)", "bc"}, {"'a_c' LIKE 'a\\\\_c'", true}, {"'abc' LIKE 'a\\\\_c'", false},
		{"'abc' LIKE 'a%'", true}, {"TO_HEX(b'\\xab\\x01')", "ab01"}, {"TO_BASE64(raw)", "Yf96"}, {"FROM_BASE64('Yf96')", []byte("a\xffz")}, {"FROM_HEX('00ff')", []byte("\x00\xff")},
		{"TO_HEX(MD5('a'))", "0cc175b9c0f1b6a831c399e269772661"}, {"TO_HEX(SHA256('a'))", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
		{"SAFE_CONVERT_BYTES_TO_STRING(utf)", "text"}, {"CAST(utf AS STRING)", "text"}, {"CAST('a\\\\x41' AS BYTES)", []byte(`a\x41`)},
		{"'\u00e9\\u00e9\\U0001F600'", "éé😀"}, {"'a\\000b'", "a\x00b"}, {"b'\\xff\\000'", []byte("\xff\x00")},
		// Casts to STRING.
		{"CAST(i AS STRING)", "7"}, {"CAST(f AS STRING)", "2.5"}, {"CAST(1.0 AS STRING)", "1"}, {"CAST(n AS STRING)", "1.5"}, {"CAST(TRUE AS STRING)", "true"},
		{"CAST(ts AS STRING)", "2024-02-29 13:45:56.789012+00"}, {"CAST(old AS STRING)", "1969-12-31 23:59:58.500+00"},
		{"CAST(TIMESTAMP '2024-01-01' AS STRING)", "2024-01-01 00:00:00+00"}, {"CAST(d AS STRING)", "2024-02-29"}, {"CAST(100 AS STRING)", "100"},
		// Times.
		{"ts", at("2024-02-29T13:45:56.789012Z")}, {"TIMESTAMP_TRUNC(ts, MINUTE)", at("2024-02-29T13:45:00Z")}, {"TIMESTAMP_TRUNC(old, MINUTE)", at("1969-12-31T23:59:00Z")},
		{"TIMESTAMP_TRUNC(ts, DAY)", at("2024-02-29T00:00:00Z")}, {"TIMESTAMP_TRUNC(ts, WEEK)", at("2024-02-25T00:00:00Z")}, {"TIMESTAMP_TRUNC(ts, ISOWEEK)", at("2024-02-26T00:00:00Z")},
		{"TIMESTAMP_TRUNC(ts, MONTH, 'UTC')", at("2024-02-01T00:00:00Z")}, {"TIMESTAMP_TRUNC(ts, QUARTER)", at("2024-01-01T00:00:00Z")}, {"TIMESTAMP_TRUNC(old, YEAR)", at("1969-01-01T00:00:00Z")},
		{"DATE_TRUNC(d, WEEK)", "2024-02-25"}, {"DATE_TRUNC(d, MONTH)", "2024-02-01"},
		{"TIMESTAMP_DIFF(ts, old, DAY)", int64(19782)}, {"TIMESTAMP_DIFF(old, TIMESTAMP '1970-01-01', SECOND)", int64(-1)}, {"TIMESTAMP_DIFF(ts, '2024-02-29 13:00:00', MINUTE)", int64(45)},
		{"DATE_DIFF(DATE '2024-03-01', d, DAY)", int64(1)}, {"DATE_DIFF('2024-01-01', DATE '2023-12-31', YEAR)", int64(1)}, {"DATE_DIFF(DATE '2024-02-25', DATE '2024-02-24', WEEK)", int64(1)},
		{"DATE_DIFF(DATE '2024-02-26', DATE '2024-02-25', ISOWEEK)", int64(1)}, {"DATE_DIFF(DATE '2024-02-26', DATE '2024-02-25', WEEK)", int64(0)}, {"DATE_DIFF(DATE '2024-05-01', d, MONTH)", int64(3)},
		{"DATETIME_DIFF(dt, DATETIME '2024-02-29 12:59:59', HOUR)", int64(1)},
		{"TIMESTAMP_ADD(ts, INTERVAL 1 HOUR)", at("2024-02-29T14:45:56.789012Z")}, {"TIMESTAMP_SUB(ts, INTERVAL i DAY)", at("2024-02-22T13:45:56.789012Z")},
		{"DATE_ADD(d, INTERVAL 1 YEAR)", "2025-02-28"}, {"DATE_SUB(d, INTERVAL 1 WEEK)", "2024-02-22"}, {"DATE_ADD(DATE '2024-01-31', INTERVAL 1 MONTH)", "2024-02-29"},
		{"ts - INTERVAL 1 MINUTE", at("2024-02-29T13:44:56.789012Z")}, {"ts > '2024-02-29'", true}, {"ts BETWEEN TIMESTAMP '2024-02-29 13:00:00+00' AND TIMESTAMP '2024-02-29T15:00:00+01:00'", true},
		{"DATE(ts)", "2024-02-29"}, {"DATE(2024, 2, 3)", "2024-02-03"}, {"DATE(old)", "1969-12-31"}, {"DATETIME(ts)", "2024-02-29T13:45:56.789012"}, {"TIMESTAMP(d)", at("2024-02-29T00:00:00Z")},
		{"TIMESTAMP('2024-02-29 01:02:03+02')", at("2024-02-28T23:02:03Z")}, {"CAST('2024-02-29T01:02:03Z' AS TIMESTAMP)", at("2024-02-29T01:02:03Z")},
		{"EXTRACT(HOUR FROM ts)", int64(13)}, {"EXTRACT(DAYOFWEEK FROM d)", int64(5)}, {"EXTRACT(MILLISECOND FROM ts)", int64(789)}, {"EXTRACT(MICROSECOND FROM ts)", int64(789012)},
		{"EXTRACT(DATE FROM ts)", "2024-02-29"}, {"EXTRACT(WEEK FROM d)", int64(8)}, {"EXTRACT(ISOWEEK FROM d)", int64(9)}, {"EXTRACT(DAYOFYEAR FROM d)", int64(60)}, {"EXTRACT(SECOND FROM ts)", int64(56)},
		{"EXTRACT(YEAR FROM ts AT TIME ZONE 'UTC')", int64(2024)}, {"UNIX_SECONDS(old)", int64(-2)}, {"UNIX_MILLIS(old)", int64(-1500)}, {"UNIX_MICROS(ts)", int64(1709214356789012)},
		{"TIMESTAMP_SECONDS(60)", at("1970-01-01T00:01:00Z")}, {"TIMESTAMP_MILLIS(-1)", at("1969-12-31T23:59:59.999Z")}, {"TIMESTAMP_MICROS(1)", at("1970-01-01T00:00:00.000001Z")},
		{"FORMAT_TIMESTAMP('%Y-%m-%dT%H:%M:%E6SZ', ts)", "2024-02-29T13:45:56.789012Z"}, {"FORMAT_TIMESTAMP('%F %T %Z', ts, 'UTC')", "2024-02-29 13:45:56 UTC"}, {"FORMAT_TIMESTAMP('%E3S', ts)", "56.789"},
		{"FORMAT_DATE('%d.%m.%y', d)", "29.02.24"}, {"PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%S', '2024-01-02 03:04:05')", at("2024-01-02T03:04:05Z")}, {"PARSE_DATE('%Y%m%d', '20240102')", "2024-01-02"},
		{"UNIX_DATE(d)", int64(19782)}, {"DATE_FROM_UNIX_DATE(1)", "1970-01-02"}, {"LAST_DAY(d)", "2024-02-29"}, {"dt", "2024-02-29T13:45:56.5"},
		{"CURRENT_TIMESTAMP() > ts AND CURRENT_TIMESTAMP > ts AND CURRENT_DATE() > d", true},
		{"DATE_TRUNC(d, WEEK(MONDAY))", "2024-02-26"}, {"DATE_ADD(CAST(nul AS DATE), INTERVAL 1 DAY)", nil}, {"DATE_DIFF(d, CAST(nul AS DATE), DAY)", nil}, {"DATE_TRUNC(d, WEEK(THURSDAY))", "2024-02-29"}, {"DATE_TRUNC(d, WEEK(FRIDAY))", "2024-02-23"}, {"TIMESTAMP_TRUNC(old, WEEK(MONDAY))", at("1969-12-29T00:00:00Z")},
		{"DATE_TRUNC(d, ISOYEAR)", "2024-01-01"}, {"DATE_DIFF(d, DATE '2024-02-20', WEEK(WEDNESDAY))", int64(2)}, {"EXTRACT(WEEK(MONDAY) FROM d)", int64(9)},
		{"TIMESTAMP_TRUNC(ts, DAY, 'Europe/Berlin')", at("2024-02-28T23:00:00Z")}, {"TIMESTAMP_TRUNC(TIMESTAMP '2024-07-03', WEEK(MONDAY), 'America/New_York')", at("2024-07-01T04:00:00Z")},
		{"TIMESTAMP_TRUNC(TIMESTAMP '2024-07-03', MONTH, 'America/New_York')", at("2024-07-01T04:00:00Z")}, {"DATE(ts, 'Asia/Tokyo')", "2024-02-29"}, {"DATE(TIMESTAMP '2024-02-29 20:00:00', 'Asia/Tokyo')", "2024-03-01"},
		{"DATETIME(ts, 'Europe/Berlin')", "2024-02-29T14:45:56.789012"}, {"FORMAT_TIMESTAMP('%H', ts, 'Europe/Berlin')", "14"}, {"EXTRACT(HOUR FROM ts AT TIME ZONE 'Europe/Berlin')", int64(14)},
		{"CURRENT_DATE('Europe/Berlin') > d", true}, {"TIMESTAMP(DATE '2024-07-01', 'Europe/Berlin')", at("2024-06-30T22:00:00Z")},
		{"PARSE_TIMESTAMP('%Y-%m-%d', '2024-07-01', 'Europe/Berlin')", at("2024-06-30T22:00:00Z")}, {"STRING(TIMESTAMP '2024-01-01')", "2024-01-01 00:00:00+00"},
		// JSON.
		{"JSON_VALUE(j, '$.a.b[0]')", "1"}, {"JSON_VALUE(j, '$.a.b[1]')", "x"}, {"JSON_VALUE(j, '$.a.b[2]')", nil}, {"JSON_VALUE(j, '$.a.b[3]')", "true"}, {"JSON_VALUE(j, '$.a.b')", nil},
		{"JSON_VALUE(j, '$.missing')", nil}, {"JSON_VALUE(j, '$.\"k.l\"')", "dot"}, {"JSON_EXTRACT_SCALAR(j, \"$['k.l']\")", "dot"}, {"JSON_QUERY(j, '$.a.b')", `[1,"x",null,true,1.5]`},
		{"JSON_QUERY(j, '$.o')", "{}"}, {"JSON_VALUE('{\"a\":\"q\"}', '$.a')", "q"}, {"TO_JSON_STRING(st)", `{"x":1,"y":"y"}`}, {"TO_JSON_STRING(nul)", "null"}, {"TO_JSON_STRING(arr)", "[10,20,30]"},
		{"JSON_VALUE_ARRAY('{\"a\":[\"x\",\"y\"]}', '$.a')", []any{"x", "y"}}, {"ARRAY_LENGTH(JSON_QUERY_ARRAY(j, '$.a.b'))", int64(5)}, {"JSON_TYPE(JSON_QUERY(j, '$.a.b[0]'))", "number"}, {"JSON_TYPE(j)", "object"},
		// Arrays and structs.
		{"arr[OFFSET(0)]", int64(10)}, {"arr[ORDINAL(3)]", int64(30)}, {"arr[SAFE_OFFSET(5)]", nil}, {"arr[1]", int64(20)}, {"ARRAY_LENGTH(arr)", int64(3)}, {"20 IN UNNEST(arr)", true}, {"21 NOT IN UNNEST(arr)", true},
		{"ARRAY(SELECT x * 2 FROM UNNEST(arr) AS x ORDER BY x DESC)", []any{int64(60), int64(40), int64(20)}}, {"ARRAY(SELECT 1 FROM UNNEST(arr) AS x WHERE x > 99)", []any{}}, {"(SELECT MAX(x) FROM UNNEST(arr) x)", int64(30)},
		{"(SELECT STRING_AGG(CONCAT(CAST(x AS STRING), ':', CAST(o AS STRING)), ' ' ORDER BY o) FROM UNNEST(arr) AS x WITH OFFSET AS o)", "10:0 20:1 30:2"},
		{"EXISTS (SELECT 1 FROM UNNEST(arr) x WHERE x = 20)", true}, {"ARRAY_TO_STRING(['a', 'b'], '-')", "a-b"}, {"ARRAY_CONCAT([1], [2, 3])", []any{int64(1), int64(2), int64(3)}}, {"GENERATE_ARRAY(1, 3)", []any{int64(1), int64(2), int64(3)}},
		{"ARRAY_LENGTH(GENERATE_DATE_ARRAY(d, DATE '2024-03-02'))", int64(3)}, {"GENERATE_TIMESTAMP_ARRAY(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-01 00:02:00', INTERVAL 1 MINUTE)[OFFSET(2)]", at("2024-01-01T00:02:00Z")},
		{"st.x", int64(1)}, {"STRUCT(1 AS a, 'b')", map[string]any{"a": int64(1), "_field_2": "b"}}, {"ARRAY<STRING>[]", []any{}}, {"[STRUCT(1 AS a), STRUCT(2 AS a)]", []any{map[string]any{"a": int64(1)}, map[string]any{"a": int64(2)}}},
		{"STRUCT<a INT64, b STRING>(1, 'x').b", "x"}, {"ARRAY<STRUCT<k STRING, n INT64>>[('a', 1)]", []any{map[string]any{"k": "a", "n": int64(1)}}}, {"ARRAY(SELECT AS STRUCT x, 2 * x AS y FROM UNNEST(arr) AS x ORDER BY y DESC LIMIT 1)", []any{map[string]any{"x": int64(30), "y": int64(60)}}},
		{"(SELECT AS STRUCT 1 AS a)", map[string]any{"a": int64(1)}}, {"ARRAY(SELECT AS VALUE x FROM UNNEST(arr) AS x ORDER BY x)", []any{int64(10), int64(20), int64(30)}},
		{"RANGE_BUCKET(20, arr)", int64(2)}, {"RANGE_BUCKET(9, arr)", int64(0)}, {"RANGE_BUCKET(99, arr)", int64(3)}, {"RANGE_BUCKET(ni, arr)", nil},
		{"(1, 'a') = (1, 'a')", true}, {"ARRAY_REVERSE(arr)[OFFSET(0)]", int64(30)},
		// Conditions.
		{"IF(i > 5, 'y', 'n')", "y"}, {"IF(NULL, 1, 2)", int64(2)}, {"CASE i WHEN 7 THEN 'seven' ELSE 'no' END", "seven"}, {"CASE WHEN ni = 1 THEN 1 END", nil}, {"nul IS NULL AND i IS NOT NULL", true}, {"ni IS DISTINCT FROM 1", true},
		{"i IN (1, 7)", true}, {"NOT i = 7", false}, {"i NOT BETWEEN 1 AND 3", true}, {"TRUE OR FALSE AND FALSE", true}, {"(ni > 1) IS TRUE", false},
		// Aggregates.
		{"(SELECT COUNTIF(x > 10) FROM UNNEST(arr) x)", int64(2)}, {"(SELECT SUM(x) FROM UNNEST(arr) x)", int64(60)}, {"(SELECT AVG(x) FROM UNNEST(arr) x)", 20.0}, {"(SELECT COUNT(DISTINCT x) FROM UNNEST([1, 1, NULL]) x)", int64(1)},
		{"(SELECT SUM(IF(x > 10, 1, 0)) FROM UNNEST(arr) x)", int64(2)}, {"(SELECT ARRAY_AGG(x ORDER BY x DESC LIMIT 2) FROM UNNEST(arr) x)", []any{int64(30), int64(20)}}, {"(SELECT ARRAY_AGG(x IGNORE NULLS) FROM UNNEST([1, NULL]) x)", []any{int64(1)}},
		{"(SELECT APPROX_QUANTILES(x, 2)[OFFSET(1)] FROM UNNEST(arr) x)", int64(20)}, {"(SELECT STRING_AGG(x) FROM UNNEST(['a', NULL, 'b']) x)", "a,b"}, {"(SELECT ANY_VALUE(x) FROM UNNEST([5]) x)", int64(5)}, {"(SELECT MAX_BY(x, -x) FROM UNNEST(arr) x)", int64(10)},
		{"(SELECT ANY_VALUE(x HAVING MIN -x) FROM UNNEST(arr) x)", int64(30)}, {"(SELECT ANY_VALUE(x HAVING MAX -x) FROM UNNEST(arr) x)", int64(10)}, {"BIT_COUNT(i)", int64(3)},
		{"(SELECT LOGICAL_OR(x > 20) FROM UNNEST(arr) x)", true}, {"(SELECT LOGICAL_AND(x > 20) FROM UNNEST(arr) x)", false}, {"(SELECT MIN(x) FROM UNNEST(arr) x)", int64(10)},
		{"(SELECT MIN_BY(x, -x) FROM UNNEST(arr) x)", int64(30)}, {"(SELECT APPROX_COUNT_DISTINCT(x) FROM UNNEST(arr) x)", int64(3)},
		{"(SELECT BIT_AND(x) FROM UNNEST([6, 3]) x)", int64(2)}, {"(SELECT BIT_OR(x) FROM UNNEST([6, 3]) x)", int64(7)}, {"(SELECT BIT_XOR(x) FROM UNNEST([6, 3]) x)", int64(5)},
		{"(SELECT STDDEV(x) FROM UNNEST(arr) x)", 10.0}, {"(SELECT STDDEV_SAMP(x) FROM UNNEST(arr) x)", 10.0}, {"(SELECT STDDEV_POP(x) FROM UNNEST([1, 3]) x)", 1.0},
		{"(SELECT VARIANCE(x) FROM UNNEST(arr) x)", 100.0}, {"(SELECT VAR_SAMP(x) FROM UNNEST(arr) x)", 100.0}, {"(SELECT VAR_POP(x) FROM UNNEST([1, 3]) x)", 1.0},
		{"(SELECT CORR(x, 2 * x) FROM UNNEST(arr) x)", 1.0}, {"(SELECT COVAR_POP(x, x) FROM UNNEST([1, 3]) x)", 1.0}, {"(SELECT COVAR_SAMP(x, x) FROM UNNEST(arr) x)", 100.0},
		// The rest of the list.
		{"CEIL(1.2)", 2.0}, {"CEILING(-1.2)", -1.0}, {"FLOOR(-1.2)", -2.0}, {"SIGN(-f)", -1.0}, {"SQRT(9.0)", 3.0}, {"EXP(0.0)", 1.0}, {"LOG10(100.0)", 2.0}, {"POWER(2.0, 3)", 8.0},
		{"IS_NAN(f)", false}, {"IS_INF(IEEE_DIVIDE(1, 0))", true}, {"RAND() < 1", true}, {"LENGTH(GENERATE_UUID())", int64(36)},
		{"CHAR_LENGTH(s)", int64(6)}, {"CHARACTER_LENGTH(s)", int64(6)}, {"OCTET_LENGTH(s)", int64(7)}, {"SUBSTRING('abc', 2, 1)", "b"}, {"LOWER('AbC')", "abc"}, {"RTRIM('abb', 'b')", "a"},
		{"RPAD('7', 3)", "7  "}, {"REPEAT('ab', 2)", "abab"}, {"CHR(65)", "A"}, {"EDIT_DISTANCE('abc', 'adc')", int64(1)}, {"TO_HEX(SHA1('a'))", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"},
		{"ARRAY_FIRST(arr)", int64(10)}, {"ARRAY_LAST(arr)", int64(30)}, {"JSON_KEYS(JSON '{\"a\": 1, \"b\": 2}')", []any{"a", "b"}}, {"TO_JSON(st)", `{"x":1,"y":"y"}`}, {"JSON_VALUE(PARSE_JSON('{\"a\": 5}'), '$.a')", "5"},
		{"JSON_EXTRACT(j, '$.a.b[1]')", `"x"`}, {"ARRAY_LENGTH(JSON_EXTRACT_ARRAY(j, '$.a.b'))", int64(5)}, {"FORMAT_DATETIME('%H:%M', dt)", "13:45"}, {"PARSE_DATETIME('%Y-%m-%d %H', '2024-01-02 03')", "2024-01-02T03:00:00"},
		{"DATETIME_ADD(dt, INTERVAL 1 MONTH)", "2024-03-29T13:45:56.5"}, {"DATETIME_SUB(dt, INTERVAL 1 HOUR)", "2024-02-29T12:45:56.5"}, {"DATETIME_TRUNC(dt, HOUR)", "2024-02-29T13:00:00"}, {"CURRENT_DATETIME() > dt", true},
	} {
		rows, err := s.Query(t.Context(), "SELECT "+tt.sql+" AS v"+from)
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if diff := cmp.Diff(tt.want, rows[0]["v"]); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.sql, diff)
		}
	}
}

// TestRunTimeErrors are errors in BigQuery, where DuckDB alone would return
// something.
func TestRunTimeErrors(t *testing.T) {
	s := start(t, Options{})
	for _, tt := range []struct{ sql, part string }{
		{"SELECT 1 / x FROM (SELECT 0 AS x)", "division by zero"},
		{"SELECT MOD(1, 0)", "division by zero"},
		{"SELECT [1][OFFSET(1)]", "out of bounds"},
		{"SELECT [1][ORDINAL(0)]", "out of bounds"},
		{"SELECT x[OFFSET(0)] FROM (SELECT 'abc' AS x)", "array_length"},
		{"SELECT SUBSTR('abc', 1, x) FROM (SELECT -1 AS x)", "negative"},
		{"SELECT CAST(x AS INT64) FROM (SELECT 'a' AS x)", "Could not convert"},
		{"SELECT CAST(x AS STRING) FROM (SELECT b'\\xff' AS x)", "UTF8"},
		{"SELECT TO_JSON_STRING(x) FROM (SELECT TIMESTAMP '2024-01-01' AS x)", "TO_JSON_STRING of TIMESTAMP"},
		{"SELECT nothing", "nothing"},
		{"SELECT ERROR('own words')", "own words"},
		{"SELECT ARRAY_FIRST([])", "empty array"},
		{"SELECT SUM(x) FROM UNNEST([9223372036854775807, 1]) AS x", "int64 overflow"},
		{"SELECT DATE_TRUNC(x, DAY) FROM (SELECT TIMESTAMP '2024-01-01' AS x)", "DATE_TRUNC of a TIMESTAMP"},
		{"SELECT DATE_DIFF(x, x, DAY) FROM (SELECT TIMESTAMP '2024-01-01' AS x)", "DATE_DIFF of a TIMESTAMP"},
		{"SELECT DATE_ADD(x, INTERVAL 1 DAY) FROM (SELECT DATETIME '2024-01-01' AS x)", "DATE_ADD of a TIMESTAMP or DATETIME"},
	} {
		rows, err := s.Query(t.Context(), tt.sql)
		if err == nil || !strings.Contains(err.Error(), tt.part) {
			t.Errorf("%s: %v, %v; want an error with %q", tt.sql, rows, err, tt.part)
		}
	}
}

// TestQueries are whole queries over a table; x is 1 to 6 and a NULL.
func TestQueries(t *testing.T) {
	s := start(t, Options{})
	ctx := t.Context()
	for _, sql := range []string{
		"CREATE SCHEMA d",
		"CREATE TABLE d.t (x INT64, g STRING, tags ARRAY<STRING>, items ARRAY<STRUCT<k STRING, n INT64>>)",
		`INSERT INTO d.t (x, g, tags, items) VALUES (1, 'a', ['p', 'q'], [STRUCT('k1' AS k, 1 AS n)]), (2, 'a', [], []), (3, 'b', ['p'], []),
			(4, 'b', [], [STRUCT('k2' AS k, 5 AS n), STRUCT('k3' AS k, 6 AS n)]), (5, NULL, [], []), (6, 'c', ['q'], []), (NULL, 'c', NULL, NULL)`,
	} {
		if _, err := s.Query(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	row := func(pairs ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	for _, tt := range []struct {
		sql  string
		want []map[string]any
	}{
		{"SELECT x FROM d.t ORDER BY x LIMIT 2", []map[string]any{row("x", nil), row("x", int64(1))}},
		{"SELECT x FROM d.t ORDER BY x DESC LIMIT 1 OFFSET 6", []map[string]any{row("x", nil)}},
		{"SELECT x FROM d.t ORDER BY x NULLS LAST LIMIT 1", []map[string]any{row("x", int64(1))}},
		{"SELECT g, COUNT(*) AS n FROM d.t GROUP BY g ORDER BY g", []map[string]any{row("g", nil, "n", int64(1)), row("g", "a", "n", int64(2)), row("g", "b", "n", int64(2)), row("g", "c", "n", int64(2))}},
		// An alias hides the column of its name in GROUP BY.
		{"SELECT IFNULL(MOD(x, 2), 9) AS x, COUNT(*) AS n FROM d.t GROUP BY x ORDER BY x", []map[string]any{row("x", int64(0), "n", int64(3)), row("x", int64(1), "n", int64(3)), row("x", int64(9), "n", int64(1))}},
		{"SELECT COUNT(*), SUM(x) FROM d.t HAVING COUNT(*) > 1", []map[string]any{row("f0_", int64(7), "f1_", int64(21))}},
		{"SELECT x, LAG(x) OVER (ORDER BY x) AS l FROM d.t WHERE x < 3 ORDER BY x", []map[string]any{row("x", int64(1), "l", nil), row("x", int64(2), "l", int64(1))}},
		{"SELECT g, x FROM d.t WHERE g IS NOT NULL QUALIFY ROW_NUMBER() OVER (PARTITION BY g ORDER BY x) = 1 ORDER BY g", []map[string]any{row("g", "a", "x", int64(1)), row("g", "b", "x", int64(3)), row("g", "c", "x", nil)}},
		{"SELECT x, SUM(x) OVER w AS s FROM d.t WHERE x <= 3 WINDOW w AS (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) ORDER BY x", []map[string]any{row("x", int64(1), "s", int64(1)), row("x", int64(2), "s", int64(3)), row("x", int64(3), "s", int64(5))}},
		{`SELECT x, RANK() OVER w AS r, DENSE_RANK() OVER w AS d, NTILE(2) OVER w AS n, CUME_DIST() OVER w AS c, PERCENT_RANK() OVER w AS p, LEAD(x, 1, 0) OVER w AS l,
			FIRST_VALUE(x) OVER w AS f, LAST_VALUE(x) OVER w AS e, NTH_VALUE(x, 2) OVER w AS s, PERCENTILE_CONT(x, 0.5) OVER () AS m, PERCENTILE_DISC(x, 0.5) OVER () AS q
			FROM d.t WHERE x <= 2 WINDOW w AS (ORDER BY x) ORDER BY x`, []map[string]any{
			row("x", int64(1), "r", int64(1), "d", int64(1), "n", int64(1), "c", 0.5, "p", 0.0, "l", int64(2), "f", int64(1), "e", int64(1), "s", nil, "m", 1.5, "q", int64(1)),
			row("x", int64(2), "r", int64(2), "d", int64(2), "n", int64(2), "c", 1.0, "p", 1.0, "l", int64(0), "f", int64(1), "e", int64(2), "s", int64(2), "m", 1.5, "q", int64(1))}},
		{"SELECT t.x, tag FROM d.t, UNNEST(tags) AS tag ORDER BY x, tag", []map[string]any{row("x", int64(1), "tag", "p"), row("x", int64(1), "tag", "q"), row("x", int64(3), "tag", "p"), row("x", int64(6), "tag", "q")}},
		{"SELECT x, i.k, i.n FROM d.t, t.items AS i ORDER BY n", []map[string]any{row("x", int64(1), "k", "k1", "n", int64(1)), row("x", int64(4), "k", "k2", "n", int64(5)), row("x", int64(4), "k", "k3", "n", int64(6))}},
		{"SELECT x, tag FROM d.t LEFT JOIN UNNEST(tags) AS tag WHERE x < 3 ORDER BY x, tag", []map[string]any{row("x", int64(1), "tag", "p"), row("x", int64(1), "tag", "q"), row("x", int64(2), "tag", nil)}},
		{"SELECT * FROM UNNEST(['a', 'b']) AS v WITH OFFSET ORDER BY offset DESC", []map[string]any{row("v", "b", "offset", int64(1)), row("v", "a", "offset", int64(0))}},
		{"SELECT * FROM UNNEST([STRUCT(1 AS a)]) AS s", []map[string]any{row("s", map[string]any{"a": int64(1)})}},
		{"WITH a AS (SELECT x FROM d.t WHERE x > 4), b AS (SELECT x + 1 AS x FROM a) SELECT a.x FROM a JOIN b USING (x)", []map[string]any{row("x", int64(6))}},
		{"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT SUM(n) AS s FROM r", []map[string]any{row("s", int64(6))}},
		{"SELECT * EXCEPT (tags, items) REPLACE (x * 10 AS x) FROM d.t WHERE x = 1", []map[string]any{row("x", int64(10), "g", "a")}},
		{"SELECT DISTINCT g FROM d.t WHERE g > 'a' ORDER BY 1", []map[string]any{row("g", "b"), row("g", "c")}},
		{"SELECT x FROM d.t WHERE x = (SELECT MAX(x) FROM d.t) OR x IN (SELECT 1) ORDER BY x", []map[string]any{row("x", int64(1)), row("x", int64(6))}},
		{"(SELECT 1 AS a UNION ALL SELECT 1) INTERSECT DISTINCT SELECT 1", []map[string]any{row("a", int64(1))}},
		{"SELECT a.x AS l, b.x AS r FROM d.t a FULL JOIN (SELECT 7 AS x) b ON a.x = b.x WHERE a.x = 6 OR b.x = 7 ORDER BY l", []map[string]any{row("l", nil, "r", int64(7)), row("l", int64(6), "r", nil)}},
		{"SELECT g, GROUPING(g) AS r, COUNT(*) AS n FROM d.t WHERE x < 4 GROUP BY ROLLUP (g) ORDER BY r, g", []map[string]any{row("g", "a", "r", int64(0), "n", int64(2)), row("g", "b", "r", int64(0), "n", int64(1)), row("g", nil, "r", int64(1), "n", int64(3))}},
		{"SELECT g, x, COUNT(*) AS n FROM d.t WHERE x < 2 GROUP BY GROUPING SETS (g, (x), ()) ORDER BY g, x", []map[string]any{row("g", nil, "x", nil, "n", int64(1)), row("g", nil, "x", int64(1), "n", int64(1)), row("g", "a", "x", nil, "n", int64(1))}},
		{"SELECT AS STRUCT g, x FROM d.t WHERE x = 1", []map[string]any{row("g", "a", "x", int64(1))}},
		{"SELECT a.x FROM (SELECT AS STRUCT x FROM d.t WHERE x = 1) AS a", []map[string]any{row("x", int64(1))}},
		{"SELECT table_name, table_type FROM d.INFORMATION_SCHEMA.TABLES", []map[string]any{row("table_name", "t", "table_type", "BASE TABLE")}},
		{"SELECT column_name, data_type FROM d.INFORMATION_SCHEMA.COLUMNS ORDER BY ordinal_position LIMIT 1 OFFSET 3", []map[string]any{row("column_name", "items", "data_type", "ARRAY<STRUCT<k STRING, n INT64>>")}},
		{"SELECT tags, items FROM d.t WHERE x IS NULL", []map[string]any{row("tags", []any{}, "items", []any{})}},
		{"SELECT schema_name FROM INFORMATION_SCHEMA.SCHEMATA", []map[string]any{row("schema_name", "d")}},
		{"SELECT view_definition FROM d.INFORMATION_SCHEMA.VIEWS", []map[string]any{}},
	} {
		rows, err := s.Query(ctx, tt.sql)
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if diff := cmp.Diff(tt.want, rows); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.sql, diff)
		}
	}
}

// TestMerge runs a weekly rollup as MERGE, by BigQuery's client.
func TestMerge(t *testing.T) {
	s := start(t, Options{})
	c := restClient(t, s)
	for _, sql := range []string{
		"CREATE SCHEMA d",
		"CREATE TABLE d.days (day DATE, g STRING, n INT64)",
		"INSERT INTO d.days VALUES (DATE '2024-02-26', 'a', 1), (DATE '2024-03-03', 'a', 2), (DATE '2024-03-04', 'a', 4), (DATE '2024-03-04', 'b', 8)",
		"CREATE TABLE d.weeks (week DATE, g STRING, n INT64)",
		"INSERT INTO d.weeks VALUES (DATE '2024-02-26', 'a', 99), (DATE '2024-02-19', 'old', 7), (DATE '2024-02-12', 'older', 7)",
	} {
		if _, err := s.Query(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	const merge = `MERGE INTO d.weeks AS w
		USING (SELECT DATE_TRUNC(day, WEEK(MONDAY)) AS week, g, SUM(n) AS n FROM d.days GROUP BY week, g) AS s
		ON w.week = s.week AND w.g = s.g
		WHEN MATCHED THEN UPDATE SET w.n = s.n
		WHEN NOT MATCHED THEN INSERT (week, g, n) VALUES (s.week, s.g, s.n)
		WHEN NOT MATCHED BY SOURCE AND w.week < DATE '2024-02-19' THEN DELETE`
	for range 2 { // again changes nothing
		queryAll(t, c, merge)
		got := queryAll(t, c, "SELECT CAST(week AS STRING) AS week, g, n FROM d.weeks ORDER BY week, g")
		want := []map[string]bigquery.Value{
			{"week": "2024-02-19", "g": "old", "n": int64(7)}, {"week": "2024-02-26", "g": "a", "n": int64(3)},
			{"week": "2024-03-04", "g": "a", "n": int64(4)}, {"week": "2024-03-04", "g": "b", "n": int64(8)},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	job, err := c.Query("MERGE d.weeks AS w USING d.days AS s ON w.week = s.day AND w.g = s.g WHEN MATCHED THEN UPDATE SET n = 0").Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	status, err := job.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if q, ok := status.Statistics.Details.(*bigquery.QueryStatistics); !ok || q.NumDMLAffectedRows != 3 || q.StatementType != "MERGE" {
		t.Errorf("statistics %+v", status.Statistics.Details)
	}

	for _, sql := range []string{
		"MERGE d.weeks AS w USING d.days AS s ON w.g = s.g WHEN MATCHED THEN DELETE",
		"MERGE d.weeks AS w USING d.days AS s ON w.g = s.g WHEN MATCHED AND s.n > 1 THEN UPDATE SET n = s.n",
		"UPDATE d.weeks AS w SET n = s.n FROM d.days AS s WHERE w.g = s.g",
	} {
		_, err := tryQuery(t, c, sql)
		wantError(t, err, "must match at most one source row for each target row")
	}
	for _, sql := range []string{ // one source row at most, or no change
		"MERGE d.weeks AS w USING d.days AS s ON w.g = s.g WHEN MATCHED AND s.n = 1 THEN UPDATE SET n = s.n",
		"MERGE d.weeks AS w USING d.days AS s ON w.g = s.g WHEN NOT MATCHED THEN INSERT ROW",
		"UPDATE d.weeks AS w SET n = s.n FROM d.days AS s WHERE w.g = s.g AND s.n = 8",
	} {
		queryAll(t, c, sql)
	}
}

// TestWildcardTables reads the tables of one prefix, by BigQuery's client.
func TestWildcardTables(t *testing.T) {
	s := start(t, Options{})
	c := restClient(t, s)
	for _, sql := range []string{
		"CREATE SCHEMA d",
		"CREATE TABLE d.impressions_acme AS SELECT 1 AS x, 'a' AS g",
		"CREATE TABLE d.impressions_zeta AS SELECT 2 AS x, 'z' AS g, TRUE AS more",
		"CREATE TABLE d.other AS SELECT 3 AS x",
		"CREATE VIEW d.unique_impressions AS SELECT 9 AS x",
		"CREATE VIEW d.all AS SELECT * FROM `d.impressions_*`",
		"CREATE VIEW d.suffixes AS SELECT _TABLE_SUFFIX AS suffix, COUNT(*) AS n FROM `d.impressions_*` GROUP BY suffix",
	} {
		if _, err := s.Query(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, tt := range []struct {
		sql  string
		want []map[string]bigquery.Value
	}{
		{"SELECT * FROM `d.impressions_*` ORDER BY x", []map[string]bigquery.Value{{"x": int64(1), "g": "a", "more": nil}, {"x": int64(2), "g": "z", "more": true}}},
		{"SELECT _TABLE_SUFFIX AS s, COUNT(*) AS n FROM `d.impressions_*` WHERE _TABLE_SUFFIX != 'zeta' GROUP BY s", []map[string]bigquery.Value{{"s": "acme", "n": int64(1)}}},
		{"SELECT i.* EXCEPT (more) FROM `" + s.Project() + ".d.impressions_*` AS i WHERE _TABLE_SUFFIX = 'zeta'", []map[string]bigquery.Value{{"x": int64(2), "g": "z"}}},
		{"SELECT SUM(x) AS n FROM `d.o*`", []map[string]bigquery.Value{{"n": int64(3)}}},
		{"SELECT * FROM d.all ORDER BY x", []map[string]bigquery.Value{{"x": int64(1), "g": "a", "more": nil}, {"x": int64(2), "g": "z", "more": true}}},
	} {
		if diff := cmp.Diff(tt.want, queryAll(t, c, tt.sql)); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.sql, diff)
		}
	}
	_, err := tryQuery(t, c, "SELECT * FROM `d.clicks_*`")
	wantError(t, err, "does not match any table")
	// BigQuery refuses a prefix that a view has too.
	_, err = tryQuery(t, c, "SELECT * FROM `d.un*`")
	wantError(t, err, "Views cannot be queried through prefix. First view "+s.Project()+":d.unique_impressions")

	// A view has the tables that are there when it is read.
	suffixes := func() (found []string) {
		t.Helper()
		for _, row := range queryAll(t, c, "SELECT suffix FROM d.suffixes ORDER BY suffix") {
			found = append(found, row["suffix"].(string))
		}
		return found
	}
	queryAll(t, c, "CREATE TABLE d.impressions_beta AS SELECT 4 AS x, 'b' AS g")
	if diff := cmp.Diff([]string{"acme", "beta", "zeta"}, suffixes()); diff != "" {
		t.Error(diff)
	}
	queryAll(t, c, "DROP TABLE d.impressions_acme")
	if diff := cmp.Diff([]string{"beta", "zeta"}, suffixes()); diff != "" {
		t.Error(diff)
	}
}
