package useragent

import (
	"testing"

	"github.com/ua-parser/uap-go/uaparser"
)

// unseen splits the corpus into agents of people and of bots, each in an order
// in which neighbours are unlike.
func unseen(b *testing.B) (people, bots []string) {
	agents := corpus(b)
	for i := range agents {
		ua := agents[i*7919%len(agents)]
		if Default().Parse(ua).DeviceType == DeviceBot {
			bots = append(bots, ua)
		} else {
			people = append(people, ua)
		}
	}
	return people, bots
}

// BenchmarkUnseen parses agents that no cache knows: this package and uap-go's
// linear scan, with the same rules, on the same agents. Crawlers cost more, by
// rules that look for "bot" anywhere.
func BenchmarkUnseen(b *testing.B) {
	people, bots := unseen(b)
	for _, set := range []struct {
		name   string
		agents []string
	}{{"people", people}, {"bots", bots}} {
		b.Run(set.name+"/pixelbeam", func(b *testing.B) {
			p := Default()
			want := oracleClient(oracle(b), set.agents[0])
			own := p.Parse(set.agents[0])
			want.DeviceType, want.BotKind, want.BotName = own.DeviceType, own.BotKind, own.BotName
			b.ReportAllocs()
			var first Client
			i := 0
			for b.Loop() {
				c := p.Parse(set.agents[i%len(set.agents)])
				if i == 0 {
					first = c
				}
				i++
			}
			if first != want {
				b.Fatalf("got %+v, want %+v", first, want)
			}
		})
		b.Run(set.name+"/uap-go", func(b *testing.B) {
			o, err := uaparser.New(uaparser.WithRegexDefinitions(*oracle(b).RegexDefinitions), uaparser.WithCacheSize(1))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				// The three parts in turn: Parse starts a goroutine for each,
				// which would hide two thirds of the work. Its caches hold one
				// agent.
				ua := set.agents[i%len(set.agents)]
				o.ParseUserAgent(ua)
				o.ParseOs(ua)
				o.ParseDevice(ua)
				i++
			}
		})
	}
}

func BenchmarkCacheHit(b *testing.B) {
	agents, _ := unseen(b)
	agents = agents[:1000]
	c := NewCache(Default(), 4096)
	var keys [][]byte
	for _, ua := range agents {
		keys = append(keys, []byte(ua))
		if got, want := *c.Lookup([]byte(ua)), Default().Parse(ua); got != want {
			b.Fatalf("Lookup(%q) = %+v, want %+v", ua, got, want)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if c.Lookup(keys[i%len(keys)]) == nil {
			b.Fatal("no client")
		}
		i++
	}
}

// BenchmarkLoad prepares the embedded rules, as each process does once.
func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(Rules{}); err != nil {
			b.Fatal(err)
		}
	}
}
