package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pixelbeam/transforms/useragent"
)

// TestSameRows: those who are compared do the same work.
func TestSameRows(t *testing.T) {
	entries, err := readEntries()
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 60 {
		t.Fatalf("%d entries only", len(entries))
	}
	f, err := newField(useragent.SharedCache())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.check(entries); err != nil {
		t.Fatal(err)
	}
	a, err := f.ours.whole(entries[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.ours.whole(entries[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	if sameRow(a, b) == nil {
		t.Error("rows of two entries are called the same")
	}
}

// TestReadme: the README has a section that this program wrote.
func TestReadme(t *testing.T) {
	doc, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), begin)
	section, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("README.md has no section between %q and %q", begin, end)
	}
	if !strings.Contains(section, header) || !regexp.MustCompile(`go1\.\d+\S*, commit [0-9a-f]{7,}\.`).MatchString(section) {
		t.Errorf("the section was not made by make bench-docs:\n%s", section)
	}
	for _, stage := range []string{stageJSON, stageQuery, stageRow, stageWhole} {
		for _, who := range []string{whoOurs, whoIdiomatic, whoBest} {
			if !strings.Contains(section, "| "+stage+" | "+who+" | ") {
				t.Errorf("there is no line for %s with %s", stage, who)
			}
		}
	}
	if again, err := replaceSection(string(doc), section); err != nil || again != string(doc) {
		t.Errorf("the section does not replace itself: %v", err)
	}
	if _, err := replaceSection(strings.Replace(string(doc), end, "", 1), section); err == nil {
		t.Error("a README without its mark is taken")
	}
}
