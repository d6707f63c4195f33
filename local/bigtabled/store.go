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

// merger collects the changes of a row, newest first.
type merger struct{ values [][]byte }

func newMerger(_, value []byte) (pebble.ValueMerger, error) {
	return &merger{values: [][]byte{slices.Clone(value)}}, nil
}

func (m *merger) MergeOlder(value []byte) error {
	m.values = append(m.values, slices.Clone(value))
	return nil
}

func (m *merger) MergeNewer(value []byte) error {
	m.values = slices.Insert(m.values, 0, slices.Clone(value))
	return nil
}

// Finish keeps rows that have no cells any more; the collector deletes them. The
// store's interface to drop them here (pebble.DeletableValueMerger) is broken in
// v2.1.7: a compaction panics on it.
func (m *merger) Finish(includesBase bool) ([]byte, io.Closer, error) {
	changes := make([]change, len(m.values))
	size := 0
	for i, v := range m.values {
		size += len(v)
		var err error
		if changes[len(changes)-1-i], err = decode(v); err != nil {
			return nil, nil, err
		}
	}
	c := mergeAll(changes)
	if includesBase {
		c = c.row()
	}
	return c.append(make([]byte, 0, size)), nil, nil
}

// Keys start with a number of four bytes: 0 for what the server keeps about
// itself, from 1 for the rows of a table.
const prefixLen = 4

var nextTableKey = []byte("\x00\x00\x00\x00next table")

func definitionKey(name string) []byte { return append([]byte("\x00\x00\x00\x00table "), name...) }

func tablePrefix(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

func rowKey(id uint32, key []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, prefixLen+len(key)), id), key...)
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
