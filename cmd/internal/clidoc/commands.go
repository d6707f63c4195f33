package clidoc

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// CheckCommands fails the test for each command line of root's program, in code of
// the documentation below dir, that the program would not take: a command or flag
// that it does not have, a value of another kind, a wrong number of arguments. Words
// with capitals or an ellipsis stand for values that the reader knows, and code within
// a sentence may name a flag without its value. There must be at least one such line.
func CheckCommands(t *testing.T, root func() *cobra.Command, dir string) {
	t.Helper()
	name := root().Name()
	n := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "infra/*.md"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range commands(string(b), name) {
				n++
				if err := takes(root(), c); err != nil {
					t.Errorf("%s: %s %s: %v", file, name, strings.Join(c.words, " "), err)
				}
			}
		}
	}
	if n == 0 {
		t.Errorf("no command line of %s was found", name)
	}
}

var (
	fenced = regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```")
	// indented code, of a paragraph of its own
	indented = regexp.MustCompile(`(?m)(?:^ {4,}\S.*\n?)+`)
	inline   = regexp.MustCompile("`([^`]+)`")
)

// commandLine is the arguments of a program.
type commandLine struct {
	words   []string
	mention bool // within a sentence
}

// commands returns the command lines of a program.
func commands(markdown, program string) (out []commandLine) {
	add := func(text string, mention bool) {
		for _, words := range lines(text) {
			for i, word := range words {
				base, _, _ := strings.Cut(filepath.Base(word), "-linux-")
				// The first word, or a program that another one is given after --.
				if base == program && (i == 0 || words[i-1] == "--" || strings.Contains(words[i-1], "=") && !strings.HasPrefix(words[i-1], "-")) {
					out = append(out, commandLine{words[i+1:], mention})
				}
			}
		}
	}
	for _, code := range fenced.FindAllStringSubmatch(markdown, -1) {
		if code[1] == "" || code[1] == "sh" {
			add(code[2], false)
		}
	}
	markdown = fenced.ReplaceAllString(markdown, "")
	for _, code := range indented.FindAllString(markdown, -1) {
		add(code, false)
	}
	for _, code := range inline.FindAllStringSubmatch(markdown, -1) {
		add(strings.ReplaceAll(code[1], "\n", " "), true)
	}
	return out
}

// lines splits shell text into commands, and those into words, without comments.
func lines(text string) (out [][]string) {
	var words []string
	var word strings.Builder
	started, quote := false, rune(0)
	end := func() {
		if started {
			words = append(words, word.String())
		}
		word.Reset()
		started = false
	}
	stop := func() {
		end()
		if len(words) > 0 {
			out = append(out, words)
		}
		words = nil
	}
	runes := []rune(strings.ReplaceAll(text, "\\\n", " "))
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, started = r, true
		case r == '#' && !started:
			for i+1 < len(runes) && runes[i+1] != '\n' {
				i++
			}
		case r == '\n' || r == '|' || r == ';' || r == '&':
			stop()
		case r == ' ' || r == '\t':
			end()
		default:
			word.WriteRune(r)
			started = true
		}
	}
	stop()
	return out
}

var placeholder = regexp.MustCompile(`[A-Z]|\.\.\.|\$`)

// takes tells why a program would not take a command line, or nil.
func takes(root *cobra.Command, c commandLine) error {
	root.InitDefaultCompletionCmd()
	cmd, rest, err := root.Find(c.words)
	if err != nil {
		return err
	}
	cmd.InheritedFlags() // has cmd know them
	var args []string
	for i := 0; i < len(rest); i++ {
		word := rest[i]
		if word == "..." {
			continue
		}
		if word == "--" { // what follows is another program's
			args = append(args, rest[i+1:]...)
			break
		}
		if !strings.HasPrefix(word, "--") {
			args = append(args, word)
			continue
		}
		name, value, given := strings.Cut(word[2:], "=")
		f := cmd.Flags().Lookup(name)
		if f == nil && (name == "help" || name == "version") {
			return nil
		}
		if f == nil {
			return errors.New("there is no flag --" + name)
		}
		if !given && f.NoOptDefVal == "" {
			if i++; i == len(rest) && c.mention {
				return nil
			} else if i == len(rest) {
				return errors.New("--" + name + " has no value")
			}
			value = rest[i]
		} else if !given {
			value = f.NoOptDefVal
		}
		kind := f.Value.Type()
		if kind != "file" && kind != "func" && !placeholder.MatchString(value) {
			if err := f.Value.Set(value); err != nil {
				return err
			}
		}
	}
	if c.mention {
		return nil
	}
	return cmd.ValidateArgs(args)
}
