package useragent

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// countingCache returns a cache that counts the parses it asks for.
func countingCache(t *testing.T, entries int) (c *Cache, parses func() int) {
	t.Helper()
	p, err := New(Rules{"own.yaml", []byte(smallRules)})
	if err != nil {
		t.Fatal(err)
	}
	c = NewCache(p, entries)
	var mu sync.Mutex
	n := 0
	c.parse = func(ua string) Client {
		mu.Lock()
		n++
		mu.Unlock()
		return p.Parse(ua)
	}
	return c, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestCacheGivesWhatTheParserGives(t *testing.T) {
	c := NewCache(Default(), 512) // smaller than the corpus: entries come and go
	agents := corpus(t)
	for round := range 2 {
		for _, ua := range agents {
			if got, want := *c.Lookup([]byte(ua)), Default().Parse(ua); got != want {
				t.Fatalf("round %d: Lookup(%q) = %+v, want %+v", round, ua, got, want)
			}
		}
	}
}

func TestCacheKeepsNothingOfItsArgument(t *testing.T) {
	c := NewCache(Default(), 64)
	const ua = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0"
	key := []byte(ua)
	first := c.Lookup(key)
	want := *first
	for i := range key {
		key[i] = 'x'
	}
	if *first != want {
		t.Errorf("the client changed with the caller's buffer: %+v, want %+v", *first, want)
	}
	if got := c.Lookup([]byte(ua)); *got != want {
		t.Errorf("Lookup = %+v, want %+v", *got, want)
	}
}

func TestCacheHitDoesNotAllocate(t *testing.T) {
	c := NewCache(Default(), 64)
	key := []byte("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36")
	c.Lookup(key)
	if n := testing.AllocsPerRun(100, func() { c.Lookup(key) }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

func TestCacheParsesAnAgentOnce(t *testing.T) {
	c, parses := countingCache(t, 1024)
	var keys [][]byte
	for i := range 100 {
		keys = append(keys, fmt.Appendf(nil, "Agent/%d", i))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for _, k := range keys {
					if got := c.Lookup(k); got.Browser != "Agent" || got.BrowserVersion != string(k[len("Agent/"):]) {
						t.Errorf("Lookup(%s) = %+v", k, *got)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := parses(); n != len(keys) {
		t.Errorf("%d parses of %d agents", n, len(keys))
	}
}

func TestCacheSharesAParse(t *testing.T) {
	c, parses := countingCache(t, 64)
	inner := c.parse
	started, release := make(chan struct{}), make(chan struct{})
	c.parse = func(ua string) Client {
		close(started) // a second parse at the same time would panic here
		<-release
		return inner(ua)
	}
	// Too long to be kept, so that only the sharing can save a parse.
	key := []byte("Agent/7 " + strings.Repeat("x", maxCachedAgent))
	var wg sync.WaitGroup
	clients := make([]*Client, 4)
	wg.Go(func() { clients[0] = c.Lookup(key) })
	<-started
	for i := range clients[1:] {
		wg.Go(func() { clients[i+1] = c.Lookup(key) })
	}
	waiting := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.flights[string(key)].waiting
	}
	for waiting() < len(clients)-1 {
		runtime.Gosched()
	}
	close(release)
	wg.Wait()
	for i, client := range clients {
		if client != clients[0] || client.BrowserVersion != "7" {
			t.Errorf("caller %d has %+v", i, client)
		}
	}
	if n := parses(); n != 1 {
		t.Errorf("%d parses, want 1", n)
	}
}

func TestCacheSurvivesAPanic(t *testing.T) {
	c, _ := countingCache(t, 64)
	inner := c.parse
	c.parse = func(string) Client { panic("broken") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		c.Lookup([]byte("Agent/1"))
	}()
	c.parse = inner
	if got := c.Lookup([]byte("Agent/1")); got.BrowserVersion != "1" {
		t.Errorf("after a panic Lookup = %+v", got)
	}
}

func TestCacheLongAgentsAreParsedNotKept(t *testing.T) {
	c, parses := countingCache(t, 64)
	key := []byte("Agent/7 " + strings.Repeat("x", maxCachedAgent))
	for range 3 {
		if got := c.Lookup(key); got.BrowserVersion != "7" {
			t.Errorf("Lookup = %+v", *got)
		}
	}
	if n := parses(); n != 3 {
		t.Errorf("%d parses, want 3", n)
	}
	if c.bytes != 0 {
		t.Errorf("%d bytes kept", c.bytes)
	}
}

// checkBooks compares the cache's account of itself with its content.
func checkBooks(t *testing.T, c *Cache, most int) {
	t.Helper()
	entries, bytes := 0, 0
	for i := range c.sets {
		for j := range c.sets[i].entries {
			if e := c.sets[i].entries[j].Load(); e != nil {
				entries++
				bytes += int(unsafe.Sizeof(*e)) + len(e.agent)
			}
		}
	}
	if entries > most {
		t.Errorf("%d entries, at most %d wanted", entries, most)
	}
	if c.bytes > c.maxBytes || bytes > c.bytes {
		t.Errorf("books say %d bytes, limit %d, but there are %d at least", c.bytes, c.maxBytes, bytes)
	}
	if len(c.flights) != 0 {
		t.Errorf("%d parses left open", len(c.flights))
	}
}

func TestCacheIsBounded(t *testing.T) {
	for _, tt := range []struct{ entries, most, length int }{
		{1, 8, 100}, {8, 8, 100}, {9, 16, 100}, {100, 128, 100}, {1000, 1024, 20}, {1, 8, 2000}, {1000, 1024, 2000},
	} {
		t.Run(fmt.Sprintf("%d entries of %d bytes", tt.entries, tt.length), func(t *testing.T) {
			c, parses := countingCache(t, tt.entries)
			for i := range 4 * tt.most {
				c.Lookup(fmt.Appendf(nil, "Agent/%d %s", i, strings.Repeat("x", tt.length)))
			}
			checkBooks(t, c, tt.most)
			if c.bytes == 0 {
				t.Error("nothing is kept")
			}
			if n := parses(); n != 4*tt.most {
				t.Errorf("%d parses of %d agents", n, 4*tt.most)
			}
		})
	}
}

// A long tail of agents that come once must not push out the common ones.
func TestCacheKeepsCommonAgents(t *testing.T) {
	c, parses := countingCache(t, 1024)
	common := 0 // in the second half
	const rounds, agents = 50, 200
	for round := range rounds {
		for i := range agents {
			before := parses()
			c.Lookup(fmt.Appendf(nil, "Common/%d", i))
			if round >= rounds/2 {
				common += parses() - before
			}
			for tail := range 5 {
				c.Lookup(fmt.Appendf(nil, "Tail/%d.%d.%d", round, i, tail))
			}
		}
	}
	// 1,200 agents pass between two look-ups of a common one, so a cache of
	// 1,024 that gave up the oldest would miss each time.
	if lookups := agents * rounds / 2; common > lookups/50 {
		t.Errorf("%d of %d look-ups of common agents missed", common, lookups)
	}
}

// Where every place of a set is in use, a passer-by finds none; regulars that
// are asked for no more make room.
func TestCacheAdmission(t *testing.T) {
	c, parses := countingCache(t, 8) // one set
	var regulars [][]byte
	for i := range ways {
		regulars = append(regulars, fmt.Appendf(nil, "Common/%d", i))
	}
	look := func(keys ...[]byte) (missed int) {
		before := parses()
		for _, k := range keys {
			c.Lookup(k)
		}
		return parses() - before
	}
	for range 1 + maxUses {
		look(regulars...)
	}
	for i := range 100 {
		if look(fmt.Appendf(nil, "Tail/%d", i)) != 1 {
			t.Fatal("a passer-by was known")
		}
		if missed := look(regulars...); missed != 0 {
			t.Fatalf("passer-by %d pushed out %d regulars", i, missed)
		}
	}
	newcomer := []byte("Agent/1")
	for i := 0; look(newcomer) != 0; i++ {
		if i > maxUses+1 {
			t.Fatal("regulars that have gone keep a newcomer out")
		}
	}
	checkBooks(t, c, ways)
}

// What a process gives to its agents: measured, not only booked. The limit
// holds for the longest agents, and ordinary ones take a third of it.
func TestSharedCacheMemory(t *testing.T) {
	people, _ := people(t)
	for _, tt := range []struct {
		name  string
		agent func(i int) []byte
		most  uint64 // MiB
	}{
		{"ordinary", func(i int) []byte { return fmt.Appendf(nil, "%s v%d", people[i%len(people)], i) }, 24},
		{"longest", func(i int) []byte { return fmt.Appendf(nil, "%-*d", maxCachedAgent, i) }, 66},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heap := func() uint64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			c := NewCache(Default(), sharedEntries)
			c.parse = func(ua string) Client { return Client{Browser: ua[:1], DeviceType: DeviceUnknown} }
			for i := range 2 * sharedEntries {
				c.Lookup(tt.agent(i))
			}
			took := (heap() - before) >> 20
			t.Logf("%d MiB, %d MiB by its own account", took, c.bytes>>20)
			if took > tt.most {
				t.Errorf("the cache takes %d MiB, more than %d", took, tt.most)
			}
			runtime.KeepAlive(c)
		})
	}
}

func TestCacheUnderConcurrentChange(t *testing.T) {
	c, _ := countingCache(t, 16)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 2000 {
				v := fmt.Sprint(rnd.IntN(64))
				if got := c.Lookup([]byte("Agent/" + v)); got.BrowserVersion != v {
					t.Errorf("Lookup(Agent/%s) = %+v", v, *got)
					return
				}
			}
		})
	}
	wg.Wait()
	checkBooks(t, c, 16)
}

func TestSharedCaches(t *testing.T) {
	def, err := SharedCacheFor(Rules{})
	if err != nil || def != SharedCache() || def.Parser() != Default() {
		t.Errorf("no rules give %p, %v, want the shared cache of the default parser", def, err)
	}
	rules := Rules{"own.yaml", []byte(smallRules)}
	own, err := SharedCacheFor(rules)
	if err != nil {
		t.Fatal(err)
	}
	again, err := SharedCacheFor(rules)
	if err != nil || own != again || own == def {
		t.Errorf("the same rules give %p, then %p, %v", own, again, err)
	}
	if got := own.Lookup([]byte("Agent/9")).Browser; got != "Agent" {
		t.Errorf("own rules give %q", got)
	}
	if c, err := SharedCacheFor(Rules{Name: "empty.yaml"}); err == nil {
		t.Errorf("an empty file gives %p, want an error", c)
	}
}
