package main

import (
	"testing"

	"pixelbeam/cmd/internal/clidoc"
)

// docs/flags.md has every flag.
func TestFlagReference(t *testing.T) {
	clidoc.Check(t, command(), "../../docs/flags.md")
}
