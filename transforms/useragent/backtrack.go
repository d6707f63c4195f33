package useragent

import "strings"

// A machine is the memory of the backtracker, reused from match to match.
type machine struct {
	captures []int
	failed   []uint64 // by memo and position: tried from there, in vain
	stack    []frame
}

// A frame is a choice that can be taken back.
type frame struct {
	kind     frameKind
	pc       int32
	pos, low int32
}

type frameKind uint8

const (
	retry   frameKind = iota // go on at pc with pos
	shrink                   // give back one character, not below low; go on at pc
	stretch                  // take one more character at pos, up to low times
	restore                  // capture pc was pos
)

type outcome uint8

const (
	noMatch outcome = iota
	matched
	undecided // too many steps: backtracking is exponential at worst
)

// One match call may take this many instructions, and as many more for each
// byte. Rules on ordinary agents stay two orders of magnitude below; beyond it
// package regexp, slow but linear, costs no more.
const (
	maxSteps        = 100000
	maxStepsPerByte = 400
)

// match looks for the leftmost match, of those the one that Perl prefers, as
// package regexp does. The agent must be ASCII. The captures are valid until
// the next call.
func (p *program) match(agent string, m *machine) ([]int, outcome) {
	m.captures = m.captures[:0]
	for range p.captures {
		m.captures = append(m.captures, -1)
	}
	if words := memoWords(agent); p.memos > 0 {
		m.failed = append(m.failed[:0], make([]uint64, words*p.memos)...)
	}
	steps := maxSteps + maxStepsPerByte*len(agent)
	for start := 0; start <= len(agent); start++ {
		switch {
		case p.anchored:
			if start > 0 {
				return nil, noMatch
			}
		case p.prefix != "":
			i := strings.Index(agent[start:], p.prefix)
			if i < 0 {
				return nil, noMatch
			}
			start += i
		case !p.anywhere:
			for start < len(agent) && !(p.first.has(agent[start]) && goesOn(agent, start+1, &p.second)) {
				start++
			}
			if start == len(agent) {
				return nil, noMatch
			}
		}
		end, result := p.run(agent, start, m, &steps)
		switch result {
		case matched:
			m.captures[0], m.captures[1] = start, end
			return m.captures, matched
		case undecided:
			return nil, undecided
		}
	}
	return nil, noMatch
}

// run tries to match at start exactly. On failure every capture is as it was.
func (p *program) run(agent string, start int, m *machine, steps *int) (end int, result outcome) {
	stack := m.stack[:0]
	words := memoWords(agent)
	pc, pos := int32(0), start
	for {
		if *steps--; *steps < 0 {
			m.stack = stack
			return 0, undecided
		}
		in := &p.code[pc]
		ok := false
		if in.memo != 0 {
			// To come here again means that the first time failed: what follows
			// depends on nothing but the position.
			word := &m.failed[int(in.memo-1)*words+pos/64]
			if *word>>(pos%64)&1 != 0 {
				goto fail
			}
			*word |= 1 << (pos % 64)
		}
		switch in.op {
		case opText:
			if ok = strings.HasPrefix(agent[pos:], in.text); ok {
				pos += len(in.text)
			}
		case opFold:
			if ok = hasPrefixFold(agent[pos:], in.text); ok {
				pos += len(in.text)
			}
		case opSet:
			if ok = pos < len(agent) && in.set.has(agent[pos]); ok {
				pos++
			}
		case opGreedy:
			limit := len(agent)
			if in.max >= 0 {
				limit = min(limit, pos+int(in.max))
			}
			low := pos + int(in.min)
			for pos < limit && in.set.has(agent[pos]) {
				pos++
			}
			if pos = in.giveBack(agent, pos, low); pos >= low {
				if ok = true; pos > low {
					stack = append(stack, frame{shrink, pc, int32(pos), int32(low)})
				}
			}
		case opLazy:
			low := pos + int(in.min)
			for pos < low && pos < len(agent) && in.set.has(agent[pos]) {
				pos++
			}
			if ok = pos == low; ok && in.max != in.min {
				stack = append(stack, frame{stretch, pc, int32(pos), in.max - in.min})
			}
		case opSplit:
			if ok = true; pos < len(agent) && in.set.has(agent[pos]) || pos == len(agent) && in.min > 0 {
				stack = append(stack, frame{retry, in.x, int32(pos), 0})
			} else {
				pc = in.x - 1
			}
		case opSwitch:
			list := in.branches.lists[0]
			if pos < len(agent) {
				list = in.branches.lists[in.branches.choice[agent[pos]&0x7f]]
			}
			if len(list) == 1 {
				ok, pc = true, list[0].pc-1
				break
			}
			for i := len(list) - 1; i >= 0; i-- {
				if b := &list[i]; goesOn(agent, pos+1, &b.second) {
					if ok {
						stack = append(stack, frame{retry, pc + 1, int32(pos), 0})
					}
					ok, pc = true, b.pc-1
				}
			}
		case opJump:
			ok, pc = true, in.x-1
		case opSave:
			ok = true
			stack = append(stack, frame{restore, in.x, int32(m.captures[in.x]), 0})
			m.captures[in.x] = pos
		case opBegin:
			ok = pos == 0
		case opEnd:
			ok = pos == len(agent)
		case opWord:
			ok = wordBoundary(agent, pos)
		case opNotWord:
			ok = !wordBoundary(agent, pos)
		case opMatch:
			m.stack = stack
			return pos, matched
		}
		if ok {
			pc++
			continue
		}

	fail:
		// Take back the latest choice.
		for !ok {
			if len(stack) == 0 {
				m.stack = stack
				return 0, noMatch
			}
			f := &stack[len(stack)-1]
			switch f.kind {
			case retry:
				ok, pc, pos = true, f.pc, int(f.pos)
				stack = stack[:len(stack)-1]
			case restore:
				m.captures[f.pc] = int(f.pos)
				stack = stack[:len(stack)-1]
			case shrink:
				pos = p.code[f.pc].giveBack(agent, int(f.pos)-1, int(f.low))
				ok, pc = pos >= int(f.low), f.pc+1
				if f.pos = int32(pos); pos <= int(f.low) {
					stack = stack[:len(stack)-1]
				}
			case stretch:
				in := &p.code[f.pc]
				pos, pc = int(f.pos), f.pc+1
				for !ok && f.low != 0 && pos < len(agent) && in.set.has(agent[pos]) {
					pos++
					f.low-- // without a limit it starts negative
					ok = in.mayEnd(agent, pos)
				}
				if f.pos = int32(pos); !ok || f.low == 0 {
					stack = stack[:len(stack)-1]
				}
			}
		}
	}
}

// memoWords is the length of one memo: a bit for each position and the end.
func memoWords(agent string) int { return len(agent)/64 + 1 }

// giveBack returns the last position from pos down to low at which what
// follows the loop can start, or one below low.
func (in *inst) giveBack(agent string, pos, low int) int {
	for pos >= low && !in.mayEnd(agent, pos) {
		pos--
	}
	return pos
}

// mayEnd reports whether what follows the loop can start at pos.
func (in *inst) mayEnd(agent string, pos int) bool {
	return goesOn(agent, pos, &in.follow) && goesOn(agent, pos+1, &in.second)
}

// goesOn reports whether the character at pos is in the set; all is also the
// end of the text.
func goesOn(agent string, pos int, set *charSet) bool {
	return pos < len(agent) && set.has(agent[pos]) || *set == allChars
}

func hasPrefixFold(s, lower string) bool {
	if len(s) < len(lower) {
		return false
	}
	for i := range len(lower) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func wordBoundary(s string, pos int) bool {
	before := pos > 0 && wordChar(s[pos-1])
	after := pos < len(s) && wordChar(s[pos])
	return before != after
}

func wordChar(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
