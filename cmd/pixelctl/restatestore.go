package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
)

// blockSize is about how much of a window lies in one piece.
const blockSize = 256 << 10

// store keeps records by window until all of a range were read: a table gives its rows
// in any order, and a window can be counted only when it is whole. What does not fit
// into memory lies, compressed, in a file that is gone when the process ends, however
// it does. Its methods but each and drop may be called by several goroutines.
type store struct {
	mu      sync.Mutex
	windows map[int64]*stored
	room    int // bytes left in memory
	file    *os.File
	end     int64 // of the file
}

// stored are the records of one window.
type stored struct {
	mu      sync.Mutex
	records int
	blocks  []block
	open    []byte // the last block, which still grows
}

// block is a piece of a window: in memory, or in the file.
type block struct {
	data []byte
	at   int64
	size int
}

// newStore makes a store that keeps so many bytes in memory, and a block of each window.
func newStore(memory int) *store {
	return &store{windows: make(map[int64]*stored), room: memory}
}

// window returns the records of a window, which begins at a time in microseconds.
func (s *store) window(start int64) *stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.windows[start]
	if w == nil {
		w = new(stored)
		s.windows[start] = w
	}
	return w
}

// starts returns the windows that have records, in order.
func (s *store) starts() []int64 { return slices.Sorted(maps.Keys(s.windows)) }

// writer gathers records of one goroutine, so that others are kept from a window
// seldom.
type writer struct {
	store   *store
	pending map[int64]*batch
	size    int
}

type batch struct {
	data    []byte
	records int
}

func (s *store) writer() *writer { return &writer{store: s, pending: make(map[int64]*batch)} }

// flushSize is how much a writer gathers.
const flushSize = 256 << 10

// add adds a record, which appendTo appends, to a window.
func (w *writer) add(window int64, appendTo func([]byte) []byte) error {
	b := w.pending[window]
	if b == nil {
		b = new(batch)
		w.pending[window] = b
	}
	before := len(b.data)
	b.data = appendTo(b.data)
	b.records++
	if w.size += len(b.data) - before; w.size >= flushSize {
		return w.flush()
	}
	return nil
}

// flush hands over what was gathered.
func (w *writer) flush() error {
	for window, b := range w.pending {
		if b.records == 0 {
			delete(w.pending, window) // it comes no more, perhaps
			continue
		}
		if err := w.store.put(window, b); err != nil {
			return err
		}
		b.data, b.records = b.data[:0], 0
	}
	w.size = 0
	return nil
}

func (s *store) put(window int64, b *batch) error {
	to := s.window(window)
	to.mu.Lock()
	defer to.mu.Unlock()
	to.open = append(to.open, b.data...)
	to.records += b.records
	if len(to.open) < blockSize {
		return nil
	}
	kept, err := s.keep(to.open)
	if err != nil {
		return err
	}
	to.blocks = append(to.blocks, kept)
	to.open = make([]byte, 0, blockSize+flushSize)
	return nil
}

// keep makes a block of data, which is the store's from then on.
func (s *store) keep(data []byte) (block, error) {
	s.mu.Lock()
	if s.room >= cap(data) {
		s.room -= cap(data)
		s.mu.Unlock()
		return block{data: data}, nil
	}
	s.mu.Unlock()
	packed := s2.Encode(nil, data)
	s.mu.Lock()
	if s.file == nil {
		if err := s.create(); err != nil {
			s.mu.Unlock()
			return block{}, err
		}
	}
	b := block{at: s.end, size: len(packed)}
	s.end += int64(len(packed))
	s.mu.Unlock()
	if _, err := s.file.WriteAt(packed, b.at); err != nil {
		return block{}, fmt.Errorf("keeping rows in the folder of temporary files, %s: %w", os.TempDir(), err)
	}
	return b, nil
}

// create makes the file, which has no name: nothing is left of it after a kill.
func (s *store) create() error {
	file, err := os.CreateTemp("", "pixelctl-restate-*")
	if err != nil {
		return err
	}
	if err := os.Remove(file.Name()); err != nil {
		return errors.Join(err, file.Close())
	}
	s.file = file
	return nil
}

// spilled is how many bytes lie in the file.
func (s *store) spilled() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// each calls f with pieces of the window's records, each of whole records. They are
// valid during the call.
func (s *store) each(w *stored, f func(data []byte) error) error {
	var packed, data []byte
	for _, b := range w.blocks {
		if b.data != nil {
			if err := f(b.data); err != nil {
				return err
			}
			continue
		}
		packed = slices.Grow(packed[:0], b.size)[:b.size]
		if _, err := s.file.ReadAt(packed, b.at); err != nil {
			return fmt.Errorf("reading rows that were kept in the folder of temporary files: %w", err)
		}
		var err error
		if data, err = s2.Decode(data[:cap(data)], packed); err != nil {
			return fmt.Errorf("reading rows that were kept in the folder of temporary files: %w", err)
		}
		if err := f(data); err != nil {
			return err
		}
	}
	return f(w.open)
}

// drop lets go of a window's records.
func (s *store) drop(start int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.windows[start]; w != nil {
		for _, b := range w.blocks {
			s.room += cap(b.data)
		}
		delete(s.windows, start)
	}
}

// close lets go of the file.
func (s *store) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// cutRecord returns the record that data begins with, and what follows it.
func cutRecord(data []byte) (record, rest []byte, ok bool) {
	n, used := binary.Uvarint(data)
	if used <= 0 || n > uint64(len(data)-used) {
		return nil, nil, false
	}
	end := used + int(n)
	return data[used:end:end], data[end:], true
}

// eachRecord calls f with the records of a window and their numbers from 0 on, in the
// same order each time.
func (s *store) eachRecord(w *stored, f func(i int, record []byte) error) error {
	i := 0
	return s.each(w, func(data []byte) error {
		for len(data) > 0 {
			record, rest, ok := cutRecord(data)
			if !ok {
				return errRecord
			}
			if err := f(i, record); err != nil {
				return err
			}
			i, data = i+1, rest
		}
		return nil
	})
}

var errRecord = errors.New("a row that was kept cannot be read")
