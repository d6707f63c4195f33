package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/spf13/cobra"
	"google.golang.org/api/iterator"

	"pixelbeam/cmd/internal/cli"
)

// timeToWrite is how long the job takes, at most, to write what it has to.
const timeToWrite = 3 * time.Minute

type ledgerFlags struct {
	queryFlags
	span    span
	settled bool
	now     func() time.Time
}

// span is a range of whole minutes.
type span struct {
	from, to timeFlag
	lateness time.Duration // that the job allows
}

// settling is how long after its end a minute may still change.
func (s *span) settling() time.Duration { return s.lateness + timeToWrite }

// closed is the end of the last minute that cannot change any more.
func (s *span) closed(now time.Time) time.Time {
	return now.Add(-s.settling()).UTC().Truncate(time.Minute)
}

// timeFlag is a point in time on the command line.
type timeFlag struct{ time.Time }

func (t *timeFlag) String() string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// exact writes the time with its fraction of a second.
func (t *timeFlag) exact() string { return t.Format(time.RFC3339Nano) }

func (t *timeFlag) Type() string { return "time" }

func (t *timeFlag) Set(s string) error {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			t.Time = at.UTC()
			return nil
		}
	}
	return errors.New("give a time such as 2026-01-15T12:00:00Z, 2026-01-15T12:00 (UTC) or 2026-01-15")
}

func (s *span) register(cmd *cobra.Command, to string) {
	cmd.Flags().Var(&s.from, "from", "first minute, a `time` such as 2026-01-15T12:00:00Z or 2026-01-15 (default: 24 hours before --to)")
	cmd.Flags().Var(&s.to, "to", "end, a `time`, itself not included (default: "+to+")")
	cmd.Flags().DurationVar(&s.lateness, "allowed_lateness", 10*time.Minute, "what the job allows: so long, and 3 minutes, after its end a minute may still change")
}

// settle fills in what was not given. Minutes are whole: those at the ends that are in
// the span in part are taken whole, which notes are told of.
func (s *span) settle(end time.Time, notes io.Writer) error {
	if s.lateness < 0 {
		return fmt.Errorf("--allowed_lateness=%v is less than 0", s.lateness)
	}
	if s.to.IsZero() {
		s.to.Time = end.Truncate(time.Minute)
	}
	if whole := s.to.Truncate(time.Minute); !whole.Equal(s.to.Time) {
		whole = whole.Add(time.Minute)
		fmt.Fprintf(notes, "pixelctl: --to=%s is taken as %s: minutes are whole\n", s.to.exact(), whole.UTC().Format(time.RFC3339))
		s.to.Time = whole
	}
	if s.from.IsZero() {
		s.from.Time = s.to.Add(-24 * time.Hour)
	}
	if whole := s.from.Truncate(time.Minute); !whole.Equal(s.from.Time) {
		fmt.Fprintf(notes, "pixelctl: --from=%s is taken as %s: minutes are whole\n", s.from.exact(), whole.UTC().Format(time.RFC3339))
		s.from.Time = whole
	}
	s.from.Time, s.to.Time = s.from.UTC(), s.to.UTC()
	if !s.from.Before(s.to.Time) {
		return fmt.Errorf("--from=%s is not before --to=%s", s.from.String(), s.to.String())
	}
	return nil
}

func ledgerCommand(p *place) *cobra.Command {
	l := &ledgerFlags{queryFlags: queryFlags{place: p}, now: time.Now}
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Print the books of each minute, and whether they balance",
		Long: `Print the books of each minute, and whether they balance.

A row is a minute: of the event time for impressions, of the time of receipt for
entries that were rejected or ignored. It balances if

  read = impressions + rejected + ignored
  rows, those of impressions_unique, = impressions - duplicates
  gross, the sum in impression_counts_current, = rows, less those of too_late
    that no restatement has counted
  rejected = the entries in rejected_entries that the parser rejected

Deliveries that come when the books of their minute are closed cannot be compared
with what came before: as many rows may be missing (unmatched). Entries of a run of
the job that was killed before it wrote its books are recovered, if pixelctl restate
has entered them.

A minute that ended less than the allowed lateness and 3 minutes ago is open: late
entries may be on their way, so that it is shown and not judged (see
--allowed_lateness and --settled). If another does not balance, the last column says
where, and the exit code is 1.`,
		Example: `  pixelctl ledger --from=2026-01-15T12:00 --to=2026-01-15T13:00
  pixelctl ledger --format=csv >books.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	l.span.register(cmd, "now")
	cmd.Flags().BoolVar(&l.settled, "settled", false, "judge open minutes too: the job has ended")
	l.registerService(cmd)
	formatFlag(cmd, &l.format, "table", "csv", "json", "jsonl")
	return cmd
}

// books are those of a minute.
type books struct {
	read, impressions, rejected, ignored, duplicates, tooLate, unmatched, recovered int64
	// What the tables hold.
	rows, gross, rejectedRows int64
}

// add sums books.
func (b *books) add(o *books) {
	for _, f := range []struct {
		to   *int64
		from int64
	}{
		{&b.read, o.read}, {&b.impressions, o.impressions}, {&b.rejected, o.rejected}, {&b.ignored, o.ignored},
		{&b.duplicates, o.duplicates}, {&b.tooLate, o.tooLate}, {&b.unmatched, o.unmatched}, {&b.recovered, o.recovered},
		{&b.rows, o.rows}, {&b.gross, o.gross}, {&b.rejectedRows, o.rejectedRows},
	} {
		*f.to += f.from
	}
}

// faults says where the books do not balance. counted is whether there are
// counts at all.
func (b *books) faults(counted bool) []string {
	var faults []string
	if sum := b.impressions + b.rejected + b.ignored; b.read != sum {
		faults = append(faults, fmt.Sprintf("read %d, but the outcomes are %d", b.read, sum))
	}
	switch distinct := b.impressions - b.duplicates; {
	case b.rows > distinct:
		faults = append(faults, fmt.Sprintf("impressions has %d rows that the ledger does not know", b.rows-distinct))
	case b.rows < distinct-b.unmatched:
		faults = append(faults, fmt.Sprintf("impressions lacks %d rows", distinct-b.unmatched-b.rows))
	}
	if counted {
		switch {
		case b.gross > b.rows:
			faults = append(faults, fmt.Sprintf("impression_counts has %d too many", b.gross-b.rows))
		case b.gross < b.rows-b.tooLate:
			faults = append(faults, fmt.Sprintf("impression_counts lacks %d", b.rows-b.tooLate-b.gross))
		}
	}
	if b.rejectedRows != b.rejected {
		faults = append(faults, fmt.Sprintf("rejected_entries has %d", b.rejectedRows))
	}
	return faults
}

// ledgerQueries read what is compared, per minute: the minute, then numbers.
var ledgerQueries = []struct {
	sql string
	put func(b *books, n []int64)
}{
	{`SELECT minute, ` + "`read`" + `, impressions, rejected, ignored, duplicates, too_late, unmatched, recovered
FROM ledger_current WHERE minute >= @from AND minute < @to`,
		func(b *books, n []int64) {
			b.read, b.impressions, b.rejected, b.ignored = n[0], n[1], n[2], n[3]
			b.duplicates, b.tooLate, b.unmatched, b.recovered = n[4], n[5], n[6], n[7]
		}},
	{`SELECT TIMESTAMP_TRUNC(event_time, MINUTE) AS minute, COUNT(*) AS n
FROM impressions_unique WHERE event_time >= @from AND event_time < @to GROUP BY minute`,
		func(b *books, n []int64) { b.rows = n[0] }},
	{`SELECT window_start AS minute, SUM(gross) AS n
FROM impression_counts_current WHERE window_start >= @from AND window_start < @to GROUP BY minute`,
		func(b *books, n []int64) { b.gross = n[0] }},
	{`SELECT TIMESTAMP_TRUNC(receive_time, MINUTE) AS minute, COUNT(DISTINCT source) AS n
FROM rejected_entries WHERE stage = 'parse' AND receive_time >= @from AND receive_time < @to GROUP BY minute`,
		func(b *books, n []int64) { b.rejectedRows = n[0] }},
}

var ledgerSchema = bigquery.Schema{
	{Name: "minute", Type: bigquery.TimestampFieldType},
	{Name: "read", Type: bigquery.IntegerFieldType},
	{Name: "impressions", Type: bigquery.IntegerFieldType},
	{Name: "rejected", Type: bigquery.IntegerFieldType},
	{Name: "ignored", Type: bigquery.IntegerFieldType},
	{Name: "duplicates", Type: bigquery.IntegerFieldType},
	{Name: "too_late", Type: bigquery.IntegerFieldType},
	{Name: "unmatched", Type: bigquery.IntegerFieldType},
	{Name: "recovered", Type: bigquery.IntegerFieldType},
	{Name: "rows", Type: bigquery.IntegerFieldType},
	{Name: "gross", Type: bigquery.IntegerFieldType},
	{Name: "status", Type: bigquery.StringFieldType},
}

func (l *ledgerFlags) run(ctx context.Context, out, notes io.Writer) error {
	now := l.now()
	if err := l.span.settle(now.Add(time.Minute), notes); err != nil {
		return cli.Usage(err)
	}
	client, dataset, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()

	minutes := make(map[time.Time]*books)
	counted := false
	for i, q := range ledgerQueries {
		err := l.minutes(ctx, client, dataset, q.sql, func(minute time.Time, n []int64) {
			if minutes[minute] == nil {
				minutes[minute] = new(books)
			}
			q.put(minutes[minute], n)
			counted = counted || i == 2
		})
		if err != nil {
			return err
		}
	}
	w := newRowWriter(l.format, out, ledgerSchema)
	var sum books
	open, wrong := 0, 0
	for _, minute := range slices.SortedFunc(maps.Keys(minutes), time.Time.Compare) {
		b := minutes[minute]
		sum.add(b)
		status := "balanced"
		if faults := b.faults(counted); len(faults) > 0 {
			status = strings.Join(faults, "; ")
			if !l.settled && minute.Add(time.Minute+l.span.settling()).After(now) {
				status = "open: " + status
				open++
			} else {
				wrong++
			}
		}
		if err := w.row([]bigquery.Value{minute, b.read, b.impressions, b.rejected, b.ignored, b.duplicates, b.tooLate, b.unmatched, b.recovered, b.rows, b.gross, status}); err != nil {
			return err
		}
	}
	if err := w.close(); err != nil {
		return err
	}
	fmt.Fprintf(notes, "pixelctl: read %d = impressions %d + rejected %d + ignored %d; duplicates %d, too late %d; distinct rows %d, counted %d\n",
		sum.read, sum.impressions, sum.rejected, sum.ignored, sum.duplicates, sum.tooLate, sum.rows, sum.gross)
	if len(minutes) == 0 {
		fmt.Fprintf(notes, "pixelctl: there is nothing from %s to %s\n", l.span.from.String(), l.span.to.String())
	} else if !counted {
		fmt.Fprintln(notes, "pixelctl: impression_counts has nothing of these minutes, so it was not compared")
	}
	if sum.recovered > 0 {
		fmt.Fprintf(notes, "pixelctl: %d entries were recovered from the tables: duplicates and ignored entries that were read with them are not known\n", sum.recovered)
	}
	if open > 0 {
		fmt.Fprintf(notes, "pixelctl: %s open\n", isOrAre(open))
	}
	if wrong > 0 {
		return fmt.Errorf("the books do not balance: %s wrong", isOrAre(wrong))
	}
	return nil
}

func isOrAre(minutes int) string {
	if minutes == 1 {
		return "1 minute is"
	}
	return fmt.Sprintf("%d minutes are", minutes)
}

// minutes runs a query of a minute and numbers for each row.
func (l *ledgerFlags) minutes(ctx context.Context, client *bigquery.Client, dataset, sql string, each func(time.Time, []int64)) error {
	err := eachRow(ctx, &l.queryFlags, client, dataset, sql, l.span.from.Time, l.span.to.Time, func(row []bigquery.Value) error {
		minute, ok := row[0].(time.Time)
		if !ok {
			return fmt.Errorf("a minute is %v, which is no TIMESTAMP", row[0])
		}
		n := make([]int64, len(row)-1)
		for i, v := range row[1:] {
			n[i], _ = v.(int64) // NULL is 0
		}
		each(minute.UTC(), n)
		return nil
	})
	return l.explain(ctx, client, "", "", err)
}

// eachRow runs a query with the parameters @from and @to and calls each with its
// rows.
func eachRow(ctx context.Context, f *queryFlags, client *bigquery.Client, dataset, sql string, from, to time.Time, each func([]bigquery.Value) error) error {
	q := client.Query(sql)
	q.DefaultProjectID, q.DefaultDatasetID = f.splitDataset(client.Project(), dataset)
	q.Parameters = []bigquery.QueryParameter{{Name: "from", Value: from}, {Name: "to", Value: to}}
	rows, err := q.Read(ctx)
	if err != nil {
		return err
	}
	for {
		var row []bigquery.Value
		err := rows.Next(&row)
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := each(row); err != nil {
			return err
		}
	}
}
