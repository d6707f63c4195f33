package bigtabled

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/grpc"
)

// Options says where a Server keeps its data and how it misbehaves.
type Options struct {
	// Dir is the folder of log and snapshot; it is made if missing. Required.
	Dir string
	// CompactBytes is the size of the log from which it is compacted, if it is
	// also larger than the last snapshot; zero means 64 MiB.
	CompactBytes int64
	// GCInterval is how often the log is compacted, and garbage collected, however
	// small it is; zero means once an hour.
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
	// LogBytes and SnapshotBytes are sizes on disk.
	LogBytes, SnapshotBytes int64
	// Compactions that succeeded.
	Compactions int64
	// TornBytes were cut off the end of the log at the start: a write that the
	// end of the process before interrupted, and that was never acknowledged.
	TornBytes int64
	// CompactError is why the last compaction failed; nil if it did not. The log
	// then grows until one succeeds; nothing is lost.
	CompactError error
}

// Server is a running stand-in.
type Server struct {
	opts Options
	back *backend
	grpc *grpc.Server
	addr string

	// mu orders changes: whoever holds it for writing may log and apply. Readers
	// hold it too, because rows of bttest are not safe to read while they change.
	mu      sync.RWMutex
	tables  map[string]*adminpb.Table // by full name, with GC rules
	journal *journal
	failed  error // why no change is possible any more

	calls   callCounter
	rows    atomic.Int64
	cells   atomic.Int64
	compact compactor

	stop      context.CancelFunc
	running   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// maxMessage is how large a request or an answer may be, in bytes; the service
// allows 256 MiB.
const maxMessage = 256 << 20

// Start restores what lies in opts.Dir and serves it at addr (host:port; port 0
// chooses a free one).
func Start(addr string, opts Options) (*Server, error) {
	if opts.Dir == "" {
		return nil, errors.New("bigtabled: Options.Dir is empty, want a folder")
	}
	if opts.CompactBytes == 0 {
		opts.CompactBytes = 64 << 20
	}
	if opts.GCInterval == 0 {
		opts.GCInterval = time.Hour
	}
	back, err := newBackend()
	if err != nil {
		return nil, fmt.Errorf("bigtabled: start bttest: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{opts: opts, back: back, tables: map[string]*adminpb.Table{}, stop: cancel}
	s.compact.wake = make(chan struct{}, 1)
	if s.journal, err = openJournal(opts.Dir, s.replay); err != nil {
		s.shutDown()
		return nil, fmt.Errorf("bigtabled: restore %s: %w", opts.Dir, err)
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		s.shutDown()
		return nil, fmt.Errorf("bigtabled: %w", err)
	}
	s.addr = lis.Addr().String()
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(s.interceptUnary), grpc.StreamInterceptor(s.interceptStream),
		grpc.WaitForHandlers(true),
	)
	bigtablepb.RegisterBigtableServer(s.grpc, dataServer{back.data, s})
	adminpb.RegisterBigtableTableAdminServer(s.grpc, adminServer{back.tables, s})
	adminpb.RegisterBigtableInstanceAdminServer(s.grpc, back.instance)
	s.compact.wakeIf(s.compactionDue())
	s.running.Go(func() { s.grpc.Serve(lis) })
	s.running.Go(func() { s.compactWhenDue(ctx) })
	return s, nil
}

// Addr returns host:port, for BIGTABLE_EMULATOR_HOST or option.WithEndpoint.
func (s *Server) Addr() string { return s.addr }

// Stats may be called at any time.
func (s *Server) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := Stats{
		RowsWritten: s.rows.Load(), CellsWritten: s.cells.Load(),
		LogBytes: s.journal.logBytes, SnapshotBytes: s.journal.snapshotBytes, TornBytes: s.journal.tornBytes,
	}
	st.Compactions, st.CompactError = s.compact.result()
	return st
}

// Close stops serving, ends open requests, and syncs the log. Further calls
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
	s.back.server.Close()
	if s.journal == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.close()
}
