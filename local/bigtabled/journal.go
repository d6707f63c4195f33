package bigtabled

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"
)

// journal is the folder: change logs, numbered from 1, and at most one snapshot.
// Snapshot n holds all changes of the logs before log n, and possibly some of
// later ones; the state is the snapshot and then, in order, log n and all after.
// Its methods are called with Server.mu held, but for those that say otherwise.
type journal struct {
	dir  string
	n    int // of the log that is written
	file *os.File
	good int64 // bytes of file that are whole records
	buf  []byte

	logBytes, snapshotBytes, tornBytes int64
}

func logName(n int) string      { return fmt.Sprintf("log-%08d", n) }
func snapshotName(n int) string { return fmt.Sprintf("snapshot-%08d", n) }

// temporary ends the name of a snapshot that is being written.
const temporary = ".tmp"

// openJournal replays what lies in dir and opens its last log for appending,
// without a record that the end of the process before cut short.
func openJournal(dir string, replay func(recordKind, []byte) error) (*journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	logs, snapshots, err := scan(dir)
	if err != nil {
		return nil, err
	}
	j := &journal{dir: dir, n: 1}
	if len(snapshots) > 0 {
		j.n = snapshots[len(snapshots)-1]
		path := j.path(snapshotName(j.n))
		good, err := readFile(path, replay)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		j.snapshotBytes = good
	}
	// A crash between the last steps of a compaction leaves what it replaced.
	if err := j.removeBefore(j.n); err != nil {
		return nil, err
	}
	logs = slices.DeleteFunc(logs, func(n int) bool { return n < j.n })
	for i, n := range logs {
		if n != j.n+i {
			return nil, fmt.Errorf("%s is missing", j.path(logName(j.n+i)))
		}
		path := j.path(logName(n))
		good, err := readFile(path, replay)
		if errors.Is(err, errTorn) && i == len(logs)-1 {
			info, statErr := os.Stat(path)
			if statErr != nil {
				return nil, statErr
			}
			j.tornBytes = info.Size() - good
			err = os.Truncate(path, good)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		j.logBytes += good
		j.good = good
	}
	if len(logs) > 0 {
		j.n = logs[len(logs)-1]
	}
	if err := j.openLog(); err != nil {
		return nil, err
	}
	return j, nil
}

// scan lists the numbers of logs and snapshots, ascending, and removes snapshots
// that were not finished.
func scan(dir string) (logs, snapshots []int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		var n int
		switch name := e.Name(); {
		case filepath.Ext(name) == temporary:
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return nil, nil, err
			}
		case parse(name, "log-%d", &n) && name == logName(n):
			logs = append(logs, n)
		case parse(name, "snapshot-%d", &n) && name == snapshotName(n):
			snapshots = append(snapshots, n)
		}
	}
	slices.Sort(logs)
	slices.Sort(snapshots)
	return logs, snapshots, nil
}

func parse(name, format string, n *int) bool {
	_, err := fmt.Sscanf(name, format, n)
	return err == nil
}

func readFile(path string, f func(recordKind, []byte) error) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return readRecords(file, info.Size(), f)
}

func (j *journal) path(name string) string { return filepath.Join(j.dir, name) }

// openLog opens log n after its good bytes; a log without any is begun.
func (j *journal) openLog() error {
	file, err := os.OpenFile(j.path(logName(j.n)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	j.file = file
	if j.good > 0 {
		return nil
	}
	if _, err := file.WriteString(fileMagic); err != nil {
		return errors.Join(err, file.Close())
	}
	j.good = int64(len(fileMagic))
	j.logBytes += j.good
	return nil
}

// append writes a record by one write. After an error the log is as before; if
// even that fails, broken says that nothing may be appended any more.
func (j *journal) append(kind recordKind, m proto.Message) (broken bool, err error) {
	if j.buf, err = appendRecord(j.buf[:0], kind, m); err != nil {
		return false, err
	}
	if _, err := j.file.Write(j.buf); err != nil {
		undo := j.file.Truncate(j.good)
		return undo != nil, errors.Join(err, undo)
	}
	n := int64(len(j.buf))
	j.good += n
	j.logBytes += n
	if n > 16<<20 {
		j.buf = nil // a rare giant; most requests are far smaller
	}
	return false, nil
}

// rotate ends the log and begins the next, whose number it returns.
func (j *journal) rotate() (int, error) {
	next := &journal{dir: j.dir, n: j.n + 1}
	if err := next.openLog(); err != nil {
		return 0, err
	}
	if err := errors.Join(j.file.Sync(), j.file.Close()); err != nil {
		return 0, errors.Join(err, next.file.Close())
	}
	j.n, j.file, j.good = next.n, next.file, next.good
	j.logBytes += next.logBytes
	return j.n, nil
}

// adopt makes a finished snapshot the one that counts: it has the number n and
// bytes size. What it replaces is removed.
func (j *journal) adopt(n int, size int64) error {
	final := j.path(snapshotName(n))
	if err := os.Rename(final+temporary, final); err != nil {
		return err
	}
	if err := syncDir(j.dir); err != nil {
		return err
	}
	j.snapshotBytes = size
	err := j.removeBefore(n)
	// Only the log in use is left, because one compaction runs at a time.
	j.logBytes = j.good
	return err
}

// removeBefore removes logs and snapshots with a lower number than n.
func (j *journal) removeBefore(n int) error {
	logs, snapshots, err := scan(j.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, old := range logs {
		if old < n {
			errs = append(errs, os.Remove(j.path(logName(old))))
		}
	}
	for _, old := range snapshots {
		if old < n {
			errs = append(errs, os.Remove(j.path(snapshotName(old))))
		}
	}
	return errors.Join(errs...)
}

func (j *journal) close() error { return errors.Join(j.file.Sync(), j.file.Close()) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
