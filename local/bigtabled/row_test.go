package bigtabled

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var changeOptions = gocmp.Options{gocmp.AllowUnexported(change{}, deletion{}, column{}, cell{}), cmpopts.EquateEmpty()}

// model is a row as the simplest thing that can hold one.
type model map[modelCell]string

type modelCell struct {
	family    uint32
	qualifier string
	micros    int64
}

// randomChange returns a change of one mutation, and does the same to a model.
func randomChange(r *rand.Rand, m model) change {
	family, qualifier, micros := uint32(1+r.IntN(2)), string(rune('a'+r.IntN(2))), int64(r.IntN(5))
	remove := func(condemned func(modelCell) bool) {
		for c := range m {
			if condemned(c) {
				delete(m, c)
			}
		}
	}
	col := func(c modelCell) bool { return c.family == family && c.qualifier == qualifier }
	switch r.IntN(10) {
	case 0:
		clear(m)
		return change{clear: true}
	case 1:
		remove(func(c modelCell) bool { return c.family == family })
		return change{deletions: []deletion{{family: family, whole: true}}}
	case 2, 3:
		end := int64(0)
		if r.IntN(3) > 0 {
			end = micros + 1 + int64(r.IntN(3))
		}
		remove(func(c modelCell) bool { return col(c) && c.micros >= micros && (end == 0 || c.micros < end) })
		return change{deletions: []deletion{{family: family, qualifier: []byte(qualifier), start: micros, end: end}}}
	}
	out := column{family: family, qualifier: []byte(qualifier)}
	if r.IntN(3) == 0 {
		out.floor = micros
		remove(func(c modelCell) bool { return col(c) && c.micros < micros })
	}
	value := string(rune('A' + r.IntN(26)))
	m[modelCell{family, qualifier, micros}] = value
	out.cells = []cell{{micros, []byte(value)}}
	return change{columns: []column{out}}
}

func (m model) row() change {
	var cells []modelCell
	for c := range m {
		cells = append(cells, c)
	}
	slices.SortFunc(cells, func(a, b modelCell) int {
		return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(a.qualifier, b.qualifier), cmp.Compare(b.micros, a.micros))
	})
	var out change
	for _, c := range cells {
		n := len(out.columns)
		if n == 0 || out.columns[n-1].family != c.family || string(out.columns[n-1].qualifier) != c.qualifier {
			out.columns = append(out.columns, column{family: c.family, qualifier: []byte(c.qualifier)})
			n++
		}
		out.columns[n-1].cells = append(out.columns[n-1].cells, cell{c.micros, []byte(m[c])})
	}
	return out
}

// TestMerge merges random changes in random groups, encoding and decoding what is
// merged: a row must always be what the mutations make one after another.
func TestMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		m := model{}
		changes := make([]change, 1+r.IntN(12))
		for i := range changes {
			changes[i] = randomChange(r, m)
		}
		for len(changes) > 1 {
			i := r.IntN(len(changes) - 1)
			n := 2 + r.IntN(len(changes)-i-1)
			merged := mergeAll(slices.Clone(changes[i:i+n]), new(memory))
			decoded, err := decode(merged.append(nil), new(memory))
			if err != nil {
				t.Fatal(err)
			}
			same(t, merged, decoded)
			changes = slices.Replace(changes, i, i+n, decoded)
		}
		same(t, m.row(), changes[0].row(new(memory)))
	}
}

// same compares changes; cmp is slow, so it only says what differs.
func same(t *testing.T, want, got change) {
	t.Helper()
	if !bytes.Equal(want.append(nil), got.append(nil)) {
		t.Fatalf("change (-want +got):\n%s", gocmp.Diff(want, got, changeOptions))
	}
}

// TestMergeInStore does the same through the store's merger, with tables written
// and compacted at random.
func TestMergeInStore(t *testing.T) {
	store, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := rand.New(rand.NewPCG(3, 4))
	models := make([]model, 20)
	for range 3000 {
		i := r.IntN(len(models))
		if models[i] == nil {
			models[i] = model{}
		}
		if err := store.Merge([]byte{byte(i)}, randomChange(r, models[i]).append(nil), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if r.IntN(100) == 0 {
			if err := store.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(500) == 0 {
			if err := store.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	it, err := store.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	got := make([]change, len(models))
	// Backwards, where the store merges the other way round.
	for ok := it.Last(); ok; ok = it.Prev() {
		if got[it.Key()[0]], err = decode(bytes.Clone(it.Value()), new(memory)); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range models {
		same(t, m.row(), got[i])
	}
}

// FuzzDecode: no bytes make decode panic or take much memory, and what it takes,
// it gives back.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 10 {
		changes := make([]change, 5)
		for i := range changes {
			changes[i] = randomChange(r, model{})
		}
		f.Add(mergeAll(changes, new(memory)).append(nil))
	}
	f.Add(binary.AppendUvarint([]byte{0}, 1<<62))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b, new(memory))
		if err != nil {
			return
		}
		again, err := decode(c.append(nil), new(memory))
		if err != nil {
			t.Fatal(err)
		}
		same(t, c, again)
	})
}

// BenchmarkMerge merges two writes of a profile, as compaction does.
func BenchmarkMerge(b *testing.B) {
	var writes [2][]byte
	for i := range writes {
		c := change{columns: []column{{family: 1, qualifier: []byte("20000007#impression"), cells: []cell{{int64(i), []byte("12345678")}}}}}
		for _, q := range []string{"browser", "country", "device_type", "last_seen", "os", "page_url"} {
			c.columns = append(c.columns, column{family: 3, qualifier: []byte(q), floor: int64(1 + i), cells: []cell{{int64(1 + i), []byte("some value")}}})
		}
		writes[i] = c.append(nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		m, err := newMerger(nil, writes[1])
		if err != nil {
			b.Fatal(err)
		}
		if err := m.MergeOlder(writes[0]); err != nil {
			b.Fatal(err)
		}
		_, closer, err := m.Finish(true)
		if err != nil {
			b.Fatal(err)
		}
		if err := closer.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
