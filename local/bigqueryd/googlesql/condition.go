package googlesql

// Condition translates a Boolean expression over the columns of one table, such as
// the row restriction of a read session. Errors are *Error.
func Condition(sql string, opts Options) (string, error) {
	tokens, err := lex(sql)
	if err != nil {
		return "", err
	}
	p := &parser{sql: sql, tokens: tokens, opts: opts}
	v, err := p.expr()
	if err != nil {
		return "", err
	}
	if p.peek().kind != tokenEOF {
		return "", p.unexpected("end of the expression")
	}
	return v.SQL, nil
}
