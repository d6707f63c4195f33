package bigtabled

import (
	"context"
	"fmt"
	"net"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"cloud.google.com/go/bigtable/bttest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// backend is the in-memory server, called directly.
type backend struct {
	data     bigtablepb.BigtableServer
	tables   adminpb.BigtableTableAdminServer
	instance adminpb.BigtableInstanceAdminServer
	server   *bttest.Server
}

// newBackend starts bttest on a listener in memory and learns the service behind
// it: bttest exports no such value, but gRPC hands it to interceptors.
func newBackend() (*backend, error) {
	var service any
	learn := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		service = info.Server
		return handler(ctx, req)
	}
	lis := bufconn.Listen(64 << 10)
	server, err := bttest.NewServerWithListener(lis, grpc.UnaryInterceptor(learn))
	if err != nil {
		return nil, err
	}
	// The connection is needed once; Close of bttest would wait for a listener
	// that it does not own.
	defer lis.Close()
	conn, err := grpc.NewClient("passthrough:bttest", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := adminpb.NewBigtableTableAdminClient(conn).ListTables(context.Background(), &adminpb.ListTablesRequest{}); err != nil {
		return nil, err
	}
	b := &backend{server: server}
	var ok [3]bool
	b.data, ok[0] = service.(bigtablepb.BigtableServer)
	b.tables, ok[1] = service.(adminpb.BigtableTableAdminServer)
	b.instance, ok[2] = service.(adminpb.BigtableInstanceAdminServer)
	if ok != [3]bool{true, true, true} {
		return nil, fmt.Errorf("bttest serves its APIs by %T, which is not all of them", service)
	}
	return b, nil
}

// stream stands in for a gRPC stream where the backend is called directly.
type stream[T any] struct {
	grpc.ServerStream
	ctx  context.Context
	send func(*T) error
}

func (s stream[T]) Context() context.Context { return s.ctx }

func (s stream[T]) Send(m *T) error { return s.send(m) }
