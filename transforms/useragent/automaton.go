package useragent

// An automaton finds every occurrence of many strings in one pass (Aho and
// Corasick, 1975), here without regard to ASCII case. It is complete: one
// table look-up a byte, no failure links to follow.
type automaton struct {
	class [256]uint8 // upper case folds to lower; 0 is every byte in no string
	shift uint       // log2 of the row length
	next  []uint32   // state<<shift | class -> state, with hit set if a string ends there
	found []int32    // state -> id of the string that it spells, -1 if none
	rest  []uint32   // state -> that of its longest proper suffix that is a string, 0 if none
}

// hit marks a state at which at least one string ends.
const hit = 1 << 31

// newAutomaton builds the automaton of distinct lower-case strings, none
// empty; the index of a string is its id.
func newAutomaton(texts []string) *automaton {
	a := new(automaton)
	classes, capacity := 1, 1
	for _, t := range texts {
		capacity += len(t)
		for i := range len(t) {
			if a.class[t[i]] == 0 {
				a.class[t[i]] = uint8(classes)
				classes++
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		a.class[c] = a.class[c+('a'-'A')]
	}
	for 1<<a.shift < classes {
		a.shift++
	}

	// The trie. State 0 is the root, and, in a row, "no edge yet".
	row := 1 << a.shift
	none := make([]uint32, row)
	a.next = make([]uint32, row, row*capacity)
	a.found = append(make([]int32, 0, capacity), -1)
	for id, t := range texts {
		s := uint32(0)
		for i := range len(t) {
			edge := &a.next[s<<a.shift|uint32(a.class[t[i]])]
			if *edge == 0 {
				*edge = uint32(len(a.found))
				s = *edge
				a.next = append(a.next, none...)
				a.found = append(a.found, -1)
				continue
			}
			s = *edge
		}
		a.found[s] = int32(id)
	}

	// Breadth first, so that the state of the longest proper suffix (fail) is
	// complete before it is copied from.
	fail := make([]uint32, len(a.found))
	a.rest = make([]uint32, len(a.found))
	queue := make([]uint32, 0, len(a.found))
	for _, s := range a.next[:row] {
		if s != 0 {
			queue = append(queue, s)
		}
	}
	for n := 0; n < len(queue); n++ {
		s := queue[n]
		f := fail[s]
		if a.rest[s] = f; a.found[f] < 0 {
			a.rest[s] = a.rest[f]
		}
		own, suffix := a.next[s<<a.shift:][:row], a.next[f<<a.shift:][:row]
		for c, to := range own {
			if to == 0 {
				own[c] = suffix[c]
				continue
			}
			fail[to] = suffix[c]
			queue = append(queue, to)
		}
	}
	for i, s := range a.next {
		if a.found[s] >= 0 || a.rest[s] != 0 {
			a.next[i] |= hit
		}
	}
	return a
}
