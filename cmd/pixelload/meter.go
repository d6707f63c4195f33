package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"pixelbeam/local/load"
)

// meter watches one run.
type meter struct {
	c      *config
	server *load.Server
	job    *job
	w      io.Writer

	begin, last reading
	least       float64 // acknowledged per second in the slowest whole interval
	whole       int     // whole intervals seen
	most        int64   // most messages published and not acknowledged

	stopped   bool
	atStop    reading // when publishing ended
	unackedBy int64   // then
}

// reading is the state at one time.
type reading struct {
	at        time.Time
	acked     int64
	published int64
	cpu       time.Duration // of the job; 0 if it cannot be read
	own       time.Duration
}

func newMeter(c *config, server *load.Server, j *job, w io.Writer) *meter {
	m := &meter{c: c, server: server, job: j, w: w}
	m.begin = m.read()
	m.last = m.begin
	return m
}

func (m *meter) read() reading {
	s := m.server.Stats()
	r := reading{at: time.Now(), acked: s.Acked, published: s.Published, own: ownCPU()}
	if m.job != nil {
		r.cpu = processCPU(m.job.cmd.Process.Pid)
	}
	return r
}

// look takes notes; it is called every poll.
func (m *meter) look() {
	now := time.Now()
	if !m.stopped && m.c.server.Rate > 0 && now.Sub(m.begin.at) >= m.c.duration {
		m.publishingEnds()
	}
	if now.Sub(m.last.at) < m.c.interval {
		return
	}
	r := m.read()
	m.most = max(m.most, r.published-r.acked)
	if !m.stopped {
		m.whole++
		// The first interval fills the pipe.
		if rate := m.rate(m.last, r); m.whole > 1 && (m.least == 0 || rate < m.least) {
			m.least = rate
		}
	}
	fmt.Fprintf(m.w, "%6s  %s, %d waiting\n", r.at.Sub(m.begin.at).Round(time.Second), m.span(m.last, r), r.published-r.acked)
	m.last = r
}

// publishingEnds stops the publishing.
func (m *meter) publishingEnds() {
	if m.stopped {
		return
	}
	m.server.Stop()
	m.stopped = true
	m.atStop = m.read()
	m.unackedBy = m.atStop.published - m.atStop.acked
}

// finished tells whether everything is published and acknowledged.
func (m *meter) finished() bool {
	s := m.server.Stats()
	if !m.stopped && m.c.server.Count > 0 && s.Published == m.c.server.Count && (m.c.server.Rate > 0 || s.Acked == s.Published) {
		m.publishingEnds()
	}
	return m.stopped && s.Acked == s.Published
}

func (m *meter) rate(from, to reading) float64 {
	return float64(to.acked-from.acked) / to.at.Sub(from.at).Seconds()
}

// span says what happened between two readings.
func (m *meter) span(from, to reading) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.0f entries/s", m.rate(from, to))
	n := max(1, to.acked-from.acked)
	if to.cpu > 0 {
		fmt.Fprintf(&b, ", job %.2f us CPU an entry (%.2f cores)",
			float64((to.cpu-from.cpu).Nanoseconds())/1e3/float64(n), (to.cpu-from.cpu).Seconds()/to.at.Sub(from.at).Seconds())
	}
	fmt.Fprintf(&b, ", servers %.2f us", float64((to.own-from.own).Nanoseconds())/1e3/float64(n))
	return b.String()
}

// report prints the figures of the time in which messages were published.
func (m *meter) report(w io.Writer) {
	fmt.Fprintf(w, "Sustained: %s, for %s\n", m.span(m.begin, m.atStop), m.atStop.at.Sub(m.begin.at).Round(100*time.Millisecond))
	if m.least > 0 {
		fmt.Fprintf(w, "Slowest %s: %.0f entries/s; most waiting: %d; when publishing ended: %d\n", m.c.interval, m.least, m.most, m.unackedBy)
	}
}

// check returns an error if the job fell behind the rate.
func (m *meter) check() error {
	if rate := m.c.server.Rate; rate > 0 && float64(m.unackedBy) > behind*rate {
		return fmt.Errorf("the job fell behind: %d entries were not acknowledged when publishing ended, more than %d s of them", m.unackedBy, behind)
	}
	return nil
}

// usage says what an ended process used.
func usage(p *os.ProcessState) string {
	s := fmt.Sprintf("%.1f s CPU (user %.1f, system %.1f)", (p.UserTime() + p.SystemTime()).Seconds(), p.UserTime().Seconds(), p.SystemTime().Seconds())
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		peak := int64(u.Maxrss) // kilobytes, but bytes on macOS
		if runtime.GOOS == "darwin" {
			peak >>= 10
		}
		s += fmt.Sprintf(", peak memory %d MiB", peak>>10)
	}
	return s
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// processCPU is the CPU time of a process that runs, as Linux tells it in steps
// of 10 ms; 0 elsewhere.
func processCPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// Fields from the third on stand behind the command's name in parentheses;
	// the 14th and 15th are user and system time in ticks of 1/100 s, proc(5).
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	var user, system int64
	if !ok || len(fields) < 13 {
		return 0
	}
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
