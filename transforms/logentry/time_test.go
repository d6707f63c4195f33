package logentry

import (
	"math"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	at := func(year int, month time.Month, day, hour, minute, second, micro int) OptInt64 {
		return OptInt64{time.Date(year, month, day, hour, minute, second, micro*1000, time.UTC).UnixMicro(), true}
	}
	for _, tt := range []struct {
		in   string
		want OptInt64
	}{
		{"2024-05-01T17:27:08Z", at(2024, 5, 1, 17, 27, 8, 0)},
		{"2024-05-01T17:27:08.1Z", at(2024, 5, 1, 17, 27, 8, 100000)},
		{"2024-05-01T17:27:08.07Z", at(2024, 5, 1, 17, 27, 8, 70000)},
		{"2024-05-01T17:27:08.073884Z", at(2024, 5, 1, 17, 27, 8, 73884)},
		{"2024-05-01T17:27:08.000001Z", at(2024, 5, 1, 17, 27, 8, 1)},
		{"2024-05-01T17:27:08.0738849Z", at(2024, 5, 1, 17, 27, 8, 73884)},
		{"2024-05-01T17:27:08.021058278Z", at(2024, 5, 1, 17, 27, 8, 21058)},
		{"2024-05-01T17:27:08.999999999Z", at(2024, 5, 1, 17, 27, 8, 999999)},
		{"2024-05-01T17:27:08.000000000Z", at(2024, 5, 1, 17, 27, 8, 0)},
		{"2024-05-01t17:27:08.5z", at(2024, 5, 1, 17, 27, 8, 500000)},
		{"2024-05-01t17:27:08+00:00", at(2024, 5, 1, 17, 27, 8, 0)},
		{"2024-05-01T17:27:08+00:00", at(2024, 5, 1, 17, 27, 8, 0)},
		{"2024-05-01T17:27:08-00:00", at(2024, 5, 1, 17, 27, 8, 0)},
		{"2024-05-01T17:27:08.5+05:30", at(2024, 5, 1, 11, 57, 8, 500000)},
		{"2024-05-01T17:27:08-08:00", at(2024, 5, 2, 1, 27, 8, 0)},
		{"2024-05-01T00:00:00+23:59", at(2024, 4, 30, 0, 1, 0, 0)},
		{"2024-02-29T00:00:00Z", at(2024, 2, 29, 0, 0, 0, 0)},
		{"2000-02-29T00:00:00Z", at(2000, 2, 29, 0, 0, 0, 0)},
		// Before 1970 finer digits are dropped towards the past, too.
		{"1969-12-31T23:59:59.999999999Z", OptInt64{-1, true}},
		{"1969-12-31T23:59:59.000000001Z", OptInt64{-1_000_000, true}},
		{"1970-01-01T00:00:00Z", OptInt64{0, true}},
		// The ends of what a BigQuery TIMESTAMP holds.
		{"0001-01-01T00:00:00Z", at(1, 1, 1, 0, 0, 0, 0)},
		{"9999-12-31T23:59:59.999999999Z", at(9999, 12, 31, 23, 59, 59, 999999)},
		{"0001-01-01T00:00:00+00:01", OptInt64{}},
		{"9999-12-31T23:59:59-00:01", OptInt64{}},
		{"0000-12-31T23:59:59-00:01", at(1, 1, 1, 0, 0, 59, 0)},
		{"0000-12-31T23:59:59Z", OptInt64{}},
		{"0000-01-01T00:00:00Z", OptInt64{}},
		// Leap seconds are at 23:59 UTC, and count as the next second.
		{"2016-12-31T23:59:60Z", at(2017, 1, 1, 0, 0, 0, 0)},
		{"2016-12-31T23:59:60.25Z", at(2017, 1, 1, 0, 0, 0, 250000)},
		{"2017-01-01T05:29:60+05:30", at(2017, 1, 1, 0, 0, 0, 0)},
		{"2016-12-31T23:59:60+05:30", OptInt64{}},
		{"2016-12-31T23:58:60Z", OptInt64{}},
		{"2016-12-31T23:59:61Z", OptInt64{}},
		{"9999-12-31T23:59:60Z", OptInt64{}},

		{"", OptInt64{}},
		{"2024-05-01", OptInt64{}},
		{"2024-05-01T17:27:08", OptInt64{}},
		{"2024-05-01T17:27Z", OptInt64{}},
		{"2024-05-01 17:27:08Z", OptInt64{}},
		{"2024-05-01T17:27:08.5\x1a", OptInt64{}},
		{"2024-05-01\x1417:27:08Z", OptInt64{}},
		{"2024-05-01T17:27:08.Z", OptInt64{}},
		{"2024-05-01T17:27:08,5Z", OptInt64{}},
		{"2024-05-01T17:27:08.1234567890Z", OptInt64{}},
		{"2024-05-01T17:27:08.12345678901234567890Z", OptInt64{}},
		{"2024-05-01T17:27:08.5", OptInt64{}},
		{"2024-05-01T17:27:08ZZ", OptInt64{}},
		{" 2024-05-01T17:27:08Z", OptInt64{}},
		{"2024-05-01T17:27:08Z ", OptInt64{}},
		{"2024-05-01T17:27:08+0530", OptInt64{}},
		{"2024-05-01T17:27:08+05", OptInt64{}},
		{"2024-05-01T17:27:08+24:00", OptInt64{}},
		{"2024-05-01T17:27:08+05:60", OptInt64{}},
		{"2024-05-01T17:27:08+a5:30", OptInt64{}},
		{"2024-05-01T17:27:08*05:30", OptInt64{}},
		{"2024-05-01T24:00:00Z", OptInt64{}},
		{"2024-05-01T17:60:00Z", OptInt64{}},
		{"2024-00-01T00:00:00Z", OptInt64{}},
		{"2024-13-01T00:00:00Z", OptInt64{}},
		{"2024-05-00T00:00:00Z", OptInt64{}},
		{"2024-05-32T00:00:00Z", OptInt64{}},
		{"2024-04-31T00:00:00Z", OptInt64{}},
		{"2023-02-29T00:00:00Z", OptInt64{}},
		{"1900-02-29T00:00:00Z", OptInt64{}},
		{"2024/05/01T17:27:08Z", OptInt64{}},
		{"2024-05-01T17.27.08Z", OptInt64{}},
		{"2O24-05-01T17:27:08Z", OptInt64{}},
		{"2024-05-01T17:27:0 Z", OptInt64{}},
		{"-024-05-01T17:27:08Z", OptInt64{}},
		{"12024-05-01T17:27:08Z", OptInt64{}},
		{"1714584428", OptInt64{}},
	} {
		micros, ok := ParseTime([]byte(tt.in))
		if got := (OptInt64{micros, ok}); got != tt.want {
			t.Errorf("ParseTime(%q) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

// TestParseTimeDays compares with package time each day of one cycle of the
// calendar, which has 400 years, and every eleventh day of the other years.
func TestParseTimeDays(t *testing.T) {
	day := time.Date(1, 1, 1, 12, 34, 56, 789000, time.UTC)
	var b []byte
	for day.Year() <= 9999 {
		b = day.AppendFormat(b[:0], time.RFC3339Nano)
		if got, ok := ParseTime(b); !ok || got != day.UnixMicro() {
			t.Fatalf("ParseTime(%s) = %d, %v; want %d", b, got, ok, day.UnixMicro())
		}
		step := 11
		if y := day.Year(); 1800 <= y && y < 2200 {
			step = 1
		}
		day = day.AddDate(0, 0, step)
	}
}

func TestParseDuration(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want OptInt64
	}{
		{"0.002182s", OptInt64{2182, true}},
		{"1.332074s", OptInt64{1332074, true}},
		{"0s", OptInt64{0, true}},
		{"3s", OptInt64{3_000_000, true}},
		{"007s", OptInt64{7_000_000, true}},
		{"0.1s", OptInt64{100_000, true}},
		{"0.000000999s", OptInt64{0, true}},
		{"1.999999999s", OptInt64{1_999_999, true}},
		{"-1.9999999s", OptInt64{-1_999_999, true}}, // towards zero
		{"-0.0000009s", OptInt64{0, true}},
		{"315576000000s", OptInt64{315_576_000_000_000_000, true}},
		{"-315576000000.000s", OptInt64{-315_576_000_000_000_000, true}},
		{"315576000000.000001s", OptInt64{}},
		{"315576000001s", OptInt64{}},
		{"99999999999999999999999s", OptInt64{}},
		{"", OptInt64{}},
		{"s", OptInt64{}},
		{"-s", OptInt64{}},
		{"1", OptInt64{}},
		{"1.5", OptInt64{}},
		{".5s", OptInt64{}},
		{"1.s", OptInt64{}},
		{"1.1234567890s", OptInt64{}},
		{"+1s", OptInt64{}},
		{"--1s", OptInt64{}},
		{"1e3s", OptInt64{}},
		{"1S", OptInt64{}},
		{"1ms", OptInt64{}},
		{"1s ", OptInt64{}},
		{" 1s", OptInt64{}},
		{"1,5s", OptInt64{}},
	} {
		micros, ok := ParseDuration([]byte(tt.in))
		if got := (OptInt64{micros, ok}); got != tt.want {
			t.Errorf("ParseDuration(%q) = %v, want %v", tt.in, got, tt.want)
		}
		if ref := referenceDuration(tt.in); ref != tt.want {
			t.Errorf("referenceDuration(%q) = %v, want %v", tt.in, ref, tt.want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want OptInt64
	}{
		{"0", OptInt64{0, true}}, {"-0", OptInt64{0, true}}, {"200", OptInt64{200, true}}, {"-17", OptInt64{-17, true}},
		{"200.0", OptInt64{200, true}}, {"2e2", OptInt64{200, true}}, {"2E+2", OptInt64{200, true}}, {"2.00e2", OptInt64{200, true}},
		{"20000e-2", OptInt64{200, true}}, {"0.02e4", OptInt64{200, true}}, {"1.5e1", OptInt64{15, true}}, {"10.50e2", OptInt64{1050, true}},
		{"0.0", OptInt64{0, true}}, {"0e999999999999999999999", OptInt64{0, true}}, {"-0.000e-5", OptInt64{0, true}},
		{"9223372036854775807", OptInt64{math.MaxInt64, true}}, {"-9223372036854775808", OptInt64{math.MinInt64, true}},
		{"9223372036854775807.000", OptInt64{math.MaxInt64, true}}, {"9.223372036854775807e18", OptInt64{math.MaxInt64, true}},
		{"-92233720368547758080e-1", OptInt64{math.MinInt64, true}}, {"1e18", OptInt64{1e18, true}},
		{"10000000000000000000000000e-25", OptInt64{1, true}},
		{"9223372036854775808", OptInt64{}}, {"-9223372036854775809", OptInt64{}}, {"1e19", OptInt64{}},
		{"18446744073709551616", OptInt64{}}, {"18446744073709551617.0", OptInt64{}}, {"99999999999999999999.0", OptInt64{}},
		{"200.5", OptInt64{}}, {"1e-1", OptInt64{}}, {"1e999999999999999999999", OptInt64{}}, {"1e-999999999999999999999", OptInt64{}},
		{"0.1", OptInt64{}}, {"10000000000000000000000001e-25", OptInt64{}},
	} {
		v, ok := parseNumber([]byte(tt.in))
		if !ok {
			v = 0
		}
		if got := (OptInt64{v, ok}); got != tt.want {
			t.Errorf("parseNumber(%q) = %v, want %v", tt.in, got, tt.want)
		}
		ref, ok := referenceInteger([]byte(tt.in))
		if got := (OptInt64{ref, ok}); got != tt.want {
			t.Errorf("referenceInteger(%q) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestParseInteger(t *testing.T) {
	for in, want := range map[string]OptInt64{
		"0": {0, true}, "-0": {0, true}, "308313": {308313, true}, "-5": {-5, true}, "0042": {42, true},
		"9223372036854775807": {math.MaxInt64, true}, "-9223372036854775808": {math.MinInt64, true},
		"9223372036854775808": {}, "-9223372036854775809": {}, "99999999999999999999": {}, "18446744073709551616": {},
		"": {}, "-": {}, "--1": {}, "+1": {}, "1.0": {}, "1e2": {}, " 1": {}, "1 ": {}, "0x1": {}, "1_000": {}, "abc": {},
	} {
		v, ok := parseInteger([]byte(in))
		if !ok {
			v = 0
		}
		if got := (OptInt64{v, ok}); got != want {
			t.Errorf("parseInteger(%q) = %v, want %v", in, got, want)
		}
	}
}

// FuzzParseTime compares with time.Parse, but for what referenceTime names.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2024-05-01T17:27:08.073884Z", "1969-12-31T23:59:59.999999999-23:59", "2016-12-31T23:59:60Z",
		"0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2024-02-29T00:00:00+05:30", "2024-02-29T00:00:00,5Z"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, ok := ParseTime(in)
		if !ok {
			v = 0
		}
		if want, sure := referenceTime(string(in)); sure && want != (OptInt64{v, ok}) {
			t.Fatalf("ParseTime(%q) = %d, %v; want %v", in, v, ok, want)
		}
		d, ok := ParseDuration(in)
		if want := referenceDuration(string(in)); want != (OptInt64{d, ok}) {
			t.Fatalf("ParseDuration(%q) = %d, %v; want %v", in, d, ok, want)
		}
	})
}
