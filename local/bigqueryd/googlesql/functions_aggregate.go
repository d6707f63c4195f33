package googlesql

import (
	"fmt"
	"strconv"
	"strings"
)

// aggregates are the aggregate functions, which may be windowed too.
var aggregates = words(`COUNT SUM AVG MIN MAX COUNTIF ANY_VALUE ARRAY_AGG STRING_AGG LOGICAL_AND LOGICAL_OR BIT_AND
	BIT_OR BIT_XOR STDDEV STDDEV_POP STDDEV_SAMP VARIANCE VAR_POP VAR_SAMP CORR COVAR_POP COVAR_SAMP
	APPROX_COUNT_DISTINCT APPROX_QUANTILES MAX_BY MIN_BY HLL_COUNT.INIT HLL_COUNT.MERGE HLL_COUNT.MERGE_PARTIAL`)

// windowOnly are the functions that need OVER.
var windowOnly = words(`ROW_NUMBER RANK DENSE_RANK PERCENT_RANK CUME_DIST NTILE LAG LEAD FIRST_VALUE LAST_VALUE
	NTH_VALUE PERCENTILE_CONT PERCENTILE_DISC`)

// plainAggregates have a DuckDB function of the same meaning, arguments and
// treatment of NULL.
var plainAggregates = map[string]struct {
	duck string
	args int
	typ  Type
}{
	"SUM": {"sum", 1, Unknown}, "AVG": {"avg", 1, Float64}, "MIN": {"min", 1, Unknown}, "MAX": {"max", 1, Unknown},
	"ANY_VALUE": {"any_value", 1, Unknown}, "LOGICAL_AND": {"bool_and", 1, Bool}, "LOGICAL_OR": {"bool_or", 1, Bool},
	"BIT_AND": {"bit_and", 1, Int64}, "BIT_OR": {"bit_or", 1, Int64}, "BIT_XOR": {"bit_xor", 1, Int64},
	"STDDEV": {"stddev_samp", 1, Float64}, "STDDEV_SAMP": {"stddev_samp", 1, Float64}, "STDDEV_POP": {"stddev_pop", 1, Float64},
	"VARIANCE": {"var_samp", 1, Float64}, "VAR_SAMP": {"var_samp", 1, Float64}, "VAR_POP": {"var_pop", 1, Float64},
	"CORR": {"corr", 2, Float64}, "COVAR_POP": {"covar_pop", 2, Float64}, "COVAR_SAMP": {"covar_samp", 2, Float64},
	"MAX_BY": {"arg_max", 2, Unknown}, "MIN_BY": {"arg_min", 2, Unknown},
	"ROW_NUMBER": {"row_number", 0, Int64}, "RANK": {"rank", 0, Int64}, "DENSE_RANK": {"dense_rank", 0, Int64},
	"PERCENT_RANK": {"percent_rank", 0, Float64}, "CUME_DIST": {"cume_dist", 0, Float64}, "NTILE": {"ntile", 1, Int64},
	"FIRST_VALUE": {"first_value", 1, Unknown}, "LAST_VALUE": {"last_value", 1, Unknown}, "NTH_VALUE": {"nth_value", 2, Unknown},
	"PERCENTILE_CONT": {"quantile_cont", 2, Float64}, "PERCENTILE_DISC": {"quantile_disc", 2, Unknown},
}

// aggregate translates an aggregate or window function.
func (p *parser) aggregate(c *call) (Value, error) {
	fail := func(what string) (Value, error) { return Value{}, p.refuse(c.token, what+" in "+c.name) }
	if windowOnly[c.name] && c.over == "" {
		return Value{}, errorAt(p.sql, c.token.pos, "Window function %s requires an OVER clause", c.name)
	}
	switch {
	case c.star && (c.name != "COUNT" || len(c.args) > 0 || c.distinct):
		return fail("*")
	case c.order != "" && c.name != "ARRAY_AGG" && c.name != "STRING_AGG":
		return fail("ORDER BY")
	case c.limit != "" && c.name != "ARRAY_AGG":
		return fail("LIMIT")
	case c.distinct && windowOnly[c.name]:
		return fail("DISTINCT")
	}
	distinct := ""
	if c.distinct {
		distinct = "DISTINCT "
	}
	switch c.name {
	case "COUNT":
		if c.star {
			return Value{"count(*)" + c.over, Int64}, nil
		}
		return Value{"count(" + distinct + sqlList(c.args) + ")" + c.over, Int64}, p.arity(c, 1, 1)
	case "COUNTIF":
		if c.distinct {
			return fail("DISTINCT")
		}
		return Value{"count(*) FILTER (WHERE " + sqlList(c.args) + ")" + c.over, Int64}, p.arity(c, 1, 1)
	case "APPROX_COUNT_DISTINCT":
		// DuckDB's approximation errs by more; the exact number is a fair one.
		return Value{"count(DISTINCT " + sqlList(c.args) + ")" + c.over, Int64}, p.arity(c, 1, 1)
	case "APPROX_QUANTILES":
		return p.quantiles(c)
	case "ANY_VALUE":
		if c.by != "" && !c.distinct {
			duck := map[string]string{"MAX": "arg_max", "MIN": "arg_min"}[c.extreme] + "_null"
			return Value{duck + "(" + c.arg(0) + ", " + c.by + ")" + c.over, c.args[0].Type}, nil
		}
	case "HLL_COUNT.INIT", "HLL_COUNT.MERGE", "HLL_COUNT.MERGE_PARTIAL":
		return p.sketch(c)
	case "ARRAY_AGG":
		return p.arrayAggregate(c, distinct)
	case "STRING_AGG":
		if err := p.arity(c, 1, 2); err != nil {
			return Value{}, err
		}
		by := "','"
		if len(c.args) == 2 {
			by = c.arg(1)
		}
		return Value{"string_agg(" + distinct + c.arg(0) + ", " + by + space(c.order) + ")" + c.over, String}, nil
	case "LAG", "LEAD":
		if err := p.arity(c, 1, 3); err != nil {
			return Value{}, err
		}
		return Value{strings.ToLower(c.name) + "(" + sqlList(c.args) + space(c.nulls) + ")" + c.over, c.args[0].Type}, nil
	}
	f := plainAggregates[c.name]
	if err := p.arity(c, f.args, f.args); err != nil {
		return Value{}, err
	}
	nulls := ""
	if c.nulls != "" {
		if !windowOnly[c.name] || f.args == 0 || strings.HasPrefix(c.name, "PERCENTILE") {
			return fail(c.nulls)
		}
		nulls = " " + c.nulls
	}
	typ := f.typ
	if typ == Unknown && f.args > 0 && c.name != "SUM" {
		typ = c.args[0].Type
	}
	return Value{f.duck + "(" + distinct + sqlList(c.args) + nulls + ")" + c.over, typ}, nil
}

func space(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// quantiles translates APPROX_QUANTILES(x, n): n + 1 boundaries.
func (p *parser) quantiles(c *call) (Value, error) {
	if err := p.arity(c, 2, 2); err != nil {
		return Value{}, err
	}
	n, err := strconv.Atoi(c.literals[1].text)
	if err != nil || n < 1 || n > 1000 || c.distinct || c.nulls != "" {
		return Value{}, p.refuse(c.token, "APPROX_QUANTILES with DISTINCT, NULLS or a number that is not a literal from 1 to 1000")
	}
	points := make([]string, n+1)
	for i := range points {
		points[i] = strconv.FormatFloat(float64(i)/float64(n), 'g', -1, 64)
	}
	return Value{"quantile_disc(" + c.arg(0) + ", [" + strings.Join(points, ", ") + "])" + c.over, Array}, nil
}

// sketch translates the aggregate functions of sketches into functions of lists,
// which package bigqueryd adds to DuckDB.
func (p *parser) sketch(c *call) (Value, error) {
	if c.distinct || c.nulls != "" || c.over != "" {
		return Value{}, p.refuse(c.token, "DISTINCT, NULLS and OVER in "+c.name)
	}
	most := 1
	if c.name == "HLL_COUNT.INIT" {
		most = 2
	}
	if err := p.arity(c, 1, most); err != nil {
		return Value{}, err
	}
	list := "list(" + c.arg(0) + ")"
	switch c.name {
	case "HLL_COUNT.INIT":
		precision := "15"
		if len(c.args) == 2 {
			precision = c.arg(1)
		}
		return Value{"hll_count_init(" + list + ", " + precision + ")", Bytes}, nil
	case "HLL_COUNT.MERGE":
		return Value{"hll_count_merge(" + list + ")", Int64}, nil
	}
	return Value{"hll_count_merge_partial(" + list + ")", Bytes}, nil
}

func (p *parser) arrayAggregate(c *call, distinct string) (Value, error) {
	if err := p.arity(c, 1, 1); err != nil {
		return Value{}, err
	}
	sql := "list(" + distinct + c.arg(0) + space(c.order) + ")"
	if c.nulls == "IGNORE NULLS" {
		sql += " FILTER (WHERE " + c.arg(0) + " IS NOT NULL)"
	}
	sql += c.over
	if c.limit != "" {
		sql = fmt.Sprintf("list_slice(%s, 1, %s)", sql, c.limit)
	}
	return Value{sql, Array}, nil
}
