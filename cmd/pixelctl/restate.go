package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/spf13/cobra"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/pipeline/sink"
	"pixelbeam/schemas"
)

type restateFlags struct {
	queryFlags
	span             span
	storageEndpoint  string
	instance         string
	table            string
	bigtableEndpoint string
	profiles, dryRun bool
	ledger           bool
	settled          bool
	parts            int
	atOnce           time.Duration
	now              func() time.Time
}

func restateCommand(p *place) *cobra.Command {
	r := &restateFlags{queryFlags: queryFlags{place: p}, now: time.Now}
	cmd := &cobra.Command{
		Use:   "restate",
		Short: "Recompute closed windows from the raw rows",
		Long: `Recompute closed windows from the raw rows.

The rows of impressions_unique are counted again by the code of the job, and what
differs from impression_counts_current is written under the same names, with the
next pane; so are the profiles of their users. That is for after a crash on Prism,
entries that came too late, a replay, or a changed list. Windows that were right are not
touched, and to run it again changes nothing.

Entries in the tables that the ledger lacks, since a run of the job was killed before
it wrote its books, are entered there as recovered. What such a run had read and
ignored, or read twice, is in no table and stays unknown.

Windows that the job may still write are refused: those that ended less than
` + settling.String() + ` ago (see --settled).`,
		Example: `  pixelctl restate --from=2026-01-15T12:00 --to=2026-01-15T13:00 --dry_run
  pixelctl restate --from=2026-01-15 --to=2026-01-16`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r.span.register(cmd, "the last closed window")
	flags := cmd.Flags()
	flags.BoolVar(&r.dryRun, "dry_run", false, "say what would be written, and write nothing")
	flags.BoolVar(&r.settled, "settled", false, "restate open windows too: the job has ended")
	flags.BoolVar(&r.profiles, "profiles", true, "write the users' profiles too")
	flags.BoolVar(&r.ledger, "ledger", true, "enter into the ledger what it lacks, if it has anything of the 24 hours before --to")
	flags.IntVar(&r.parts, "parts", 0, "parts of a window, as --shards of the job (default: as many as impression_counts has)")
	flags.DurationVar(&r.atOnce, "at_once", 5*time.Minute, "how many minutes are recomputed at once: more are quicker and take more memory")
	r.registerService(cmd)
	flags.StringVar(&r.storageEndpoint, "bigquery_storage_endpoint", "", "`host:port` of the Storage Write API (default: the local Pixelbeam's, else the cloud)")
	flags.StringVar(&r.instance, "instance", "", "Bigtable `instance` of the profiles (default: the local Pixelbeam's; none: no profiles)")
	flags.StringVar(&r.table, "table", schemas.Profiles().Table, "Bigtable `table` of the profiles")
	flags.StringVar(&r.bigtableEndpoint, "bigtable_endpoint", "", "`host:port` of Bigtable (default: the local Pixelbeam's, else the cloud)")
	return cmd
}

// run restates the windows of the span, some at once.
func (r *restateFlags) run(ctx context.Context, out, notes io.Writer) error {
	if r.parts < 0 || r.parts > 10_000 {
		return cli.Usagef("--parts=%d is not between 1 and 10000", r.parts)
	}
	if r.atOnce < time.Minute {
		return cli.Usagef("--at_once=%v is less than a minute", r.atOnce)
	}
	closed := r.now().Add(-settling).Truncate(time.Minute)
	if err := r.span.settle(closed); err != nil {
		return cli.Usage(err)
	}
	if r.span.to.After(closed) && !r.settled {
		return cli.WithRemedy(fmt.Errorf("--to=%s: the job may still write windows after %s", r.span.to.String(), closed.Format(time.RFC3339)),
			"give an earlier --to, or --settled if the job has ended")
	}
	client, dataset, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	t := &restater{flags: r, client: client, dataset: dataset}
	defer t.close()
	if err := r.openWriters(t); err != nil {
		return err
	}
	if err := t.findBooks(ctx); err != nil {
		return r.explain(ctx, client, "", "", err)
	}
	if t.parts, err = t.countParts(ctx); err != nil {
		return err
	}
	for from := r.span.from.Time; from.Before(r.span.to.Time); from = from.Add(r.atOnce.Truncate(time.Minute)) {
		to := from.Add(r.atOnce.Truncate(time.Minute))
		if to.After(r.span.to.Time) {
			to = r.span.to.Time
		}
		before := t.done
		if err := t.restate(ctx, from, to); err != nil {
			return r.explain(ctx, client, "", "", fmt.Errorf("windows from %s to %s: %w", from.Format(time.RFC3339), to.Format(time.RFC3339), err))
		}
		if t.done.rows > before.rows {
			fmt.Fprintf(notes, "pixelctl: %s to %s: %d impressions, %d counts differed\n",
				from.Format(time.RFC3339), to.Format(time.RFC3339), t.done.rows-before.rows, t.done.counts-before.counts)
		}
	}
	verb := "wrote"
	if r.dryRun {
		verb = "would write"
	}
	profiles := int64(0)
	if t.profiles != nil {
		profiles = t.profiles.Changed
	}
	_, err = fmt.Fprintf(out, "Read %d impressions of %d windows, %s %d counts, %d profile updates and %d ledger entries (%d entries recovered).\n",
		t.done.rows, t.done.windows, verb, t.done.counts, profiles, t.done.entries, t.done.recovered)
	return err
}

// openWriters opens the tables that are written; in a dry run the profiles only, to
// compare.
func (r *restateFlags) openWriters(t *restater) error {
	local, dir, err := r.local()
	if err != nil {
		return err
	}
	project, name := r.splitDataset(t.client.Project(), t.dataset)
	if name == "" {
		return cli.Usagef("no dataset is named: --dataset names one")
	}
	storage, err := choose(endpoint{r.storageEndpoint, "--bigquery_storage_endpoint"}, local.BigQueryStorage, dir, "Storage Write API")
	if err != nil {
		return err
	}
	for _, w := range []struct {
		table string
		to    **sink.Writer
	}{{"impression_counts", &t.counts}, {"ledger", &t.ledger}} {
		if r.dryRun || w.table == "ledger" && !r.ledger {
			continue
		}
		*w.to, err = sink.NewRowWriter(sink.BigQueryConfig{Project: project, Dataset: name, Table: w.table, Endpoint: storage.address})
		if err != nil {
			return err
		}
	}
	instance := r.instance
	if instance == "" {
		instance = local.Instance
	}
	if instance == "" || !r.profiles {
		return nil
	}
	at, err := choose(endpoint{r.bigtableEndpoint, "--bigtable_endpoint"}, local.Bigtable, dir, "Bigtable")
	if err != nil {
		return err
	}
	t.profiles, err = sink.NewProfileChanges(sink.BigtableConfig{Project: t.client.Project(), Instance: instance, Table: r.table, Endpoint: at.address})
	if err != nil {
		return err
	}
	t.profiles.DryRun = r.dryRun
	return nil
}

// restater restates windows.
type restater struct {
	flags          *restateFlags
	client         *bigquery.Client
	dataset        string
	parts          int
	books          bool                 // whether the ledger is kept
	counts, ledger *sink.Writer         // nil: nothing is written
	profiles       *sink.ProfileChanges // nil: there are none
	done           struct{ rows, windows, counts, entries, recovered int64 }
}

// findBooks looks whether there is a ledger to mend.
func (t *restater) findBooks(ctx context.Context) error {
	if !t.flags.ledger {
		return nil
	}
	to := t.flags.span.to.Time
	from := to.Add(-24 * time.Hour)
	if t.flags.span.from.Before(from) {
		from = t.flags.span.from.Time
	}
	return t.each(ctx, keepsBooks, from, to, func(row []bigquery.Value) error {
		n, _ := row[0].(int64)
		t.books = n > 0
		return nil
	})
}

func (t *restater) close() {
	for _, w := range []*sink.Writer{t.counts, t.ledger} {
		if w != nil {
			w.Close()
		}
	}
	if t.profiles != nil {
		t.profiles.Close()
	}
}

// defaultParts is the default of the job's --shards.
const defaultParts = 16

// countParts says in how many parts the windows of the span are counted.
func (t *restater) countParts(ctx context.Context) (int, error) {
	parts := 0
	err := t.each(ctx, `SELECT MAX(part) FROM impression_counts WHERE window_start >= @from AND window_start < @to`,
		t.flags.span.from.Time, t.flags.span.to.Time, func(row []bigquery.Value) error {
			if n, ok := row[0].(int64); ok {
				parts = int(n) + 1
			}
			return nil
		})
	switch {
	case err != nil:
		return 0, t.flags.explain(ctx, t.client, "", "", err)
	case t.flags.parts > 0:
		return t.flags.parts, nil
	case parts == 0:
		return defaultParts, nil
	}
	return parts, nil
}

// each runs a query of a range of time.
func (t *restater) each(ctx context.Context, sql string, from, to time.Time, each func([]bigquery.Value) error) error {
	return eachRow(ctx, &t.flags.queryFlags, t.client, t.dataset, sql, from, to, each)
}

var errColumns = errors.New("the table has other columns than this pixelctl knows")
