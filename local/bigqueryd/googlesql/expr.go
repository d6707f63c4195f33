package googlesql

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// expr reads an expression. All that it returns can stand as an operand: it is
// in parentheses where that matters.
func (p *parser) expr() (Value, error) {
	if err := p.enter(); err != nil {
		return Value{}, err
	}
	defer p.leave()
	left, err := p.and()
	for err == nil && p.accept("OR") {
		var right Value
		right, err = p.and()
		left = Value{"(" + left.SQL + " OR " + right.SQL + ")", Bool}
	}
	return left, err
}

func (p *parser) and() (Value, error) {
	left, err := p.not()
	for err == nil && p.accept("AND") {
		var right Value
		right, err = p.not()
		left = Value{"(" + left.SQL + " AND " + right.SQL + ")", Bool}
	}
	return left, err
}

func (p *parser) not() (Value, error) {
	if err := p.enter(); err != nil {
		return Value{}, err
	}
	defer p.leave()
	if p.accept("NOT") {
		v, err := p.not()
		return Value{"(NOT " + v.SQL + ")", Bool}, err
	}
	return p.comparison()
}

func (p *parser) comparison() (Value, error) {
	left, err := p.bits(0)
	for err == nil {
		start := p.peek()
		op := p.acceptAny("=", "!=", "<>", "<=", ">=", "<", ">")
		switch {
		case op != "":
			var right Value
			right, err = p.bits(0)
			left = Value{"(" + left.SQL + " " + op + " " + right.SQL + ")", Bool}
		case p.accept("IS"):
			left, err = p.isTest(left)
		case p.looking("LIKE"), p.looking("BETWEEN"), p.looking("IN"):
			left, err = p.membership(left, "")
		case p.looking("NOT", "LIKE"), p.looking("NOT", "BETWEEN"), p.looking("NOT", "IN"):
			p.next()
			left, err = p.membership(left, "NOT ")
		case p.looking("COLLATE"):
			return left, p.refuse(start, "COLLATE")
		default:
			return left, nil
		}
	}
	return left, err
}

func (p *parser) isTest(left Value) (Value, error) {
	not := ""
	if p.accept("NOT") {
		not = "NOT "
	}
	if p.accept("DISTINCT", "FROM") {
		right, err := p.bits(0)
		return Value{"(" + left.SQL + " IS " + not + "DISTINCT FROM " + right.SQL + ")", Bool}, err
	}
	word := p.acceptAny("NULL", "TRUE", "FALSE", "UNKNOWN")
	switch word {
	case "":
		return left, p.unexpected("NULL, TRUE, FALSE or DISTINCT FROM")
	case "UNKNOWN":
		word = "NULL"
	}
	return Value{"(" + left.SQL + " IS " + not + word + ")", Bool}, nil
}

func (p *parser) membership(left Value, not string) (Value, error) {
	start := p.next()
	switch strings.ToUpper(start.text) {
	case "LIKE":
		if p.looking("ANY") || p.looking("SOME") || p.looking("ALL") {
			return left, p.refuse(start, "LIKE "+strings.ToUpper(p.peek().text))
		}
		right, err := p.bits(0)
		return Value{"(" + left.SQL + " " + not + "LIKE " + right.SQL + ` ESCAPE '\')`, Bool}, err
	case "BETWEEN":
		low, err := p.bits(0)
		if err != nil {
			return left, err
		}
		if err := p.expect("AND"); err != nil {
			return left, err
		}
		high, err := p.bits(0)
		return Value{"(" + left.SQL + " " + not + "BETWEEN " + low.SQL + " AND " + high.SQL + ")", Bool}, err
	}
	if p.accept("UNNEST", "(") {
		array, err := p.expr()
		if err != nil {
			return left, err
		}
		return Value{"(" + left.SQL + " " + not + "IN (SELECT unnest(" + array.SQL + ")))", Bool}, p.expect(")")
	}
	if err := p.expect("("); err != nil {
		return left, err
	}
	if p.looksLikeQuery() {
		p.value = true
		q, err := p.query()
		if err != nil {
			return left, err
		}
		return Value{"(" + left.SQL + " " + not + "IN (" + q + "))", Bool}, p.expect(")")
	}
	list, err := p.list(")")
	if err != nil {
		return left, err
	}
	return Value{"(" + left.SQL + " " + not + "IN (" + sqlList(list) + "))", Bool}, nil
}

// looksLikeQuery reports whether a query follows, which may be in parentheses.
func (p *parser) looksLikeQuery() bool {
	at := 0
	for p.peekAt(at).is("(") {
		at++
	}
	t := p.peekAt(at)
	if at > 0 && (t.is("SELECT") || t.is("WITH")) {
		// ((SELECT 1) + 1) is no query, ((SELECT 1) UNION ALL ...) is.
		return p.queryUntilClose(at)
	}
	return t.is("SELECT") || t.is("WITH")
}

// queryUntilClose reports whether what follows the inner parentheses is a set
// operator or the end, that is whether they hold a part of a query.
func (p *parser) queryUntilClose(open int) bool {
	depth, i := open, open
	for ; depth > 0; i++ {
		switch t := p.peekAt(i); {
		case t.kind == tokenEOF:
			return false
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
			next := p.peekAt(i + 1)
			if depth < open && !next.is(")") && !next.is("UNION") && !next.is("INTERSECT") && !next.is("EXCEPT") &&
				!next.is("ORDER") && !next.is("LIMIT") {
				return false
			}
			if depth < open {
				if next.is(")") {
					continue
				}
				return true
			}
		}
	}
	return true
}

// list reads expressions up to a closing symbol, which it consumes.
func (p *parser) list(end string) ([]Value, error) {
	var out []Value
	if p.accept(end) {
		return nil, nil
	}
	for {
		v, err := p.expr()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if !p.accept(",") {
			return out, p.expect(end)
		}
	}
}

func sqlList(values []Value) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = v.SQL
	}
	return strings.Join(parts, ", ")
}

// bitOperators are GoogleSQL's, loosest first; all bind tighter than
// comparisons.
var bitOperators = [][]string{{"|"}, {"^"}, {"&"}, {"<<", ">>"}}

func (p *parser) bits(level int) (Value, error) {
	if level == len(bitOperators) {
		return p.sum()
	}
	left, err := p.bits(level + 1)
	for err == nil {
		op := p.acceptAny(bitOperators[level]...)
		if op == "" {
			return left, nil
		}
		var right Value
		right, err = p.bits(level + 1)
		if op == "^" {
			left = Value{"xor(" + left.SQL + ", " + right.SQL + ")", left.Type} // DuckDB's ^ is a power
		} else {
			left = Value{"(" + left.SQL + " " + op + " " + right.SQL + ")", left.Type}
		}
	}
	return left, err
}

func (p *parser) sum() (Value, error) {
	left, err := p.product()
	for err == nil {
		start := p.peek()
		op := p.acceptAny("+", "-")
		if op == "" {
			return left, nil
		}
		var right Value
		right, err = p.product()
		if err == nil && right.Type == Interval && left.Type != Unknown && left.Type != Timestamp {
			return left, p.refuse(start, "An INTERVAL added to a DATE or DATETIME (use DATE_ADD or DATETIME_ADD)")
		}
		if err == nil && right.Type == Interval {
			left = Value{"(" + left.SQL + " " + op + " " + right.SQL + ")", left.Type}
			continue
		}
		left = Value{"(" + wide(left) + " " + op + " " + right.SQL + ")", arithmetic(left.Type, right.Type)}
	}
	return left, err
}

// wide makes a whole number 64 bits long; DuckDB's literals have 32.
func wide(v Value) string {
	if v.Type == Int64 {
		return "CAST(" + v.SQL + " AS BIGINT)"
	}
	return v.SQL
}

// arithmetic returns the type of a sum, difference or product.
func arithmetic(a, b Type) Type {
	switch {
	case a == b && (a == Int64 || a == Float64 || a == Numeric):
		return a
	case a == Float64 && (b == Int64 || b == Numeric), b == Float64 && (a == Int64 || a == Numeric):
		return Float64
	}
	return Unknown
}

func (p *parser) product() (Value, error) {
	left, err := p.unary()
	for err == nil {
		op := p.acceptAny("*", "/", "||")
		if op == "" {
			return left, nil
		}
		var right Value
		right, err = p.unary()
		switch op {
		case "/":
			left = Value{"(" + left.SQL + " / " + nonZero(right) + ")", Float64}
		case "||":
			left = Value{"(" + left.SQL + " || " + right.SQL + ")", left.Type}
		default:
			left = Value{"(" + wide(left) + " * " + right.SQL + ")", arithmetic(left.Type, right.Type)}
		}
	}
	return left, err
}

// nonZero makes a zero divisor an error, as it is in BigQuery; DuckDB returns
// NULL or infinity.
func nonZero(v Value) string {
	if f, err := strconv.ParseFloat(v.SQL, 64); err == nil && f != 0 {
		return v.SQL
	}
	return "(CASE WHEN " + v.SQL + " = 0 THEN error('division by zero') ELSE " + v.SQL + " END)"
}

func (p *parser) unary() (Value, error) {
	if err := p.enter(); err != nil {
		return Value{}, err
	}
	defer p.leave()
	op := p.acceptAny("-", "+", "~")
	if op == "" {
		return p.postfix()
	}
	v, err := p.unary()
	if op == "+" {
		return v, err
	}
	return Value{"(" + op + v.SQL + ")", v.Type}, err
}

// postfix reads a primary expression, and fields and subscripts after it.
func (p *parser) postfix() (Value, error) {
	v, err := p.primary()
	for err == nil {
		switch {
		case p.looking(".") && !p.looking(".", "*"):
			p.next()
			var name string
			name, err = p.field()
			v = Value{v.SQL + "." + Name(name), Unknown}
		case p.looking("["):
			v, err = p.subscript(v)
		default:
			return v, nil
		}
	}
	return v, err
}

func (p *parser) subscript(v Value) (Value, error) {
	start := p.next()
	for _, access := range []struct {
		name      string
		safe      bool
		fromOne   bool
		indicator bool
	}{{"OFFSET", false, false, true}, {"SAFE_OFFSET", true, false, true}, {"ORDINAL", false, true, true}, {"SAFE_ORDINAL", true, true, true}, {"", false, false, false}} {
		if access.indicator && !p.accept(access.name, "(") {
			continue
		}
		if !access.indicator && p.peek().kind == tokenString {
			return v, p.refuse(start, "A JSON subscript (use JSON_VALUE or JSON_QUERY)")
		}
		i, err := p.expr()
		if err != nil {
			return v, err
		}
		if access.indicator {
			if err := p.expect(")"); err != nil {
				return v, err
			}
		}
		n := i.SQL
		if !access.fromOne {
			n = "(" + n + " + 1)"
		}
		// array_length takes lists only, so that a JSON value or a string, which
		// DuckDB would cut, is an error.
		length := "array_length(" + v.SQL + ")"
		outside := n + " < 1 OR " + n + " > " + length
		result := "NULL"
		if !access.safe {
			result = "error('Array index is out of bounds')"
		}
		return Value{"(CASE WHEN " + outside + " THEN " + result + " ELSE (" + v.SQL + ")[" + n + "] END)", Unknown}, p.expect("]")
	}
	return v, p.unexpected("a subscript")
}

// typedLiterals are the keywords that turn a string literal into another type.
var typedLiterals = map[string]Type{
	"DATE": Date, "TIMESTAMP": Timestamp, "DATETIME": Datetime, "NUMERIC": Numeric, "DECIMAL": Numeric, "JSON": JSON,
}

func (p *parser) primary() (Value, error) {
	t := p.peek()
	switch t.kind {
	case tokenNumber:
		p.next()
		return p.number(t)
	case tokenString:
		p.next()
		return Value{Text(t.text), String}, nil
	case tokenBytes:
		p.next()
		return Value{Blob(t.text), Bytes}, nil
	case tokenParam:
		p.next()
		return p.parameter(t)
	case tokenQuoted:
		if p.peekAt(1).is("(") {
			return Value{}, p.refuse(t, "Function "+t.text)
		}
		p.next()
		return Value{Name(t.text), Unknown}, nil
	case tokenSymbol:
		switch t.text {
		case "(":
			return p.parenthesis()
		case "[":
			p.next()
			list, err := p.list("]")
			return Value{"[" + sqlList(list) + "]", Array}, err
		case "@@":
			return Value{}, p.refuse(t, "A system variable")
		}
		return Value{}, p.unexpected("an expression")
	case tokenEOF:
		return Value{}, p.unexpected("an expression")
	}
	return p.word(t)
}

// word reads an expression that begins with a name or keyword.
func (p *parser) word(t token) (Value, error) {
	name := strings.ToUpper(t.text)
	next := p.peekAt(1)
	if typ, ok := typedLiterals[name]; ok && next.kind == tokenString {
		p.at += 2
		return p.typedLiteral(typ, next)
	}
	switch name {
	case "NULL", "TRUE", "FALSE":
		p.next()
		typ := Bool
		if name == "NULL" {
			typ = Unknown
		}
		return Value{name, typ}, nil
	case "CASE":
		p.next()
		return p.caseExpression()
	case "EXISTS":
		p.next()
		q, err := p.subquery()
		return Value{"EXISTS (" + q + ")", Bool}, err
	case "ARRAY":
		p.next()
		return p.array()
	case "STRUCT":
		p.next()
		return p.structValue(t)
	case "INTERVAL":
		p.next()
		return p.interval()
	case "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_DATETIME":
		if !next.is("(") {
			p.next()
			return p.call(&call{name: name, token: t})
		}
	}
	if next.is("(") {
		p.at += 2
		return p.function(t, name)
	}
	if next.is(".") && p.peekAt(2).kind == tokenName && p.peekAt(3).is("(") {
		return p.namespaced(t, name)
	}
	if !t.isIdentifier() {
		return Value{}, p.unexpected("an expression")
	}
	p.next()
	return Value{Name(t.text), Unknown}, nil
}

// namespaced reads SAFE.f(...), which is NULL where f fails, and functions whose
// names have a family.
func (p *parser) namespaced(t token, namespace string) (Value, error) {
	f := p.peekAt(2)
	name := strings.ToUpper(f.text)
	if namespace != "SAFE" {
		if !known(namespace + "." + name) {
			return Value{}, p.refuse(t, "Function "+namespace+"."+name)
		}
		p.at += 4
		return p.function(t, namespace+"."+name)
	}
	p.at += 4
	v, err := p.function(f, name)
	if aggregates[name] || windowOnly[name] {
		return v, p.refuse(t, "SAFE."+name)
	}
	return Value{"TRY(" + v.SQL + ")", v.Type}, err
}

func (p *parser) number(t token) (Value, error) {
	if strings.HasPrefix(strings.ToLower(t.text), "0x") {
		n, ok := new(big.Int).SetString(t.text[2:], 16)
		if !ok || n.BitLen() > 64 {
			return Value{}, errorAt(p.sql, t.pos, "Invalid integer literal: %s", t.text)
		}
		return Value{fmt.Sprintf("CAST(%d AS BIGINT)", int64(n.Uint64())), Int64}, nil
	}
	if strings.ContainsAny(t.text, ".eE") {
		// DuckDB takes 1.5 as a DECIMAL.
		return Value{"CAST(" + t.text + " AS DOUBLE)", Float64}, nil
	}
	if _, err := strconv.ParseUint(t.text, 10, 64); err != nil {
		return Value{}, errorAt(p.sql, t.pos, "Invalid integer literal: %s", t.text)
	}
	return Value{strings.TrimLeft(t.text[:len(t.text)-1], "0") + t.text[len(t.text)-1:], Int64}, nil
}

func (p *parser) parameter(t token) (Value, error) {
	if t.text == "" {
		if p.positional >= len(p.opts.Positional) {
			return Value{}, errorAt(p.sql, t.pos, "Query parameter number %d is not defined", p.positional+1)
		}
		p.positional++
		return p.opts.Positional[p.positional-1], nil
	}
	v, ok := p.opts.Named[strings.ToLower(t.text)]
	if !ok {
		return v, errorAt(p.sql, t.pos, "Query parameter '%s' not found", t.text)
	}
	return v, nil
}

// parenthesis reads a subquery, a struct or an expression.
func (p *parser) parenthesis() (Value, error) {
	p.next()
	if p.looksLikeQuery() {
		p.value = true
		q, err := p.query()
		if err != nil {
			return Value{}, err
		}
		return Value{"(" + q + ")", Unknown}, p.expect(")")
	}
	list, err := p.list(")")
	switch {
	case err != nil:
		return Value{}, err
	case len(list) == 0:
		return Value{}, p.unexpected("an expression")
	case len(list) == 1:
		return Value{"(" + list[0].SQL + ")", list[0].Type}, nil
	}
	return Value{"row(" + sqlList(list) + ")", Struct}, nil
}

func (p *parser) subquery() (string, error) {
	if err := p.expect("("); err != nil {
		return "", err
	}
	q, err := p.query()
	if err != nil {
		return "", err
	}
	return q, p.expect(")")
}

func (p *parser) caseExpression() (Value, error) {
	var b strings.Builder
	b.WriteString("(CASE")
	if !p.looking("WHEN") {
		v, err := p.expr()
		if err != nil {
			return v, err
		}
		b.WriteString(" " + v.SQL)
	}
	var types []Type
	for p.accept("WHEN") {
		when, err := p.expr()
		if err != nil {
			return when, err
		}
		if err := p.expect("THEN"); err != nil {
			return when, err
		}
		then, err := p.expr()
		if err != nil {
			return then, err
		}
		types = append(types, then.Type)
		b.WriteString(" WHEN " + when.SQL + " THEN " + then.SQL)
	}
	if types == nil {
		return Value{}, p.unexpected("WHEN")
	}
	if p.accept("ELSE") {
		v, err := p.expr()
		if err != nil {
			return v, err
		}
		types = append(types, v.Type)
		b.WriteString(" ELSE " + v.SQL)
	}
	b.WriteString(" END)")
	return Value{b.String(), common(types...)}, p.expect("END")
}

// common returns the type that all have, or Unknown.
func common(types ...Type) Type {
	for _, t := range types {
		if t != types[0] {
			return Unknown
		}
	}
	return types[0]
}

func (p *parser) array() (Value, error) {
	if p.accept("(") {
		p.value = true
		q, err := p.query()
		if err != nil {
			return Value{}, err
		}
		return Value{"ARRAY(" + q + ")", Array}, p.expect(")")
	}
	typ := ""
	if p.looking("<") {
		t, err := p.typeArguments()
		if err != nil {
			return Value{}, err
		}
		typ = t
	}
	if err := p.expect("["); err != nil {
		return Value{}, err
	}
	list, err := p.list("]")
	sql := "[" + sqlList(list) + "]"
	if typ != "" {
		sql = "CAST(" + sql + " AS " + typ + "[])"
	}
	return Value{sql, Array}, err
}

// structValue reads STRUCT(a, b AS c). An unnamed field gets the name that
// results show for it.
func (p *parser) structValue(t token) (Value, error) {
	if p.looking("<") {
		return p.typedStruct()
	}
	if err := p.expect("("); err != nil {
		return Value{}, err
	}
	var parts, names []string
	for !p.accept(")") {
		if len(parts) > 0 {
			if err := p.expect(","); err != nil {
				return Value{}, err
			}
		}
		start := p.at
		v, err := p.expr()
		if err != nil {
			return v, err
		}
		end := p.at
		name, err := p.alias()
		if err != nil {
			return v, err
		}
		if name == "" {
			name = p.pathName(start, end)
		}
		if name == "" {
			name = fmt.Sprintf("_field_%d", len(parts)+1)
		}
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return v, errorAt(p.sql, t.pos, "Duplicate field %s in a STRUCT", name)
		}
		names = append(names, name)
		parts = append(parts, Name(name)+" := "+v.SQL)
	}
	if len(parts) == 0 {
		return Value{}, p.refuse(t, "An empty STRUCT")
	}
	return Value{"struct_pack(" + strings.Join(parts, ", ") + ")", Struct}, nil
}

// typedStruct reads STRUCT<a INT64, ...>(1, ...) from the angle on.
func (p *parser) typedStruct() (Value, error) {
	c, st, err := p.structType()
	if err != nil {
		return Value{}, err
	}
	at := p.peek()
	if err := p.expect("("); err != nil {
		return Value{}, err
	}
	list, err := p.list(")")
	if err == nil && len(list) != len(c.Fields) {
		err = errorAt(p.sql, at.pos, "STRUCT type has %d fields but constructor call has %d fields", len(c.Fields), len(list))
	}
	return Value{"CAST(row(" + sqlList(list) + ") AS " + st.duck + ")", Struct}, err
}

// interval reads the rest of INTERVAL n unit.
func (p *parser) interval() (Value, error) {
	iv, err := p.intervalParts()
	if err != nil {
		return Value{}, err
	}
	u := units[iv.unit]
	if u.micros == 0 {
		return Value{fmt.Sprintf("to_months(CAST(%s AS INTEGER) * %d)", iv.n, u.months), Interval}, nil
	}
	return Value{fmt.Sprintf("to_microseconds(CAST(%s AS BIGINT) * %d)", iv.n, u.micros), Interval}, nil
}

// intervalValue is an interval of one unit, as most date functions take it.
type intervalValue struct {
	n     string // DuckDB expression
	unit  string
	token token
}

func (p *parser) intervalParts() (iv intervalValue, err error) {
	iv.token = p.peek()
	if iv.token.kind == tokenString {
		return iv, p.refuse(iv.token, "An INTERVAL in a string")
	}
	v, err := p.bits(0)
	if err != nil {
		return iv, err
	}
	iv.n = v.SQL
	iv.unit, err = p.unit()
	return iv, err
}

// unit reads a date part that is a length of time.
func (p *parser) unit() (string, error) {
	t := p.peek()
	name := strings.ToUpper(t.text)
	if _, ok := units[name]; !ok || t.kind != tokenName {
		return "", p.unexpected("a date part")
	}
	p.next()
	return name, nil
}
