package traffic

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"
)

const (
	tick     = 10 * time.Millisecond
	maxBatch = 1000
)

// Write writes the next n entries as JSON lines, the form of a log export to
// Cloud Storage. The attributes are not in the file: an entry whose time is in
// the attribute alone has its receiveTimestamp for one there.
func Write(w io.Writer, g *Generator, n int) error {
	b := bufio.NewWriterSize(w, 1<<20)
	var e Entry
	for range n {
		g.Next(&e)
		b.Write(e.Data)
		b.WriteByte('\n')
	}
	// A bufio.Writer keeps its first error.
	if err := b.Flush(); err != nil {
		return fmt.Errorf("traffic: write entries: %w", err)
	}
	return nil
}

// Run hands entries to publish at rate entries per second of real time (above
// 0), in batches of up to 1,000, until ctx ends (it returns nil then) or publish
// fails (it returns that error). Where publish is slower than the rate, Run
// catches up as soon as it can: the number of entries is that of the time passed.
//
// A batch is the callee's to keep. A batch that has begun is finished: publish
// gets ctx without its cancellation, so that after Run every entry in the totals
// was handed over. Use Options.Live to give entries the time of their sending.
func Run(ctx context.Context, g *Generator, rate float64, publish func(ctx context.Context, batch []Entry) error) error {
	if !(rate > 0) {
		return fmt.Errorf("traffic: rate is %v, want above 0 entries per second", rate)
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start := time.Now()
	for sent := int64(0); ; {
		due := int64(time.Since(start).Seconds()*rate) - sent
		for due > 0 && ctx.Err() == nil {
			batch := make([]Entry, min(due, maxBatch))
			for i := range batch {
				g.Next(&batch[i])
			}
			if err := publish(context.WithoutCancel(ctx), batch); err != nil {
				return fmt.Errorf("traffic: publish: %w", err)
			}
			due -= int64(len(batch))
			sent += int64(len(batch))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
