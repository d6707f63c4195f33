package pixelurl

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"pixelbeam/schemas"
)

// Kinds of parameter.
const (
	// KindColumn: the parameter fills a column.
	KindColumn = "column"
	// KindSignal: a consent parameter, which is read and stays in params.
	KindSignal = "signal"
	// KindParam: the parameter stays in params, as one that the dictionary does
	// not know would. To name it here keeps it from becoming an alias.
	KindParam = "param"
)

// Parameter is one entry of a dictionary file, which is a JSON array of them.
type Parameter struct {
	// Kind is one of the kinds above; column if absent.
	Kind string `json:"kind,omitempty"`
	// Name is the canonical name, which beats aliases. Required, but for
	// additions to a column.
	Name string `json:"name,omitempty"`
	// Column is the BigQuery column that the parameter fills, or size for
	// WIDTHxHEIGHT. Required for KindColumn only.
	Column string `json:"column,omitempty"`
	// Aliases are other names, all equal.
	Aliases []string `json:"aliases,omitempty"`
	// Description is one sentence for people.
	Description string `json:"description,omitempty"`
}

// Dictionary says which parameter name means what. Names match without regard
// to ASCII case. A Dictionary does not change and may be shared.
type Dictionary struct {
	parameters []Parameter
	// byName has each name in lower case, for building and messages.
	byName map[string]binding
	// slots is a hash table of the names with linear probing; its length is a
	// power of two and at least twice the number of names.
	slots []slot
}

// meaning is what a name stands for: a column, size, a signal, or nothing.
type meaning int8

const (
	meansNothing meaning = -1
	firstSignal          = meaning(size) + 1
	numMeanings          = int(firstSignal) + int(NumSignals)
)

// binding is the meaning of one name.
type binding struct {
	meaning   meaning
	canonical bool
}

type slot struct {
	name string // lower case; "" if free
	word uint64 // firstWord of name
	binding
}

// DefaultDictionary returns the dictionary of package schemas.
func DefaultDictionary() *Dictionary {
	d, err := ParseDictionary(schemas.Dictionary())
	if err != nil {
		panic(err) // the file is part of the build, and tested
	}
	return d
}

// ParseDictionary reads a dictionary file. The error lists all that is wrong
// with it: an unknown field, kind, column or signal, a missing or empty name,
// names that are the same but for ASCII case, a second entry for a column.
func ParseDictionary(data []byte) (*Dictionary, error) {
	return new(Dictionary).extend(data, false)
}

// Merge returns a dictionary with the entries of a second file added to those of
// d, which stays as it is. An entry for a column or signal that d has adds
// aliases to it, its name among them; an entry of KindParam keeps a name in
// params. A name that d knows with another meaning is an error; with the same
// meaning it is no harm, so that an addition may become part of d later.
func (d *Dictionary) Merge(data []byte) (*Dictionary, error) {
	return d.extend(data, true)
}

// Parameters returns all entries, in the order of the files.
func (d *Dictionary) Parameters() []Parameter {
	out := slices.Clone(d.parameters)
	for i := range out {
		out[i].Aliases = slices.Clone(out[i].Aliases)
	}
	return out
}

// extend returns d with the entries of a file added.
func (d *Dictionary) extend(data []byte, additions bool) (*Dictionary, error) {
	var file []Parameter
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("parameter dictionary: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("parameter dictionary: something follows the array")
	}
	out := &Dictionary{parameters: d.Parameters(), byName: map[string]binding{}}
	for name, b := range d.byName {
		out.byName[name] = b
	}
	var faults []error
	own := map[string]bool{} // names of this file
	for i, p := range file {
		for _, err := range out.add(p, own, additions) {
			faults = append(faults, fmt.Errorf("parameter dictionary, entry %d (%s): %w", i+1, p.label(), err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	out.index()
	return out, nil
}

// label names an entry in messages.
func (p *Parameter) label() string {
	if p.Name == "" {
		return "column " + p.Column
	}
	return p.Name
}

// add adds one entry and returns what is wrong with it.
func (d *Dictionary) add(p Parameter, own map[string]bool, additions bool) (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf(format, args...))
	}
	if p.Kind == "" {
		p.Kind = KindColumn
	}
	means := meansNothing
	switch p.Kind {
	case KindColumn:
		i := slices.Index(columnNames[:], p.Column)
		if p.Column == "" || i < 0 {
			fault("unknown column %q; columns are %q", p.Column, columnNames)
			return faults
		}
		means = meaning(i)
	case KindSignal:
		i := slices.Index(signalNames[:], p.Name)
		if i < 0 {
			fault("unknown signal; signals are %q", signalNames)
			return faults
		}
		means = firstSignal + meaning(i)
	case KindParam:
	default:
		fault("unknown kind %q; kinds are %q", p.Kind, []string{KindColumn, KindSignal, KindParam})
		return faults
	}
	if p.Kind != KindColumn && p.Column != "" {
		fault("a %s fills no column, but column is %q", p.Kind, p.Column)
	}
	if p.Kind == KindParam && len(p.Aliases) > 0 {
		fault("a %s has no aliases, but aliases are %q", p.Kind, p.Aliases)
	}

	known := means != meansNothing && d.has(means)
	if known && !additions {
		fault("a second entry; put its names into the first as aliases")
	}
	names := p.Aliases
	if p.Name != "" || !known {
		names = append([]string{p.Name}, names...)
	}
	for i, name := range names {
		if name == "" {
			fault("empty name")
			continue
		}
		key := lower(name)
		b := binding{means, i == 0 && p.Name != "" && !known}
		before, taken := d.byName[key]
		switch {
		case own[key]:
			fault("name %q occurs twice in the file (case does not count)", name)
		case !taken:
			d.byName[key] = b
		case before.meaning != means:
			fault("name %q already stands for %s (case does not count)", name, before.meaning)
		}
		own[key] = true
	}
	d.parameters = append(d.parameters, p)
	return faults
}

// has reports whether some name has a meaning.
func (d *Dictionary) has(m meaning) bool {
	for _, b := range d.byName {
		if b.meaning == m {
			return true
		}
	}
	return false
}

// String names a meaning in messages.
func (m meaning) String() string {
	switch {
	case m == meansNothing:
		return "a parameter that stays in params"
	case m >= firstSignal:
		return "signal " + signalNames[m-firstSignal]
	}
	return "column " + columnNames[m]
}

// index builds the hash table from byName.
func (d *Dictionary) index() {
	size := 1 << bits.Len(uint(2*len(d.byName)))
	d.slots = make([]slot, size)
	for i := range d.slots {
		d.slots[i].meaning = meansNothing
	}
	names := make([]string, 0, len(d.byName))
	for name := range d.byName {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		word := firstWord([]byte(name))
		i := hash(word, len(name)) & uint64(size-1)
		for d.slots[i].name != "" {
			i = (i + 1) & uint64(size-1)
		}
		d.slots[i] = slot{name, word, d.byName[name]}
	}
}

// lookup returns what a name means.
func (d *Dictionary) lookup(name []byte) binding {
	word := firstWord(name)
	slots := d.slots
	for i := hash(word, len(name)); ; i++ {
		s := &slots[i&uint64(len(slots)-1)]
		// A free slot has the empty name, and means nothing.
		if s.word == word && len(s.name) == len(name) && (len(name) <= 8 || equalFold(name[8:], s.name[8:])) || s.name == "" {
			return s.binding
		}
	}
}

// hash looks at the beginning of a name only: the dictionary is small and
// trusted.
func hash(word uint64, length int) uint64 {
	h := (word ^ uint64(length)) * 0x9E3779B97F4A7C15
	return h >> 40
}

// firstWord returns the first eight bytes of a name, or all with zeros after
// them, with ASCII letters in lower case.
func firstWord(name []byte) uint64 {
	if len(name) >= 8 {
		return lowerWord(binary.LittleEndian.Uint64(name))
	}
	return lowerWord(shortWord(name))
}

// shortWord returns up to seven bytes with zeros after them.
func shortWord(name []byte) uint64 {
	switch n := len(name); {
	case n >= 4: // two words that overlap
		return uint64(binary.LittleEndian.Uint32(name)) | uint64(binary.LittleEndian.Uint32(name[n-4:]))<<(8*(n-4))
	case n > 0:
		return uint64(name[0]) | uint64(name[n/2])<<(8*(n/2)) | uint64(name[n-1])<<(8*(n-1))
	}
	return 0
}

// lowerWord is lowerByte for eight bytes at once.
func lowerWord(x uint64) uint64 {
	// In each byte of sums of seven bits, the high bit says whether the byte is
	// at least 'A', and whether it is beyond 'Z'.
	low := x &^ highBits
	fromA := low + (0x80-'A')*eachByte
	beyondZ := low + (0x7F-'Z')*eachByte
	return x | (fromA&^beyondZ&^x&highBits)>>2
}

// equalFold reports whether s is t but for ASCII case; t is in lower case.
func equalFold(s []byte, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i, c := range s {
		if lowerByte(c) != t[i] {
			return false
		}
	}
	return true
}

// lower returns s with ASCII letters in lower case.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return string(b)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
