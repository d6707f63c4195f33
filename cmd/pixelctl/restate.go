package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/pipeline/sink"
	"pixelbeam/schemas"
	"pixelbeam/transforms/rollup"
)

type restateFlags struct {
	queryFlags
	span             span
	storageEndpoint  string
	instance         string
	table            string
	bigtableEndpoint string
	readAPI          string
	profiles, dryRun bool
	ledger           bool
	settled          bool
	zero             bool
	parts            int
	memory           int // MiB
	atOnce           time.Duration
	now              func() time.Time
}

// Values of --read_api.
const (
	readAuto    = "auto"
	readStorage = "storage"
	readQueries = "query"
)

func restateCommand(p *place) *cobra.Command {
	r := &restateFlags{queryFlags: queryFlags{place: p}, now: time.Now}
	cmd := &cobra.Command{
		Use:   "restate",
		Short: "Recompute closed windows from the raw rows",
		Long: `Recompute closed windows from the raw rows.

The distinct rows of impressions, and of the tables of groups, are counted again by
the code of the job, and what differs from impression_counts_current is written under
the same names, with the next pane; so are the profiles of their users. That is for
after a crash on Prism, entries that came too late, a replay, or a changed list.
Windows that were right are not touched, and to run it again changes nothing: also
after it was interrupted, when what it wrote until then stays.

Entries in the tables that the ledger lacks, since a run of the job was killed before
it wrote its books, are entered there as recovered. What such a run had read and
ignored, or read twice, is in no table and stays unknown.

Windows that the job may still write are refused: those that ended less than the
allowed lateness and 3 minutes ago (see --allowed_lateness and --settled).

Rows are read by BigQuery's Storage Read API, of the columns that are counted, and by
queries where that is not allowed or does not have all rows yet (see --read_api). They
wait in memory and, what does not fit, in the folder of temporary files ($TMPDIR).`,
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
	flags.BoolVar(&r.zero, "zero", false, "write zeros for windows that have counts and no rows at all; else they are left alone, for their rows may have been deleted")
	flags.BoolVar(&r.profiles, "profiles", true, "write the users' profiles too")
	flags.BoolVar(&r.ledger, "ledger", true, "enter into the ledger what it lacks, if it has anything of the 24 hours before --to")
	flags.IntVar(&r.parts, "parts", 0, "parts of a window, as --shards of the job (default: as the counts that are there were made)")
	flags.DurationVar(&r.atOnce, "at_once", time.Hour, "how many minutes are read at once: more cost less, for each reading looks through the days' partitions, and take more room")
	flags.IntVar(&r.memory, "memory", 1024, "how many `MiB` of memory rows and windows may take, about, from 64; the rest of the command takes 128 more")
	flags.StringVar(&r.readAPI, "read_api", readAuto, "`API` that rows are read by: storage, the Storage Read API; query, queries, which cost more and are far slower; auto, storage where it can be")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("read_api", cobra.FixedCompletions([]string{readAuto, readStorage, readQueries}, cobra.ShellCompDirectiveNoFileComp)))
	r.registerService(cmd)
	flags.StringVar(&r.storageEndpoint, "bigquery_storage_endpoint", "", "`host:port` of BigQuery's Storage API, which rows are read and counts written by (default: the local Pixelbeam's, else the cloud)")
	flags.StringVar(&r.instance, "instance", "", "Bigtable `instance` of the profiles (default: the local Pixelbeam's; none: no profiles)")
	flags.StringVar(&r.table, "table", schemas.Profiles().Table, "Bigtable `table` of the profiles")
	flags.StringVar(&r.bigtableEndpoint, "bigtable_endpoint", "", "`host:port` of Bigtable (default: the local Pixelbeam's, else the cloud)")
	return cmd
}

// check finds what is wrong with the flags, and settles the span.
func (r *restateFlags) check(notes io.Writer) error {
	switch {
	case r.parts < 0 || r.parts > 10_000:
		return cli.Usagef("--parts=%d is not between 1 and 10000", r.parts)
	case r.atOnce < time.Minute:
		return cli.Usagef("--at_once=%v is less than a minute", r.atOnce)
	case r.memory < 64 || r.memory > 1<<20:
		return cli.Usagef("--memory=%d is not between 64 and 1048576 MiB", r.memory)
	case !slices.Contains([]string{readAuto, readStorage, readQueries}, r.readAPI):
		return cli.Usagef("--read_api=%s is none of auto, storage, query", r.readAPI)
	}
	now := r.now()
	closed := r.span.closed(now)
	if err := r.span.settle(closed, notes); err != nil {
		return cli.Usage(err)
	}
	if r.span.to.After(closed) && !r.settled {
		return cli.WithRemedy(fmt.Errorf("--to=%s: the job may still write windows after %s", r.span.to.String(), closed.Format(time.RFC3339)),
			"give an earlier --to, or --settled if the job has ended")
	}
	return nil
}

// run restates the windows of the span, some at once.
func (r *restateFlags) run(ctx context.Context, out, notes io.Writer) error {
	if err := r.check(notes); err != nil {
		return err
	}
	client, dataset, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	t := &restater{flags: r, client: client, dataset: dataset, notes: notes}
	defer t.close()
	if err := r.open(ctx, t); err != nil {
		return err
	}
	err = t.run(ctx)
	if err != nil {
		err = r.explain(ctx, client, "", "", err)
	}
	verb := "wrote"
	if r.dryRun {
		verb = "would write"
	}
	_, printed := fmt.Fprintf(out, "Read %d impressions of %d windows, %s %d counts, %d profile updates and %d ledger entries (%d entries recovered).\n",
		t.done.rows, t.done.windows, verb, t.done.counts, t.done.profiles, t.done.entries, t.done.recovered)
	if err != nil {
		fmt.Fprintf(notes, "pixelctl: not all windows were restated; what was written is right, and the same command does the rest\n")
	}
	return errors.Join(err, printed)
}

// open opens what is read and written; in a dry run profiles only to compare.
func (r *restateFlags) open(ctx context.Context, t *restater) error {
	local, dir, err := r.local()
	if err != nil {
		return err
	}
	project, name := r.splitDataset(t.client.Project(), t.dataset)
	if name == "" {
		return cli.Usagef("no dataset is named: --dataset names one")
	}
	storage, err := choose(endpoint{r.storageEndpoint, "--bigquery_storage_endpoint"}, local.BigQueryStorage, dir, "Storage API")
	if err != nil {
		return err
	}
	t.tables = &tables{client: t.client, project: project, dataset: name}
	t.queries = &queryReader{t.tables, &r.queryFlags}
	// BigQuery at one place and its Storage API at another would be two datasets.
	apart := r.endpoint != "" && storage.address == ""
	if apart && !r.dryRun {
		return cli.Usagef("--bigquery_endpoint is given and --bigquery_storage_endpoint is not: counts would be written to the cloud")
	}
	if err := r.openSessions(ctx, t, storage, apart); err != nil {
		return err
	}
	writer := func(table string) (*sink.Writer, error) {
		if r.dryRun {
			return nil, nil
		}
		return sink.NewRowWriter(sink.BigQueryConfig{Project: project, Dataset: name, Table: table, Endpoint: storage.address})
	}
	if r.ledger {
		if t.ledger, err = writer("ledger"); err != nil {
			return err
		}
	}
	instance := r.instance
	if instance == "" {
		instance = local.Instance
	}
	var bigtable endpoint
	if instance != "" && r.profiles {
		if bigtable, err = choose(endpoint{r.bigtableEndpoint, "--bigtable_endpoint"}, local.Bigtable, dir, "Bigtable"); err != nil {
			return err
		}
	}
	// Windows wait for services more than for processors.
	for range max(4, runtime.GOMAXPROCS(0)) {
		k := &windowWorker{}
		t.workers = append(t.workers, k)
		if k.encoder, err = rollup.NewEncoder(); err != nil {
			return err
		}
		if k.to, err = writer("impression_counts"); err != nil {
			return err
		}
		if instance == "" || !r.profiles {
			continue
		}
		k.profiles, err = sink.NewProfileChanges(sink.BigtableConfig{Project: t.client.Project(), Instance: instance, Table: r.table, Endpoint: bigtable.address})
		if err != nil {
			return err
		}
		k.profiles.DryRun = r.dryRun
	}
	return nil
}

// openSessions opens the Storage Read API, or says why rows are read by queries.
func (r *restateFlags) openSessions(ctx context.Context, t *restater, at endpoint, apart bool) error {
	if r.readAPI == readQueries {
		return nil
	}
	err := errors.New("--bigquery_endpoint is given and --bigquery_storage_endpoint is not")
	if !apart {
		var sessions *sessionReader
		if sessions, err = newSessionReader(ctx, t.tables, at); err == nil {
			t.sessions, t.closeSessions = sessions, sessions.close
			return nil
		}
	}
	if r.readAPI == readStorage || ctx.Err() != nil {
		return err
	}
	t.note("the Storage Read API is not to be had: %v; reading by queries instead, which is slower", err)
	return nil
}

// restater restates windows.
type restater struct {
	flags    *restateFlags
	client   *bigquery.Client
	dataset  string
	notes    io.Writer
	tables   *tables
	queries  tableReader
	sessions tableReader  // nil: not used
	empty    []int64      // windows that have counts and no rows, and were left alone
	books    bool         // whether the ledger is kept
	ledger   *sink.Writer // nil: nothing is written
	workers  []*windowWorker
	parts    int // found of the counts before; 0 if nothing
	// closeSessions lets go of sessions, if there are.
	closeSessions func()
	progress      progress
	done          struct{ rows, windows, counts, profiles, entries, recovered int64 }
}

func (t *restater) close() {
	for _, k := range t.workers {
		if k.to != nil {
			k.to.Close()
		}
		if k.profiles != nil {
			k.profiles.Close()
		}
	}
	if t.ledger != nil {
		t.ledger.Close()
	}
	if t.closeSessions != nil {
		t.closeSessions()
	}
}

// note tells the user something.
func (t *restater) note(format string, args ...any) {
	fmt.Fprintf(t.notes, "pixelctl: "+format+"\n", args...)
}

// run restates what the tables have something of.
func (t *restater) run(ctx context.Context) error {
	if err := t.findBooks(ctx); err != nil {
		return err
	}
	plan, err := t.plan(ctx)
	if err != nil {
		return err
	}
	stop := t.progress.report(t.notes, progressEvery)
	defer stop()
	// Garbage is collected sooner rather than that there is twice as much of it.
	limit := int64(t.flags.memory+clientMemory) << 20
	was := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(was)
	debug.SetMemoryLimit(min(was, limit))
	defer t.noteEmpty()
	step := t.flags.atOnce.Truncate(time.Minute)
	minutes := plan.minutes()
	for len(minutes) > 0 {
		from := time.UnixMicro(minutes[0]).UTC()
		to := from.Add(step)
		if to.After(t.flags.span.to.Time) {
			to = t.flags.span.to.Time
		}
		n, _ := slices.BinarySearch(minutes, to.UnixMicro())
		minutes = minutes[n:]
		before := t.done
		if err := t.restate(ctx, plan, from, to); err != nil {
			return fmt.Errorf("windows from %s to %s: %w", from.Format(time.RFC3339), to.Format(time.RFC3339), err)
		}
		if t.done.rows > before.rows {
			t.note("%s to %s: %d impressions, %d counts differed", from.Format(time.RFC3339), to.Format(time.RFC3339),
				t.done.rows-before.rows, t.done.counts-before.counts)
		}
	}
	return nil
}

// noteEmpty tells of windows that were left alone.
func (t *restater) noteEmpty() {
	if len(t.empty) > 0 {
		t.note("windows that have counts and no rows: %d, the first %s. They were left alone, as their rows may have been deleted; --zero writes zeros for them",
			len(t.empty), rfc3339(slices.Min(t.empty)))
	}
}

// clientMemory is what clients and what is on its way may take, in MiB, beside
// --memory.
const clientMemory = 128

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

// defaultParts is the default of the job's --shards.
const defaultParts = 16

// plan is what the tables have of the span: rows by table and minute.
type plan struct {
	impressions []string // the tables of impressions
	rows        map[string]map[int64]int64
}

const countsTable = "impression_counts"

// minutes returns those that some table has rows of, in order.
func (p *plan) minutes() []int64 {
	all := map[int64]bool{}
	for _, rows := range p.rows {
		for minute := range rows {
			all[minute] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// within says how many rows a table has of [from, to).
func (p *plan) within(table string, from, to time.Time) int64 {
	n := int64(0)
	for minute, rows := range p.rows[table] {
		if minute >= from.UnixMicro() && minute < to.UnixMicro() {
			n += rows
		}
	}
	return n
}

// rowsOfMinutes counts the rows of tables by minute.
func rowsOfMinutes(names []string, quoted func(table string) string) string {
	times := map[string]string{countsTable: "window_start", "ledger": "minute", "rejected_entries": "receive_time"}
	var parts []string
	for _, table := range names {
		at := times[table]
		if at == "" { // a table of impressions
			at = "event_time"
		}
		parts = append(parts, "SELECT '"+table+"' AS name, TIMESTAMP_TRUNC("+at+", MINUTE) AS minute_of, COUNT(*) AS n FROM "+quoted(table)+
			" WHERE "+at+" >= @from AND "+at+" < @to GROUP BY minute_of")
	}
	return strings.Join(parts, "\nUNION ALL\n")
}

// plan counts the rows of each table and minute by a query, which sees them as soon as
// they were acknowledged.
func (t *restater) plan(ctx context.Context) (*plan, error) {
	p := &plan{rows: map[string]map[int64]int64{}}
	var err error
	if p.impressions, err = t.tables.impressions(ctx); err != nil {
		return nil, err
	}
	if err := t.tables.expired(ctx, p.impressions, t.flags.span.from.Time, t.flags.now()); err != nil {
		return nil, err
	}
	names := append([]string{countsTable}, p.impressions...)
	if t.books {
		names = append(names, "ledger", "rejected_entries")
	}
	for some := range slices.Chunk(names, 100) {
		err := t.each(ctx, rowsOfMinutes(some, t.tables.quoted), t.flags.span.from.Time, t.flags.span.to.Time, func(row []bigquery.Value) error {
			name, ok1 := row[0].(string)
			minute, ok2 := row[1].(time.Time)
			n, ok3 := row[2].(int64)
			if !ok1 || !ok2 || !ok3 {
				return errColumns
			}
			if p.rows[name] == nil {
				p.rows[name] = map[int64]int64{}
			}
			p.rows[name][minute.UnixMicro()] = n
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// restate restates the windows that begin in [from, to).
func (t *restater) restate(ctx context.Context, p *plan, from, to time.Time) error {
	half := t.flags.memory << 20 / 2
	rows, counts, err := t.load(ctx, p, from, to, half)
	if err != nil {
		return err
	}
	defer rows.close()
	defer counts.close()
	parts := t.flags.parts
	if parts == 0 {
		if t.parts, err = likelyParts(rows, counts, t.parts); err != nil {
			return err
		}
		parts = t.parts
	}
	all := map[int64]bool{}
	for _, s := range []*store{rows, counts} {
		for _, start := range s.starts() {
			all[start] = true
		}
	}
	var windows []*restatement
	for _, start := range slices.Sorted(maps.Keys(all)) {
		windows = append(windows, &restatement{start: start, parts: parts, rows: rows.windows[start], counts: counts.windows[start]})
	}
	found, err := t.restateWindows(ctx, rows, counts, windows, half)
	if err != nil {
		return err
	}
	return t.restateLedger(ctx, from, to, found)
}

// restateWindows has the workers restate windows, and returns how many distinct
// entries each has.
func (t *restater) restateWindows(ctx context.Context, rows, counts *store, windows []*restatement, memory int) (map[int64]int64, error) {
	found := map[int64]int64{}
	var mu sync.Mutex
	todo := make(chan *restatement)
	t.progress.set("windows compared", int64(len(windows)))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(todo)
		for _, w := range windows {
			select {
			case todo <- w:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for _, k := range t.workers {
		k.rows, k.counts, k.memory, k.zero = rows, counts, memory/len(t.workers), t.flags.zero
		k.changed = 0
		profiles := k.profilesChanged()
		group.Go(func() error {
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				t.done.counts += k.changed
				t.done.profiles += k.profilesChanged() - profiles
			}()
			for w := range todo {
				n, err := k.restate(ctx, w)
				if errors.Is(err, errNoRows) {
					mu.Lock()
					t.empty = append(t.empty, w.start)
					mu.Unlock()
					err = nil
				}
				if err != nil {
					return err
				}
				rows.drop(w.start)
				counts.drop(w.start)
				mu.Lock()
				if w.rows != nil {
					found[w.start] = n
					t.done.windows++
				}
				t.done.rows += n
				mu.Unlock()
				t.progress.add(1)
			}
			return nil
		})
	}
	return found, group.Wait()
}

func (k *windowWorker) profilesChanged() int64 {
	if k.profiles == nil {
		return 0
	}
	return k.profiles.Changed
}

// load reads the rows and the counts of the windows that begin in [from, to).
func (t *restater) load(ctx context.Context, p *plan, from, to time.Time, memory int) (rows, counts *store, err error) {
	if t.sessions != nil {
		rows, counts, lacking, err := t.loadBy(ctx, t.sessions, p, from, to, memory)
		if err == nil && lacking == "" {
			return rows, counts, nil
		}
		if err == nil {
			rows.close()
			counts.close()
			err = errors.New(lacking)
		} else if reason := whyNoSessions(err); reason != "" && t.flags.readAPI == readAuto {
			t.sessions = nil
			lacking = reason
		}
		if t.flags.readAPI == readStorage || lacking == "" {
			return nil, nil, fmt.Errorf("the Storage Read API: %w", err)
		}
		t.note("%s; reading by queries instead, which is slower", lacking)
	}
	rows, counts, _, err = t.loadBy(ctx, t.queries, p, from, to, memory)
	return rows, counts, err
}

// loadBy reads by one of the APIs. lacking says which rows did not come that the plan
// knows of: BigQuery does not promise that read sessions have, as queries do, what was
// written just now.
func (t *restater) loadBy(ctx context.Context, reader tableReader, p *plan, from, to time.Time, memory int) (_, _ *store, lacking string, err error) {
	rows, counts := newStore(memory*7/8), newStore(memory/8)
	defer func() {
		if err != nil {
			rows.close()
			counts.close()
		}
	}()
	var scans []*scan
	total := int64(0)
	for _, table := range append([]string{countsTable}, p.impressions...) {
		n := p.within(table, from, to)
		if n == 0 {
			continue
		}
		total += n
		s := &scan{table: table, columns: rowColumns, time: "event_time", from: from, to: to}
		if table == countsTable {
			s.columns, s.time = countColumns, "window_start"
		}
		if _, _, err := t.tables.present(ctx, s); err != nil { // before they are read at once
			return nil, nil, "", err
		}
		scans = append(scans, s)
	}
	t.progress.set("rows read", total)
	came := make([]map[int64]int64, len(scans))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(tablesAtOnce)
	for i, s := range scans {
		group.Go(func() error {
			var err error
			came[i], err = t.loadTable(groupCtx, reader, s, rows, counts)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, "", err
	}
	late := int64(0)
	for i, s := range scans {
		for minute, n := range p.rows[s.table] {
			if minute < from.UnixMicro() || minute >= to.UnixMicro() {
				continue
			}
			if got := came[i][minute]; got < n {
				return rows, counts, fmt.Sprintf("the Storage Read API has %d of the %d rows that %s has of minute %s", got, n, s.table, rfc3339(minute)), nil
			} else if s.table != countsTable {
				late += got - n
			}
		}
	}
	if late > 0 {
		t.note("%s of these minutes came meanwhile: something still writes them. Restate them again afterwards", countOf(int(late), "row"))
	}
	return rows, counts, "", nil
}

// tablesAtOnce bounds how many tables are read at a time.
const tablesAtOnce = 8

// loadTable puts the rows of a table into the store for it, and returns how many there
// are of each minute.
func (t *restater) loadTable(ctx context.Context, reader tableReader, s *scan, rows, counts *store) (map[int64]int64, error) {
	type stream struct {
		writer *writer
		came   map[int64]int64
	}
	var mu sync.Mutex
	var streams []*stream
	open := func() rowFunc {
		one := &stream{came: map[int64]int64{}}
		var keep func([]field) (int64, error)
		if s.table == countsTable {
			one.writer = counts.writer()
			keep = (&countKeeper{to: one.writer}).keep
		} else {
			one.writer = rows.writer()
			keep = (&rowKeeper{to: one.writer}).keep
		}
		mu.Lock()
		streams = append(streams, one)
		mu.Unlock()
		return func(row []field) error {
			minute, err := keep(row)
			if err != nil {
				return fmt.Errorf("table %s: %w", s.table, err)
			}
			one.came[minute]++
			t.progress.add(1)
			return nil
		}
	}
	if err := reader.read(ctx, s, open); err != nil {
		return nil, err
	}
	came := map[int64]int64{}
	for _, one := range streams {
		if err := one.writer.flush(); err != nil {
			return nil, err
		}
		for minute, n := range one.came {
			came[minute] += n
		}
	}
	return came, nil
}

// each runs a query of a range of time.
func (t *restater) each(ctx context.Context, sql string, from, to time.Time, each func([]bigquery.Value) error) error {
	return eachRow(ctx, &t.flags.queryFlags, t.client, t.dataset, sql, from, to, each)
}

// rfc3339 writes a time in microseconds since the Unix epoch.
func rfc3339(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339) }

// progressEvery is how often long work says how far it is.
const progressEvery = 10 * time.Second

// progress counts what is done of one piece of work after another.
type progress struct {
	mu          sync.Mutex
	what        string
	total, said int64
	done        atomic.Int64
}

// set begins a piece of work of so many.
func (p *progress) set(what string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.total, p.said = what, total, 0
	p.done.Store(0)
}

func (p *progress) add(n int64) { p.done.Add(n) }

// report says from time to time how far the work is, until stop is called.
func (p *progress) report(notes io.Writer, every time.Duration) (stop func()) {
	ended := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				p.say(notes)
			}
		}
	})
	return func() {
		close(ended)
		waiting.Wait()
	}
}

// say says how far the work is, if it has gone on.
func (p *progress) say(notes io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.done.Load()
	if done == p.said || done >= p.total {
		return
	}
	p.said = done
	fmt.Fprintf(notes, "pixelctl: %d of %d %s\n", done, p.total, p.what)
}
