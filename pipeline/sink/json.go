package sink

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"

	// Cloud Storage as a target.
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/gcs"

	"pixelbeam/schemas"
	"pixelbeam/transforms/dofn"
)

func init() {
	dofn.Register[jsonFn](callRow)
}

// JSONConfig says where rows are written as JSON lines.
type JSONConfig struct {
	// Dir is a local folder, made if missing, or a URL such as gs://BUCKET/PATH;
	// required.
	Dir string
	// Prefix begins the file names; required, without '/'.
	Prefix string
	// Table is the table of the rows, one of schemas.Tables; required.
	Table string
}

// Validate returns all that is wrong with the configuration, joined.
func (c JSONConfig) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("json sink: Dir is required"))
	}
	if c.Prefix == "" || strings.ContainsAny(c.Prefix, `/\`) {
		errs = append(errs, fmt.Errorf("json sink: Prefix %q: want a name without slashes", c.Prefix))
	}
	if t, ok := schemas.LookupTable(c.Table); !ok {
		errs = append(errs, fmt.Errorf("json sink: no table %q in the schemas", c.Table))
	} else if _, err := NewRowEncoder(t); err != nil {
		errs = append(errs, fmt.Errorf("json sink: %w", err))
	}
	return errors.Join(errs...)
}

// remote tells whether Dir is not a local folder.
func (c JSONConfig) remote() bool { return strings.Contains(c.Dir, "://") }

// JSON writes a PCollection<schemas.Row>, or a PCollection<schemas.Rows>, of
// wire-format messages of cfg.Table as JSON lines, in the form of AppendJSON, to new files DIR/PREFIX-RUN-PROCESS.jsonl,
// where RUN is when the pipeline was built, so that runs never mix. It returns an
// empty PCollection<schemas.Row>, for Terminate.
//
// In a local folder a process writes one file, to which bundles append whole
// lines; if a write fails, what it left of a line is cut off again. Elsewhere, as
// objects cannot grow, each bundle writes objects
// PREFIX-RUN-PROCESS-NUMBER.jsonl, which appear whole or not at all. A bundle that is retried writes its lines again.
//
// A row that is no message of the table is logged as an error and counted in
// json_rows_unreadable of the table; files that cannot be written fail the bundle.
//
// JSON panics if cfg does not pass Validate.
func JSON(s beam.Scope, rows beam.PCollection, cfg JSONConfig) beam.PCollection {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	s = s.Scope("JSON")
	return beam.ParDo(s, &jsonFn{Config: cfg, Run: runName()}, single(s, rows))
}

// Bytes of lines that a bundle collects before they are written.
const (
	localChunk  = 1 << 20
	remoteChunk = 32 << 20
)

type jsonFn struct {
	Config JSONConfig
	Run    string // names this run of the pipeline, given when it is built

	encoder *RowEncoder // made in Setup
	file    *lineFile   // made in Setup, shared by the process
	lines   []byte      // of the bundle, not yet written
	count   int64
}

func (f *jsonFn) Setup() error {
	t, _ := schemas.LookupTable(f.Config.Table)
	encoder, err := NewRowEncoder(t)
	if err != nil {
		return err
	}
	f.encoder, f.file = encoder, sharedFile(f.Config, f.Run)
	return nil
}

// StartBundle drops what a failed bundle may have left.
func (f *jsonFn) StartBundle(context.Context, func(schemas.Row)) {
	f.lines, f.count = f.lines[:0], 0
}

func (f *jsonFn) ProcessElement(ctx context.Context, row schemas.Row, _ func(schemas.Row)) error {
	lines, err := f.encoder.Append(f.lines, row.Data)
	if err != nil {
		tableMetrics[f.Config.Table].jsonUnreadable.Inc(ctx, 1)
		log.Errorf(ctx, "json sink: row from %q left out: %v", row.Source, err)
		return nil
	}
	f.lines = append(lines, '\n')
	f.count++
	chunk := localChunk
	if f.Config.remote() {
		chunk = remoteChunk
	}
	if len(f.lines) >= chunk {
		return f.write(ctx)
	}
	return nil
}

func (f *jsonFn) FinishBundle(ctx context.Context, _ func(schemas.Row)) error {
	return f.write(ctx)
}

func (f *jsonFn) write(ctx context.Context) error {
	if len(f.lines) == 0 {
		return nil
	}
	var err error
	if f.Config.remote() {
		err = writeObject(ctx, f.file.next(), f.lines)
	} else {
		err = f.file.append(f.lines)
	}
	if err != nil {
		return fmt.Errorf("json sink: %w", err)
	}
	tableMetrics[f.Config.Table].jsonWritten.Inc(ctx, f.count)
	f.lines, f.count = f.lines[:0], 0
	return nil
}

// writeObject writes a new object in one go.
func writeObject(ctx context.Context, name string, data []byte) error {
	fs, err := filesystem.New(ctx, name)
	if err != nil {
		return err
	}
	defer fs.Close()
	// A cancelled context keeps a half-written object from appearing.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := fs.OpenWrite(ctx, name)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		cancel()
		_ = w.Close()
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// join puts a name into the folder of the configuration.
func (c JSONConfig) join(name string) string {
	if c.remote() {
		return strings.TrimSuffix(c.Dir, "/") + "/" + name
	}
	return filepath.Join(c.Dir, name)
}
