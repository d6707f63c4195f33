package useragent

import (
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequiredLiterals(t *testing.T) {
	for _, tt := range []struct {
		expr string
		want [][]string
		fold bool
	}{
		{`Firefox`, [][]string{{"Firefox"}}, false},
		{`(Firefox|Chrome)/(\d+)`, [][]string{{"Chrome/", "Firefox/"}}, false},
		{`abc\d+def`, [][]string{{"abc"}, {"def"}}, false},
		{`abc.*d`, [][]string{{"abc"}}, false},
		{`a.b`, nil, false},
		{`abc?`, [][]string{{"ab"}}, false},
		{`(?:ab|cd)+`, [][]string{{"ab", "cd"}}, false},
		{`(?:ab)*cd`, [][]string{{"cd"}}, false},
		{`(?:ab){0,2}cd`, [][]string{{"cd"}}, false},
		{`(?:ab){2}cd`, [][]string{{"abcd"}}, false},
		{`[ab]cd`, [][]string{{"acd", "bcd"}}, false},
		{`[a-z]cd`, [][]string{{"cd"}}, false},
		{`(?i)Spider`, [][]string{{"spider"}}, true},
		{`[Bb]ot/`, [][]string{{"bot/"}}, true},
		{`ab|\d`, nil, false},
		{`Tablet\d|Transformer\w`, [][]string{{"Tablet", "Transformer"}}, false},
		{`(?:ab\dcd|ef)`, [][]string{{"ab", "ef"}, {"cd", "ef"}}, false},
		{`^ab$`, [][]string{{"ab"}}, false},
		{`(?i)ké`, nil, true},
		{`é\d`, [][]string{{"é"}}, false},
		{`\x{fffd}ab\d`, nil, false}, // U+FFFD matches broken bytes
		{`abcdefghijklmnopqrstuvwxyz0123`, [][]string{{"abcdefghijklmnopqrstuvwx"}}, false},
	} {
		tree, err := syntax.Parse(tt.expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		got, fold := requiredLiterals(tree)
		for _, c := range got {
			slices.Sort(c)
		}
		slices.SortFunc(got, slices.Compare)
		if diff := cmp.Diff(tt.want, got); diff != "" || fold != tt.fold {
			t.Errorf("requiredLiterals(%s): fold %t, want %t (-want +got):\n%s", tt.expr, fold, tt.fold, diff)
		}
	}
}

// What a rule matches must contain what the rule requires.
func TestSentencesContainTheirLiterals(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for i, r := range Default().rules {
		for range 20 {
			text := sentence(rnd, trees()[i])
			if r.regexp().FindStringIndex(text) == nil {
				continue // an anchor or a word boundary in an unlucky place
			}
			text = foldsToASCII.Replace(text)
			if r.fold {
				text = lowerASCII(text)
			}
			for _, c := range r.clauses {
				if !slices.ContainsFunc(c, func(l string) bool { return strings.Contains(text, l) }) {
					t.Errorf("%q has none of %q, but %s matches", text, c, r.expr)
				}
			}
		}
	}
}

func TestAutomaton(t *testing.T) {
	texts := []string{"he", "she", "his", "hers", "é", "a-b", "-b"}
	a := newAutomaton(texts)
	for _, text := range []string{"", "ushers", "HERS", "his she", "xé", "a-b", "A-BHE", "hhe", "shis"} {
		var got, want []string
		state := uint32(0)
		for i := range len(text) {
			state = a.next[state<<a.shift|uint32(a.class[text[i]])]
			if state&hit == 0 {
				continue
			}
			state &^= hit
			for s := state; s != 0; s = a.rest[s] {
				if a.found[s] >= 0 {
					got = append(got, texts[a.found[s]])
				}
			}
		}
		for i := range len(text) {
			for _, s := range texts {
				if strings.HasSuffix(lowerASCII(text[:i+1]), s) {
					want = append(want, s)
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in %q (-want +got):\n%s", text, diff)
		}
	}
}
