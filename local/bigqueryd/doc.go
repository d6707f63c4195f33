// Package bigqueryd is a stand-in for BigQuery on one machine: the Storage Write
// and Read APIs over gRPC and a subset of the REST API, over a DuckDB file, so that
// the unchanged Google clients write, query and read it.
//
//	s, err := bigqueryd.Start(bigqueryd.Options{Path: "pixelbeam.duckdb"})
//	bigquery.NewClient(ctx, s.Project(), option.WithEndpoint(s.RESTEndpoint()), option.WithoutAuthentication())
//	managedwriter.NewClient(ctx, s.Project(), option.WithEndpoint(s.GRPCEndpoint()), option.WithoutAuthentication(),
//		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
//
// # Guarantees
//
// An append is acknowledged after its rows are committed to DuckDB and synced to
// its write-ahead log: a process that is killed loses no acknowledged row, and
// the offset of a stream is committed with its rows. Appends that arrive within
// Options.CommitInterval share a commit. A request is stored whole or, where a
// row does not fit, not at all.
//
// Rows are stored at least once on the default stream, as in the service, and
// exactly once on streams with offsets. Rows of BUFFERED and PENDING streams
// survive a restart, unflushed.
//
// A read session is a snapshot of what was acknowledged when it was made. Its rows
// are written to a file as Arrow batches then, so that CreateReadSession takes as
// long as to read them all, and streams serve any offset as often as they are asked,
// until the session expires. All open sessions hold 8 GiB at most beside the latest;
// older ones expire sooner.
//
// # The file
//
// A dataset is a DuckDB schema; tables and columns have their names. STRING is
// VARCHAR, INT64 BIGINT, FLOAT64 DOUBLE, BOOL BOOLEAN, BYTES BLOB, TIMESTAMP
// TIMESTAMPTZ, DATETIME TIMESTAMP, DATE DATE, NUMERIC DECIMAL(38,9), JSON JSON,
// RECORD STRUCT, and a REPEATED column is a list and never NULL. Views are views
// in DuckDB's dialect; one with HLL_COUNT functions can be read through this server
// only, which adds them to DuckDB. What DuckDB has no place for lies in the schema
// _bigqueryd. After Close any DuckDB of version 1.5 or later can open the file;
// while the server runs, it holds it alone.
//
// # What it is not
//
//   - It does not check who asks: there is no authentication, and no quota.
//   - One project, and one location.
//   - Partitioning and clustering are kept and shown, not carried out.
//   - Query jobs only: no load, copy or extract jobs, no destination tables, no
//     insertAll, no scripts, no routines, no row policies.
//   - Read sessions are in Arrow, not Avro, of the current state of a table, and
//     streams are not split (SplitReadStream).
//   - GoogleSQL is what package googlesql translates: a part, with clear errors
//     for the rest.
//   - REQUIRED is enforced on appended rows, not on DML.
//   - A field of a row that its writer schema does not name is a row error; the
//     service drops it.
//   - Column types GEOGRAPHY, TIME, BIGNUMERIC, INTERVAL and RANGE are missing.
//   - Table names that differ only in case cannot live in one dataset.
//   - It is made for one machine. A row of 53 columns costs about 23 microseconds of
//     CPU, the client included, a commit 4 milliseconds whatever it holds, a
//     checkpoint 5-10 microseconds a row; while a checkpoint runs, every half
//     minute or 192 MB, appends wait for it.
package bigqueryd
