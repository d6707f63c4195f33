package pixelurl

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"pixelbeam/schemas"
)

// answer is a query's meaning in plain form, for comparison.
type answer struct {
	Values  map[string]string
	Signals map[string]string
	Params  string
	Lint    []string
}

// answerOf writes a Result in plain form.
func answerOf(r *Result) answer {
	a := answer{Values: map[string]string{}, Signals: map[string]string{}, Params: string(r.AppendParams(nil)),
		Lint: slices.Clone(r.Lint.Names())}
	for c, v := range r.Values {
		if v != nil {
			a.Values[Column(c).String()] = string(v)
		}
	}
	if r.Width.Set {
		a.Values["width"] = strconv.FormatInt(r.Width.Value, 10)
	}
	if r.Height.Set {
		a.Values["height"] = strconv.FormatInt(r.Height.Value, 10)
	}
	if r.Price != nil {
		a.Values["price"] = string(r.Price)
	}
	for s, v := range r.Signals {
		if v != nil {
			a.Signals[Signal(s).String()] = string(v)
		}
	}
	return a
}

// referenceNames is the default dictionary, read anew: lower-case name to column
// or signal, and whether the name is canonical.
var referenceNames = func() map[string]referenceName {
	var entries []struct {
		Kind, Name, Column string
		Aliases            []string
	}
	if err := json.Unmarshal(schemas.Dictionary(), &entries); err != nil {
		panic(err)
	}
	names := map[string]referenceName{}
	for _, e := range entries {
		if e.Kind == "param" {
			continue
		}
		target := e.Column
		if e.Kind == "signal" {
			target = e.Name
		}
		names[strings.ToLower(e.Name)] = referenceName{target, e.Kind == "signal", true}
		for _, alias := range e.Aliases {
			names[strings.ToLower(alias)] = referenceName{target, e.Kind == "signal", false}
		}
	}
	return names
}()

type referenceName struct {
	target            string
	signal, canonical bool
}

var (
	referenceMacro  = regexp.MustCompile(`^(\$\{[A-Za-z0-9_:.-]+\}|%%[A-Za-z0-9_:.-]+%%|\[[A-Za-z0-9_:.-]+\]|\{[A-Za-z0-9_:.-]+\}|%e[A-Za-z0-9_]+!)$`)
	referencePrice  = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)
	referenceSize   = regexp.MustCompile(`^([0-9]+)x([0-9]+)$`)
	referencePixels = regexp.MustCompile(`^[0-9]+$`)
)

// referenceParse reads a query step by step, with maps, copies and regular
// expressions.
func referenceParse(query string) answer {
	type pair struct {
		name, value string
		macro       bool
		typed       bool
	}
	a := answer{Values: map[string]string{}, Signals: map[string]string{}}
	lint := map[string]bool{}
	separator := "&"
	if !strings.Contains(query, "&") {
		separator = ";"
	}
	var pairs []*pair
	for _, part := range strings.Split(query, separator) {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		p := &pair{name: referenceDecode(name, lint), value: value, macro: referenceMacro.MatchString(value)}
		if !p.macro {
			p.value = referenceDecode(value, lint)
			p.macro = referenceMacro.MatchString(p.value)
		}
		if p.macro {
			lint["unexpanded_macro"] = true
		}
		pairs = append(pairs, p)
	}

	meaning := func(p *pair) referenceName {
		lower := strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}, p.name)
		return referenceNames[lower]
	}
	choose := func(target string) *pair {
		for _, canonical := range []bool{true, false} {
			for _, p := range pairs {
				if m := meaning(p); m.target == target && m.canonical == canonical && p.value != "" && !p.macro {
					return p
				}
			}
		}
		return nil
	}
	targets := map[string]bool{} // whether it is a signal
	for _, m := range referenceNames {
		targets[m.target] = m.signal
	}
	sizeCounts := true
	for _, p := range pairs {
		if m := meaning(p); (m.target == "width" || m.target == "height") && p.value != "" {
			sizeCounts = false
		}
	}
	for target, signal := range targets {
		p := choose(target)
		if p == nil || target == "size" && !sizeCounts {
			continue
		}
		switch {
		case signal:
			a.Signals[target] = p.value
			continue
		case target == "width" || target == "height":
			p.typed = referencePixels.MatchString(p.value) && referenceInRange(p.value)
			if p.typed {
				a.Values[target] = referenceTrim(p.value)
			}
		case target == "size":
			m := referenceSize.FindStringSubmatch(p.value)
			p.typed = m != nil && referenceInRange(m[1]) && referenceInRange(m[2])
			if p.typed {
				a.Values["width"], a.Values["height"] = referenceTrim(m[1]), referenceTrim(m[2])
			}
		case target == "price":
			var text string
			if text, p.typed = referenceNumeric(p.value); p.typed {
				a.Values["price"] = text
			}
		case target == "event_type":
			p.typed = true
			a.Values[target] = strings.ToLower(p.value)
		default:
			p.typed = true
			a.Values[target] = p.value
		}
		if !p.typed {
			lint["bad_number"] = true
		}
	}
	if _, ok := a.Values["cache_buster"]; !ok {
		lint["no_cache_buster"] = true
	}
	for name := range lint {
		a.Lint = append(a.Lint, name)
	}
	sort.Strings(a.Lint)

	// params
	text := func(s string) string {
		short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
		var b strings.Builder
		for _, r := range s {
			if short[r] != "" {
				b.WriteString(short[r])
			} else if r < ' ' {
				fmt.Fprintf(&b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
		return `"` + b.String() + `"`
	}
	var order []string
	values := map[string][]string{}
	for _, p := range pairs {
		if p.typed {
			continue
		}
		if values[p.name] == nil {
			order = append(order, p.name)
		}
		values[p.name] = append(values[p.name], text(p.value))
	}
	var members []string
	for _, name := range order {
		v := strings.Join(values[name], ",")
		if len(values[name]) > 1 {
			v = "[" + v + "]"
		}
		members = append(members, text(name)+":"+v)
	}
	a.Params = "{" + strings.Join(members, ",") + "}"
	return a
}

// referenceInRange reports whether digits are a number of 0 to 100000.
func referenceInRange(digits string) bool {
	v, _ := new(big.Int).SetString(digits, 10)
	return v.Cmp(big.NewInt(100_000)) <= 0
}

func referenceTrim(digits string) string {
	v, _ := new(big.Int).SetString(digits, 10)
	return v.String()
}

// referenceNumeric rounds a decimal to nine fraction digits, half away from zero,
// and refuses what has more than 29 integer digits.
func referenceNumeric(s string) (string, bool) {
	if !referencePrice.MatchString(s) {
		return "", false
	}
	v, _ := new(big.Rat).SetString(s)
	scaled := new(big.Rat).Mul(new(big.Rat).Abs(v), big.NewRat(1_000_000_000, 1))
	scaled.Add(scaled, big.NewRat(1, 2))
	units := new(big.Int).Quo(scaled.Num(), scaled.Denom())
	text := units.String()
	text = strings.Repeat("0", max(0, 10-len(text))) + text
	integer, fraction := text[:len(text)-9], strings.TrimRight(text[len(text)-9:], "0")
	if len(integer) > 29 {
		return "", false
	}
	if fraction != "" {
		integer += "." + fraction
	}
	if v.Sign() < 0 && units.Sign() != 0 {
		integer = "-" + integer
	}
	return integer, true
}

// referenceDecode decodes as the URL Standard parses forms.
func referenceDecode(s string, lint map[string]bool) string {
	s = strings.ReplaceAll(s, "+", " ")
	var bytes []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if i+3 <= len(s) {
				if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
					bytes = append(bytes, byte(v))
					i += 2
					continue
				}
			}
			lint["bad_escape"] = true
		}
		bytes = append(bytes, s[i])
	}
	return referenceUTF8(bytes, lint)
}

// referenceUTF8 is the UTF-8 decoder of the Encoding Standard, state by state.
func referenceUTF8(in []byte, lint map[string]bool) string {
	var out []rune
	var point rune
	seen, needed := 0, 0
	lower, upper := byte(0x80), byte(0xBF)
	bad := func() {
		lint["bad_utf8"] = true
		out = append(out, '\uFFFD')
	}
	for i := 0; i < len(in); i++ {
		b := in[i]
		if needed == 0 {
			switch {
			case b <= 0x7F:
				out = append(out, rune(b))
			case b >= 0xC2 && b <= 0xDF:
				needed, point = 1, rune(b&0x1F)
			case b >= 0xE0 && b <= 0xEF:
				if b == 0xE0 {
					lower = 0xA0
				}
				if b == 0xED {
					upper = 0x9F
				}
				needed, point = 2, rune(b&0xF)
			case b >= 0xF0 && b <= 0xF4:
				if b == 0xF0 {
					lower = 0x90
				}
				if b == 0xF4 {
					upper = 0x8F
				}
				needed, point = 3, rune(b&0x7)
			default:
				bad()
			}
			continue
		}
		if b < lower || b > upper {
			point, needed, seen = 0, 0, 0
			lower, upper = 0x80, 0xBF
			i-- // the byte is read again
			bad()
			continue
		}
		lower, upper = 0x80, 0xBF
		point = point<<6 | rune(b&0x3F)
		if seen++; seen == needed {
			out = append(out, point)
			point, needed, seen = 0, 0, 0
		}
	}
	if needed != 0 {
		bad()
	}
	return string(out)
}
