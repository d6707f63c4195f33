// Package googlesql translates a part of GoogleSQL, BigQuery's dialect, into
// DuckDB's. It parses statements and writes them anew; whatever it does not know
// to mean the same in both, it refuses with an error that names it. In
// particular functions are translated from a list, and no other is let through.
//
// What is written depends on nothing but DuckDB and its standard extensions
// (json, icu): a view made of it can be read by any DuckDB client, unless it has
// HLL_COUNT functions, which package bigqueryd adds to DuckDB. Nor does it
// depend on the time zone of the client's session, except where a string is
// compared with a TIMESTAMP or cast to one without naming its zone: in a view,
// write TIMESTAMP '...'.
//
// Known differences that remain:
//   - NUMERIC arithmetic may give FLOAT64 (division, AVG) or keep more than nine
//     fraction digits (multiplication);
//   - ROUND, CEIL, FLOOR and TRUNC of an INT64 give INT64, not FLOAT64;
//   - SAFE_CONVERT_BYTES_TO_STRING writes ? for an invalid byte, not U+FFFD;
//   - approximate aggregates are exact, but for HLL_COUNT, which is BigQuery's;
//   - a wildcard table has the columns of all its tables, not of the newest;
//   - more is let through: types that BigQuery would not compare or unite are
//     converted, and an alias of the SELECT list is visible in WHERE.
package googlesql

import (
	"strings"
)

// Type is what is known of an expression's type while it is translated.
type Type int

// Types.
const (
	Unknown Type = iota
	Int64
	Float64
	Numeric
	Bool
	String
	Bytes
	Timestamp
	Date
	Datetime
	Time
	JSON
	Interval
	Array
	Struct
)

// Value is an expression in DuckDB's dialect.
type Value struct {
	SQL  string
	Type Type
}

// Table names a table. An empty project is the default one.
type Table struct {
	Project, Dataset, Name string
}

// Options are what a statement may refer to.
type Options struct {
	// Dataset is the default dataset, or "".
	Dataset string
	// View is set for the query of a view of Dataset. Tables of the same dataset
	// are then written by their names alone, which DuckDB looks for beside the
	// view: so the view works under whatever name the file is opened.
	View bool
	// Project is the only project that a table may be in.
	Project string
	// Named and Positional are the query parameters.
	Named      map[string]Value // by lower-case name
	Positional []Value
	// Tables returns the names of a dataset's tables and those of its views, for
	// wildcard tables. nil: there are none. A view that is made of a wildcard table
	// has the tables of that moment: translate it again when they are others.
	Tables func(dataset string) (tables, views []string)
	// Information returns a DuckDB query for a view of a dataset's
	// INFORMATION_SCHEMA. nil: there is none.
	Information func(dataset, view string) (string, bool)
}

// Kind is what a statement does.
type Kind int

// Statements.
const (
	Query Kind = iota
	Insert
	Update
	Delete
	Merge
	Truncate
	CreateTable
	CreateView
	CreateDataset
	AddColumns
	DropTable
	DropView
	DropDataset
)

// Column is a column definition of CREATE TABLE or ALTER TABLE.
type Column struct {
	Name     string
	Type     string // BigQuery's name; RECORD has Fields
	Repeated bool
	Required bool
	Fields   []Column
}

// Statement is a translated statement.
type Statement struct {
	Kind Kind
	// SQL is the DuckDB statement of a Query and of DML; of CreateTable the
	// query that fills it, or ""; of CreateView the view's query. Other
	// statements have none.
	SQL string
	// Ambiguous is, of Merge and of Update with FROM, a query of DuckDB that has a
	// row if several source rows would change one target row, which is an error;
	// else "".
	Ambiguous string
	// Target is the table, or the dataset, that is made, changed or dropped.
	Target Table
	// Columns of CreateTable (may be empty where SQL is not) and AddColumns.
	Columns []Column
	// Source is the GoogleSQL query of CreateView.
	Source      string
	IfExists    bool // DropTable, DropView, DropDataset
	IfNotExists bool // CreateTable, CreateView, CreateDataset
	OrReplace   bool // CreateTable, CreateView
	Cascade     bool // DropDataset
}

// Translate translates one statement. Errors are *Error.
func Translate(sql string, opts Options) (*Statement, error) {
	tokens, err := lex(sql)
	if err != nil {
		return nil, err
	}
	p := &parser{sql: sql, tokens: tokens, opts: opts}
	st, err := p.statement()
	if err != nil {
		return nil, err
	}
	p.accept(";")
	if p.peek().kind != tokenEOF {
		return nil, p.unexpected("end of statement (scripts are not supported)")
	}
	return st, nil
}

// Name quotes an identifier.
func Name(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Text writes a string literal, as which any string is safe.
func Text(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		// DuckDB takes statements as C strings, which end at a NUL.
		return "decode(" + Blob(s) + ")"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// Blob writes a BLOB literal.
func Blob(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString("CAST('")
	for i := range len(s) {
		b.WriteString(`\x`)
		b.WriteByte(hex[s[i]>>4])
		b.WriteByte(hex[s[i]&15])
	}
	b.WriteString("' AS BLOB)")
	return b.String()
}
