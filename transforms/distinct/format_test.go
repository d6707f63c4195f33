package distinct

import (
	"encoding/hex"
	"testing"
)

// What a shard's state holds beside sets, which pipeline's TestStateFormats has. A job
// that is updated finds that of the one before it: a difference here means a drain and
// a new job, which the changelog says.
func TestStateFormat(t *testing.T) {
	minute := int64(1_767_225_600_000_000) // 2026-01-01
	c := clock{passed: minute, armed: minute + 10_000_000, late: true, ends: []int64{minute + windowMicros, minute + 3*windowMicros}}
	var v version
	v.add([]byte("first pane"))
	v.add([]byte("second"))
	for what, format := range map[string]struct{ got, want string }{
		"clock":   {hex.EncodeToString(c.append(nil)), "808082e288d2a30680dac6eb88d2a3060182b78b1c04"},
		"version": {hex.EncodeToString(v.append(nil)), "0210720a6d9b387333fc31ec8ecadcbf94fa"},
	} {
		if format.got != format.want {
			t.Errorf("%s: %s, want %s", what, format.got, format.want)
		}
	}
}
