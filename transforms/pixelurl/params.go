package pixelurl

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// fewParams is the number of params up to which comparing each with each is
// faster than hashing.
const fewParams = 16

// seed keeps senders from choosing names that collide.
var seed = maphash.MakeSeed()

// group links the params of the same name.
func (p *Parser) group(params []param) {
	if len(params) > fewParams {
		p.groupMany(params)
		return
	}
	for i := range params {
		for first := range i {
			if head := &params[first]; !head.repeat && bytes.Equal(head.name, params[i].name) {
				link(params, first, i)
				break
			}
		}
	}
}

// groupMany links the params of the same name by a hash table of the indexes,
// plus one, of those that are no repeats.
func (p *Parser) groupMany(params []param) {
	size := 1 << bits.Len(uint(2*len(params)))
	if cap(p.groups) < size {
		p.groups = make([]int32, size)
	}
	table := p.groups[:size]
	clear(table)
	for i := range params {
		slot := maphash.Bytes(seed, params[i].name) & uint64(size-1)
		for table[slot] != 0 && !bytes.Equal(params[table[slot]-1].name, params[i].name) {
			slot = (slot + 1) & uint64(size-1)
		}
		if table[slot] == 0 {
			table[slot] = int32(i + 1)
			continue
		}
		link(params, int(table[slot]-1), i)
	}
}

// link appends param i to the group that begins at first.
func link(params []param, first, i int) {
	head := &params[first]
	params[max(first, int(head.last))].next = int32(i)
	head.last = int32(i)
	params[i].repeat = true
}

// AppendParams appends the params as a JSON object and returns the extended dst:
// names in the order in which they first occur, the value of each a string, or
// an array of strings in order where the name occurs more than once. It is {} if
// there are none.
func (r *Result) AppendParams(dst []byte) []byte {
	dst = append(dst, '{')
	comma := false
	for i := range r.params {
		head := &r.params[i]
		if head.repeat {
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = appendString(dst, head.name)
		dst = append(dst, ':')
		if head.next == 0 {
			dst = appendString(dst, head.value)
			continue
		}
		dst = append(dst, '[')
		dst = appendString(dst, head.value)
		for j := head.next; j != 0; j = r.params[j].next {
			dst = append(dst, ',')
			dst = appendString(dst, r.params[j].value)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendString appends s, which is valid UTF-8, as a JSON string.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		// Fast path: eight bytes at a time that need no escape. The high bit
		// of each byte of the mask says that the byte is ", \ or below 0x20.
		if len(s)-i >= 8 {
			x := binary.LittleEndian.Uint64(s[i:])
			mask := (((x ^ '"'*eachByte) - eachByte) |
				((x ^ '\\'*eachByte) - eachByte) |
				(x - ' '*eachByte)) & ^x & highBits
			if mask == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(mask) / 8
		}
		if c := s[i]; c == '"' || c == '\\' || c < ' ' {
			dst = append(dst, s[from:i]...)
			dst = appendEscape(dst, c)
			from = i + 1
		}
		i++
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// appendEscape appends the shortest escape of a byte that needs one.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
