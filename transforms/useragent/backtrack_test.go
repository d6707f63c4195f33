package useragent

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
)

func program4(t *testing.T, expr string) *program {
	t.Helper()
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	return compile(tree)
}

func TestBacktrackAsRegexp(t *testing.T) {
	texts := []string{"", "a", "b", "ab", "aab", "abab", "xaby", "aaa", "a b", "AB", "aB;b", "a\nb", "1.2.3", "foo bar", "foobar", "a_b", ";;a;b", "aXbXc", "k", "K"}
	m := new(machine)
	for _, expr := range []string{
		`a`, `ab`, `(?i)ab`, `(?i)k`, `a|b`, `(a|ab)(b?)`, `(ab|a)(b?)`, `(a*)(b+)`, `(a*?)(b)`, `(a+?)(a*)`, `(a{2})`, `(a{1,2})(a*)`, `(a{1,2}?)(a*)`, `(.*)b`, `(.*?)b`,
		`^a`, `a$`, `^$`, `^(.*)$`, `\bb`, `\Bb`, `\b`, `(?s)a.b`, `a.b`, `[^a]`, `[a-c]+`, `(ab)+`, `(ab)*`, `(?:(a)|b)+`, `(?:a(b)?)+`, `(a|b){2}`, `(?:ab){1,2}`, `(?:ab)?a`,
		`(?:|a)b`, `(?:a|)b`, `(a|b|)c?`, `(\d+)\.(\d+)(?:\.(\d+)|)`, `([^;]*);(.*)`, `;*(a)`, `; {0,2}(a)`, `(foo)(?: (bar)|)`, `()a`, `(a)()`, `x{0}a`, `(?:a{0,2}){2}b`, `.{0,2}b`, `.{1,2}?b`, `X(.)X`, `a+b|ab+`, `[;:]a`,
	} {
		p := program4(t, expr)
		if p == nil {
			t.Errorf("%s is not compiled", expr)
			continue
		}
		re := regexp.MustCompile(expr)
		for _, text := range texts {
			want := re.FindStringSubmatchIndex(text)
			for range 2 { // the machine is used again
				got, result := p.match(text, m)
				if (result == matched) != (want != nil) || !slices.Equal(got, want) {
					t.Errorf("%s on %q: %v (outcome %d), want %v", expr, text, got, result, want)
				}
			}
		}
	}
}

func TestNotForTheBacktracker(t *testing.T) {
	for _, expr := range []string{`(?m)^a`, `(?m)a$`, `(?:a*)*`, `(?:a|)+b`, `(?:ab)*?c`, `(?:(?:ab|cd){30}){30}`} {
		if program4(t, expr) != nil {
			t.Errorf("%s is compiled", expr)
		}
	}
}

// Long backtracking must end, and the answer must be right all the
// same.
func TestTooManySteps(t *testing.T) {
	r, err := newRule(`^(?:x+x+)+y`, "")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 3000)
	m := new(machine)
	if _, result := r.prog.match(text, m); result != undecided {
		t.Fatalf("outcome %d, want undecided: the test needs a harder case", result)
	}
	if got := r.match(text, true, m); got != nil {
		t.Errorf("match = %v, want none", got)
	}
	if got := r.match(text+"y", true, m); !slices.Equal(got, []int{0, 3001}) {
		t.Errorf("match = %v, want [0 3001]", got)
	}
}

// Every embedded rule on texts made for it, whole and damaged.
func TestRulesAsRegexp(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	p, all := Default(), corpus(t)
	w := p.pool.New().(*workspace)
	matches := 0
	for i, tree := range trees() {
		for n := range 12 {
			text := sentence(rnd, tree)
			if n%2 == 1 {
				text = mutate(rnd, text, all[rnd.IntN(len(all))])
			}
			if checkRule(t, p, i, text, w) {
				matches++
			}
		}
	}
	if matches < 6*len(trees()) {
		t.Errorf("%d matches of %d rules: the sentences are bad", matches, len(trees()))
	}
}
