package googlesql

import (
	"fmt"
	"slices"
	"strings"
)

// query reads [WITH ...] set expression [ORDER BY ...] [LIMIT ...].
func (p *parser) query() (string, error) {
	if err := p.enter(); err != nil {
		return "", err
	}
	defer p.leave()
	value := p.value
	p.value = false
	var b strings.Builder
	p.scopes = append(p.scopes, nil)
	defer func() { p.scopes = p.scopes[:len(p.scopes)-1] }()
	if p.accept("WITH") {
		if err := p.with(&b); err != nil {
			return "", err
		}
	}
	p.valueItems = nil
	if err := p.setExpression(&b, value); err != nil {
		return "", err
	}
	defer func() { p.valueItems = nil }()
	if p.looking("ORDER", "BY") {
		order, err := p.orderBy()
		if err != nil {
			return "", err
		}
		b.WriteString(" " + order)
	}
	if p.accept("LIMIT") {
		n, err := p.count()
		if err != nil {
			return "", err
		}
		b.WriteString(" LIMIT " + n)
		if p.accept("OFFSET") {
			n, err := p.count()
			if err != nil {
				return "", err
			}
			b.WriteString(" OFFSET " + n)
		}
	}
	if p.looking("|>") {
		return "", p.refuse(p.peek(), "Pipe syntax")
	}
	return b.String(), nil
}

// count reads the operand of LIMIT and OFFSET: a literal or a parameter.
func (p *parser) count() (string, error) {
	if k := p.peek().kind; k != tokenNumber && k != tokenParam {
		return "", p.unexpected("a number or a parameter")
	}
	v, err := p.primary()
	return v.SQL, err
}

func (p *parser) with(b *strings.Builder) error {
	b.WriteString("WITH ")
	recursive := p.accept("RECURSIVE")
	if recursive {
		b.WriteString("RECURSIVE ")
	}
	for i := 0; ; i++ {
		if i > 0 {
			b.WriteString(", ")
		}
		name, err := p.identifier("a name")
		if err != nil {
			return err
		}
		top := len(p.scopes) - 1
		if recursive {
			p.scopes[top] = append(p.scopes[top], name)
		}
		if err := p.expect("AS", "("); err != nil {
			return err
		}
		q, err := p.query()
		if err != nil {
			return err
		}
		if err := p.expect(")"); err != nil {
			return err
		}
		p.scopes[top] = append(p.scopes[top], name)
		fmt.Fprintf(b, "%s AS (%s)", Name(name), q)
		if !p.accept(",") {
			b.WriteString(" ")
			return nil
		}
	}
}

// setExpression reads SELECTs and parenthesized queries with set operators
// between. GoogleSQL does not let different operators mix without parentheses.
func (p *parser) setExpression(b *strings.Builder, value bool) error {
	first := ""
	for {
		if p.accept("(") {
			p.value = value
			q, err := p.query()
			if err != nil {
				return err
			}
			if err := p.expect(")"); err != nil {
				return err
			}
			b.WriteString("(" + q + ")")
		} else {
			s, err := p.selectClause(value)
			if err != nil {
				return err
			}
			b.WriteString(s)
		}
		start := p.peek()
		// Both dialects fill what one side lacks with NULL: GoogleSQL if it says FULL.
		full := p.accept("FULL", "OUTER") || p.accept("FULL")
		op := p.acceptAny("UNION", "INTERSECT", "EXCEPT")
		if op == "" && !full {
			return nil
		}
		switch {
		case full && op == "UNION" && p.accept("ALL", "BY", "NAME"):
			op = "UNION ALL BY NAME"
		case full:
			return p.refuse(start, "FULL but for FULL UNION ALL BY NAME")
		case op == "UNION" && p.accept("ALL"):
			op = "UNION ALL"
		case p.accept("DISTINCT"):
			op += " DISTINCT"
			if op != "UNION DISTINCT" {
				op = strings.TrimSuffix(op, " DISTINCT")
			} else {
				op = "UNION"
			}
		default:
			return p.unexpected("ALL or DISTINCT")
		}
		if p.looking("BY", "NAME") || p.looking("STRICT") || p.looking("CORRESPONDING") {
			return p.refuse(p.peek(), "A set operation by name")
		}
		if first == "" {
			first = op
		}
		if op != first {
			return errorAt(p.sql, start.pos, "Syntax error: Different set operations cannot be used in the same query without using parentheses for grouping")
		}
		b.WriteString(" " + op + " ")
	}
}

// selectItem is one expression of a SELECT list, or a star.
type selectItem struct {
	sql     string
	alias   string
	star    string   // "*" or "x.*"
	exclude []string // of a star, quoted
	replace string   // " REPLACE (...)"
}

func (p *parser) selectClause(value bool) (string, error) {
	if err := p.expect("SELECT"); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("SELECT ")
	if p.looking("WITH") {
		return "", p.refuse(p.peek(), "SELECT WITH")
	}
	if p.accept("DISTINCT") {
		b.WriteString("DISTINCT ")
	} else {
		p.accept("ALL")
	}
	start := p.peek()
	as := ""
	if p.looking("AS") {
		p.next()
		if as = p.acceptAny("STRUCT", "VALUE"); as == "" {
			return "", p.unexpected("STRUCT or VALUE")
		}
		if as == "VALUE" && !value {
			return "", p.refuse(start, "SELECT AS VALUE outside of an expression")
		}
		if !value {
			as = ""
		}
	}
	items, err := p.selectList()
	if err != nil {
		return "", err
	}
	p.from = append(p.from, nil)
	wildcards := p.wildcards
	p.wildcards = nil
	defer func() {
		p.from, p.wildcards = p.from[:len(p.from)-1], wildcards
		if as != "" {
			p.valueItems = items
		}
	}()
	from := ""
	if p.accept("FROM") {
		from, err = p.fromClause()
		if err != nil {
			return "", err
		}
		from = " FROM " + from
	}
	list, err := p.writeList(items, as, start)
	if err != nil {
		return "", err
	}
	b.WriteString(list + from)
	if p.accept("WHERE") {
		v, err := p.expr()
		if err != nil {
			return "", err
		}
		b.WriteString(" WHERE " + v.SQL)
	}
	if p.accept("GROUP", "BY") {
		group, err := p.groupBy(items)
		if err != nil {
			return "", err
		}
		b.WriteString(" GROUP BY " + group)
	}
	for _, clause := range []string{"HAVING", "QUALIFY"} {
		if p.accept(clause) {
			v, err := p.expr()
			if err != nil {
				return "", err
			}
			b.WriteString(" " + clause + " " + v.SQL)
		}
	}
	if p.accept("WINDOW") {
		windows, err := p.windows()
		if err != nil {
			return "", err
		}
		// DuckDB wants the windows before QUALIFY; both clauses are after
		// GROUP BY and HAVING.
		s := b.String()
		if i := strings.LastIndex(s, " QUALIFY "); i >= 0 {
			return s[:i] + windows + s[i:], nil
		}
		b.WriteString(windows)
	}
	return b.String(), nil
}

// writeList writes a SELECT list. as is STRUCT or VALUE of SELECT AS.
func (p *parser) writeList(items []selectItem, as string, start token) (string, error) {
	var parts []string
	for _, item := range items {
		sql := item.sql
		switch {
		case item.star != "" && as != "":
			return "", p.refuse(start, "* in SELECT AS "+as)
		case item.star != "":
			sql = p.writeStar(item)
		case as == "STRUCT":
			sql = Name(item.alias) + " := " + sql
		case as == "" && item.alias != "":
			sql += " AS " + Name(item.alias)
		}
		parts = append(parts, sql)
	}
	list := strings.Join(parts, ", ")
	switch {
	case as == "STRUCT":
		return "struct_pack(" + list + ")", nil
	case as == "VALUE" && len(items) != 1:
		return "", errorAt(p.sql, start.pos, "SELECT AS VALUE query must have exactly one column")
	}
	return list, nil
}

// writeStar writes a star, without the pseudo-columns of wildcard tables.
func (p *parser) writeStar(item selectItem) string {
	exclude := item.exclude
	for _, alias := range p.wildcards {
		if item.star == "*" || item.star == Name(alias)+".*" {
			exclude = append(slices.Clone(exclude), Name(tableSuffix))
			break
		}
	}
	sql := item.star
	if len(exclude) > 0 {
		sql += " EXCLUDE (" + strings.Join(exclude, ", ") + ")"
	}
	return sql + item.replace
}

func (p *parser) windows() (string, error) {
	var out []string
	for {
		name, err := p.identifier("a window name")
		if err != nil {
			return "", err
		}
		if err := p.expect("AS"); err != nil {
			return "", err
		}
		spec, err := p.windowSpec()
		if err != nil {
			return "", err
		}
		out = append(out, Name(name)+" AS "+spec)
		if !p.accept(",") {
			return " WINDOW " + strings.Join(out, ", "), nil
		}
	}
}

// selectList reads the list. A column without a name of its own gets the name
// that BigQuery gives it: f0_, f1_...
func (p *parser) selectList() ([]selectItem, error) {
	var items []selectItem
	unnamed := 0
	for {
		item, named, err := p.selectItem()
		if err != nil {
			return nil, err
		}
		if !named {
			item.alias = fmt.Sprintf("f%d_", unnamed)
			unnamed++
		}
		items = append(items, item)
		if !p.accept(",") {
			return items, nil
		}
		// A trailing comma is allowed.
		if t := p.peek(); t.is("FROM") || t.is(")") || t.is(";") || t.kind == tokenEOF {
			return items, nil
		}
	}
}

func (p *parser) selectItem() (item selectItem, named bool, err error) {
	if p.accept("*") {
		item, err = p.starModifiers("*")
		return item, true, err
	}
	start := p.at
	v, err := p.expr()
	if err != nil {
		return item, false, err
	}
	if p.looking(".", "*") {
		p.at += 2
		item, err = p.starModifiers(v.SQL + ".*")
		return item, true, err
	}
	item.sql = v.SQL
	end := p.at
	if item.alias, err = p.alias(); err != nil || item.alias != "" {
		return item, true, err
	}
	item.alias = p.pathName(start, end)
	return item, item.alias != "", nil
}

// pathName returns the last part of the path that the tokens from start to end
// are, or "" if they are none.
func (p *parser) pathName(start, end int) string {
	for i := start; i < end; i++ {
		t := p.tokens[i]
		if dot := (i-start)%2 == 1; dot != t.is(".") || !dot && t.kind != tokenName && t.kind != tokenQuoted {
			return ""
		}
	}
	last := p.tokens[end-1]
	if end-start == 1 && !last.isIdentifier() {
		return ""
	}
	return last.text
}

// starModifiers reads EXCEPT (...) and REPLACE (...) after a star.
func (p *parser) starModifiers(star string) (selectItem, error) {
	item := selectItem{star: star}
	if p.accept("EXCEPT", "(") {
		names, err := p.columnNames()
		if err != nil {
			return item, err
		}
		item.exclude = names
	}
	if p.accept("REPLACE", "(") {
		var parts []string
		for {
			v, err := p.expr()
			if err != nil {
				return item, err
			}
			p.accept("AS")
			name, err := p.identifier("a column name")
			if err != nil {
				return item, err
			}
			parts = append(parts, v.SQL+" AS "+Name(name))
			if !p.accept(",") {
				break
			}
		}
		if err := p.expect(")"); err != nil {
			return item, err
		}
		item.replace = " REPLACE (" + strings.Join(parts, ", ") + ")"
	}
	return item, nil
}

// groupBy reads the grouping. In GoogleSQL an alias of the SELECT list hides a
// column of the same name, in DuckDB it is the other way round: so an alias is
// replaced by what it stands for.
func (p *parser) groupBy(items []selectItem) (string, error) {
	if p.accept("ALL") {
		return "ALL", nil
	}
	var out []string
	for {
		sql, err := p.grouping(items)
		if err != nil {
			return "", err
		}
		out = append(out, sql)
		if !p.accept(",") {
			return strings.Join(out, ", "), nil
		}
	}
}

// grouping reads an expression or a set of groupings.
func (p *parser) grouping(items []selectItem) (string, error) {
	if err := p.enter(); err != nil {
		return "", err
	}
	defer p.leave()
	set := ""
	switch {
	case p.accept("GROUPING", "SETS", "("):
		set = "GROUPING SETS"
	case p.accept("ROLLUP", "("):
		set = "ROLLUP"
	case p.accept("CUBE", "("):
		set = "CUBE"
	case p.accept("(", ")"):
		return "()", nil
	}
	if set == "" {
		start := p.at
		v, err := p.expr()
		return p.aliased(v, start, items), err
	}
	var out []string
	for {
		sql, err := p.grouping(items)
		if err != nil {
			return "", err
		}
		out = append(out, sql)
		if !p.accept(",") {
			return set + " (" + strings.Join(out, ", ") + ")", p.expect(")")
		}
	}
}

// aliased returns what v stands for if it is the alias of an item; start is the
// first of its tokens.
func (p *parser) aliased(v Value, start int, items []selectItem) string {
	if name := p.tokens[start]; p.at == start+1 && name.isIdentifier() {
		for _, item := range items {
			if strings.EqualFold(item.alias, name.text) {
				return item.sql
			}
		}
	}
	return v.SQL
}

// orderBy reads ORDER BY. NULLs come first in ascending order, as BigQuery has
// them, whatever DuckDB's setting is.
func (p *parser) orderBy() (string, error) {
	if err := p.expect("ORDER", "BY"); err != nil {
		return "", err
	}
	items := p.valueItems
	p.valueItems = nil
	var out []string
	for {
		start := p.at
		v, err := p.expr()
		if err != nil {
			return "", err
		}
		v.SQL = p.aliased(v, start, items)
		direction, nulls := "ASC", "NULLS FIRST"
		if p.accept("DESC") {
			direction, nulls = "DESC", "NULLS LAST"
		} else {
			p.accept("ASC")
		}
		if p.accept("NULLS", "FIRST") {
			nulls = "NULLS FIRST"
		} else if p.accept("NULLS", "LAST") {
			nulls = "NULLS LAST"
		}
		if p.looking("COLLATE") {
			return "", p.refuse(p.peek(), "COLLATE")
		}
		out = append(out, v.SQL+" "+direction+" "+nulls)
		if !p.accept(",") {
			return "ORDER BY " + strings.Join(out, ", "), nil
		}
	}
}

// fromClause reads tables and joins.
func (p *parser) fromClause() (string, error) {
	var b strings.Builder
	table, _, err := p.fromItem()
	if err != nil {
		return "", err
	}
	b.WriteString(table)
	for {
		start := p.peek()
		if p.looking("NATURAL") {
			return "", p.refuse(start, "NATURAL JOIN")
		}
		if p.looking("PIVOT") || p.looking("UNPIVOT") || p.looking("TABLESAMPLE") || p.looking("MATCH_RECOGNIZE") {
			return "", p.refuse(start, strings.ToUpper(start.text))
		}
		join := ""
		switch {
		case p.accept(","), p.accept("CROSS", "JOIN"):
			join = "CROSS JOIN"
		case p.accept("INNER", "JOIN"), p.accept("JOIN"):
			join = "INNER JOIN"
		case p.accept("LEFT", "OUTER", "JOIN"), p.accept("LEFT", "JOIN"):
			join = "LEFT JOIN"
		case p.accept("RIGHT", "OUTER", "JOIN"), p.accept("RIGHT", "JOIN"):
			join = "RIGHT JOIN"
		case p.accept("FULL", "OUTER", "JOIN"), p.accept("FULL", "JOIN"):
			join = "FULL JOIN"
		default:
			return b.String(), nil
		}
		table, array, err := p.fromItem()
		if err != nil {
			return "", err
		}
		b.WriteString(" " + join + " " + table)
		switch {
		case join == "CROSS JOIN":
		case p.accept("ON"):
			v, err := p.expr()
			if err != nil {
				return "", err
			}
			b.WriteString(" ON " + v.SQL)
		case p.accept("USING", "("):
			var names []string
			for {
				name, err := p.identifier("a column name")
				if err != nil {
					return "", err
				}
				names = append(names, Name(name))
				if !p.accept(",") {
					break
				}
			}
			if err := p.expect(")"); err != nil {
				return "", err
			}
			b.WriteString(" USING (" + strings.Join(names, ", ") + ")")
		case array:
			b.WriteString(" ON TRUE")
		default:
			return "", p.unexpected("ON or USING")
		}
	}
}

// fromItem reads one table, subquery, join in parentheses or array.
func (p *parser) fromItem() (sql string, array bool, err error) {
	if err := p.enter(); err != nil {
		return "", false, err
	}
	defer p.leave()
	switch {
	case p.looking("UNNEST"):
		p.next()
		if err := p.expect("("); err != nil {
			return "", false, err
		}
		v, err := p.expr()
		if err != nil {
			return "", false, err
		}
		if err := p.expect(")"); err != nil {
			return "", false, err
		}
		sql, err = p.unnest(v.SQL, "")
		return sql, true, err
	case p.looking("("):
		return p.fromParenthesis()
	}
	parts, start, err := p.tablePath()
	if err != nil {
		return "", false, err
	}
	if p.looking("(") {
		return "", false, p.refuse(start, "Table function "+strings.Join(parts, "."))
	}
	// An array of a table named before, as in FROM t, t.items.
	if len(parts) > 1 && len(p.from) > 0 && inScopes(p.from[len(p.from)-1:], parts[0]) {
		names := make([]string, len(parts))
		for i, part := range parts {
			names[i] = Name(part)
		}
		sql, err = p.unnest(strings.Join(names, "."), parts[len(parts)-1])
		return sql, true, err
	}
	sql, err = p.tableReference(parts, start)
	return sql, false, err
}

func (p *parser) fromParenthesis() (sql string, array bool, err error) {
	// What follows the parentheses tells a query from a join.
	at := 0
	for p.peekAt(at).is("(") {
		at++
	}
	p.next()
	if t := p.peekAt(at - 1); !t.is("SELECT") && !t.is("WITH") {
		sql, err = p.fromClause()
		if err != nil {
			return "", false, err
		}
		return "(" + sql + ")", false, p.expect(")")
	}
	q, err := p.query()
	if err != nil {
		return "", false, err
	}
	if err := p.expect(")"); err != nil {
		return "", false, err
	}
	alias, err := p.tableAlias("")
	return "(" + q + ")" + alias, false, err
}

// tableAlias reads an alias, defaulting to def, and notes it.
func (p *parser) tableAlias(def string) (string, error) {
	alias, err := p.alias()
	if err != nil {
		return "", err
	}
	if alias == "" {
		alias = def
	}
	if p.looking("FOR", "SYSTEM_TIME") {
		return "", p.refuse(p.peek(), "FOR SYSTEM_TIME AS OF")
	}
	if alias == "" {
		return "", nil
	}
	top := len(p.from) - 1
	p.from[top] = append(p.from[top], alias)
	return " AS " + Name(alias), nil
}

func (p *parser) tableReference(parts []string, start token) (string, error) {
	name := parts[len(parts)-1]
	source := ""
	switch n := len(parts); {
	case n == 1 && p.isCommon(name):
		source = Name(name)
	case n >= 2 && strings.EqualFold(parts[n-2], "INFORMATION_SCHEMA"):
		dataset := p.opts.Dataset
		if n >= 3 {
			dataset = parts[n-3]
		}
		q, ok := "", false
		if p.opts.Information != nil {
			q, ok = p.opts.Information(dataset, strings.ToUpper(name))
		}
		if !ok {
			return "", p.refuse(start, strings.Join(parts, "."))
		}
		source = "(" + q + ")"
	case strings.HasSuffix(name, "*"):
		return p.wildcard(parts, start)
	default:
		t, err := p.resolve(parts, start)
		if err != nil {
			return "", err
		}
		source = t.duck()
		if p.opts.View && t.Dataset == p.opts.Dataset && !p.isCommon(t.Name) {
			source = Name(t.Name)
		}
	}
	alias, err := p.tableAlias(name)
	return source + alias, err
}

// tableSuffix is the pseudo-column of a wildcard table.
const tableSuffix = "_TABLE_SUFFIX"

// wildcard writes all tables whose names begin as the pattern does. Columns are
// those of all of them, by name.
func (p *parser) wildcard(parts []string, start token) (string, error) {
	if p.opts.Tables == nil {
		return "", p.refuse(start, "A wildcard table")
	}
	parts = slices.Clone(parts)
	last := len(parts) - 1
	parts[last] = strings.TrimSuffix(parts[last], "*")
	prefix := parts[last]
	if prefix == "" {
		parts[last] = "x" // any name resolves
	}
	t, err := p.resolve(parts, start)
	if err != nil {
		return "", err
	}
	tables, views := p.opts.Tables(t.Dataset)
	for _, name := range views {
		if strings.HasPrefix(name, prefix) {
			return "", errorAt(p.sql, start.pos, "Views cannot be queried through prefix. First view %s:%s.%s", p.opts.Project, t.Dataset, name)
		}
	}
	var selects []string
	for _, name := range tables {
		if suffix, ok := strings.CutPrefix(name, prefix); ok {
			source := Table{Dataset: t.Dataset, Name: name}.duck()
			if p.opts.View && t.Dataset == p.opts.Dataset && !p.isCommon(name) {
				source = Name(name)
			}
			selects = append(selects, "SELECT *, "+Text(suffix)+" AS "+Name(tableSuffix)+" FROM "+source)
		}
	}
	if selects == nil {
		return "", errorAt(p.sql, start.pos, "Not found: %s.%s* does not match any table", t.Dataset, prefix)
	}
	alias, err := p.tableAlias(prefix + "*")
	if err != nil {
		return "", err
	}
	top := p.from[len(p.from)-1]
	p.wildcards = append(p.wildcards, top[len(top)-1])
	return "(" + strings.Join(selects, " UNION ALL BY NAME ") + ")" + alias, nil
}

// unnest reads the alias and the offset of an array in FROM and writes it.
func (p *parser) unnest(array, def string) (string, error) {
	alias, err := p.alias()
	if err != nil {
		return "", err
	}
	if alias == "" {
		alias = def
	}
	if alias == "" {
		alias = "f0_"
	}
	offset := ""
	if p.accept("WITH", "OFFSET") {
		name, err := p.alias()
		if err != nil {
			return "", err
		}
		if name == "" {
			name = "offset"
		}
		offset = ", generate_subscripts(" + array + ", 1) - 1 AS " + Name(name)
	}
	top := len(p.from) - 1
	p.from[top] = append(p.from[top], alias)
	// The table has a name that no column reference can mean, so that the alias
	// is the element, as in BigQuery.
	return fmt.Sprintf("LATERAL (SELECT unnest(%s) AS %s%s) AS %s", array, Name(alias), offset, Name("unnest "+alias)), nil
}
