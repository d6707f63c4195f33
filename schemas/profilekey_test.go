package schemas

import "testing"

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

func TestCounterColumnRoundTrip(t *testing.T) {
	for _, c := range [][2]string{{"c1", "impression"}, {"", "click"}, {"a#b%c", "x#%23y"}} {
		column := CounterColumn(c[0], c[1])
		campaign, event, ok := ParseCounterColumn(column)
		if !ok || campaign != c[0] || event != c[1] {
			t.Errorf("ParseCounterColumn(%q) = %q, %q, %v; want %q", column, campaign, event, ok, c)
		}
	}
}

func TestFirstVersionOrdersBackwards(t *testing.T) {
	if FirstVersion(1000) <= FirstVersion(2000) {
		t.Error("an earlier event must have the newer version")
	}
	if got := FirstVersion(FirstVersion(1234)); got != 1234 {
		t.Errorf("not its own inverse: %d", got)
	}
}
