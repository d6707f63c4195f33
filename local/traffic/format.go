package traffic

import "time"

const digits36 = "0123456789abcdefghijklmnopqrstuvwxyz"

// appendBase36 appends x in lower-case base 36, the form of insertIds.
func appendBase36(dst []byte, x uint64) []byte {
	var buf [13]byte
	i := len(buf)
	for {
		i--
		buf[i] = digits36[x%36]
		x /= 36
		if x == 0 {
			return append(dst, buf[i:]...)
		}
	}
}

// appendHex appends the lowest digits hex digits of x.
func appendHex(dst []byte, x uint64, digits int) []byte {
	for digits > 0 {
		digits--
		dst = append(dst, digits36[x>>(4*digits)&15])
	}
	return dst
}

func appendUUID(dst []byte, x uint64) []byte {
	y := mix(x)
	dst = appendHex(dst, x, 8)
	dst = append(dst, '-')
	dst = appendHex(dst, x>>32, 4)
	dst = append(dst, "-4"...)
	dst = appendHex(dst, x>>48, 3)
	dst = append(dst, '-')
	dst = append(dst, digits36[8+y&3])
	dst = appendHex(dst, y>>4, 3)
	dst = append(dst, '-')
	return appendHex(dst, y>>16, 12)
}

// clock formats times in UTC; it keeps the date of the last one, because nearly
// all fall on the same day.
type clock struct {
	day  int64
	date []byte // 2006-01-02T
}

const nanosPerDay = int64(24 * time.Hour)

// appendTime appends nanos since the Unix epoch (not negative) as RFC 3339 with
// that many fraction digits: 0, 3, 6 or 9.
func (c *clock) appendTime(dst []byte, nanos int64, fraction int) []byte {
	day := nanos / nanosPerDay
	if c.date == nil || day != c.day {
		c.day = day
		c.date = time.Unix(0, day*nanosPerDay).UTC().AppendFormat(c.date[:0], "2006-01-02T")
	}
	dst = append(dst, c.date...)
	rest := nanos % nanosPerDay
	seconds := rest / 1e9
	dst = append2(dst, seconds/3600)
	dst = append(dst, ':')
	dst = append2(dst, seconds/60%60)
	dst = append(dst, ':')
	dst = append2(dst, seconds%60)
	if fraction > 0 {
		dst = append(dst, '.')
		rest %= 1e9
		for unit := int64(1e8); fraction > 0; fraction-- {
			dst = append(dst, byte('0'+rest/unit%10))
			unit /= 10
		}
	}
	return append(dst, 'Z')
}

func append2(dst []byte, x int64) []byte { return append(dst, byte('0'+x/10), byte('0'+x%10)) }
