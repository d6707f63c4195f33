package logentry

// Batch is log entries that travel together, in no particular order, so that
// what a runner does for each element it does once for many entries.
type Batch struct {
	Messages []Message
}
