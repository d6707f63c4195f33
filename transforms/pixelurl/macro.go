package pixelurl

// isMacro reports whether a value is wholly an unexpanded macro: ${...},
// %%...%%, [...] or {...} around one or more letters, digits, _ : . or -, or
// %e...! around one or more letters, digits or _.
func isMacro(v []byte) bool {
	return len(v) >= 3 && macroBytes[v[0]]&beginsMacro != 0 && isWholeMacro(v)
}

func isWholeMacro(v []byte) bool {
	last := len(v) - 1
	switch v[0] {
	case '[':
		return v[last] == ']' && allIn(v[1:last], inMacro)
	case '{':
		return v[last] == '}' && allIn(v[1:last], inMacro)
	case '$':
		return len(v) > 3 && v[1] == '{' && v[last] == '}' && allIn(v[2:last], inMacro)
	case '%':
		if v[1] == 'e' {
			return len(v) > 3 && v[last] == '!' && allIn(v[2:last], inShortMacro)
		}
		return len(v) > 4 && v[1] == '%' && v[last-1] == '%' && v[last] == '%' && allIn(v[2:last-1], inMacro)
	}
	return false
}

const (
	inMacro      = 1
	inShortMacro = 2
	beginsMacro  = 4
)

var macroBytes = func() (t [256]byte) {
	for c := range t {
		if isDigit(byte(c)) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' {
			t[c] = inMacro | inShortMacro
		}
	}
	t[':'], t['.'], t['-'] = inMacro, inMacro, inMacro
	for _, c := range []byte("[{$%") {
		t[c] = beginsMacro
	}
	return t
}()

func allIn(s []byte, set byte) bool {
	for _, c := range s {
		if macroBytes[c]&set == 0 {
			return false
		}
	}
	return true
}
