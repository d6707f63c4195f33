package load

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"pixelbeam/local/traffic"
)

// ProfileRows is the name that Books.Rows has for rows written to Bigtable.
const ProfileRows = "bigtable"

// Server publishes and takes in. Its methods may be called from many goroutines.
type Server struct {
	templates []template
	queue     *queue
	arrivals  arrivals
	responses buffers

	grpc      *grpc.Server
	addr      string
	stopping  chan struct{}
	closeOnce sync.Once
	running   sync.WaitGroup
}

var deliveries = sync.Pool{New: func() any { return new([]delivery) }}

// Start makes the entries and serves all services on one address. Publishing
// begins with the first pull.
func Start(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	lis, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	s := &Server{
		templates: makeTemplates(opts.Traffic, opts.Entries),
		arrivals:  arrivals{rows: map[string]int64{}},
		addr:      lis.Addr().String(),
		stopping:  make(chan struct{}),
	}
	s.grpc = grpc.NewServer(
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(2*maxRequest),
		// Large steps: what the servers cost is taken from the job.
		grpc.InitialWindowSize(16<<20), grpc.InitialConnWindowSize(64<<20),
		grpc.ReadBufferSize(512<<10), grpc.WriteBufferSize(512<<10),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	for _, service := range []*grpc.ServiceDesc{s.subscriberService(), s.writeService(), s.bigtableService()} {
		s.grpc.RegisterService(service, nil)
	}
	s.queue = newQueue(opts)
	s.running.Go(func() { _ = s.grpc.Serve(lis) }) // until Close
	s.running.Go(func() {
		expiry := time.NewTicker(time.Second)
		defer expiry.Stop()
		for {
			select {
			case <-s.stopping:
				return
			case <-expiry.C:
				s.queue.expire()
			}
		}
	})
	return s, nil
}

// Addr is the address of all services, host:port.
func (s *Server) Addr() string { return s.addr }

// Started is closed when publishing begins.
func (s *Server) Started() <-chan struct{} { return s.queue.started }

// Stop ends the publishing. What was published is still delivered.
func (s *Server) Stop() { s.queue.stop() }

// Close ends the services.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		close(s.stopping)
		s.grpc.Stop()
		s.running.Wait()
	})
}

func (s *Server) template(number int64) *template {
	return &s.templates[number%int64(len(s.templates))]
}

// Books is what was published against what came of it.
type Books struct {
	// Published messages, those Delivered (every delivery counts), of which
	// Redelivered were delivered before, those Acked, acknowledgements of
	// messages that were acknowledged before, messages Nacked by the job and
	// leases that it Extended.
	Published, Delivered, Redelivered, Acked, AckedAgain, Nacked, Extended int64
	// Impressions, Rejected and Ignored are the published messages by what must
	// come of them.
	Impressions, Rejected, Ignored int64
	// Rows is how many rows came, by table, and under ProfileRows to Bigtable.
	Rows map[string]int64
	// Missing is how many impressions have no row; Repeated how many rows came
	// once more; Unexpected how many rows are of no impression that was
	// published.
	Missing, Repeated, Unexpected int64
}

// Books compares everything published with everything that arrived; the time it
// takes grows with their number (some nanoseconds each).
func (s *Server) Books() Books {
	b := s.Stats()
	kinds := make([]int64, len(s.templates))
	full, rest := b.Published/int64(len(kinds)), b.Published%int64(len(kinds))
	for i := range kinds {
		n := full
		if int64(i) < rest {
			n++
		}
		switch s.templates[i].kind {
		case traffic.Impression:
			b.Impressions += n
		case traffic.Rejected:
			b.Rejected += n
		default:
			b.Ignored += n
		}
	}
	a := &s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	b.Repeated, b.Unexpected = a.repeated, a.strange
	for n := range max(b.Published, a.last()+1) {
		due := n < b.Published && s.template(n).kind == traffic.Impression
		switch got := a.has(n); {
		case due && !got:
			b.Missing++
		case got && !due:
			b.Unexpected++
		}
	}
	return b
}

// Stats is Books without the comparison: the messages and Rows.
func (s *Server) Stats() Books {
	q := s.queue
	q.mu.Lock()
	b := Books{
		Published: q.published(time.Now()), Delivered: q.delivered, Redelivered: q.redelivered,
		Acked: q.acked, AckedAgain: q.ackedAgain, Nacked: q.nacked, Extended: q.extended,
	}
	q.mu.Unlock()
	a := &s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	b.Rows = make(map[string]int64, len(a.rows))
	for table, n := range a.rows {
		b.Rows[table] = n
	}
	return b
}

// Check returns what does not balance, joined; nil if all does. Delivery is at
// least once, so rows may come once more where messages were delivered once more.
func (b Books) Check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if b.Acked != b.Published {
		wrong("%d messages were published and %d acknowledged", b.Published, b.Acked)
	}
	if b.Missing > 0 {
		wrong("%d impressions have no row", b.Missing)
	}
	if b.Unexpected > 0 {
		wrong("%d rows are of no impression that was published", b.Unexpected)
	}
	if got := b.Rows["rejected_entries"]; got < b.Rejected || got > b.Rejected+b.Redelivered {
		wrong("%d entries are to be rejected, and rejected_entries has %d rows", b.Rejected, got)
	}
	if b.Redelivered == 0 && b.Repeated > 0 {
		wrong("%d rows came once more, though no message did", b.Repeated)
	}
	return errors.Join(errs...)
}
