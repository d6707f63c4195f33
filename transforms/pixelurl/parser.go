package pixelurl

import (
	"bytes"
	"math/bits"
	"slices"

	"pixelbeam/transforms/bytescan"
)

// Result is what a query says. A nil slice or Set == false means NULL; text is
// valid UTF-8 and never non-nil and empty. It borrows from the query and from
// the Parser, and is valid until the query changes or the Parser parses again,
// whichever comes first.
type Result struct {
	// Values has the decoded value of each column, EventType in lower case.
	// Width, Height and Price have fields of their own and are nil here.
	Values [NumColumns][]byte
	// Width and Height are in pixels, 0 to 100,000.
	Width, Height OptInt
	// Price is a decimal as BigQuery prints a NUMERIC: an optional minus, 1 to
	// 29 digits, and at most 9 fraction digits, without needless zeros. More
	// fraction digits were rounded half away from zero.
	Price []byte
	// Signals has the decoded value of each consent parameter, chosen as for a
	// column. The parameters are in params, too.
	Signals [NumSignals][]byte
	// Lint has the faults of the tag.
	Lint Lint

	params []param
}

// param is one pair of the query.
type param struct {
	name, value []byte
	// typed: the pair became a column.
	typed bool
	// repeat: an earlier param has the same name and leads to this one by next.
	repeat bool
	// next is the index of the next param of the same name, 0 if there is none.
	next int32
	// last is, in a param that is no repeat, the index of the last one of that
	// name.
	last int32
}

// Parser parses queries. It keeps buffers between queries, so one Parser serves
// one goroutine at a time.
type Parser struct {
	dict *Dictionary
	// index finds the bytes of the query that matter.
	index bytescan.Index
	// scratch holds decoded text of this query.
	scratch []byte
	// chosen has, for each meaning whose bit is set in won, the pair that wins
	// so far.
	chosen [numMeanings]choice
	won    uint64
	// groups is the hash table of group.
	groups []int32
}

// choice is a pair, by its index, that is to give a column its value.
type choice struct {
	pair      int32
	canonical bool
}

// NewParser returns a Parser that knows the names of a dictionary.
func NewParser(dict *Dictionary) *Parser {
	return &Parser{dict: dict}
}

// The bytes of a query that matter, by its separator: those that end names and
// values, and those for which a name or value must be decoded.
var (
	ampersandSet = bytescan.NewSet(0, '&', '=', '%', '+')
	semicolonSet = bytescan.NewSet(0, ';', '=', '%', '+')
)

// Parse reads a query, without the leading ?, into r, whose former content is
// lost. Any bytes are a query. See Result for how long r is valid.
//
// Pairs are separated by &, or by ; if there is no & at all. For each column the
// canonical name beats aliases, and among equals the first wins, leaving aside
// empty values and macros. The other pairs go to params.
func (p *Parser) Parse(query []byte, r *Result) {
	params := r.params[:0]
	*r = Result{}
	p.scratch = p.scratch[:0]
	p.won = 0
	separator := byte('&')
	if bytes.IndexByte(query, '&') >= 0 {
		p.index.Reset(ampersandSet, query)
	} else {
		separator = ';'
		p.index.Reset(semicolonSet, query)
	}
	noSize := false // w or h has a value, so sz does not count

	for i := 0; i < len(query); i++ {
		if query[i] == separator {
			continue // an empty pair
		}
		start, coded := i, false
		for i = p.index.Next(i); i < len(query) && query[i] != '=' && query[i] != separator; i = p.index.Next(i + 1) {
			coded = true
		}
		name := query[start:i:i]
		if coded {
			name = p.decode(query, start, i, r)
		}
		var value []byte
		macro := false
		if i < len(query) && query[i] == '=' {
			start, coded = i+1, false
			for i = p.index.Next(start); i < len(query) && query[i] != separator; i = p.index.Next(i + 1) {
				coded = coded || query[i] != '='
			}
			value = query[start:i:i]
			if macro = isMacro(value); !macro && coded {
				value = p.decode(query, start, i, r)
				macro = isMacro(value)
			}
		}
		if len(params) == cap(params) {
			params = slices.Grow(params, 1)
		}
		params = params[:len(params)+1]
		pair := &params[len(params)-1]
		pair.name, pair.value = name, value
		pair.typed, pair.repeat, pair.next, pair.last = false, false, 0, 0
		if macro {
			r.Lint |= UnexpandedMacro
		}
		b := p.dict.lookup(name)
		if b.meaning == meansNothing || len(value) == 0 {
			continue
		}
		if b.meaning == meaning(Width) || b.meaning == meaning(Height) {
			noSize = true
		}
		bit := uint64(1) << b.meaning
		if c := &p.chosen[b.meaning]; !macro && (p.won&bit == 0 || b.canonical && !c.canonical) {
			*c = choice{int32(len(params) - 1), b.canonical}
			p.won |= bit
		}
	}
	if noSize {
		p.won &^= 1 << size
	}
	r.params = params
	p.settle(r)
	p.group(r)
}

// settle gives the columns and signals the values of the chosen pairs.
func (p *Parser) settle(r *Result) {
	for won := p.won; won != 0; won &= won - 1 {
		m := meaning(bits.TrailingZeros64(won))
		pair := &r.params[p.chosen[m].pair]
		if m >= firstSignal {
			r.Signals[m-firstSignal] = pair.value
			continue
		}
		pair.typed = p.setColumn(r, Column(m), pair.value)
		if !pair.typed {
			r.Lint |= BadNumber
		}
	}
	if r.Values[CacheBuster] == nil {
		r.Lint |= NoCacheBuster
	}
}

// setColumn sets a column, or reports false if it needs a number that the value
// is not.
func (p *Parser) setColumn(r *Result, column Column, value []byte) (ok bool) {
	from := len(p.scratch)
	switch column {
	case Price:
		if isNumeric(value) {
			r.Price = value
			return true
		}
		if p.scratch, ok = appendNumeric(p.scratch, value); ok {
			r.Price = p.scratch[from:len(p.scratch):len(p.scratch)]
		}
		return ok
	case Width:
		r.Width = parsePixels(value)
		return r.Width.Set
	case Height:
		r.Height = parsePixels(value)
		return r.Height.Set
	case size:
		r.Width, r.Height = parseSize(value)
		return r.Width.Set
	case EventType:
		p.scratch = AppendLower(p.scratch, value)
		value = p.scratch[from:len(p.scratch):len(p.scratch)]
	}
	r.Values[column] = value
	return true
}
