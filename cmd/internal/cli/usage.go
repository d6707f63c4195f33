package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const groupAnnotation = "pixelbeam_flag_group"

// FlagGroup defines flags on cmd that its help shows under a title of their own,
// after the ungrouped ones, in the order in which groups were defined.
func FlagGroup(cmd *cobra.Command, title string, define func(*pflag.FlagSet)) {
	fs := pflag.NewFlagSet(title, pflag.ContinueOnError)
	define(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Annotations == nil {
			f.Annotations = map[string][]string{}
		}
		f.Annotations[groupAnnotation] = []string{title}
		cmd.Flags().AddFlag(f)
	})
	order := cmd.Annotations[groupAnnotation]
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[groupAnnotation] = order + title + "\n"
}

// writeUsage is what cobra calls for a command's usage, and as the last part of
// its help.
func writeUsage(cmd *cobra.Command) error {
	w := cmd.OutOrStderr()
	fmt.Fprintln(w, "Usage:")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s COMMAND\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(w, "  %s\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintln(w, "\nCommands:")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				fmt.Fprintf(w, "  %-*s  %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}

	writeFlags(w, "Flags", inGroup(cmd.LocalFlags(), ""))
	for title := range strings.SplitSeq(cmd.Annotations[groupAnnotation], "\n") {
		if title != "" {
			writeFlags(w, title, inGroup(cmd.LocalFlags(), title))
		}
	}
	writeFlags(w, "Global flags", cmd.InheritedFlags())

	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nRun '%s COMMAND --help' for a command's flags and examples.\n", cmd.CommandPath())
	}
	return nil
}

func inGroup(all *pflag.FlagSet, title string) *pflag.FlagSet {
	out := pflag.NewFlagSet(title, pflag.ContinueOnError)
	out.SortFlags = all.SortFlags
	all.VisitAll(func(f *pflag.Flag) {
		group := ""
		if g := f.Annotations[groupAnnotation]; len(g) > 0 {
			group = g[0]
		}
		if group == title {
			out.AddFlag(f)
		}
	})
	return out
}

func writeFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\n%s:\n%s", title, flags.FlagUsagesWrapped(100))
	}
}
