package pubsubd

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// segment is one file of the log.
type segment struct {
	path string
	size int64 // guarded by wal.mu
	// live counts the unacknowledged items whose publish record it holds, and
	// liveBytes the bytes of those records.
	live, liveBytes atomic.Int64

	// reader reads messages; it is opened when it is first needed. mu guards it.
	mu     sync.Mutex
	reader *os.File
	gone   bool
}

var errSegmentGone = errors.New("pubsubd: log segment deleted")

// readAt fills b from an offset.
func (s *segment) readAt(b []byte, offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return errSegmentGone
	}
	if s.reader == nil {
		f, err := os.Open(s.path)
		if err != nil {
			return err
		}
		s.reader = f
	}
	_, err := s.reader.ReadAt(b, offset)
	return err
}

// closeReader ends reading for good.
func (s *segment) closeReader() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	if s.reader == nil {
		return nil
	}
	return s.reader.Close()
}

// hold says that the segment holds so many more items in use, of so many bytes.
func (s *segment) hold(n, bytes int64) {
	s.live.Add(n)
	s.liveBytes.Add(bytes)
}

// release says that an item of the segment is no longer in use. It does nothing
// on nil, for servers without a log.
func (s *segment) release(it *item) {
	if s != nil {
		s.hold(-1, -it.msg.logBytes())
	}
}

// wal is the append-only log: many append, one goroutine writes what has
// gathered in one go.
type wal struct {
	dir          string
	sync         bool
	segmentBytes int64
	lock         *os.File

	mu sync.Mutex
	// pending is what the next write holds; waiters learn its result, and ask
	// how many items its publish records hold for each.
	pending []byte
	waiters []*appending
	// configs holds one record for each topic and subscription that there is
	// after pending; a new segment begins with them.
	configs  map[string][]byte
	segments []*segment // oldest first; the last is written to
	nextFile uint64
	closing  bool
	broken   error // why nothing can be written any more

	file  *os.File      // the writer's
	spare []byte        // the writer's
	wake  chan struct{} // there is something pending that somebody waits for
	done  chan struct{} // closed when the writer has ended
}

// appending is one append on its way.
type appending struct {
	base    int64 // offset in pending, and once written in the segment
	items   int64
	bytes   int64
	segment *segment
	err     error
	done    chan struct{}
}

// keepSegments is how many segments of acknowledged messages are left alone
// before the messages in their way are copied.
const keepSegments = 3

// maxSpare is the largest write buffer that is used again, in bytes.
const maxSpare = 16 << 20

var errClosed = errors.New("pubsubd: server is closed")

// startWAL begins a new segment after the given ones, which are complete, and
// starts the writer.
func startWAL(dir string, lock *os.File, opts Options, segments []*segment, nextFile uint64, configs map[string][]byte) (*wal, error) {
	w := &wal{
		dir:          dir,
		sync:         opts.Sync,
		segmentBytes: opts.SegmentBytes,
		lock:         lock,
		configs:      configs,
		segments:     segments,
		nextFile:     nextFile,
		wake:         make(chan struct{}, 1),
		done:         make(chan struct{}),
	}
	if err := w.rotate(w.configs); err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

// append writes the publish records of so many items, whose logBytes are bytes in
// all, and returns the segment they are in, holding them, and the offset at which
// they begin there, once they are in the file.
func (w *wal) append(records []byte, items, bytes int64) (seg *segment, base int64, err error) {
	a := &appending{items: items, bytes: bytes, done: make(chan struct{})}
	err = w.submit(a, records, nil)
	return a.segment, a.base, err
}

// appendConfig writes records of a change of configuration, which change makes to
// the set of configuration records, and returns once they are in the file.
func (w *wal) appendConfig(records []byte, change func(configs map[string][]byte)) error {
	return w.submit(&appending{done: make(chan struct{})}, records, change)
}

func (w *wal) submit(a *appending, records []byte, change func(configs map[string][]byte)) error {
	w.mu.Lock()
	if w.closing || w.broken != nil {
		defer w.mu.Unlock()
		if w.broken != nil {
			return w.broken
		}
		return errClosed
	}
	a.base = int64(len(w.pending))
	w.pending = append(w.pending, records...)
	w.waiters = append(w.waiters, a)
	if change != nil {
		change(w.configs)
	}
	w.mu.Unlock()
	w.signal()
	<-a.done
	return a.err
}

// note adds records to the next write and does not wait for it. It comes within
// ackFlushInterval and at the latest when the log is closed.
func (w *wal) note(records []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closing && w.broken == nil {
		w.pending = append(w.pending, records...)
	}
}

func (w *wal) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes until the log is closed.
func (w *wal) run() {
	defer close(w.done)
	tick := time.NewTicker(ackFlushInterval)
	defer tick.Stop()
	for {
		select {
		case <-w.wake:
		case <-tick.C:
		}
		if !w.flush() {
			return
		}
	}
}

// flush writes what is pending and reports whether there may be more.
func (w *wal) flush() bool {
	w.mu.Lock()
	batch, waiters := w.pending, w.waiters
	closing := w.closing
	w.pending, w.waiters = w.spare[:0], nil
	current := w.segments[len(w.segments)-1]
	var configs map[string][]byte
	if len(batch) > 0 && current.size > w.segmentBytes {
		configs = maps.Clone(w.configs)
	}
	w.mu.Unlock()

	if len(batch) > 0 {
		var err error
		if configs != nil {
			err = w.rotate(configs)
			w.mu.Lock()
			current = w.segments[len(w.segments)-1]
			w.mu.Unlock()
		}
		var items, bytes int64
		for _, a := range waiters {
			items += a.items
			bytes += a.bytes
		}
		// Held before the writing, so that the segment cannot look finished.
		current.hold(items, bytes)
		w.mu.Lock()
		start := current.size
		w.mu.Unlock()
		if err == nil {
			err = w.write(current, batch)
		}
		if err != nil {
			current.hold(-items, -bytes)
		}
		for _, a := range waiters {
			a.segment, a.err = current, err
			a.base += start
			close(a.done)
		}
	}
	// A buffer grown by one large burst is not kept.
	if w.spare = batch[:0]; cap(batch) > maxSpare {
		w.spare = nil
	}
	return !closing
}

// write appends a batch to the current segment. After an error the segment is as
// before, or the log is broken.
func (w *wal) write(seg *segment, batch []byte) error {
	_, err := w.file.Write(batch)
	if err == nil && w.sync {
		err = w.file.Sync()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		seg.size += int64(len(batch))
		return nil
	}
	// Whatever came after half a record would be lost on replay.
	if terr := w.file.Truncate(seg.size); terr != nil {
		w.broken = fmt.Errorf("pubsubd: log %s unusable: %w", seg.path, errors.Join(err, terr))
		return w.broken
	}
	return fmt.Errorf("pubsubd: log: %w", err)
}

// rotate begins a new segment that starts with the configuration. After an error
// there is a current segment all the same, the old or the new one.
func (w *wal) rotate(configs map[string][]byte) error {
	b := []byte(segmentMagic)
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		b = append(b, configs[key]...)
	}
	path := filepath.Join(w.dir, segmentName(w.nextFile))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("pubsubd: log: %w", err)
	}
	w.nextFile++
	_, err = f.Write(b)
	if err == nil && w.sync {
		err = errors.Join(f.Sync(), syncDir(w.dir))
	}
	if err != nil {
		return fmt.Errorf("pubsubd: log: %w", errors.Join(err, f.Close(), os.Remove(path)))
	}
	old := w.file
	w.file = f
	w.mu.Lock()
	w.segments = append(w.segments, &segment{path: path, size: int64(len(b))})
	w.mu.Unlock()
	if old != nil {
		if err := old.Close(); err != nil {
			return fmt.Errorf("pubsubd: log: %w", err)
		}
	}
	return nil
}

// trim deletes the oldest segments that hold nothing unacknowledged. Younger ones
// stay behind an older one in use: they hold its acknowledgements.
func (w *wal) trim() error {
	w.mu.Lock()
	var gone []*segment
	for len(w.segments) > 1 && w.segments[0].live.Load() == 0 {
		gone = append(gone, w.segments[0])
		w.segments = w.segments[1:]
	}
	w.mu.Unlock()
	var errs []error
	for _, s := range gone {
		errs = append(errs, s.closeReader(), os.Remove(s.path))
	}
	return errors.Join(errs...)
}

// wasteful returns the oldest segment if the log is much larger than what is in
// use in it, else nil.
func (w *wal) wasteful() *segment {
	w.mu.Lock()
	defer w.mu.Unlock()
	var bytes, live int64
	for _, s := range w.segments {
		bytes += s.size
		live += s.liveBytes.Load()
	}
	if len(w.segments) == 1 || bytes <= 2*live+keepSegments*w.segmentBytes {
		return nil
	}
	return w.segments[0]
}

// close writes what is pending and closes the log. Later appends fail.
func (w *wal) close() error {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.signal()
	<-w.done
	var err error
	if w.broken == nil {
		err = w.file.Sync()
	}
	for _, s := range w.segments {
		err = errors.Join(err, s.closeReader())
	}
	return errors.Join(w.broken, err, w.file.Close(), w.lock.Close())
}

func segmentName(n uint64) string { return fmt.Sprintf("%016d.log", n) }

// syncDir makes the creation of files in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
