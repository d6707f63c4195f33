package sink

import (
	"context"
	"fmt"
	"time"

	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"cloud.google.com/go/bigquery/storage/managedwriter/adapt"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"pixelbeam/schemas"
)

const (
	// openTimeout bounds one attempt to open a stream or to hand it a request,
	// which waits while the service takes no more. Past it we open anew.
	openTimeout = 15 * time.Second
	// writeBuffer is how many bytes go to the network at once.
	writeBuffer = 128 << 10
)

// tableKey identifies a destination.
type tableKey struct {
	Endpoint, RESTEndpoint  string
	Project, Dataset, Table string
	// Group is the group of advertisers whose rows of Table go to a table of their
	// own; empty for Table itself.
	Group string
}

// table is the table's id in its dataset.
func (k tableKey) table() string {
	if k.Group == "" {
		return k.Table
	}
	return schemas.GroupTable(k.Group)
}

// path is the table's name in the Storage Write API.
func (k tableKey) path() string {
	return fmt.Sprintf("projects/%s/datasets/%s/tables/%s", k.Project, k.Dataset, k.table())
}

func (k tableKey) String() string { return k.Project + "." + k.Dataset + "." + k.table() }

// sharedTable is a process's one connection to the default stream of a table,
// shared by all bundles: the service wants few streams with much on each.
type sharedTable struct {
	key        tableKey
	descriptor *descriptorpb.DescriptorProto

	gate    chan struct{} // holds one token while current is looked at or made
	current *connection
}

var sharedTables pool[tableKey, *sharedTable]

func acquireTable(key tableKey) (*sharedTable, error) {
	return sharedTables.acquire(key, func() (*sharedTable, error) {
		descriptor, err := tableDescriptor(key.Table)
		return &sharedTable{key: key, descriptor: descriptor, gate: make(chan struct{}, 1)}, err
	})
}

// release gives up a table that acquireTable returned; a nil one is none.
func (t *sharedTable) release() {
	if t == nil {
		return
	}
	sharedTables.release(t.key, func(t *sharedTable) { t.discard(t.current) })
}

// tableDescriptor returns the writer schema of a table's rows.
func tableDescriptor(table string) (*descriptorpb.DescriptorProto, error) {
	t, ok := schemas.LookupTable(table)
	if !ok {
		return nil, fmt.Errorf("no table %q in the schemas", table)
	}
	message, err := tableMessage(t)
	if err != nil {
		return nil, err
	}
	descriptor, err := adapt.NormalizeDescriptor(message)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", table, err)
	}
	return descriptor, nil
}

// tableMessage returns the descriptor of the message of a table's rows.
func tableMessage(t schemas.Table) (protoreflect.MessageDescriptor, error) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(t.Message))
	if err != nil {
		return nil, fmt.Errorf("table %s: message %s: %w", t.Name, t.Message, err)
	}
	message, ok := found.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, fmt.Errorf("table %s: %s is not a message", t.Name, t.Message)
	}
	return message, nil
}

// clientError is a client that could not be made, so that nothing was asked of
// the service: most often there are no credentials.
type clientError struct{ cause error }

func (e *clientError) Error() string { return "no client: " + e.cause.Error() }
func (e *clientError) Unwrap() error { return e.cause }

// connect returns the open connection, opening one if there is none.
func (t *sharedTable) connect(ctx context.Context) (*connection, error) {
	select {
	case t.gate <- struct{}{}:
		defer func() { <-t.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if t.current == nil {
		c, err := t.open(ctx)
		if err != nil {
			return nil, err
		}
		t.current = c
	}
	return t.current, nil
}

// discard closes a broken connection, unless another bundle has done so. What is
// in flight on it fails.
func (t *sharedTable) discard(c *connection) {
	if c == nil {
		return
	}
	t.gate <- struct{}{}
	mine := t.current == c
	if mine {
		t.current = nil
	}
	<-t.gate
	if mine {
		c.close()
	}
}

func (t *sharedTable) open(ctx context.Context) (*connection, error) {
	options, err := writeOptions(t.key.Endpoint)
	if err != nil {
		return nil, &clientError{err}
	}
	if t.key.Group != "" {
		if err := ensureTable(ctx, t.key); err != nil {
			return nil, err
		}
	}
	// The connection outlives the bundle that opens it; only opening is bound to
	// the bundle's context.
	life, cancel := context.WithCancel(context.Background())
	opened := context.AfterFunc(ctx, cancel)
	client, err := storage.NewBigQueryWriteClient(life, options...)
	if err != nil {
		cancel()
		return nil, &clientError{err}
	}
	c, err := openConnection(life, client, t.stream(), t.descriptor)
	if err == nil && !opened() {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		_ = client.Close()
		return nil, err
	}
	c.cancel = cancel
	return c, nil
}

// stream is the name of the table's default stream.
func (t *sharedTable) stream() string { return t.key.path() + "/streams/_default" }

func writeOptions(address string) ([]option.ClientOption, error) {
	e, err := parseEndpoint(address)
	if err != nil {
		return nil, err
	}
	options := []option.ClientOption{
		option.WithGRPCConnectionPool(1),
		option.WithGRPCDialOption(grpc.WithWriteBufferSize(writeBuffer)),
	}
	if e.Address != "" {
		options = append(options, option.WithEndpoint(e.Address))
	}
	if e.Plain {
		options = append(options,
			option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	}
	return options, nil
}
