package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// line is one line of the table.
type line struct {
	stage, who string
	cost       cost
	// bytes is the size of an item, 0 where a rate of bytes makes no sense.
	bytes int
	// ratio is how many times ours it takes.
	ratio float64
}

// header of the table, in Markdown.
const header = "| stage | with | ns | B | allocs | a second and core | GB/s | times ours |\n|---|---|--:|--:|--:|--:|--:|--:|\n"

func (l line) String() string {
	rate, times := "", ""
	if l.bytes > 0 {
		rate = fmt.Sprintf("%.2f", float64(l.bytes)/l.cost.ns)
	}
	if l.ratio > 0 {
		times = fmt.Sprintf("%.1f", l.ratio)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", l.stage, l.who,
		thousands(l.cost.ns), thousands(l.cost.bytes), thousands(l.cost.allocs), thousands(1e9/l.cost.ns), rate, times)
}

// thousands writes a number to three digits at least, with commas.
func thousands(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// machine says where and of what commit the table was made.
func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := bytes.Cut(info, []byte("model name")); ok {
			name, _, _ := bytes.Cut(after, []byte("\n"))
			model = strings.TrimLeft(string(name), "\t :")
		}
	}
	commit := "an unknown commit"
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		commit = "commit " + strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, %s", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), commit)
}

// Marks of the README's section.
const (
	begin = "<!-- performance: make bench-docs writes what follows -->\n"
	end   = "<!-- performance: end -->\n"
)

// replaceSection puts text between the marks of a document.
func replaceSection(doc, text string) (string, error) {
	if strings.Count(doc, begin) != 1 || strings.Count(doc, end) != 1 || strings.Index(doc, begin) > strings.Index(doc, end) {
		return "", fmt.Errorf("the document needs each of these lines once, in this order:\n%s%s", begin, end)
	}
	before, rest, _ := strings.Cut(doc, begin)
	_, after, _ := strings.Cut(rest, end)
	return before + begin + text + end + after, nil
}
