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
// what the table holds first, some users at a time. It is not safe for concurrent
// use.
type ProfileChanges struct {
	// Changed is how many updates differed from the table, and were written unless
	// DryRun is set.
	Changed int64
	// DryRun has nothing written.
	DryRun bool

	fn      *profilesFn
	w       *Writer
	waiting []schemas.Row
}

// NewProfileChanges returns a ProfileChanges for a table.
func NewProfileChanges(cfg BigtableConfig) (*ProfileChanges, error) {
	w, err := NewProfileWriter(cfg)
	if err != nil {
		return nil, err
	}
	return &ProfileChanges{fn: w.fn.(*profilesFn), w: w}, nil
}

// usersAtOnce is how many users are read by one request.
const usersAtOnce = 500

// Write writes an update if it changes something, at the latest when Flush returns.
func (c *ProfileChanges) Write(ctx context.Context, update schemas.Row) error {
	c.waiting = append(c.waiting, update)
	if len(c.waiting) < usersAtOnce {
		return nil
	}
	return c.compare(ctx)
}

// Flush returns when all changes are stored. The error names updates that the
// service refused.
func (c *ProfileChanges) Flush(ctx context.Context) error {
	if err := c.compare(ctx); err != nil {
		return err
	}
	return c.w.Flush(ctx)
}

// Close lets go of the service's client.
func (c *ProfileChanges) Close() { c.w.Close() }

// compare reads what the table holds of the users who wait, and writes what
// differs.
func (c *ProfileChanges) compare(ctx context.Context) error {
	waiting := c.waiting
	c.waiting = nil
	if len(waiting) == 0 {
		return nil
	}
	type wanted struct {
		update schemas.Row
		key    string
		cells  []cell
	}
	var all []wanted
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
		if len(all) == 0 || window < first {
			first = window
		}
		last = max(last, window)
		all = append(all, wanted{row, key, cells})
		keys = append(keys, key)
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(keys)
	held := make(map[string]bigtable.Row, len(keys))
	err := c.fn.table.ReadRows(ctx, slices.Compact(keys), func(row bigtable.Row) bool {
		held[row.Key()] = row
		return true
	}, bigtable.RowFilter(bigtable.InterleaveFilters(
		bigtable.ChainFilters(bigtable.FamilyFilter(schemas.FamilyCounters),
			bigtable.TimestampRangeFilterMicros(first, last+1000)), // the end is not included
		bigtable.ChainFilters(bigtable.FamilyFilter(schemas.FamilyLatest+"|"+schemas.FamilyFirst), bigtable.LatestNFilter(1)),
	)))
	if err != nil {
		return c.fn.explain(err)
	}
	for _, w := range all {
		if !slices.ContainsFunc(w.cells, func(want cell) bool { return !holds(held[w.key], want) }) {
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
