package useragent

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// A program is a regular expression prepared for the backtracker, for text
// that is wholly ASCII.
type program struct {
	code     []inst
	captures int     // length of the captures of a match, as in package regexp
	anchored bool    // matches at the start of the text only
	prefix   string  // every match starts so; at least two bytes, or ""
	memos    int     // instructions with a memo
	first    charSet // every match starts with one of these ...
	anywhere bool    // ... unless this is set
	second   charSet // and goes on with one of these, all if that is not known
}

type opcode uint8

const (
	opText    opcode = iota // text
	opFold                  // text, in any case; text is lower case
	opSet                   // one character of set
	opGreedy                // min to max characters of set, as many as possible
	opLazy                  // min to max characters of set, as few as possible
	opSplit                 // go on with the next instruction, else at x
	opSwitch                // go on at the branches for the next character, in order
	opJump                  // go on at x
	opSave                  // the position is capture x
	opBegin                 // start of text
	opEnd                   // end of text
	opWord                  // word boundary
	opNotWord               // no word boundary
	opMatch
)

type inst struct {
	op opcode
	// memo, if not 0, numbers the instructions whose failures at a position
	// are remembered: those after a loop, where loops can combine to take a
	// text apart in many ways that lead to the same place.
	memo uint8
	x    int32
	text string
	set  charSet
	// opGreedy, opLazy: what follows the loop starts with one of these, all if
	// that is not known.
	follow   charSet
	second   charSet   // the character after that
	min, max int32     // max is -1 for no limit
	branches *branches // opSwitch
}

// branches are the alternatives worth trying, by the next character.
type branches struct {
	choice [128]uint8 // index of lists
	lists  [][]branch // in order; the first list is for the end of the text
}

type branch struct {
	pc     int32
	second charSet // of what a match starts with, all if that is not known
}

// A charSet is a set of ASCII characters.
type charSet [2]uint64

func (s *charSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *charSet) has(c byte) bool { return s[c>>6&1]>>(c&63)&1 != 0 }
func (s *charSet) union(t charSet) { s[0] |= t[0]; s[1] |= t[1] }

var allChars = charSet{^uint64(0), ^uint64(0)}

// maxProgram bounds the length of a program, for expressions such as
// (x{100}){100}.
const maxProgram = 1000

const maxMemos = 8

// compile returns nil for an expression that the backtracker does not take:
// it is then left to package regexp.
func compile(tree *syntax.Regexp) *program {
	c := compiler{}
	if !c.emit(tree) || len(c.code) >= maxProgram {
		return nil
	}
	c.add(inst{op: opMatch})
	p := &program{code: c.code, captures: 2 * (tree.MaxCap() + 1)}
	first, nullable := firstChars(tree)
	p.first, p.anywhere = first, nullable
	var long []int // loops of many characters
	for i := range p.code {
		switch in := &p.code[i]; in.op {
		case opGreedy, opLazy:
			in.follow, in.second = p.starts(i + 1)
			if in.max < 0 || in.max >= 10 {
				long = append(long, i)
			}
		case opSwitch:
			for _, list := range in.branches.lists {
				for n := range list {
					_, list[n].second = p.starts(int(list[n].pc))
				}
			}
		}
	}
	_, p.second = p.starts(0)
	if len(long) > 1 {
		p.memos = min(len(long), maxMemos)
		for n, i := range long[:p.memos] {
			p.code[i+1].memo = uint8(n + 1)
		}
	}
	switch in := p.after(0); {
	case in.op == opBegin:
		p.anchored = true
	case in.op == opText && len(in.text) > 1:
		p.prefix = in.text
	}
	return p
}

// after returns the first instruction from pc on that looks at the text.
func (p *program) after(pc int) *inst {
	for {
		switch in := &p.code[pc]; in.op {
		case opSave:
			pc++
		case opJump:
			pc = int(in.x)
		default:
			return in
		}
	}
}

// starts returns the characters that the text must go on with for a match from
// pc on: the first and the second. A set is allChars if nothing is known, or if
// the end of the text will do.
func (p *program) starts(pc int) (first, second charSet) {
	steps := 500
	return p.look(pc, &steps)
}

func (p *program) look(pc int, steps *int) (first, second charSet) {
	if *steps--; *steps < 0 {
		return allChars, allChars
	}
	switch in := &p.code[pc]; in.op {
	case opSave, opWord, opNotWord:
		return p.look(pc+1, steps)
	case opJump:
		return p.look(int(in.x), steps)
	case opText, opFold:
		if in.text[0] >= utf8.RuneSelf {
			return allChars, allChars
		}
		first = in.letter(0)
		if len(in.text) == 1 {
			second, _ = p.look(pc+1, steps)
			return first, second
		}
		if in.text[1] >= utf8.RuneSelf {
			return first, allChars
		}
		return first, in.letter(1)
	case opSet:
		second, _ = p.look(pc+1, steps)
		return in.set, second
	case opGreedy, opLazy:
		if in.min > 1 {
			return in.set, in.set
		}
		next, afterNext := p.look(pc+1, steps)
		second = in.set
		second.union(next)
		if in.min == 1 {
			return in.set, second
		}
		first = second
		second.union(afterNext)
		return first, second
	case opSplit:
		first, second = p.look(pc+1, steps)
		f, s := p.look(int(in.x), steps)
		first.union(f)
		second.union(s)
		return first, second
	case opSwitch:
		if in.branches.lists[0] != nil {
			return allChars, allChars
		}
		for _, list := range in.branches.lists[1:] {
			for _, b := range list {
				f, s := p.look(int(b.pc), steps)
				first.union(f)
				second.union(s)
			}
		}
		return first, second
	}
	return allChars, allChars
}

// letter returns the set of character i of an instruction's text.
func (in *inst) letter(i int) (set charSet) {
	c := in.text[i]
	set.add(c)
	if in.op == opFold && 'a' <= c && c <= 'z' {
		set.add(c - ('a' - 'A'))
	}
	return set
}

type compiler struct{ code []inst }

func (c *compiler) add(in inst) (pc int) {
	c.code = append(c.code, in)
	return len(c.code) - 1
}

func (c *compiler) here() int32 { return int32(len(c.code)) }

func (c *compiler) emit(re *syntax.Regexp) bool {
	if len(c.code) >= maxProgram {
		return false
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			c.add(inst{op: opFold, text: lowerASCII(string(re.Rune))})
		} else {
			c.add(inst{op: opText, text: string(re.Rune)})
		}
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		set, _ := oneChar(re)
		c.add(inst{op: opSet, set: set})
	case syntax.OpBeginText:
		c.add(inst{op: opBegin})
	case syntax.OpEndText:
		c.add(inst{op: opEnd})
	case syntax.OpWordBoundary:
		c.add(inst{op: opWord})
	case syntax.OpNoWordBoundary:
		c.add(inst{op: opNotWord})
	case syntax.OpCapture:
		c.add(inst{op: opSave, x: int32(2 * re.Cap)})
		if !c.emit(re.Sub[0]) {
			return false
		}
		c.add(inst{op: opSave, x: int32(2*re.Cap + 1)})
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !c.emit(sub) {
				return false
			}
		}
	case syntax.OpAlternate:
		return c.alternate(re.Sub)
	case syntax.OpStar:
		return c.repeat(re, 0, -1)
	case syntax.OpPlus:
		return c.repeat(re, 1, -1)
	case syntax.OpQuest:
		return c.repeat(re, 0, 1)
	case syntax.OpRepeat:
		return c.repeat(re, re.Min, re.Max)
	default:
		return false // line anchors, never used by the rules
	}
	return true
}

func (c *compiler) alternate(subs []*syntax.Regexp) bool {
	b := &branches{lists: [][]branch{nil}}
	c.add(inst{op: opSwitch, branches: b})
	var byChar [128][]branch
	var jumps []int
	for i, sub := range subs {
		way := branch{pc: c.here()}
		set, nullable := firstChars(sub)
		if nullable {
			b.lists[0] = append(b.lists[0], way)
			set = allChars
		}
		for ch := range byChar {
			if set.has(byte(ch)) {
				byChar[ch] = append(byChar[ch], way)
			}
		}
		if !c.emit(sub) {
			return false
		}
		if i < len(subs)-1 {
			jumps = append(jumps, c.add(inst{op: opJump}))
		}
	}
	for _, pc := range jumps {
		c.code[pc].x = c.here()
	}
	for ch, list := range byChar {
		n := slices.IndexFunc(b.lists, func(l []branch) bool { return slices.Equal(l, list) })
		if n < 0 {
			n = len(b.lists)
			b.lists = append(b.lists, list)
		}
		b.choice[ch] = uint8(n) // 129 lists at most
	}
	return true
}

// split starts a part that is tried before what its x will point to.
func (c *compiler) split(part *syntax.Regexp) (pc int) {
	set, nullable := firstChars(part)
	if nullable {
		set = allChars
	}
	in := inst{op: opSplit, set: set}
	if nullable {
		in.min = 1 // the part may match at the end of the text
	}
	return c.add(in)
}

func (c *compiler) repeat(re *syntax.Regexp, low, high int) bool {
	sub, lazy := re.Sub[0], re.Flags&syntax.NonGreedy != 0
	if set, ok := oneChar(sub); ok {
		op := opGreedy
		if lazy {
			op = opLazy
		}
		c.add(inst{op: op, set: set, min: int32(low), max: int32(high)})
		return true
	}
	if lazy {
		return false
	}
	for range low {
		if !c.emit(sub) {
			return false
		}
	}
	if high < 0 {
		// A loop whose body may match nothing needs care that no rule pays for.
		if _, nullable := firstChars(sub); nullable {
			return false
		}
		split := c.split(sub)
		if !c.emit(sub) {
			return false
		}
		c.add(inst{op: opJump, x: int32(split)})
		c.code[split].x = c.here()
		return true
	}
	// x{0,2} is (x(x)?)?: all exits lead to the same place.
	var splits []int
	for range high - low {
		splits = append(splits, c.split(sub))
		if !c.emit(sub) {
			return false
		}
	}
	for _, pc := range splits {
		c.code[pc].x = c.here()
	}
	return true
}

// oneChar returns the set of an expression that matches exactly one
// character.
func oneChar(re *syntax.Regexp) (set charSet, ok bool) {
	switch re.Op {
	case syntax.OpLiteral:
		if len(re.Rune) != 1 {
			return set, false
		}
		return literalChar(re), true
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1] && r < utf8.RuneSelf; r++ {
				set.add(byte(r))
			}
		}
		return set, true
	case syntax.OpAnyChar:
		return allChars, true
	case syntax.OpAnyCharNotNL:
		set = allChars
		set[0] &^= 1 << '\n'
		return set, true
	}
	return set, false
}

// literalChar returns the set of a literal's first character.
func literalChar(re *syntax.Regexp) (set charSet) {
	r := re.Rune[0]
	if r >= utf8.RuneSelf {
		return set
	}
	set.add(byte(r))
	if letter := byte(r) | 0x20; re.Flags&syntax.FoldCase != 0 && 'a' <= letter && letter <= 'z' {
		set.add(letter)
		set.add(letter &^ 0x20)
	}
	return set
}

// firstChars returns the characters that a match of re can start with, and
// whether re can match without consuming any.
func firstChars(re *syntax.Regexp) (set charSet, nullable bool) {
	if set, ok := oneChar(re); ok {
		return set, false
	}
	switch re.Op {
	case syntax.OpLiteral:
		return literalChar(re), false
	case syntax.OpCapture, syntax.OpPlus:
		return firstChars(re.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		set, _ = firstChars(re.Sub[0])
		return set, true
	case syntax.OpRepeat:
		set, nullable = firstChars(re.Sub[0])
		return set, nullable || re.Min == 0
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			s, n := firstChars(sub)
			set.union(s)
			if !n {
				return set, false
			}
		}
		return set, true
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			s, n := firstChars(sub)
			set.union(s)
			nullable = nullable || n
		}
		return set, nullable
	}
	return set, true // an empty match or an assertion
}
