package googlesql

import "strings"

// merge reads the rest of MERGE. DuckDB's is nearly the same.
func (p *parser) merge() (*Statement, error) {
	p.accept("INTO")
	target, alias, err := p.dmlTarget()
	if err != nil {
		return nil, err
	}
	defer func() { p.from = p.from[:len(p.from)-1] }()
	name := p.from[len(p.from)-1][0]
	if err := p.expect("USING"); err != nil {
		return nil, err
	}
	source, _, err := p.fromItem()
	if err != nil {
		return nil, err
	}
	if err := p.expect("ON"); err != nil {
		return nil, err
	}
	on, err := p.expr()
	if err != nil {
		return nil, err
	}
	st := &Statement{Kind: Merge, Target: target}
	var changes []string // conditions of changing a target row
	var b strings.Builder
	b.WriteString("MERGE INTO " + target.duck() + alias + " USING " + source + " ON " + on.SQL)
	for n := 0; ; n++ {
		if !p.accept("WHEN") {
			if n == 0 {
				return nil, p.unexpected("WHEN")
			}
			st.SQL = b.String()
			if changes != nil {
				st.Ambiguous = ambiguous(target.duck()+alias, name, source, "("+on.SQL+" AND ("+strings.Join(changes, " OR ")+"))")
			}
			return st, nil
		}
		clause, changing, err := p.mergeClause(name)
		if err != nil {
			return nil, err
		}
		b.WriteString(clause)
		if changing != "" {
			changes = append(changes, changing)
		}
	}
}

// ambiguous writes a query that has rows if several source rows meet the condition
// with one target row.
func ambiguous(target, alias, source, condition string) string {
	return "SELECT 1 FROM " + target + ", " + source + " WHERE " + condition + " GROUP BY " + Name(alias) + ".rowid HAVING count(*) > 1 LIMIT 1"
}

// mergeClause reads a clause after WHEN. changing is the condition of one that
// changes a matched row, or "".
func (p *parser) mergeClause(target string) (clause, changing string, err error) {
	when, bySource, matched := " WHEN NOT MATCHED BY TARGET", false, false
	switch {
	case p.accept("MATCHED"):
		when, matched = " WHEN MATCHED", true
	case p.accept("NOT", "MATCHED", "BY", "SOURCE"):
		when, bySource = " WHEN NOT MATCHED BY SOURCE", true
	case p.accept("NOT", "MATCHED", "BY", "TARGET"), p.accept("NOT", "MATCHED"):
	default:
		return "", "", p.unexpected("MATCHED or NOT MATCHED")
	}
	condition := "TRUE"
	if p.accept("AND") {
		v, err := p.expr()
		if err != nil {
			return "", "", err
		}
		condition = v.SQL
		when += " AND " + condition
	}
	if err := p.expect("THEN"); err != nil {
		return "", "", err
	}
	if matched {
		changing = condition
	}
	start := p.peek()
	switch inserts := !matched && !bySource; {
	case inserts && (p.looking("UPDATE") || p.looking("DELETE")):
		return "", "", errorAt(p.sql, start.pos, "%s is not allowed in WHEN NOT MATCHED BY TARGET", strings.ToUpper(start.text))
	case !inserts && p.looking("INSERT"):
		return "", "", errorAt(p.sql, start.pos, "INSERT is only allowed in WHEN NOT MATCHED BY TARGET")
	case p.accept("UPDATE", "SET"):
		sets, err := p.assignments(target)
		return when + " THEN UPDATE SET " + sets, changing, err
	case p.accept("DELETE"):
		return when + " THEN DELETE", changing, nil
	case p.accept("INSERT"):
		insert, err := p.mergeInsert()
		return when + " THEN INSERT" + insert, "", err
	}
	return "", "", p.unexpected("UPDATE SET, DELETE or INSERT")
}

func (p *parser) mergeInsert() (string, error) {
	columns := ""
	if p.accept("(") {
		names, err := p.columnNames()
		if err != nil {
			return "", err
		}
		columns = " (" + strings.Join(names, ", ") + ")"
	}
	if p.accept("ROW") {
		if columns != "" {
			return "", p.refuse(p.peek(), "INSERT of named columns with ROW")
		}
		return " *", nil
	}
	if err := p.expect("VALUES", "("); err != nil {
		return "", err
	}
	row, err := p.list(")")
	return columns + " VALUES (" + sqlList(row) + ")", err
}

// columnNames reads names up to the closing parenthesis.
func (p *parser) columnNames() ([]string, error) {
	var names []string
	for {
		name, err := p.identifier("a column name")
		if err != nil {
			return nil, err
		}
		names = append(names, Name(name))
		if !p.accept(",") {
			return names, p.expect(")")
		}
	}
}

// assignments reads column = expression, ...; the column may be qualified by the
// target's name.
func (p *parser) assignments(target string) (string, error) {
	var sets []string
	for {
		start := p.peek()
		name, err := p.identifier("a column name")
		if err != nil {
			return "", err
		}
		if strings.EqualFold(name, target) && p.accept(".") {
			if name, err = p.field(); err != nil {
				return "", err
			}
		}
		if p.looking(".") {
			return "", p.refuse(start, "UPDATE of a field of a STRUCT")
		}
		if err := p.expect("="); err != nil {
			return "", err
		}
		v, err := p.expr()
		if err != nil {
			return "", err
		}
		sets = append(sets, Name(name)+" = "+v.SQL)
		if !p.accept(",") {
			return strings.Join(sets, ", "), nil
		}
	}
}
