package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stat is what Linux tells of a process, proc(5).
type stat struct {
	pid, parent int
	cpu         time.Duration // in steps of 10 ms
}

// stats returns those of all processes.
func stats() []stat {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var out []stat
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The command's name is in parentheses; the fields are counted from behind it.
		_, rest, ok := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if !ok || len(f) < 13 {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		var parent int
		var user, system int64
		if _, err := fmt.Sscan(f[1]+" "+f[11]+" "+f[12], &parent, &user, &system); err == nil {
			out = append(out, stat{pid, parent, time.Duration(user+system) * 10 * time.Millisecond})
		}
	}
	return out
}

// busiestChild is the child of a process that has used most processor time.
func busiestChild(parent int) (pid int, cpu time.Duration) {
	for _, s := range stats() {
		if s.parent == parent && s.cpu > cpu {
			pid, cpu = s.pid, s.cpu
		}
	}
	return pid, cpu
}

// cpuMeter adds up the processor time of processes and their children, of those
// that have ended too.
type cpuMeter struct {
	mu   sync.Mutex
	seen map[int]time.Duration
	of   map[int]string // "java" or "worker"
}

func newCPUMeter() *cpuMeter { return &cpuMeter{seen: map[int]time.Duration{}, of: map[int]string{}} }

// look takes a reading of the processes and their children.
func (m *cpuMeter) look(processes []*process) {
	java := map[int]bool{}
	for _, p := range processes {
		java[p.cmd.Process.Pid] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range stats() {
		switch {
		case java[s.pid]:
			m.of[s.pid] = "java"
		case java[s.parent]:
			m.of[s.pid] = "worker"
		}
		if m.of[s.pid] != "" {
			m.seen[s.pid] = max(m.seen[s.pid], s.cpu)
		}
	}
}

// used is the processor time so far.
func (m *cpuMeter) used() (java, workers time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for pid, cpu := range m.seen {
		if m.of[pid] == "java" {
			java += cpu
		} else {
			workers += cpu
		}
	}
	return java, workers
}
