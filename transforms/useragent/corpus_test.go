package useragent

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"testing"
)

var (
	//go:embed testdata/agents.txt.gz
	agentsGzip []byte
	//go:embed testdata/crawlers.txt.gz
	crawlersGzip []byte
	//go:embed testdata/people.tsv.gz
	peopleGzip []byte
	//go:embed testdata/uapcore.tsv.gz
	uapCoreGzip []byte
	//go:embed testdata/ordinary.tsv
	ordinaryTSV string
)

func unzipLines(tb testing.TB, zipped []byte) []string {
	tb.Helper()
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// ordinary are agents of browsers and apps that people use, each with its
// device type.
func ordinary(tb testing.TB) (agents, types []string) {
	tb.Helper()
	for line := range strings.Lines(ordinaryTSV) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		deviceType, agent, ok := strings.Cut(line, "\t")
		if !ok {
			tb.Fatalf("no tab in %q", line)
		}
		agents, types = append(agents, agent), append(types, deviceType)
	}
	return agents, types
}

// people are agents from traffic of people, each with its kind of device.
func people(tb testing.TB) (agents, types []string) {
	tb.Helper()
	for _, line := range unzipLines(tb, peopleGzip) {
		deviceType, agent, ok := strings.Cut(line, "\t")
		if !ok {
			tb.Fatalf("no tab in %q", line)
		}
		agents, types = append(agents, agent), append(types, deviceType)
	}
	return agents, types
}

// A uapCoreTest is a test of uap-core: what its authors want of an agent.
type uapCoreTest struct {
	list   int // of Parser.rules
	values [4]string
	agent  string
}

func uapCoreTests(tb testing.TB) []uapCoreTest {
	tb.Helper()
	lists := map[string]int{"browser": listBrowsers, "os": listSystems, "device": listDevices}
	var tests []uapCoreTest
	for _, line := range unzipLines(tb, uapCoreGzip) {
		fields := strings.SplitN(line, "\t", 6)
		if len(fields) != 6 {
			tb.Fatalf("want 6 fields: %q", line)
		}
		list, ok := lists[fields[0]]
		if !ok {
			tb.Fatalf("unknown part: %q", line)
		}
		tests = append(tests, uapCoreTest{list, [4]string(fields[1:5]), fields[5]})
	}
	return tests
}

// corpus is every real agent that the package has, once.
func corpus(tb testing.TB) []string {
	agents, _ := ordinary(tb)
	agents = append(agents, unzipLines(tb, agentsGzip)...)
	agents = append(agents, unzipLines(tb, crawlersGzip)...)
	more, _ := people(tb)
	agents = append(agents, more...)
	for _, test := range uapCoreTests(tb) {
		agents = append(agents, test.agent)
	}
	slices.Sort(agents)
	return slices.Compact(agents)
}

var trees = sync.OnceValue(func() []*syntax.Regexp {
	var trees []*syntax.Regexp
	for _, r := range Default().rules {
		tree, err := syntax.Parse(r.expr, syntax.Perl)
		if err != nil {
			panic(err)
		}
		trees = append(trees, tree)
	}
	return trees
})

// sentence writes a random text that a rule's expression matches. So every
// rule is met, those that no real agent at hand meets too.
func sentence(rnd *rand.Rand, tree *syntax.Regexp) string {
	var b strings.Builder
	if rnd.IntN(3) == 0 {
		b.WriteString("Mozilla/5.0 (Linux; Android 9; ")
	}
	write(&b, rnd, tree)
	if rnd.IntN(3) == 0 {
		b.WriteString(" Build/X) AppleWebKit/537.36 Mobile Safari/537.36")
	}
	return b.String()
}

func write(b *strings.Builder, rnd *rand.Rand, re *syntax.Regexp) {
	repeat := func(low, high int) {
		if high < 0 || high > low+6 {
			high = low + 6
		}
		for range low + rnd.IntN(high-low+1) {
			write(b, rnd, re.Sub[0])
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		s := string(re.Rune)
		if re.Flags&syntax.FoldCase != 0 {
			s = []func(string) string{strings.ToLower, strings.ToUpper}[rnd.IntN(2)](s)
		}
		b.WriteString(s)
	case syntax.OpCharClass:
		pair := 2 * rnd.IntN(len(re.Rune)/2)
		low, high := re.Rune[pair], min(re.Rune[pair+1], 0x17f)
		b.WriteRune(low + rnd.Int32N(max(high-low, 0)+1))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(" ;/()._-aZ09,"[rnd.IntN(13)])
	case syntax.OpStar:
		repeat(0, 3)
	case syntax.OpPlus:
		repeat(1, 4)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(re.Min, re.Max)
	case syntax.OpAlternate:
		write(b, rnd, re.Sub[rnd.IntN(len(re.Sub))])
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			write(b, rnd, sub)
		}
	}
}

// mutate changes an agent a little.
func mutate(rnd *rand.Rand, agent, other string) string {
	cut := func(s string) int { return rnd.IntN(len(s) + 1) }
	switch rnd.IntN(6) {
	case 0:
		return agent[:cut(agent)]
	case 1:
		return agent[cut(agent):]
	case 2:
		return agent[:cut(agent)] + other[cut(other):]
	case 3:
		return strings.ToLower(agent)
	case 4:
		i := cut(agent)
		return agent[:i] + []string{"é", "\u017f", "\u212a", "\xff", "\n", "$1", " "}[rnd.IntN(7)] + agent[i:]
	}
	return strings.ReplaceAll(agent, []string{" ", ";", "/", "Mobile", "("}[rnd.IntN(5)], "")
}
