package privacy

import (
	"bytes"
	"fmt"
	"net/netip"
)

// IPMode says what is kept of an IP address.
type IPMode string

// The modes.
const (
	// IPTruncate keeps /24 of IPv4 and /48 of IPv6, the rest zero.
	IPTruncate IPMode = "truncate"
	// IPKeep keeps the address.
	IPKeep IPMode = "keep"
	// IPDrop keeps nothing.
	IPDrop IPMode = "drop"
)

// Bits that IPTruncate keeps.
const (
	bits4 = 24
	bits6 = 48
)

// ParseIPMode returns the mode of a name, exactly as written above. The error
// lists the modes.
func ParseIPMode(name string) (IPMode, error) {
	switch mode := IPMode(name); mode {
	case IPTruncate, IPKeep, IPDrop:
		return mode, nil
	}
	return "", fmt.Errorf("unknown IP mode %q; modes are %s, %s and %s", name, IPTruncate, IPKeep, IPDrop)
}

// AppendIP appends what the mode keeps of an address, in canonical text form (RFC
// 5952 for IPv6), and returns the extended dst. It returns nil if nothing is
// kept: in mode IPDrop, in a mode that is none of the above, and for text that
// ParseIP does not take.
//
// It allocates nothing beyond dst.
func AppendIP(dst, remoteIP []byte, mode IPMode) []byte {
	if mode != IPTruncate && mode != IPKeep {
		return nil
	}
	addr, ok := ParseIP(remoteIP)
	if !ok {
		return nil
	}
	if mode == IPTruncate {
		addr = Truncate(addr)
	}
	return addr.AppendTo(dst)
}

// Truncate keeps /24 of an IPv4 and /48 of an IPv6 address.
func Truncate(addr netip.Addr) netip.Addr {
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Addr{} // of the zero Addr only
	}
	return prefix.Addr()
}

// ParseIP reads an address as a load balancer logs it: bare, or with a port, then
// IPv6 in brackets. An IPv4-mapped IPv6 address is IPv4, and a zone is dropped.
// Otherwise it takes what netip.ParseAddr and netip.ParseAddrPort take, without
// allocating; it is false for anything else.
func ParseIP(b []byte) (addr netip.Addr, ok bool) {
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || end+1 < len(b) && !isPort(b[end+1:]) {
			return netip.Addr{}, false
		}
		return parse6(b[1:end])
	}
	colon := bytes.IndexByte(b, ':')
	if colon >= 0 && bytes.IndexByte(b[:colon], '.') < 0 {
		return parse6(b)
	}
	if colon >= 0 {
		if !isPort(b[colon:]) {
			return netip.Addr{}, false
		}
		b = b[:colon]
	}
	v4, ok := parse4(b)
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4(v4), true
}

// isPort reports whether b is a colon and a number of 0 to 65535.
func isPort(b []byte) bool {
	if len(b) < 2 || b[0] != ':' {
		return false
	}
	port := 0
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
		if port = port*10 + int(c-'0'); port > 65535 {
			return false
		}
	}
	return true
}

// parse4 reads four decimal numbers of 0 to 255 without leading zeros.
func parse4(b []byte) (out [4]byte, ok bool) {
	field, value, digits := 0, 0, 0
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			if digits > 0 && value == 0 {
				return out, false
			}
			digits++
			if value = value*10 + int(c-'0'); value > 255 {
				return out, false
			}
		case c == '.' && digits > 0 && field < 3:
			out[field] = byte(value)
			field++
			value, digits = 0, 0
		default:
			return out, false
		}
	}
	if field != 3 || digits == 0 {
		return out, false
	}
	out[3] = byte(value)
	return out, true
}

// parse6 reads an IPv6 address by RFC 4291, section 2.2.
func parse6(b []byte) (netip.Addr, bool) {
	if i := bytes.IndexByte(b, '%'); i >= 0 {
		if i == len(b)-1 {
			return netip.Addr{}, false
		}
		b = b[:i]
	}
	var out [16]byte
	n := 0    // bytes of out that are filled
	gap := -1 // where :: stands
	for first := true; len(b) > 0; first = false {
		switch {
		case len(b) >= 2 && b[0] == ':' && b[1] == ':':
			if gap >= 0 {
				return netip.Addr{}, false
			}
			gap = n
			b = b[2:]
			if len(b) == 0 {
				continue
			}
		case b[0] == ':' && !first:
			b = b[1:]
		case !first:
			return netip.Addr{}, false
		}
		// A group follows, or an IPv4 address as the last two.
		value, digits := 0, 0
		for digits < len(b) && digits < 5 {
			v := hexValue(b[digits])
			if v < 0 {
				break
			}
			value = value<<4 | v
			digits++
		}
		if digits == 0 || digits > 4 || n > 14 {
			return netip.Addr{}, false
		}
		if digits < len(b) && b[digits] == '.' {
			v4, ok := parse4(b)
			if !ok || n > 12 {
				return netip.Addr{}, false
			}
			copy(out[n:], v4[:])
			n += 4
			b = nil
			continue
		}
		out[n], out[n+1] = byte(value>>8), byte(value)
		n += 2
		b = b[digits:]
	}
	if gap < 0 && n < 16 || gap >= 0 && n == 16 {
		return netip.Addr{}, false
	}
	if gap >= 0 {
		moved := copy(out[16-(n-gap):], out[gap:n])
		clear(out[gap : 16-moved])
	}
	return netip.AddrFrom16(out).Unmap(), true
}

// hexValue is the value of a hex digit, -1 for another byte.
func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20) - 'a' + 10
	}
	return -1
}
