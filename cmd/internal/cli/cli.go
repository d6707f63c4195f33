// Package cli holds what Pixelbeam's commands share, so that they all behave
// alike: how they start and stop, exit codes, error messages, help, version, and
// how they find a Pixelbeam that runs on this machine.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"pixelbeam/transforms/useragent"
)

// Exit codes of every command.
const (
	ExitOK      = 0
	ExitFailure = 1 // the command was understood and could not be done
	ExitUsage   = 2 // the command line was not understood
)

// Main runs cmd with the process's arguments and exits with its code. The first
// interrupt (Ctrl-C) or SIGTERM cancels the context that the command receives;
// the second kills the process.
func Main(cmd *cobra.Command) {
	ctx, stop := signalContext(context.Background())
	code := Run(ctx, cmd, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// signalContext returns a context that the first signal cancels. From then on
// signals have their default effect again, so a command that hangs while it
// stops can be killed.
func signalContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// versionTemplate tells the build and the user agent rules: those of the flag
// --user_agent_rules, whose value reads as their version, else the embedded.
func versionTemplate() string {
	return `{{.Name}} {{.Version}}
user agent rules: {{$f := .Flags.Lookup "user_agent_rules"}}{{if and $f $f.Changed}}{{$f.Value}}{{else}}` + useragent.Version() + `{{end}}
`
}

// Run runs cmd, a root command, with args and returns the exit code. Results and
// asked-for help go to stdout, everything else to stderr. A command runs once.
//
// What goes wrong before a command's own RunE is entered (unknown command or
// flag, wrong arguments) is a usage error, and so is an error that RunE makes
// with Usage or Usagef; any other is a failure.
//
// Goroutines that outlive a command, such as a runner's that logs how a job
// failed, may write to stderr while Run runs and not after: what they write then
// is dropped, unless stderr is a file.
func Run(ctx context.Context, cmd *cobra.Command, args []string, stdout, stderr io.Writer) int {
	if _, ok := stderr.(*os.File); !ok {
		l := &lent{w: stderr}
		defer l.end()
		stderr = l
	}
	cmd.SilenceErrors = true
	cmd.SilenceUsage = true
	cmd.Version = Build().String()
	cmd.SetVersionTemplate(versionTemplate())
	cmd.SetUsageFunc(writeUsage)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetArgs(append([]string{}, args...)) // nil would mean os.Args

	entered := false
	prepare(cmd, &entered)
	ctx = collectFlagErrors(ctx, cmd, args)
	called, err := cmd.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if !entered {
		err = Usage(err)
	}
	return report(stderr, called, err)
}

// lent is a writer that is safe for use by several goroutines, and its owner's
// alone after end.
type lent struct {
	mu sync.Mutex
	w  io.Writer // nil after end
}

func (l *lent) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return len(p), nil
	}
	return l.w.Write(p)
}

func (l *lent) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w = nil
}

// prepare makes every command note in entered that it began to run, and makes a
// command that only groups others refuse arguments it does not know.
func prepare(cmd *cobra.Command, entered *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*entered = true
			return run(cmd, args)
		}
	} else if cmd.HasSubCommands() {
		cmd.Args = refuseUnknown
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, sub := range cmd.Commands() {
		prepare(sub, entered)
	}
}

func refuseUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q", args[0])
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return WithRemedy(err, fmt.Sprintf("did you mean %q?", near[0]))
	}
	return err
}
