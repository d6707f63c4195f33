package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"cloud.google.com/go/storage"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/klauspost/compress/gzip"

	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/logentry"
)

func init() {
	beam.RegisterType(reflect.TypeFor[file]())
	register.Emitter1[file]()
	dofn.Register[listFilesFn](func(f func(context.Context, []byte, func(file)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].([]byte), a[2].(func(file)))}
	})
	dofn.Register[readFilesFn](func(f func(context.Context, *sdf.LockRTracker, file, func(logentry.Message)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(*sdf.LockRTracker), a[2].(file), a[3].(func(logentry.Message)))}
	})
}

// blockSize is how many bytes of a plain file one restriction covers at first.
// Runners may split further, down to single lines.
const blockSize = 64 << 20

var (
	filesOpened    = beam.NewCounter("source", "files_opened")
	filesLines     = beam.NewCounter("source", "files_lines_read")
	filesLinesLong = beam.NewCounter("source", "files_lines_cut")
)

// FilesConfig says which files to read.
type FilesConfig struct {
	// Patterns name local files (path/filepath globs) or Cloud Storage objects
	// (gs://bucket/glob, where "*" stays within a folder and "**" does not). A
	// pattern that names a folder (for Storage: that ends in "/") stands for
	// every *.json, *.jsonl, *.json.gz and *.jsonl.gz below it, which covers
	// both the S and the A files of a log export to Storage. At least one is
	// required, and each must match something.
	//
	// Cloud Storage is reached with the default credentials, or at
	// STORAGE_EMULATOR_HOST if that is set.
	Patterns []string
}

// Validate reports what is wrong with the configuration: no pattern, a
// malformed one, or a local one that matches nothing. Storage is not asked
// before the job runs.
func (c FilesConfig) Validate() error {
	if len(c.Patterns) == 0 {
		return errors.New("no input: give at least one file pattern")
	}
	var errs []error
	for _, p := range c.Patterns {
		errs = append(errs, validatePattern(p))
	}
	return errors.Join(errs...)
}

func validatePattern(p string) error {
	if !isGCS(p) {
		if strings.Contains(p, "://") {
			return fmt.Errorf("input %q: only local paths and gs:// are supported", p)
		}
		files, err := matchLocal(p)
		if err == nil && len(files) == 0 {
			err = noMatch(p)
		}
		return err
	}
	bucket, object := splitGCS(p)
	if bucket == "" {
		return fmt.Errorf("input %q names no bucket", p)
	}
	if _, err := globRegexp(object); err != nil {
		return fmt.Errorf("input %q: %w", p, err)
	}
	return nil
}

// Files returns PCollection<logentry.Message>, one for each line of every
// matching file that is not blank. It is bounded, and panics on a
// configuration that does not validate.
//
// Data is the line byte for byte without its "\n" (a "\r" before it stays: it
// is white space to JSON), cut off at 10 MiB. Origin is the file's name,
// Offset the line's place in the decompressed file, ReceiveTime the file's
// modification time; Timestamp is empty. The order of messages is not defined,
// and they carry the default event time.
//
// A file that cannot be read to its end, a gzip file that was cut off among
// them, fails the job with an error that names it.
func Files(s beam.Scope, cfg FilesConfig) beam.PCollection {
	s = s.Scope("source.Files")
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	files := beam.ParDo(s, &listFilesFn{Patterns: slices.Clone(cfg.Patterns)}, beam.Impulse(s))
	return beam.ParDo(s, &readFilesFn{}, files)
}

// listFilesFn turns the impulse into the files of all patterns.
type listFilesFn struct {
	Patterns []string
}

func (fn *listFilesFn) ProcessElement(ctx context.Context, _ []byte, emit func(file)) error {
	files, err := match(ctx, fn.Patterns)
	if err != nil {
		return err
	}
	for _, f := range files {
		emit(f)
	}
	return nil
}

// readFilesFn reads a file's lines. The restriction of a plain file is its
// bytes: a line belongs to the range in which it begins. The restriction of a
// compressed file is the single position 0, which stands for all of it.
type readFilesFn struct {
	storage *storage.Client
}

func (fn *readFilesFn) CreateInitialRestriction(f file) offsetrange.Restriction {
	if f.Gzip {
		return offsetrange.Restriction{Start: 0, End: 1}
	}
	return offsetrange.Restriction{Start: 0, End: f.Size}
}

func (fn *readFilesFn) SplitRestriction(_ file, rest offsetrange.Restriction) []offsetrange.Restriction {
	return rest.SizedSplits(blockSize)
}

func (fn *readFilesFn) RestrictionSize(f file, rest offsetrange.Restriction) float64 {
	if f.Gzip {
		return float64(f.Size)
	}
	return rest.Size()
}

func (fn *readFilesFn) CreateTracker(rest offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(rest))
}

func (fn *readFilesFn) ProcessElement(ctx context.Context, rt *sdf.LockRTracker, f file, emit func(logentry.Message)) error {
	filesOpened.Inc(ctx, 1)
	read := fn.readRange
	if f.Gzip {
		read = fn.readWhole
	}
	if err := read(ctx, rt, f, emit); err != nil {
		return fmt.Errorf("reading %s: %w", f.Name, err)
	}
	return nil
}

// readRange delivers the lines that begin within the restriction.
func (fn *readFilesFn) readRange(ctx context.Context, rt *sdf.LockRTracker, f file, emit func(logentry.Message)) error {
	rest := rt.GetRestriction().(offsetrange.Restriction)
	// A line begins at Start only if the byte before it is a newline.
	from := max(0, rest.Start-1)
	in, err := fn.open(ctx, f, from)
	if err != nil {
		return err
	}
	defer in.Close()
	lines := newLineReader(in, from)
	if rest.Start > 0 {
		if err := lines.skipLine(); err == io.EOF {
			rt.TryClaim(rest.End)
			return nil
		} else if err != nil {
			return err
		}
	}
	claim := func(offset int64) bool { return rt.TryClaim(offset) }
	if done, err := deliver(ctx, lines, f, claim, emit); err != nil || done {
		return err
	}
	rt.TryClaim(rt.GetRestriction().(offsetrange.Restriction).End)
	return nil
}

// readWhole delivers all lines of a compressed file.
func (fn *readFilesFn) readWhole(ctx context.Context, rt *sdf.LockRTracker, f file, emit func(logentry.Message)) error {
	if !rt.TryClaim(int64(0)) {
		return nil
	}
	in, err := fn.open(ctx, f, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	plain, err := gunzip(in)
	if err != nil {
		return err
	}
	all := func(int64) bool { return true }
	_, err = deliver(ctx, newLineReader(plain, 0), f, all, emit)
	return err
}

// gunzip decompresses in. Content that is not gzip despite its name is read as
// it is: downloads that decompress on the way leave that behind, and Storage
// does so itself for objects with Content-Encoding: gzip.
func gunzip(in io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(in, 1<<20)
	if magic, err := buffered.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		if err == io.EOF {
			err = nil
		}
		return buffered, err
	}
	return gzip.NewReader(buffered)
}

// deliver emits lines until the stream ends or claim refuses the offset of one;
// refused says which.
func deliver(ctx context.Context, lines *lineReader, f file, claim func(int64) bool, emit func(logentry.Message)) (refused bool, err error) {
	n := int64(0)
	defer func() { filesLines.Inc(ctx, n) }()
	for {
		l, err := lines.next()
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !claim(l.offset) {
			return true, nil
		}
		if blank(l.data) {
			continue
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		if l.cut {
			filesLinesLong.Inc(ctx, 1)
			log.Warnf(ctx, "%s: the line at byte %d is longer than %d MiB: only its beginning is read", f.Name, l.offset, maxLine>>20)
		}
		n++
		emit(logentry.Message{Data: l.data, ReceiveTime: f.Modified, Origin: f.Name, Offset: l.offset})
	}
}

// open opens a file at a byte offset.
func (fn *readFilesFn) open(ctx context.Context, f file, offset int64) (io.ReadCloser, error) {
	if isGCS(f.Name) {
		// Made on first use, since most jobs read either local files or Storage,
		// and kept for the life of the process: the harness never tears a DoFn
		// down. JSON reads need nothing of an emulator but its address.
		if fn.storage == nil {
			client, err := storage.NewClient(context.WithoutCancel(ctx), storage.WithJSONReads())
			if err != nil {
				return nil, err
			}
			fn.storage = client
		}
		bucket, object := splitGCS(f.Name)
		return fn.storage.Bucket(bucket).Object(object).Generation(f.Generation).NewRangeReader(ctx, offset, -1)
	}
	in, err := os.Open(f.Name)
	if err != nil {
		return nil, err
	}
	if _, err := in.Seek(offset, io.SeekStart); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}
