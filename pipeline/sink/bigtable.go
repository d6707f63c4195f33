package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/dofn"
)

func init() {
	dofn.Register[profilesFn](callRow)
}

// BigtableConfig says where and how profiles are written to Bigtable.
type BigtableConfig struct {
	// Project and Instance name the instance; required.
	Project, Instance string
	// Table is the table, default the one of schemas.Profiles.
	Table string
	// AppProfile is the app profile of the requests; default the instance's.
	AppProfile string
	// Endpoint is the data API's gRPC endpoint, as in BigQueryConfig. Where it is
	// empty, BIGTABLE_EMULATOR_HOST holds.
	Endpoint string
	// MaxMutations is how many cells go into one request, 1 to 100,000; default
	// 2,000, so that no request keeps a server of Bigtable from reads for long. An
	// update is never split: one that has more goes alone.
	MaxMutations int
	// MaxBatchBytes is how many bytes of cells go into one request; default 4 MiB.
	MaxBatchBytes int
	// TryTimeout bounds one try of a request, with the retries of the library;
	// default 1 minute.
	TryTimeout time.Duration
	// RetryTimeout is how long a request is retried from its first try before the
	// bundle fails; default 5 minutes.
	RetryTimeout time.Duration
}

func (c BigtableConfig) withDefaults() BigtableConfig {
	if c.Table == "" {
		c.Table = schemas.Profiles().Table
	}
	if c.MaxMutations == 0 {
		c.MaxMutations = 2000
	}
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = 4 << 20
	}
	if c.TryTimeout == 0 {
		c.TryTimeout = time.Minute
	}
	if c.RetryTimeout == 0 {
		c.RetryTimeout = 5 * time.Minute
	}
	return c
}

// Validate returns all that is wrong with the configuration, joined.
func (c BigtableConfig) Validate() error {
	var errs []error
	if c.Project == "" {
		errs = append(errs, errors.New("bigtable sink: Project is required"))
	}
	if c.Instance == "" {
		errs = append(errs, errors.New("bigtable sink: Instance is required"))
	}
	if _, err := parseEndpoint(c.Endpoint); err != nil {
		errs = append(errs, fmt.Errorf("bigtable sink: %w", err))
	}
	if c.MaxMutations < 0 || c.MaxMutations > maxMutations {
		errs = append(errs, fmt.Errorf("bigtable sink: MaxMutations %d: want 1 to %d, or 0 for the default", c.MaxMutations, maxMutations))
	}
	if c.MaxBatchBytes < 0 || c.TryTimeout < 0 || c.RetryTimeout < 0 {
		errs = append(errs, errors.New("bigtable sink: MaxBatchBytes, TryTimeout and RetryTimeout may not be negative"))
	}
	return errors.Join(errs...)
}

// Profiles writes a PCollection<schemas.Row> of ProfileUpdate messages to the
// profile table, one row mutation each, as schemas/bigtable/profiles.json
// describes it. All cells are absolute and versioned by the data: redelivery,
// retry and restatement leave the same row. It returns the updates that Bigtable
// cannot take, as PCollection<schemas.Row> of RejectedEntry messages: reason
// row_refused, stage bigtable, and as payload the row's Origin, or its Data where
// it has none.
//
// Profiles panics if cfg does not pass Validate.
//
// Source: https://cloud.google.com/bigtable/docs/writes.
func Profiles(s beam.Scope, updates beam.PCollection, cfg BigtableConfig) (refused beam.PCollection) {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	s = s.Scope("Profiles")
	return beam.ParDo(s, &profilesFn{Config: cfg.withDefaults()}, updates)
}

// profilesFn collects the updates of a bundle into bulk requests and sees each
// through before the bundle ends.
type profilesFn struct {
	Config BigtableConfig

	client *bigtable.Client // made in Setup, shared by the process
	table  *bigtable.Table

	// The request being collected.
	batch []mutation
	cells int
	bytes int
}

// mutation is one update on its way.
type mutation struct {
	row   schemas.Row
	key   string
	ops   *bigtable.Mutation
	cells int
}

func (f *profilesFn) Setup() error {
	client, err := sharedBigtables.acquire(f.clientKey(), func() (*bigtable.Client, error) {
		return newBigtable(f.Config)
	})
	if err != nil {
		return fmt.Errorf("bigtable client: %w", err)
	}
	f.client, f.table = client, client.Open(f.Config.Table)
	return nil
}

func (f *profilesFn) Teardown() {
	if f.client != nil {
		sharedBigtables.release(f.clientKey(), func(c *bigtable.Client) { _ = c.Close() })
		f.client, f.table = nil, nil
	}
}

// StartBundle drops what a failed bundle may have left.
func (f *profilesFn) StartBundle(context.Context, func(schemas.Row)) {
	f.reset()
}

func (f *profilesFn) reset() { f.batch, f.cells, f.bytes = nil, 0, 0 }

func (f *profilesFn) ProcessElement(ctx context.Context, row schemas.Row, emit func(schemas.Row)) error {
	var update pixelbeamv1.ProfileUpdate
	if err := proto.Unmarshal(row.Data, &update); err != nil {
		f.refuse(ctx, row, fmt.Errorf("the row is no ProfileUpdate: %w", err), emit)
		return nil
	}
	key, cells, err := profileCells(&update)
	if err != nil {
		f.refuse(ctx, row, err, emit)
		return nil
	}
	ops, bytes := bigtable.NewMutation(), len(key)
	for _, c := range cells {
		ops.Set(c.family, c.column, c.version, c.value)
		bytes += len(c.family) + len(c.column) + len(c.value) + cellOverhead
	}
	if len(f.batch) > 0 && (f.cells+len(cells) > f.Config.MaxMutations || f.bytes+bytes > f.Config.MaxBatchBytes) {
		if err := f.flush(ctx, emit); err != nil {
			return err
		}
	}
	f.batch = append(f.batch, mutation{row: row, key: key, ops: ops, cells: len(cells)})
	f.cells += len(cells)
	f.bytes += bytes
	return nil
}

// cellOverhead is about what the framing and version of a cell add to its bytes.
const cellOverhead = 24

func (f *profilesFn) FinishBundle(ctx context.Context, emit func(schemas.Row)) error {
	return f.flush(ctx, emit)
}

func (f *profilesFn) flush(ctx context.Context, emit func(schemas.Row)) error {
	batch := f.batch
	f.reset()
	if len(batch) == 0 {
		return nil
	}
	return f.apply(ctx, batch, emit)
}

// apply sees mutations through: it returns nil once each is stored or emitted as
// refused.
func (f *profilesFn) apply(ctx context.Context, left []mutation, emit func(schemas.Row)) error {
	start := time.Now()
	for try := 1; ; try++ {
		errs, err := f.try(ctx, left)
		if ctx.Err() != nil {
			return fmt.Errorf("bigtable table %s: %d profiles unacknowledged: %w", f.Config.Table, len(left), ctx.Err())
		}
		if err != nil && status.Code(err) == codes.InvalidArgument && len(left) > 1 {
			// The service checks a request before it applies any of it, and says
			// of one bad row only that the request is bad: halve to find it.
			half := len(left) / 2
			if err := f.apply(ctx, left[:half], emit); err != nil {
				return err
			}
			return f.apply(ctx, left[half:], emit)
		}
		var cause error
		if left, cause, err = f.sort(ctx, left, errs, err, emit); err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if since := time.Since(start); since >= f.Config.RetryTimeout {
			return fmt.Errorf("bigtable table %s: gave up after %d tries in %v: %w", f.Config.Table, try, since.Round(time.Millisecond), cause)
		}
		log.Warnf(ctx, "bigtable table %s: try %d failed for %d profiles, trying them again: %v", f.Config.Table, try, len(left), cause)
		profileRetries.Inc(ctx, 1)
		if err := pause(ctx, try); err != nil {
			return fmt.Errorf("bigtable table %s: %d profiles unacknowledged: %w", f.Config.Table, len(left), err)
		}
	}
}

// try sends mutations once; results are those of ApplyBulk.
func (f *profilesFn) try(ctx context.Context, batch []mutation) ([]error, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Config.TryTimeout)
	defer cancel()
	keys, ops := make([]string, len(batch)), make([]*bigtable.Mutation, len(batch))
	for i, m := range batch {
		keys[i], ops[i] = m.key, m.ops
	}
	profileRequests.Inc(ctx, 1)
	profileBatchRows.Update(ctx, int64(len(batch)))
	return f.table.ApplyBulk(ctx, keys, ops)
}

// sort goes through the results of a try. It counts what is stored, emits what
// is refused, and returns what to try again, with one of the reasons; or the
// error that no further try would cure.
func (f *profilesFn) sort(ctx context.Context, batch []mutation, errs []error, failed error, emit func(schemas.Row)) (again []mutation, cause, fatal error) {
	for i, m := range batch {
		err := failed
		if err == nil && errs != nil {
			err = errs[i]
		}
		switch {
		case err == nil:
			profilesWritten.Inc(ctx, 1)
			profileCellsWritten.Inc(ctx, int64(m.cells))
		case outside(err):
			again, cause = append(again, m), err
		case badRow(err):
			f.refuse(ctx, m.row, err, emit)
		default:
			return nil, nil, f.explain(err)
		}
	}
	return again, cause, nil
}

// badRow tells whether an error is about the content of a row.
func badRow(err error) bool {
	code := status.Code(err)
	return code == codes.InvalidArgument || code == codes.OutOfRange
}

func (f *profilesFn) refuse(ctx context.Context, row schemas.Row, why error, emit func(schemas.Row)) {
	profilesRefused.Inc(ctx, 1)
	emit(refusal(row, ReasonRowRefused, StageBigtable, fmt.Sprintf("table %s: %v", f.Config.Table, why)))
}

// explain makes an error of the set-up say what to do.
func (f *profilesFn) explain(err error) error {
	remedy := "the service does not accept the request as such"
	switch status.Code(err) {
	case codes.NotFound, codes.FailedPrecondition:
		remedy = "create the instance, the table and its column families (terraform apply), or correct their names"
	case codes.PermissionDenied, codes.Unauthenticated:
		remedy = "the job's account needs roles/bigtable.user on the table"
	}
	return fmt.Errorf("bigtable table projects/%s/instances/%s/tables/%s: %w; %s", f.Config.Project, f.Config.Instance, f.Config.Table, err, remedy)
}

// bigtableKey identifies a client.
type bigtableKey struct{ Endpoint, Project, Instance, AppProfile string }

var sharedBigtables pool[bigtableKey, *bigtable.Client]

func (f *profilesFn) clientKey() bigtableKey {
	c := f.Config
	return bigtableKey{c.Endpoint, c.Project, c.Instance, c.AppProfile}
}

func newBigtable(c BigtableConfig) (*bigtable.Client, error) {
	e, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	var options []option.ClientOption
	switch {
	case e.Plain:
		conn, err := grpc.NewClient("passthrough:///"+e.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		options = append(options, option.WithGRPCConn(conn))
	case e.Address != "":
		options = append(options, option.WithEndpoint(e.Address))
	}
	return bigtable.NewClientWithConfig(context.Background(), c.Project, c.Instance, bigtable.ClientConfig{
		AppProfile: c.AppProfile,
		// Beam's metrics count what we do; bulk writes do not use sessions.
		MetricsProvider: bigtable.NoopMetricsProvider{},
		DisableSession:  true,
	}, options...)
}
