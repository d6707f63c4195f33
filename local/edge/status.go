package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Status is what the status page shows. Everything is optional but Started.
type Status struct {
	// Started is when the process began.
	Started time.Time `json:"started"`
	// Entries are counts of log entries since Started.
	Entries Entries `json:"entries"`
	// Backlog counts messages published and not yet acknowledged by the pipeline.
	Backlog int64 `json:"backlog"`
	// Watermark is the event time up to which windows may be complete.
	Watermark time.Time `json:"watermark,omitzero"`
	// Tables are shown in their order.
	Tables []Table `json:"tables"`
	// Recent are rows of recent impressions, newest first, by column name.
	Recent []map[string]any `json:"recent"`
	// RecentRejected are rows of recent rejected entries, newest first.
	RecentRejected []map[string]any `json:"recent_rejected"`
	// Addresses are what can be connected to, by name, as URL or host:port.
	Addresses map[string]string `json:"addresses"`
}

// Entries are counts of log entries. Once the pipeline is idle Read = Impressions
// + Rejected + Ignored.
type Entries struct {
	Published        int64            `json:"published"`
	Read             int64            `json:"read"`
	Impressions      int64            `json:"impressions"`
	Rejected         int64            `json:"rejected"`
	Ignored          int64            `json:"ignored"`
	RejectedByReason map[string]int64 `json:"rejected_by_reason,omitempty"`
	IgnoredByReason  map[string]int64 `json:"ignored_by_reason,omitempty"`
	// BigtableCells counts profile cells written.
	BigtableCells int64 `json:"bigtable_cells"`
}

// Pending is what has been read and not been decided yet, or 0.
func (e Entries) Pending() int64 { return max(0, e.Read-e.Impressions-e.Rejected-e.Ignored) }

// Table is a table and its number of rows.
type Table struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

// StatusFunc returns the present status. It is called for every view of the page.
type StatusFunc func(context.Context) (Status, error)

// StatusHandler serves the status as JSON where the path ends in .json and else as
// a page without any outside parts that renews itself every two seconds. An error
// of f is answered with 503 and its text.
func StatusHandler(f StatusFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := f(r.Context())
		if err != nil {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "no status: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		if strings.HasSuffix(r.URL.Path, ".json") {
			writeJSON(w, status)
			return
		}
		render(w, statusTemplate, statusPage{
			Status:   status,
			Now:      time.Now().UTC(),
			Recent:   newGrid(status.Recent, recentColumns),
			Rejected: newGrid(status.RecentRejected, rejectedColumns),
		})
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(b, '\n'))
}

// Columns that the page shows, where a row has them; the JSON holds all.
var (
	recentColumns = []string{"event_time", "event_type", "advertiser_id", "campaign_id", "creative_id", "placement_id",
		"user_id", "page_host", "country", "device_type", "browser", "os", "invalid_reasons", "lint"}
	rejectedColumns = []string{"receive_time", "reason", "detail", "stage", "payload"}
)

// statusPage is what the page's template shows.
type statusPage struct {
	Status
	Now      time.Time
	Recent   grid
	Rejected grid
}

// Uptime is the time since the start, in whole seconds.
func (p statusPage) Uptime() time.Duration { return p.Now.Sub(p.Started).Truncate(time.Second) }

// Lag is how far the watermark is behind, in whole seconds.
func (p statusPage) Lag() time.Duration { return p.Now.Sub(p.Watermark).Truncate(time.Second) }

// grid is a table on the page.
type grid struct {
	Columns []string
	Rows    [][]string
}

// newGrid lays out rows with those of the wanted columns that occur, or with all
// columns if none does.
func newGrid(rows []map[string]any, wanted []string) grid {
	occurs := map[string]bool{}
	for _, row := range rows {
		for name, value := range row {
			occurs[name] = occurs[name] || value != nil
		}
	}
	var g grid
	for _, name := range wanted {
		if occurs[name] {
			g.Columns = append(g.Columns, name)
		}
	}
	if len(g.Columns) == 0 {
		g.Columns = slices.Sorted(maps.Keys(occurs))
	}
	for _, row := range rows {
		var cells []string
		for _, name := range g.Columns {
			cells = append(cells, cell(row[name]))
		}
		g.Rows = append(g.Rows, cells)
	}
	return g
}

// maxCell is the longest text of a cell, in runes.
const maxCell = 200

func cell(v any) string {
	var text string
	switch v := v.(type) {
	case nil:
	case []byte:
		text = string(v)
	case time.Time:
		text = v.UTC().Format("2006-01-02 15:04:05.000")
	default:
		text = fmt.Sprint(v)
	}
	if r := []rune(text); len(r) > maxCell {
		text = string(r[:maxCell]) + "…"
	}
	return text
}

var statusTemplate = template.Must(template.New("status.html").Funcs(template.FuncMap{
	"group": group,
}).ParseFS(templates, "status.html"))

// group writes a number with a narrow space between thousands.
func group(n int64) string {
	text := fmt.Sprint(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(text) - 3; i > start; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}
