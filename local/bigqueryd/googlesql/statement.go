package googlesql

import (
	"strings"
)

// statement reads any statement.
func (p *parser) statement() (*Statement, error) {
	t := p.peek()
	switch {
	case t.is("SELECT"), t.is("WITH"), t.is("("):
		q, err := p.query()
		return &Statement{Kind: Query, SQL: q}, err
	case p.accept("INSERT"):
		return p.insert()
	case p.accept("UPDATE"):
		return p.update()
	case p.accept("DELETE"):
		return p.delete()
	case p.accept("MERGE"):
		return p.merge()
	case p.accept("TRUNCATE", "TABLE"):
		target, err := p.table()
		return &Statement{Kind: Truncate, Target: target, SQL: "DELETE FROM " + target.duck()}, err
	case p.accept("CREATE"):
		return p.create()
	case p.accept("DROP"):
		return p.drop()
	case p.accept("ALTER", "TABLE"):
		return p.alter()
	case t.kind == tokenEOF:
		return nil, errorAt(p.sql, t.pos, "Syntax error: Unexpected end of statement")
	}
	if t.kind == tokenName {
		return nil, p.refuse(t, "Statement "+strings.ToUpper(t.text))
	}
	return nil, p.unexpected("a statement")
}

func (p *parser) table() (Table, error) {
	parts, start, err := p.tablePath()
	if err != nil {
		return Table{}, err
	}
	return p.resolve(parts, start)
}

// dataset reads the name of a dataset.
func (p *parser) dataset() (Table, error) {
	parts, start, err := p.tablePath()
	if err != nil {
		return Table{}, err
	}
	t, err := p.resolve(append(parts, "x"), start)
	t.Name = ""
	return t, err
}

func (p *parser) insert() (*Statement, error) {
	p.accept("INTO")
	target, err := p.table()
	if err != nil {
		return nil, err
	}
	st := &Statement{Kind: Insert, Target: target}
	columns := ""
	if p.looking("(") && !p.peekAt(1).is("SELECT") && !p.peekAt(1).is("WITH") && !p.peekAt(1).is("(") {
		p.next()
		names, err := p.columnNames()
		if err != nil {
			return nil, err
		}
		columns = " (" + strings.Join(names, ", ") + ")"
	}
	source := ""
	if p.accept("VALUES") {
		var rows []string
		for {
			if err := p.expect("("); err != nil {
				return nil, err
			}
			row, err := p.list(")")
			if err != nil {
				return nil, err
			}
			rows = append(rows, "("+sqlList(row)+")")
			if !p.accept(",") {
				break
			}
		}
		source = "VALUES " + strings.Join(rows, ", ")
	} else if source, err = p.query(); err != nil {
		return nil, err
	}
	st.SQL = "INSERT INTO " + target.duck() + columns + " " + source
	return st, nil
}

func (p *parser) delete() (*Statement, error) {
	p.accept("FROM")
	target, alias, err := p.dmlTarget()
	if err != nil {
		return nil, err
	}
	where, err := p.dmlWhere()
	return &Statement{Kind: Delete, Target: target, SQL: "DELETE FROM " + target.duck() + alias + where}, err
}

func (p *parser) dmlTarget() (Table, string, error) {
	target, err := p.table()
	if err != nil {
		return target, "", err
	}
	p.from = append(p.from, nil)
	alias, err := p.tableAlias(target.Name)
	return target, alias, err
}

// dmlWhere reads WHERE, which GoogleSQL demands.
func (p *parser) dmlWhere() (string, error) {
	if err := p.expect("WHERE"); err != nil {
		return "", err
	}
	v, err := p.expr()
	return " WHERE " + v.SQL, err
}

func (p *parser) update() (*Statement, error) {
	target, alias, err := p.dmlTarget()
	if err != nil {
		return nil, err
	}
	if err := p.expect("SET"); err != nil {
		return nil, err
	}
	name := p.from[len(p.from)-1][0]
	sets, err := p.assignments(name)
	if err != nil {
		return nil, err
	}
	from := ""
	if p.accept("FROM") {
		tables, err := p.fromClause()
		if err != nil {
			return nil, err
		}
		from = " FROM " + tables
	}
	where, err := p.dmlWhere()
	st := &Statement{Kind: Update, Target: target, SQL: "UPDATE " + target.duck() + alias + " SET " + sets + from + where}
	if from != "" {
		st.Ambiguous = ambiguous(target.duck()+alias, name, strings.TrimPrefix(from, " FROM "), strings.TrimPrefix(where, " WHERE "))
	}
	return st, err
}

func (p *parser) create() (*Statement, error) {
	st := &Statement{OrReplace: p.accept("OR", "REPLACE")}
	start := p.peek()
	switch {
	case p.accept("TABLE"):
		st.Kind = CreateTable
	case p.accept("VIEW"):
		st.Kind = CreateView
	case p.accept("SCHEMA"):
		st.Kind = CreateDataset
	default:
		return nil, p.refuse(start, "CREATE "+strings.ToUpper(start.text))
	}
	st.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	var err error
	if st.Kind == CreateDataset {
		if st.Target, err = p.dataset(); err != nil {
			return nil, err
		}
		return st, p.options()
	}
	if st.Target, err = p.table(); err != nil {
		return nil, err
	}
	if st.Kind == CreateView {
		return st, p.createView(st)
	}
	return st, p.createTable(st)
}

func (p *parser) createView(st *Statement) error {
	if p.looking("(") {
		return p.refuse(p.peek(), "A view's column list")
	}
	if err := p.options(); err != nil {
		return err
	}
	if err := p.expect("AS"); err != nil {
		return err
	}
	from := p.peek().pos
	q, err := p.query()
	if err != nil {
		return err
	}
	st.SQL, st.Source = q, strings.TrimSpace(p.sql[from:p.peek().pos])
	return nil
}

func (p *parser) createTable(st *Statement) error {
	if p.accept("(") {
		columns, err := p.columnDefinitions()
		if err != nil {
			return err
		}
		st.Columns = columns
	}
	if p.accept("PARTITION", "BY") {
		if _, err := p.expr(); err != nil {
			return err
		}
	}
	if p.accept("CLUSTER", "BY") {
		for {
			if _, err := p.expr(); err != nil {
				return err
			}
			if !p.accept(",") {
				break
			}
		}
	}
	if err := p.options(); err != nil {
		return err
	}
	if p.accept("AS") {
		q, err := p.query()
		if err != nil {
			return err
		}
		st.SQL = q
	}
	if st.SQL == "" && st.Columns == nil {
		return p.unexpected("a column list or AS")
	}
	return nil
}

func (p *parser) columnDefinitions() ([]Column, error) {
	var out []Column
	for {
		start := p.peek()
		name, err := p.identifier("a column name")
		if err != nil {
			return nil, err
		}
		c, err := p.columnDefinition(name)
		if err != nil {
			return nil, err
		}
		if c.Required && c.Repeated {
			return nil, errorAt(p.sql, start.pos, "NOT NULL cannot be applied to ARRAY field %s", name)
		}
		out = append(out, c)
		if !p.accept(",") {
			return out, p.expect(")")
		}
	}
}

func (p *parser) columnDefinition(name string) (Column, error) {
	c, _, err := p.readType()
	if err != nil {
		return c, err
	}
	c.Name = name
	c.Required = p.accept("NOT", "NULL")
	if p.looking("DEFAULT") {
		return c, p.refuse(p.peek(), "A column DEFAULT")
	}
	return c, p.options()
}

// options skips OPTIONS(...), which describe and do not change results.
func (p *parser) options() error {
	if !p.accept("OPTIONS", "(") {
		return nil
	}
	for depth := 1; depth > 0; {
		switch t := p.next(); {
		case t.kind == tokenEOF:
			return p.unexpected(")")
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		}
	}
	return nil
}

func (p *parser) drop() (*Statement, error) {
	start := p.peek()
	st := &Statement{}
	switch {
	case p.accept("TABLE"):
		st.Kind = DropTable
	case p.accept("VIEW"):
		st.Kind = DropView
	case p.accept("SCHEMA"):
		st.Kind = DropDataset
	default:
		return nil, p.refuse(start, "DROP "+strings.ToUpper(start.text))
	}
	st.IfExists = p.accept("IF", "EXISTS")
	var err error
	if st.Kind != DropDataset {
		st.Target, err = p.table()
		return st, err
	}
	if st.Target, err = p.dataset(); err != nil {
		return nil, err
	}
	if st.Cascade = p.accept("CASCADE"); !st.Cascade {
		p.accept("RESTRICT")
	}
	return st, nil
}

func (p *parser) alter() (*Statement, error) {
	st := &Statement{Kind: AddColumns}
	var err error
	if st.Target, err = p.table(); err != nil {
		return nil, err
	}
	for {
		start := p.peek()
		if !p.accept("ADD", "COLUMN") {
			return nil, p.refuse(start, "ALTER TABLE other than ADD COLUMN")
		}
		p.accept("IF", "NOT", "EXISTS")
		name, err := p.identifier("a column name")
		if err != nil {
			return nil, err
		}
		c, err := p.columnDefinition(name)
		if err != nil {
			return nil, err
		}
		st.Columns = append(st.Columns, c)
		if !p.accept(",") {
			return st, nil
		}
	}
}
