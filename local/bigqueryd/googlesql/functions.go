package googlesql

import (
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
)

// call is a function call whose arguments were read.
type call struct {
	name     string
	token    token
	args     []Value
	literals []token // first token of each argument that is one token, else a zero token
	star     bool
	distinct bool
	nulls    string // "IGNORE NULLS", "RESPECT NULLS" or ""
	order    string // "ORDER BY ..."
	limit    string
	over     string // " OVER ..."
	extreme  string // of HAVING MAX x: "MAX"
	by       string // and x
}

// arg returns the SQL of argument i.
func (c *call) arg(i int) string { return c.args[i].SQL }

// text returns the string literal that argument i is.
func (c *call) text(i int) (string, bool) {
	return c.literals[i].text, c.literals[i].kind == tokenString
}

// function reads the arguments of a call and translates it; the opening
// parenthesis is consumed.
func (p *parser) function(t token, name string) (Value, error) {
	if err := p.enter(); err != nil {
		return Value{}, err
	}
	defer p.leave()
	switch name {
	case "CAST", "SAFE_CAST":
		return p.cast(name == "SAFE_CAST")
	case "EXTRACT":
		return p.extract(t)
	}
	if f, ok := dateFunctions[name]; ok {
		v, err := f(p, t)
		if err != nil {
			return v, err
		}
		return v, p.expect(")")
	}
	if !known(name) {
		return Value{}, p.refuse(t, "Function "+name)
	}
	c := &call{name: name, token: t}
	if err := p.arguments(c); err != nil {
		return Value{}, err
	}
	return p.call(c)
}

// known reports whether call translates the function.
func known(name string) bool {
	_, simpleOK := simple[name]
	_, specialOK := special[name]
	return simpleOK || specialOK || aggregates[name] || windowOnly[name]
}

// Functions returns the names of all functions that are translated, sorted.
func Functions() []string {
	names := []string{"CAST", "SAFE_CAST", "EXTRACT"}
	names = slices.AppendSeq(names, maps.Keys(dateFunctions))
	names = slices.AppendSeq(names, maps.Keys(simple))
	names = slices.AppendSeq(names, maps.Keys(special))
	names = slices.AppendSeq(names, maps.Keys(aggregates))
	names = slices.AppendSeq(names, maps.Keys(windowOnly))
	slices.Sort(names)
	return slices.Compact(names)
}

// arguments reads up to the closing parenthesis, and OVER after it.
func (p *parser) arguments(c *call) error {
	c.distinct = p.accept("DISTINCT")
	for !p.looking(")") {
		if len(c.args) > 0 || c.star {
			if !p.accept(",") {
				break
			}
		}
		if p.accept("*") {
			c.star = true
			continue
		}
		literal := p.peek()
		start := p.at
		v, err := p.expr()
		if err != nil {
			return err
		}
		if p.at != start+1 {
			literal = token{}
		}
		c.args = append(c.args, v)
		c.literals = append(c.literals, literal)
		if p.looking("=>") {
			return p.refuse(p.peek(), "A named argument of "+c.name)
		}
	}
	switch {
	case p.accept("IGNORE", "NULLS"):
		c.nulls = "IGNORE NULLS"
	case p.accept("RESPECT", "NULLS"):
		c.nulls = "RESPECT NULLS"
	}
	if start := p.peek(); p.accept("HAVING") {
		if c.name != "ANY_VALUE" {
			return p.refuse(start, "HAVING in "+c.name)
		}
		if c.extreme = p.acceptAny("MAX", "MIN"); c.extreme == "" {
			return p.unexpected("MAX or MIN")
		}
		v, err := p.expr()
		if err != nil {
			return err
		}
		c.by = v.SQL
	}
	if p.looking("ORDER", "BY") {
		order, err := p.orderBy()
		if err != nil {
			return err
		}
		c.order = order
	}
	if p.accept("LIMIT") {
		n, err := p.count()
		if err != nil {
			return err
		}
		c.limit = n
	}
	if err := p.expect(")"); err != nil {
		return err
	}
	if p.accept("OVER") {
		spec, err := p.windowSpec()
		if err != nil {
			return err
		}
		c.over = " OVER " + spec
	}
	return nil
}

// windowSpec reads a window name or specification.
func (p *parser) windowSpec() (string, error) {
	if !p.accept("(") {
		name, err := p.identifier("a window")
		return Name(name), err
	}
	var parts []string
	if t := p.peek(); t.isIdentifier() && !t.is("ROWS") {
		parts = append(parts, Name(p.next().text))
	}
	if p.accept("PARTITION", "BY") {
		var keys []string
		for {
			v, err := p.expr()
			if err != nil {
				return "", err
			}
			keys = append(keys, v.SQL)
			if !p.accept(",") {
				break
			}
		}
		parts = append(parts, "PARTITION BY "+strings.Join(keys, ", "))
	}
	if p.looking("ORDER", "BY") {
		order, err := p.orderBy()
		if err != nil {
			return "", err
		}
		parts = append(parts, order)
	}
	if kind := p.acceptAny("ROWS", "RANGE"); kind != "" {
		frame, err := p.frame(kind)
		if err != nil {
			return "", err
		}
		parts = append(parts, frame)
	}
	return "(" + strings.Join(parts, " ") + ")", p.expect(")")
}

func (p *parser) frame(kind string) (string, error) {
	if !p.accept("BETWEEN") {
		bound, err := p.frameBound()
		return kind + " " + bound, err
	}
	from, err := p.frameBound()
	if err != nil {
		return "", err
	}
	if err := p.expect("AND"); err != nil {
		return "", err
	}
	to, err := p.frameBound()
	return kind + " BETWEEN " + from + " AND " + to, err
}

func (p *parser) frameBound() (string, error) {
	if p.accept("CURRENT", "ROW") {
		return "CURRENT ROW", nil
	}
	bound := "UNBOUNDED"
	if !p.accept("UNBOUNDED") {
		v, err := p.bits(0)
		if err != nil {
			return "", err
		}
		bound = v.SQL
	}
	side := p.acceptAny("PRECEDING", "FOLLOWING")
	if side == "" {
		return "", p.unexpected("PRECEDING or FOLLOWING")
	}
	return bound + " " + side, nil
}

// arity checks the number of arguments; most below 0 means any number.
func (p *parser) arity(c *call, least, most int) error {
	n := len(c.args)
	if n < least || most >= 0 && n > most {
		return errorAt(p.sql, c.token.pos, "No matching signature for function %s: %d arguments", c.name, n)
	}
	return nil
}

// call translates a call.
func (p *parser) call(c *call) (Value, error) {
	isAggregate := aggregates[c.name] || windowOnly[c.name]
	if !isAggregate && (c.distinct || c.nulls != "" || c.order != "" || c.limit != "" || c.over != "" || c.star) {
		return Value{}, errorAt(p.sql, c.token.pos, "Function %s takes none of *, DISTINCT, NULLS, ORDER BY, LIMIT, OVER", c.name)
	}
	if isAggregate {
		return p.aggregate(c)
	}
	if f, ok := simple[c.name]; ok {
		if err := p.arity(c, f.least, f.most); err != nil {
			return Value{}, err
		}
		return Value{f.duck + "(" + sqlList(c.args) + ")", f.typ}, nil
	}
	f := special[c.name]
	if err := p.arity(c, f.least, f.most); err != nil {
		return Value{}, err
	}
	return f.translate(p, c)
}

// simple are the functions that DuckDB has with the same meaning.
var simple = map[string]struct {
	duck        string
	least, most int
	typ         Type
}{
	"ABS": {"abs", 1, 1, Unknown}, "ROUND": {"round", 1, 2, Unknown},
	"TRUNC": {"trunc", 1, 1, Unknown}, "CEIL": {"ceil", 1, 1, Unknown}, "CEILING": {"ceil", 1, 1, Unknown},
	"FLOOR": {"floor", 1, 1, Unknown}, "POW": {"pow", 2, 2, Float64}, "POWER": {"pow", 2, 2, Float64},
	"SQRT": {"sqrt", 1, 1, Float64}, "EXP": {"exp", 1, 1, Float64}, "LN": {"ln", 1, 1, Float64},
	"LOG10": {"log10", 1, 1, Float64}, "RAND": {"random", 0, 0, Float64}, "IS_NAN": {"isnan", 1, 1, Bool},
	"IS_INF": {"isinf", 1, 1, Bool}, "COALESCE": {"coalesce", 1, -1, Unknown}, "IFNULL": {"coalesce", 2, 2, Unknown},
	"NULLIF": {"nullif", 2, 2, Unknown}, "LOWER": {"lower", 1, 1, String}, "UPPER": {"upper", 1, 1, String},
	"CHAR_LENGTH": {"length", 1, 1, Int64}, "CHARACTER_LENGTH": {"length", 1, 1, Int64},
	"STARTS_WITH": {"starts_with", 2, 2, Bool}, "ENDS_WITH": {"ends_with", 2, 2, Bool},
	"REPLACE": {"replace", 3, 3, String}, "STRPOS": {"strpos", 2, 2, Int64}, "REPEAT": {"repeat", 2, 2, String},
	"REVERSE": {"reverse", 1, 1, String}, "REGEXP_CONTAINS": {"regexp_matches", 2, 2, Bool},
	"TO_BASE64": {"to_base64", 1, 1, String}, "FROM_BASE64": {"from_base64", 1, 1, Bytes},
	"FROM_HEX": {"unhex", 1, 1, Bytes}, "CHR": {"chr", 1, 1, String},
	"ARRAY_LENGTH": {"array_length", 1, 1, Int64}, "ARRAY_REVERSE": {"list_reverse", 1, 1, Array},
	"GENERATE_ARRAY": {"generate_series", 2, 3, Array}, "EDIT_DISTANCE": {"levenshtein", 2, 2, Int64},
	"GROUPING": {"grouping", 1, 1, Int64}, "BIT_COUNT": {"bit_count", 1, 1, Int64},
	"LAST_DAY": {"last_day", 1, 1, Date}, "ERROR": {"error", 1, 1, Unknown},
}

// specialFunction translates a call with the right number of arguments.
type specialFunction struct {
	least, most int
	translate   func(p *parser, c *call) (Value, error)
}

// template makes a specialFunction of a text in which $1, $2... stand for the
// arguments.
func template(n int, text string, typ Type) specialFunction {
	return specialFunction{n, n, func(_ *parser, c *call) (Value, error) {
		var pairs []string
		for i, a := range c.args {
			pairs = append(pairs, fmt.Sprintf("$%d", i+1), a.SQL)
		}
		return Value{strings.NewReplacer(pairs...).Replace(text), typ}, nil
	}}
}

// whiteSpace is what TRIM removes by default.
const whiteSpace = "' \t\n\r\f\v\u0085\u00A0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000'"

// special are the functions that need more than another name.
var special map[string]specialFunction

func init() {
	special = map[string]specialFunction{
		"IF":          {3, 3, translateIf},
		"SIGN":        template(1, "(CASE WHEN $1 > 0 THEN 1 WHEN $1 < 0 THEN -1 ELSE $1 END)", Unknown),
		"SAFE_DIVIDE": template(2, "(CASE WHEN $2 = 0 THEN NULL ELSE CAST($1 AS DOUBLE) / $2 END)", Float64),
		"IEEE_DIVIDE": template(2, "(CAST($1 AS DOUBLE) / CAST($2 AS DOUBLE))", Float64),
		"MOD": {2, 2, func(_ *parser, c *call) (Value, error) {
			return Value{"(" + c.arg(0) + " % " + nonZero(c.args[1]) + ")", c.args[0].Type}, nil
		}},
		"DIV": {2, 2, func(_ *parser, c *call) (Value, error) {
			return Value{"(" + c.arg(0) + " // " + nonZero(c.args[1]) + ")", Int64}, nil
		}},
		"LOG": {1, 2, func(_ *parser, c *call) (Value, error) {
			if len(c.args) == 1 {
				return Value{"ln(" + c.arg(0) + ")", Float64}, nil
			}
			return Value{"(ln(" + c.arg(0) + ") / ln(" + c.arg(1) + "))", Float64}, nil
		}},
		"GREATEST": {1, -1, unlessNull("greatest")},
		"LEAST":    {1, -1, unlessNull("least")},
		// DuckDB's concat skips NULL.
		"CONCAT": {1, -1, func(_ *parser, c *call) (Value, error) {
			return Value{"(" + strings.ReplaceAll(sqlJoin(c.args, "\x00"), "\x00", " || ") + ")", c.args[0].Type}, nil
		}},
		"LENGTH":          {1, 1, translateLength},
		"BYTE_LENGTH":     {1, 1, translateByteLength},
		"OCTET_LENGTH":    {1, 1, translateByteLength},
		"SUBSTR":          {2, 3, translateSubstr},
		"SUBSTRING":       {2, 3, translateSubstr},
		"LEFT":            template(2, "left($1, CASE WHEN $2 < 0 THEN error('Second argument in LEFT() cannot be negative') ELSE $2 END)", String),
		"RIGHT":           template(2, "right($1, CASE WHEN $2 < 0 THEN error('Second argument in RIGHT() cannot be negative') ELSE $2 END)", String),
		"CONTAINS_SUBSTR": template(2, "contains(lower(CAST($1 AS VARCHAR)), lower($2))", Bool),
		"SPLIT":           {1, 2, translateSplit},
		"TRIM":            {1, 2, translateTrim("trim")},
		"LTRIM":           {1, 2, translateTrim("ltrim")},
		"RTRIM":           {1, 2, translateTrim("rtrim")},
		"LPAD":            {2, 3, translatePad("lpad")},
		"RPAD":            {2, 3, translatePad("rpad")},
		"REGEXP_EXTRACT":  {2, 2, translateRegexpExtract},
		"REGEXP_SUBSTR":   {2, 2, translateRegexpExtract},
		"REGEXP_EXTRACT_ALL": {2, 2, func(p *parser, c *call) (Value, error) {
			group, err := p.captureGroup(c)
			return Value{fmt.Sprintf("regexp_extract_all(%s, %s, %d)", c.arg(0), c.arg(1), group), Array}, err
		}},
		"REGEXP_REPLACE": template(3, "regexp_replace($1, $2, $3, 'g')", String),
		// The number of boundaries up to x, which are sorted.
		"RANGE_BUCKET": template(2, "(CASE WHEN $1 IS NULL OR $2 IS NULL THEN NULL ELSE len(list_filter($2, lambda _boundary_: _boundary_ <= $1)) END)", Int64),
		"STRING":       {1, 2, translateString},
		// The host of a URL with or without a scheme, as it is spelled.
		"NET.HOST":                     template(1, `nullif(regexp_extract($1, '^\s*(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//)?(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:@\s]*)', 1), '')`, String),
		"HLL_COUNT.EXTRACT":            template(1, "hll_count_extract($1)", Int64),
		"TO_HEX":                       template(1, "lower(hex($1))", String),
		"MD5":                          template(1, "unhex(md5($1))", Bytes),
		"SHA1":                         template(1, "unhex(sha1($1))", Bytes),
		"SHA256":                       template(1, "unhex(sha256($1))", Bytes),
		"SAFE_CONVERT_BYTES_TO_STRING": template(1, "decode($1, 'replace')", String),
		"GENERATE_UUID":                template(0, "CAST(uuid() AS VARCHAR)", String),
		"ARRAY_CONCAT": {1, -1, func(_ *parser, c *call) (Value, error) {
			return Value{"(" + sqlJoin(c.args, " || ") + ")", Array}, nil
		}},
		"ARRAY_TO_STRING": {2, 3, func(_ *parser, c *call) (Value, error) {
			array := c.arg(0)
			if len(c.args) == 3 {
				array = "list_transform(" + array + ", lambda x: coalesce(x, " + c.arg(2) + "))"
			}
			return Value{"array_to_string(" + array + ", " + c.arg(1) + ")", String}, nil
		}},
		"ARRAY_FIRST":         template(1, "(CASE WHEN array_length($1) = 0 THEN error('ARRAY_FIRST cannot get the first element of an empty array') ELSE ($1)[1] END)", Unknown),
		"ARRAY_LAST":          template(1, "(CASE WHEN array_length($1) = 0 THEN error('ARRAY_LAST cannot get the last element of an empty array') ELSE ($1)[-1] END)", Unknown),
		"JSON_VALUE":          {1, 2, translateJSONValue},
		"JSON_EXTRACT_SCALAR": {1, 2, translateJSONValue},
		"JSON_QUERY":          {1, 2, translateJSONQuery("json_extract", "", JSON)},
		"JSON_EXTRACT":        {1, 2, translateJSONQuery("json_extract", "", JSON)},
		"JSON_QUERY_ARRAY":    {1, 2, translateJSONQuery("json_extract", "[*]", Array)},
		"JSON_EXTRACT_ARRAY":  {1, 2, translateJSONQuery("json_extract", "[*]", Array)},
		"JSON_VALUE_ARRAY":    {1, 2, translateJSONQuery("json_extract_string", "[*]", Array)},
		"JSON_KEYS":           template(1, "json_keys($1)", Array),
		"JSON_TYPE":           template(1, "(CASE json_type($1) WHEN 'VARCHAR' THEN 'string' WHEN 'OBJECT' THEN 'object' WHEN 'ARRAY' THEN 'array' WHEN 'BOOLEAN' THEN 'boolean' WHEN 'NULL' THEN 'null' ELSE CASE WHEN $1 IS NULL THEN NULL ELSE 'number' END END)", String),
		"PARSE_JSON":          template(1, "CAST($1 AS JSON)", JSON),
		"TO_JSON_STRING":      {1, 1, translateToJSONString},
		"TO_JSON":             {1, 1, translateToJSON},
		"CURRENT_TIMESTAMP":   template(0, "now()", Timestamp),
		"CURRENT_DATE":        {0, 1, currentCivil(Date)},
		"CURRENT_DATETIME":    {0, 1, currentCivil(Datetime)},
		"TIMESTAMP":           {1, 2, translateTimestamp},
		"DATE":                {1, 3, translateDate},
		"DATETIME":            {1, 2, translateDatetime},
		"UNIX_SECONDS":        {1, 1, unixFunction(1_000_000)},
		"UNIX_MILLIS":         {1, 1, unixFunction(1000)},
		"UNIX_MICROS":         {1, 1, unixFunction(1)},
		"TIMESTAMP_SECONDS":   template(1, "make_timestamptz(CAST($1 AS BIGINT) * 1000000)", Timestamp),
		"TIMESTAMP_MILLIS":    template(1, "make_timestamptz(CAST($1 AS BIGINT) * 1000)", Timestamp),
		"TIMESTAMP_MICROS":    template(1, "make_timestamptz(CAST($1 AS BIGINT))", Timestamp),
		"UNIX_DATE":           template(1, "CAST($1 - DATE '1970-01-01' AS BIGINT)", Int64),
		"DATE_FROM_UNIX_DATE": template(1, "(DATE '1970-01-01' + CAST($1 AS INTEGER))", Date),
		"FORMAT_TIMESTAMP":    {2, 3, translateFormatTime},
		"FORMAT_DATE":         {2, 2, translateFormatTime},
		"FORMAT_DATETIME":     {2, 2, translateFormatTime},
		"PARSE_TIMESTAMP":     {2, 3, translateParseTime(Timestamp)},
		"PARSE_DATE":          {2, 2, translateParseTime(Date)},
		"PARSE_DATETIME":      {2, 2, translateParseTime(Datetime)},
	}
}

func sqlJoin(values []Value, sep string) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = v.SQL
	}
	return strings.Join(parts, sep)
}

func translateIf(_ *parser, c *call) (Value, error) {
	return Value{"(CASE WHEN " + c.arg(0) + " THEN " + c.arg(1) + " ELSE " + c.arg(2) + " END)", common(c.args[1].Type, c.args[2].Type)}, nil
}

// unlessNull makes GREATEST and LEAST, which are NULL if an argument is; DuckDB
// skips NULL.
func unlessNull(duck string) func(*parser, *call) (Value, error) {
	return func(_ *parser, c *call) (Value, error) {
		var tests, types = []string{}, []Type{}
		for _, a := range c.args {
			tests = append(tests, a.SQL+" IS NULL")
			types = append(types, a.Type)
		}
		return Value{"(CASE WHEN " + strings.Join(tests, " OR ") + " THEN NULL ELSE " + duck + "(" + sqlList(c.args) + ") END)", common(types...)}, nil
	}
}

// asText is any value as VARCHAR, so that an expression binds for all types.
func asText(v Value) string { return "CAST(" + v.SQL + " AS VARCHAR)" }

// blobLength is the length of a BLOB, in an expression that binds for all types:
// the cast to text is reversible.
func blobLength(v Value) string { return "octet_length(CAST(" + asText(v) + " AS BLOB))" }

func translateLength(_ *parser, c *call) (Value, error) {
	switch v := c.args[0]; v.Type {
	case String:
		return Value{"length(" + v.SQL + ")", Int64}, nil
	case Bytes:
		return Value{"octet_length(" + v.SQL + ")", Int64}, nil
	default:
		return Value{"(CASE WHEN typeof(" + v.SQL + ") = 'BLOB' THEN " + blobLength(v) + " ELSE length(" + asText(v) + ") END)", Int64}, nil
	}
}

func translateByteLength(_ *parser, c *call) (Value, error) {
	switch v := c.args[0]; v.Type {
	case String:
		return Value{"strlen(" + v.SQL + ")", Int64}, nil
	case Bytes:
		return Value{"octet_length(" + v.SQL + ")", Int64}, nil
	default:
		return Value{"(CASE WHEN typeof(" + v.SQL + ") = 'BLOB' THEN " + blobLength(v) + " ELSE strlen(" + asText(v) + ") END)", Int64}, nil
	}
}

// translateSubstr: position 0 is 1, and a negative one that is too far left is 1
// too.
func translateSubstr(_ *parser, c *call) (Value, error) {
	s, at := c.arg(0), c.arg(1)
	if c.literals[1].kind != tokenNumber || at == "0" {
		at = "(CASE WHEN " + at + " = 0 OR " + at + " < -length(" + s + ") THEN 1 ELSE " + at + " END)"
	}
	if len(c.args) == 2 {
		return Value{"substr(" + s + ", " + at + ")", String}, nil
	}
	n := c.arg(2)
	if c.literals[2].kind != tokenNumber {
		// DuckDB would go backwards.
		n = "(CASE WHEN " + n + " < 0 THEN error('Third argument in SUBSTR() cannot be negative') ELSE " + n + " END)"
	}
	return Value{"substr(" + s + ", " + at + ", " + n + ")", String}, nil
}

func translateSplit(_ *parser, c *call) (Value, error) {
	by := "','"
	if len(c.args) == 2 {
		by = c.arg(1)
	}
	return Value{"string_split(" + c.arg(0) + ", " + by + ")", Array}, nil
}

func translateTrim(duck string) func(*parser, *call) (Value, error) {
	return func(_ *parser, c *call) (Value, error) {
		set := whiteSpace
		if len(c.args) == 2 {
			set = c.arg(1)
		}
		return Value{duck + "(" + c.arg(0) + ", " + set + ")", String}, nil
	}
}

func translatePad(duck string) func(*parser, *call) (Value, error) {
	return func(_ *parser, c *call) (Value, error) {
		with := "' '"
		if len(c.args) == 3 {
			with = c.arg(2)
		}
		return Value{duck + "(" + c.arg(0) + ", CAST(" + c.arg(1) + " AS INTEGER), " + with + ")", String}, nil
	}
}

// captureGroup returns the group that REGEXP_EXTRACT means: the only one, or the
// whole match.
func (p *parser) captureGroup(c *call) (int, error) {
	pattern, ok := c.text(1)
	if !ok {
		return 0, p.refuse(c.token, c.name+" with a pattern that is not a literal")
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, errorAt(p.sql, c.token.pos, "Cannot parse regular expression: %v", err)
	}
	switch n := re.MaxCap(); n {
	case 0, 1:
		return n, nil
	default:
		return 0, errorAt(p.sql, c.token.pos, "Regular expressions passed into extraction functions must not have more than 1 capturing group")
	}
}

func translateRegexpExtract(p *parser, c *call) (Value, error) {
	group, err := p.captureGroup(c)
	// DuckDB returns '' where nothing matches.
	return Value{fmt.Sprintf("(CASE WHEN regexp_matches(%s, %s) THEN regexp_extract(%s, %s, %d) END)", c.arg(0), c.arg(1), c.arg(0), c.arg(1), group), String}, err
}
