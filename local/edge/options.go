package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Entry is one log entry on its way to Pub/Sub.
type Entry struct {
	// Data is the LogEntry as JSON.
	Data []byte
	// Attributes are the log sink's.
	Attributes map[string]string
}

// Publisher is where entries go. It is called from several goroutines. An error
// means that the entry may be published again.
type Publisher interface {
	Publish(ctx context.Context, data []byte, attributes map[string]string) error
}

// BatchPublisher is a Publisher that takes several entries at once, which is
// preferred. An error means that all of them may be published again.
type BatchPublisher interface {
	Publisher
	PublishBatch(ctx context.Context, entries []Entry) error
}

// Options configure an Edge. Publisher is required.
type Options struct {
	Publisher Publisher
	// PixelPaths are the paths that answer with a pixel, compared with the
	// percent-decoded path: a PNG if the path ends in .png, else a GIF. Default
	// /pixel.gif, /pixel.png and /p.gif. The first is on the sample page.
	PixelPaths []string
	// TrustForwardedFor takes the client's address from the first entry of
	// X-Forwarded-For, if that is an address: for an edge behind a proxy, and for
	// generated traffic. Otherwise the connection's address counts.
	TrustForwardedFor bool
	// Project names the project of the entries; default "pixelbeam-local".
	Project string
	// URLMap names the load balancer; default "pixelbeam".
	URLMap string
	// CacheID is the cache that answers: the IATA code of its place, a hyphen, and
	// eight hexadecimal digits; default "FRA-0badcafe".
	CacheID string
	// Status fills /status and /status.json; nil: both answer 404.
	Status StatusFunc
	// QueueSize is how many entries may wait to be published; default 10,000.
	QueueSize int
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger gets failures to publish; default slog.Default().
	Logger *slog.Logger
}

const (
	defaultQueueSize = 10_000
	defaultProject   = "pixelbeam-local"
	defaultURLMap    = "pixelbeam"
	defaultCacheID   = "FRA-0badcafe"
)

// DefaultPixelPaths returns the default of Options.PixelPaths.
func DefaultPixelPaths() []string { return []string{"/pixel.gif", "/pixel.png", "/p.gif"} }

// withDefaults returns the options with defaults filled in, or an error that names
// every field that cannot be used.
func (o Options) withDefaults() (Options, error) {
	if len(o.PixelPaths) == 0 {
		o.PixelPaths = DefaultPixelPaths()
	}
	if o.Project == "" {
		o.Project = defaultProject
	}
	if o.URLMap == "" {
		o.URLMap = defaultURLMap
	}
	if o.CacheID == "" {
		o.CacheID = defaultCacheID
	}
	if o.QueueSize == 0 {
		o.QueueSize = defaultQueueSize
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	var errs []error
	if o.Publisher == nil {
		errs = append(errs, errors.New("edge: Publisher is missing"))
	}
	if o.QueueSize < 0 {
		errs = append(errs, fmt.Errorf("edge: QueueSize %d: want 1 or more", o.QueueSize))
	}
	for _, p := range o.PixelPaths {
		switch {
		case !strings.HasPrefix(p, "/"):
			errs = append(errs, fmt.Errorf("edge: pixel path %q: want a path that begins with /", p))
		case isPage(p):
			errs = append(errs, fmt.Errorf("edge: pixel path %q is the path of a page", p))
		}
	}
	return o, errors.Join(errs...)
}
