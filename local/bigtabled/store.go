package bigtabled

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// What the store may keep in memory, whatever its size on disk: cacheBytes of
// blocks that were read, and two to four memtables of memtableBytes, which are
// what was written and is not yet in tables.
const (
	cacheBytes    = 64 << 20
	memtableBytes = 16 << 20
)

// openStore opens the store in dir, which is made if missing. Keys are a table's
// number and a row key (see rowKey); values are encoded changes, which the store
// merges.
func openStore(dir string) (*pebble.DB, error) {
	if err := refuseOldFormat(dir); err != nil {
		return nil, err
	}
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	opts := &pebble.Options{
		FS:                          unsyncedLog{vfs.Default},
		Cache:                       cache,
		MemTableSize:                memtableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
		FormatMajorVersion:          pebble.FormatNewest,
		Merger:                      &pebble.Merger{Name: "pixelbeam.bigtabled.change.1", Merge: newMerger},
		Logger:                      logger{},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return pebble.Open(dir, opts)
}

// refuseOldFormat finds what earlier versions of this package kept: a log and
// snapshots, which this one does not read.
func refuseOldFormat(dir string) error {
	for _, pattern := range []string{"log-????????", "snapshot-????????"} {
		if old, _ := filepath.Glob(filepath.Join(dir, pattern)); len(old) > 0 {
			return fmt.Errorf("%s is of an earlier version, whose profiles cannot be read any more: delete the folder %s to begin with none", old[0], dir)
		}
	}
	return nil
}

// unsyncedLog is a file system on which the write-ahead log counts as synced when
// the operating system has it: that survives a kill of the process, costs no disk
// round trip per write, and can lose the end of the log in a power cut. A log
// that is closed is synced, so that what a power cut takes is the end of all.
type unsyncedLog struct{ vfs.FS }

func (fs unsyncedLog) Unwrap() vfs.FS { return fs.FS }

func (fs unsyncedLog) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return unsynced(name)(fs.FS.Create(name, category))
}

func (fs unsyncedLog) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return unsynced(newname)(fs.FS.ReuseForWrite(oldname, newname, category))
}

func unsynced(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil || filepath.Ext(name) != ".log" {
			return f, err
		}
		return unsyncedFile{f}, nil
	}
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error                { return nil }
func (unsyncedFile) SyncData() error            { return nil }
func (unsyncedFile) SyncTo(int64) (bool, error) { return false, nil }
func (f unsyncedFile) Close() error             { return errors.Join(f.File.Sync(), f.File.Close()) }

// logger passes on what the store complains of.
type logger struct{}

func (logger) Infof(string, ...any) {}

func (logger) Errorf(format string, args ...any) {
	slog.Error("bigtabled: " + fmt.Sprintf(format, args...))
}

// Fatalf is called when the log cannot be written, as on a full disk, and must not
// return. What was acknowledged is there after a restart.
func (l logger) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	os.Exit(1)
}

// merger collects the changes of a row. A read makes one, so what it needs serves
// again: from Finish until Close the store has its result.
type merger struct {
	data        []byte // the changes, one after another, as they came
	ends        []int  // of each in data
	oldestFirst bool   // else they came newest first
	changes     []change
	memory      memory
	result      []byte
}

var mergers = sync.Pool{New: func() any { return new(merger) }}

// maxPooled is the size in bytes above which a merger does not serve again.
const maxPooled = 1 << 20

func newMerger(_, value []byte) (pebble.ValueMerger, error) {
	m := mergers.Get().(*merger)
	m.data, m.ends, m.oldestFirst = m.data[:0], m.ends[:0], false
	m.add(value)
	return m, nil
}

func (m *merger) add(value []byte) {
	m.data = append(m.data, value...)
	m.ends = append(m.ends, len(m.data))
}

func (m *merger) MergeOlder(value []byte) error {
	m.add(value)
	return nil
}

// MergeNewer is called for all that is merged, or for nothing of it.
func (m *merger) MergeNewer(value []byte) error {
	m.oldestFirst = true
	m.add(value)
	return nil
}

// Finish keeps rows that have no cells any more; the collector deletes them. The
// store's interface to drop them here (pebble.DeletableValueMerger) is broken in
// v2.1.7: a compaction panics on it.
func (m *merger) Finish(includesBase bool) ([]byte, io.Closer, error) {
	n := len(m.ends)
	m.changes = slices.Grow(m.changes[:0], n)[:n]
	for i, start := 0, 0; i < n; i++ {
		at := i
		if !m.oldestFirst {
			at = n - 1 - i
		}
		var err error
		if m.changes[at], err = decode(m.data[start:m.ends[i]], &m.memory); err != nil {
			return nil, nil, err
		}
		start = m.ends[i]
	}
	c := mergeAll(m.changes, &m.memory)
	if includesBase {
		c = c.row(&m.memory)
	}
	m.result = c.append(m.result[:0])
	clear(m.changes)
	m.memory.reset()
	return m.result, m, nil
}

// Close is called when the store needs the result no more.
func (m *merger) Close() error {
	if cap(m.data)+cap(m.result)+m.memory.size() <= maxPooled {
		mergers.Put(m)
	}
	return nil
}

// Keys start with a number of four bytes: 0 for what the server keeps about
// itself, from 1 for the rows of a table.
const prefixLen = 4

var nextTableKey = []byte("\x00\x00\x00\x00next table")

func definitionKey(name string) []byte { return append([]byte("\x00\x00\x00\x00table "), name...) }

func tablePrefix(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

func rowKey(id uint32, key []byte) []byte {
	return appendRowKey(make([]byte, 0, prefixLen+len(key)), id, key)
}

func appendRowKey(dst []byte, id uint32, key []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, id), key...)
}

// prefixEnd returns the first key after all that start with prefix, nil if there
// is none.
func prefixEnd(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
