// Package edge stands in, on one machine, for what a pixel meets in the cloud: a
// global external Application Load Balancer with Cloud CDN over a storage bucket,
// and the log sink behind it.
//
// # What it answers
//
// The pixel paths answer with a transparent image of one pixel, GIF or PNG by the
// path's extension, to GET and HEAD; other methods get 405, other paths 404, as a
// backend bucket does. The images carry Cache-Control "no-cache, no-store,
// must-revalidate": the real edge caches the object itself (FORCE_CACHE_ALL) and
// sends this header in place of a client TTL, so that every view by every browser
// reaches it. no-store keeps browsers and proxies from keeping the image; those
// that keep it all the same must ask again, and then get 304 by ETag or date: an
// impression as well. Conditional and range requests are answered as the HTTP
// standard says.
//
// # What it logs
//
// Every request but those to the pages below becomes exactly one log entry, as
// Cloud Logging writes it for such a load balancer, published as the sink does:
// the LogEntry as JSON, with the attribute logging.googleapis.com/timestamp. The
// first GET of a pixel path fills the cache and later ones hit it. Sizes count the
// request line or status line, the headers and the body. Bytes that are not UTF-8
// become question marks. Requests so malformed that Go's HTTP server answers them
// by itself, with 400, are not logged.
//
// Entries are published in the background, in batches, and tried again for a
// while. The response does not wait for that, unless so many entries wait that the
// queue is full: then the connection's next request waits and nothing is lost.
// Close publishes what is queued.
//
// # Pages
//
// /sample.html is a page that carries the pixel, /status and /status.json say what
// has become of it, /healthz answers 200. They are not logged.
package edge
