package clidoc

import (
	"os"
	"path/filepath"
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
