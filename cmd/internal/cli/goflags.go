package cli

import (
	"flag"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// GoFlags gives cmd the flags of a standard library flag set, such as those
// that Beam defines on flag.CommandLine, as a FlagGroup; an empty title leaves
// them ungrouped. Flags that cmd has already are left out, and those of package
// testing are hidden. Parsing cmd sets the flags in the set, so that its Parsed
// and Visit answer as if the set had parsed the command line itself; Beam's
// runners take their pipeline options from Visit.
func GoFlags(cmd *cobra.Command, title string, set *flag.FlagSet) {
	define := func(fs *pflag.FlagSet) {
		set.VisitAll(func(f *flag.Flag) {
			if cmd.Flags().Lookup(f.Name) != nil {
				return
			}
			p := pflag.PFlagFromGoFlag(f)
			p.Value = goFlag{p.Value, f.Name, set}
			p.Hidden = strings.HasPrefix(f.Name, "test.")
			fs.AddFlag(p)
		})
	}
	if title == "" {
		define(cmd.Flags())
	} else {
		FlagGroup(cmd, title, define)
	}
	// All flags are there by now; this has cmd mark the set as parsed.
	cmd.Flags().AddGoFlagSet(set)
}

// goFlag sets a flag through its set, which pflag's own wrapper bypasses.
type goFlag struct {
	pflag.Value
	name string
	set  *flag.FlagSet
}

func (g goFlag) Set(value string) error { return g.set.Set(g.name, value) }
