package distinct

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type entry struct {
	key   string
	id    ID
	at    int64
	value string
	// member is no more than 0 for most tests.
	member uint32
}

func encode(entries []entry) []byte {
	var b Builder
	for _, e := range entries {
		b.Add([]byte(e.key), e.id, e.at, []byte(e.value))
		b.AddMember([]byte(e.key), e.id, e.member)
	}
	return b.Append(nil)
}

// visited merges b into a and returns what the visitor saw.
func visited(t *testing.T, a, b []byte) (map[string]Group, []byte) {
	t.Helper()
	seen := map[string]Group{}
	merged, err := Merge(nil, a, b, func(g Group) {
		key := string(g.Key)
		g.Key, g.Value = nil, bytes.Clone(g.Value)
		seen[key] = g
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen, merged
}

func id(n uint64, flagged bool) ID { return NewID(n<<1, flagged) }

func TestMergeVisitsWhatChanged(t *testing.T) {
	state := encode([]entry{{"a", id(1, false), 10, "old", 7}, {"b", id(2, true), 20, "b", 0}, {"d", id(9, false), 1, "", 0}})
	pane := encode([]entry{
		{"a", id(3, true), 30, "new", 5},  // one more, later, of another member
		{"a", id(5, false), 29, "not", 7}, // and one of the same
		{"b", id(2, true), 20, "b", 0},    // a duplicate: nothing changes
		{"c", id(4, false), 5, "c", 0},    // a new group
	})
	got, merged := visited(t, state, pane)
	want := map[string]Group{
		"a": {Count: 3, Flagged: 1, Copies: 3, Members: []byte{0, 0, 0, 5, 0, 0, 0, 7}, First: 10, Last: 30, Value: []byte("new")},
		"c": {Count: 1, Copies: 1, First: 5, Last: 5, Value: []byte("c")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("visited (-want +got):\n%s", diff)
	}
	again, same := visited(t, merged, pane)
	if len(again) != 0 || !bytes.Equal(same, merged) {
		t.Errorf("merging a pane twice changes %v", again)
	}
}

// Any order, duplication and split of the same entries gives the same bytes.
func TestSetIsAFunctionOfItsEntries(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var entries []entry
		for n := range 1 + rng.IntN(60) {
			at := int64(rng.IntN(5))
			entries = append(entries, entry{string(rune('a' + rng.IntN(4))), id(uint64(n), n%3 == 0), at, string(rune('A' + n)), uint32(n % 7)})
		}
		want := encode(entries)
		// Duplicates, shuffled, in random bundles.
		mixed := append(slices.Clone(entries), entries[:rng.IntN(len(entries)+1)]...)
		rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		var bundles [][]byte
		for len(mixed) > 0 {
			n := 1 + rng.IntN(len(mixed))
			bundles = append(bundles, encode(mixed[:n]))
			mixed = mixed[n:]
		}
		all, err := MergeAll(bundles)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(all, want) {
			t.Fatalf("round %d: MergeAll of %d bundles differs", round, len(bundles))
		}
		var one []byte
		for _, b := range bundles {
			if one, err = Merge(nil, one, b, nil); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(one, want) {
			t.Fatalf("round %d: merging one by one differs", round)
		}
	}
}

// Copies of an entry are told apart, and entries are counted once, flagged ones too.
func TestCopies(t *testing.T) {
	type delivery struct{ entry, copy uint64 }
	encode := func(deliveries ...delivery) []byte {
		var b Builder
		for _, d := range deliveries {
			b.AddCopy([]byte("a"), id(d.entry, d.entry == 2), d.copy)
		}
		return b.Append(nil)
	}
	state := encode(delivery{1, 7}, delivery{1, 7}, delivery{1, 6}, delivery{2, 7})
	for _, test := range []struct {
		pane                   []delivery
		count, flagged, copies int64
	}{
		{[]delivery{{1, 6}, {2, 7}, {1, 7 + 1<<CopyBits}}, 0, 0, 0}, // nothing new
		{[]delivery{{1, 5}, {2, 7}}, 2, 1, 4},
		{[]delivery{{2, 1 << (CopyBits - 1)}, {2, 0}, {3, 7}}, 3, 1, 6},
	} {
		got, merged := visited(t, state, encode(test.pane...))
		want := map[string]Group{"a": {Count: test.count, Flagged: test.flagged, Copies: test.copies}}
		if test.count == 0 {
			want = map[string]Group{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.pane, diff)
		}
		if _, same := visited(t, encode(test.pane...), state); !bytes.Equal(merged, same) {
			t.Errorf("%v: the union depends on the order", test.pane)
		}
	}
	if _, err := Merge(nil, state, withoutCopies(), nil); err == nil {
		t.Error("a group with copies and one without are merged")
	}
}

func withoutCopies() []byte {
	var b Builder
	b.AddMember([]byte("a"), id(1, false), 0)
	return b.Append(nil)
}

// The union of two arrays is what a set of their elements is, whatever their lengths.
func TestUnion(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 3000 {
		size := []int{MemberSize, idSize, idSize + copySize}[round%3]
		elements := func(n int) []byte {
			set := map[string]bool{}
			for range n {
				e := make([]byte, size)
				e[0], e[size-1] = byte(rng.IntN(3)), byte(rng.IntN(1+n))
				set[string(e)] = true
			}
			return []byte(strings.Join(slices.Sorted(maps.Keys(set)), ""))
		}
		a, b := elements(rng.IntN(120)), elements(rng.IntN(10))
		if rng.IntN(2) == 0 {
			a, b = b, a
		}
		set := map[string]bool{}
		for _, e := range slices.Concat(slices.Collect(slices.Chunk(a, size)), slices.Collect(slices.Chunk(b, size))) {
			set[string(e)] = true
		}
		want := strings.Join(slices.Sorted(maps.Keys(set)), "")
		dst, union := appendUnion([]byte("x"), a, b, size, 1, 1)
		header := binary.AppendUvarint([]byte("x"), uint64(len(set)<<1+1))
		if string(union) != want || string(dst) != string(header)+want {
			t.Fatalf("round %d: union of %x and %x is %x, want %x", round, a, b, dst, want)
		}
	}
}

func TestNeighbours(t *testing.T) {
	key := func(user, campaign string) string {
		return string(AppendField(AppendField(nil, []byte(user)), []byte(campaign)))
	}
	set := encode([]entry{
		{key("a", "x"), id(1, false), 10, "1", 0}, {key("a", "y"), id(2, false), 20, "2", 0},
		{key("ab", "x"), id(3, false), 30, "3", 0},
		{key("b", "x"), id(4, false), 40, "4", 0}, {key("b", "y"), id(5, false), 50, "5", 0}, {key("b", "z"), id(6, false), 60, "6", 0},
		{key("long user", "x"), id(7, false), 70, "7", 0},
	})
	changed := func(keys ...string) (out []Group) {
		for _, k := range keys {
			out = append(out, Group{Key: []byte(k)})
		}
		slices.SortFunc(out, func(a, b Group) int { return compareKeys(orderOf(a.Key), a.Key, orderOf(b.Key), b.Key) })
		return out
	}
	for _, test := range []struct {
		changed []Group
		want    string
	}{
		{nil, ""},
		{changed(key("a", "y")), "12"},
		{changed(key("b", "x"), key("b", "z")), "456"},
		{changed(key("a", "x"), key("b", "y"), key("long user", "x")), "124567"},
	} {
		groups, err := neighbours(set, test.changed)
		if err != nil {
			t.Fatal(err)
		}
		var values []byte
		for _, g := range groups {
			values = append(values, g.Value...)
		}
		slices.Sort(values)
		if got := string(values); got != test.want {
			t.Errorf("neighbours of %d groups: %q, want %q", len(test.changed), got, test.want)
		}
	}
	if _, err := neighbours(set[:9], changed(key("a", "x"))); err == nil {
		t.Error("no error of a broken set")
	}
}

func TestMergeAllEmpty(t *testing.T) {
	got, err := MergeAll(nil)
	if err != nil || len(got) != 0 {
		t.Errorf("MergeAll(nil) = %x, %v", got, err)
	}
}

func FuzzMerge(f *testing.F) {
	good := encode([]entry{{"a", id(1, false), 10, "x", 9}, {"b", id(2, true), -20, "", 0}})
	f.Add(good, good)
	f.Add(good[:7], []byte{})
	f.Add(binary.AppendUvarint(nil, 1<<62), good)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		merged, err := Merge(nil, a, b, func(Group) {})
		if err != nil {
			return
		}
		// What Merge makes, Merge can read.
		if _, err := Merge(nil, merged, b, nil); err != nil {
			t.Errorf("merged set is unreadable: %v", err)
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 4))
	var state, pane Builder
	for range 7500 {
		key := binary.AppendUvarint(nil, uint64(rng.IntN(500)))
		state.AddMember(key, NewID(rng.Uint64(), false), rng.Uint32())
	}
	for range 50 {
		key := binary.AppendUvarint(nil, uint64(rng.IntN(500)))
		pane.AddMember(key, NewID(rng.Uint64(), false), rng.Uint32())
	}
	s, p := state.Append(nil), pane.Append(nil)
	var dst []byte
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = Merge(dst[:0], s, p, nil); err != nil || len(dst) < len(s) {
			b.Fatal(err, len(dst))
		}
	}
}
