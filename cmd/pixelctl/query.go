package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/spf13/cobra"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"pixelbeam/cmd/internal/cli"
)

type queryFlags struct {
	*place
	dataset  string
	endpoint string
	file     string
	format   string
	maxRows  int
}

func queryCommand(p *place) *cobra.Command {
	q := &queryFlags{place: p}
	cmd := &cobra.Command{
		Use:   "query SQL",
		Short: "Run a BigQuery query and print its rows",
		Long: `Run a BigQuery query and print its rows.

The rows of a table come in columns as wide as the first of them need. In csv,
NULL is an empty field and an empty string is "". In json and jsonl a row is an
object: INT64 and FLOAT64 are numbers, NUMERIC is decimal text, TIMESTAMP is
RFC 3339 in UTC with microseconds, BYTES is base64, JSON is itself.`,
		Example: `  pixelctl query "SELECT campaign_id, SUM(gross) AS gross FROM impression_counts GROUP BY 1 ORDER BY 2 DESC"
  pixelctl query --format=csv --file=report.sql >report.csv
  echo "SELECT * FROM impressions_unique" | pixelctl query --format=jsonl --max_rows=10 -`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sql, err := q.sql(args, cmd.InOrStdin())
			if err != nil {
				return err
			}
			return q.run(cmd.Context(), sql, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	q.registerService(cmd)
	flags.StringVar(&q.file, "file", "", "read the SQL from a `file`; - is the standard input")
	flags.IntVar(&q.maxRows, "max_rows", 0, "print at most so many rows; 0 is all")
	formatFlag(cmd, &q.format, "table", "csv", "json", "jsonl")
	return cmd
}

// registerService defines the flags that say which tables are asked.
func (q *queryFlags) registerService(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.dataset, "dataset", "",
		"`dataset`, or project.dataset, of tables named without one (default: the local Pixelbeam's)")
	cmd.Flags().StringVar(&q.endpoint, "bigquery_endpoint", "",
		"`URL` of the BigQuery service; http:// is asked without credentials (default: the local Pixelbeam's, else the cloud)")
}

// formatFlag defines --format, whose default is the first of formats.
func formatFlag(cmd *cobra.Command, p *string, formats ...string) {
	cmd.Flags().StringVar(p, "format", formats[0], "`form` of the output: "+strings.Join(formats, ", "))
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		for _, f := range formats {
			if *p == f {
				return nil
			}
		}
		return fmt.Errorf("--format: %q is none of %s", *p, strings.Join(formats, ", "))
	}
}

// sql returns the query's text.
func (q *queryFlags) sql(args []string, stdin io.Reader) (string, error) {
	var sql string
	switch {
	case len(args) == 1 && q.file != "":
		return "", cli.Usagef("the SQL is given twice, as an argument and with --file")
	case q.maxRows < 0:
		return "", cli.Usagef("--max_rows is %d, which is less than 0", q.maxRows)
	case q.file == "-" || len(args) == 1 && args[0] == "-":
		b, err := io.ReadAll(stdin)
		if err != nil {
			return "", fmt.Errorf("reading the SQL from the standard input: %w", err)
		}
		sql = string(b)
	case q.file != "":
		b, err := os.ReadFile(q.file)
		if err != nil {
			return "", fmt.Errorf("--file: %w", err)
		}
		sql = string(b)
	case len(args) == 1:
		sql = args[0]
	}
	if strings.TrimSpace(sql) == "" {
		return "", cli.Usagef("no SQL is given: as the argument, with --file, or on the standard input with -")
	}
	return sql, nil
}

// run runs the query and writes its rows to out, and what is to be said about
// them to notes. When ctx ends, the query is cancelled in the service too.
func (q *queryFlags) run(ctx context.Context, sql string, out, notes io.Writer) error {
	client, dataset, err := q.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()

	query := client.Query(sql)
	query.JobID = "pixelctl_" + rand.Text()
	query.DefaultProjectID, query.DefaultDatasetID = q.splitDataset(client.Project(), dataset)

	job, err := query.Run(ctx)
	if err != nil {
		return q.explain(ctx, client, query.JobID, "", err)
	}
	rows, err := job.Read(ctx)
	if err != nil {
		return q.explain(ctx, client, job.ID(), job.Location(), err)
	}
	if len(rows.Schema) == 0 {
		return noteStatement(ctx, job, notes)
	}
	err = q.print(rows, out, notes)
	return q.explain(ctx, client, job.ID(), job.Location(), err)
}

func (q *queryFlags) splitDataset(project, dataset string) (string, string) {
	if p, d, ok := strings.Cut(dataset, "."); ok {
		return p, d
	}
	if dataset == "" {
		project = ""
	}
	return project, dataset
}

// connect returns a client of the service to ask, and the default dataset.
func (q *queryFlags) connect(ctx context.Context) (*bigquery.Client, string, error) {
	local, dir, err := q.local()
	if err != nil {
		return nil, "", err
	}
	project, err := q.projectOf(local)
	if err != nil {
		return nil, "", err
	}
	dataset := q.dataset
	if dataset == "" {
		dataset = local.Dataset
	}
	e, err := choose(endpoint{q.endpoint, "--bigquery_endpoint"}, local.BigQueryREST, dir, "BigQuery")
	if err != nil {
		return nil, "", err
	}
	var opts []option.ClientOption
	if e.address != "" {
		base, err := restBase(e)
		if err != nil {
			return nil, "", err
		}
		if err := e.reach(ctx, "BigQuery"); err != nil {
			return nil, "", err
		}
		opts = append(opts, option.WithEndpoint(base))
		if e.open() {
			opts = append(opts, option.WithoutAuthentication())
		}
	}
	client, err := bigquery.NewClient(ctx, project, opts...)
	if err != nil {
		return nil, "", cli.WithRemedy(err, credentialsRemedy)
	}
	return client, dataset, nil
}

// restBase returns the URL that the paths of BigQuery's REST methods go after.
func restBase(e endpoint) (string, error) {
	u, err := url.Parse(e.address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", cli.Usagef("%s: %q is not a URL such as http://127.0.0.1:9050", e.named, e.address)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/bigquery/v2"
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/"
	return u.String(), nil
}

func (q *queryFlags) print(rows *bigquery.RowIterator, out, notes io.Writer) error {
	w := newRowWriter(q.format, out, rows.Schema)
	if q.maxRows > 0 {
		rows.PageInfo().MaxSize = q.maxRows
	}
	for n := 0; q.maxRows == 0 || n < q.maxRows; n++ {
		var row []bigquery.Value
		err := rows.Next(&row)
		if errors.Is(err, iterator.Done) {
			return w.close()
		}
		if err != nil {
			// What was read is shown; the error follows it.
			return errors.Join(w.close(), err)
		}
		if err := w.row(row); err != nil {
			return err
		}
	}
	if err := w.close(); err != nil {
		return err
	}
	if rows.TotalRows > uint64(q.maxRows) {
		fmt.Fprintf(notes, "pixelctl: %d of %d rows are shown, as --max_rows says\n", q.maxRows, rows.TotalRows)
	}
	return nil
}

// noteStatement says what a statement did that has no rows.
func noteStatement(ctx context.Context, job *bigquery.Job, notes io.Writer) error {
	status, err := job.Status(ctx)
	if err != nil {
		return err
	}
	note := "pixelctl: done"
	if s := status.Statistics; s != nil {
		if d, ok := s.Details.(*bigquery.QueryStatistics); ok && changesRows(d.StatementType) {
			note += ", " + countOf(int(d.NumDMLAffectedRows), "row") + " affected"
		}
	}
	_, err = fmt.Fprintln(notes, note)
	return err
}

func changesRows(statementType string) bool {
	switch statementType {
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		return true
	}
	return false
}

// explain adds to err, from a query that was sent, what the user can do. If ctx
// has ended it cancels the query in the service.
func (q *queryFlags) explain(ctx context.Context, client *bigquery.Client, id, location string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		// The service may never have received the query: whether there was
		// something to cancel does not matter to the user.
		background, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		if job, err := client.JobFromIDLocation(background, id, location); err == nil {
			job.Cancel(background)
		}
		return ctx.Err()
	}
	var api *googleapi.Error
	if !errors.As(err, &api) {
		if strings.Contains(err.Error(), "could not find default credentials") {
			return cli.WithRemedy(err, credentialsRemedy)
		}
		return err
	}
	text := errors.New(api.Message)
	if api.Message == "" {
		text = err
	}
	switch {
	case api.Code == http.StatusNotFound:
		return cli.WithRemedy(text, "--dataset names the dataset of tables that are written without one, --project the project")
	case strings.Contains(api.Message, "must be qualified with a dataset"):
		return cli.WithRemedy(text, "write dataset.table, or name the dataset with --dataset")
	case api.Code == http.StatusUnauthorized:
		return cli.WithRemedy(text, credentialsRemedy)
	case api.Code == http.StatusForbidden:
		return cli.WithRemedy(text, "the account needs roles/bigquery.jobUser on the project and roles/bigquery.dataViewer on the dataset")
	}
	return text
}
