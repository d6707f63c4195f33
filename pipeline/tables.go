package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"pixelbeam/pipeline/sink"
	"pixelbeam/schemas"
)

// CheckTables asks BigQuery's REST API at o.BigQueryEndpoint whether the tables
// that the job writes exist and have all its columns. The error names every table
// and column that is missing, joined. Without an endpoint or a dataset it does
// nothing: a job that is launched needs no right to read schemas.
func CheckTables(ctx context.Context, o Options) error {
	if o.BigQueryEndpoint == "" || o.BigQueryDataset == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	project, dataset := o.dataset()
	client, err := bigquery.NewClient(ctx, project, option.WithEndpoint(o.BigQueryEndpoint), option.WithoutAuthentication())
	if err != nil {
		return fmt.Errorf("--bigquery_endpoint=%s: %w", o.BigQueryEndpoint, err)
	}
	defer client.Close()
	var errs []error
	for _, name := range o.tables() {
		table, _ := schemas.LookupTable(name)
		meta, err := client.Dataset(dataset).Table(name).Metadata(ctx)
		var api *googleapi.Error
		switch {
		case errors.As(err, &api) && api.Code == http.StatusNotFound:
			errs = append(errs, fmt.Errorf("table %s.%s.%s does not exist: create it from schemas/bigquery/%s.json", project, dataset, name, name))
		case err != nil:
			return fmt.Errorf("--bigquery_endpoint=%s: %w", o.BigQueryEndpoint, err)
		default:
			if missing := sink.MissingColumns(table.Columns, meta.Schema); len(missing) > 0 {
				errs = append(errs, fmt.Errorf("table %s.%s.%s lacks the columns %s: add them first, or their values are refused",
					project, dataset, name, strings.Join(missing, ", ")))
			}
		}
	}
	return errors.Join(errs...)
}

// tables are the names of the tables that the job writes.
func (o *Options) tables() []string {
	names := []string{"impressions", "rejected_entries"}
	if o.Counts {
		names = append(names, "impression_counts")
	}
	if o.Ledger {
		names = append(names, "ledger")
	}
	return names
}
