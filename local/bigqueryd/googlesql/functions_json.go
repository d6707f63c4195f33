package googlesql

import (
	"strings"
)

// jsonPath translates a JSONPath literal: keys after dots, with or without
// quotes, and in brackets; array positions.
func jsonPath(path string) (duck string, ok bool) {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok {
		return "", false
	}
	var b strings.Builder
	b.WriteString("$")
	key := func(k string) bool {
		if k == "" || strings.ContainsAny(k, `"\`) {
			return false
		}
		b.WriteString(`."` + k + `"`)
		return true
	}
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, `."`), strings.HasPrefix(rest, `['`), strings.HasPrefix(rest, `["`):
			close := `"`
			if rest[0] == '[' {
				close = rest[1:2] + "]"
			}
			k, tail, found := strings.Cut(rest[2:], close)
			if !found || !key(k) {
				return "", false
			}
			rest = tail
		case rest[0] == '.':
			n := strings.IndexAny(rest[1:], ".[")
			if n < 0 {
				n = len(rest) - 1
			}
			if k := rest[1 : 1+n]; k == "*" || !key(k) {
				return "", false
			}
			rest = rest[1+n:]
		case rest[0] == '[':
			k, tail, found := strings.Cut(rest[1:], "]")
			if !found || k == "" || strings.Trim(k, "0123456789") != "" {
				return "", false
			}
			b.WriteString("[" + k + "]")
			rest = tail
		default:
			return "", false
		}
	}
	return b.String(), true
}

// pathArgument returns the translated path, which is the second argument.
func (p *parser) pathArgument(c *call) (string, error) {
	if len(c.args) == 1 {
		return "$", nil
	}
	path, ok := c.text(1)
	if !ok {
		return "", p.refuse(c.token, c.name+" with a path that is not a literal")
	}
	duck, ok := jsonPath(path)
	if !ok {
		return "", p.refuse(c.token, "JSON path "+path)
	}
	return duck, nil
}

// translateJSONValue: objects and arrays are NULL.
func translateJSONValue(p *parser, c *call) (Value, error) {
	path, err := p.pathArgument(c)
	j := c.arg(0) + ", " + Text(path)
	return Value{"(CASE WHEN json_type(" + j + ") IN ('OBJECT', 'ARRAY') THEN NULL ELSE json_extract_string(" + j + ") END)", String}, err
}

func translateJSONQuery(duck, suffix string, typ Type) func(*parser, *call) (Value, error) {
	return func(p *parser, c *call) (Value, error) {
		path, err := p.pathArgument(c)
		return Value{duck + "(" + c.arg(0) + ", " + Text(path+suffix) + ")", typ}, err
	}
}

// unlikeJSON are the types whose JSON form differs in DuckDB.
const unlikeJSON = `'TIMESTAMP|BLOB|DECIMAL|DOUBLE|INTERVAL'`

func toJSON(c *call) string {
	v := c.args[0]
	if v.Type == String || v.Type == Int64 || v.Type == Bool || v.Type == JSON {
		return "to_json(" + v.SQL + ")"
	}
	return "(CASE WHEN regexp_matches(typeof(" + v.SQL + "), " + unlikeJSON + ") THEN error('" + c.name +
		" of TIMESTAMP, DATETIME, BYTES, NUMERIC or FLOAT64 is not supported by the local stand-in') ELSE to_json(" + v.SQL + ") END)"
}

func translateToJSON(_ *parser, c *call) (Value, error) { return Value{toJSON(c), JSON}, nil }

func translateToJSONString(_ *parser, c *call) (Value, error) {
	return Value{"coalesce(CAST(" + toJSON(c) + " AS VARCHAR), 'null')", String}, nil
}
