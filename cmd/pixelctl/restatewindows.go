package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/bigquery"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/profile"
	"pixelbeam/transforms/rollup"
)

// rawRows are the impressions, each once.
const rawRows = `SELECT insert_id, event_time, ARRAY_LENGTH(invalid_reasons) > 0 AS invalid, event_type, advertiser_id, campaign_id,
  creative_id, placement_id, site_id, user_id, page_url, country, browser, os, device_type
FROM impressions_unique WHERE event_time >= @from AND event_time < @to`

// writtenCounts are the counts that hold, as impression_counts_current has it.
const writtenCounts = `SELECT window_start, part, pane, gross, invalid, clicks, sketch, advertiser_id, campaign_id, creative_id, placement_id,
  site_id, country, device_type, event_type
FROM impression_counts WHERE window_start >= @from AND window_start < @to
QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, advertiser_id, campaign_id, creative_id, placement_id, site_id,
  country, device_type, event_type, part ORDER BY pane DESC, gross DESC, invalid DESC) = 1`

// name of a count: all but its pane.
type countName struct {
	window int64
	part   int64
	key    string // of its group
}

// countNumbers of a count.
type countNumbers struct {
	pane, gross, invalid, clicks int64
	sketch                       []byte
}

func (n *countNumbers) equal(o *countNumbers) bool {
	return n.gross == o.gross && n.invalid == o.invalid && n.clicks == o.clicks && bytes.Equal(n.sketch, o.sketch)
}

// place of a set: its window and shard.
type setName struct{ window, shard int64 }

// sets are built of impressions.
type sets map[setName]*distinct.Builder

func (s sets) at(window, shard int64) *distinct.Builder {
	name := setName{window, shard}
	if s[name] == nil {
		s[name] = new(distinct.Builder)
	}
	return s[name]
}

// each calls f with the restatement of each set, in order.
func (s sets) each(f func(*distinct.Restatement) error) error {
	order := slices.SortedFunc(maps.Keys(s), func(a, b setName) int {
		if a.window != b.window {
			return int(min(max(a.window-b.window, -1), 1))
		}
		return int(min(max(a.shard-b.shard, -1), 1))
	})
	for _, name := range order {
		r, err := distinct.State(name.shard, name.window, s[name].Append(nil))
		if err != nil {
			return err
		}
		if err := f(&r); err != nil {
			return err
		}
	}
	return nil
}

// restate restates the windows that begin in [from, to).
func (t *restater) restate(ctx context.Context, from, to time.Time) error {
	counted, users := sets{}, sets{}
	windows := map[int64]int64{} // distinct rows of each
	err := t.each(ctx, rawRows, from, to, func(row []bigquery.Value) error {
		r, err := record(row)
		if err != nil {
			return err
		}
		window := distinct.WindowStart(r.EventTime)
		rollup.Add(counted.at(window, rollup.Part(&r, t.parts)), &r)
		if len(r.UserID) > 0 && t.profiles != nil {
			profile.Add(users.at(window, 0), &r)
		}
		windows[window]++
		t.done.rows++
		return nil
	})
	if err != nil {
		return err
	}
	t.done.windows += int64(len(windows))
	written := map[countName]*countNumbers{}
	err = t.each(ctx, writtenCounts, from, to, func(row []bigquery.Value) error {
		name, n, err := count(row)
		written[name] = n
		return err
	})
	if err != nil {
		return err
	}
	if err := t.restateCounts(ctx, counted, written); err != nil {
		return err
	}
	if err := t.restateLedger(ctx, from, to, windows); err != nil {
		return err
	}
	return t.restateProfiles(ctx, users)
}

// restateCounts writes the counts that differ from those written, and zeros for
// those that should not be.
func (t *restater) restateCounts(ctx context.Context, counted sets, written map[countName]*countNumbers) error {
	encoder, err := rollup.NewEncoder()
	if err != nil {
		return err
	}
	put := func(r *distinct.Restatement, g *distinct.Group) error {
		name := countName{r.WindowStart, r.Shard, string(g.Key)}
		old := written[name]
		delete(written, name)
		if old != nil {
			r.Pane = old.pane + 1
		} else {
			r.Pane = 0
		}
		data, err := encoder.AppendRow(nil, r, g)
		if err != nil {
			return err
		}
		var row pixelbeamv1.ImpressionCount
		if err := proto.Unmarshal(data, &row); err != nil {
			return err
		}
		if old != nil && old.equal(&countNumbers{0, row.GetGross(), row.GetInvalid(), row.GetClicks(), row.GetSketch()}) {
			return nil
		}
		t.done.counts++
		if t.counts == nil {
			return nil
		}
		return t.counts.Write(ctx, schemas.Row{Data: data, ReceiveTime: r.WindowEnd})
	}
	err = counted.each(func(r *distinct.Restatement) error {
		for i := range r.Groups {
			if err := put(r, &r.Groups[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// What is left was counted, and is in no raw row.
	for _, name := range slices.Collect(maps.Keys(written)) {
		r := &distinct.Restatement{Shard: name.part, WindowStart: name.window, WindowEnd: name.window + distinct.Window.Microseconds()}
		if err := put(r, &distinct.Group{Key: []byte(name.key)}); err != nil {
			return err
		}
	}
	if t.counts == nil {
		return nil
	}
	return t.counts.Flush(ctx)
}

// restateProfiles writes the updates of users that differ from what the table
// holds.
func (t *restater) restateProfiles(ctx context.Context, users sets) error {
	if t.profiles == nil {
		return nil
	}
	err := users.each(func(r *distinct.Restatement) error {
		return profile.Rows(r, func(row schemas.Row) error { return t.profiles.Write(ctx, row) })
	})
	if err != nil {
		return err
	}
	return t.profiles.Flush(ctx)
}

// record turns a row of rawRows into what the job counts.
func record(row []bigquery.Value) (impression.Record, error) {
	id, ok1 := row[0].(string)
	at, ok2 := row[1].(time.Time)
	if !ok1 || !ok2 || len(row) != 15 {
		return impression.Record{}, errColumns
	}
	r := impression.NewRecord(id, at.UnixMicro())
	r.Invalid, _ = row[2].(bool) // NULL is no reason
	for i, to := range []*[]byte{&r.EventType, &r.AdvertiserID, &r.CampaignID, &r.CreativeID, &r.PlacementID, &r.SiteID,
		&r.UserID, &r.PageURL, &r.Country, &r.Browser, &r.OS, &r.DeviceType} {
		if s, ok := row[3+i].(string); ok {
			*to = []byte(s)
		}
	}
	return r, nil
}

// count turns a row of writtenCounts into a count.
func count(row []bigquery.Value) (countName, *countNumbers, error) {
	window, ok1 := row[0].(time.Time)
	part, ok2 := row[1].(int64)
	if !ok1 || !ok2 || len(row) != 15 {
		return countName{}, nil, errColumns
	}
	n := new(countNumbers)
	for i, to := range []*int64{&n.pane, &n.gross, &n.invalid, &n.clicks} {
		*to, _ = row[2+i].(int64)
	}
	n.sketch, _ = row[6].([]byte)
	var d rollup.Dimensions
	for i, v := range row[7:] {
		s, _ := v.(string)
		d[i] = []byte(s)
	}
	if n.gross < n.invalid {
		return countName{}, nil, fmt.Errorf("a count of window %s has invalid %d of gross %d", window, n.invalid, n.gross)
	}
	return countName{window.UnixMicro(), part, string(d.AppendKey(nil))}, n, nil
}
