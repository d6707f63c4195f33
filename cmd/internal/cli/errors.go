package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// WithRemedy adds to err what the user can do about it. The remedy is shown in
// brackets after the message and is no part of err.Error(). A nil err stays nil.
func WithRemedy(err error, remedy string) error {
	if err == nil {
		return nil
	}
	return &remedyError{err, remedy}
}

type remedyError struct {
	error
	remedy string
}

func (e *remedyError) Unwrap() error { return e.error }

// Usage marks err as an error in the command line: the command exits with
// ExitUsage and points to its help. A nil err stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Usagef is Usage of a new error.
func Usagef(format string, args ...any) error {
	return Usage(fmt.Errorf(format, args...))
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// report prints err, one line for each error that errors.Join joined, and
// returns the exit code.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	name := cmd.Root().Name()
	for _, e := range split(err) {
		fmt.Fprintf(w, "%s: %s\n", name, message(e))
	}
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(w, "Run '%s --help' for usage.\n", cmd.CommandPath())
		return ExitUsage
	}
	return ExitFailure
}

// split undoes errors.Join. An error with words of its own around several
// others, as fmt.Errorf makes, stays whole.
func split(err error) []error {
	inner := err
	if usage, ok := err.(usageError); ok {
		inner = usage.error
	}
	joined, ok := inner.(interface{ Unwrap() []error })
	if !ok || inner.Error() != errors.Join(joined.Unwrap()...).Error() {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, split(e)...)
	}
	return out
}

func message(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	text := strings.TrimSpace(err.Error())
	var r *remedyError
	if !errors.As(err, &r) {
		return text
	}
	// A service's message can have several lines; the remedy then stands below.
	if strings.Contains(text, "\n") {
		return text + "\n(" + r.remedy + ")"
	}
	return text + " (" + r.remedy + ")"
}
