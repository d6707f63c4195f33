package logentry

import "strconv"

// Message is one log entry as a source delivered it, before anything is known
// of its content.
type Message struct {
	// Data is the LogEntry as JSON, unchanged.
	Data []byte
	// Timestamp is the message attribute logging.googleapis.com/timestamp, RFC
	// 3339; empty where the source has none.
	Timestamp string
	// ReceiveTime is when the source accepted the entry, in microseconds since
	// the Unix epoch: Pub/Sub publish time, or a file's modification time.
	ReceiveTime int64
	// Origin is the Pub/Sub message id or the file's name.
	Origin string
	// Offset is the byte offset of the entry in the (decompressed) file, or -1
	// for a source without offsets.
	Offset int64
}

// Place says where the entry came from, for people: a message id, or file and
// byte offset.
func (m *Message) Place() string {
	if m.Offset < 0 {
		return m.Origin
	}
	return m.Origin + "@" + strconv.FormatInt(m.Offset, 10)
}
