package useragent

import (
	"crypto/sha256"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	// ways is the number of places that an agent can have in a cache.
	ways = 8
	// maxCachedAgent is the length in bytes of the longest agent that is kept.
	// Browsers stay below 500; what is longer is rare, and hostile if frequent.
	maxCachedAgent = 2048
	// bytesPerEntry is what an entry may take on average.
	bytesPerEntry = 1024
	// sharedEntries is the size of the caches that a process shares.
	sharedEntries = 1 << 16
	// maxUses is as far as the uses of an entry are counted. Three suffice to
	// tell a regular from a passer-by, and the hits of a regular soon write
	// nothing that other processors read.
	maxUses = 3
)

// A Cache remembers what a Parser said of the agents seen lately. It is safe
// for concurrent use; a hit takes no lock and allocates nothing.
//
// While an agent is in the cache it is not parsed again, and callers that ask
// for one agent at the same time share one parse. Memory is bounded by the
// number of agents and, at 1 KiB for each on average, by bytes: 64 MiB for the
// cache that a process shares, of which ordinary agents take a third. Agents longer than 2 KiB are parsed at each
// look-up.
//
// Each agent has 8 places where it can be. A new one takes the place of one
// that was not asked for again; where all were, it finds no place, but they all
// lose one of the uses, at most three, that they are known for. So a long tail
// of agents that come once passes through the places that regulars leave free,
// and a regular goes only if its uses become rarer than the passers-by.
type Cache struct {
	parser   *Parser
	parse    func(ua string) Client // the parser's; tests count its calls
	seed     maphash.Seed
	sets     []cacheSet // a power of two; an agent's hash gives its set
	maxBytes int

	mu      sync.Mutex // for all that follows, and for changes to sets
	bytes   int
	hand    int // the set that next gives up an entry when bytes run out
	flights map[string]*flight
}

// A cacheSet has its tags apart from the entries, so that a look-up touches no
// entry but the right one.
type cacheSet struct {
	tags    [ways]atomic.Uint32
	entries [ways]atomic.Pointer[cacheEntry]
}

type cacheEntry struct {
	agent  string
	client Client
	size   int
	uses   atomic.Uint32 // hits, up to maxUses, less those that new agents took
}

// A flight is a parse that is going on.
type flight struct {
	done    chan struct{}
	client  *Client // set before done is closed; nil if the parse panicked
	waiting int     // callers
}

// NewCache returns an empty cache for at least the given number of agents:
// it is rounded up to a power of two, and to 8.
func NewCache(p *Parser, entries int) *Cache {
	sets := 1
	if entries > ways {
		sets = 1 << bits.Len(uint((entries-1)/ways))
	}
	return &Cache{
		parser:   p,
		parse:    p.Parse,
		seed:     maphash.MakeSeed(),
		sets:     make([]cacheSet, sets),
		maxBytes: sets * ways * bytesPerEntry,
		flights:  make(map[string]*flight),
	}
}

// SharedCache returns the cache of the default parser that everything in this
// process shares.
func SharedCache() *Cache { return sharedCache() }

var sharedCache = sync.OnceValue(func() *Cache { return NewCache(Default(), sharedEntries) })

// SharedCacheFor returns the cache that everything in this process shares for
// the given rules, which it hands to New at the first call.
func SharedCacheFor(r Rules) (*Cache, error) {
	if r.embedded() {
		return SharedCache(), nil
	}
	sharedMu.Lock()
	defer sharedMu.Unlock()
	key := sharedKey{r.Name, sha256.Sum256(r.YAML)}
	if c := sharedCaches[key]; c != nil {
		return c, nil
	}
	p, err := New(r)
	if err != nil {
		return nil, err
	}
	c := NewCache(p, sharedEntries)
	sharedCaches[key] = c
	return c, nil
}

type sharedKey struct {
	name string
	sum  [sha256.Size]byte
}

var (
	sharedMu     sync.Mutex
	sharedCaches = make(map[sharedKey]*Cache)
)

// Parser returns the parser behind the cache.
func (c *Cache) Parser() *Parser { return c.parser }

// Lookup returns what the parser says of an agent. The caller must not change
// the result, which stays valid for ever; ua is not kept.
func (c *Cache) Lookup(ua []byte) *Client {
	hash := maphash.Bytes(c.seed, ua)
	if client := c.find(hash, ua); client != nil {
		return client
	}
	for {
		if client := c.miss(hash, ua); client != nil {
			return client
		}
	}
}

func (c *Cache) set(hash uint64) *cacheSet { return &c.sets[hash&uint64(len(c.sets)-1)] }

// tag is the part of a hash that does not choose the set; never 0, which marks
// an empty place.
func tag(hash uint64) uint32 { return uint32(hash>>32) | 1 }

func (c *Cache) find(hash uint64, ua []byte) *Client {
	set, want := c.set(hash), tag(hash)
	for i := range set.tags {
		if set.tags[i].Load() != want {
			continue
		}
		// Tag and entry may be of different agents for a moment.
		e := set.entries[i].Load()
		if e == nil || e.agent != string(ua) {
			continue
		}
		if n := e.uses.Load(); n < maxUses {
			e.uses.Store(n + 1) // two at once may count as one
		}
		return &e.client
	}
	return nil
}

// miss parses the agent or waits for who does. It returns nil if that one
// panicked.
func (c *Cache) miss(hash uint64, ua []byte) *Client {
	c.mu.Lock()
	if client := c.find(hash, ua); client != nil {
		c.mu.Unlock()
		return client
	}
	if f := c.flights[string(ua)]; f != nil {
		f.waiting++
		c.mu.Unlock()
		<-f.done
		return f.client
	}
	agent := string(ua)
	f := &flight{done: make(chan struct{})}
	c.flights[agent] = f
	c.mu.Unlock()

	defer func() {
		c.mu.Lock()
		delete(c.flights, agent)
		c.mu.Unlock()
		close(f.done)
	}()
	e := &cacheEntry{agent: agent, client: c.parse(agent)}
	f.client = &e.client
	e.size = entrySize(e)
	if len(agent) <= maxCachedAgent && e.size <= ways*bytesPerEntry {
		c.mu.Lock()
		c.insert(hash, e)
		c.mu.Unlock()
	}
	return f.client
}

// entrySize is an upper bound: most strings of a client are parts of the
// agent or of the rules.
func entrySize(e *cacheEntry) int {
	c := &e.client
	return int(unsafe.Sizeof(*e)) + len(e.agent) +
		len(c.Browser) + len(c.BrowserVersion) + len(c.OS) + len(c.OSVersion) + len(c.DeviceBrand) + len(c.DeviceModel) + len(c.BotName)
}

// insert needs the lock.
func (c *Cache) insert(hash uint64, e *cacheEntry) {
	set := c.set(hash)
	place := set.empty()
	if place < 0 {
		if place = set.unused(); place < 0 {
			return
		}
		c.drop(set, place)
	}
	c.bytes += e.size
	for c.bytes > c.maxBytes {
		other := &c.sets[c.hand]
		c.hand = (c.hand + 1) & (len(c.sets) - 1)
		if victim := other.unused(); victim >= 0 {
			c.drop(other, victim)
		}
	}
	set.entries[place].Store(e)
	set.tags[place].Store(tag(hash))
}

func (c *Cache) drop(set *cacheSet, place int) {
	c.bytes -= set.entries[place].Load().size
	set.tags[place].Store(0)
	set.entries[place].Store(nil)
}

// empty returns a free place, -1 if there is none.
func (s *cacheSet) empty() int {
	for i := range s.entries {
		if s.entries[i].Load() == nil {
			return i
		}
	}
	return -1
}

// unused returns an entry that may go: any of those without uses. If all have
// some they lose one each, and the result is -1, as it is for an empty set. The
// choice is random, so that no pattern of look-ups can put the same entry at a
// disadvantage for ever.
func (s *cacheSet) unused() int {
	found, seen := -1, 0
	for i := range s.entries {
		if e := s.entries[i].Load(); e != nil && e.uses.Load() == 0 {
			if seen++; rand.IntN(seen) == 0 {
				found = i
			}
		}
	}
	if found < 0 {
		for i := range s.entries {
			if e := s.entries[i].Load(); e != nil {
				e.uses.Store(e.uses.Load() - 1)
			}
		}
	}
	return found
}
