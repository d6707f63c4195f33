package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/local/bigtabled"
	"pixelbeam/local/gcsd"
	"pixelbeam/local/pubsubd"
	"pixelbeam/schemas"
)

// Names of the resources of the local cloud.
const (
	project          = "pixelbeam-local"
	instance         = "pixelbeam"
	topicName        = "projects/" + project + "/topics/pixel-logs"
	subscriptionName = "projects/" + project + "/subscriptions/pixelbeam"
	tablesFile       = "pixelbeam.duckdb"
)

// cloud is the services, with what the job needs in them.
type cloud struct {
	dir      string
	dataset  string
	grouped  bool // some impressions lie in tables of groups
	lock     *os.File
	pubsub   *pubsubd.Server
	bigQuery *bigqueryd.Server
	bigtable *bigtabled.Server
	storage  *gcsd.Server
}

// startCloud starts the services on a data folder, which no other process may
// use, and creates what the job needs.
func startCloud(ctx context.Context, c *config) (_ *cloud, err error) {
	if err := os.MkdirAll(c.data, 0o755); err != nil {
		return nil, err
	}
	cl := &cloud{dir: c.data, dataset: c.dataset, grouped: c.job.TableSuffixBy != ""}
	defer func() {
		if err != nil {
			err = errors.Join(err, cl.close())
		}
	}()
	if cl.lock, err = lockFolder(c.data); err != nil {
		return nil, err
	}
	cl.bigQuery, err = bigqueryd.Start(bigqueryd.Options{
		Path: filepath.Join(c.data, tablesFile), Project: project,
		MemoryLimit: "512MB",
		HTTPAddr:    free(c.ports.bigQuery), GRPCAddr: free(c.ports.bigQueryStorage),
	})
	if err != nil {
		return nil, fmt.Errorf("start BigQuery: %w", err)
	}
	if err := cl.createTables(ctx); err != nil {
		return nil, err
	}
	if cl.bigtable, err = bigtabled.Start(free(c.ports.bigtable), bigtabled.Options{Dir: filepath.Join(c.data, "bigtable")}); err != nil {
		return nil, fmt.Errorf("start Bigtable: %w", err)
	}
	if err := cl.bigtable.EnsureTable(ctx, project, instance, schemas.Profiles()); err != nil {
		return nil, err
	}
	if cl.storage, err = gcsd.Start(free(c.ports.storage), filepath.Join(c.data, "storage")); err != nil {
		return nil, fmt.Errorf("start Storage: %w", err)
	}
	if cl.pubsub, err = pubsubd.Start(free(c.ports.pubsub), pubsubd.Options{Dir: filepath.Join(c.data, "pubsub")}); err != nil {
		return nil, fmt.Errorf("start Pub/Sub: %w", err)
	}
	if err := cl.pubsub.CreateTopic(topicName); err != nil {
		return nil, err
	}
	return cl, cl.pubsub.CreateSubscription(subscriptionName, topicName)
}

func (cl *cloud) createTables(ctx context.Context) error {
	if err := cl.bigQuery.CreateDataset(ctx, cl.dataset); err != nil {
		return err
	}
	for _, t := range schemas.Tables() {
		if err := cl.bigQuery.CreateTable(ctx, cl.dataset, t); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	views := schemas.Views()
	seed := schemas.GroupSeed()
	found, err := cl.bigQuery.Query(ctx, fmt.Sprintf("SELECT table_name FROM %s.INFORMATION_SCHEMA.TABLES WHERE table_name = '%s'", cl.dataset, seed.Name))
	if err != nil {
		return err
	}
	// Rows that an earlier run wrote to tables of groups are to be seen.
	if cl.grouped = cl.grouped || len(found) > 0; cl.grouped {
		if err := cl.bigQuery.CreateTable(ctx, cl.dataset, seed); err != nil {
			return fmt.Errorf("table %s: %w", seed.Name, err)
		}
		views = schemas.GroupedViews()
	}
	for _, v := range views {
		if err := cl.bigQuery.CreateView(ctx, cl.dataset, v); err != nil {
			return fmt.Errorf("view %s: %w", v.Name, err)
		}
	}
	return nil
}

// impressions is what to select from for all rows of impressions.
func (cl *cloud) impressions() string {
	if cl.grouped {
		return schemas.AllImpressions(cl.dataset)
	}
	return "`" + cl.dataset + ".impressions`"
}

// tables are the names of the tables that the job writes or reads, those of groups
// last.
func (cl *cloud) tables(ctx context.Context) ([]string, error) {
	var names []string
	for _, t := range schemas.Tables() {
		names = append(names, t.Name)
	}
	rows, err := cl.bigQuery.Query(ctx, fmt.Sprintf("SELECT table_name FROM %s.INFORMATION_SCHEMA.TABLES WHERE STARTS_WITH(table_name, '%s') AND table_name != '%s' ORDER BY table_name",
		cl.dataset, schemas.GroupTable(""), schemas.GroupSeed().Name))
	for _, row := range rows {
		name, _ := row["table_name"].(string)
		names = append(names, name)
	}
	return names, err
}

// endpoints says where the services are; http is the edge's address.
func (cl *cloud) endpoints(http string) cli.Endpoints {
	return cli.Endpoints{
		PubSub:          cl.pubsub.Addr(),
		Bigtable:        cl.bigtable.Addr(),
		BigQueryREST:    cl.bigQuery.RESTEndpoint(),
		BigQueryStorage: cl.bigQuery.GRPCEndpoint(),
		Storage:         cl.storage.Endpoint(),
		HTTP:            "http://" + http,
		Project:         project,
		Dataset:         cl.dataset,
		Instance:        instance,
		Topic:           topicName,
		Subscription:    subscriptionName,
	}
}

// unread is how many messages wait or are under lease.
func (cl *cloud) unread() (int64, error) {
	s, err := cl.pubsub.Stats(subscriptionName)
	return s.Backlog + s.Outstanding, err
}

// close stops what was started, keeping everything acknowledged.
func (cl *cloud) close() error {
	var errs []error
	if cl.pubsub != nil {
		errs = append(errs, cl.pubsub.Close())
	}
	if cl.storage != nil {
		errs = append(errs, cl.storage.Close())
	}
	if cl.bigtable != nil {
		errs = append(errs, cl.bigtable.Close())
	}
	if cl.bigQuery != nil {
		errs = append(errs, cl.bigQuery.Close())
	}
	if cl.lock != nil {
		errs = append(errs, cl.lock.Close())
	}
	return errors.Join(errs...)
}

// lockFolder takes the folder for this process until the file is closed.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, cli.WithRemedy(fmt.Errorf("data folder %s is in use by another pixellocal", dir), "stop that one, or give another folder by --data")
	}
	return f, nil
}

// free returns the address, or, if its port is taken, one on the same host with
// a port that the system chooses.
func free(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if host, _, e := net.SplitHostPort(addr); e == nil {
			return net.JoinHostPort(host, "0")
		}
		return addr
	}
	closeQuietly(l)
	return addr
}

// closeQuietly closes what was only opened to see whether it can be.
func closeQuietly(c io.Closer) { _ = c.Close() }
