package sink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cloud.google.com/go/bigquery"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pixelbeam/schemas"
)

// tableError is a table of a group that cannot be made, for a reason that does not
// go away by itself. It says what to do.
type tableError struct {
	key    tableKey
	cause  error
	remedy string
}

func (e *tableError) Error() string {
	return fmt.Sprintf("bigquery table %v: it cannot be made: %v; %s", e.key, e.cause, e.remedy)
}

func (e *tableError) Unwrap() error { return e.cause }

// ensureTable makes the table of a group as the table is that it is a group of, if
// there is none. If there is one that lacks columns, all tables of groups get theirs.
// It may be called by many at once. The error is a *tableError, a *clientError, or a
// fault outside.
func ensureTable(ctx context.Context, key tableKey) error {
	var options []option.ClientOption
	if key.RESTEndpoint != "" {
		options = append(options, option.WithEndpoint(key.RESTEndpoint), option.WithoutAuthentication())
	}
	client, err := bigquery.NewClient(ctx, key.Project, options...)
	if err != nil {
		return &clientError{err}
	}
	defer client.Close()
	dataset := client.Dataset(key.Dataset)
	table, model := dataset.Table(key.table()), dataset.Table(key.Table)

	basic := bigquery.WithMetadataView(bigquery.BasicMetadataView)
	have, err := table.Metadata(ctx, basic)
	switch {
	case code(err) == http.StatusNotFound:
		like, err := model.Metadata(ctx, basic)
		if err != nil {
			return restError(key, err)
		}
		err = table.Create(ctx, &bigquery.TableMetadata{
			Description:            fmt.Sprintf("Impressions of the advertisers of group %s; else as %s.", key.Group, key.Table),
			Schema:                 like.Schema,
			TimePartitioning:       like.TimePartitioning,
			Clustering:             like.Clustering,
			RequirePartitionFilter: like.RequirePartitionFilter,
			EncryptionConfig:       like.EncryptionConfig,
			DefaultCollation:       like.DefaultCollation,
			Labels:                 like.Labels,
		})
		if code(err) == http.StatusConflict {
			return nil // Another worker was faster.
		}
		if err == nil && misses(ctx, dataset.Table(uniqueView)) {
			log.Warnf(ctx, "bigquery table %v is made, but the view %s does not read tables of groups: make the views anew (terraform apply, with advertiser_groups_file)", key, uniqueView)
		}
		return restError(key, err)
	case err != nil:
		return restError(key, err)
	}
	want, _ := schemas.LookupTable(key.Table)
	if len(MissingColumns(want.Columns, have.Schema)) == 0 {
		return nil
	}
	like, err := model.Metadata(ctx, basic)
	if err != nil {
		return restError(key, err)
	}
	return restError(key, growTables(ctx, dataset, like.Schema))
}

// uniqueView is the view that readers take impressions from.
const uniqueView = "impressions_unique"

// misses tells whether a view is there and reads no tables of groups.
func misses(ctx context.Context, view *bigquery.Table) bool {
	m, err := view.Metadata(ctx, bigquery.WithMetadataView(bigquery.BasicMetadataView))
	return err == nil && m.ViewQuery != "" && !strings.Contains(m.ViewQuery, schemas.GroupTable("*"))
}

// growTables adds the columns of like to all tables of groups that lack some. A
// wildcard table has the columns of its newest table only, and that may be one that
// nobody writes to: so it takes all of them.
// https://cloud.google.com/bigquery/docs/querying-wildcard-tables
func growTables(ctx context.Context, dataset *bigquery.Dataset, like bigquery.Schema) error {
	tables := dataset.Tables(ctx)
	for {
		table, err := tables.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(table.TableID, schemas.GroupTable("")) {
			continue
		}
		have, err := table.Metadata(ctx, bigquery.WithMetadataView(bigquery.BasicMetadataView))
		if err != nil {
			return err
		}
		more, changed := grown(have.Schema, like)
		if !changed {
			continue
		}
		// If another worker changed the table meanwhile, the ETag refuses this, and it
		// is looked at again.
		if _, err := table.Update(ctx, bigquery.TableMetadataToUpdate{Schema: more}, have.ETag); err != nil {
			return err
		}
	}
}

// grown returns the schema with the columns that like has and it lacks, at the end,
// and whether there are any.
func grown(have, like bigquery.Schema) (more bigquery.Schema, changed bool) {
	more = slices.Clone(have)
	for _, want := range like {
		i := slices.IndexFunc(more, func(f *bigquery.FieldSchema) bool { return strings.EqualFold(f.Name, want.Name) })
		if i < 0 {
			more, changed = append(more, want), true
			continue
		}
		if fields, changedToo := grown(more[i].Schema, want.Schema); changedToo {
			field := *more[i]
			field.Schema = fields
			more[i], changed = &field, true
		}
	}
	return more, changed
}

// MissingColumns returns the names of columns that a table lacks; those of a record
// as RECORD.COLUMN.
func MissingColumns(want []schemas.Column, have bigquery.Schema) []string {
	fields := make(map[string]*bigquery.FieldSchema, len(have))
	for _, f := range have {
		fields[strings.ToLower(f.Name)] = f
	}
	var missing []string
	for _, c := range want {
		f, ok := fields[c.Name]
		if !ok {
			missing = append(missing, c.Name)
			continue
		}
		for _, sub := range MissingColumns(c.Fields, f.Schema) {
			missing = append(missing, c.Name+"."+sub)
		}
	}
	return missing
}

// code is the HTTP status of a REST error, 0 if it has none.
func code(err error) int {
	var api *googleapi.Error
	if errors.As(err, &api) {
		return api.Code
	}
	return 0
}

// restError makes an error of the REST API one that the sink knows to try again or
// not. https://cloud.google.com/bigquery/docs/error-messages
func restError(key tableKey, err error) error {
	var api *googleapi.Error
	if err == nil || !errors.As(err, &api) {
		if err != nil && strings.Contains(err.Error(), "could not find default credentials") {
			return &clientError{err}
		}
		return err // A fault on the way, which counts as outside.
	}
	reason := ""
	if len(api.Errors) > 0 {
		reason = api.Errors[0].Reason
	}
	switch {
	case api.Code == http.StatusPreconditionFailed:
		return status.Error(codes.Aborted, err.Error())
	case api.Code == http.StatusTooManyRequests, reason == "rateLimitExceeded", reason == "quotaExceeded":
		return status.Error(codes.ResourceExhausted, err.Error())
	case api.Code >= http.StatusInternalServerError, api.Code == http.StatusRequestTimeout:
		return status.Error(codes.Unavailable, err.Error())
	case api.Code == http.StatusNotFound:
		return &tableError{key, err, fmt.Sprintf("create the dataset and the table %s (terraform apply), which it is made like", key.Table)}
	case api.Code == http.StatusForbidden, api.Code == http.StatusUnauthorized:
		return &tableError{key, err, "the job's account needs bigquery.tables.create, get, list, update and updateData on the dataset (infra: table_suffix_by, or roles/bigquery.dataEditor)"}
	}
	return &tableError{key, err, "make it by hand with the columns of " + key.Table + ", or leave --table_suffix_by out"}
}
