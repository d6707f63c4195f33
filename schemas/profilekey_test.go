package schemas

import (
	"testing"
	"time"
)

func TestProfileKeyRoundTrip(t *testing.T) {
	for _, user := range []string{"u1", "", "a#b", "ünï", "x y"} {
		key := ProfileKey(user)
		got, ok := ProfileUser(key)
		if !ok || got != user {
			t.Errorf("ProfileUser(%q) = %q, %v; want %q", key, got, ok, user)
		}
	}
	// echo -n u1 | sha256sum
	if got, want := ProfileKey("u1"), "bb82#u1"; got != want {
		t.Errorf("ProfileKey(u1) = %q, want %q", got, want)
	}
	if _, ok := ProfileUser("abc"); ok {
		t.Error("ProfileUser accepts a short key")
	}
}

func TestFirstCellOrdersBackwards(t *testing.T) {
	at := func(s string) int64 {
		t.Helper()
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMicro()
	}
	for _, test := range []struct{ event, column, version string }{
		{"2026-11-01T00:00:00Z", "2026-11", "2026-12-01T00:00:00Z"},
		{"2026-11-01T00:00:00.001999Z", "2026-11", "2026-11-30T23:59:59.999Z"},
		{"2026-11-30T23:59:59.999Z", "2026-11", "2026-11-01T00:00:00.001Z"},
		{"2024-02-29T12:00:00Z", "2024-02", "2024-02-01T12:00:00Z"},
	} {
		column, version := FirstCell(at(test.event))
		if column != test.column || version != at(test.version) {
			t.Errorf("FirstCell(%s) = %s, %s; want %s, %s", test.event, column, time.UnixMicro(version).UTC(), test.column, test.version)
		}
	}
}

// The worst user is seen in every minute, with counters that do not fit and with
// long values, and Bigtable collects what has expired or been replaced a week
// late (https://cloud.google.com/bigtable/docs/garbage-collection).
func TestWorstRowIsBounded(t *testing.T) {
	const (
		recommended = 100_000_000 // https://cloud.google.com/bigtable/quotas#limits-data-size
		late        = 7           // days
		perDay      = 24 * 60     // windows
		overhead    = 64          // family, column, version and framing of a cell
	)
	families := Profiles().Families
	for name, f := range families {
		if f.MaxAgeDays == 0 {
			t.Errorf("family %s does not expire", name)
		}
	}
	counters := (families[FamilyCounters].MaxAgeDays + late) * perDay * (MaxWindowCounters + overhead)
	replaced := late * perDay
	latest := replaced * (MaxPageURL + 4*MaxAttribute + 40 + overhead) // four attributes, the time, and framing
	first := (replaced + families[FamilyFirst].MaxAgeDays/28) * (8 + overhead)
	if sum := counters + latest + first; sum > recommended {
		t.Errorf("the worst row has %d bytes, more than the recommended %d: lower an age or a bound", sum, recommended)
	} else {
		t.Logf("worst row: %d bytes", sum)
	}
}
