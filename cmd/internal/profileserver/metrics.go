package profileserver

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// buckets are upper bounds of latencies, in seconds.
var buckets = [...]float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1}

// metrics are counts in the form that Prometheus reads
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
type metrics struct {
	inFlight atomic.Int64
	routes   []routeMetrics
}

type routeMetrics struct {
	name     string
	statuses [6]atomic.Int64 // by first digit
	within   [len(buckets)]atomic.Int64
	nanos    atomic.Int64
}

func newMetrics(routes []route) *metrics {
	m := &metrics{routes: make([]routeMetrics, len(routes))}
	for i, r := range routes {
		m.routes[i].name = r.method + " " + r.path
	}
	return m
}

func (m *metrics) route(i int) *routeMetrics { return &m.routes[i] }

func (m *routeMetrics) observe(status int, took time.Duration) {
	m.statuses[status/100].Add(1)
	m.nanos.Add(int64(took))
	for i, bound := range buckets {
		if took.Seconds() <= bound {
			m.within[i].Add(1)
			break
		}
	}
}

func (m *metrics) write(w io.Writer) {
	fmt.Fprintf(w, "# TYPE pixelbeam_profiles_in_flight gauge\npixelbeam_profiles_in_flight %d\n", m.inFlight.Load())
	fmt.Fprintln(w, "# TYPE pixelbeam_profiles_requests_total counter")
	for i := range m.routes {
		for class := range m.routes[i].statuses {
			if n := m.routes[i].statuses[class].Load(); n > 0 {
				fmt.Fprintf(w, "pixelbeam_profiles_requests_total{route=%q,code=\"%dxx\"} %d\n", m.routes[i].name, class, n)
			}
		}
	}
	fmt.Fprintln(w, "# TYPE pixelbeam_profiles_request_seconds histogram")
	for i := range m.routes {
		r := &m.routes[i]
		var total, sum int64
		for class := range r.statuses {
			total += r.statuses[class].Load()
		}
		for b, bound := range buckets {
			sum += r.within[b].Load()
			fmt.Fprintf(w, "pixelbeam_profiles_request_seconds_bucket{route=%q,le=\"%g\"} %d\n", r.name, bound, sum)
		}
		fmt.Fprintf(w, "pixelbeam_profiles_request_seconds_bucket{route=%q,le=\"+Inf\"} %d\n", r.name, total)
		fmt.Fprintf(w, "pixelbeam_profiles_request_seconds_sum{route=%q} %g\n", r.name, time.Duration(r.nanos.Load()).Seconds())
		fmt.Fprintf(w, "pixelbeam_profiles_request_seconds_count{route=%q} %d\n", r.name, total)
	}
}
