package sink

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// Only what readers would see changed is written.
func TestProfileChanges(t *testing.T) {
	b := startBigtable(t)
	const next = minute + 60_000_000
	change := func(edit func(*pixelbeamv1.ProfileUpdate)) *pixelbeamv1.ProfileUpdate {
		u := simpleUpdate("u")
		edit(u)
		return u
	}
	apply := func(what string, dry bool, want int64, updates ...*pixelbeamv1.ProfileUpdate) {
		t.Helper()
		c, err := NewProfileChanges(b.config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.DryRun = dry
		before := len(b.requests)
		for _, u := range updates {
			if err := c.Write(t.Context(), profileRow(t, u)); err != nil {
				t.Fatal(what, err)
			}
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(what, err)
		}
		if c.Changed != want {
			t.Errorf("%s: %d changes, want %d", what, c.Changed, want)
		}
		if wrote := len(b.requests) > before; wrote != (want > 0 && !dry) {
			t.Errorf("%s: wrote: %v", what, wrote)
		}
	}
	first := simpleUpdate("u")
	apply("dry run", true, 1, first)
	apply("new", false, 1, first)
	apply("again", false, 0, first)
	apply("another count", false, 1, change(func(u *pixelbeamv1.ProfileUpdate) { u.Counters = []byte("other") }))
	apply("the first again", false, 1, first)
	later := change(func(u *pixelbeamv1.ProfileUpdate) {
		u.WindowStart, u.FirstSeen, u.Latest = proto.Int64(next), proto.Int64(next+1), []byte("newer")
	})
	apply("a later window", false, 1, first, later)
	// The table may have dropped the older of the latest events by now.
	apply("an older window again", false, 0, first)
	apply("a window before", false, 1, change(func(u *pixelbeamv1.ProfileUpdate) {
		u.WindowStart, u.FirstSeen = proto.Int64(minute-60_000_000), proto.Int64(minute-1)
	}))
	apply("another latest event", false, 1, change(func(u *pixelbeamv1.ProfileUpdate) {
		u.WindowStart, u.FirstSeen, u.Latest = proto.Int64(next), proto.Int64(next+1), []byte("other")
	}))
	var many []*pixelbeamv1.ProfileUpdate
	for i := range usersAtOnce + 10 {
		many = append(many, simpleUpdate(fmt.Sprint("m", i)))
	}
	apply("many", false, int64(len(many)), many...)
	many[3].Counters = []byte("other")
	apply("one of many", false, 1, many...)

	c, err := NewProfileChanges(b.config())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Write(t.Context(), schemas.Row{Data: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err == nil {
		t.Error("broken bytes are taken")
	}
	if err := c.Write(t.Context(), profileRow(t, &pixelbeamv1.ProfileUpdate{})); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err == nil {
		t.Error("an update of nobody is taken")
	}
}
