package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pixelbeam/transforms/useragent"
)

// tree returns a command like ours: a root with a leaf that does what it is told,
// and a group with one command in it.
func tree() *cobra.Command {
	root := &cobra.Command{Use: "tool", Short: "A tool", Long: "Tool is a tool."}
	root.PersistentFlags().String("data", "", "data `folder`")
	leaf := &cobra.Command{
		Use:     "do WHAT",
		Short:   "Do it",
		Example: "  tool do well",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "well":
				fmt.Fprintln(cmd.OutOrStdout(), "done")
				return nil
			case "badly":
				return WithRemedy(errors.New("it broke"), "do it well")
			case "wrapped":
				return fmt.Errorf("doing: %w", WithRemedy(errors.New("it broke"), "do it well"))
			case "long":
				return WithRemedy(errors.New("it broke\nat line 2"), "do it well")
			case "misuse":
				return Usagef("--count is %d, which is no count", -1)
			case "twice":
				return errors.Join(errors.New("first"), WithRemedy(errors.New("second"), "mend it"))
			case "until-cancelled":
				<-cmd.Context().Done()
				return fmt.Errorf("waiting: %w", cmd.Context().Err())
			}
			return fmt.Errorf("test does not know %q", args[0])
		},
	}
	leaf.Flags().Int("count", 1, "how often")
	FlagGroup(leaf, "Runner flags", func(fs *pflag.FlagSet) { fs.String("runner", "prism", "which runner") })
	FlagGroup(leaf, "Cloud flags", func(fs *pflag.FlagSet) { fs.String("region", "", "which region") })
	group := &cobra.Command{Use: "profile", Short: "Profiles"}
	group.AddCommand(&cobra.Command{Use: "get", Short: "Get one", RunE: func(*cobra.Command, []string) error { return nil }})
	root.AddCommand(leaf, group)
	return root
}

// TestRunLendsStderr has goroutines log while a command runs and after it: the
// race detector sees whether the caller may read what was written.
func TestRunLendsStderr(t *testing.T) {
	var writers sync.WaitGroup
	stop := make(chan struct{})
	cmd := &cobra.Command{Use: "tool", RunE: func(cmd *cobra.Command, _ []string) error {
		for range 4 {
			wrote := make(chan struct{})
			writers.Go(func() {
				fmt.Fprintln(cmd.ErrOrStderr(), "working")
				close(wrote)
				for {
					select {
					case <-stop:
						return
					default:
						fmt.Fprintln(cmd.ErrOrStderr(), "late")
					}
				}
			})
			<-wrote
		}
		return errors.New("it broke")
	}}
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), cmd, nil, &stdout, &stderr)
	got := stderr.String()
	close(stop)
	writers.Wait()
	if code != ExitFailure || strings.Count(got, "working\n") != 4 || !strings.HasSuffix(got, "tool: it broke\n") && !strings.Contains(got, "tool: it broke\nlate\n") {
		t.Errorf("exit %d\n%s", code, got)
	}
	if after := stderr.String(); after != got {
		t.Errorf("written after the command: %q", strings.TrimPrefix(after, got))
	}
}

func TestRun(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		args []string
		code int
		out  string // stdout holds it; empty: stdout is empty
		err  string // stderr is exactly it
	}{
		{name: "success", args: []string{"do", "well"}, code: 0, out: "done\n"},
		{name: "failure with remedy", args: []string{"do", "badly"}, code: 1, err: "tool: it broke (do it well)\n"},
		{name: "remedy of a wrapped error", args: []string{"do", "wrapped"}, code: 1, err: "tool: doing: it broke (do it well)\n"},
		{name: "remedy under several lines", args: []string{"do", "long"}, code: 1, err: "tool: it broke\nat line 2\n(do it well)\n"},
		{name: "joined errors", args: []string{"do", "twice"}, code: 1, err: "tool: first\ntool: second (mend it)\n"},
		{name: "usage error of RunE", args: []string{"do", "misuse"}, code: 2,
			err: "tool: --count is -1, which is no count\nRun 'tool do --help' for usage.\n"},
		{name: "interrupted", ctx: cancelled, args: []string{"do", "until-cancelled"}, code: 1, err: "tool: interrupted\n"},
		{name: "no command", args: nil, code: 0, out: "Commands:\n"},
		{name: "unknown command", args: []string{"pofile"}, code: 2,
			err: "tool: unknown command \"pofile\" (did you mean \"profile\"?)\nRun 'tool --help' for usage.\n"},
		{name: "unknown command in a group", args: []string{"profile", "gte"}, code: 2,
			err: "tool: unknown command \"gte\" (did you mean \"get\"?)\nRun 'tool profile --help' for usage.\n"},
		{name: "group alone", args: []string{"profile"}, code: 0, out: "Get one"},
		{name: "unknown flag", args: []string{"do", "--cuont=1", "well"}, code: 2,
			err: "tool: unknown flag: --cuont (did you mean --count?)\nRun 'tool do --help' for usage.\n"},
		{name: "bad flag value", args: []string{"do", "--count=x", "well"}, code: 2,
			err: "tool: --count=x is not a whole number that it can hold: give one\nRun 'tool do --help' for usage.\n"},
		{name: "missing argument", args: []string{"do"}, code: 2,
			err: "tool: accepts 1 arg(s), received 0\nRun 'tool do --help' for usage.\n"},
		{name: "version", args: []string{"--version"}, code: 0, out: "tool " + Build().String() + "\nuser agent rules: " + useragent.Version() + "\n"},
		{name: "bash completion", args: []string{"completion", "bash"}, code: 0, out: "__start_tool"},
		{name: "zsh completion", args: []string{"completion", "zsh"}, code: 0, out: "#compdef tool"},
		{name: "fish completion", args: []string{"completion", "fish"}, code: 0, out: "complete -c tool"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := test.ctx
			if ctx == nil {
				ctx = context.Background()
			}
			var stdout, stderr bytes.Buffer
			if code := Run(ctx, tree(), test.args, &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if got := stdout.String(); !strings.Contains(got, test.out) || (test.out == "") != (got == "") {
				t.Errorf("stdout %q, want %q in it", got, test.out)
			}
			if got := stderr.String(); got != test.err {
				t.Errorf("stderr %q, want %q", got, test.err)
			}
		})
	}
}

func TestJoinedUsageErrors(t *testing.T) {
	var stdout, stderr bytes.Buffer
	root := &cobra.Command{Use: "tool", RunE: func(*cobra.Command, []string) error {
		return Usage(errors.Join(errors.New("first"), errors.New("second")))
	}}
	if code := Run(context.Background(), root, nil, &stdout, &stderr); code != ExitUsage {
		t.Errorf("exit code %d, want %d", code, ExitUsage)
	}
	if got, want := stderr.String(), "tool: first\ntool: second\nRun 'tool --help' for usage.\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Run(context.Background(), tree(), []string{"do", "--help"}, &stdout, &stderr); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	want := `Do it

Usage:
  tool do WHAT [flags]

Examples:
  tool do well

Flags:
      --count int   how often (default 1)
  -h, --help        help for do

Runner flags:
      --runner string   which runner (default "prism")

Cloud flags:
      --region string   which region

Global flags:
      --data folder   data folder
`
	if got := stdout.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A root without subcommands, as pixelbeam is, has completion all the same and
// no command list in its help.
func TestRootWithoutCommands(t *testing.T) {
	root := func() *cobra.Command {
		return &cobra.Command{Use: "job", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	}
	var stdout, stderr bytes.Buffer
	if code := Run(context.Background(), root(), []string{"completion", "bash"}, &stdout, &stderr); code != ExitOK {
		t.Errorf("completion: exit code %d: %s", code, &stderr)
	}
	if !strings.Contains(stdout.String(), "__start_job") {
		t.Error("no bash completion for job")
	}
	stdout.Reset()
	if code := Run(context.Background(), root(), []string{"--help"}, &stdout, &stderr); code != ExitOK {
		t.Errorf("help: exit code %d: %s", code, &stderr)
	}
	if strings.Contains(stdout.String(), "Commands:") {
		t.Errorf("help lists commands:\n%s", &stdout)
	}
	if code := Run(context.Background(), root(), []string{"stray"}, &stdout, &stderr); code != ExitUsage {
		t.Errorf("stray argument: exit code %d, want %d", code, ExitUsage)
	}
}

func TestHelpKeepsTheOrderOfFlags(t *testing.T) {
	root := &cobra.Command{Use: "job", RunE: func(*cobra.Command, []string) error { return nil }}
	root.Flags().SortFlags = false
	root.Flags().Bool("zebra", false, "")
	root.Flags().Bool("ant", false, "")
	var stdout, stderr bytes.Buffer
	Run(context.Background(), root, []string{"--help"}, &stdout, &stderr)
	if z, a := strings.Index(stdout.String(), "--zebra"), strings.Index(stdout.String(), "--ant"); z < 0 || a < z {
		t.Errorf("flags are not in the order of their definition:\n%s", &stdout)
	}
}

func TestGoFlags(t *testing.T) {
	set := flag.NewFlagSet("beam", flag.ContinueOnError)
	runner := set.String("runner", "prism", "which runner")
	async := set.Bool("async", false, "do not wait")
	project := set.String("project", "", "the set's project, which the command has already")
	set.Bool("test.v", false, "as package testing defines")

	var own string
	run := func(args ...string) (stdout string) {
		t.Helper()
		root := &cobra.Command{Use: "job", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }}
		root.Flags().StringVar(&own, "project", "", "project")
		GoFlags(root, "Beam flags", set)
		var out, errs bytes.Buffer
		if code := Run(context.Background(), root, args, &out, &errs); code != ExitOK {
			t.Fatalf("exit code %d: %s", code, &errs)
		}
		return out.String()
	}

	help := run("--help")
	_, group, ok := strings.Cut(help, "Beam flags:")
	if !ok || !strings.Contains(group, "--runner") || strings.Contains(group, "--project") || strings.Contains(group, "test.v") {
		t.Errorf("help:\n%s", help)
	}

	run("--runner=direct", "--async", "--project=p")
	if *runner != "direct" || !*async || own != "p" || *project != "" {
		t.Errorf("runner %q, async %v, own project %q, the set's %q", *runner, *async, own, *project)
	}
	if !set.Parsed() {
		t.Error("the set is not marked as parsed")
	}
	var visited []string
	set.Visit(func(f *flag.Flag) { visited = append(visited, f.Name) })
	if got := strings.Join(visited, " "); got != "async runner" {
		t.Errorf("Visit says %q, want the flags that were given", got)
	}
}

func TestBuildInfo(t *testing.T) {
	got := buildInfo(&debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-23T00:00:00Z"}, {Key: "vcs.modified", Value: "true"},
		},
	})
	want := BuildInfo{Version: "v1.2.3", Revision: "abc", Time: "2026-11-23T00:00:00Z", Modified: true}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if s := got.String(); !strings.HasPrefix(s, "v1.2.3 revision abc of 2026-11-23T00:00:00Z (modified) go") {
		t.Errorf("String() = %q", s)
	}
	if s := buildInfo(&debug.BuildInfo{}).String(); !strings.HasPrefix(s, "(devel) go") {
		t.Errorf("String() without information = %q", s)
	}
}

// asCommand is the environment variable that makes the test binary a command
// which does not end when its context does.
const asCommand = "CLI_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) == "" {
		os.Exit(m.Run())
	}
	Main(&cobra.Command{Use: "tool", RunE: func(cmd *cobra.Command, _ []string) error {
		fmt.Println("started")
		<-cmd.Context().Done()
		fmt.Println("cancelled")
		time.Sleep(time.Hour)
		return nil
	}})
}

// The first interrupt cancels the context, the second ends the process.
func TestSignals(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asCommand+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	expect := func(want string) {
		t.Helper()
		n, err := out.Read(line)
		if got := string(line[:n]); err != nil || got != want {
			cmd.Process.Kill()
			t.Fatalf("the command printed %q, %v; want %q", got, err, want)
		}
	}
	expect("started\n")
	cmd.Process.Signal(syscall.SIGINT)
	expect("cancelled\n")
	// The default effect of the signal is back shortly after the context is
	// cancelled, so one interrupt more may still be swallowed.
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-done:
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
				t.Errorf("the command ended by %v, want SIGINT", cmd.ProcessState)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// All flags that cannot be read are told of, with what CheckFlags finds besides.
func TestFlagErrors(t *testing.T) {
	command := func() *cobra.Command {
		cmd := &cobra.Command{Use: "thing", RunE: func(*cobra.Command, []string) error { return nil }}
		cmd.Flags().Int("number", 1, "how many")
		cmd.Flags().Duration("for_time", 0, "how long")
		cmd.Flags().Bool("really", false, "whether")
		cmd.Flags().StringSlice("words", nil, "what")
		return cmd
	}
	sub := command()
	root := &cobra.Command{Use: "all"}
	root.AddCommand(sub)
	checked := command()
	CheckFlags(checked, func() error {
		if n, err := checked.Flags().GetInt("number"); err != nil || n != 1 {
			return fmt.Errorf("number is %d (%v)", n, err)
		}
		return errors.New("the rest")
	})
	Underscores(checked)
	for _, test := range []struct {
		cmd  *cobra.Command
		args string
		want string
	}{
		{command(), "--number=x --numbre=2 --for_time=y --words=a --really=z -q",
			"--number=x is not a whole number that it can hold: give one\n" +
				"unknown flag: --numbre (did you mean --number?)\n" +
				"--for_time=y is not a duration, such as 30s or 10m: give one\n" +
				"--really=z is not true or false: give one\n" +
				"unknown shorthand flag: 'q' in -q"},
		{root, "thing --wholly --number 5 --number", "unknown flag: --wholly ('all thing --help' lists the flags)\nflag needs an argument: --number"},
		{checked, "--number=x --for-time=y", "--number=x is not a whole number that it can hold: give one\n" +
			"--for_time=y is not a duration, such as 30s or 10m: give one\nthe rest"},
	} {
		var stderr bytes.Buffer
		code := Run(t.Context(), test.cmd, strings.Fields(test.args), io.Discard, &stderr)
		var got []string
		for line := range strings.Lines(stderr.String()) {
			if _, text, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "Run '") {
				got = append(got, strings.TrimSpace(text))
			}
		}
		if code != ExitUsage || strings.Join(got, "\n") != test.want {
			t.Errorf("%s: exit %d\n%s\nwant\n%s", test.args, code, strings.Join(got, "\n"), test.want)
		}
	}
}
