package googlesql

import (
	"fmt"
	"strings"
	"time"
)

// sqlType is a type name in both dialects.
type sqlType struct {
	typ  Type
	duck string
	name string // the API's
}

var sqlTypes = map[string]sqlType{
	"INT64": {Int64, "BIGINT", "INTEGER"}, "INT": {Int64, "BIGINT", "INTEGER"}, "INTEGER": {Int64, "BIGINT", "INTEGER"},
	"BIGINT": {Int64, "BIGINT", "INTEGER"}, "SMALLINT": {Int64, "BIGINT", "INTEGER"}, "TINYINT": {Int64, "BIGINT", "INTEGER"},
	"BYTEINT": {Int64, "BIGINT", "INTEGER"}, "FLOAT64": {Float64, "DOUBLE", "FLOAT"},
	"NUMERIC": {Numeric, "DECIMAL(38,9)", "NUMERIC"}, "DECIMAL": {Numeric, "DECIMAL(38,9)", "NUMERIC"},
	"BOOL": {Bool, "BOOLEAN", "BOOLEAN"}, "BOOLEAN": {Bool, "BOOLEAN", "BOOLEAN"},
	"STRING": {String, "VARCHAR", "STRING"}, "BYTES": {Bytes, "BLOB", "BYTES"},
	"TIMESTAMP": {Timestamp, "TIMESTAMPTZ", "TIMESTAMP"}, "DATETIME": {Datetime, "TIMESTAMP", "DATETIME"},
	"DATE": {Date, "DATE", "DATE"}, "JSON": {JSON, "JSON", "JSON"},
}

// readType reads a type as a column definition without a name.
func (p *parser) readType() (Column, sqlType, error) {
	if err := p.enter(); err != nil {
		return Column{}, sqlType{}, err
	}
	defer p.leave()
	t := p.next()
	name := strings.ToUpper(t.text)
	switch {
	case t.kind == tokenName && name == "ARRAY":
		if err := p.expect("<"); err != nil {
			return Column{}, sqlType{}, err
		}
		c, st, err := p.readType()
		if err != nil {
			return c, st, err
		}
		if c.Repeated {
			return c, st, errorAt(p.sql, t.pos, "Cannot construct array with element type ARRAY")
		}
		c.Repeated = true
		return c, sqlType{Array, st.duck + "[]", ""}, p.closeAngle()
	case t.kind == tokenName && name == "STRUCT":
		return p.structType()
	}
	st, ok := sqlTypes[name]
	if !ok || t.kind != tokenName {
		return Column{}, st, errorAt(p.sql, t.pos, "Type not found, or not supported by the local stand-in: %s", t.text)
	}
	if p.accept("(") {
		// Lengths and precisions are limits that this stand-in does not check.
		return Column{}, st, p.refuse(t, "A parameterized type")
	}
	return Column{Type: st.name}, st, nil
}

func (p *parser) structType() (Column, sqlType, error) {
	c := Column{Type: "RECORD"}
	if err := p.expect("<"); err != nil {
		return c, sqlType{}, err
	}
	var parts []string
	for {
		name, err := p.identifier("a field name")
		if err != nil {
			return c, sqlType{}, err
		}
		f, st, err := p.readType()
		if err != nil {
			return c, st, err
		}
		f.Name = name
		c.Fields = append(c.Fields, f)
		parts = append(parts, Name(name)+" "+st.duck)
		if !p.accept(",") {
			break
		}
	}
	return c, sqlType{Struct, "STRUCT(" + strings.Join(parts, ", ") + ")", ""}, p.closeAngle()
}

// closeAngle consumes a >, which may be half of a >>.
func (p *parser) closeAngle() error {
	if t := &p.tokens[p.at]; t.is(">>") {
		*t = token{kind: tokenSymbol, text: ">", pos: t.pos + 1}
		return nil
	}
	return p.expect(">")
}

// typeArguments reads <type> and returns the DuckDB type.
func (p *parser) typeArguments() (string, error) {
	p.next()
	_, st, err := p.readType()
	if err != nil {
		return "", err
	}
	return st.duck, p.closeAngle()
}

// cast reads the rest of CAST(x AS type).
func (p *parser) cast(safe bool) (Value, error) {
	v, err := p.expr()
	if err != nil {
		return v, err
	}
	if err := p.expect("AS"); err != nil {
		return v, err
	}
	_, st, err := p.readType()
	if err != nil {
		return v, err
	}
	if p.looking("FORMAT") || p.looking("AT") {
		return v, p.refuse(p.peek(), "CAST with "+p.peek().text)
	}
	return Value{castSQL(v, st, safe), st.typ}, p.expect(")")
}

// castSQL writes a conversion. Where the two dialects convert differently, the
// source type decides, at run time if it is not known here.
func castSQL(v Value, st sqlType, safe bool) string {
	as := func(x, typ string) string {
		if safe {
			return "TRY_CAST(" + x + " AS " + typ + ")"
		}
		return "CAST(" + x + " AS " + typ + ")"
	}
	plain := as(v.SQL, st.duck)
	switch {
	case v.Type == st.typ && v.Type != Array && v.Type != Struct && v.Type != Unknown:
		return plain
	case st.typ == Int64 && (v.Type == Float64 || v.Type == Unknown):
		// BigQuery rounds halves away from zero, as DECIMAL does.
		rounded := as(as(v.SQL, "DECIMAL(38,9)"), "BIGINT")
		if v.Type == Float64 {
			return rounded
		}
		return "(CASE WHEN typeof(" + v.SQL + ") IN ('DOUBLE', 'FLOAT') THEN " + rounded + " ELSE " + plain + " END)"
	case st.typ == String:
		return stringOf(v, plain, safe)
	case st.typ == Bytes:
		// A DuckDB cast would read \x escapes.
		if v.Type == String {
			return "encode(" + v.SQL + ")"
		}
		return "(CASE WHEN typeof(" + v.SQL + ") = 'BLOB' THEN " + as(as(v.SQL, "VARCHAR"), "BLOB") + " ELSE encode(" + as(v.SQL, "VARCHAR") + ") END)"
	case st.typ == Timestamp && (v.Type == Date || v.Type == Datetime):
		return timestampOf(microsOf(v))
	case st.typ == Date && (v.Type == Timestamp || v.Type == Datetime):
		return "CAST(" + civil(v) + " AS DATE)"
	case st.typ == Datetime && (v.Type == Timestamp || v.Type == Date):
		return civil(v)
	}
	return plain
}

// stringOf writes a conversion to STRING in BigQuery's format.
func stringOf(v Value, plain string, safe bool) string {
	decode := func(x string) string {
		if safe {
			return "TRY(decode(" + x + "))"
		}
		return "decode(" + x + ")"
	}
	whole := "regexp_replace(" + plain + `, '(\.\d*?)0+$', '\1')`
	// 1.0 is 1, 1.50 is 1.5.
	trimmed := "regexp_replace(" + whole + `, '\.$', '')`
	switch v.Type {
	case Int64, Bool, String, Date:
		return plain
	case Bytes:
		return decode(v.SQL)
	case Float64, Numeric:
		return trimmed
	}
	var b strings.Builder
	b.WriteString("(CASE WHEN typeof(" + v.SQL + ") = 'BLOB' THEN " + decode("CAST("+plain+" AS BLOB)"))
	b.WriteString(" WHEN typeof(" + v.SQL + ") = 'DOUBLE' OR starts_with(typeof(" + v.SQL + "), 'DECIMAL') THEN " + trimmed)
	// The text of a timestamp follows the session's time zone, but says which.
	instant := "epoch_us(TRY_CAST(CAST(" + v.SQL + " AS VARCHAR) AS TIMESTAMPTZ))"
	b.WriteString(" WHEN typeof(" + v.SQL + ") = 'TIMESTAMP WITH TIME ZONE' THEN " + timestampText(instant))
	b.WriteString(" ELSE " + plain + " END)")
	return b.String()
}

// timestampText writes the text of a timestamp: its fraction has 0, 3 or 6
// digits.
func timestampText(micros string) string {
	t := "strftime(make_timestamp(" + micros + "), '%Y-%m-%d %H:%M:%S.%f')"
	return "(regexp_replace(" + t + `, '(\.000000|000)$', '') || '+00')`
}

// typedLiteral checks and writes DATE '...' and the like.
func (p *parser) typedLiteral(typ Type, t token) (Value, error) {
	bad := func() (Value, error) {
		return Value{}, errorAt(p.sql, t.pos, "Invalid literal: %q", t.text)
	}
	switch typ {
	case Timestamp:
		at, ok := parseTimestamp(t.text)
		if !ok {
			return bad()
		}
		return Value{fmt.Sprintf("make_timestamptz(%d)", at.UnixMicro()), Timestamp}, nil
	case Datetime:
		at, ok := parseTimestamp(t.text)
		if !ok {
			return bad()
		}
		return Value{fmt.Sprintf("make_timestamp(%d)", at.UnixMicro()), Datetime}, nil
	case Date:
		if _, err := time.Parse("2006-1-2", t.text); err != nil {
			return bad()
		}
		return Value{"CAST(" + Text(t.text) + " AS DATE)", Date}, nil
	case Numeric:
		return Value{"CAST(" + Text(t.text) + " AS DECIMAL(38,9))", Numeric}, nil
	}
	return Value{"CAST(" + Text(t.text) + " AS JSON)", JSON}, nil
}

// parseTimestamp reads BigQuery's canonical timestamp format; without a zone it
// is UTC.
func parseTimestamp(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	for _, zone := range []string{" UTC", "UTC", "Z", "z"} {
		if cut, ok := strings.CutSuffix(s, zone); ok {
			s = cut
			break
		}
	}
	for _, layout := range []string{"2006-1-2", "2006-1-2 15:4:5", "2006-1-2T15:4:5", "2006-1-2 15:4"} {
		for _, zone := range []string{"", "-07:00", "-07", "-0700", " -07:00"} {
			if t, err := time.Parse(layout+zone, s); err == nil {
				return t.UTC(), true
			}
		}
	}
	return time.Time{}, false
}

// translateString is STRING(timestamp[, zone]), and of JSON's strings no more.
func translateString(p *parser, c *call) (Value, error) {
	v := c.args[0]
	if v.Type != Timestamp && v.Type != Date && v.Type != Datetime || len(c.args) == 2 {
		return v, p.refuse(c.token, "STRING of what is not known to be a TIMESTAMP, DATE or DATETIME, or with a time zone (use CAST or FORMAT_TIMESTAMP)")
	}
	return Value{castSQL(v, sqlTypes["STRING"], false), String}, nil
}
