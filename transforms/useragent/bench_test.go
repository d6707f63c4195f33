package useragent

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ua-parser/uap-go/uaparser"
)

// unseen returns 400 agents each of people and of bots, spread over the corpus,
// in an order in which neighbours are unlike.
func unseen(b *testing.B) (people, bots []string) {
	agents := corpus(b)
	for i := range agents {
		ua := agents[i*7919%len(agents)]
		list := &people
		if Default().Parse(ua).BotKind != "" {
			list = &bots
		}
		if len(*list) < 400 {
			*list = append(*list, ua)
		}
	}
	return people, bots
}

// BenchmarkUnseen parses agents that no cache knows: this package and uap-go's
// linear scan, with the same rules, on the same agents, whose answers are
// compared first. Only this package tells bots and device types.
func BenchmarkUnseen(b *testing.B) {
	people, bots := unseen(b)
	for _, set := range []struct {
		name   string
		agents []string
	}{{"people", people}, {"bots", bots}} {
		p := Default()
		// Its caches hold one agent.
		o, err := uaparser.New(uaparser.WithRegexDefinitions(*oracle(b).RegexDefinitions), uaparser.WithCacheSize(1))
		if err != nil {
			b.Fatal(err)
		}
		for _, ua := range set.agents {
			got := p.Parse(ua)
			got.DeviceType, got.BotKind, got.BotName = "", "", ""
			if want := oracleClient(o, ua); got != want {
				b.Fatalf("Parse(%q) = %+v, want %+v", ua, got, want)
			}
		}
		var own float64 // CPU time for an agent, ns
		b.Run(set.name+"/pixelbeam", func(b *testing.B) {
			b.ReportAllocs()
			own = perAgent(b, set.agents, func(ua string) { p.Parse(ua) })
		})
		b.Run(set.name+"/uap-go", func(b *testing.B) {
			b.ReportAllocs()
			rival := perAgent(b, set.agents, func(ua string) {
				// The three parts in turn: Parse starts a goroutine for each,
				// which would hide two thirds of the work.
				o.ParseUserAgent(ua)
				o.ParseOs(ua)
				o.ParseDevice(ua)
			})
			if own > 0 {
				b.ReportMetric(rival/own, "times-pixelbeam")
			}
		})
	}
}

// perAgent parses all agents as often as b asks for and returns the CPU time
// for one, in nanoseconds, which says more than the clock on a busy machine.
func perAgent(b *testing.B, agents []string, parse func(ua string)) float64 {
	before := cpuTime()
	i := 0
	for ; b.Loop(); i++ {
		parse(agents[i%len(agents)])
	}
	each := float64(cpuTime()-before) / float64(i)
	b.ReportMetric(each, "cpu-ns/op")
	return each
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// hits returns a cache and the agents of people that it knows.
func hits(b *testing.B) (c *Cache, keys [][]byte) {
	agents, _ := people(b)
	c = NewCache(Default(), 8192)
	for _, ua := range agents[:1000] {
		keys = append(keys, []byte(ua))
		if got, want := *c.Lookup([]byte(ua)), Default().Parse(ua); got != want {
			b.Fatalf("Lookup(%q) = %+v, want %+v", ua, got, want)
		}
	}
	return c, keys
}

func BenchmarkCacheHit(b *testing.B) {
	c, keys := hits(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if c.Lookup(keys[i%len(keys)]) == nil {
			b.Fatal("no client")
		}
	}
}

// BenchmarkCacheParallel has all processors ask one cache: for known agents,
// and with one agent in twenty that no one has seen.
func BenchmarkCacheParallel(b *testing.B) {
	for _, tail := range []int{0, 20} {
		b.Run(fmt.Sprintf("one in %d unseen", tail), func(b *testing.B) {
			c, keys := hits(b)
			b.ReportAllocs()
			var workers atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				worker := workers.Add(1)
				unseen := make([]byte, 0, 2048)
				for i := 0; pb.Next(); i++ {
					key := keys[i%len(keys)]
					if tail > 0 && i%tail == 0 {
						key = fmt.Appendf(unseen, "%s %d/%d", key, worker, i)
					}
					if c.Lookup(key) == nil {
						b.Error("no client")
						return
					}
				}
			})
		})
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
