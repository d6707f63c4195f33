// Package pipeline is the Pixelbeam job: log entries in, rows and profiles out.
// Build reads as its architecture drawing; Options is everything that a user can
// choose.
package pipeline
