package useragent

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxSet     = 256 // strings in a set that is still multiplied out
	maxLiteral = 24  // bytes of a literal; longer ones are cut, which only weakens them
	minLiteral = 2   // bytes; shorter ones are in most agents
	maxClauses = 8   // clauses that an alternation is turned into
)

// requiredLiterals returns what any text that the expression matches must
// contain: of every clause at least one string. No clauses means that nothing
// is known and the expression must always be tried.
//
// If fold is true the strings are in lower case and stand for any ASCII case.
// It is set as soon as one part of the expression ignores case: the clauses
// then ask for less than they could, which is safe.
func requiredLiterals(tree *syntax.Regexp) (clauses [][]string, fold bool) {
	fold = ignoresCase(tree)
	f := literals{fold: fold}.of(tree)
	for _, c := range f.all() {
		c = reduce(c)
		if c == nil || slices.ContainsFunc(clauses, func(have []string) bool { return implies(have, c) }) {
			continue
		}
		clauses = slices.DeleteFunc(clauses, func(have []string) bool { return implies(c, have) })
		clauses = append(clauses, c)
	}
	return clauses, fold
}

// implies reports whether a text that has one of a also has one of b.
func implies(a, b []string) bool {
	for _, s := range a {
		if !slices.ContainsFunc(b, func(part string) bool { return strings.Contains(s, part) }) {
			return false
		}
	}
	return true
}

func ignoresCase(re *syntax.Regexp) bool {
	if re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase != 0 {
		return true
	}
	return slices.ContainsFunc(re.Sub, ignoresCase)
}

// facts are what is known of the texts that an expression matches: either all
// of them (exact), or, where that is nil, how they may begin and end and what
// else they contain. Nothing known of an end is the set of the empty string.
type facts struct {
	exact          []string
	prefix, suffix []string
	clauses        [][]string
}

var (
	emptySet = []string{""}
	unknown  = facts{prefix: emptySet, suffix: emptySet}
	noText   = facts{exact: emptySet}
)

func (f facts) begin() []string {
	if f.exact != nil {
		return f.exact
	}
	return f.prefix
}

func (f facts) end() []string {
	if f.exact != nil {
		return f.exact
	}
	return f.suffix
}

// all returns everything that a match contains.
func (f facts) all() [][]string {
	if f.exact != nil {
		return [][]string{f.exact}
	}
	return append(slices.Clone(f.clauses), f.prefix, f.suffix)
}

// inside returns what is known where f is a part that may occur more than
// once.
func (f facts) inside() facts {
	return facts{prefix: f.begin(), suffix: f.end(), clauses: f.clauses}
}

type literals struct{ fold bool }

func (l literals) of(re *syntax.Regexp) facts {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText,
		syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return noText

	case syntax.OpLiteral:
		for _, r := range re.Rune {
			// U+FFFD also matches a broken byte; letters beyond ASCII fold in
			// ways that the automaton does not know.
			if r == utf8.RuneError || l.fold && r >= utf8.RuneSelf {
				return unknown
			}
		}
		return facts{exact: []string{l.norm(string(re.Rune))}}

	case syntax.OpCharClass:
		var exact []string
		for i := 0; i < len(re.Rune); i += 2 {
			lo, hi := re.Rune[i], re.Rune[i+1]
			if hi >= utf8.RuneSelf || len(exact)+int(hi-lo) >= 8 {
				return unknown
			}
			for r := lo; r <= hi; r++ {
				exact = append(exact, l.norm(string(r)))
			}
		}
		if exact != nil {
			return facts{exact: exact}
		}

	case syntax.OpCapture:
		return l.of(re.Sub[0])

	case syntax.OpQuest:
		return alternate(l.of(re.Sub[0]), noText)

	case syntax.OpPlus:
		return l.of(re.Sub[0]).inside()

	case syntax.OpRepeat:
		if re.Min > 0 {
			return l.of(re.Sub[0]).inside()
		}

	case syntax.OpConcat:
		f := noText
		for _, sub := range re.Sub {
			f = concat(f, l.of(sub))
		}
		return f

	case syntax.OpAlternate:
		branches := make([]facts, len(re.Sub))
		for i, sub := range re.Sub {
			branches[i] = l.of(sub)
		}
		return alternate(branches...)
	}
	return unknown // any character, a star, or no match
}

func (l literals) norm(s string) string {
	if l.fold {
		return lowerASCII(s)
	}
	return s
}

func concat(a, b facts) facts {
	// Where a ends, b begins: what stands there is known if the product of
	// both sets is not too large.
	joint := product(a.end(), b.begin())
	if joint != nil && a.exact != nil && b.exact != nil {
		return facts{exact: joint}
	}
	f := facts{prefix: a.begin(), suffix: b.end(), clauses: append(slices.Clone(a.clauses), b.clauses...)}
	switch {
	case joint == nil:
		f.clauses = append(f.clauses, a.end(), b.begin())
	case a.exact != nil:
		f.prefix = joint
	case b.exact != nil:
		f.suffix = joint
	default:
		f.clauses = append(f.clauses, joint)
	}
	return f
}

func product(a, b []string) []string {
	if len(a)*len(b) > maxSet {
		return nil
	}
	joined := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			joined = append(joined, x+y)
		}
	}
	return joined
}

// alternate unites sets. Of what the branches contain, a clause of each one
// together is a clause; a branch without any leaves nothing to require.
func alternate(branches ...facts) facts {
	var prefix, suffix []string
	finite := true
	contained := [][]string{nil}
	for _, b := range branches {
		prefix = append(prefix, b.begin()...)
		suffix = append(suffix, b.end()...)
		finite = finite && b.exact != nil
		choices := slices.DeleteFunc(b.all(), func(c []string) bool { return shortest(c) < minLiteral })
		if len(contained)*len(choices) > maxClauses {
			choices = [][]string{slices.MaxFunc(choices, func(x, y []string) int { return shortest(x) - shortest(y) })}
		}
		var longer [][]string
		for _, c := range contained {
			for _, choice := range choices {
				longer = append(longer, slices.Concat(c, choice))
			}
		}
		contained = longer
	}
	if finite && len(prefix) <= maxSet {
		return facts{exact: prefix}
	}
	f := facts{prefix: prefix, suffix: suffix, clauses: contained}
	if len(prefix) > maxSet {
		f.prefix = emptySet
	}
	if len(suffix) > maxSet {
		f.suffix = emptySet
	}
	return f
}

func shortest(clause []string) int {
	return len(slices.MinFunc(clause, func(a, b string) int { return len(a) - len(b) }))
}

// reduce cuts long strings and drops those that contain another one, which is
// then enough to look for. It returns nil for a clause that is of no use.
func reduce(clause []string) []string {
	short := make([]string, 0, len(clause))
	for _, s := range clause {
		if len(s) < minLiteral {
			return nil
		}
		short = append(short, s[:min(len(s), maxLiteral)])
	}
	slices.SortFunc(short, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	var kept []string
	for _, s := range short {
		if !slices.ContainsFunc(kept, func(k string) bool { return strings.Contains(s, k) }) {
			kept = append(kept, s)
		}
	}
	return kept
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}
