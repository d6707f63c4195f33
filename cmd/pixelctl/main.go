// Command pixelctl is the operator's tool of Pixelbeam: it asks the tables and
// the profiles that the pipeline keeps, in the cloud or on this machine, and
// measures how fast log entries become rows.
package main

import (
	"github.com/spf13/cobra"

	"pixelbeam/cmd/internal/cli"
)

func main() { cli.Main(root()) }

// root returns the command with all its subcommands.
func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pixelctl",
		Short: "Ask the tables and profiles that Pixelbeam keeps",
		Long: `Ask the tables and profiles that Pixelbeam keeps.

Commands find a Pixelbeam that runs on this machine by its data folder: the one
that --data names, else $PIXELBEAM_DATA, else ./data. Where there is none, or
--project is given without --data, they ask the cloud. A flag that names an
endpoint, a dataset or an instance always decides.

Exit codes: 0 success, 1 failure, 2 the command line was not understood.`,
	}
	p := &place{}
	cmd.AddCommand(ledgerCommand(p), restateCommand(p))
	cmd.PersistentFlags().StringVar(&p.data, "data", "",
		"data `folder` of the local Pixelbeam to ask (default: $"+cli.DataVariable+", else ./"+cli.DefaultData+")")
	cmd.PersistentFlags().StringVar(&p.project, "project", "",
		"Google Cloud `project` (default: the local Pixelbeam's, else $GOOGLE_CLOUD_PROJECT)")
	cmd.AddCommand(queryCommand(p), profileCommand(p), serveProfilesCommand(p), costCommand(), benchCommand())
	return cmd
}
