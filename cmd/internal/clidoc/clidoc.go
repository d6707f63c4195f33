// Package clidoc keeps the reference of flags, docs/flags.md, equal to the flags
// that the commands have. Each command has a part of its own, between two
// comments, which its test compares and writes.
package clidoc

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// WriteVar is the environment variable with which make generate has the
// reference written. A flag would be one of those of the commands.
const WriteVar = "PIXELBEAM_WRITE_FLAGS"

// Check fails the test unless the part of the reference for root is what root's
// flags make of it. If the environment variable WriteVar is set it writes that
// part instead. The reference is the file of that name, which must hold the
// comments.
func Check(t *testing.T, root *cobra.Command, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+root.Name()+" -->\n", "<!-- end "+root.Name()+" -->"
	before, rest, ok1 := strings.Cut(string(b), begin)
	part, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no lines %q and %q", name, strings.TrimSpace(begin), end)
	}
	want := "\n" + Markdown(root)
	if os.Getenv(WriteVar) != "" {
		if err := os.WriteFile(name, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if part != want {
		t.Errorf("%s is not up to date with the flags of %s: run make generate", name, root.Name())
	}
}

// Markdown describes all flags of a command and the commands below it: one table
// for each command and group of flags, in the order of its help.
func Markdown(root *cobra.Command) string {
	var b strings.Builder
	visit(&b, root)
	return b.String()
}

func visit(b *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
		return
	}
	table(b, cmd)
	for _, sub := range cmd.Commands() {
		visit(b, sub)
	}
}

func table(b *strings.Builder, cmd *cobra.Command) {
	var rows []string
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if kind != "" {
			name += " " + kind
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", name, code(f.DefValue), cell(usage)))
	})
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "### %s\n\n%s.\n\n| flag | default | meaning |\n|---|---|---|\n%s\n",
		cmd.CommandPath(), strings.TrimSuffix(cmd.Short, "."), strings.Join(rows, ""))
}

// code shows a default as code; nothing where there is none.
func code(v string) string {
	if v == "" || v == "[]" {
		return ""
	}
	return "`" + v + "`"
}

// cell makes text fit for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;").Replace(s)
}
