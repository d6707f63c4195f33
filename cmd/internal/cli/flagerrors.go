package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// checksAnnotation marks a command whose flags CheckFlags checks.
const checksAnnotation = "pixelbeam_checks_flags"

// CheckFlags has check called, besides by the command itself, when flags of the
// command line are unknown or have unreadable values, so that the user sees these
// errors and those of the other flags at once. Flags that could not be read have
// their defaults then.
func CheckFlags(cmd *cobra.Command, check func() error) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[checksAnnotation] = "true"
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return errors.Join(flagErrors(cmd, err), check())
	})
}

// argsKey is the context's key of the arguments of the command line.
type argsKey struct{}

// collectFlagErrors makes a root command and those below it report all flags that
// cannot be read, and not the first alone.
func collectFlagErrors(ctx context.Context, root *cobra.Command, args []string) context.Context {
	if root.Annotations[checksAnnotation] == "" {
		root.SetFlagErrorFunc(flagErrors)
	}
	return context.WithValue(ctx, argsKey{}, args)
}

// flagErrors returns the error with which the reading of the command line stopped,
// and those of the rest of it.
func flagErrors(cmd *cobra.Command, err error) error {
	args, _ := cmd.Context().Value(argsKey{}).([]string)
	if cmd.HasParent() {
		_, args, _ = cmd.Root().Find(args)
	}
	var errs []error
	for err != nil {
		var unknown *pflag.NotExistError
		var invalid *pflag.InvalidValueError
		switch {
		case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
			errs = append(errs, unknownFlag(cmd, unknown.GetSpecifiedName()))
			f := cmd.Flags().VarPF(ignored{}, unknown.GetSpecifiedName(), "", "")
			f.Hidden, f.NoOptDefVal = true, "true"
		case errors.As(err, &invalid):
			f := invalid.GetFlag()
			errs = append(errs, invalidFlag(f, invalid.GetValue(), invalid.Unwrap()))
			_ = f.Value.Set(f.DefValue) // some have taken a zero
			f.Value = ignored{f.Value}
		default: // a flag without its value, or a word that is none: nothing can be told of what follows
			return errors.Join(append(errs, err)...)
		}
		err = cmd.Flags().Parse(args)
	}
	return errors.Join(errs...)
}

// ignored is a flag's value that takes anything and does nothing.
type ignored struct{ pflag.Value }

func (v ignored) Set(string) error { return nil }

func (v ignored) String() string {
	if v.Value == nil {
		return ""
	}
	return v.Value.String()
}

func (v ignored) Type() string {
	if v.Value == nil {
		return "string"
	}
	return v.Value.Type()
}

// invalidFlag says what is wrong with a flag's value, and what it takes.
func invalidFlag(f *pflag.Flag, value string, cause error) error {
	form := ""
	switch kind := f.Value.Type(); kind {
	case "bool":
		form = "true or false"
	case "duration":
		form = "a duration, such as 30s or 10m"
	case "float64":
		form = "a number"
	default:
		if strings.HasPrefix(kind, "int") || strings.HasPrefix(kind, "uint") {
			form = "a whole number that it can hold"
		}
	}
	if form != "" {
		return fmt.Errorf("--%s=%s is not %s: give one", f.Name, value, form)
	}
	_, usage := pflag.UnquoteUsage(f)
	return fmt.Errorf("--%s=%s: %w (it takes: %s)", f.Name, value, cause, usage)
}

// unknownFlag names the flag that is nearly so called.
func unknownFlag(cmd *cobra.Command, name string) error {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	remedy := "'" + cmd.CommandPath() + " --help' lists the flags"
	if near := Nearest(name, names); near != "" {
		remedy = "did you mean --" + near + "?"
	}
	return WithRemedy(fmt.Errorf("unknown flag: --%s", name), remedy)
}

// Nearest returns the one of names that is most like name, if it may be a slip of
// the finger, else nothing.
func Nearest(name string, names []string) (near string) {
	least := min(2+len(name)/5, 4)
	for _, n := range names {
		if d := distance(name, n); d < least {
			near, least = n, d
		}
	}
	return near
}

// distance is how many bytes must be put in, left out or replaced to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// GoStyle writes arguments as this package's flags are, where they are as those of
// package flag may be, with one hyphen: -name=value. Names of one letter stay.
func GoStyle(cmd *cobra.Command, args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = arg
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && len(name) > 1 && name[0] != '-' && cmd.Flags().Lookup(name) != nil {
			out[i] = "-" + arg
		}
	}
	return out
}

// Underscores makes a command take --a-flag for --a_flag.
func Underscores(cmd *cobra.Command) {
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "-", "_"))
	})
}
