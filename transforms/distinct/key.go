package distinct

// AppendField appends one field of a key or a value: its length and its bytes.
// An absent field is an empty one. Fields are read back by CutField.
func AppendField(dst, field []byte) []byte { return appendString(dst, field) }

// CutField returns the first field of s, borrowed, and what follows it; ok is
// false when s does not begin with a field.
func CutField(s []byte) (field, rest []byte, ok bool) { return cutString(s) }
