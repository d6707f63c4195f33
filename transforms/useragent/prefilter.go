package useragent

import (
	"math/bits"
	"strings"
)

// A prefilter tells in one pass over an agent which of thousands of rules can
// match it at all, by the literals that they require.
type prefilter struct {
	automaton *automaton
	variants  [][]uint32 // automaton's string -> literals that read so in lower case
	literals  []literal
	always    bitset       // rules of which nothing is known
	rest      [][][]uint32 // rule -> clauses other than the one that triggers it
	size      int          // number of rules
}

type literal struct {
	text     string
	fold     bool
	triggers []uint32 // rules that become candidates where this literal occurs
}

// A scratch holds what one scan finds.
type scratch struct {
	present    bitset // literals
	candidates bitset // rules
}

type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i uint32)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i uint32) bool { return b[i/64]&(1<<(i%64)) != 0 }

// next returns the first member that is at least i, or n if there is none
// below n.
func (b bitset) next(i, n int) int {
	for i < n {
		word := b[i/64] >> (i % 64)
		if word != 0 {
			return min(i+bits.TrailingZeros64(word), n)
		}
		i = (i/64 + 1) * 64
	}
	return n
}

func newPrefilter(rules []*rule) *prefilter {
	f := &prefilter{
		always: newBitset(len(rules)),
		rest:   make([][][]uint32, len(rules)),
		size:   len(rules),
	}

	type key struct {
		text string
		fold bool
	}
	ids := make(map[key]uint32)
	lower := make(map[string]uint32)
	var texts []string
	var uses []int // literal -> clauses that ask for it
	clauses := make([][][]uint32, len(rules))
	for n, r := range rules {
		for _, c := range r.clauses {
			var clause []uint32
			for _, text := range c {
				k := key{text, r.fold}
				id, ok := ids[k]
				if !ok {
					id = uint32(len(f.literals))
					ids[k] = id
					f.literals = append(f.literals, literal{text: text, fold: r.fold})
					uses = append(uses, 0)
					folded := lowerASCII(text)
					if _, ok := lower[folded]; !ok {
						lower[folded] = uint32(len(texts))
						texts = append(texts, folded)
						f.variants = append(f.variants, nil)
					}
					f.variants[lower[folded]] = append(f.variants[lower[folded]], id)
				}
				uses[id]++
				clause = append(clause, id)
			}
			clauses[n] = append(clauses[n], clause)
		}
	}

	// The rarest clause triggers a rule. How common a literal is in agents
	// shows in how many rules ask for it; short ones are common in any case.
	cost := func(clause []uint32) (sum int) {
		for _, id := range clause {
			sum += uses[id] + 256>>(2*len(f.literals[id].text))
		}
		return sum
	}
	for n, cs := range clauses {
		if len(cs) == 0 {
			f.always.set(uint32(n))
			continue
		}
		rarest := 0
		for i := range cs {
			if cost(cs[i]) < cost(cs[rarest]) {
				rarest = i
			}
		}
		for _, id := range cs[rarest] {
			f.literals[id].triggers = append(f.literals[id].triggers, uint32(n))
		}
		f.rest[n] = append(append(f.rest[n], cs[:rarest]...), cs[rarest+1:]...)
	}
	f.automaton = newAutomaton(texts)
	return f
}

func (f *prefilter) newScratch() *scratch {
	return &scratch{present: newBitset(len(f.literals)), candidates: newBitset(f.size)}
}

// scan finds the candidates of an agent.
func (f *prefilter) scan(agent string, ascii bool, s *scratch) {
	if !ascii {
		// The two characters beyond ASCII that fold to ASCII letters. Exact
		// literals may now be found where there are none, which is harmless.
		agent = foldsToASCII.Replace(agent)
	}
	clear(s.present)
	copy(s.candidates, f.always)
	a := f.automaton
	next, shift := a.next, a.shift
	state := uint32(0)
	for i := range len(agent) {
		state = next[state<<shift|uint32(a.class[agent[i]])]
		if state&hit == 0 {
			continue
		}
		state &^= hit
		for end := state; end != 0; end = a.rest[end] {
			if a.found[end] < 0 {
				continue // only at first: rest leads to strings
			}
			for _, id := range f.variants[a.found[end]] {
				if s.present.has(id) {
					continue
				}
				l := &f.literals[id]
				if !l.fold && agent[i+1-len(l.text):i+1] != l.text {
					continue
				}
				s.present.set(id)
				for _, r := range l.triggers {
					s.candidates.set(r)
				}
			}
		}
	}
}

var foldsToASCII = strings.NewReplacer("\u017f", "s", "\u212a", "k")

// possible reports whether a candidate has all that it requires.
func (f *prefilter) possible(rule uint32, s *scratch) bool {
	for _, clause := range f.rest[rule] {
		found := false
		for _, id := range clause {
			if s.present.has(id) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}
