package useragent

import (
	"math/rand/v2"
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

// oracleClient is the oracle's answer in our form, without device type.
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
		if diff := cmp.Diff(oracleClient(o, ua), got, cmpopts.IgnoreFields(Client{}, "DeviceType")); diff != "" {
			t.Errorf("Parse(%q) differs from uap-go (-want +got):\n%s", ua, diff)
			if wrong++; wrong == 10 {
				t.Fatal("too many differences")
			}
		}
	}
	t.Logf("%d agents equal", len(agents)-wrong)
}

// thin keeps one agent in ten for go test -short: the oracle takes
// milliseconds for each.
func thin(agents []string) []string {
	if !testing.Short() {
		return agents
	}
	var kept []string
	for i := 0; i < len(agents); i += 10 {
		kept = append(kept, agents[i])
	}
	return kept
}

func TestOracleOnRealAgents(t *testing.T) {
	compareWithOracle(t, thin(corpus(t)))
}

func TestOracleOnRuleSentences(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var agents []string
	for _, tree := range trees()[:Default().bounds[listCrawlers]] {
		agents = append(agents, sentence(rnd, tree))
	}
	compareWithOracle(t, thin(agents))
}

func TestOracleOnMutatedAgents(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	all := corpus(t)
	var agents []string
	for range 1000 {
		agents = append(agents, mutate(rnd, all[rnd.IntN(len(all))], all[rnd.IntN(len(all))]))
	}
	compareWithOracle(t, thin(agents))
}
