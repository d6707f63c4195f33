package pubsubd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// maxRequestBytes is above the 10 MB of a publish, so that a larger one gets
	// the service's answer and not the transport's.
	maxRequestBytes = 20 << 20
	windowBytes     = 4 << 20
	// tickInterval is how often leases are looked at for waiting consumers, and
	// the log for segments to delete.
	tickInterval = 50 * time.Millisecond
	// stopPatience is how long Close waits for calls under way.
	stopPatience = 5 * time.Second
)

// Server is a running Pub/Sub server. Its methods may be called from many
// goroutines.
type Server struct {
	opts  Options
	base  time.Time // lease deadlines count from here
	grpc  *grpc.Server
	addr  string
	log   *wal // nil without a folder
	lease uint64

	lastID atomic.Uint64

	mu            sync.RWMutex
	topics        map[string]*topic
	subscriptions map[string]*subscription
	lastNumber    uint64

	stopping  chan struct{} // closed when Close begins
	closeOnce sync.Once
	closeErr  error
	running   sync.WaitGroup
}

// topic is a topic and the subscriptions it feeds. Both fields are replaced and
// never changed.
type topic struct {
	config        *pubsubpb.Topic
	subscriptions []*subscription
}

// Start replays the log in opts.Dir, if there is one, and serves on a TCP address
// such as "127.0.0.1:0". It fails for options out of range, an address or folder
// that cannot be used, a folder in use by another process, and a log damaged
// anywhere but at its end.
func Start(addr string, opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	now := opts.Now()
	s := &Server{
		opts: opts,
		base: now,
		// Message ids and lease numbers go on from the clock, in microseconds and
		// nanoseconds: above all of earlier runs without being stored.
		lease:         uint64(time.Now().UnixNano()),
		topics:        map[string]*topic{},
		subscriptions: map[string]*subscription{},
		stopping:      make(chan struct{}),
	}
	s.lastID.Store(uint64(time.Now().UnixMicro()))
	if opts.Dir != "" {
		if err := s.open(); err != nil {
			return nil, fmt.Errorf("pubsubd: folder %s: %w", opts.Dir, err)
		}
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		if s.log != nil {
			err = errors.Join(err, s.log.close())
		}
		return nil, fmt.Errorf("pubsubd: %w", err)
	}
	s.addr = lis.Addr().String()
	s.serve(lis)
	return s, nil
}

// open fills the server from its folder.
func (s *Server) open() error {
	r := &replay{
		topics:          map[string]*pubsubpb.Topic{},
		subscriptions:   map[uint64]*replayed{},
		newSubscription: s.newSubscription,
		waitingBytes:    s.opts.WaitingBytes,
	}
	log, err := openLog(s.opts, r)
	if err != nil {
		return err
	}
	s.log = log
	s.lastID.Store(max(s.lastID.Load(), r.lastID))
	s.lastNumber = r.lastNumber
	for name, config := range r.topics {
		s.topics[name] = &topic{config: config}
	}
	for _, number := range slices.Sorted(maps.Keys(r.subscriptions)) {
		sub := r.subscriptions[number].subscription
		sub.published = int64(sub.ready.n)
		s.subscriptions[sub.name] = sub
		if t, ok := s.topics[sub.config.GetTopic()]; ok {
			t.subscriptions = append(t.subscriptions, sub)
		}
	}
	return nil
}

func (s *Server) newSubscription(number uint64, config *pubsubpb.Subscription) *subscription {
	return newSubscription(number, config, s.lease, func() time.Duration { return s.opts.Now().Sub(s.base) })
}

func (s *Server) serve(lis net.Listener) {
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(4*windowBytes),
		// Clients keep quiet connections open with pings.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := s.fault(path.Base(info.FullMethod)); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := s.fault(path.Base(info.FullMethod)); err != nil {
				return err
			}
			return handle(srv, ss)
		}),
	)
	pubsubpb.RegisterPublisherServer(s.grpc, publisherServer{Server: s})
	pubsubpb.RegisterSubscriberServer(s.grpc, subscriberServer{Server: s})
	s.running.Go(func() {
		if err := s.grpc.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.opts.Logger.Error("pubsubd: serving ended", "error", err)
		}
	})
	s.running.Go(s.tend)
}

func (s *Server) fault(method string) error {
	if s.opts.Fault == nil {
		return nil
	}
	return s.opts.Fault(method)
}

// tend does what time brings, until Close.
func (s *Server) tend() {
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-tick.C:
		}
		for _, sub := range s.allSubscriptions() {
			sub.tick()
		}
		if s.log == nil {
			continue
		}
		if err := errors.Join(s.log.trim(), s.compact()); err != nil && !errors.Is(err, errClosed) {
			s.opts.Logger.Warn("pubsubd: log housekeeping", "error", err)
		}
	}
}

// Addr returns the address served, as host:port.
func (s *Server) Addr() string { return s.addr }

// Close ends waiting pulls and streams, lets other calls finish for up to 5
// seconds, and writes what is not yet in the log. Later calls return the result
// of the first.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		close(s.stopping)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			s.grpc.GracefulStop()
		}()
		select {
		case <-stopped:
		case <-time.After(stopPatience):
			s.grpc.Stop()
			<-stopped
		}
		s.running.Wait()
		if s.log != nil {
			s.closeErr = errors.Join(s.log.trim(), s.log.close())
		}
	})
	return s.closeErr
}

// CreateTopic makes a topic, projects/PROJECT/topics/ID, unless it is there.
func (s *Server) CreateTopic(name string) error {
	_, err := s.createTopic(&pubsubpb.Topic{Name: name})
	if status.Code(err) == codes.AlreadyExists {
		return nil
	}
	return err
}

// CreateSubscription makes a subscription, projects/PROJECT/subscriptions/ID, to
// a topic that must be there, with the acknowledgement deadline of
// Options.AckDeadline. It leaves one that is there as it is, and fails with
// ALREADY_EXISTS if that is to another topic.
func (s *Server) CreateSubscription(name, topic string) error {
	_, err := s.createSubscription(&pubsubpb.Subscription{
		Name:               name,
		Topic:              topic,
		AckDeadlineSeconds: int32(s.opts.AckDeadline / time.Second),
	})
	if status.Code(err) != codes.AlreadyExists {
		return err
	}
	if sub, lookupErr := s.subscription(name); lookupErr == nil && sub.settings().GetTopic() == topic {
		return nil
	}
	return err
}

// Publish publishes to a topic, projects/PROJECT/topics/ID, and returns the
// messages' ids in order. It is the Publish method without its network, with the
// same durability, and without its limit on the messages of one call. Errors are
// status errors; after one the messages may or may not have been published.
func (s *Server) Publish(topic string, msgs ...Message) ([]string, error) {
	if err := s.fault("Publish"); err != nil {
		return nil, err
	}
	return s.publish(topic, msgs)
}

// Stats returns the figures of a subscription, projects/PROJECT/subscriptions/ID.
// It takes time in proportion to the messages under lease.
func (s *Server) Stats(subscription string) (Stats, error) {
	sub, err := s.subscription(subscription)
	if err != nil {
		return Stats{}, err
	}
	return sub.stats(), nil
}

// records are buffers for publish records.
var records = sync.Pool{New: func() any { return new([]byte) }}

func (s *Server) publish(topic string, msgs []Message) ([]string, error) {
	for i := range msgs {
		if err := msgs[i].check(); err != nil {
			return nil, err
		}
	}
	s.mu.RLock()
	t, ok := s.topics[topic]
	var subs []*subscription
	if ok {
		subs = t.subscriptions
	}
	s.mu.RUnlock()
	if !ok {
		return nil, notFound(topic)
	}

	now := s.opts.Now()
	firstID := s.lastID.Add(uint64(len(msgs))) - uint64(len(msgs)) + 1
	ids := make([]string, len(msgs))
	for i := range msgs {
		ids[i] = strconv.FormatUint(firstID+uint64(i), 10)
	}
	if len(subs) == 0 || len(msgs) == 0 {
		return ids, nil
	}
	published := make([]*message, len(msgs))
	for i := range msgs {
		id := firstID + uint64(i)
		encoded := msgs[i].encode(id, now)
		published[i] = &message{id: id, published: now, encoded: encoded, size: len(encoded)}
	}
	seg, err := s.write(published, subs)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	for _, sub := range subs {
		sub.add(published, seg)
	}
	return ids, nil
}

// write puts messages into the log, if there is one, and leaves them only there
// while much waits already.
func (s *Server) write(msgs []*message, subs []*subscription) (*segment, error) {
	if s.log == nil {
		return nil, nil
	}
	numbers := make([]uint64, len(subs))
	waiting := int64(0)
	for i, sub := range subs {
		numbers[i] = sub.number
		waiting = max(waiting, sub.waitingBytes())
	}
	buffer := records.Get().(*[]byte)
	defer records.Put(buffer)
	b, size := (*buffer)[:0], int64(0)
	ends := make([]int, len(msgs)) // of the records
	for i, m := range msgs {
		b = appendPublishRecord(b, m, m.encoded, numbers)
		ends[i] = len(b)
		size += m.logBytes()
	}
	*buffer = b
	seg, base, err := s.log.append(b, int64(len(msgs)*len(subs)), size*int64(len(subs)))
	if err != nil || waiting < s.opts.WaitingBytes {
		return seg, err
	}
	for i, m := range msgs {
		m.at.Store(&place{seg, base + int64(ends[i]-m.size)})
		m.encoded = nil
	}
	return seg, nil
}

// subscription returns the subscription of a name, or a NOT_FOUND error.
func (s *Server) subscription(name string) (*subscription, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sub, ok := s.subscriptions[name]
	if !ok {
		return nil, notFound(name)
	}
	return sub, nil
}

func (s *Server) allSubscriptions() []*subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.subscriptions))
}
