package profileserver

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificate is what a server shows of itself when it speaks HTTPS.
type Certificate struct {
	cert, key string // PEM files

	mu      sync.Mutex
	pair    *tls.Certificate
	checked time.Time
	changed [2]time.Time
}

// ReadCertificate returns the certificate of a PEM file, with the chain up to the
// root if it has one, and its key, of another. The error names the file that is
// wrong. Files that change are read again within seconds, as when a certificate is
// renewed; as long as they cannot be read, or do not belong together, the one before
// holds and the server's log says why.
func ReadCertificate(cert, key string) (*Certificate, error) {
	c := &Certificate{cert: cert, key: key}
	now := time.Now()
	if err := c.load(now); err != nil {
		return nil, err
	}
	if end := c.pair.Leaf.NotAfter; now.After(end) {
		return nil, fmt.Errorf("%s: the certificate has expired on %s", cert, end.UTC().Format(time.DateOnly))
	}
	return c, nil
}

func (c *Certificate) load(now time.Time) error {
	c.checked = now
	var changed [2]time.Time
	for i, file := range []string{c.cert, c.key} {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		changed[i] = info.ModTime()
	}
	if changed[0].Equal(c.changed[0]) && changed[1].Equal(c.changed[1]) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("%s with %s: %w", c.cert, c.key, err)
	}
	c.pair, c.changed = &pair, changed
	return nil
}

// config is for a server that logs to log.
func (c *Certificate) config(log *slog.Logger) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if now := time.Now(); now.Sub(c.checked) > reloadAfter {
				if err := c.load(now); err != nil {
					log.Error("the certificate cannot be read again, the one before holds", "error", err)
				}
			}
			return c.pair, nil
		},
	}
}
