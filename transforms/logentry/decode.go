package logentry

import (
	"fmt"
	"strconv"

	"pixelbeam/transforms/bytescan"
)

// MaxSize is the size in bytes above which an entry is too large. Cloud Logging
// itself takes no larger entry.
const MaxSize = 256 << 10

// maxDepth is the number of containers that may be open at once, the limit of
// encoding/json.
const maxDepth = 10000

// DecodeError says why an entry could not be decoded.
type DecodeError struct {
	// Reason is ReasonInvalidJSON or ReasonTooLarge.
	Reason Reason
	// Offset is the byte at which the fault was found; for ReasonTooLarge,
	// MaxSize.
	Offset int
	// Message says what is wrong there, on one line of printable ASCII.
	Message string
}

// Error describes the fault and its place on one line.
func (e *DecodeError) Error() string {
	return e.Message + " at byte " + strconv.Itoa(e.Offset)
}

// Decoder decodes log entries. The zero value is ready. It keeps buffers between
// entries, so one Decoder serves one goroutine at a time.
type Decoder struct {
	// index finds the bytes of strings that matter.
	index bytescan.Index
	// scratch holds the text of this entry that had escapes in it.
	scratch []byte
	// open has one bit for each container that skip has open: set for an
	// object, clear for an array.
	open [maxDepth/64 + 1]uint64
	// fault is where and why the scan failed.
	fault DecodeError
}

// Decode reads one log entry into e, whose former content is lost. See Entry for
// how long e is valid.
//
// The error is nil or a *DecodeError, and e is of no use with it. Broken JSON
// goes before size: an entry that is both is ReasonInvalidJSON. A field of the
// wrong type is no error here; e.FieldError has it.
func (d *Decoder) Decode(data []byte, e *Entry) error {
	*e = Entry{}
	d.scratch = d.scratch[:0]
	d.index.Reset(inString, data)
	c, i := next(data, 0)
	if c != '{' {
		d.expected(data, i, "an object")
	} else if i = d.object(data, i+1, root, e, 1); i >= 0 {
		if _, i = next(data, i); i == len(data) {
			if len(data) > MaxSize {
				return &DecodeError{ReasonTooLarge, MaxSize,
					fmt.Sprintf("entry has %d bytes, more than %d", len(data), MaxSize)}
			}
			return nil
		}
		d.expected(data, i, "nothing after the object")
	}
	fault := d.fault
	return &fault
}

// Every method below takes the index of a byte and returns the index after what
// it read, or -1 with d.fault set.

// object reads the members of a known object, whose '{' is just before i. With
// it, depth containers are open.
func (d *Decoder) object(data []byte, i int, in field, e *Entry, depth int) int {
	c, i := next(data, i)
	if c == '}' {
		return i + 1
	}
	for {
		if c != '"' {
			return d.expected(data, i, "a member name")
		}
		end := d.index.Next(i + 1)
		var name []byte
		if end < len(data) && data[end] == '"' { // as in text, without a call
			name = data[i+1 : end]
			end++
		} else if name, end = d.text(data, i+1); end < 0 {
			return -1
		}
		if c, i = next(data, end); c != ':' {
			return d.expected(data, i, "a colon")
		}
		c, i = next(data, i+1)
		switch f := fieldOf(in, name); {
		case f != unknown:
			i = d.value(data, i, f, e, depth)
		case c == '"': // the most frequent kind
			i = d.skipString(data, i+1)
		default:
			i = d.skip(data, i, depth)
		}
		if i < 0 {
			return -1
		}
		switch c, i = next(data, i); c {
		case ',':
			c, i = next(data, i+1)
		case '}':
			return i + 1
		default:
			return d.expected(data, i, "a comma or the end of an object")
		}
	}
}

// text reads the string whose opening quote is just before i, and returns what
// it says.
func (d *Decoder) text(data []byte, i int) (text []byte, end int) {
	end = d.index.Next(i)
	if end < len(data) && data[end] == '"' {
		// The third index keeps an append from overwriting what follows.
		return data[i:end:end], end + 1
	}
	end, escaped := d.scanString(data, end)
	if end < 0 {
		return nil, d.badString(data, ^end)
	}
	text = data[i:end:end]
	if escaped {
		text = d.unescape(text)
	}
	return text, end + 1
}

// skipString is text for a string of which nobody wants to know what it says.
func (d *Decoder) skipString(data []byte, i int) int {
	end := d.index.Next(i)
	if end == len(data) || data[end] != '"' {
		if end, _ = d.scanString(data, end); end < 0 {
			return d.badString(data, ^end)
		}
	}
	return end + 1
}

// value reads the value of a known field; there is no white space at i.
func (d *Decoder) value(data []byte, i int, f field, e *Entry, depth int) int {
	if i >= len(data) {
		return d.expected(data, i, "a value")
	}
	kind := specs[f].kind
	switch c := data[i]; {
	case c == '"' && kind != kindObject && kind != kindBool:
		end := d.index.Next(i + 1)
		var text []byte
		if end < len(data) && data[end] == '"' { // as in text, without a call
			text = data[i+1 : end : end]
			end++
		} else if text, end = d.text(data, i+1); end < 0 {
			return -1
		}
		if kind == kindText {
			if len(text) == 0 {
				text = nil
			}
			*e.text(f) = text
		} else if !e.setText(f, kind, text) {
			e.wrongType(f, data[i:end])
		}
		return end
	case c == '{' && kind == kindObject:
		return d.object(data, i+1, f, e, depth+1)
	case c == 'n':
		end := d.literal(data, i, "null")
		if end > 0 {
			e.clear(f)
		}
		return end
	}
	end := d.skip(data, i, depth)
	if end < 0 {
		return -1
	}
	switch c := data[i]; {
	case kind == kindInteger && (c == '-' || '0' <= c && c <= '9'):
		v, ok := parseNumber(data[i:end])
		if !ok {
			e.wrongType(f, data[i:end])
			break
		}
		*e.integer(f) = OptInt64{v, true}
	case kind == kindBool && (c == 't' || c == 'f'):
		*e.boolean(f) = OptBool{c == 't', true}
	default:
		e.wrongType(f, data[i:end])
	}
	return end
}

// setText stores the value of a field of another kind than kindText that came as
// a string. It reports false if the field needs an integer and the string holds
// none.
func (e *Entry) setText(f field, kind kind, text []byte) bool {
	switch kind {
	case kindPresence:
		e.CDNInternal = true
	case kindTime:
		v, ok := ParseTime(text)
		*e.integer(f) = OptInt64{v, ok}
	case kindDuration:
		v, ok := ParseDuration(text)
		*e.integer(f) = OptInt64{v, ok}
	case kindInteger:
		v, ok := parseInteger(text)
		if !ok {
			return false
		}
		*e.integer(f) = OptInt64{v, true}
	}
	return true
}

// wrongType notes that a field has a value, here as it stands in the document,
// of the wrong type.
func (e *Entry) wrongType(f field, value []byte) {
	if e.FieldError != nil && (e.RequestError != nil || f != httpRequest && f != requestURL) {
		return
	}
	err := &FieldError{Path: specs[f].path, Want: wants[specs[f].kind], Got: describe(value)}
	if e.FieldError == nil {
		e.FieldError = err
	}
	if f == httpRequest || f == requestURL {
		e.RequestError = err
	}
}

// describe names a valid JSON value in a message.
func describe(value []byte) string {
	const most = 48
	short := value
	if len(short) > most {
		short = short[:most]
	}
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		if len(value) > most {
			return fmt.Sprintf("string %+q...", short[1:])
		}
		return fmt.Sprintf("string %+q", short[1:len(short)-1])
	case 't', 'f':
		return string(value)
	}
	if len(value) > most {
		return "number " + string(short) + "..."
	}
	return "number " + string(short)
}

// unescape appends a string that scanString accepted to the scratch buffer and
// returns it.
func (d *Decoder) unescape(s []byte) []byte {
	from := len(d.scratch)
	d.scratch = appendUnescaped(d.scratch, s)
	return d.scratch[from:len(d.scratch):len(d.scratch)]
}

// expected sets the fault that something else stands at i.
func (d *Decoder) expected(data []byte, i int, what string) int {
	found := "the end of the input"
	if i < len(data) {
		found = fmt.Sprintf("byte 0x%02x", data[i])
		if ' ' < data[i] && data[i] < 0x7f {
			found = fmt.Sprintf("%q", data[i])
		}
	}
	d.fault = DecodeError{ReasonInvalidJSON, i, "found " + found + " instead of " + what}
	return -1
}

// badString sets the fault that a string is broken at i.
func (d *Decoder) badString(data []byte, i int) int {
	message := "string without an end"
	if i < len(data) {
		switch c := data[i]; {
		case c == '\\':
			message = "unknown or unfinished escape in a string"
		case c < ' ':
			message = fmt.Sprintf("control character 0x%02x in a string", c)
		default:
			message = "invalid UTF-8 in a string"
		}
	}
	d.fault = DecodeError{ReasonInvalidJSON, i, message}
	return -1
}
