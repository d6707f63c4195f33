package bigtabled

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"github.com/cockroachdb/pebble/v2"
)

// keep returns how many of a column's cells a rule keeps. versions are their
// timestamps in microseconds, newest first: whatever the rule, what it condemns
// is older than what it keeps.
func keep(rule *adminpb.GcRule, versions []int64, now time.Time) int {
	switch rule := rule.GetRule().(type) {
	case *adminpb.GcRule_MaxNumVersions:
		return min(len(versions), int(rule.MaxNumVersions))
	case *adminpb.GcRule_MaxAge:
		cutoff := now.Add(-rule.MaxAge.AsDuration()).UnixMicro()
		return sort.Search(len(versions), func(i int) bool { return versions[i] < cutoff })
	case *adminpb.GcRule_Union_: // a cell goes if any rule condemns it
		kept := len(versions)
		for _, r := range rule.Union.Rules {
			kept = min(kept, keep(r, versions, now))
		}
		return kept
	case *adminpb.GcRule_Intersection_: // a cell goes if all rules condemn it
		if len(rule.Intersection.Rules) == 0 {
			return len(versions)
		}
		kept := 0
		for _, r := range rule.Intersection.Rules {
			kept = max(kept, keep(r, versions, now))
		}
		return kept
	}
	return len(versions)
}

// oneVersion reports whether a rule keeps at most the newest cell of a column.
func oneVersion(rule *adminpb.GcRule) bool {
	switch rule := rule.GetRule().(type) {
	case *adminpb.GcRule_MaxNumVersions:
		return rule.MaxNumVersions == 1
	case *adminpb.GcRule_Union_:
		for _, r := range rule.Union.Rules {
			if oneVersion(r) {
				return true
			}
		}
	}
	return false
}

// collector is what became of the collections so far.
type collector struct {
	mu    sync.Mutex
	done  int64
	cells int64
	err   error
}

func (c *collector) result() (done, cells int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done, c.cells, c.err
}

func (c *collector) ended(cells int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.cells += cells
	if err == nil {
		c.done++
	}
}

func (s *Server) collectWhenDue(ctx context.Context) {
	ticker := time.NewTicker(s.opts.GCInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		cells, err := s.collect(ctx)
		if ctx.Err() != nil {
			return
		}
		s.gc.ended(cells, err)
		if err != nil {
			slog.Warn("bigtabled: garbage was not collected; it stays until the next time", "dir", s.opts.Dir, "error", err)
		}
	}
}

// errTableGone: a table was deleted while its garbage was collected.
var errTableGone = errors.New("table deleted")

// collectBatch is how many rows' garbage is deleted at once.
const collectBatch = 1000

// collect deletes what the GC rules condemn, and what dropped families left, and
// returns how many cells that were. Requests go on meanwhile.
func (s *Server) collect(ctx context.Context) (int64, error) {
	s.mu.RLock()
	names := slices.Collect(maps.Keys(s.tables))
	s.mu.RUnlock()
	cells := int64(0)
	for _, name := range names {
		t := s.table(name)
		if t == nil {
			continue // deleted meanwhile
		}
		n, err := s.collectTable(ctx, t)
		cells += n
		if err != nil && !errors.Is(err, errTableGone) {
			return cells, fmt.Errorf("table %s: %w", name, err)
		}
	}
	return cells, nil
}

// collectTable goes by the table's definition as it was at the start. What it
// deletes is condemned whatever is written meanwhile.
func (s *Server) collectTable(ctx context.Context, t *table) (cells int64, err error) {
	now := time.Now()
	prefix := tablePrefix(t.ID)
	it, err := s.store.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var found findings
	var m memory
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return cells, err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return cells, err
		}
		m.reset()
		row, err := decode(value, &m)
		if err != nil {
			return cells, err
		}
		deletions, n := t.garbage(row, now)
		switch {
		case len(row.columns) == 0:
			found.empty = append(found.empty, slices.Clone(it.Key()))
		case n > 0:
			cells += int64(n)
			found.keys = append(found.keys, slices.Clone(it.Key()))
			found.changes = append(found.changes, change{deletions: deletions}.append(nil))
		}
		if len(found.empty)+len(found.keys) >= collectBatch {
			if err := s.remove(t, found); err != nil {
				return cells, err
			}
			found = findings{}
		}
	}
	return cells, errors.Join(it.Error(), s.remove(t, found))
}

// findings are rows to delete something of, by their keys in the store.
type findings struct {
	keys    [][]byte
	changes [][]byte // to keys
	empty   [][]byte // rows that had no cells
}

// remove deletes what was found. A row that had no cells is looked at again while
// nobody can write to it.
func (s *Server) remove(t *table, found findings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if is := s.tables[t.def.Name]; is == nil || is.ID != t.ID {
		return errTableGone
	}
	batch := s.store.NewBatch()
	defer batch.Close()
	for i, key := range found.keys {
		if err := batch.Merge(key, found.changes[i], nil); err != nil {
			return err
		}
	}
	for _, key := range found.empty {
		value, closer, err := s.store.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		row, err := decode(value, new(memory))
		if err := errors.Join(err, closer.Close()); err != nil {
			return err
		}
		if len(row.columns) == 0 {
			if err := batch.Delete(key, nil); err != nil {
				return err
			}
		}
	}
	if batch.Empty() {
		return nil
	}
	return batch.Commit(pebble.Sync)
}

// garbage returns the deletions, sorted, of what is condemned in a row, and how
// many cells that is.
func (t *table) garbage(row change, now time.Time) (deletions []deletion, cells int) {
	var versions []int64
	for _, col := range row.columns {
		name, ok := t.names[col.family]
		if !ok { // dropped
			cells += len(col.cells)
			if n := len(deletions); n == 0 || deletions[n-1].family != col.family {
				deletions = append(deletions, deletion{family: col.family, whole: true})
			}
			continue
		}
		versions = versions[:0]
		for _, c := range col.cells {
			versions = append(versions, c.micros)
		}
		if kept := keep(t.rule(name), versions, now); kept < len(versions) {
			cells += len(versions) - kept
			deletions = append(deletions, deletion{family: col.family, qualifier: col.qualifier, end: versions[kept] + 1})
		}
	}
	return deletions, cells
}
