package sqlcheck

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pixelbeam/schemas"
)

const (
	root    = "../.."
	dataset = "p-test.ads"
)

// bigQuery returns an analyzer with all tables and, in their order, views: by their
// full names, and by their own, as in a query with a default dataset.
func bigQuery(t *testing.T, views []schemas.View) *Analyzer {
	t.Helper()
	a, err := NewAnalyzer()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range append(schemas.Tables(), schemas.GroupSeed()) {
		if err := a.Table(table.Columns, names(table.Name)...); err != nil {
			t.Fatalf("table %s: %v", table.Name, err)
		}
	}
	// Here a wildcard is a name like any other.
	if err := a.Table(schemas.GroupSeed().Columns, names(schemas.GroupTable("*"))...); err != nil {
		t.Fatal(err)
	}
	for _, view := range views {
		if err := a.Define(view.In(dataset), names(view.Name)...); err != nil {
			t.Errorf("view %s: %v", view.Name, err)
		}
	}
	for _, name := range []string{"from", "to"} {
		if err := a.Parameter(name, "TIMESTAMP"); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func names(table string) []string { return []string{table, dataset + "." + table} }

var update = flag.Bool("update", false, "write testdata/views.golden anew")

// Every view has the columns that the file says. It is what readers of the views
// rely on: a change here is a change for them. The local BigQuery is compared with the
// same file.
//
//	make check-sql SQLFLAGS=-update
func TestViews(t *testing.T) {
	const golden = "testdata/views.golden"
	a := bigQuery(t, schemas.Views())
	var b strings.Builder
	for _, view := range schemas.Views() {
		kind, columns, err := a.Analyze(view.In(dataset))
		if err != nil {
			t.Errorf("%s: %v", view.Name, err)
			continue
		}
		if kind != "QueryStmt" {
			t.Errorf("%s is a %s", view.Name, kind)
		}
		for _, c := range columns {
			fmt.Fprintf(&b, "%s.%s %s\n", view.Name, c.Name, c.Type)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("columns of views (-want +got):\n%s", diff)
	}
}

// Views over tables of groups have the same columns.
func TestGroupedViews(t *testing.T) {
	plain, grouped := bigQuery(t, schemas.Views()), bigQuery(t, schemas.GroupedViews())
	for i, view := range schemas.GroupedViews() {
		_, want, err := plain.Analyze(schemas.Views()[i].In(dataset))
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := grouped.Analyze(view.In(dataset))
		if err != nil {
			t.Errorf("%s: %v", view.Name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s -plain +grouped\n%s", view.Name, diff)
		}
	}
}

// A column of impressions is one of impressions_unique, of the same type.
func TestUniqueHasAllColumns(t *testing.T) {
	a := bigQuery(t, schemas.Views())
	columns := map[string][]Column{}
	for _, name := range []string{"impressions", "impressions_unique"} {
		_, c, err := a.Analyze("SELECT * FROM " + name)
		if err != nil {
			t.Fatal(err)
		}
		columns[name] = c
	}
	if diff := cmp.Diff(columns["impressions"], columns["impressions_unique"]); diff != "" || len(columns["impressions"]) < 40 {
		t.Errorf("%d columns, -impressions +impressions_unique\n%s", len(columns["impressions"]), diff)
	}
}

// Every SQL file is a view or a statement that is analysed.
func TestStatements(t *testing.T) {
	a := bigQuery(t, schemas.Views())
	kinds := map[string]string{}
	for _, s := range schemas.ScheduledStatements() {
		kind, _, err := a.Analyze(s.In(dataset))
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		kinds[s.Name] = kind
	}
	if kinds["weekly_rollup"] != "MergeStmt" {
		t.Errorf("weekly_rollup is a %q", kinds["weekly_rollup"])
	}
	for _, v := range schemas.Views() {
		kinds[v.Name] = "view"
	}
	files, err := filepath.Glob(root + "/schemas/bigquery/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sql")
		if kinds[name] != "" {
			continue
		}
		// A statement for people to run.
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.Analyze(schemas.View{Query: string(text)}.In(dataset)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// The rollup sets every column of its table.
func TestRollupSetsAllColumns(t *testing.T) {
	table, ok := schemas.LookupTable("impression_counts_weekly")
	if !ok {
		t.Fatal("there is no table impression_counts_weekly")
	}
	statements := schemas.ScheduledStatements()
	i := slices.IndexFunc(statements, func(s schemas.Scheduled) bool { return s.Name == "weekly_rollup" })
	inserted := regexp.MustCompile(`(?s)INSERT \((.*?)\)`).FindStringSubmatch(statements[i].Query)
	var want []string
	for _, c := range table.Columns {
		want = append(want, c.Name)
	}
	if diff := cmp.Diff(want, strings.FieldsFunc(inserted[1], func(r rune) bool { return strings.ContainsRune(", \n", r) })); diff != "" {
		t.Errorf("-table +inserted\n%s", diff)
	}
}

var beginning = regexp.MustCompile(`^(?i:SELECT|WITH|MERGE|INSERT|UPDATE|DELETE)\s`)

// Every SQL text in the sources of pixelctl is analysed.
func TestCommands(t *testing.T) {
	a := bigQuery(t, schemas.Views())
	files, err := filepath.Glob(root + "/cmd/pixelctl/*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var trees []*ast.File
	texts := map[string]string{} // of constants
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree)
		ast.Inspect(tree, func(node ast.Node) bool {
			if spec, ok := node.(*ast.ValueSpec); ok {
				for i, value := range spec.Values {
					if s, ok := text(value, nil); ok {
						texts[spec.Names[i].Name] = s
					}
				}
			}
			return true
		})
	}
	b, err := os.ReadFile(root + "/cmd/pixelctl/testdata/queries.sql")
	if err != nil {
		t.Fatal(err)
	}
	built := strings.Split(strings.TrimSuffix(string(b), ";\n"), ";\n")
	for _, sql := range built {
		if _, _, err := a.Analyze(sql); err != nil {
			t.Errorf("%v\n%s", err, sql)
		}
	}
	n := len(built)
	for _, tree := range trees {
		ast.Inspect(tree, func(node ast.Node) bool {
			e, ok := node.(ast.Expr)
			if !ok {
				return true
			}
			sql, ok := text(e, texts)
			if first := leftmost(e); !ok && beginning.MatchString(first) {
				if !slices.ContainsFunc(built, func(sql string) bool { return strings.HasPrefix(sql, first) }) {
					t.Errorf("%v: a statement is put together at run time: give it to TestBuiltQueries of pixelctl too", set.Position(e.Pos()))
				}
				return false
			}
			if !ok || !beginning.MatchString(sql) {
				return true
			}
			n++
			if _, _, err := a.Analyze(sql); err != nil {
				t.Errorf("%v: %v\n%s", set.Position(e.Pos()), err, sql)
			}
			return false
		})
	}
	// Four of the ledger, six of restate.
	if n < 10 {
		t.Errorf("%d statements were found, want 10 and more", n)
	}
}

// text returns the value of a string literal, of a constant, or of several with +
// between.
func text(e ast.Expr, constants map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.Ident:
		s, ok := constants[e.Name]
		return s, ok
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		x, ok1 := text(e.X, constants)
		y, ok2 := text(e.Y, constants)
		return x + y, ok1 && ok2 && e.Op == token.ADD
	}
	return "", false
}

// leftmost returns the string literal that an expression begins with.
func leftmost(e ast.Expr) string {
	for {
		sum, ok := e.(*ast.BinaryExpr)
		if !ok {
			s, _ := text(e, nil)
			return s
		}
		e = sum.X
	}
}

// Every SQL block of the documentation is analysed.
func TestDocuments(t *testing.T) {
	a := bigQuery(t, schemas.Views())
	block := regexp.MustCompile("(?s)```sql\n(.*?)```")
	command := regexp.MustCompile(`pixelctl query "([^"]+)"`)
	n := 0
	for _, pattern := range []string{"README.md", "docs/*.md", "infra/README.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range append(block.FindAllStringSubmatch(string(b), -1), command.FindAllStringSubmatch(string(b), -1)...) {
				n++
				if _, _, err := a.Analyze(m[1]); err != nil {
					t.Errorf("%s: %v\n%s", file, err, m[1])
				}
			}
		}
	}
	if n < 15 {
		t.Errorf("%d statements were found, want 15 and more", n)
	}
}

// What Terraform makes of views for an advertiser (infra/modules/warehouse) is
// analysed, plain and with tables of groups.
func TestAdvertiserViews(t *testing.T) {
	source := regexp.MustCompile("`\\$\\{dataset\\}\\.([A-Za-z0-9_]+\\*?)`")
	for kind, views := range map[string][]schemas.View{"plain": schemas.Views(), "grouped": schemas.GroupedViews()} {
		a := bigQuery(t, views)
		for name, hidden := range map[string]string{"impressions_unique": " EXCEPT (ip, user_agent)", "impression_counts_current": ""} {
			i := slices.IndexFunc(views, func(v schemas.View) bool { return v.Name == name })
			query := source.ReplaceAllString(views[i].Query, "(SELECT * FROM `"+dataset+".$1` WHERE advertiser_id IN ('ACME', 'ACME-2'))")
			query = "SELECT *" + hidden + " FROM (\n" + query + "\n)\n"
			if _, columns, err := a.Analyze(query); err != nil || len(columns) < 10 {
				t.Errorf("%s, %s: %d columns, %v\n%s", name, kind, len(columns), err, query)
			}
		}
	}
}

// The analyzer refuses what BigQuery would: were it not so, none of the tests above
// could fail.
func TestRefuses(t *testing.T) {
	a := bigQuery(t, schemas.Views())
	for _, test := range []struct{ sql, want string }{
		{"SELECT advertiser FROM impressions", "Unrecognized name: advertiser"},
		{"SELECT * FROM impression", "Table not found: impression"},
		{"SELECT * FROM `" + dataset + ".impressions_by_*`", "Table not found"},
		{"SELECT consent.age FROM impressions", "Field name age does not exist"},
		{"SELECT COUNT_IF(TRUE) FROM impressions", "Function not found: COUNT_IF"},
		{"SELECT event_time + 1 FROM impressions", "No matching signature for operator +"},
		{"SELECT 1 FROM impressions WHERE event_time >= DATE '2026-01-01'", "No matching signature for operator >="},
		{"SELECT DATE_TRUNC(event_time, FORTNIGHT) FROM impressions", "FORTNIGHT"},
		{"SELECT advertiser_id, COUNT(*) FROM impressions GROUP BY campaign_id", "neither grouped nor aggregated"},
		{"SELECT sketch FROM impression_counts GROUP BY sketch HAVING gross > 1", "neither grouped nor aggregated"},
		{"SELECT lint, COUNT(*) FROM impressions GROUP BY lint", "Grouping by expressions of type ARRAY is not allowed"},
		{"SELECT 1 FROM impressions WHERE lint = ['no_cache_buster']", "Equality is not defined for arguments of type ARRAY"},
		{"SELECT params FROM impressions ORDER BY params", "ORDER BY does not support expressions of type JSON"},
		{"SELECT HLL_COUNT.MERGE(gross) FROM impression_counts", "No matching signature"},
		{"SELECT gross FROM impression_counts UNION ALL SELECT advertiser_id FROM impression_counts", "incompatible types"},
		{"SELECT 1 UNION ALL SELECT 1, 2", "mismatched column count"},
		{"SELECT event_id FROM impressions_unique", "Unrecognized name: event_id"},
		{"SELECT @since", "Query parameter 'since' not found"},
		{"SELECT 1 FROM", "Syntax error"},
		{"SELECT _TABLE_SUFFIX FROM impressions", "Unrecognized name: _TABLE_SUFFIX"},
		{"INSERT INTO impression_counts (gross) VALUES ('many')", "Value has type STRING which cannot be inserted into column gross"},
		{"INSERT INTO impression_counts (total) VALUES (1)", "Column total is not present"},
		{"MERGE impression_counts_weekly AS w USING (SELECT 1 AS gross) AS s ON FALSE WHEN NOT MATCHED THEN INSERT (gross, week) VALUES (s.gross, 7)", "Value has type INT64 which cannot be inserted into column week"},
	} {
		kind, _, err := a.Analyze(test.sql)
		if err == nil {
			t.Errorf("%s is taken, as a %s", test.sql, kind)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.sql, err, test.want)
		}
	}
	// With one thing changed, each is taken: it is that thing which is refused.
	for _, sql := range []string{
		"SELECT advertiser_id FROM impressions", "SELECT consent.gdpr FROM impressions", "SELECT COUNTIF(TRUE) FROM impressions",
		"SELECT 1 FROM impressions WHERE event_time >= TIMESTAMP '2026-01-01'", "SELECT DATE_TRUNC(DATE(event_time), ISOWEEK) FROM impressions",
		"SELECT HLL_COUNT.MERGE(sketch) FROM impression_counts", "SELECT @from", "SELECT _TABLE_SUFFIX FROM `" + dataset + ".impressions_for_*`",
		"INSERT INTO impression_counts (gross) VALUES (1)",
		"MERGE impression_counts_weekly AS w USING (SELECT 1 AS gross) AS s ON FALSE WHEN NOT MATCHED THEN INSERT (gross, week) VALUES (s.gross, CURRENT_DATE())",
	} {
		if _, _, err := a.Analyze(sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
