package bigqueryd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"

	"pixelbeam/schemas"
)

// Options configure a Server. The zero value is a database in memory on ports
// that the system picks, on the loopback interface.
type Options struct {
	// Path is the DuckDB file; it is made if it does not exist. Empty means
	// memory.
	Path string
	// Project is the project id that names without one belong to, and the only
	// project there is. Default "pixelbeam-local".
	Project string
	// HTTPAddr and GRPCAddr are the addresses, host:port, of the REST API and of
	// the Storage APIs. Default "127.0.0.1:0"; port 0 picks a free one.
	HTTPAddr string
	GRPCAddr string
	// CommitInterval is the least time between two group commits; shorter makes
	// a lone writer faster, longer saves CPU. Default 50 ms.
	CommitInterval time.Duration
	// MemoryLimit is what DuckDB may use before it spills to disk, in DuckDB's
	// notation. Default "1GB".
	MemoryLimit string
	// Threads is the number of threads of a query, all of them in this process.
	// Default 2.
	Threads int
	// ReadSessionTTL is how long the rows of a read session are kept. Default 6 h, as
	// in the service.
	ReadSessionTTL time.Duration
	// Fault, if set, is asked before each request. method is an RPC name of the
	// Storage Write API ("AppendRows", "CreateWriteStream"...), of the Storage Read
	// API ("CreateReadSession", "ReadRows": before each response) or of the REST API
	// ("jobs.query", "tables.insert"...); n counts the requests of that method,
	// from 0. The request fails with the error that it returns: as it is where
	// it is a gRPC status error, as UNAVAILABLE where it is not. With ErrAckLost,
	// an append is stored and its connection fails with UNAVAILABLE before the
	// acknowledgement.
	Fault func(method string, n int) error
	// RowFault, if set, is asked for each appended row that is otherwise good:
	// table is the table id, row counts the rows that were sent to that table,
	// from 0, a row that is sent again included. A message that is not empty
	// refuses the row.
	RowFault func(table string, row int) string
	// Logger gets what an operator should know. Default: nothing is logged.
	Logger *slog.Logger
}

// ErrAckLost makes Options.Fault lose the acknowledgement of an append that was
// stored.
var ErrAckLost = errors.New("bigqueryd: acknowledgement lost")

// inFlightBytes bounds the rows that were received and are not yet stored.
const inFlightBytes = 128 << 20

// Server is a running stand-in. Its methods may be called concurrently.
type Server struct {
	project  string
	opts     Options
	log      *slog.Logger
	db       *database
	catalog  *catalog
	streams  *registry
	lane     *lane
	checks   *checkpointer
	inFlight *semaphore.Weighted
	jobs     *jobs
	sessions sessions

	httpListener net.Listener
	grpcListener net.Listener
	http         *http.Server
	grpc         *grpc.Server
	serving      sync.WaitGroup
	closing      chan struct{}
	closeOnce    sync.Once
	closeErr     error

	stats   counters
	faults  countMap // requests by method
	sentRow countMap // rows by table
}

// counters are the atomics behind Stats.
type counters struct {
	rows, bytes, commits, requests, refusedRows, queries atomic.Int64
}

// Stats counts since Start.
type Stats struct {
	AppendRequests int64 // AppendRows requests received
	Rows           int64 // rows stored, unflushed ones included
	RefusedRows    int64 // rows answered with a row error
	Bytes          int64 // of stored rows, as sent
	Commits        int64 // transactions that stored rows
	Queries        int64 // queries run, in process or by REST
}

// countMap counts by name.
type countMap struct {
	mu sync.Mutex
	n  map[string]int
}

// next adds by to the count of name and returns what it was.
func (m *countMap) next(name string, by int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n == nil {
		m.n = map[string]int{}
	}
	n := m.n[name]
	m.n[name] = n + by
	return n
}

// Start opens the database and serves it. The caller must Close the server.
func Start(opts Options) (*Server, error) {
	setDefault(&opts.Project, "pixelbeam-local")
	setDefault(&opts.HTTPAddr, "127.0.0.1:0")
	setDefault(&opts.GRPCAddr, "127.0.0.1:0")
	setDefault(&opts.MemoryLimit, "1GB")
	setDefault(&opts.Threads, 2)
	setDefault(&opts.CommitInterval, 50*time.Millisecond)
	setDefault(&opts.ReadSessionTTL, 6*time.Hour)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s := &Server{
		project: opts.Project, opts: opts, log: opts.Logger,
		catalog: &catalog{project: opts.Project}, streams: &registry{}, jobs: newJobs(),
		inFlight: semaphore.NewWeighted(inFlightBytes), closing: make(chan struct{}),
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		s.lane.close()
		s.closeDatabase()
		return nil, err
	}
	return s, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// open opens the database and reads what it holds.
func (s *Server) open() error {
	temp := filepath.Join(os.TempDir(), "bigqueryd")
	if s.opts.Path != "" {
		temp = s.opts.Path + ".tmp" // DuckDB's own choice for a file
	}
	settings := map[string]string{
		"threads":      fmt.Sprint(s.opts.Threads),
		"memory_limit": s.opts.MemoryLimit,
		// Analysing texts for zstd takes a quarter of a checkpoint and saves no
		// space on rows like ours.
		"disabled_compression_methods": "zstd",
		// The checkpointer does it: DuckDB would within a commit, which waits.
		"checkpoint_threshold":         "1000TB",
		"autoinstall_known_extensions": "false",
		"autoload_known_extensions":    "false",
		"temp_directory":               temp,
	}
	if s.opts.Path == "" {
		// DuckDB makes it when it first spills; its default is the working
		// directory.
		settings["temp_directory"] = filepath.Join(os.TempDir(), "bigqueryd-"+rand.Text())
	}
	db, err := openDatabase(s.opts.Path, settings, 4)
	if err != nil {
		return err
	}
	s.db = db
	conn, err := db.connect()
	if err != nil {
		db.close()
		return err
	}
	ctx := context.Background()
	if err = s.catalog.load(ctx, conn); err == nil {
		err = s.streams.load(ctx, conn, s.catalog, time.Now())
	}
	if err != nil {
		conn.close()
		db.close()
		return fmt.Errorf("bigqueryd: read %s: %w", s.opts.Path, err)
	}
	if s.checks, err = newCheckpointer(db, s.opts.Path, s.log); err != nil {
		conn.close()
		db.close()
		return err
	}
	s.lane = newLane(conn, s.catalog, s.opts.CommitInterval, 16<<20, func(rows, bytes int) {
		s.stats.rows.Add(int64(rows))
		s.stats.bytes.Add(int64(bytes))
		s.stats.commits.Add(1)
	})
	return nil
}

func (s *Server) listen() error {
	var err error
	if s.httpListener, err = net.Listen("tcp", s.opts.HTTPAddr); err != nil {
		return err
	}
	if s.grpcListener, err = net.Listen("tcp", s.opts.GRPCAddr); err != nil {
		s.httpListener.Close()
		return err
	}
	// Larger than a valid request, so that an oversized one gets an answer.
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20))
	storagepb.RegisterBigQueryWriteServer(s.grpc, &writeService{s: s})
	storagepb.RegisterBigQueryReadServer(s.grpc, &readService{s: s})
	s.http = &http.Server{Handler: s.restHandler(), ReadHeaderTimeout: 10 * time.Second}
	s.serving.Add(2)
	go func() {
		defer s.serving.Done()
		if err := s.grpc.Serve(s.grpcListener); err != nil {
			s.log.Error("bigqueryd: gRPC server", "error", err)
		}
	}()
	go func() {
		defer s.serving.Done()
		if err := s.http.Serve(s.httpListener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("bigqueryd: HTTP server", "error", err)
		}
	}()
	return nil
}

// RESTEndpoint is the address of the REST API, for option.WithEndpoint together
// with option.WithoutAuthentication.
func (s *Server) RESTEndpoint() string { return "http://" + s.httpListener.Addr().String() }

// GRPCEndpoint is the host:port of the Storage Write and Read APIs, for
// option.WithEndpoint; it speaks plaintext.
func (s *Server) GRPCEndpoint() string { return s.grpcListener.Addr().String() }

// Project is the project id.
func (s *Server) Project() string { return s.project }

// Stats returns what was counted since Start.
func (s *Server) Stats() Stats {
	return Stats{
		AppendRequests: s.stats.requests.Load(), Rows: s.stats.rows.Load(), RefusedRows: s.stats.refusedRows.Load(),
		Bytes: s.stats.bytes.Load(), Commits: s.stats.commits.Load(), Queries: s.stats.queries.Load(),
	}
}

// CreateDataset makes a dataset if there is none of that id.
func (s *Server) CreateDataset(ctx context.Context, id string) error {
	err := s.createDataset(ctx, &datasetEntry{ID: id})
	if errors.Is(err, errDuplicate) {
		return nil
	}
	return err
}

// CreateTable makes a table if there is none of that name, and adds the columns
// that an existing one lacks. The dataset must exist.
func (s *Server) CreateTable(ctx context.Context, dataset string, table schemas.Table) error {
	t, err := tableOfSchema(dataset, table)
	if err != nil {
		return err
	}
	if err := s.createTable(ctx, t, nil); !errors.Is(err, errDuplicate) {
		return err
	}
	return s.growTable(ctx, dataset, table.Name, t.fields)
}

// CreateView makes or replaces a view. The tables that it reads must exist.
func (s *Server) CreateView(ctx context.Context, dataset string, view schemas.View) error {
	return s.createView(ctx, &tableEntry{Dataset: dataset, ID: view.Name, View: view.In(dataset)}, true)
}

// Close stops taking requests, finishes those that are running, brings the
// database file up to date, so that any DuckDB of this version line can open it,
// and closes it. A second call returns the result of the first.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	close(s.closing)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.grpc.GracefulStop()
	}()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
	s.serving.Wait()
	s.jobs.wait()
	s.sessions.closeAll()
	s.lane.close()
	return errors.Join(err, s.closeDatabase())
}

func (s *Server) closeDatabase() error {
	s.checks.close()
	err := s.lane.conn.exec(context.Background(), "CHECKPOINT")
	s.lane.conn.close()
	s.db.close()
	return err
}

// fault asks Options.Fault.
func (s *Server) fault(method string) error {
	if s.opts.Fault == nil {
		return nil
	}
	return s.opts.Fault(method, s.faults.next(method, 1))
}
