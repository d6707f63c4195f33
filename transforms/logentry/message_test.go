package logentry

import "testing"

func TestPlace(t *testing.T) {
	for _, tt := range []struct {
		m    Message
		want string
	}{
		{Message{Origin: "1234567890", Offset: -1}, "1234567890"},
		{Message{Origin: "gs://logs/S0.json", Offset: 0}, "gs://logs/S0.json@0"},
		{Message{Origin: "gs://logs/S0.json", Offset: 4711}, "gs://logs/S0.json@4711"},
	} {
		if got := tt.m.Place(); got != tt.want {
			t.Errorf("Place() = %q, want %q", got, tt.want)
		}
	}
}

// TestReasons checks that the two sets are apart and that no reason is missing
// from them by the number of constants.
func TestReasons(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range append(RejectReasons(), IgnoreReasons()...) {
		if r == "" || seen[r] {
			t.Errorf("reason %q is empty or in both sets", r)
		}
		seen[r] = true
	}
	if len(seen) != 7+4 {
		t.Errorf("%d reasons, want 11", len(seen))
	}
}
