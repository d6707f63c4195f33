package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"pixelbeam/local/edge"
	"pixelbeam/local/pubsubd"
	"pixelbeam/pipeline/source"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/logentry"
)

// web is the HTTP server: the edge and its pages.
type web struct {
	listener net.Listener
	server   *http.Server
	edge     *edge.Edge
	once     sync.Once
	err      error
}

func startWeb(c *config, cl *cloud, started time.Time) (*web, error) {
	l, err := net.Listen("tcp", c.http)
	if err != nil {
		return nil, fmt.Errorf("--http=%s: %w", c.http, err)
	}
	w := &web{listener: l}
	w.edge, err = edge.New(edge.Options{
		Publisher:  logSink{cl.pubsub},
		PixelPaths: c.job.PixelPaths,
		Project:    project,
		Status:     func(ctx context.Context) (edge.Status, error) { return cl.status(ctx, w.addr(), started) },
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	w.server = &http.Server{Handler: w.edge, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("the web server ended", "error", err)
		}
	}()
	return w, nil
}

func (w *web) addr() string { return w.listener.Addr().String() }

// close answers what is under way, takes no more, and publishes all that is
// logged. It may be called again.
func (w *web) close() error {
	w.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.err = errors.Join(w.server.Shutdown(ctx), w.edge.Close())
		if failed := w.edge.Stats().Failed; failed > 0 {
			w.err = errors.Join(w.err, fmt.Errorf("%d requests could not be logged", failed))
		}
	})
	return w.err
}

// logSink publishes the edge's entries as the log router does.
type logSink struct{ pubsub *pubsubd.Server }

// Publish publishes one entry.
func (s logSink) Publish(_ context.Context, data []byte, attributes map[string]string) error {
	_, err := s.pubsub.Publish(topicName, pubsubd.Message{Data: data, Attributes: attributes})
	return err
}

// PublishBatch publishes several entries at once.
func (s logSink) PublishBatch(_ context.Context, entries []edge.Entry) error {
	msgs := make([]pubsubd.Message, len(entries))
	for i, e := range entries {
		msgs[i] = pubsubd.Message{Data: e.Data, Attributes: e.Attributes}
	}
	_, err := s.pubsub.Publish(topicName, msgs...)
	return err
}

// status fills the status page.
func (cl *cloud) status(ctx context.Context, http string, started time.Time) (edge.Status, error) {
	stats, err := cl.pubsub.Stats(subscriptionName)
	if err != nil {
		return edge.Status{}, err
	}
	t := impression.ProcessTotals()
	s := edge.Status{
		Started: started,
		Backlog: stats.Backlog + stats.Outstanding,
		Entries: edge.Entries{
			Published: stats.Published, Read: t.Read(), Impressions: t.Impressions,
			Rejected: sum(t.Rejected), Ignored: sum(t.Ignored),
			RejectedByReason: byName(t.Rejected), IgnoredByReason: byName(t.Ignored),
			BigtableCells: cl.bigtable.Stats().CellsWritten,
		},
		Watermark: source.Stats().Watermark,
	}
	e := cl.endpoints(http)
	s.Addresses = map[string]string{
		"Pixel": e.HTTP, "Pub/Sub": e.PubSub, "Bigtable": e.Bigtable, "Storage": e.Storage,
		"BigQuery": e.BigQueryREST, "BigQuery Storage Write API": e.BigQueryStorage,
	}
	names, err := cl.tables(ctx)
	if err != nil {
		return s, err
	}
	for _, name := range names {
		rows, err := cl.bigQuery.Query(ctx, fmt.Sprintf("SELECT COUNT(*) AS n FROM `%s.%s`", cl.dataset, name))
		if err != nil {
			return s, err
		}
		n, err := integer(rows[0]["n"])
		if err != nil {
			return s, err
		}
		s.Tables = append(s.Tables, edge.Table{Name: name, Rows: n})
	}
	if s.Recent, err = cl.bigQuery.Query(ctx, "SELECT * FROM "+cl.impressions()+" ORDER BY event_time DESC LIMIT 20"); err != nil {
		return s, err
	}
	s.RecentRejected, err = cl.bigQuery.Query(ctx, fmt.Sprintf(
		"SELECT receive_time, reason, detail, stage FROM `%s.rejected_entries` ORDER BY receive_time DESC LIMIT 10", cl.dataset))
	return s, err
}

func byName(m map[logentry.Reason]int64) map[string]int64 {
	out := make(map[string]int64, len(m))
	for reason, n := range m {
		out[string(reason)] = n
	}
	return out
}
