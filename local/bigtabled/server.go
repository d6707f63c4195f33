package bigtabled

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/grpc"
)

// Options says where a Server keeps its data and how it misbehaves.
type Options struct {
	// Dir is the folder of the store; it is made if missing. Required.
	Dir string
	// GCInterval is how often garbage is collected; zero means once an hour.
	GCInterval time.Duration

	// Fault, if set, is asked before every request to the data and admin APIs;
	// method is the last part of the gRPC method ("MutateRows"), n counts its
	// requests from 1. An error (best made by grpc/status) is the answer, and
	// nothing is done. It may be called by several goroutines at once, as may
	// the others.
	Fault func(method string, n int) error
	// EntryFault, if set, is asked for every row of a write. An error is that
	// row's answer, and the row is not written.
	EntryFault func(key string) error
	// AckFault, if set, is asked after a write was applied and logged. An error
	// is the answer: the acknowledgement is lost.
	AckFault func(method string) error
}

// Stats is what a Server did since it started, and how much it keeps.
type Stats struct {
	// RowsWritten counts rows of acknowledged writes, CellsWritten their SetCell
	// mutations; rewriting counts again.
	RowsWritten, CellsWritten int64
	// DiskBytes is the size of the store on disk.
	DiskBytes int64
	// Collections of garbage that succeeded, and CellsCollected by them.
	Collections, CellsCollected int64
	// CollectError is why the last collection failed; nil if it did not. Garbage
	// then stays until one succeeds; nothing is lost.
	CollectError error
}

// Server is a running stand-in.
type Server struct {
	opts  Options
	store *pebble.DB
	grpc  *grpc.Server
	addr  string

	// mu is held for reading by whoever writes rows, so that whoever reads a row
	// to write it, or changes tables, can keep writers out by holding it alone.
	mu        sync.RWMutex
	tables    map[string]*table // by full name
	nextTable uint32

	calls callCounter
	rows  atomic.Int64
	cells atomic.Int64
	gc    collector

	stop      context.CancelFunc
	running   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// maxMessage is how large a request or an answer may be, in bytes; the service
// allows 256 MiB.
const maxMessage = 256 << 20

// Flow control windows, in bytes: what a client may send before it is read.
const (
	streamWindow = 4 << 20
	connWindow   = 16 << 20
)

// Start restores what lies in opts.Dir and serves it at addr (host:port; port 0
// chooses a free one).
func Start(addr string, opts Options) (*Server, error) {
	if opts.Dir == "" {
		return nil, errors.New("bigtabled: Options.Dir is empty, want a folder")
	}
	if opts.GCInterval == 0 {
		opts.GCInterval = time.Hour
	}
	store, err := openStore(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("bigtabled: open %s: %w", opts.Dir, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{opts: opts, store: store, tables: map[string]*table{}, stop: cancel}
	if err := s.loadTables(); err != nil {
		return nil, fmt.Errorf("bigtabled: open %s: %w", opts.Dir, errors.Join(err, s.shutDown()))
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("bigtabled: %w", errors.Join(err, s.shutDown()))
	}
	s.addr = lis.Addr().String()
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(s.interceptUnary), grpc.StreamInterceptor(s.interceptStream),
		grpc.WaitForHandlers(true),
		grpc.ForceServerCodecV2(newCodec()),
		// Windows of a fixed size: else gRPC pings the client with each request, to
		// find out what size is best.
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connWindow),
		// Goroutines that stay, with the stacks that they have grown.
		grpc.NumStreamWorkers(uint32(4*runtime.GOMAXPROCS(0))),
	)
	bigtablepb.RegisterBigtableServer(s.grpc, dataServer{s: s})
	adminpb.RegisterBigtableTableAdminServer(s.grpc, adminServer{s: s})
	adminpb.RegisterBigtableInstanceAdminServer(s.grpc, instanceServer{})
	s.running.Go(func() { s.grpc.Serve(lis) })
	s.running.Go(func() { s.collectWhenDue(ctx) })
	return s, nil
}

// Addr returns host:port, for BIGTABLE_EMULATOR_HOST or option.WithEndpoint.
func (s *Server) Addr() string { return s.addr }

// Stats may be called until the server is closed.
func (s *Server) Stats() Stats {
	st := Stats{
		RowsWritten: s.rows.Load(), CellsWritten: s.cells.Load(),
		DiskBytes: int64(s.store.Metrics().DiskSpaceUsage()),
	}
	st.Collections, st.CellsCollected, st.CollectError = s.gc.result()
	return st
}

// Close stops serving, ends open requests, and closes the store. Further calls
// return what the first did.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.grpc.Stop()
		s.closeErr = s.shutDown()
	})
	return s.closeErr
}

func (s *Server) shutDown() error {
	s.stop()
	s.running.Wait()
	return s.store.Close()
}
