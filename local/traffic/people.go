package traffic

import (
	"encoding/base64"
	"strconv"
)

// Kinds of traits; each has a stream of its own.
const (
	traitAgent = iota
	traitUser
	traitCampaign
	traitPage
	traitConsent
)

// region is where users live: it decides which edges serve them and which
// privacy law speaks in their requests.
type region struct {
	share float64 // of all users
	law   law
	edges []string // IATA codes, nearest first
	nets4 []byte   // first octets of consumer networks
	nets6 []string // /32 prefixes, in the form of two groups
	langs []string
	cur   string
}

type law uint8

const (
	lawNone law = iota
	lawGDPR
	lawUS
)

var regions = []region{
	{0.40, lawGDPR, []string{"FRA", "AMS", "LHR", "CDG", "MAD", "MXP", "WAW", "ARN", "ZRH", "DUB", "VIE"},
		[]byte{78, 79, 80, 84, 87, 88, 91, 93, 94, 109, 178, 188, 213, 217},
		[]string{"2a02:8109", "2003:e1", "2a01:cb00", "2a00:23c7", "2001:16b8", "2a0c:5a84"}, []string{"de-DE", "en-GB", "fr-FR", "es-ES", "it-IT", "pl-PL", "nl-NL"}, "EUR"},
	{0.33, lawUS, []string{"IAD", "ORD", "DFW", "LAX", "SFO", "ATL", "JFK", "SEA", "MIA", "DEN"},
		[]byte{24, 47, 50, 65, 66, 67, 68, 69, 71, 73, 75, 76, 96, 98, 99, 174},
		[]string{"2601:600", "2600:1700", "2603:8000", "2607:fb90", "2600:8800", "2001:5b0"}, []string{"en-US", "es-US"}, "USD"},
	{0.19, lawNone, []string{"SIN", "NRT", "HND", "BOM", "DEL", "ICN", "HKG", "SYD", "CGK"},
		[]byte{1, 14, 27, 36, 49, 59, 60, 61, 101, 106, 110, 118, 121, 126, 219, 223},
		[]string{"2409:4042", "2405:201", "240b:10", "2401:4900", "2404:c0", "2001:d08"}, []string{"ja-JP", "hi-IN", "en-IN", "ko-KR", "id-ID", "en-AU"}, "USD"},
	{0.08, lawNone, []string{"GRU", "EZE", "SCL", "BOG", "GIG", "JNB", "CPT"},
		[]byte{138, 177, 179, 181, 186, 187, 189, 190, 191, 200, 201, 41, 105},
		[]string{"2804:14c", "2800:a4", "2804:d55", "2806:2f0", "2c0f:f248"}, []string{"pt-BR", "es-AR", "es-CO", "en-ZA"}, "USD"},
}

// robotNets are networks from which robots come, as the first three octets.
var robotNets = []string{
	"66.249.66", "66.249.79", "20.171.207", "157.55.39", "40.77.167", "52.167.144", "216.73.216",
	"17.241.75", "54.236.1", "3.224.220", "69.171.230", "173.252.95", "87.250.224", "34.118.22", "18.97.9",
}

// person is what a request shows of its sender.
type person struct {
	region  *region
	agent   string
	ip      []byte
	ipv6    bool
	edge    string
	lang    string
	uid     uint64 // 0: the publisher passes none on
	ifa     uint64 // 0: no mobile app, or limited tracking
	consent string // a TC string, empty where no law asks for one
	refused bool
	robot   bool
}

// fillUser sets p to user i, drawn from what identifies i alone.
func (g *Generator) fillUser(p *person, i int) {
	t := traitsOf(g.opts.Seed, traitUser, i)
	ip := p.ip[:0]
	*p = person{region: regionOf(&t)}
	p.agent = g.agents[g.agentRank.at(t.u64())]
	p.ipv6 = t.chance(g.opts.IPv6Share)
	if p.ipv6 {
		p.ip = appendIPv6(ip, p.region.nets6[t.intn(len(p.region.nets6))], t.u64())
	} else {
		p.ip = appendIPv4(ip, p.region.nets4[t.intn(len(p.region.nets4))], t.u64())
	}
	// Most users are served by the edges nearest to them.
	p.edge = p.region.edges[min(t.intn(len(p.region.edges)), t.intn(len(p.region.edges)))]
	p.lang = p.region.langs[t.intn(len(p.region.langs))]
	if t.chance(0.75) {
		p.uid = t.u64() | 1
	}
	if t.chance(0.25) {
		p.ifa = t.u64() | 1
	}
	switch p.region.law {
	case lawGDPR:
		p.consent = g.tcStrings[t.intn(len(g.tcStrings))]
		p.refused = t.chance(0.2)
	case lawUS:
		p.refused = t.chance(0.1)
	}
}

// fillRobot sets p to a robot, which has neither user ids nor consent.
func (g *Generator) fillRobot(p *person) {
	ip := p.ip[:0]
	*p = person{region: &regions[1], robot: true, agent: pick(&g.rnd, robots)}
	p.ip = append(ip, pick(&g.rnd, robotNets)...)
	p.ip = append(p.ip, '.')
	p.ip = strconv.AppendInt(p.ip, int64(1+g.rnd.intn(254)), 10)
	p.edge = pick(&g.rnd, p.region.edges)
	p.lang = "en-US"
}

func regionOf(t *traits) *region {
	x := float64(t.u64()>>11) * 0x1p-53
	for i := range regions {
		x -= regions[i].share
		if x < 0 {
			return &regions[i]
		}
	}
	return &regions[len(regions)-1]
}

func appendIPv4(dst []byte, first byte, bits uint64) []byte {
	dst = strconv.AppendUint(dst, uint64(first), 10)
	for range 2 {
		dst = append(dst, '.')
		dst = strconv.AppendUint(dst, bits&0xff, 10)
		bits >>= 8
	}
	dst = append(dst, '.')
	return strconv.AppendUint(dst, 1+bits%254, 10)
}

func appendIPv6(dst []byte, net string, bits uint64) []byte {
	dst = append(dst, net...)
	for i := range 6 {
		dst = append(dst, ':')
		// The interface half is as random as privacy extensions make it, and
		// each group is at least 1, so that no zeros want compressing.
		group := mix(bits+uint64(i)) & 0xffff
		dst = strconv.AppendUint(dst, max(group, 1), 16)
	}
	return dst
}

// tcStrings returns strings in the form of IAB TC strings, version 2 (they start
// with C): a core segment, some with a second segment.
func tcStrings(seed uint64, n int) []string {
	out := make([]string, n)
	var raw [160]byte
	for i := range out {
		t := traitsOf(seed, traitConsent, i)
		for j := range raw {
			raw[j] = byte(t.u64())
		}
		core := "CQ" + base64.RawURLEncoding.EncodeToString(raw[:24+t.intn(60)])
		if t.chance(0.3) {
			core += ".Y" + base64.RawURLEncoding.EncodeToString(raw[100:108+t.intn(24)])
		}
		out[i] = core
	}
	return out
}
