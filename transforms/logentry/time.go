package logentry

const (
	microsPerSecond = 1_000_000
	secondsPerDay   = 86_400
	// minSecond and maxSecond bound the years 0001 to 9999 in UTC, the range of
	// a BigQuery TIMESTAMP.
	minSecond = -62_135_596_800
	maxSecond = 253_402_300_799
)

// ParseTime reads an RFC 3339 date-time with 0 to 9 fraction digits and any
// offset, such as 2024-05-01T17:27:08.073884Z, and returns microseconds since
// the Unix epoch, with finer digits dropped (towards the past, before 1970 too).
//
// It is false for anything else: the date must exist, the result must lie in the
// years 0001 to 9999 of UTC. T and Z may be lower case, as the note in RFC 3339,
// section 5.6, allows. Second 60 is taken at
// 23:59 UTC only, where leap seconds are, as the second that follows: neither
// Unix time nor BigQuery has a place of its own for it.
func ParseTime(b []byte) (micros int64, ok bool) {
	// 0123456789012345678
	// 2006-01-02T15:04:05
	if len(b) < len("2006-01-02T15:04:05Z") ||
		b[4] != '-' || b[7] != '-' || b[10]|0x20 != 't' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	century, ok1 := twoDigits(b, 0)
	year, ok2 := twoDigits(b, 2)
	month, ok3 := twoDigits(b, 5)
	day, ok4 := twoDigits(b, 8)
	hour, ok5 := twoDigits(b, 11)
	minute, ok6 := twoDigits(b, 14)
	second, ok7 := twoDigits(b, 17)
	year += 100 * century
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7) ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	fraction, rest, ok := fractionMicros(b[19:])
	if !ok {
		return 0, false
	}
	offset, ok := offsetSeconds(rest)
	if !ok {
		return 0, false
	}
	seconds := daysSinceEpoch(year, month, day)*secondsPerDay +
		int64(hour)*3600 + int64(minute)*60 + int64(second) - offset
	if second == 60 && seconds%secondsPerDay != 0 ||
		seconds < minSecond || seconds > maxSecond {
		return 0, false
	}
	return seconds*microsPerSecond + fraction, true
}

// ParseDuration reads a duration in the JSON form of protocol buffers, such as
// 0.002182s: an optional minus, digits, optionally a point and 1 to 9 digits,
// and s. It returns microseconds, with finer digits dropped (towards zero), and
// false for anything else or for more than 315,576,000,000 seconds, the limit of
// the format.
func ParseDuration(b []byte) (micros int64, ok bool) {
	const limit = 315_576_000_000
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	var seconds int64
	digits := 0
	for digits < len(b) && isDigit(b[digits]) {
		seconds = seconds*10 + int64(b[digits]-'0')
		if seconds > limit {
			return 0, false
		}
		digits++
	}
	if digits == 0 {
		return 0, false
	}
	fraction, rest, ok := fractionMicros(b[digits:])
	if !ok || string(rest) != "s" || seconds == limit && fraction > 0 {
		return 0, false
	}
	micros = seconds*microsPerSecond + fraction
	if negative {
		micros = -micros
	}
	return micros, true
}

// fractionMicros reads an optional point with 1 to 9 digits, in microseconds.
func fractionMicros(b []byte) (micros int64, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '.' {
		return 0, b, true
	}
	n := 1
	for ; n < len(b) && isDigit(b[n]); n++ {
		if n <= 6 {
			micros = micros*10 + int64(b[n]-'0')
		}
	}
	for i := n; i <= 6; i++ {
		micros *= 10
	}
	return micros, b[n:], 1 < n && n <= 10
}

// offsetSeconds reads Z or an offset such as +08:00.
func offsetSeconds(b []byte) (seconds int64, ok bool) {
	if len(b) == 1 && b[0]|0x20 == 'z' {
		return 0, true
	}
	if len(b) != len("+08:00") || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return 0, false
	}
	hour, ok1 := twoDigits(b, 1)
	minute, ok2 := twoDigits(b, 4)
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, false
	}
	seconds = int64(hour)*3600 + int64(minute)*60
	if b[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

// twoDigits reads the number b[i:i+2].
func twoDigits(b []byte, i int) (int, bool) {
	tens, ones := b[i]-'0', b[i+1]-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}

// daysIn returns the length of a month in the Gregorian calendar.
func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts days from 1970-01-01 to a date of the Gregorian calendar.
// Years are taken to begin in March, so that the leap day comes last and the
// days before a month follow a straight line.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	const daysTo1970 = 719_468 // from 0000-03-01
	leaps := floorDiv(year, 4) - floorDiv(year, 100) + floorDiv(year, 400)
	return int64(365*year + leaps + (153*(month-3)+2)/5 + day - 1 - daysTo1970)
}

// floorDiv divides towards minus infinity; the March year of early 0000 is -1.
func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
