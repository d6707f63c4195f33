package googlesql

import (
	"slices"
	"strings"
)

// parser reads a statement from left to right and writes its translation as it
// goes.
type parser struct {
	sql        string
	tokens     []token
	at         int
	depth      int
	opts       Options
	positional int        // positional parameters used
	scopes     [][]string // names of common table expressions, innermost last
	from       [][]string // aliases of the FROM clauses being read, innermost last
	wildcards  []string   // aliases of wildcard tables of the innermost FROM
	// value is set before a query that is an expression: SELECT AS STRUCT makes
	// structs there, and columns elsewhere.
	value bool
	// valueItems are the items of the SELECT AS STRUCT or VALUE that was just
	// read: its columns have no names that ORDER BY could mean.
	valueItems []selectItem
}

// maxDepth bounds nesting, so that a hostile statement cannot exhaust the stack.
const maxDepth = 200

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) peekAt(n int) token { return p.tokens[min(p.at+n, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokenEOF {
		p.at++
	}
	return t
}

// is reports whether the token is the symbol or, in any case, the keyword.
func (t token) is(text string) bool {
	switch t.kind {
	case tokenSymbol:
		return t.text == text
	case tokenName:
		return strings.EqualFold(t.text, text)
	}
	return false
}

// looking reports whether the next tokens are these.
func (p *parser) looking(texts ...string) bool {
	for i, text := range texts {
		if !p.peekAt(i).is(text) {
			return false
		}
	}
	return true
}

// accept consumes these tokens if they are next.
func (p *parser) accept(texts ...string) bool {
	if !p.looking(texts...) {
		return false
	}
	p.at += len(texts)
	return true
}

// acceptAny consumes one of these tokens and returns it as given here, or "".
func (p *parser) acceptAny(texts ...string) string {
	for _, text := range texts {
		if p.accept(text) {
			return text
		}
	}
	return ""
}

func (p *parser) expect(texts ...string) error {
	for _, text := range texts {
		if !p.accept(text) {
			return p.unexpected(text)
		}
	}
	return nil
}

func (p *parser) unexpected(want string) error {
	t := p.peek()
	got := t.text
	switch t.kind {
	case tokenEOF:
		got = "end of statement"
	case tokenString, tokenBytes:
		got = "a literal"
	case tokenParam:
		got = "a parameter"
	}
	return errorAt(p.sql, t.pos, "Syntax error: Expected %s but got %s", want, got)
}

// refuse makes the error of something that is GoogleSQL, but not translated.
func (p *parser) refuse(t token, what string) error {
	return errorAt(p.sql, t.pos, "%s is not supported by the local stand-in", what)
}

// reserved are GoogleSQL's reserved keywords: never a name without backticks.
var reserved = words(`ALL AND ANY ARRAY AS ASC ASSERT_ROWS_MODIFIED AT BETWEEN BY CASE CAST COLLATE CONTAINS CREATE
	CROSS CUBE CURRENT DEFAULT DEFINE DESC DISTINCT ELSE END ENUM ESCAPE EXCEPT EXCLUDE EXISTS EXTRACT FALSE FETCH
	FOLLOWING FOR FROM FULL GROUP GROUPING GROUPS HASH HAVING IF IGNORE IN INNER INTERSECT INTERVAL INTO IS JOIN
	LATERAL LEFT LIKE LIMIT LOOKUP MERGE NATURAL NEW NO NOT NULL NULLS OF ON OR ORDER OUTER OVER PARTITION PRECEDING
	PROTO QUALIFY RANGE RECURSIVE RESPECT RIGHT ROLLUP ROWS SELECT SET SOME STRUCT TABLESAMPLE THEN TO TREAT TRUE
	UNBOUNDED UNION UNNEST USING WHEN WHERE WINDOW WITH WITHIN`)

func words(s string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(s) {
		out[w] = true
	}
	return out
}

func (t token) isIdentifier() bool {
	return t.kind == tokenQuoted || t.kind == tokenName && !reserved[strings.ToUpper(t.text)]
}

// identifier reads a name.
func (p *parser) identifier(what string) (string, error) {
	if !p.peek().isIdentifier() {
		return "", p.unexpected(what)
	}
	return p.next().text, nil
}

// field reads a name after a dot, where keywords are names too.
func (p *parser) field() (string, error) {
	if t := p.peek(); t.kind == tokenName || t.kind == tokenQuoted {
		return p.next().text, nil
	}
	return "", p.unexpected("a field name")
}

// alias reads [AS] name, or returns "".
func (p *parser) alias() (string, error) {
	if p.accept("AS") {
		return p.identifier("an alias")
	}
	if p.peek().isIdentifier() {
		return p.next().text, nil
	}
	return "", nil
}

// enter guards a recursion; the caller calls leave.
func (p *parser) enter() error {
	p.depth++
	if p.depth > maxDepth {
		return errorAt(p.sql, p.peek().pos, "The statement is nested too deeply")
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// tablePath reads the name of a table: parts with dots between, each with or
// without backticks, which may hold dots themselves. Without them a part may
// hold dashes.
func (p *parser) tablePath() ([]string, token, error) {
	start := p.peek()
	var parts []string
	for {
		t := p.peek()
		switch {
		case t.kind == tokenQuoted:
			p.next()
			parts = append(parts, strings.Split(t.text, ".")...)
		case t.kind == tokenName && (len(parts) > 0 || t.isIdentifier()):
			p.next()
			text := t.text
			for p.looking("-") && p.peek().glue && p.peekAt(1).glue {
				p.next()
				text += "-" + p.next().text
			}
			parts = append(parts, text)
		default:
			return nil, start, p.unexpected("a table name")
		}
		if !p.accept(".") {
			return parts, start, nil
		}
	}
}

// resolve makes a table of the parts of a name.
func (p *parser) resolve(parts []string, start token) (Table, error) {
	t := Table{Project: p.opts.Project, Dataset: p.opts.Dataset}
	if slices.Contains(parts, "") {
		return t, errorAt(p.sql, start.pos, "Invalid table name: %s", strings.Join(parts, "."))
	}
	switch n := len(parts); {
	case n == 1 && t.Dataset == "":
		return t, errorAt(p.sql, start.pos, "Table %q must be qualified with a dataset (e.g. dataset.table)", parts[0])
	case n == 1:
	case n == 2:
		t.Dataset = parts[0]
	case n == 3:
		t.Project, t.Dataset = parts[0], parts[1]
	default:
		return t, errorAt(p.sql, start.pos, "Invalid table name: %s", strings.Join(parts, "."))
	}
	t.Name = parts[len(parts)-1]
	if t.Project != p.opts.Project {
		return t, errorAt(p.sql, start.pos, "Not found: Project %s (this stand-in has only %s)", t.Project, p.opts.Project)
	}
	if strings.HasSuffix(t.Name, "*") {
		return t, p.refuse(start, "A wildcard table")
	}
	return t, nil
}

// isCommon reports whether name is a common table expression in scope.
func (p *parser) isCommon(name string) bool {
	return inScopes(p.scopes, name)
}

func inScopes(scopes [][]string, name string) bool {
	for _, scope := range scopes {
		for _, s := range scope {
			if strings.EqualFold(s, name) {
				return true
			}
		}
	}
	return false
}

func (t Table) duck() string { return Name(t.Dataset) + "." + Name(t.Name) }
