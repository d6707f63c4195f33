package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/bigquery"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/ledger"
	"pixelbeam/transforms/logentry"
)

// keepsBooks tells whether there are books at all.
const keepsBooks = `SELECT COUNT(*) FROM ledger WHERE minute >= @from AND minute < @to`

// writtenBooks are the books of each minute: those of restatements, and all others.
func writtenBooks() string {
	sql := "SELECT minute, part = '" + ledger.RecoveredPart + "' AS recovered, MAX(pane) AS pane, SUM(impressions - duplicates) AS impressions"
	for _, reason := range logentry.RejectReasons() {
		sql += fmt.Sprintf(", SUM(rejected_%s) AS rejected_%[1]s", reason)
	}
	return sql + `
FROM (SELECT * FROM ledger WHERE minute >= @from AND minute < @to QUALIFY ROW_NUMBER() OVER (PARTITION BY minute, part ORDER BY pane DESC, ` + "`read`" + ` DESC) = 1)
GROUP BY minute, recovered`
}

// rejectedRows are the entries that the parser rejected.
const rejectedRows = `SELECT TIMESTAMP_TRUNC(receive_time, MINUTE) AS minute, reason, COUNT(DISTINCT source) AS n
FROM rejected_entries WHERE stage = 'parse' AND receive_time >= @from AND receive_time < @to GROUP BY minute, reason`

// minuteBooks are what the tables hold of a minute, and what the ledger says.
type minuteBooks struct {
	// Distinct impressions and rejected entries in the tables, less those that runs
	// of the job have counted.
	impressions int64
	rejected    map[logentry.Reason]int64
	// What a restatement has entered before; pane is -1 if nothing.
	pane           int64
	wasImpressions int64
	wasRejected    map[logentry.Reason]int64
}

// settle compares what is missing with what was entered, and tells what to enter.
func (b *minuteBooks) settle() (impressions int64, rejected map[logentry.Reason]int64, changed bool) {
	impressions = max(0, b.impressions)
	rejected = make(map[logentry.Reason]int64)
	changed = impressions != b.wasImpressions
	for _, reason := range logentry.RejectReasons() {
		if n := max(0, b.rejected[reason]); n > 0 {
			rejected[reason] = n
		}
		changed = changed || rejected[reason] != b.wasRejected[reason]
	}
	return impressions, rejected, changed
}

// restateLedger enters into the books what the tables hold of the minutes in [from,
// to) and no run of the job has counted. rows are the distinct impressions.
func (t *restater) restateLedger(ctx context.Context, from, to time.Time, rows map[int64]int64) error {
	if !t.books {
		return nil
	}
	minutes := make(map[int64]*minuteBooks)
	at := func(minute int64) *minuteBooks {
		if minutes[minute] == nil {
			minutes[minute] = &minuteBooks{rejected: map[logentry.Reason]int64{}, wasRejected: map[logentry.Reason]int64{}, pane: -1}
		}
		return minutes[minute]
	}
	for minute, n := range rows {
		at(minute).impressions += n
	}
	reasons := logentry.RejectReasons()
	err := t.each(ctx, writtenBooks(), from, to, func(row []bigquery.Value) error {
		minute, ok1 := row[0].(time.Time)
		recovered, ok2 := row[1].(bool)
		if !ok1 || !ok2 || len(row) != 4+len(reasons) {
			return errColumns
		}
		n := make([]int64, len(row))
		for i, v := range row[2:] {
			n[2+i], _ = v.(int64) // NULL is 0
		}
		b := at(minute.UnixMicro())
		if recovered {
			b.pane, b.wasImpressions = n[2], n[3]
		} else {
			b.impressions -= n[3]
		}
		for i, reason := range reasons {
			if recovered {
				b.wasRejected[reason] = n[4+i]
			} else {
				b.rejected[reason] -= n[4+i]
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = t.each(ctx, rejectedRows, from, to, func(row []bigquery.Value) error {
		minute, ok1 := row[0].(time.Time)
		reason, ok2 := row[1].(string)
		n, ok3 := row[2].(int64)
		if !ok1 || !ok2 || !ok3 {
			return errColumns
		}
		at(minute.UnixMicro()).rejected[logentry.Reason(reason)] += n
		return nil
	})
	if err != nil {
		return err
	}
	for _, minute := range slices.Sorted(maps.Keys(minutes)) {
		b := minutes[minute]
		impressions, rejected, changed := b.settle()
		if !changed {
			continue
		}
		e := ledger.OfTables(minute, b.pane+1, impressions, rejected, ledger.Build{Version: cli.Build().Version})
		t.done.recovered += e.Recovered
		t.done.entries++
		if t.ledger == nil {
			continue
		}
		if err := t.ledger.Write(ctx, schemas.Row{Data: e.Append(nil), ReceiveTime: minute + distinct.Window.Microseconds()}); err != nil {
			return err
		}
	}
	if t.ledger == nil {
		return nil
	}
	return t.ledger.Flush(ctx)
}
