package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"pixelbeam/local/bigqueryd"
	"pixelbeam/local/bigtabled"
	"pixelbeam/local/pubsubd"
	"pixelbeam/local/traffic"
	"pixelbeam/schemas"
)

// Names of the resources of the cloud.
const (
	project      = "pixelbeam-local"
	dataset      = "pixelbeam"
	instance     = "pixelbeam"
	topic        = "projects/" + project + "/topics/pixel-logs"
	subscription = "projects/" + project + "/subscriptions/pixelbeam"
	// timestampAttribute has an entry's event time.
	timestampAttribute = "logging.googleapis.com/timestamp"
)

// cloud is the services that the job is between, in this process.
type cloud struct {
	pubsub   *pubsubd.Server
	bigQuery *bigqueryd.Server
	bigtable *bigtabled.Server
}

func startCloud(ctx context.Context, dir string) (_ *cloud, err error) {
	c := &cloud{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	c.bigQuery, err = bigqueryd.Start(bigqueryd.Options{Path: filepath.Join(dir, "tables.duckdb"), Project: project, HTTPAddr: "127.0.0.1:0", GRPCAddr: "127.0.0.1:0"})
	if err != nil {
		return nil, err
	}
	if err := c.bigQuery.CreateDataset(ctx, dataset); err != nil {
		return nil, err
	}
	for _, t := range schemas.Tables() {
		if err := c.bigQuery.CreateTable(ctx, dataset, t); err != nil {
			return nil, err
		}
	}
	for _, v := range schemas.Views() {
		if err := c.bigQuery.CreateView(ctx, dataset, v); err != nil {
			return nil, err
		}
	}
	if c.bigtable, err = bigtabled.Start("127.0.0.1:0", bigtabled.Options{Dir: filepath.Join(dir, "bigtable")}); err != nil {
		return nil, err
	}
	if err := c.bigtable.EnsureTable(ctx, project, instance, schemas.Profiles()); err != nil {
		return nil, err
	}
	if c.pubsub, err = pubsubd.Start("127.0.0.1:0", pubsubd.Options{Dir: filepath.Join(dir, "pubsub")}); err != nil {
		return nil, err
	}
	if err := c.pubsub.CreateTopic(topic); err != nil {
		return nil, err
	}
	return c, c.pubsub.CreateSubscription(subscription, topic)
}

// flags connect the job to the cloud.
func (c *cloud) flags() []string {
	return []string{
		"--project=" + project, "--subscription=" + subscription, "--pubsub_endpoint=" + c.pubsub.Addr(),
		"--bigquery_dataset=" + dataset, "--bigquery_endpoint=" + c.bigQuery.RESTEndpoint(), "--bigquery_storage_endpoint=" + c.bigQuery.GRPCEndpoint(),
		"--bigtable_instance=" + instance, "--bigtable_endpoint=" + c.bigtable.Addr(),
	}
}

func (c *cloud) close() error {
	var errs []error
	if c.pubsub != nil {
		errs = append(errs, c.pubsub.Close())
	}
	if c.bigtable != nil {
		errs = append(errs, c.bigtable.Close())
	}
	if c.bigQuery != nil {
		errs = append(errs, c.bigQuery.Close())
	}
	return errors.Join(errs...)
}

// publish is the log sink.
func (c *cloud) publish(_ context.Context, batch []traffic.Entry) error {
	messages := make([]pubsubd.Message, len(batch))
	for i, e := range batch {
		messages[i].Data = e.Data
		if e.Timestamp != "" {
			messages[i].Attributes = map[string]string{timestampAttribute: e.Timestamp}
		}
	}
	_, err := c.pubsub.Publish(topic, messages...)
	return err
}

// number runs a query for one number.
func (c *cloud) number(ctx context.Context, sql string) (int64, error) {
	rows, err := c.bigQuery.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	n, ok := rows[0]["n"].(int64)
	if !ok && rows[0]["n"] != nil {
		return 0, fmt.Errorf("%s: %v is no number", sql, rows[0]["n"])
	}
	return n, nil
}
