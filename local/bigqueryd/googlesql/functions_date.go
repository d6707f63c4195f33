package googlesql

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// dateUnit is a date part that is a length: of fixed length in microseconds, or
// of months.
type dateUnit struct {
	micros int64
	months int
	duck   string
}

var units = map[string]dateUnit{
	"MICROSECOND": {1, 0, "microsecond"}, "MILLISECOND": {1000, 0, "millisecond"}, "SECOND": {1_000_000, 0, "second"},
	"MINUTE": {60_000_000, 0, "minute"}, "HOUR": {3_600_000_000, 0, "hour"}, "DAY": {microsPerDay, 0, "day"},
	"WEEK": {7 * microsPerDay, 0, "week"}, "ISOWEEK": {7 * microsPerDay, 0, "week"}, "MONTH": {0, 1, "month"}, "QUARTER": {0, 3, "quarter"},
	"YEAR": {0, 12, "year"}, "ISOYEAR": {0, 12, "isoyear"},
}

const microsPerDay = 86_400_000_000

// microsOf writes the microseconds since the epoch of a TIMESTAMP, DATETIME or
// DATE.
func microsOf(v Value) string { return "epoch_us(" + v.SQL + ")" }

// civil writes the DATETIME, in UTC, of a TIMESTAMP, DATETIME or DATE; unlike a
// cast it does not depend on the session's time zone.
func civil(v Value) string {
	if v.Type == Datetime {
		return v.SQL
	}
	return "make_timestamp(" + microsOf(v) + ")"
}

func timestampOf(micros string) string { return "make_timestamptz(" + micros + ")" }

// floor writes the largest multiple of n up to x. DuckDB's remainder has the
// sign of the dividend.
func floor(x string, n int64) string {
	return fmt.Sprintf("(%s - ((%s %% %d) + %d) %% %d)", x, x, n, n, n)
}

// weekdays are the shifts, in days, from the epoch, a Thursday, to the first day
// of a week.
var weekdays = []string{"THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY"}

// weekUnit reads a date part that may be WEEK(weekday), and returns for weeks the
// shift of their first day, else -1.
func (p *parser) weekUnit() (unit string, shift int64, err error) {
	if unit, err = p.unit(); err != nil {
		return "", -1, err
	}
	day := ""
	switch unit {
	case "WEEK":
		day = "SUNDAY"
		if p.accept("(") {
			day = strings.ToUpper(p.next().text)
			if err := p.expect(")"); err != nil {
				return "", -1, err
			}
		}
	case "ISOWEEK":
		day = "MONDAY"
	default:
		return unit, -1, nil
	}
	i := slices.Index(weekdays, day)
	if i < 0 {
		return "", -1, p.unexpected("a weekday before this")
	}
	return "WEEK", int64(i), nil
}

// weekStart writes the microseconds of the first day of the week of a time.
func weekStart(v Value, shift int64) string {
	days := shift * microsPerDay
	return "(" + floor("("+microsOf(v)+" - "+fmt.Sprint(days)+")", 7*microsPerDay) + " + " + fmt.Sprint(days) + ")"
}

// dateFunctions take date parts, which are no expressions, and so read their own
// arguments up to, but not including, the closing parenthesis.
var dateFunctions map[string]func(p *parser, t token) (Value, error)

func init() {
	dateFunctions = map[string]func(p *parser, t token) (Value, error){
		"TIMESTAMP_TRUNC": truncFunction(Timestamp), "DATETIME_TRUNC": truncFunction(Datetime), "DATE_TRUNC": truncFunction(Date),
		"TIMESTAMP_DIFF": diffFunction(Timestamp), "DATETIME_DIFF": diffFunction(Datetime), "DATE_DIFF": diffFunction(Date),
		"TIMESTAMP_ADD": addFunction(Timestamp, "+"), "DATETIME_ADD": addFunction(Datetime, "+"), "DATE_ADD": addFunction(Date, "+"),
		"TIMESTAMP_SUB": addFunction(Timestamp, "-"), "DATETIME_SUB": addFunction(Datetime, "-"), "DATE_SUB": addFunction(Date, "-"),
		"GENERATE_TIMESTAMP_ARRAY": generateFunction(Timestamp), "GENERATE_DATE_ARRAY": generateFunction(Date),
	}
}

// typed returns the value as the type that a function takes: a string literal is
// one of them.
func (p *parser) typed(v Value, typ Type) Value {
	if v.Type == String {
		st := map[Type]string{Timestamp: "TIMESTAMPTZ", Datetime: "TIMESTAMP", Date: "DATE"}[typ]
		return Value{"CAST(" + v.SQL + " AS " + st + ")", typ}
	}
	return v
}

// typedFor is typed for the function t. The date functions also take a TIMESTAMP
// or DATETIME, and then do what those of that type do: where the type is known at
// run time only, they are refused then.
func (p *parser) typedFor(t token, v Value, typ Type) Value {
	v = p.typed(v, typ)
	if typ != Date || v.Type == Date {
		return v
	}
	name := strings.ToUpper(t.text)
	message := name + " of a TIMESTAMP or DATETIME is not supported by the local stand-in: use TIMESTAMP_" + strings.TrimPrefix(name, "DATE_") + ", or DATE() of it"
	return Value{"(CASE WHEN typeof(" + v.SQL + ") = 'DATE' THEN " + v.SQL + " ELSE error(" + Text(message) + ") END)", Unknown}
}

// zone reads an optional ", 'zone'"; "" is UTC.
func (p *parser) zone() (string, error) {
	if !p.accept(",") {
		return "", nil
	}
	return p.zoneName(p.next())
}

var zoneName = regexp.MustCompile(`^[A-Za-z_]+(/[A-Za-z0-9_+-]+)+$`)

// zoneName returns the name that the literal holds, and "" for UTC. Others than
// names like Europe/Berlin are refused: DuckDB reads the sign of an offset the
// other way round.
func (p *parser) zoneName(t token) (string, error) {
	if t.kind == tokenString {
		if slices.Contains([]string{"UTC", "Etc/UTC", "+00", "+00:00"}, t.text) {
			return "", nil
		}
		if zoneName.MatchString(t.text) && !strings.HasPrefix(t.text, "Etc/") {
			return t.text, nil
		}
	}
	return "", p.refuse(t, "A time zone other than a literal 'UTC' or a name like 'Europe/Berlin'")
}

// inZone writes the civil time of a TIMESTAMP in a zone.
func inZone(v Value, zone string) Value {
	if zone == "" {
		return v
	}
	return Value{"timezone(" + Text(zone) + ", " + timestampOf(microsOf(v)) + ")", Datetime}
}

func truncFunction(typ Type) func(p *parser, t token) (Value, error) {
	return func(p *parser, t token) (Value, error) {
		v, err := p.expr()
		if err != nil {
			return v, err
		}
		v = p.typedFor(t, v, typ)
		if err := p.expect(","); err != nil {
			return v, err
		}
		unit, week, err := p.weekUnit()
		if err != nil {
			return v, err
		}
		zone, err := p.zone()
		if err != nil {
			return v, err
		}
		u := units[unit]
		if typ == Date && u.micros > 0 && u.micros < microsPerDay {
			return v, errorAt(p.sql, t.pos, "DATE_TRUNC does not support the %s date part", unit)
		}
		if zone != "" {
			if typ != Timestamp || u.micros > 0 && u.micros < microsPerDay {
				// An hour may occur twice in a zone's civil time, a day may not.
				return v, p.refuse(t, strings.ToUpper(t.text)+" by "+unit+" in a time zone other than UTC")
			}
			v = inZone(v, zone)
		}
		micros := floor(microsOf(v), u.micros)
		switch {
		case week >= 0:
			micros = weekStart(v, week)
		case u.micros == 0:
			micros = "epoch_us(date_trunc('" + u.duck + "', " + civil(v) + "))"
		}
		if zone != "" {
			return Value{"timezone(" + Text(zone) + ", make_timestamp(" + micros + "))", Timestamp}, nil
		}
		switch typ {
		case Timestamp:
			return Value{timestampOf(micros), Timestamp}, nil
		case Datetime:
			return Value{"make_timestamp(" + micros + ")", Datetime}, nil
		}
		return Value{"CAST(make_timestamp(" + micros + ") AS DATE)", Date}, nil
	}
}

// diffFunction: TIMESTAMP_DIFF counts whole units, DATE_DIFF and DATETIME_DIFF
// the boundaries between.
func diffFunction(typ Type) func(p *parser, t token) (Value, error) {
	return func(p *parser, t token) (Value, error) {
		a, err := p.expr()
		if err != nil {
			return a, err
		}
		if err := p.expect(","); err != nil {
			return a, err
		}
		b, err := p.expr()
		if err != nil {
			return b, err
		}
		if err := p.expect(","); err != nil {
			return a, err
		}
		unit, week, err := p.weekUnit()
		if err != nil {
			return a, err
		}
		a, b = p.typedFor(t, a, typ), p.typedFor(t, b, typ)
		u := units[unit]
		switch {
		case typ == Timestamp && (u.micros == 0 || u.micros > microsPerDay), typ == Date && u.micros > 0 && u.micros < microsPerDay:
			return a, errorAt(p.sql, t.pos, "%s does not support the %s date part", strings.ToUpper(t.text), unit)
		case typ == Timestamp:
			return Value{fmt.Sprintf("((%s - %s) // %d)", microsOf(a), microsOf(b), u.micros), Int64}, nil
		case u.micros > 0 && u.micros <= microsPerDay:
			return Value{fmt.Sprintf("((%s - %s) // %d)", floor(microsOf(a), u.micros), floor(microsOf(b), u.micros), u.micros), Int64}, nil
		case week >= 0:
			return Value{fmt.Sprintf("((%s - %s) // %d)", weekStart(a, week), weekStart(b, week), 7*microsPerDay), Int64}, nil
		}
		return Value{"date_diff('" + u.duck + "', " + civil(b) + ", " + civil(a) + ")", Int64}, nil
	}
}

func addFunction(typ Type, sign string) func(p *parser, t token) (Value, error) {
	return func(p *parser, t token) (Value, error) {
		v, err := p.expr()
		if err != nil {
			return v, err
		}
		v = p.typedFor(t, v, typ)
		if err := p.expect(",", "INTERVAL"); err != nil {
			return v, err
		}
		iv, err := p.intervalParts()
		if err != nil {
			return v, err
		}
		u := units[iv.unit]
		switch {
		case strings.HasPrefix(iv.unit, "ISO"),
			typ == Timestamp && (u.micros == 0 || u.micros > microsPerDay),
			typ == Date && u.micros > 0 && u.micros < microsPerDay:
			return v, errorAt(p.sql, t.pos, "%s does not support the %s date part", strings.ToUpper(t.text), iv.unit)
		case typ == Timestamp:
			return Value{timestampOf(fmt.Sprintf("%s %s CAST(%s AS BIGINT) * %d", microsOf(v), sign, iv.n, u.micros)), Timestamp}, nil
		}
		moved := fmt.Sprintf("make_timestamp(%s %s CAST(%s AS BIGINT) * %d)", microsOf(v), sign, iv.n, u.micros)
		if u.micros == 0 {
			moved = fmt.Sprintf("(%s %s to_months(CAST(%s AS INTEGER) * %d))", civil(v), sign, iv.n, u.months)
		}
		if typ == Date {
			moved = "CAST(" + moved + " AS DATE)"
		}
		return Value{moved, typ}, nil
	}
}

func generateFunction(typ Type) func(p *parser, t token) (Value, error) {
	return func(p *parser, t token) (Value, error) {
		from, err := p.expr()
		if err != nil {
			return from, err
		}
		if err := p.expect(","); err != nil {
			return from, err
		}
		to, err := p.expr()
		if err != nil {
			return to, err
		}
		iv := intervalValue{n: "1", unit: "DAY"}
		if typ == Timestamp || p.looking(",") {
			if err := p.expect(",", "INTERVAL"); err != nil {
				return from, err
			}
			if iv, err = p.intervalParts(); err != nil {
				return from, err
			}
		}
		u := units[iv.unit]
		if u.micros == 0 || typ == Date && u.micros < microsPerDay {
			return from, p.refuse(t, strings.ToUpper(t.text)+" by "+iv.unit)
		}
		from, to = p.typed(from, typ), p.typed(to, typ)
		element := "make_timestamptz(x)"
		if typ == Date {
			element = "CAST(make_timestamp(x) AS DATE)"
		}
		return Value{fmt.Sprintf("list_transform(generate_series(%s, %s, CAST(%s AS BIGINT) * %d), lambda x: %s)", microsOf(from), microsOf(to), iv.n, u.micros, element), Array}, nil
	}
}

// extract reads the rest of EXTRACT(part FROM x).
func (p *parser) extract(t token) (Value, error) {
	part := strings.ToUpper(p.next().text)
	if part == "WEEK" && p.accept("(", "MONDAY", ")") {
		part = "WEEK(MONDAY)"
	}
	if err := p.expect("FROM"); err != nil {
		return Value{}, err
	}
	v, err := p.expr()
	if err != nil {
		return v, err
	}
	if p.accept("AT", "TIME", "ZONE") {
		zone, err := p.zoneName(p.next())
		if err != nil {
			return v, err
		}
		v = inZone(v, zone)
	}
	if err := p.expect(")"); err != nil {
		return v, err
	}
	c := civil(v)
	switch part {
	case "YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "ISOYEAR":
		return Value{"extract(" + strings.ToLower(part) + " FROM " + c + ")", Int64}, nil
	case "ISOWEEK":
		return Value{"extract(week FROM " + c + ")", Int64}, nil
	case "DAYOFYEAR":
		return Value{"extract(doy FROM " + c + ")", Int64}, nil
	case "DAYOFWEEK":
		return Value{"(extract(dow FROM " + c + ") + 1)", Int64}, nil
	case "WEEK":
		return Value{"CAST(strftime(" + c + ", '%U') AS BIGINT)", Int64}, nil
	case "WEEK(MONDAY)":
		return Value{"CAST(strftime(" + c + ", '%W') AS BIGINT)", Int64}, nil
	case "MILLISECOND":
		return Value{"(extract(microsecond FROM " + c + ") % 1000000 // 1000)", Int64}, nil
	case "MICROSECOND":
		return Value{"(extract(microsecond FROM " + c + ") % 1000000)", Int64}, nil
	case "DATE":
		return Value{"CAST(" + c + " AS DATE)", Date}, nil
	case "DATETIME":
		return Value{c, Datetime}, nil
	}
	return v, p.refuse(t, "EXTRACT of "+part)
}

func currentCivil(typ Type) func(p *parser, c *call) (Value, error) {
	return func(p *parser, c *call) (Value, error) {
		zone, err := p.zoneArgument(c, 0)
		now := civil(inZone(Value{"now()", Timestamp}, zone))
		if typ == Date {
			now = "CAST(" + now + " AS DATE)"
		}
		return Value{now, typ}, err
	}
}

// zoneArgument returns the time zone that argument i is, if there is one.
func (p *parser) zoneArgument(c *call, i int) (string, error) {
	if len(c.args) <= i {
		return "", nil
	}
	t := c.literals[i]
	if t.kind != tokenString {
		t.pos = c.token.pos
	}
	return p.zoneName(t)
}

func translateTimestamp(p *parser, c *call) (Value, error) {
	zone, err := p.zoneArgument(c, 1)
	if err != nil {
		return Value{}, err
	}
	if _, ok := c.text(0); ok && zone == "" {
		return p.typedLiteral(Timestamp, c.literals[0])
	}
	switch v := c.args[0]; {
	case zone != "" && (v.Type == Date || v.Type == Datetime):
		return Value{"timezone(" + Text(zone) + ", " + civil(v) + ")", Timestamp}, nil
	case zone != "":
		return v, p.refuse(c.token, "TIMESTAMP in a time zone other than UTC, of what is not known to be a DATE or DATETIME")
	case v.Type == Date, v.Type == Datetime, v.Type == Timestamp:
		return Value{timestampOf(microsOf(v)), Timestamp}, nil
	default:
		return Value{"CAST(" + v.SQL + " AS TIMESTAMPTZ)", Timestamp}, nil
	}
}

func translateDate(p *parser, c *call) (Value, error) {
	if len(c.args) == 3 {
		return Value{"make_date(" + sqlList(c.args) + ")", Date}, nil
	}
	zone, err := p.zoneArgument(c, 1)
	if err != nil {
		return Value{}, err
	}
	if _, ok := c.text(0); ok && len(c.args) == 1 {
		return p.typedLiteral(Date, c.literals[0])
	}
	return Value{"CAST(" + civil(inZone(p.typed(c.args[0], Timestamp), zone)) + " AS DATE)", Date}, nil
}

func translateDatetime(p *parser, c *call) (Value, error) {
	zone, err := p.zoneArgument(c, 1)
	if err != nil {
		return Value{}, err
	}
	if _, ok := c.text(0); ok && len(c.args) == 1 {
		return p.typedLiteral(Datetime, c.literals[0])
	}
	return Value{civil(inZone(p.typed(c.args[0], Timestamp), zone)), Datetime}, nil
}

// unixFunction rounds down to its unit.
func unixFunction(micros int64) func(p *parser, c *call) (Value, error) {
	return func(p *parser, c *call) (Value, error) {
		us := microsOf(p.typed(c.args[0], Timestamp))
		if micros == 1 {
			return Value{us, Int64}, nil
		}
		return Value{fmt.Sprintf("(%s // %d)", floor(us, micros), micros), Int64}, nil
	}
}

// formatElements maps the elements of BigQuery's time formats to DuckDB's.
var formatElements = map[string]string{
	"Y": "%Y", "m": "%m", "d": "%d", "H": "%H", "M": "%M", "S": "%S", "y": "%y", "j": "%j", "B": "%B", "b": "%b", "h": "%b",
	"A": "%A", "a": "%a", "I": "%I", "p": "%p", "F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "U": "%U", "W": "%W",
	"u": "%u", "w": "%w", "V": "%V", "G": "%G", "Z": "UTC", "z": "+0000", "Ez": "+00:00", "E3S": "%S.%g", "E6S": "%S.%f", "E4Y": "%Y",
	"%": "%%", "n": "\n", "t": "\t",
}

// timeFormat translates a format; ok is false, with the element, if one is not
// known.
func timeFormat(format string) (duck, bad string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		element := ""
		for n := 1; n <= 3 && i+n < len(format); n++ {
			if _, found := formatElements[format[i+1:i+1+n]]; found {
				element = format[i+1 : i+1+n]
			}
		}
		if element == "" {
			return "", format[i:min(i+3, len(format))], false
		}
		b.WriteString(formatElements[element])
		i += len(element)
	}
	return b.String(), "", true
}

// zoneElement matches a format element of the time zone.
var zoneElement = regexp.MustCompile(`%(E?z|Z)`)

func (p *parser) formatArgument(c *call) (string, error) {
	format, ok := c.text(0)
	if !ok {
		return "", p.refuse(c.token, c.name+" with a format that is not a literal")
	}
	duck, bad, ok := timeFormat(format)
	if !ok {
		return "", p.refuse(c.token, "Format element "+bad)
	}
	return Text(duck), nil
}

func translateFormatTime(p *parser, c *call) (Value, error) {
	zone, err := p.zoneArgument(c, 2)
	if err != nil {
		return Value{}, err
	}
	format, err := p.formatArgument(c)
	if text, _ := c.text(0); err == nil && zone != "" && zoneElement.MatchString(text) {
		err = p.refuse(c.token, "A format element of the time zone, in one other than UTC,")
	}
	v := p.typed(c.args[1], map[string]Type{"FORMAT_DATE": Date, "FORMAT_DATETIME": Datetime, "FORMAT_TIMESTAMP": Timestamp}[c.name])
	return Value{"strftime(" + civil(inZone(v, zone)) + ", " + format + ")", String}, err
}

func translateParseTime(typ Type) func(p *parser, c *call) (Value, error) {
	return func(p *parser, c *call) (Value, error) {
		zone, err := p.zoneArgument(c, 2)
		if err != nil {
			return Value{}, err
		}
		format, err := p.formatArgument(c)
		parsed := "strptime(" + c.arg(1) + ", " + format + ")"
		switch {
		case zone != "":
			parsed = "timezone(" + Text(zone) + ", " + parsed + ")"
		case typ == Timestamp:
			parsed = timestampOf("epoch_us(" + parsed + ")")
		case typ == Date:
			parsed = "CAST(" + parsed + " AS DATE)"
		}
		return Value{parsed, typ}, err
	}
}
