package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// settleRows is how many rows a table looks at before it decides how wide its
// columns are.
const settleRows = 500

// table prints rows in aligned columns. Rows after the first settleRows are
// printed as they come; one with a longer value than any of those stands out.
type table struct {
	w       *bufio.Writer
	columns []column
	count   bool // end with the number of rows

	waiting [][]string // until the widths are settled
	settled bool
	n       int
}

type column struct {
	name  string
	right bool // aligned to the right
	width int
}

func (t *table) row(cells []string) error {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.n++
	if t.settled {
		return t.print(cells)
	}
	t.waiting = append(t.waiting, cells)
	if len(t.waiting) < settleRows {
		return nil
	}
	return t.settle()
}

// settle decides the widths and prints the heading and the rows that wait.
func (t *table) settle() error {
	t.settled = true
	names, rules := make([]string, len(t.columns)), make([]string, len(t.columns))
	for i := range t.columns {
		c := &t.columns[i]
		c.width = utf8.RuneCountInString(c.name)
		for _, cells := range t.waiting {
			c.width = max(c.width, utf8.RuneCountInString(cells[i]))
		}
		names[i], rules[i] = c.name, strings.Repeat("-", c.width)
	}
	for _, cells := range append([][]string{names, rules}, t.waiting...) {
		if err := t.print(cells); err != nil {
			return err
		}
	}
	t.waiting = nil
	return nil
}

func (t *table) print(cells []string) error {
	for i, cell := range cells {
		c := t.columns[i]
		pad := strings.Repeat(" ", max(0, c.width-utf8.RuneCountInString(cell)))
		last := i == len(cells)-1
		switch {
		case c.right:
			t.w.WriteString(pad + cell)
		case last:
			t.w.WriteString(cell)
		default:
			t.w.WriteString(cell + pad)
		}
		if !last {
			t.w.WriteString("  ")
		}
	}
	return t.w.WriteByte('\n')
}

func (t *table) close() error {
	if !t.settled {
		if err := t.settle(); err != nil {
			return err
		}
	}
	if t.count {
		fmt.Fprintf(t.w, "(%s)\n", countOf(t.n, "row"))
	}
	return t.w.Flush()
}

// printable returns s on one line and without what a terminal would obey:
// values come from whoever can request a pixel.
func printable(s string) string {
	clean := func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case clean(r):
			b.WriteRune(r)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}
