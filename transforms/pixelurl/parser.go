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

// param is one pair of the query that did not become a column.
type param struct {
	name, value []byte
	// at is where the pair begins in the query.
	at int32
	// next is the index of the next param of the same name, 0 if there is none.
	next int32
	// last is, in a param that is no repeat, the index of the last one of that
	// name.
	last int32
	// repeat: an earlier param has the same name and leads to this one by next.
	repeat bool
}

// Parser parses queries. It keeps buffers between queries, so one Parser serves
// one goroutine at a time.
type Parser struct {
	dict *Dictionary
	// index finds the bytes of the query that matter.
	index bytescan.Index
	// scratch holds decoded text of this query.
	scratch []byte
	// won has a bit for each meaning to which a pair gives its value, canonical
	// those that it gave by the canonical name; at is where that pair begins.
	won, canonical uint64
	at             [numMeanings]int32
	// size is the value for width and height together.
	size []byte
	// groups is the hash table of group.
	groups []int32
}

// plainColumns are the columns whose value is the text.
const plainColumns = 1<<NumColumns - 1 - 1<<EventType - 1<<Price - 1<<Width - 1<<Height

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
	r.params = params
	p.scratch = p.scratch[:0]
	p.won, p.canonical = 0, 0
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
		at := i
		var name, value []byte
		var macro bool
		name, value, macro, i = p.pair(query, at, separator, r)
		if macro {
			r.Lint |= UnexpandedMacro
		}
		b := p.dict.lookup(name)
		if b.meaning != meansNothing && len(value) > 0 {
			if b.meaning == meaning(Width) || b.meaning == meaning(Height) {
				noSize = true
			}
			bit := uint64(1) << b.meaning
			if !macro && (p.won&bit == 0 || b.canonical && p.canonical&bit == 0) {
				if p.won&bit != 0 && b.meaning < firstSignal {
					p.keep(query, separator, b.meaning, r)
				}
				p.won |= bit
				if b.canonical {
					p.canonical |= bit
				}
				p.at[b.meaning] = int32(at)
				switch m := b.meaning; {
				case m < meaning(size):
					r.Values[m] = value
					continue
				case m == meaning(size):
					p.size = value
					continue
				default: // a signal stays in params
					r.Signals[m-firstSignal] = value
				}
			}
		}
		if len(r.params) == cap(r.params) {
			r.params = slices.Grow(r.params, 1)
		}
		r.params = r.params[:len(r.params)+1]
		pair := &r.params[len(r.params)-1]
		pair.name, pair.value = name, value
		pair.at, pair.next, pair.last, pair.repeat = int32(at), 0, 0, false
	}
	if noSize && p.won>>size&1 != 0 {
		p.won &^= 1 << size
		p.keep(query, separator, meaning(size), r)
	}
	// What is more than text.
	for special := p.won & (1<<firstSignal - 1) &^ plainColumns; special != 0; special &= special - 1 {
		m := meaning(bits.TrailingZeros64(special))
		if !p.setColumn(r, Column(m)) {
			r.Lint |= BadNumber
			p.keep(query, separator, m, r)
		}
	}
	if r.Values[CacheBuster] == nil {
		r.Lint |= NoCacheBuster
	}
	p.group(r.params)
}

// pair reads the pair that begins at i, where no separator is. end is where the
// next separator or the end of the query is.
func (p *Parser) pair(query []byte, i int, separator byte, r *Result) (name, value []byte, macro bool, end int) {
	start, coded := i, false
	for i = p.index.Next(i); i < len(query) && query[i] != '=' && query[i] != separator; i = p.index.Next(i + 1) {
		coded = true
	}
	name = query[start:i:i]
	if coded {
		name = p.decode(query, start, i, r)
	}
	if i == len(query) || query[i] != '=' {
		return name, nil, false, i
	}
	start, coded = i+1, false
	for i = p.index.Next(start); i < len(query) && query[i] != separator; i = p.index.Next(i + 1) {
		coded = coded || query[i] != '='
	}
	value = query[start:i:i]
	if macro = isMacro(value); !macro && coded {
		value = p.decode(query, start, i, r)
		macro = isMacro(value)
	}
	return name, value, macro, i
}

// keep puts the pair that had won a column into params after all, in its place.
func (p *Parser) keep(query []byte, separator byte, m meaning, r *Result) {
	at := p.at[m]
	name, value, _, _ := p.pair(query, int(at), separator, r)
	i := len(r.params)
	for i > 0 && r.params[i-1].at > at {
		i--
	}
	r.params = slices.Insert(r.params, i, param{name: name, value: value, at: at})
}

// setColumn reads a column that is more than text from the value that it has so
// far, or reports false if it needs a number that the value is not.
func (p *Parser) setColumn(r *Result, column Column) (ok bool) {
	from := len(p.scratch)
	if column == size {
		r.Width, r.Height = parseSize(p.size)
		return r.Width.Set
	}
	value := r.Values[column]
	r.Values[column] = nil
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
	}
	p.scratch = AppendLower(p.scratch, value)
	r.Values[column] = p.scratch[from:len(p.scratch):len(p.scratch)]
	return true
}
