package useragent

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxExact   = 64 // strings in a set that is still multiplied out
	maxLiteral = 24 // bytes of a literal; longer ones are cut, which only weakens them
	minLiteral = 2  // bytes; shorter ones are in most agents
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
	l := literals{fold: fold}
	exact, clauses := l.of(tree)
	if exact != nil {
		clauses = append(clauses, exact)
	}
	kept := clauses[:0]
	for _, c := range clauses {
		if c = reduce(c); c != nil {
			kept = append(kept, c)
		}
	}
	return kept, fold
}

func ignoresCase(re *syntax.Regexp) bool {
	if re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase != 0 {
		return true
	}
	return slices.ContainsFunc(re.Sub, ignoresCase)
}

type literals struct{ fold bool }

// of returns either the finite set of strings that re matches, or, with a nil
// set, the clauses that it implies.
func (l literals) of(re *syntax.Regexp) (exact []string, clauses [][]string) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText,
		syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return []string{""}, nil

	case syntax.OpLiteral:
		var b strings.Builder
		for _, r := range re.Rune {
			// U+FFFD also matches a broken byte; letters beyond ASCII fold in
			// ways that the automaton does not know.
			if r == utf8.RuneError || l.fold && r >= utf8.RuneSelf {
				return nil, nil
			}
			b.WriteRune(r)
		}
		return []string{l.norm(b.String())}, nil

	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			lo, hi := re.Rune[i], re.Rune[i+1]
			if hi >= utf8.RuneSelf || len(exact)+int(hi-lo) >= 8 {
				return nil, nil
			}
			for r := lo; r <= hi; r++ {
				exact = append(exact, l.norm(string(r)))
			}
		}
		return exact, nil

	case syntax.OpCapture:
		return l.of(re.Sub[0])

	case syntax.OpQuest:
		if exact, _ := l.of(re.Sub[0]); exact != nil {
			return append(slices.Clone(exact), ""), nil
		}
		return nil, nil

	case syntax.OpPlus:
		return nil, l.implied(re.Sub[0])

	case syntax.OpRepeat:
		if re.Min > 0 {
			return nil, l.implied(re.Sub[0])
		}
		return nil, nil

	case syntax.OpConcat:
		return l.concat(re.Sub)

	case syntax.OpAlternate:
		return l.alternate(re.Sub)
	}
	return nil, nil // any character, a star, or no match
}

func (l literals) norm(s string) string {
	if l.fold {
		return lowerASCII(s)
	}
	return s
}

func (l literals) implied(re *syntax.Regexp) [][]string {
	exact, clauses := l.of(re)
	if exact != nil {
		return [][]string{exact}
	}
	return clauses
}

// concat joins neighbouring finite sets; anything else between them ends a
// clause.
func (l literals) concat(subs []*syntax.Regexp) (exact []string, clauses [][]string) {
	current, finite := []string{""}, true
	for _, sub := range subs {
		e, c := l.of(sub)
		if e != nil && len(current)*len(e) <= maxExact {
			joined := make([]string, 0, len(current)*len(e))
			for _, a := range current {
				for _, b := range e {
					joined = append(joined, a+b)
				}
			}
			current = joined
			continue
		}
		clauses = append(clauses, current)
		clauses = append(clauses, c...)
		current, finite = []string{""}, false
		if e != nil {
			current = e
		}
	}
	if finite {
		return current, nil
	}
	return nil, append(clauses, current)
}

// alternate unites finite sets; otherwise one clause holds the best clause of
// every branch, and a branch without any leaves nothing to require.
func (l literals) alternate(subs []*syntax.Regexp) (exact []string, clauses [][]string) {
	var union []string
	finite := true
	for _, sub := range subs {
		e, c := l.of(sub)
		if e == nil {
			finite = false
			e = best(c)
			if e == nil {
				return nil, nil
			}
		}
		union = append(union, e...)
	}
	if finite {
		return union, nil
	}
	return nil, [][]string{union}
}

// best returns the clause whose shortest string is longest, nil if there is
// no usable one.
func best(clauses [][]string) (found []string) {
	longest := 0
	for _, c := range clauses {
		shortest := len(slices.MinFunc(c, func(a, b string) int { return len(a) - len(b) }))
		if shortest > longest {
			longest, found = shortest, c
		}
	}
	return found
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
