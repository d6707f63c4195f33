package logentry

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzDecode compares with the reference: the same entries are valid, and they
// say the same.
func FuzzDecode(f *testing.F) {
	for _, line := range samples(f) {
		f.Add(line)
	}
	for _, s := range []string{full, distractor, `{}`, `[]`, `{"insertId":"\ud83d\ude00\ud800","insertId":null}`,
		`{"httpRequest":{"status":2e2},"httpRequest":{"status":"abc","cacheHit":1}}`,
		`{"httpRequest":null,"timestamp":5,"resource":{"labels":{"url_map_name":{}}}}`,
		"{\"a\":\"\xff\"}", `{"a":[{"b":[1,2.5e-3,{}]},[[]],true,false,null,""]}`, `{"a":1,}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeTwice(t, data)
		want, sure, refErr := reference(data)
		if refErr == nil && len(data) > MaxSize {
			refErr = errors.New("too large")
		}
		if (err == nil) != (refErr == nil) {
			t.Fatalf("error is %v, reference says %v (json.Valid %v, UTF-8 %v)", err, refErr, json.Valid(data), utf8.Valid(data))
		}
		if err != nil {
			return
		}
		if !sure {
			got.EventTime, got.ReceiveTime = want.EventTime, want.ReceiveTime
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-reference +got):\n%s", diff)
		}
	})
}
