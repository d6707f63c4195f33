package sink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"cloud.google.com/go/bigtable/bttest"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/vet"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// testBigtable is bttest with the profile table, and a fault between it and the
// client.
type testBigtable struct {
	endpoint string
	table    *bigtable.Table

	// whole fails the n-th request (from 0) as such, and entry one entry of it
	// without applying it; nil fails nothing.
	whole func(n int, req *bigtablepb.MutateRowsRequest) error
	entry func(n int, key string) error

	mu       sync.Mutex
	requests [][]string // keys of each request
	cells    []int      // mutations of each request
}

func startBigtable(t testing.TB) *testBigtable {
	t.Helper()
	b := &testBigtable{}
	server, err := bttest.NewServer("127.0.0.1:0", grpc.StreamInterceptor(b.intercept), grpc.MaxRecvMsgSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	b.endpoint = server.Addr
	conn, err := grpc.NewClient("passthrough:///"+server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	admin, err := bigtable.NewAdminClient(t.Context(), "p", "i", option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	profiles := schemas.Profiles()
	if err := admin.CreateTable(t.Context(), profiles.Table); err != nil {
		t.Fatal(err)
	}
	for family := range profiles.Families {
		if err := admin.CreateColumnFamily(t.Context(), profiles.Table, family); err != nil {
			t.Fatal(err)
		}
	}
	client, err := bigtable.NewClient(t.Context(), "p", "i", option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	b.table = client.Open(profiles.Table)
	return b
}

func (b *testBigtable) config() BigtableConfig {
	return BigtableConfig{Project: "p", Instance: "i", Endpoint: b.endpoint}
}

func (b *testBigtable) intercept(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !strings.HasSuffix(info.FullMethod, "/MutateRows") {
		return handler(srv, stream)
	}
	if err := handler(srv, &faultyStream{ServerStream: stream, b: b}); err != errAnswered {
		return err
	}
	return nil
}

// errAnswered keeps a request without any entry left from bttest.
var errAnswered = errors.New("answered")

// faultyStream takes the entries that shall fail out of the request and puts
// their errors into the response.
type faultyStream struct {
	grpc.ServerStream
	b      *testBigtable
	failed map[int64]error
	passed []int64 // index in the client's request of each entry passed on
}

func (s *faultyStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	req := m.(*bigtablepb.MutateRowsRequest)
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	n := len(s.b.requests)
	var keys []string
	cells := 0
	for _, e := range req.GetEntries() {
		keys = append(keys, string(e.GetRowKey()))
		cells += len(e.GetMutations())
	}
	s.b.requests, s.b.cells = append(s.b.requests, keys), append(s.b.cells, cells)
	if s.b.whole != nil {
		if err := s.b.whole(n, req); err != nil {
			return err
		}
	}
	s.failed = map[int64]error{}
	var entries []*bigtablepb.MutateRowsRequest_Entry
	for i, e := range req.GetEntries() {
		if s.b.entry != nil {
			if err := s.b.entry(n, string(e.GetRowKey())); err != nil {
				s.failed[int64(i)] = err
				continue
			}
		}
		entries = append(entries, e)
		s.passed = append(s.passed, int64(i))
	}
	req.Entries = entries
	if len(entries) == 0 {
		if err := s.SendMsg(&bigtablepb.MutateRowsResponse{}); err != nil {
			return err
		}
		return errAnswered
	}
	return nil
}

func (s *faultyStream) SendMsg(m any) error {
	res := m.(*bigtablepb.MutateRowsResponse)
	for _, e := range res.GetEntries() {
		e.Index = s.passed[e.GetIndex()]
	}
	for i, err := range s.failed {
		res.Entries = append(res.Entries, &bigtablepb.MutateRowsResponse_Entry{Index: i, Status: &statuspb.Status{
			Code: int32(status.Code(err)), Message: status.Convert(err).Message(),
		}})
	}
	return s.ServerStream.SendMsg(res)
}

// profileRow is the row of an update, with the user as source.
func profileRow(t testing.TB, u *pixelbeamv1.ProfileUpdate) schemas.Row {
	t.Helper()
	data, err := proto.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	return schemas.Row{Data: data, Source: u.GetUserId()}
}

const minute = int64(1_700_000_040_000_000) // 2023-11-14T22:14:00Z

func simpleUpdate(user string) *pixelbeamv1.ProfileUpdate {
	return &pixelbeamv1.ProfileUpdate{
		UserId:      proto.String(user),
		WindowStart: proto.Int64(minute),
		FirstSeen:   proto.Int64(minute + 1_234_567),
		Counters:    []byte("counters"),
		Latest:      []byte("latest"),
	}
}

// writeProfiles passes updates through the DoFn as one bundle.
func writeProfiles(ctx context.Context, t testing.TB, cfg BigtableConfig, rows []schemas.Row) ([]*pixelbeamv1.RejectedEntry, error) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	fn := &profilesFn{Config: cfg.withDefaults()}
	if err := fn.Setup(); err != nil {
		t.Fatal(err)
	}
	defer fn.Teardown()
	var refused []*pixelbeamv1.RejectedEntry
	emit := func(row schemas.Row) { refused = append(refused, rejectedEntry(t, row)) }
	fn.StartBundle(ctx, emit)
	for _, row := range rows {
		if err := fn.ProcessElement(ctx, row, emit); err != nil {
			return refused, err
		}
	}
	return refused, fn.FinishBundle(ctx, emit)
}

// read returns the newest cell of each column of a user.
func (b *testBigtable) read(t testing.TB, user string) map[string]string {
	t.Helper()
	row, err := b.table.ReadRow(t.Context(), schemas.ProfileKey(user), bigtable.RowFilter(bigtable.LatestNFilter(1)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for family, items := range row {
		for _, item := range items {
			value := string(item.Value)
			if family == schemas.FamilyFirst {
				value = fmt.Sprint(int64(binary.BigEndian.Uint64(item.Value)))
			}
			got[item.Column] = fmt.Sprintf("%s @%d", value, item.Timestamp)
		}
	}
	return got
}

// Whatever the order in which windows are written, and however often, the row is
// the same: counters by window, the latest event, the first event of each month.
func TestProfilesConverge(t *testing.T) {
	update := func(window, first int64, text string) *pixelbeamv1.ProfileUpdate {
		return &pixelbeamv1.ProfileUpdate{UserId: proto.String("u"), WindowStart: &window, FirstSeen: &first,
			Counters: []byte("counters " + text), Latest: []byte("latest " + text)}
	}
	const next = minute + 60_000_000
	const december = minute + 30*24*3600*1_000_000 // 2023-12-14T22:14:00Z
	early, late, later := update(minute, minute+1_234_567, "early"), update(next, next+1, "late"), update(december, december+5_000_000, "later")
	version := func(event int64) int64 {
		_, v := schemas.FirstCell(event)
		return v
	}
	want := map[string]string{
		"c:window":  fmt.Sprintf("counters later @%d", december),
		"l:event":   fmt.Sprintf("latest later @%d", december),
		"f:2023-11": fmt.Sprintf("%d @%d", minute+1_234_567, version(minute+1_234_567)),
		"f:2023-12": fmt.Sprintf("%d @%d", december+5_000_000, version(december+5_000_000)),
	}
	for name, order := range map[string][]*pixelbeamv1.ProfileUpdate{
		"in order": {early, late, later}, "backwards": {later, late, early}, "repeated": {late, later, early, late, early, early, later},
	} {
		t.Run(name, func(t *testing.T) {
			b := startBigtable(t)
			for _, u := range order {
				if refused, err := writeProfiles(t.Context(), t, b.config(), []schemas.Row{profileRow(t, u)}); err != nil || len(refused) > 0 {
					t.Fatal(refused, err)
				}
			}
			if diff := cmp.Diff(want, b.read(t, "u")); diff != "" {
				t.Error(diff)
			}
			row, err := b.table.ReadRow(t.Context(), schemas.ProfileKey("u"), bigtable.RowFilter(bigtable.FamilyFilter(schemas.FamilyCounters)))
			if err != nil {
				t.Fatal(err)
			}
			if n := len(row[schemas.FamilyCounters]); n != 3 {
				t.Errorf("%d windows of counters, want 3", n)
			}
		})
	}
}

func TestProfilesFaults(t *testing.T) {
	unavailable := status.Error(codes.Unavailable, "try later")
	tests := []struct {
		name  string
		whole func(int, *bigtablepb.MutateRowsRequest) error
		entry func(int, string) error
	}{
		{name: "request unavailable", whole: func(n int, _ *bigtablepb.MutateRowsRequest) error {
			if n < 2 {
				return unavailable
			}
			return nil
		}},
		{name: "request over quota", whole: func(n int, _ *bigtablepb.MutateRowsRequest) error {
			if n < 2 {
				return status.Error(codes.ResourceExhausted, "slow down")
			}
			return nil
		}},
		{name: "entries unavailable", entry: func(n int, key string) error {
			if n < 2 && strings.HasSuffix(key, "7") {
				return unavailable
			}
			return nil
		}},
		{name: "entries over quota", entry: func(n int, key string) error {
			if n < 2 && strings.HasSuffix(key, "7") {
				return status.Error(codes.ResourceExhausted, "slow down")
			}
			return nil
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startBigtable(t)
			b.whole, b.entry = test.whole, test.entry
			var rows []schemas.Row
			for i := range 50 {
				rows = append(rows, profileRow(t, simpleUpdate(fmt.Sprint("user-", i))))
			}
			refused, err := writeProfiles(t.Context(), t, b.config(), rows)
			if err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
			for _, row := range rows {
				if len(b.read(t, row.Source)) != 3 {
					t.Errorf("%s is not stored", row.Source)
				}
			}
			if len(b.requests) != 3 {
				t.Fatalf("%d requests, want 3: the fault did not happen", len(b.requests))
			}
			if test.entry != nil {
				for _, key := range b.requests[2] {
					if !strings.HasSuffix(key, "7") {
						t.Errorf("%s was sent again though it had not failed", key)
					}
				}
			}
		})
	}
}

// A row that the service cannot take is found, alone, however it is reported.
func TestProfilesRefused(t *testing.T) {
	bad := func(key string) bool { return strings.HasSuffix(key, "bad") }
	invalid := status.Error(codes.InvalidArgument, "this row is bad")
	tests := []struct {
		name  string
		whole func(int, *bigtablepb.MutateRowsRequest) error
		entry func(int, string) error
	}{
		{name: "by entry", entry: func(_ int, key string) error {
			if bad(key) {
				return invalid
			}
			return nil
		}},
		{name: "by request", whole: func(_ int, req *bigtablepb.MutateRowsRequest) error {
			for _, e := range req.GetEntries() {
				if bad(string(e.GetRowKey())) {
					return invalid
				}
			}
			return nil
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := startBigtable(t)
			b.whole, b.entry = test.whole, test.entry
			var rows []schemas.Row
			want := map[string]bool{}
			for i := range 20 {
				user := fmt.Sprint("user-", i)
				if i%8 == 3 {
					user += "-bad"
				}
				row := profileRow(t, simpleUpdate(user))
				rows = append(rows, row)
				if bad(user) {
					want[string(row.Data)] = true
				}
			}
			refused, err := writeProfiles(t.Context(), t, b.config(), rows)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range refused {
				if !want[string(e.GetPayload())] {
					t.Errorf("refused %v, which is fine or reported twice", e)
				}
				delete(want, string(e.GetPayload()))
				if e.GetReason() != ReasonRowRefused || e.GetStage() != StageBigtable || !strings.Contains(e.GetDetail(), "this row is bad") || e.GetReceiveTime() == 0 {
					t.Errorf("refused entry %v", e)
				}
			}
			if len(want) > 0 {
				t.Errorf("%d bad rows lost", len(want))
			}
			for _, row := range rows {
				if !bad(row.Source) && len(b.read(t, row.Source)) != 3 {
					t.Errorf("%s is not stored", row.Source)
				}
			}
		})
	}
}

// What Bigtable would refuse for its limits never gets there.
func TestProfilesLimits(t *testing.T) {
	big := simpleUpdate("big")
	big.Latest = make([]byte, maxValue+1)
	ancient := simpleUpdate("ancient")
	ancient.WindowStart = proto.Int64(-1) // the server's clock, were it a version
	unborn := simpleUpdate("unborn")
	unborn.FirstSeen = proto.Int64(-60_000_000)
	timeless := simpleUpdate("timeless")
	timeless.WindowStart = nil
	tests := []struct {
		name, want string
		row        schemas.Row
	}{
		{"no user", "names no user", profileRow(t, simpleUpdate(""))},
		{"long key", "row key of 4101 bytes", profileRow(t, simpleUpdate(strings.Repeat("u", 4096)))},
		{"big value", "value of", profileRow(t, big)},
		{"before 1970", "window_start is -1", profileRow(t, ancient)},
		{"first before 1970", "first_seen is -60000000", profileRow(t, unborn)},
		{"no window", "window_start is not set", profileRow(t, timeless)},
		{"nothing said", "says nothing", profileRow(t, &pixelbeamv1.ProfileUpdate{UserId: proto.String("u"), WindowStart: proto.Int64(minute)})},
		{"no message", "no ProfileUpdate", schemas.Row{Data: []byte("\xff"), Origin: []byte("entry")}},
	}
	b := startBigtable(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			good := profileRow(t, simpleUpdate("good "+test.name))
			refused, err := writeProfiles(t.Context(), t, b.config(), []schemas.Row{test.row, good})
			if err != nil {
				t.Fatal(err)
			}
			if len(refused) != 1 || !strings.Contains(refused[0].GetDetail(), test.want) {
				t.Errorf("refused %v; want one with %q", refused, test.want)
			}
			if len(b.read(t, good.Source)) != 3 {
				t.Error("the good row is not stored")
			}
		})
	}
}

func TestProfilesBatches(t *testing.T) {
	b := startBigtable(t)
	cfg := b.config()
	cfg.MaxMutations = 23 // 7 updates of 3 cells
	var rows []schemas.Row
	for i := range 50 {
		rows = append(rows, profileRow(t, simpleUpdate(fmt.Sprint("user-", i))))
	}
	if refused, err := writeProfiles(t.Context(), t, cfg, rows); err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
	if diff := cmp.Diff([]int{21, 21, 21, 21, 21, 21, 21, 3}, b.cells); diff != "" {
		t.Error(diff)
	}
}

func TestProfilesGivesUp(t *testing.T) {
	b := startBigtable(t)
	b.entry = func(int, string) error { return status.Error(codes.ResourceExhausted, "gone for good") }
	cfg := b.config()
	cfg.RetryTimeout = 300 * time.Millisecond
	_, err := writeProfiles(t.Context(), t, cfg, []schemas.Row{profileRow(t, simpleUpdate("u"))})
	if err == nil || !strings.Contains(err.Error(), "table profiles") || !strings.Contains(err.Error(), "gone for good") {
		t.Errorf("error %v; want one with table and cause", err)
	}
	if len(b.requests) < 2 {
		t.Errorf("%d tries: gave up without a retry", len(b.requests))
	}
}

func TestProfilesExplainsMissingTable(t *testing.T) {
	b := startBigtable(t)
	cfg := b.config()
	cfg.Table = "elsewhere"
	_, err := writeProfiles(t.Context(), t, cfg, []schemas.Row{profileRow(t, simpleUpdate("u"))})
	if err == nil || !strings.Contains(err.Error(), "elsewhere") || !strings.Contains(err.Error(), "terraform apply") {
		t.Errorf("error %v; want the table and a remedy", err)
	}
}

// The emulator variable of the client library leads to the emulator.
func TestProfilesEmulatorHost(t *testing.T) {
	b := startBigtable(t)
	t.Setenv("BIGTABLE_EMULATOR_HOST", b.endpoint)
	cfg := BigtableConfig{Project: "p", Instance: "i"}
	if refused, err := writeProfiles(t.Context(), t, cfg, []schemas.Row{profileRow(t, simpleUpdate("u"))}); err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
	if len(b.read(t, "u")) != 3 {
		t.Error("not stored")
	}
}

func init() {
	register.DoFn2x0[[]byte, func(schemas.Row)](&makeProfilesFn{})
}

// makeProfilesFn makes Count updates and one that Bigtable refuses.
type makeProfilesFn struct{ Count int }

func (f *makeProfilesFn) ProcessElement(_ []byte, emit func(schemas.Row)) {
	for i := range f.Count {
		u := simpleUpdate(fmt.Sprint("user-", i))
		if i == f.Count/2 {
			u.UserId = nil
		}
		data, err := proto.Marshal(u)
		if err != nil {
			panic(err)
		}
		emit(schemas.Row{Data: data})
	}
}

func TestProfilesPipeline(t *testing.T) {
	for _, runner := range runners {
		t.Run(runner, func(t *testing.T) {
			b, f := startBigtable(t), startFakeWrite(t)
			p, s := beam.NewPipelineWithRoot()
			updates := beam.ParDo(s, &makeProfilesFn{Count: 100}, beam.Impulse(s))
			Terminate(s, Rejected(s, Profiles(s, updates, b.config()), testConfig(f)))
			if e, err := vet.Evaluate(t.Context(), p); err != nil || !e.Performant() {
				t.Errorf("not all registered: %v", err)
			}
			result := run(t, runner, p)
			if got := counter(result, "sink", "bigtable_rows_written"); got != 99 {
				t.Errorf("rows written = %d, want 99", got)
			}
			if got := counter(result, "sink", "bigtable_cells_written"); got != 3*99 {
				t.Errorf("cells written = %d, want %d", got, 3*99)
			}
			if got := counter(result, "sink", "bigtable_rows_refused"); got != 1 {
				t.Errorf("rows refused = %d, want 1", got)
			}
			if got := len(f.copies()); got != 1 {
				t.Errorf("%d rejected entries stored, want 1", got)
			}
		})
	}
}
