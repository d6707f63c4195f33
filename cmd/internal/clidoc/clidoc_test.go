package clidoc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func tool() *cobra.Command {
	root := &cobra.Command{Use: "tool", Short: "A tool"}
	root.PersistentFlags().String("data", "data", "`folder` of the tables")
	sub := &cobra.Command{Use: "do", Short: "Do it", Run: func(*cobra.Command, []string) {}}
	sub.Flags().Int("count", 0, "how often, a|b <c>")
	sub.Flags().Bool("secret", false, "hidden")
	sub.Flags().MarkHidden("secret")
	root.AddCommand(sub)
	return root
}

const reference = "# Flags\n\n<!-- begin tool -->\n" + `
### tool

A tool.

| flag | default | meaning |
|---|---|---|
| ` + "`--data folder` | `data`" + ` | folder of the tables |

### tool do

Do it.

| flag | default | meaning |
|---|---|---|
| ` + "`--count int` | `0`" + ` | how often, a\|b &lt;c&gt; |

` + "<!-- end tool -->\nThe end.\n"

func TestCheckWritesAndCompares(t *testing.T) {
	name := filepath.Join(t.TempDir(), "flags.md")
	if err := os.WriteFile(name, []byte("# Flags\n\n<!-- begin tool -->\nold\n<!-- end tool -->\nThe end.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(WriteVar, "1")
	Check(t, tool(), name)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != reference {
		t.Errorf("got\n%s\nwant\n%s", b, reference)
	}
	t.Setenv(WriteVar, "")
	Check(t, tool(), name)
}

// Command lines are found in all kinds of code, and held to the program.
func TestDocumentedCommandLines(t *testing.T) {
	program := func() *cobra.Command {
		root := &cobra.Command{Use: "tool"}
		get := &cobra.Command{Use: "get", Args: cobra.ExactArgs(1), Run: func(*cobra.Command, []string) {}}
		get.Flags().Int("number", 0, "")
		get.Flags().Bool("all", false, "")
		root.AddCommand(get)
		return root
	}
	for markdown, want := range map[string]string{
		"`tool get --number`":                         "",
		"`tool get --numbers`":                        "no flag --numbers",
		"`tool fetch`":                                "unknown command",
		"Text.\n\n    bin/tool get x --all\n":         "",
		"```sh\ntool get x   # tool get\n```":         "",
		"```sh\ntool get\n```":                        "accepts 1 arg(s)",
		"```sh\nA=1 tool get 'x y' --number=N\n```":   "",
		"```sh\nx && tool get x --number=many\n```":   "invalid syntax",
		"```sh\ntool get \\\n  --number 5 x | y\n```": "",
		"```sh\nload --a=b -- tool get x y\n```":      "accepts 1 arg(s)",
		"```sh\ntool get x --number\n```":             "has no value",
		"```json\ntool get\n```\n`tool get`":          "",
	} {
		found := commands(markdown, "tool")
		if len(found) != 1 {
			t.Errorf("%q: %d command lines", markdown, len(found))
			continue
		}
		err := takes(program(), found[0])
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", markdown, err, want)
		}
	}
}
