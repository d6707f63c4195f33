package pubsubd

import (
	"sync/atomic"
	"time"
)

// message is one published message, shared by its subscriptions.
type message struct {
	id uint64
	// published is the publish time.
	published time.Time
	// size is the length of encoded.
	size int
	// encoded is the PubsubMessage in wire format, id and publish time included.
	// It is never changed. It is nil where only the log has it: then at says where.
	encoded []byte
	at      atomic.Pointer[place]
}

// place is where the log has the encoding of a message.
type place struct {
	segment *segment
	offset  int64
}

// logBytes is about the size of the message's record.
func (m *message) logBytes() int64 { return int64(m.size) + 28 }

// load returns the message's encoding. It fails for a message that is only in the
// log and has been acknowledged.
func (m *message) load() ([]byte, error) {
	if m.encoded != nil {
		return m.encoded, nil
	}
	for {
		p := m.at.Load()
		b := make([]byte, m.size)
		err := p.segment.readAt(b, p.offset)
		if err == nil {
			return b, nil
		}
		if m.at.Load() == p { // else it was copied meanwhile
			return nil, err
		}
	}
}

// item is a message in one subscription, from publish to acknowledgement. Its
// subscription's lock guards all of it but msg.
type item struct {
	msg *message
	// segment holds the item's publish record; nil without a log.
	segment *segment
	// in is the list that holds the item; nil once it has been acknowledged or
	// its subscription deleted.
	in         *list
	next, prev *item
	// lease is the number of the last lease, 0 if it was given back or there was
	// none.
	lease    uint64
	deadline time.Duration
	holder   *consumer
	// delivered says that the message has been handed out before.
	delivered bool
}

// list is a doubly linked list of items. The zero value is empty.
type list struct {
	head, tail *item
	n          int
	bytes      int64 // of the messages, wherever they are
}

func (l *list) push(it *item) {
	it.in, it.prev, it.next = l, l.tail, nil
	if l.tail == nil {
		l.head = it
	} else {
		l.tail.next = it
	}
	l.tail = it
	l.n++
	l.bytes += int64(it.msg.size)
}

// remove takes the item out of whichever list holds it.
func (it *item) remove() {
	l := it.in
	if it.prev == nil {
		l.head = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		l.tail = it.prev
	} else {
		it.next.prev = it.prev
	}
	it.in, it.prev, it.next = nil, nil, nil
	l.n--
	l.bytes -= int64(it.msg.size)
}
