package pubsubd

import "time"

// message is one published message, shared by its subscriptions.
type message struct {
	id uint64
	// published is the publish time.
	published time.Time
	// encoded is the PubsubMessage in wire format, id and publish time included.
	// It is never changed.
	encoded []byte
}

// logBytes is about the size of the message's record.
func (m *message) logBytes() int64 { return int64(len(m.encoded)) + 28 }

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
}
