package sink

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// lineFile is the file, or the series of objects, to which all bundles of a
// process write the rows of one configuration.
type lineFile struct {
	stem string // of the file names, folder included

	mu     sync.Mutex
	file   growing // opened by the first append
	size   int64   // of the whole lines in file
	serial int     // of the latest object
}

// growing is what lineFile needs of a file opened to append.
type growing interface {
	io.Writer
	Truncate(size int64) error
}

type fileKey struct {
	cfg JSONConfig
	run string
}

var sharedFiles = struct {
	mu  sync.Mutex
	all map[fileKey]*lineFile
}{all: map[fileKey]*lineFile{}}

// process tells the processes of a run apart.
var process = rand.Text()[:8]

// sharedFile returns the process's file for a configuration and a run. It stays
// open as long as the process lives: Beam's Go harness never says when it is
// done.
func sharedFile(cfg JSONConfig, run string) *lineFile {
	sharedFiles.mu.Lock()
	defer sharedFiles.mu.Unlock()
	key := fileKey{cfg, run}
	f, ok := sharedFiles.all[key]
	if !ok {
		f = &lineFile{stem: cfg.join(cfg.Prefix + "-" + run + "-" + process)}
		sharedFiles.all[key] = f
	}
	return f
}

// runName returns a name for a run that starts now; names sort by time.
func runName() string {
	return time.Now().UTC().Format("20060102T150405.000000Z")
}

// append writes whole lines to the local file in one call. If that fails, the
// file is cut back to the lines before.
func (f *lineFile) append(lines []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		name := f.stem + ".jsonl"
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o666)
		if err != nil {
			return err
		}
		f.file = file
	}
	if _, err := f.file.Write(lines); err != nil {
		if cut := f.file.Truncate(f.size); cut != nil {
			return fmt.Errorf("%w; and the file now ends in a broken line: %w", err, cut)
		}
		return err
	}
	f.size += int64(len(lines))
	return nil
}

// next returns the name of the next object.
func (f *lineFile) next() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serial++
	return fmt.Sprintf("%s-%06d.jsonl", f.stem, f.serial)
}
