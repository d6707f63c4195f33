// Package sqlcheck parses and analyses GoogleSQL as BigQuery does, against the
// project's tables: names, types, functions and their signatures, grouping rules. It
// is Google's own analyzer (github.com/google/googlesql), compiled to Go.
//
// What it knows of BigQuery is the language, with all its released features but some
// that BigQuery is known not to have, and the built-in functions. It runs nothing, and
// where BigQuery has rules of its own (wildcard tables, quotas) it does not know them.
package sqlcheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-googlesql"

	"pixelbeam/schemas"
)

// Analyzer analyses statements against the tables that were defined. It is not safe
// for concurrent use.
type Analyzer struct {
	catalog *googlesql.SimpleCatalog
	types   *googlesql.TypeFactory
	options *googlesql.AnalyzerOptions
	// kept holds what lives beside the garbage collector's world and is referred to
	// from there.
	kept []any
}

// Column is an output column: its name, and its type as BigQuery spells it.
type Column struct{ Name, Type string }

// NewAnalyzer returns an analyzer without tables.
func NewAnalyzer() (*Analyzer, error) {
	if err := googlesql.Init(); err != nil {
		return nil, err
	}
	a := &Analyzer{}
	language, err := googlesql.NewLanguageOptions()
	if err != nil {
		return nil, err
	}
	if a.types, err = googlesql.NewTypeFactory(); err != nil {
		return nil, err
	}
	if a.catalog, err = googlesql.NewSimpleCatalog("bigquery", nil); err != nil {
		return nil, err
	}
	if a.options, err = googlesql.NewAnalyzerOptions2(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		language.EnableMaximumLanguageFeatures,
		func() error { return disable(language, notInBigQuery...) },
		func() error { return language.SetProductMode(googlesql.ProductModeProductExternal) },
		func() error { return language.EnableReservableKeyword("QUALIFY", true) },
		language.SetSupportsAllStatementKinds,
		func() error {
			return a.catalog.AddBuiltinFunctionsAndTypes(&googlesql.BuiltinFunctionOptions{LanguageOptions: language})
		},
		func() error { return a.options.SetLanguage(language) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	a.kept = append(a.kept, language)
	return a, nil
}

// notInBigQuery are features of the language that BigQuery has not, or had not for
// long, and that SQL here does without.
// https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_properties
var notInBigQuery = []googlesql.LanguageFeature{
	googlesql.LanguageFeatureFeatureJsonTypeComparison,
	googlesql.LanguageFeatureFeatureArrayEquality,
	googlesql.LanguageFeatureFeatureArrayOrdering,
	googlesql.LanguageFeatureFeatureGroupByArray,
	googlesql.LanguageFeatureFeatureGroupByStruct,
}

func disable(language *googlesql.LanguageOptions, features ...googlesql.LanguageFeature) error {
	for _, f := range features {
		if err := language.DisableLanguageFeature(f); err != nil {
			return err
		}
	}
	return nil
}

// Parameter declares a query parameter, @name, of a type such as TIMESTAMP.
func (a *Analyzer) Parameter(name, sqlType string) error {
	columns, err := a.resolve("SELECT CAST(NULL AS " + sqlType + ")")
	if err != nil {
		return err
	}
	return a.options.AddQueryParameter(name, columns[0].kind)
}

// Table defines a table, or a wildcard table if its name ends with *, under each of
// the names.
func (a *Analyzer) Table(columns []schemas.Column, names ...string) error {
	var nulls []string
	for _, c := range columns {
		nulls = append(nulls, fmt.Sprintf("CAST(NULL AS %s) AS `%s`", sqlType(c), c.Name))
	}
	return a.Define("SELECT "+strings.Join(nulls, ", "), names...)
}

// Define defines a view, or a table of a query's columns, under each of the names.
func (a *Analyzer) Define(query string, names ...string) error {
	columns, err := a.resolve(query)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := a.define(name, columns); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (a *Analyzer) define(name string, columns []column) error {
	table, err := googlesql.NewSimpleTable(name, -1)
	if err != nil {
		return err
	}
	columns = slices.Clone(columns)
	if strings.HasSuffix(name, "*") {
		text, err := a.types.GetString()
		if err != nil {
			return err
		}
		columns = append(columns, column{Column{"_TABLE_SUFFIX", "STRING"}, text})
	}
	for _, c := range columns {
		col, err := googlesql.NewSimpleColumn(name, c.Name, c.kind, c.Name == "_TABLE_SUFFIX", c.Name != "_TABLE_SUFFIX")
		if err != nil {
			return err
		}
		if err := table.AddColumn2(col, false); err != nil {
			return err
		}
		a.kept = append(a.kept, col, c.kind)
	}
	a.kept = append(a.kept, table)
	return a.catalog.AddTable2(name, table)
}

// sqlType is a column's type in GoogleSQL.
func sqlType(c schemas.Column) string {
	t := c.Type
	if t == "RECORD" {
		var fields []string
		for _, f := range c.Fields {
			fields = append(fields, "`"+f.Name+"` "+sqlType(f))
		}
		t = "STRUCT<" + strings.Join(fields, ", ") + ">"
	}
	if c.Mode == "REPEATED" {
		t = "ARRAY<" + t + ">"
	}
	return t
}

// column is an output column with its type.
type column struct {
	Column
	kind googlesql.Googlesql_TypeNode
}

// Analyze returns what kind of statement the one statement is (QueryStmt,
// MergeStmt...) and the columns of a query. The error is the analyzer's, with its
// place as [at line:column].
func (a *Analyzer) Analyze(sql string) (kind string, columns []Column, err error) {
	statement, err := a.statement(sql)
	if err != nil {
		return "", nil, err
	}
	if kind, err = statement.NodeKindString(); err != nil {
		return "", nil, err
	}
	query, ok := statement.(*googlesql.ResolvedQueryStmt)
	if !ok {
		return kind, nil, nil
	}
	resolved, err := outputs(query)
	for _, c := range resolved {
		columns = append(columns, c.Column)
	}
	return kind, columns, err
}

func (a *Analyzer) statement(sql string) (googlesql.ResolvedStatementNode, error) {
	out, err := googlesql.AnalyzeStatement(sql, a.options, a.catalog, a.types)
	if err != nil {
		return nil, err
	}
	a.kept = append(a.kept, out)
	return out.ResolvedStatement()
}

// resolve returns the columns of a query.
func (a *Analyzer) resolve(sql string) ([]column, error) {
	statement, err := a.statement(sql)
	if err != nil {
		return nil, err
	}
	query, ok := statement.(*googlesql.ResolvedQueryStmt)
	if !ok {
		return nil, fmt.Errorf("sqlcheck: a %T is no query", statement)
	}
	return outputs(query)
}

func outputs(query *googlesql.ResolvedQueryStmt) ([]column, error) {
	n, err := query.OutputColumnListSize()
	if err != nil {
		return nil, err
	}
	columns := make([]column, n)
	for i := range columns {
		output, err := query.OutputColumnList2(int32(i))
		if err != nil {
			return nil, err
		}
		resolved, err := output.Column()
		if err != nil {
			return nil, err
		}
		c := &columns[i]
		if c.Name, err = output.Name(); err != nil {
			return nil, err
		}
		if c.kind, err = resolved.Type(); err != nil {
			return nil, err
		}
		kind, ok := c.kind.(interface {
			TypeName(googlesql.ProductMode) (string, error)
		})
		if !ok {
			return nil, fmt.Errorf("sqlcheck: column %s has a type without a name, %T", c.Name, c.kind)
		}
		if c.Type, err = kind.TypeName(googlesql.ProductModeProductExternal); err != nil {
			return nil, err
		}
	}
	return columns, nil
}
