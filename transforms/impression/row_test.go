package impression

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// TestFields compares fields of all lengths at which something changes, with room
// for them and without, with those of protowire.
func TestFields(t *testing.T) {
	lengths := []int{126, 127, 128, 129, 16383, 16384, 16385, 1<<21 - 1, 1 << 21}
	for n := 1; n <= 40; n++ {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(i*7 + i>>8)
		}
		for _, field := range []protowire.Number{fieldInsertID, fieldDealID, fieldUserID, fieldURLMap} {
			want := append(protowire.AppendTag([]byte("row"), field, protowire.BytesType), protowire.AppendBytes(nil, v)...)
			for _, room := range []int{0, n, n + 1, n + 2, n + 3, n + 16} {
				dst := func() []byte { return append(make([]byte, 0, 3+room), "row"...) }
				got, at := appendKept(dst(), field, v)
				if !bytes.Equal(got, want) || !bytes.Equal(at.of(got), v) {
					t.Errorf("appendKept: field %d, %d bytes, room for %d: %.20x, want %.20x", field, n, room, got, want)
				}
				if got := appendString(dst(), field, string(v)); !bytes.Equal(got, want) {
					t.Errorf("appendString: field %d, %d bytes, room for %d: %.20x, want %.20x", field, n, room, got, want)
				}
				row, from := begin(dst(), field)
				if got := end(append(row, v...), from); !bytes.Equal(got, want) {
					t.Errorf("end: field %d, %d bytes, room for %d: %.20x, want %.20x", field, n, room, got, want)
				}
			}
		}
	}
	if got, at := appendKept([]byte("row"), fieldInsertID, nil); string(got) != "row" || len(at.of(got)) != 0 {
		t.Errorf("an empty value: %q, %v", got, at)
	}
}
