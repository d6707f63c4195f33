package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/transforms/impression"
)

// printAddresses says where everything is.
func printAddresses(w io.Writer, c *config, e cli.Endpoints) {
	fmt.Fprintf(w, `Pixelbeam on this machine, data in %s

  pixel        %s%s
  sample page  %s/sample.html
  status       %s/status
  BigQuery     %s (Storage Write API: %s)
  Bigtable     %s
  Pub/Sub      %s
  Storage      %s

  pixelctl --data=%s query "SELECT COUNT(*) FROM impressions"

Ctrl-C drains and prints the totals.
`, c.data, e.HTTP, c.job.PixelPaths[0], e.HTTP, e.HTTP, e.BigQueryREST, e.BigQueryStorage, e.Bigtable, e.PubSub, e.Storage, c.data)
}

// showStatus keeps a line of what has been done so far on w: in place on a
// terminal, else a new line now and then. The function it returns stops it, and
// may be called again.
func showStatus(w io.Writer, cl *cloud) (stop func()) {
	every, format := 10*time.Second, "%s\n"
	if isTerminal(w) {
		every, format = time.Second, "\r\x1b[K%s"
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		last := impression.ProcessTotals()
		lastRead, at := last.Read(), time.Now()
		for {
			select {
			case <-done:
				if isTerminal(w) {
					fmt.Fprintln(w)
				}
				return
			case now := <-ticker.C:
				t := impression.ProcessTotals()
				read := t.Read()
				rate := float64(read-lastRead) / now.Sub(at).Seconds()
				lastRead, at = read, now
				fmt.Fprintf(w, format, statusLine(cl, t, rate))
			}
		}
	}()
	var once sync.Once
	return func() {
		once.Do(func() { close(done) })
		<-stopped
	}
}

func statusLine(cl *cloud, t impression.Totals, rate float64) string {
	line := fmt.Sprintf("%s  read %d (%.0f/s)  impressions %d  rejected %d  ignored %d",
		time.Now().Format(time.TimeOnly), t.Read(), rate, t.Impressions, sum(t.Rejected), sum(t.Ignored))
	if unread, err := cl.unread(); err == nil {
		line += fmt.Sprintf("  waiting %d", unread)
	}
	return line
}

func sum[K comparable](m map[K]int64) (n int64) {
	for _, c := range m {
		n += c
	}
	return n
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
