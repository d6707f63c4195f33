package load

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery/storage/managedwriter"
	"cloud.google.com/go/bigquery/storage/managedwriter/adapt"
	"cloud.google.com/go/bigtable"
	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"

	"pixelbeam/local/traffic"
)

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	if opts.Entries == 0 {
		opts.Entries = 500
	}
	opts.Traffic = traffic.DefaultOptions()
	opts.Traffic.BrokenShare, opts.Traffic.NotPixelShare = 0.1, 0.1
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func clientOptions(s *Server) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(s.Addr()), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

func subscriber(t *testing.T, s *Server) *pubsub.SubscriptionAdminClient {
	t.Helper()
	c, err := pubsub.NewSubscriptionAdminClient(t.Context(), clientOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func pull(t *testing.T, c *pubsub.SubscriptionAdminClient, n int32) []*pubsubpb.ReceivedMessage {
	t.Helper()
	r, err := c.Pull(t.Context(), &pubsubpb.PullRequest{Subscription: Subscription, MaxMessages: n})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetReceivedMessages()
}

func ackIDs(ms []*pubsubpb.ReceivedMessage) (ids []string) {
	for _, m := range ms {
		ids = append(ids, m.GetAckId())
	}
	return ids
}

// What the unchanged clients pull, acknowledge and write, the books have.
func TestBooks(t *testing.T) {
	const n = 5000
	s := start(t, Options{Count: n})
	c := subscriber(t, s)
	mw, err := managedwriter.NewClient(t.Context(), "p", clientOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	defer mw.Close()
	table := func(name string, message proto.Message) func(rows [][]byte) {
		descriptor, err := adapt.NormalizeDescriptor(message.ProtoReflect().Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		stream, err := mw.NewManagedStream(t.Context(),
			managedwriter.WithDestinationTable(managedwriter.TableParentFromParts("p", "d", name)),
			managedwriter.WithType(managedwriter.DefaultStream), managedwriter.WithSchemaDescriptor(descriptor))
		if err != nil {
			t.Fatal(err)
		}
		return func(rows [][]byte) {
			result, err := stream.AppendRows(t.Context(), rows)
			if err == nil {
				_, err = result.GetResult(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	writeImpressions, writeRejected := table("impressions", &pixelbeamv1.Impression{}), table("rejected_entries", &pixelbeamv1.RejectedEntry{})
	row := func(id string) []byte {
		b, err := proto.Marshal(&pixelbeamv1.Impression{InsertId: proto.String(id), EventTime: proto.Int64(1)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}

	var withheld []byte
	for seen := 0; seen < n; {
		ms := pull(t, c, 1000)
		var rows, rejected [][]byte
		for _, m := range ms {
			number := int64(seen)
			seen++
			switch s.template(number).kind {
			case traffic.Impression:
				rows = append(rows, row(idPrefix+m.GetMessage().GetMessageId()))
			case traffic.Rejected:
				rejected = append(rejected, []byte{})
			}
		}
		if withheld == nil {
			withheld, rows = rows[0], rows[1:]
		}
		writeImpressions(rows)
		writeRejected(rejected)
		if err := c.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{Subscription: Subscription, AckIds: ackIDs(ms)}); err != nil {
			t.Fatal(err)
		}
	}
	books := s.Books()
	if books.Missing != 1 || books.Acked != n || books.Impressions+books.Rejected+books.Ignored != n || books.Rejected == 0 || books.Ignored == 0 {
		t.Errorf("books %+v; want one row missing", books)
	}
	if err := books.Check(); err == nil || !strings.Contains(err.Error(), "1 impressions have no row") {
		t.Errorf("check says %v", err)
	}
	writeImpressions([][]byte{withheld})
	if err := s.Books().Check(); err != nil {
		t.Errorf("all is there, and check says: %v", err)
	}
	writeImpressions([][]byte{withheld, row("of someone else"), row(idPrefix + "0000000999999")})
	if err := s.Books().Check(); err == nil || !strings.Contains(err.Error(), "2 rows are of no impression") || !strings.Contains(err.Error(), "1 rows came once more") {
		t.Errorf("check says %v", err)
	}
}

// Given back or expired, a message comes again with the same bytes.
func TestRedelivery(t *testing.T) {
	s := start(t, Options{Count: 10})
	c := subscriber(t, s)
	first := pull(t, c, 10)
	if len(first) != 10 {
		t.Fatalf("%d messages", len(first))
	}
	if err := c.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{Subscription: Subscription, AckIds: ackIDs(first[:4])}); err != nil {
		t.Fatal(err)
	}
	if err := c.ModifyAckDeadline(t.Context(), &pubsubpb.ModifyAckDeadlineRequest{Subscription: Subscription, AckIds: ackIDs(first[4:7])}); err != nil {
		t.Fatal(err)
	}
	if err := c.ModifyAckDeadline(t.Context(), &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: Subscription, AckIds: ackIDs(first[9:]), AckDeadlineSeconds: 600,
	}); err != nil {
		t.Fatal(err)
	}
	// The clock goes on by more than the deadline, but less than the extension.
	s.queue.mu.Lock()
	s.queue.start = s.queue.start.Add(-2 * time.Minute)
	s.queue.mu.Unlock()
	s.queue.expire()
	again := pull(t, c, 10)
	if len(again) != 5 {
		t.Fatalf("%d messages came again, want 5", len(again))
	}
	for i, m := range again {
		if !proto.Equal(m.GetMessage(), first[4+i].GetMessage()) {
			t.Errorf("message %d came again changed:\n%v\n%v", i, m, first[4+i])
		}
	}
	for range 2 {
		if err := c.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{Subscription: Subscription, AckIds: ackIDs(first[4:])}); err != nil {
			t.Fatal(err)
		}
	}
	b := s.Stats()
	if b.Acked != 10 || b.AckedAgain != 6 || b.Redelivered != 5 || b.Nacked != 3 || b.Extended != 1 || b.Delivered != 15 {
		t.Errorf("books %+v", b)
	}
}

func TestRate(t *testing.T) {
	s := start(t, Options{Rate: 1000})
	c := subscriber(t, s)
	n := 0
	for n < 100 { // in 100 ms
		n += len(pull(t, c, 10))
	}
	s.Stop()
	published := s.Stats().Published
	for int64(n) < published {
		n += len(pull(t, c, 1000))
	}
	if again := s.Stats().Published; again != published || int64(n) != published {
		t.Errorf("%d published, %d after the stop, %d pulled", published, again, n)
	}
}

// Rows of a BUFFERED stream arrive when they are flushed, at the offsets of the
// protocol.
func TestBuffered(t *testing.T) {
	s := start(t, Options{Count: 1})
	mw, err := managedwriter.NewClient(t.Context(), "p", clientOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	defer mw.Close()
	descriptor, err := adapt.NormalizeDescriptor((&pixelbeamv1.Impression{}).ProtoReflect().Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := mw.NewManagedStream(t.Context(),
		managedwriter.WithDestinationTable(managedwriter.TableParentFromParts("p", "d", "impressions")),
		managedwriter.WithType(managedwriter.BufferedStream), managedwriter.WithSchemaDescriptor(descriptor))
	if err != nil {
		t.Fatal(err)
	}
	appendAt := func(offset int64, n int, want codes.Code) {
		t.Helper()
		var rows [][]byte
		for i := range n {
			row, err := proto.Marshal(&pixelbeamv1.Impression{InsertId: proto.String(fmt.Sprint(offset, i)), EventTime: proto.Int64(1)})
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		result, err := stream.AppendRows(t.Context(), rows, managedwriter.WithOffset(offset))
		if err == nil {
			_, err = result.GetResult(t.Context())
		}
		if status.Code(err) != want {
			t.Errorf("append at %d: %v, want %v", offset, err, want)
		}
	}
	flush := func(offset int64, want codes.Code, rows int64) {
		t.Helper()
		if _, err := stream.FlushRows(t.Context(), offset); status.Code(err) != want {
			t.Errorf("flush of %d: %v, want %v", offset, err, want)
		}
		if got := s.Stats().Rows["impressions"]; got != rows {
			t.Errorf("flush of %d: %d rows have arrived, want %d", offset, got, rows)
		}
	}
	appendAt(0, 3, codes.OK)
	appendAt(0, 3, codes.AlreadyExists)
	appendAt(4, 1, codes.OutOfRange)
	flush(1, codes.OK, 2)
	flush(1, codes.AlreadyExists, 2)
	flush(3, codes.OutOfRange, 2)
	appendAt(3, 2, codes.OK)
	flush(4, codes.OK, 5)
	if n, err := stream.Finalize(t.Context()); err != nil || n != 5 {
		t.Errorf("finalize: %d rows, %v", n, err)
	}
	appendAt(5, 1, codes.FailedPrecondition)
	if _, err := mw.NewManagedStream(t.Context(),
		managedwriter.WithDestinationTable(managedwriter.TableParentFromParts("p", "d", "ledger")),
		managedwriter.WithType(managedwriter.BufferedStream), managedwriter.WithSchemaDescriptor(descriptor)); status.Code(err) != codes.Unimplemented {
		t.Errorf("a stream of another table: %v", err)
	}
}

func TestBigtable(t *testing.T) {
	s := start(t, Options{Count: 1})
	c, err := bigtable.NewClient(t.Context(), "p", "i", clientOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var keys []string
	var mutations []*bigtable.Mutation
	for i := range 100 {
		m := bigtable.NewMutation()
		m.Set("f", "c", 1000, []byte("v"))
		keys, mutations = append(keys, fmt.Sprint(i)), append(mutations, m)
	}
	if failed, err := c.Open("profiles").ApplyBulk(t.Context(), keys, mutations); err != nil || failed != nil {
		t.Fatal(failed, err)
	}
	if n := s.Stats().Rows[ProfileRows]; n != 100 {
		t.Errorf("%d rows", n)
	}
}

func TestRefusals(t *testing.T) {
	s := start(t, Options{Count: 1})
	c := subscriber(t, s)
	other := "projects/p/subscriptions/other"
	for name, test := range map[string]struct {
		want codes.Code
		call func(context.Context) error
	}{
		"other subscription": {codes.NotFound, func(ctx context.Context) error {
			_, err := c.Pull(ctx, &pubsubpb.PullRequest{Subscription: other, MaxMessages: 1})
			return err
		}},
		"no messages": {codes.InvalidArgument, func(ctx context.Context) error {
			_, err := c.Pull(ctx, &pubsubpb.PullRequest{Subscription: Subscription})
			return err
		}},
		"other ack id": {codes.InvalidArgument, func(ctx context.Context) error {
			return c.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: Subscription, AckIds: []string{"x"}})
		}},
		"method": {codes.Unimplemented, func(ctx context.Context) error {
			return c.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: Subscription})
		}},
	} {
		if err := test.call(t.Context()); status.Code(err) != test.want {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, err := Start(Options{}); err == nil {
		t.Error("options without a rate or a number are accepted")
	}
}
