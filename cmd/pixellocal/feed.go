package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pixelbeam/local/pubsubd"
	"pixelbeam/local/traffic"
)

const timestampAttribute = "logging.googleapis.com/timestamp"

// feed publishes entries as the log sink does.
type feed struct {
	pubsub *pubsubd.Server
}

// send publishes a batch.
func (f *feed) send(_ context.Context, batch []traffic.Entry) error {
	msgs := make([]pubsubd.Message, len(batch))
	for i := range batch {
		msgs[i] = message(batch[i].Data, batch[i].Timestamp)
	}
	_, err := f.pubsub.Publish(topicName, msgs...)
	return err
}

func message(data []byte, timestamp string) pubsubd.Message {
	m := pubsubd.Message{Data: data}
	if timestamp != "" {
		m.Attributes = map[string]string{timestampAttribute: timestamp}
	}
	return m
}

// generate publishes n generated entries as fast as they are read: not more than
// maxBacklog ahead of the job, so that memory stays bounded.
func (f *feed) generate(ctx context.Context, g *traffic.Generator, n int64) error {
	const size = 500
	for n > 0 && ctx.Err() == nil {
		batch := make([]traffic.Entry, min(n, size))
		for i := range batch {
			g.Next(&batch[i])
		}
		if err := f.send(ctx, batch); err != nil {
			return err
		}
		n -= int64(len(batch))
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// files publishes every line of the files that match the patterns, one entry a
// line, byte for byte.
func (f *feed) files(ctx context.Context, patterns []string) error {
	var names []string
	for _, p := range patterns {
		matches, err := filepath.Glob(p)
		if err != nil {
			return fmt.Errorf("--entries=%s: %w", p, err)
		}
		if len(matches) == 0 {
			return fmt.Errorf("--entries=%s matches no file", p)
		}
		names = append(names, matches...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := f.file(ctx, name); err != nil {
			return fmt.Errorf("publish %s: %w", name, err)
		}
	}
	return nil
}

// maxMessage is the most that Pub/Sub takes in one message, less what the
// request around it needs.
const maxMessage = 10_000_000 - 1024

func (f *feed) file(ctx context.Context, name string) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			return err
		}
	}
	lines := bufio.NewReaderSize(r, 1<<20)
	var batch []pubsubd.Message
	bytesInBatch := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := f.pubsub.Publish(topicName, batch...)
		batch, bytesInBatch = nil, 0
		return errors.Join(err, f.wait(ctx))
	}
	for number := 1; ctx.Err() == nil; number++ {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return err
		}
		last := err == io.EOF
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) > maxMessage {
			return fmt.Errorf("line %d has %d bytes, more than Pub/Sub takes in a message", number, len(line))
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if len(batch) == 500 || bytesInBatch+len(line) > maxMessage/2 {
				if err := flush(); err != nil {
					return err
				}
			}
			batch = append(batch, pubsubd.Message{Data: line})
			bytesInBatch += len(line)
		}
		if last {
			return flush()
		}
	}
	return ctx.Err()
}
