package edge

import (
	"bytes"
	"embed"
	"html/template"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

//go:embed sample.html status.html
var templates embed.FS

// pagePaths are the paths of pages, which are not logged.
var pagePaths = map[string]bool{"/sample.html": true, "/status": true, "/status.json": true, "/healthz": true}

func isPage(path string) bool { return pagePaths[path] }

// pages returns the handlers of the pages by path.
func pages(opts Options) map[string]http.Handler {
	status := StatusHandler(opts.Status)
	if opts.Status == nil {
		status = http.NotFoundHandler()
	}
	return map[string]http.Handler{
		"/sample.html": readOnly(sampleHandler(opts)),
		"/status":      readOnly(status),
		"/status.json": readOnly(status),
		"/healthz":     readOnly(http.HandlerFunc(healthz)),
	}
}

// readOnly lets GET and HEAD through.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "GET or HEAD only", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

var sampleTemplate = template.Must(template.ParseFS(templates, "sample.html"))

// sampleHandler serves the page that carries the pixel.
func sampleHandler(opts Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		render(w, sampleTemplate, map[string]any{
			"Pixel":       opts.PixelPaths[0],
			"PageURL":     origin(r) + r.URL.Path,
			"CacheBuster": strconv.FormatUint(rand.Uint64(), 10),
			"User":        "visitor-" + strconv.FormatUint(rand.Uint64N(1e6), 10),
			"HasStatus":   opts.Status != nil,
			"Now":         time.Now().UTC().Format(time.RFC3339),
		})
	})
}

// render executes a page's template whole before anything is sent.
func render(w http.ResponseWriter, t *template.Template, data any) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes())
}
