package useragent

import (
	"testing"
)

// unseen are agents of the corpus in an order that defeats caches.
func unseen(b *testing.B) []string {
	agents := corpus(b)
	for i := range agents {
		j := i * 7919 % len(agents)
		agents[i], agents[j] = agents[j], agents[i]
	}
	return agents
}

// BenchmarkUnseen parses agents that no cache knows: this package and uap-go's
// linear scan, with the same rules, on the same agents.
func BenchmarkUnseen(b *testing.B) {
	agents := unseen(b)
	b.Run("pixelbeam", func(b *testing.B) {
		p := Default()
		want := oracleClient(oracle(b), agents[0])
		want.DeviceType = p.Parse(agents[0]).DeviceType
		b.ReportAllocs()
		var first Client
		i := 0
		for b.Loop() {
			c := p.Parse(agents[i%len(agents)])
			if i == 0 {
				first = c
			}
			i++
		}
		if first != want {
			b.Fatalf("got %+v, want %+v", first, want)
		}
	})
	b.Run("uap-go", func(b *testing.B) {
		o := oracle(b)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			// The three parts in turn: Parse starts a goroutine for each, which
			// would hide two thirds of the work. New agents miss its caches.
			ua := agents[i%len(agents)]
			o.ParseUserAgent(ua)
			o.ParseOs(ua)
			o.ParseDevice(ua)
			i++
		}
		if i > len(agents) {
			b.Fatal("more rounds than agents: the rival's cache was measured")
		}
	})
}

func BenchmarkCacheHit(b *testing.B) {
	agents := unseen(b)[:1000]
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
		if _, err := New(embeddedRules); err != nil {
			b.Fatal(err)
		}
	}
}
