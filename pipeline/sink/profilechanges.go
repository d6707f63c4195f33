package sink

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"cloud.google.com/go/bigtable"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// A ProfileChanges writes those of ProfileUpdates that would change the profile
// table, outside a pipeline, with the code and the guarantees of Profiles. It reads
// what the table holds first, some users at a time. Reads are under
// way while it goes on, so that an update is compared with what the table held up to
// 2,000 updates before: at worst what is there by now is written again. It is not safe
// for concurrent use.
type ProfileChanges struct {
	// Changed is how many updates differed from the table, and were written unless
	// DryRun is set.
	Changed int64
	// DryRun has nothing written.
	DryRun bool

	fn      *profilesFn
	w       *Writer
	waiting []schemas.Row
	reads   []*profileRead // under way, the oldest first
}

// NewProfileChanges returns a ProfileChanges for a table.
func NewProfileChanges(cfg BigtableConfig) (*ProfileChanges, error) {
	w, err := NewProfileWriter(cfg)
	if err != nil {
		return nil, err
	}
	return &ProfileChanges{fn: w.fn.(*profilesFn), w: w}, nil
}

// usersAtOnce is how many users are read by one request, and readsAtOnce how many
// requests are under way.
const (
	usersAtOnce = 500
	readsAtOnce = 4
)

// Write writes an update if it changes something, at the latest when Flush returns.
func (c *ProfileChanges) Write(ctx context.Context, update schemas.Row) error {
	c.waiting = append(c.waiting, update)
	if len(c.waiting) < usersAtOnce {
		return nil
	}
	return c.send(ctx)
}

// Flush returns when all changes are stored. The error names updates that the
// service refused.
func (c *ProfileChanges) Flush(ctx context.Context) error {
	if err := c.send(ctx); err != nil {
		return err
	}
	for len(c.reads) > 0 {
		if err := c.compare(ctx); err != nil {
			return err
		}
	}
	return c.w.Flush(ctx)
}

// Close lets go of the service's client.
func (c *ProfileChanges) Close() {
	for _, r := range c.reads {
		<-r.done
	}
	c.w.Close()
}

// wantedProfile is an update, and the cells that it means.
type wantedProfile struct {
	update schemas.Row
	key    string
	cells  []cell
}

// profileRead reads what the table holds of some users. held and err are set before
// done is closed.
type profileRead struct {
	wanted []wantedProfile
	done   chan struct{}
	held   map[string]bigtable.Row
	err    error
}

// send begins to read what the table holds of the users who wait. While enough reads
// are under way it ends the oldest.
func (c *ProfileChanges) send(ctx context.Context) error {
	waiting := c.waiting
	c.waiting = nil
	if len(waiting) == 0 {
		return nil
	}
	r := &profileRead{done: make(chan struct{})}
	var keys bigtable.RowList
	var first, last bigtable.Timestamp // windows of the updates
	for _, row := range waiting {
		var update pixelbeamv1.ProfileUpdate
		if err := proto.Unmarshal(row.Data, &update); err != nil {
			return fmt.Errorf("the row is no ProfileUpdate: %w", err)
		}
		key, cells, err := profileCells(&update)
		if err != nil { // The writer refuses it, by its own words.
			if err := c.write(ctx, row); err != nil {
				return err
			}
			continue
		}
		window := bigtable.Timestamp(update.GetWindowStart()).TruncateToMilliseconds()
		if len(keys) == 0 || window < first {
			first = window
		}
		last = max(last, window)
		r.wanted = append(r.wanted, wantedProfile{row, key, cells})
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	table := c.fn.table
	go func() {
		defer close(r.done)
		r.held = make(map[string]bigtable.Row, len(keys))
		r.err = table.ReadRows(ctx, keys, func(row bigtable.Row) bool {
			r.held[row.Key()] = row
			return true
		}, bigtable.RowFilter(bigtable.InterleaveFilters(
			bigtable.ChainFilters(bigtable.FamilyFilter(schemas.FamilyCounters),
				bigtable.TimestampRangeFilterMicros(first, last+1000)), // the end is not included
			bigtable.ChainFilters(bigtable.FamilyFilter(schemas.FamilyLatest+"|"+schemas.FamilyFirst), bigtable.LatestNFilter(1)),
		)))
	}()
	c.reads = append(c.reads, r)
	if len(c.reads) < readsAtOnce {
		return nil
	}
	return c.compare(ctx)
}

// compare waits for the oldest read, and writes what differs.
func (c *ProfileChanges) compare(ctx context.Context) error {
	r := c.reads[0]
	c.reads = c.reads[1:]
	<-r.done
	if r.err != nil {
		return c.fn.explain(r.err)
	}
	for _, w := range r.wanted {
		if !slices.ContainsFunc(w.cells, func(want cell) bool { return !holds(r.held[w.key], want) }) {
			continue
		}
		if err := c.write(ctx, w.update); err != nil {
			return err
		}
	}
	return nil
}

func (c *ProfileChanges) write(ctx context.Context, row schemas.Row) error {
	c.Changed++
	if c.DryRun {
		return nil
	}
	return c.w.Write(ctx, row)
}

// holds tells whether writing a cell would change what readers of the row see: not
// if it is there, nor if its family keeps one version and a newer one is there.
func holds(row bigtable.Row, want cell) bool {
	for _, item := range row[want.family] {
		switch {
		case item.Column != want.family+":"+want.column:
		case item.Timestamp == want.version && bytes.Equal(item.Value, want.value):
			return true
		case want.family != schemas.FamilyCounters && item.Timestamp > want.version:
			return true
		}
	}
	return false
}
