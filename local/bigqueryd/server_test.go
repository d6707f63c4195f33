package bigqueryd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"cloud.google.com/go/bigquery/storage/managedwriter"
	"cloud.google.com/go/bigquery/storage/managedwriter/adapt"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

const testDataset = "pixelbeam"

// start starts a server that the test closes, unless it did so itself.
func start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// startWithTables is start with all tables and views of the schemas.
func startWithTables(t testing.TB, opts Options) *Server {
	t.Helper()
	s := start(t, opts)
	ctx := t.Context()
	if err := s.CreateDataset(ctx, testDataset); err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.Tables() {
		if err := s.CreateTable(ctx, testDataset, table); err != nil {
			t.Fatal(err)
		}
	}
	for _, view := range schemas.Views() {
		if err := s.CreateView(ctx, testDataset, view); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func clientOptions(s *Server) []option.ClientOption {
	return []option.ClientOption{option.WithEndpoint(s.RESTEndpoint()), option.WithoutAuthentication()}
}

func restClient(t testing.TB, s *Server) *bigquery.Client {
	t.Helper()
	c, err := bigquery.NewClient(t.Context(), s.Project(), clientOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func writeClient(t testing.TB, s *Server, opts ...option.ClientOption) *managedwriter.Client {
	t.Helper()
	opts = append([]option.ClientOption{
		option.WithEndpoint(s.GRPCEndpoint()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}, opts...)
	// The client outlives the test's context, so that Close can end it in order.
	c, err := managedwriter.NewClient(context.Background(), s.Project(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func descriptorOf(t testing.TB, m proto.Message) *descriptorpb.DescriptorProto {
	t.Helper()
	d, err := adapt.NormalizeDescriptor(m.ProtoReflect().Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tableResource(s *Server, table string) string {
	return managedwriter.TableParentFromParts(s.Project(), testDataset, table)
}

// openWriter opens a managed stream for rows like m.
func openWriter(t testing.TB, s *Server, table string, m proto.Message, opts ...managedwriter.WriterOption) *managedwriter.ManagedStream {
	t.Helper()
	opts = append([]managedwriter.WriterOption{
		managedwriter.WithDestinationTable(tableResource(s, table)), managedwriter.WithSchemaDescriptor(descriptorOf(t, m)),
	}, opts...)
	ms, err := writeClient(t, s).NewManagedStream(context.Background(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ms.Close() })
	return ms
}

func marshal(t testing.TB, rows ...proto.Message) [][]byte {
	t.Helper()
	var out [][]byte
	for _, m := range rows {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// appendRows appends and waits for the acknowledgement.
func appendRows(t testing.TB, ms *managedwriter.ManagedStream, rows [][]byte, opts ...managedwriter.AppendOption) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	result, err := ms.AppendRows(ctx, rows, opts...)
	if err != nil {
		return err
	}
	_, err = result.GetResult(ctx)
	return err
}

// queryAll runs a query by the REST client.
func queryAll(t testing.TB, c *bigquery.Client, sql string, params ...bigquery.QueryParameter) []map[string]bigquery.Value {
	t.Helper()
	rows, err := tryQuery(t, c, sql, params...)
	if err != nil {
		t.Fatalf("query %s: %v", sql, err)
	}
	return rows
}

func tryQuery(t testing.TB, c *bigquery.Client, sql string, params ...bigquery.QueryParameter) ([]map[string]bigquery.Value, error) {
	t.Helper()
	q := c.Query(sql)
	q.Parameters = params
	it, err := q.Read(t.Context())
	if err != nil {
		return nil, err
	}
	return readAll(it)
}

func readAll(it *bigquery.RowIterator) ([]map[string]bigquery.Value, error) {
	var out []map[string]bigquery.Value
	for {
		row := map[string]bigquery.Value{}
		err := it.Next(&row)
		if errors.Is(err, iterator.Done) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
}

// count returns the number of rows of a table or view.
func count(t testing.TB, s *Server, name string) int {
	t.Helper()
	rows, err := s.Query(t.Context(), "SELECT COUNT(*) AS n FROM "+testDataset+"."+name)
	if err != nil {
		t.Fatal(err)
	}
	return int(rows[0]["n"].(int64))
}

// impression is a row with the REQUIRED columns; id makes it distinct.
func impression(id string) *pixelbeamv1.Impression {
	return &pixelbeamv1.Impression{
		InsertId: &id, EventTime: proto.Int64(1_700_000_000_123_456), EventType: proto.String("impression"), ImpressionId: &id,
	}
}

func impressions(t testing.TB, from, n int) [][]byte {
	t.Helper()
	var rows []proto.Message
	for i := range n {
		rows = append(rows, impression(fmt.Sprintf("row-%06d", from+i)))
	}
	return marshal(t, rows...)
}

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error = %v; want one with %q", err, part)
	}
}

func mustTable(t testing.TB, name string) schemas.Table {
	t.Helper()
	table, ok := schemas.LookupTable(name)
	if !ok {
		t.Fatalf("no table %s", name)
	}
	return table
}

func tableEntryOf(t testing.TB, s *Server, name string) *tableEntry {
	t.Helper()
	table, err := s.catalog.table(testDataset, name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}
