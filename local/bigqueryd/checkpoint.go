package bigqueryd

import (
	"context"
	"log/slog"
	"os"
	"time"
)

// The write-ahead log is moved into the file when it has grown to walEnough and
// checkpointEvery has passed, or at once when it has grown to walLimit. Appends
// wait meanwhile, for 5-10 microseconds of CPU a row since the last time and for
// up to 122,880 rows before, which DuckDB compresses anew: too often costs CPU, too
// seldom makes the pause, the memory (rows in the log are kept uncompressed) and
// the replay after a kill longer.
const (
	walEnough       = 32 << 20
	walLimit        = 192 << 20
	checkpointEvery = 30 * time.Second
)

// checkpointer moves the write-ahead log into the file, in its own time: DuckDB
// itself would do it within a commit.
type checkpointer struct {
	conn    *connection
	wal     string
	last    time.Time
	log     *slog.Logger
	stop    chan struct{}
	stopped chan struct{}
}

// newCheckpointer starts a checkpointer; a database in memory needs none.
func newCheckpointer(db *database, path string, log *slog.Logger) (*checkpointer, error) {
	c := &checkpointer{wal: path + ".wal", last: time.Now(), log: log, stop: make(chan struct{}), stopped: make(chan struct{})}
	if path == "" {
		close(c.stopped)
		return c, nil
	}
	var err error
	if c.conn, err = db.connect(); err != nil {
		return nil, err
	}
	go c.loop()
	return c, nil
}

func (c *checkpointer) loop() {
	defer close(c.stopped)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		info, err := os.Stat(c.wal)
		if err != nil { // no log: nothing was written
			continue
		}
		if size := info.Size(); size >= walLimit || size >= walEnough && time.Since(c.last) >= checkpointEvery {
			c.checkpoint(size)
		}
	}
}

func (c *checkpointer) checkpoint(size int64) {
	began := time.Now()
	// A refusal, because a transaction is running, passes: the next tick tries
	// again.
	if err := c.conn.exec(context.Background(), "CHECKPOINT"); err != nil {
		c.log.Debug("bigqueryd: checkpoint put off", "error", err)
		return
	}
	c.last = time.Now()
	c.log.Debug("bigqueryd: checkpoint", "bytes", size, "took", c.last.Sub(began))
}

// close ends the checkpointer; a checkpoint that runs is finished.
func (c *checkpointer) close() {
	close(c.stop)
	<-c.stopped
	if c.conn != nil {
		c.conn.close()
	}
}
