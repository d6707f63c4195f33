package useragent

import (
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ua-parser/uap-go/uaparser"
)

// oracle parses with uap-go and the embedded rules.
func oracle(tb testing.TB) *uaparser.Parser {
	tb.Helper()
	p, err := uaparser.NewFromBytes(embeddedRules)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// oracleClient is the oracle's answer in our form, without device type and bot.
func oracleClient(p *uaparser.Parser, ua string) Client {
	var c Client
	// Where a rule matched with an empty family and no later one matched,
	// uap-go says "Other" with the version of the former: no meaning in that.
	if b := p.ParseUserAgent(ua); b.Family != "Other" {
		c.Browser, c.BrowserVersion = b.Family, joinVersion([]string{b.Major, b.Minor, b.Patch})
	}
	if s := p.ParseOs(ua); s.Family != "Other" {
		c.OS, c.OSVersion = s.Family, joinVersion([]string{s.Major, s.Minor, s.Patch})
	}
	if d := p.ParseDevice(ua); d.Family != "Other" {
		c.DeviceBrand, c.DeviceModel = d.Brand, d.Model
	}
	return c
}

func compareWithOracle(t *testing.T, agents []string) {
	t.Helper()
	p, o := Default(), oracle(t)
	wrong := 0
	for _, ua := range agents {
		got := p.Parse(ua)
		if diff := cmp.Diff(oracleClient(o, ua), got, cmpopts.IgnoreFields(Client{}, "DeviceType", "BotKind", "BotName")); diff != "" {
			t.Errorf("Parse(%q) differs from uap-go (-want +got):\n%s", ua, diff)
			if wrong++; wrong == 10 {
				t.Fatal("too many differences")
			}
		}
	}
	t.Logf("%d agents equal", len(agents)-wrong)
}

var (
	compareAll = flag.Bool("all", false, "compare every agent with uap-go, not a sample: a minute")
	agentsFile = flag.String("agents", "", "compare the agents in this `file` too, one a line")
)

// thin keeps a sample without -all: the oracle takes a millisecond for each.
func thin(agents []string) []string {
	step := 40
	switch {
	case *compareAll:
		return agents
	case testing.Short():
		step = 400
	}
	var kept []string
	for i := 0; i < len(agents); i += step {
		kept = append(kept, agents[i])
	}
	return kept
}

func TestOracleOnRealAgents(t *testing.T) {
	compareWithOracle(t, thin(corpus(t)))
}

// Any list of agents, such as those of a user's own logs:
//
//	go test ./transforms/useragent -run OracleOnFile -v -agents FILE
func TestOracleOnFile(t *testing.T) {
	if *agentsFile == "" {
		t.Log("no -agents")
		return
	}
	text, err := os.ReadFile(*agentsFile)
	if err != nil {
		t.Fatal(err)
	}
	compareWithOracle(t, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
}

func TestOracleOnRuleSentences(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var agents []string
	for range 20 {
		for _, tree := range trees()[:Default().bounds[listCrawlers]] {
			agents = append(agents, sentence(rnd, tree))
		}
	}
	compareWithOracle(t, thin(agents))
}

func TestOracleOnMutatedAgents(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	all := corpus(t)
	var agents []string
	for range 20000 {
		agents = append(agents, mutate(rnd, all[rnd.IntN(len(all))], all[rnd.IntN(len(all))]))
	}
	compareWithOracle(t, thin(agents))
}

// uap-core's own tests are the second oracle, quick enough to run whole. They
// are of another date than the embedded rules.
func TestUAPCoreTests(t *testing.T) {
	p := Default()
	w := p.pool.New().(*workspace)
	for _, test := range uapCoreTests(t) {
		switch {
		case strings.Contains(test.agent, "OculusBrowser/26.2.0.0.10 "), // its patch is 0 now, no longer 10
			strings.HasSuffix(test.agent, "CrKey/1") && test.values[2] == "": // it has a model now
			continue
		}
		want := test.values
		if want[0] == "Other" {
			want = [4]string{}
		}
		ascii := isASCII(test.agent)
		p.filter.scan(test.agent, ascii, w.scratch)
		if got, _ := p.first(test.list, test.agent, ascii, w); got != want {
			t.Errorf("list %d of %q: %q, want %q", test.list, test.agent, got, want)
		}
	}
}
