package main

import (
	"context"
	"fmt"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"pixelbeam/cmd/internal/cli"
)

// restQuery asks a running pixellocal by BigQuery's own client, for one value.
func restQuery(at cli.Endpoints, sql string) (string, error) {
	ctx := context.Background()
	client, err := bigquery.NewClient(ctx, at.Project, option.WithEndpoint(at.BigQueryREST), option.WithoutAuthentication())
	if err != nil {
		return "", err
	}
	defer client.Close()
	q := client.Query(sql)
	q.DefaultDatasetID = at.Dataset
	it, err := q.Read(ctx)
	if err != nil {
		return "", err
	}
	var row []bigquery.Value
	if err := it.Next(&row); err == iterator.Done {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return fmt.Sprint(row[0]), nil
}
