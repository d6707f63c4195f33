package main

import (
	"testing"

	"pixelbeam/cmd/internal/clidoc"
)

// The documentation's command lines are taken.
func TestDocumentedCommands(t *testing.T) {
	clidoc.CheckCommands(t, command, "../..")
}
