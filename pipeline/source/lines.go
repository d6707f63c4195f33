package source

import (
	"bytes"
	"io"
)

const (
	// slabSize is how much is read at a time. Lines are cut from the slab and
	// keep it alive, so it is also what a single long-lived line can pin.
	slabSize = 256 << 10
	// maxLine is the longest line that is delivered whole, in bytes. It is
	// far above the largest Pub/Sub message, so that such a line is rejected
	// downstream with bytes enough to see what it was.
	maxLine = 10 << 20
)

// lineReader cuts a stream into lines. It is not safe for concurrent use.
type lineReader struct {
	in     io.Reader
	slab   []byte // read so far, and what follows is free: slab[:len] of cap
	start  int    // where the next line begins in slab
	seen   int    // slab[start:seen] is known to hold no newline
	offset int64  // of slab[start] in the stream
	eof    bool
}

// line is one line without its newline.
type line struct {
	// data has its own capacity and is never written again; it stays valid for
	// as long as it is held.
	data []byte
	// offset is where the line begins, in bytes from the start of the file.
	offset int64
	// cut says that the line was longer than maxLine and data holds only its
	// beginning.
	cut bool
}

// newLineReader reads lines from in, whose first byte is at offset of its file.
func newLineReader(in io.Reader, offset int64) *lineReader {
	return &lineReader{in: in, offset: offset}
}

// next returns the next line. The last line need not end with a newline. At
// the end of the stream the error is io.EOF; any other error is the stream's.
func (r *lineReader) next() (line, error) {
	for {
		if i := bytes.IndexByte(r.slab[r.seen:], '\n'); i >= 0 {
			return r.take(r.seen+i, 1), nil
		}
		r.seen = len(r.slab)
		if r.seen-r.start > maxLine {
			return r.takeLong()
		}
		if r.eof {
			if r.start == len(r.slab) {
				return line{}, io.EOF
			}
			return r.take(len(r.slab), 0), nil
		}
		if err := r.fill(); err != nil {
			return line{}, err
		}
	}
}

// take returns the line that ends before slab[end] and steps over it and the
// newline (0 or 1 byte) behind it.
func (r *lineReader) take(end, newline int) line {
	l := line{data: r.slab[r.start:end:end], offset: r.offset}
	if len(l.data) > maxLine {
		l.data, l.cut = l.data[:maxLine:maxLine], true
	}
	r.offset += int64(end - r.start + newline)
	r.start = end + newline
	r.seen = r.start
	return l
}

// takeLong returns the beginning of a line longer than maxLine and skips the
// rest of it without keeping it.
func (r *lineReader) takeLong() (line, error) {
	l := line{data: r.slab[r.start : r.start+maxLine : r.start+maxLine], offset: r.offset, cut: true}
	r.offset += int64(len(r.slab) - r.start)
	if err := r.skipLine(); err != nil && err != io.EOF {
		return line{}, err
	}
	return l, nil
}

// skipLine steps over everything up to and including the next newline. It
// starts with an empty slab and returns io.EOF if the stream ends first.
func (r *lineReader) skipLine() error {
	for {
		r.slab, r.start, r.seen = nil, 0, 0
		if r.eof {
			return io.EOF
		}
		if err := r.fill(); err != nil {
			return err
		}
		if i := bytes.IndexByte(r.slab, '\n'); i >= 0 {
			r.offset += int64(i + 1)
			r.start, r.seen = i+1, i+1
			return nil
		}
		r.offset += int64(len(r.slab))
	}
}

// fill reads more of the stream behind what the slab holds. A full slab is
// left to the lines that were cut from it, and the unfinished line moves to a
// new one.
func (r *lineReader) fill() error {
	if len(r.slab) == cap(r.slab) {
		rest := r.slab[r.start:]
		size := slabSize
		if 2*len(rest) > size {
			size = 2 * len(rest)
		}
		slab := make([]byte, len(rest), size)
		copy(slab, rest)
		r.seen -= r.start
		r.slab, r.start = slab, 0
	}
	n, err := r.in.Read(r.slab[len(r.slab):cap(r.slab)])
	r.slab = r.slab[:len(r.slab)+n]
	if err == io.EOF {
		r.eof = true
		return nil
	}
	return err
}

// blank says whether a line holds nothing but JSON white space.
func blank(data []byte) bool {
	for _, c := range data {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
