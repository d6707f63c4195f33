package main

import (
	"testing"

	"pixelbeam/cmd/internal/clidoc"
)

// docs/flags.md has every flag.
func TestFlagReference(t *testing.T) {
	clidoc.Check(t, root(), "../../docs/flags.md")
}

// The documentation's command lines are taken.
func TestDocumentedCommands(t *testing.T) {
	clidoc.CheckCommands(t, root, "../..")
}
