package main

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"cloud.google.com/go/bigquery"
)

// rowWriter prints rows in one form as they come.
type rowWriter interface {
	row([]bigquery.Value) error
	// close prints what is left; it is called once, after the last row.
	close() error
}

func newRowWriter(format string, out io.Writer, schema bigquery.Schema) rowWriter {
	w := bufio.NewWriter(out)
	switch format {
	case "csv":
		return &csvRows{w: w, schema: schema}
	case "json":
		return &jsonRows{w: w, schema: schema, open: "[\n", between: ",\n", end: "\n]\n", empty: "[]\n"}
	case "jsonl":
		return &jsonRows{w: w, schema: schema, between: "\n", end: "\n"}
	}
	t := &table{w: w, count: true}
	for _, f := range schema {
		t.columns = append(t.columns, column{name: f.Name, right: isNumber(f)})
	}
	return &tableRows{table: t, schema: schema}
}

type tableRows struct {
	table  *table
	schema bigquery.Schema
}

func (t *tableRows) row(values []bigquery.Value) error {
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = "NULL"
		if v != nil {
			cells[i] = text(t.schema[i], v)
		}
	}
	return t.table.row(cells)
}

func (t *tableRows) close() error { return t.table.close() }

// csvRows prints CSV as RFC 4180 has it, with lines that end in \n. NULL is an
// empty field and the empty string is a quoted one.
type csvRows struct {
	w      *bufio.Writer
	schema bigquery.Schema
	headed bool
}

func (c *csvRows) head() {
	if c.headed {
		return
	}
	c.headed = true
	for i, f := range c.schema {
		c.field(i, f.Name)
	}
	c.w.WriteByte('\n')
}

func (c *csvRows) row(values []bigquery.Value) error {
	c.head()
	for i, v := range values {
		if v != nil {
			c.field(i, text(c.schema[i], v))
		} else if i > 0 {
			c.w.WriteByte(',')
		}
	}
	return c.w.WriteByte('\n')
}

func (c *csvRows) field(i int, s string) {
	if i > 0 {
		c.w.WriteByte(',')
	}
	if s == "" || strings.ContainsAny(s, ",\"\r\n") || s != strings.TrimSpace(s) {
		s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	c.w.WriteString(s)
}

func (c *csvRows) close() error {
	c.head()
	return c.w.Flush()
}

// jsonRows prints each row as a JSON object on one line.
type jsonRows struct {
	w                         *bufio.Writer
	schema                    bigquery.Schema
	open, between, end, empty string
	n                         int
	buf                       []byte
}

func (j *jsonRows) row(values []bigquery.Value) error {
	sep := j.between
	if j.n == 0 {
		sep = j.open
	}
	j.n++
	j.buf = appendRecord(append(j.buf[:0], sep...), j.schema, values)
	_, err := j.w.Write(j.buf)
	return err
}

func (j *jsonRows) close() error {
	end := j.end
	if j.n == 0 {
		end = j.empty
	}
	j.w.WriteString(end)
	return j.w.Flush()
}

func isNumber(f *bigquery.FieldSchema) bool {
	switch f.Type {
	case bigquery.IntegerFieldType, bigquery.FloatFieldType, bigquery.NumericFieldType, bigquery.BigNumericFieldType:
		return !f.Repeated
	}
	return false
}

// countOf returns, say, "1 row" or "2 rows".
func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
