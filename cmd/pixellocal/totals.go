package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"pixelbeam/pipeline"
)

// books are what lies in the tables.
type books struct{ impressions, distinct, rejected, gross int64 }

// books counts the rows of the tables.
func (cl *cloud) books(ctx context.Context) (b books, err error) {
	for _, q := range []struct {
		n   *int64
		sql string
	}{
		{&b.impressions, "SELECT COUNT(*) AS n FROM " + cl.impressions()},
		{&b.distinct, "SELECT COUNT(*) AS n FROM (SELECT insert_id, event_time FROM " + cl.impressions() + " GROUP BY insert_id, event_time)"},
		{&b.rejected, "SELECT COUNT(*) AS n FROM `" + cl.dataset + ".rejected_entries`"},
		{&b.gross, "SELECT IFNULL(SUM(gross), 0) AS n FROM `" + cl.dataset + ".impression_counts_current`"},
	} {
		rows, err := cl.bigQuery.Query(ctx, q.sql)
		if err != nil {
			return b, err
		}
		if *q.n, err = integer(rows[0]["n"]); err != nil {
			return b, err
		}
	}
	return b, nil
}

// printTotals prints the books of the run and returns an error if they do not
// balance: entries read against their outcomes, outcomes against tables.
func printTotals(ctx context.Context, w io.Writer, cl *cloud, before books, r pipeline.Result, started time.Time) error {
	stats, err := cl.pubsub.Stats(subscriptionName)
	if err != nil {
		return err
	}
	after, err := cl.books(ctx)
	if err != nil {
		return err
	}
	impressions, rejected := after.impressions-before.impressions, after.rejected-before.rejected
	fmt.Fprintf(w, "\nPublished %d messages; %d are unread.\n", stats.Published, stats.Backlog+stats.Outstanding)
	if err := r.Write(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "Written: impressions %d rows (in all now: %d, distinct %d), rejected_entries %d, counted gross %d\n",
		impressions, after.impressions, after.distinct, rejected, after.gross-before.gross)
	fmt.Fprintf(w, "Took %s, %s at most.\n", time.Since(started).Round(10*time.Millisecond), peakMemory())

	errs := []error{r.Balance()}
	if impressions < r.Impressions() {
		errs = append(errs, fmt.Errorf("%d impressions, but %d new rows", r.Impressions(), impressions))
	}
	if rejected < r.Rejected() {
		errs = append(errs, fmt.Errorf("%d rejected entries, but %d new rows", r.Rejected(), rejected))
	}
	if unread := stats.Backlog + stats.Outstanding; unread > 0 {
		errs = append(errs, fmt.Errorf("%d messages were not read", unread))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintln(w, "The books balance.")
	return nil
}

// peakMemory is the largest resident set of this process.
func peakMemory() string {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%d MiB", u.Maxrss>>10)
}

// integer takes a count as the database gives it.
func integer(v any) (int64, error) {
	switch n := v.(type) {
	case int64:
		return n, nil
	case int:
		return int64(n), nil
	}
	return 0, fmt.Errorf("%v (%T) is not an integer", v, v)
}
