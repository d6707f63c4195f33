package googlesql

import (
	"errors"
	"strings"
	"testing"
)

var testOptions = Options{
	Dataset: "d", Project: "p-1",
	Named:      map[string]Value{"x": {"CAST(5 AS BIGINT)", Int64}},
	Positional: []Value{{"'one'", String}, {"'two'", String}},
	Tables: func(dataset string) (tables, views []string) {
		if dataset == "d" {
			return []string{"other", "w_1", "w_2"}, []string{"v_1"}
		}
		return nil, nil
	},
	Information: func(dataset, view string) (string, bool) {
		return "SELECT '" + dataset + "." + view + "'", view == "TABLES"
	},
}

// TestTranslate fixes the shape of translations; what they mean is tested by
// running them, in package bigqueryd.
func TestTranslate(t *testing.T) {
	for _, tt := range []struct{ sql, want string }{
		{"SELECT 1", `SELECT 1 AS "f0_"`},
		{"select a, t.b, s.c.d e from t", `SELECT "a" AS "a", "t"."b" AS "b", "s"."c"."d" AS "e" FROM "d"."t" AS "t"`},
		{"SELECT 1, 2 AS x, 3,", `SELECT 1 AS "f0_", 2 AS "x", 3 AS "f1_"`},
		{"SELECT * FROM `p-1.q.t`", `SELECT * FROM "q"."t" AS "t"`},
		{"SELECT * FROM `p-1`.`q`.t u", `SELECT * FROM "q"."t" AS "u"`},
		{"SELECT * FROM p-1.q.t", `SELECT * FROM "q"."t" AS "t"`},
		{"SELECT * FROM q.INFORMATION_SCHEMA.TABLES", `SELECT * FROM (SELECT 'q.TABLES') AS "TABLES"`},
		{"WITH a AS (SELECT 1 x) SELECT * FROM a", `WITH "a" AS (SELECT 1 AS "x") SELECT * FROM "a" AS "a"`},
		{"SELECT * EXCEPT (a, b) REPLACE (c + 1 AS c) FROM t", `SELECT * EXCLUDE ("a", "b") REPLACE (("c" + 1) AS "c") FROM "d"."t" AS "t"`},
		{"SELECT t.* EXCEPT (a) FROM t", `SELECT "t".* EXCLUDE ("a") FROM "d"."t" AS "t"`},
		{"SELECT a FROM t ORDER BY a, b DESC LIMIT 10 OFFSET 5", `SELECT "a" AS "a" FROM "d"."t" AS "t" ORDER BY "a" ASC NULLS FIRST, "b" DESC NULLS LAST LIMIT 10 OFFSET 5`},
		{"SELECT a + 1 AS a, COUNT(*) n FROM t GROUP BY a HAVING n > 1", `SELECT ("a" + 1) AS "a", count(*) AS "n" FROM "d"."t" AS "t" GROUP BY ("a" + 1) HAVING ("n" > 1)`},
		{"SELECT a FROM t LEFT JOIN u ON t.a = u.a JOIN v USING (a, b), w", `SELECT "a" AS "a" FROM "d"."t" AS "t" LEFT JOIN "d"."u" AS "u" ON ("t"."a" = "u"."a") INNER JOIN "d"."v" AS "v" USING ("a", "b") CROSS JOIN "d"."w" AS "w"`},
		{"SELECT x FROM t, t.xs AS x", `SELECT "x" AS "x" FROM "d"."t" AS "t" CROSS JOIN LATERAL (SELECT unnest("t"."xs") AS "x") AS "unnest x"`},
		{"SELECT COUNTIF(a > 0), COUNT(DISTINCT b)", `SELECT count(*) FILTER (WHERE ("a" > 0)) AS "f0_", count(DISTINCT "b") AS "f1_"`},
		{"SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM t QUALIFY RANK() OVER w = 1 WINDOW w AS (ORDER BY a)",
			`SELECT row_number() OVER (PARTITION BY "a" ORDER BY "b" ASC NULLS FIRST) AS "f0_" FROM "d"."t" AS "t" WINDOW "w" AS (ORDER BY "a" ASC NULLS FIRST) QUALIFY (rank() OVER "w" = 1)`},
		{"SELECT @X, ?, ?", `SELECT CAST(5 AS BIGINT) AS "f0_", 'one' AS "f1_", 'two' AS "f2_"`},
		{"# c\nSELECT /* c */ 1 -- c\n;", `SELECT 1 AS "f0_"`},
		{"(SELECT 1 AS a) UNION ALL (SELECT 2) ORDER BY a", `(SELECT 1 AS "a") UNION ALL (SELECT 2 AS "f0_") ORDER BY "a" ASC NULLS FIRST`},
		{"SELECT a FROM t EXCEPT DISTINCT SELECT b FROM u", `SELECT "a" AS "a" FROM "d"."t" AS "t" EXCEPT SELECT "b" AS "b" FROM "d"."u" AS "u"`},
		{"SELECT TIMESTAMP_TRUNC(ts, MINUTE)", `SELECT make_timestamptz((epoch_us("ts") - ((epoch_us("ts") % 60000000) + 60000000) % 60000000)) AS "f0_"`},
		{"SELECT TIMESTAMP '2024-01-02 03:04:05.6+01'", `SELECT make_timestamptz(1704161045600000) AS "f0_"`},
		{"SELECT a IN UNNEST([1, 2])", `SELECT ("a" IN (SELECT unnest([1, 2]))) AS "f0_"`},
		{"SELECT a NOT IN (SELECT b FROM u)", `SELECT ("a" NOT IN (SELECT "b" AS "b" FROM "d"."u" AS "u")) AS "f0_"`},
		{"SELECT JSON_QUERY(j, \"$.a['b c'][2].d\")", `SELECT json_extract("j", '$."a"."b c"[2]."d"') AS "f0_"`},
		{"SELECT -a.b[OFFSET(0)].c", `SELECT (-(CASE WHEN (0 + 1) < 1 OR (0 + 1) > array_length("a"."b") THEN error('Array index is out of bounds') ELSE ("a"."b")[(0 + 1)] END)."c") AS "f0_"`},
		{"SELECT a OR b AND NOT c = d", `SELECT ("a" OR ("b" AND (NOT ("c" = "d")))) AS "f0_"`},
		{"SELECT 1 + 2 * 3 - 4", `SELECT (CAST((CAST(1 AS BIGINT) + (CAST(2 AS BIGINT) * 3)) AS BIGINT) - 4) AS "f0_"`},
		{"SELECT STRUCT(a, 1 AS b, 2)", `SELECT struct_pack("a" := "a", "b" := 1, "_field_3" := 2) AS "f0_"`},
		{"SELECT * EXCEPT (a), _TABLE_SUFFIX AS s FROM `w_*`", `SELECT * EXCLUDE ("a", "_TABLE_SUFFIX"), "_TABLE_SUFFIX" AS "s" FROM (SELECT *, '1' AS "_TABLE_SUFFIX" FROM "d"."w_1" UNION ALL BY NAME SELECT *, '2' AS "_TABLE_SUFFIX" FROM "d"."w_2") AS "w_*"`},
		{"SELECT * FROM a FULL OUTER UNION ALL BY NAME SELECT * FROM b", `SELECT * FROM "d"."a" AS "a" UNION ALL BY NAME SELECT * FROM "d"."b" AS "b"`},
		{"SELECT x FROM a FULL UNION ALL BY NAME (SELECT x FROM b FULL JOIN c USING (x))", `SELECT "x" AS "x" FROM "d"."a" AS "a" UNION ALL BY NAME (SELECT "x" AS "x" FROM "d"."b" AS "b" FULL JOIN "d"."c" AS "c" USING ("x"))`},
		{"SELECT u.*, x.* FROM t AS u, `d.w_2*` AS x", `SELECT "u".*, "x".* EXCLUDE ("_TABLE_SUFFIX") FROM "d"."t" AS "u" CROSS JOIN (SELECT *, '' AS "_TABLE_SUFFIX" FROM "d"."w_2") AS "x"`},
		{"SELECT a AS x, SUM(b) FROM t GROUP BY ROLLUP (x, (c)), GROUPING SETS (x, ())", `SELECT "a" AS "x", sum("b") AS "f0_" FROM "d"."t" AS "t" GROUP BY ROLLUP ("a", ("c")), GROUPING SETS ("a", ())`},
		{"SELECT AS STRUCT a, 1 FROM t", `SELECT "a" AS "a", 1 AS "f0_" FROM "d"."t" AS "t"`},
		{"SELECT ARRAY(SELECT AS STRUCT a, 1 AS b FROM t ORDER BY b, c)", `SELECT ARRAY(SELECT struct_pack("a" := "a", "b" := 1) FROM "d"."t" AS "t" ORDER BY 1 ASC NULLS FIRST, "c" ASC NULLS FIRST) AS "f0_"`},
		{"SELECT STRUCT<a INT64, b STRING>(1, 'x')", `SELECT CAST(row(1, 'x') AS STRUCT("a" BIGINT, "b" VARCHAR)) AS "f0_"`},
		{"SELECT ANY_VALUE(a HAVING MAX b)", `SELECT arg_max_null("a", "b") AS "f0_"`},
		{"SELECT HLL_COUNT.MERGE(s), HLL_COUNT.INIT(a, 12)", `SELECT hll_count_merge(list("s")) AS "f0_", hll_count_init(list("a"), 12) AS "f1_"`},
		{"SELECT IF(a, 1, 2), SAFE.LN(x)", `SELECT (CASE WHEN "a" THEN 1 ELSE 2 END) AS "f0_", TRY(ln("x")) AS "f1_"`},
	} {
		st, err := Translate(tt.sql, testOptions)
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if st.SQL != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.sql, st.SQL, tt.want)
		}
	}
}

func TestLiterals(t *testing.T) {
	for _, tt := range []struct{ sql, want string }{
		{`"a\tb"`, "'a\tb'"}, {`'\\d'`, `'\d'`}, {`r'\d'`, `'\d'`}, {"'''x\n'y'''", "'x\n''y'"}, {`"""a"b"""`, `'a"b'`},
		{`b'\xff\000a'`, `CAST('\xFF\x00\x61' AS BLOB)`}, {`rb"\x"`, `CAST('\x5C\x78' AS BLOB)`}, {`'\u00e9\U0001F600\101'`, "'é😀A'"},
		{`'a\000b'`, `decode(CAST('\x61\x00\x62' AS BLOB))`}, {`'\''`, `''''`}, {"1.5", "CAST(1.5 AS DOUBLE)"}, {".5e-3", "CAST(.5e-3 AS DOUBLE)"},
		{"0xFF", "CAST(255 AS BIGINT)"}, {"007", "7"}, {"DATE '2024-02-29'", "CAST('2024-02-29' AS DATE)"},
		{"INTERVAL 3 DAY", "to_microseconds(CAST(3 AS BIGINT) * 86400000000)"}, {"INTERVAL 2 QUARTER", "to_months(CAST(2 AS INTEGER) * 3)"},
	} {
		st, err := Translate("SELECT "+tt.sql+" AS x", testOptions)
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if want := "SELECT " + tt.want + ` AS "x"`; st.SQL != want {
			t.Errorf("%s: got %s, want %s", tt.sql, st.SQL, want)
		}
	}
}

func TestRefuse(t *testing.T) {
	for _, tt := range []struct{ sql, part string }{
		{"", "Unexpected end of statement"},
		{"SELECT", "Expected an expression but got end of statement at [1:7]"},
		{"SELECT 1; SELECT 2", "scripts are not supported"},
		{"SELECT FARM_FINGERPRINT(a) FROM t", "Function FARM_FINGERPRINT is not supported by the local stand-in at [1:8]"},
		{"SELECT\n  read_csv('/etc/passwd')", "Function READ_CSV is not supported by the local stand-in at [2:3]"},
		{"SELECT * FROM read_csv('/etc/passwd')", "Table function read_csv"},
		{"SELECT `getenv`('HOME')", "Function getenv"},
		{"SELECT NET.REG_DOMAIN(u) FROM t", "Function NET.REG_DOMAIN"},
		{"SELECT HLL_COUNT.MERGE(s) OVER () FROM t", "OVER in HLL_COUNT.MERGE"},
		{"SELECT * FROM '/etc/passwd'", "Expected a table name"},
		{"SELECT a::INT64 FROM t", "Syntax error"},
		{"SELECT * FROM other.q.t", "Not found: Project other"},
		{"SELECT * FROM a.b.c.d", "Invalid table name"},
		{"SELECT * FROM `q.t_*`", "Not found: q.t_* does not match any table"},
		{"SELECT AS VALUE 1", "SELECT AS VALUE outside"},
		{"SELECT ARRAY(SELECT AS VALUE 1, 2)", "exactly one column"},
		{"SELECT ARRAY(SELECT AS STRUCT * FROM t)", "* in SELECT AS STRUCT"},
		{"SELECT ARRAY(SELECT AS x FROM t)", "Expected STRUCT or VALUE"},
		{"SELECT STRUCT<a INT64>(1, 2)", "has 1 fields but constructor call has 2"},
		{"SELECT SUM(a HAVING MAX b) FROM t", "HAVING in SUM"},
		{"SELECT ANY_VALUE(a HAVING b) FROM t", "Expected MAX or MIN"},
		{"SELECT STRING(a) FROM t", "STRING of what is not known"},
		{"SELECT * FROM t TABLESAMPLE SYSTEM (1 PERCENT)", "TABLESAMPLE"},
		{"SELECT * FROM t FOR SYSTEM_TIME AS OF x", "FOR SYSTEM_TIME"},
		{"SELECT * FROM t |> WHERE a", "Pipe syntax"},
		{"SELECT a FROM t UNION SELECT b FROM u", "Expected ALL or DISTINCT"},
		{"SELECT 1 UNION ALL SELECT 2 UNION DISTINCT SELECT 3", "Different set operations"},
		{"SELECT TIMESTAMP_TRUNC(a, DAY, '+02:00')", "time zone"},
		{"SELECT TIMESTAMP_TRUNC(a, DAY, 'Etc/GMT-2')", "time zone"},
		{"SELECT TIMESTAMP_TRUNC(a, HOUR, 'Europe/Berlin')", "by HOUR in a time zone"},
		{"SELECT FORMAT_TIMESTAMP('%H %Z', a, 'Europe/Berlin')", "element of the time zone"},
		{"SELECT TIMESTAMP(a, 'Europe/Berlin')", "not known to be a DATE"},
		{"SELECT DATE_TRUNC(a, WEEK(NOON))", "weekday"},
		{"SELECT DATE_ADD(a, INTERVAL 1 WEEK(MONDAY))", "Expected )"},
		{"SELECT TIMESTAMP_DIFF(a, b, MONTH)", "MONTH"},
		{"SELECT DATE_TRUNC(a, HOUR)", "HOUR"},
		{"SELECT FORMAT_TIMESTAMP('%Q', a)", "%Q"},
		{"SELECT JSON_VALUE(j, '$.a[*]')", "JSON path"},
		{"SELECT JSON_VALUE(j, p)", "path that is not a literal"},
		{"SELECT j['a'] FROM t", "JSON subscript"},
		{"SELECT REGEXP_EXTRACT(a, '(a)(b)')", "more than 1 capturing group"},
		{"SELECT REGEXP_EXTRACT(a, b)", "not a literal"},
		{"SELECT CAST(a AS GEOGRAPHY)", "GEOGRAPHY"},
		{"SELECT CAST(a AS STRING FORMAT 'x')", "FORMAT"},
		{"SELECT LOWER(a, b)", "No matching signature for function LOWER"},
		{"SELECT LOWER(DISTINCT a)", "DISTINCT"},
		{"SELECT ROW_NUMBER()", "OVER"},
		{"SELECT SUM(a ORDER BY b)", "ORDER BY"},
		{"SELECT @y", "'y' not found"},
		{"SELECT ?, ?, ?", "parameter number 3"},
		{"SELECT 'a", "Unclosed string literal"},
		{"SELECT 'a\nb'", "Unclosed string literal"},
		{"SELECT '\\q'", "Illegal escape"},
		{"SELECT '\\400'", "Illegal escape"},
		{"SELECT /* x", "Unclosed comment"},
		{"SELECT 12abc", "Missing whitespace"},
		{"SELECT $1", "Illegal input character"},
		{"SELECT 99999999999999999999", "Invalid integer literal"},
		{"SELECT TIMESTAMP 'yesterday'", "Invalid literal"},
		{"SELECT @@time_zone", "system variable"},
		{"DELETE FROM t", "Expected WHERE"},
		{"MERGE t USING u ON a", "Expected WHEN"},
		{"MERGE t USING u ON a WHEN OTHER THEN DELETE", "Expected MATCHED or NOT MATCHED"},
		{"MERGE t USING u ON a WHEN NOT MATCHED THEN DELETE", "DELETE is not allowed"},
		{"MERGE t USING u ON a WHEN MATCHED THEN INSERT ROW", "INSERT is only allowed"},
		{"MERGE t USING u ON a WHEN MATCHED THEN UPDATE SET a.b = 1", "field of a STRUCT"},
		{"MERGE t USING u ON a WHEN NOT MATCHED THEN INSERT (a) ROW", "named columns with ROW"},
		{"PRAGMA version", "Statement PRAGMA"},
		{"COPY t TO 'x'", "Statement COPY"},
		{"ATTACH 'x'", "Statement ATTACH"},
		{"CREATE FUNCTION f() AS (1)", "CREATE FUNCTION"},
		{"ALTER TABLE t DROP COLUMN a", "ALTER TABLE other than ADD COLUMN"},
		{"CREATE TABLE t (a GEOGRAPHY)", "GEOGRAPHY"},
		{"SELECT " + strings.Repeat("(", 100_000), "nested too deeply"},
		{"SELECT " + strings.Repeat("- ", 99_999) + " 1", "nested too deeply"},
		{"SELECT " + strings.Repeat("NOT ", 100_000), "nested too deeply"},
		{"SELECT * FROM " + strings.Repeat("(", 100_000), "nested too deeply"},
		{"CREATE TABLE t (a " + strings.Repeat("STRUCT<a ", 100_000), "nested too deeply"},
	} {
		st, err := Translate(tt.sql, testOptions)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.80s: %v, %v; want an *Error with %q", tt.sql, st, err, tt.part)
			continue
		}
		if !strings.Contains(err.Error(), tt.part) {
			t.Errorf("%.80s: %v; want %q", tt.sql, err, tt.part)
		}
	}
}

func TestStatements(t *testing.T) {
	for _, tt := range []struct {
		sql    string
		kind   Kind
		target Table
		want   string
	}{
		{"INSERT INTO q.t (a, b) VALUES (1, 'x'), (2, NULL)", Insert, Table{"p-1", "q", "t"}, `INSERT INTO "q"."t" ("a", "b") VALUES (1, 'x'), (2, NULL)`},
		{"INSERT t SELECT * FROM u", Insert, Table{"p-1", "d", "t"}, `INSERT INTO "d"."t" SELECT * FROM "d"."u" AS "u"`},
		{"DELETE t WHERE a = 1", Delete, Table{"p-1", "d", "t"}, `DELETE FROM "d"."t" AS "t" WHERE ("a" = 1)`},
		{"UPDATE t SET a = 1, b = a + 1 WHERE TRUE", Update, Table{"p-1", "d", "t"}, `UPDATE "d"."t" AS "t" SET "a" = 1, "b" = ("a" + 1) WHERE TRUE`},
		{"MERGE INTO t USING u ON t.a = u.a WHEN MATCHED AND u.b THEN UPDATE SET t.b = u.b, c = 1 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (a, b) VALUES (u.a, u.b) WHEN NOT MATCHED BY SOURCE THEN DELETE", Merge, Table{"p-1", "d", "t"},
			`MERGE INTO "d"."t" AS "t" USING "d"."u" AS "u" ON ("t"."a" = "u"."a") WHEN MATCHED AND "u"."b" THEN UPDATE SET "b" = "u"."b", "c" = 1 WHEN MATCHED THEN DELETE WHEN NOT MATCHED BY TARGET THEN INSERT ("a", "b") VALUES ("u"."a", "u"."b") WHEN NOT MATCHED BY SOURCE THEN DELETE`},
		{"MERGE t AS x USING (SELECT 1 AS a) AS y ON FALSE WHEN NOT MATCHED THEN INSERT ROW", Merge, Table{"p-1", "d", "t"}, `MERGE INTO "d"."t" AS "x" USING (SELECT 1 AS "a") AS "y" ON FALSE WHEN NOT MATCHED BY TARGET THEN INSERT *`},
		{"TRUNCATE TABLE t", Truncate, Table{"p-1", "d", "t"}, `DELETE FROM "d"."t"`},
		{"CREATE TABLE q.t (a STRING NOT NULL OPTIONS(description='x'), b ARRAY<STRUCT<c INT64, d ARRAY<DATE>>>) PARTITION BY DATE(a) CLUSTER BY b OPTIONS(x=(1))", CreateTable, Table{"p-1", "q", "t"}, ""},
		{"CREATE OR REPLACE TABLE t AS SELECT 1 AS a", CreateTable, Table{"p-1", "d", "t"}, `SELECT 1 AS "a"`},
		{"CREATE OR REPLACE VIEW v AS SELECT 1 AS a;", CreateView, Table{"p-1", "d", "v"}, `SELECT 1 AS "a"`},
		{"CREATE SCHEMA IF NOT EXISTS q", CreateDataset, Table{"p-1", "q", ""}, ""},
		{"DROP TABLE IF EXISTS q.t", DropTable, Table{"p-1", "q", "t"}, ""},
		{"DROP VIEW v", DropView, Table{"p-1", "d", "v"}, ""},
		{"DROP SCHEMA q CASCADE", DropDataset, Table{"p-1", "q", ""}, ""},
		{"ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT64, ADD COLUMN b STRING", AddColumns, Table{"p-1", "d", "t"}, ""},
	} {
		st, err := Translate(tt.sql, testOptions)
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if st.Kind != tt.kind || st.Target != tt.target || st.SQL != tt.want {
			t.Errorf("%s: %d %v %s", tt.sql, st.Kind, st.Target, st.SQL)
		}
		if tt.kind == CreateView && st.Source != "SELECT 1 AS a" {
			t.Errorf("source %q", st.Source)
		}
	}
}

// FuzzTranslate: any text is translated or refused; what is translated names no
// function that is not on the list.
func FuzzTranslate(f *testing.F) {
	for _, seed := range []string{
		"SELECT * EXCEPT (a) FROM `p-1.q.t`, UNNEST(b) AS c WITH OFFSET o WHERE x IN (1, 2) GROUP BY 1",
		"WITH a AS (SELECT TIMESTAMP_TRUNC(t, DAY) d FROM x) SELECT d, COUNT(*) FROM a QUALIFY RANK() OVER (ORDER BY d) = 1",
		"INSERT INTO t VALUES (r'''x''', b\"\\x00\", @x, ?)", "CREATE TABLE t (a ARRAY<STRUCT<b INT64>>)", "SELECT CASE WHEN a THEN 1 END, [1][OFFSET(0)]", "SELECT`\x00`",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		st, err := Translate(sql, testOptions)
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Line < 1 || e.Column < 1) {
			t.Fatalf("%q: %v", sql, err)
		}
		if err == nil && strings.Contains(st.SQL, "\x00") {
			t.Fatalf("%q: a NUL would end the statement: %q", sql, st.SQL)
		}
	})
}
