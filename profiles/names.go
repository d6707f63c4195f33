package profiles

import (
	"bytes"
	"hash/maphash"
)

// names gives numbers to names, from 0. It keeps them in three pieces of memory,
// however many there are: a map would have one for each, and a profile has many.
type names struct {
	text  []byte
	ends  []int32 // of each name in text
	slots []int32 // by hash, 1 more than the number; 0 is free. Half of them are, at least
}

var namesSeed = maphash.MakeSeed()

// add returns the number of a name, a new one if it has none.
func (n *names) add(name []byte) int32 {
	if 2*len(n.ends) >= len(n.slots) {
		n.grow()
	}
	slot, id := n.find(maphash.Bytes(namesSeed, name), name)
	if id < 0 {
		id = int32(len(n.ends))
		n.text = append(n.text, name...)
		n.ends = append(n.ends, int32(len(n.text)))
		n.slots[slot] = id + 1
	}
	return id
}

// id returns the number of a name, -1 if it has none.
func (n *names) id(name string) int32 {
	if len(n.slots) == 0 {
		return -1
	}
	_, id := n.find(maphash.String(namesSeed, name), []byte(name))
	return id
}

// find returns the slot of a name and its number, or the slot that it would have
// and -1.
func (n *names) find(hash uint64, name []byte) (slot int, id int32) {
	mask := len(n.slots) - 1
	for slot = int(hash) & mask; ; slot = (slot + 1) & mask {
		id = n.slots[slot] - 1
		if id < 0 || bytes.Equal(n.bytes(id), name) {
			return slot, id
		}
	}
}

// bytes returns the name of a number.
func (n *names) bytes(id int32) []byte {
	start := int32(0)
	if id > 0 {
		start = n.ends[id-1]
	}
	return n.text[start:n.ends[id]]
}

func (n *names) grow() {
	if len(n.slots) == 0 {
		n.text, n.ends, n.slots = make([]byte, 0, 512), make([]int32, 0, 32), make([]int32, 64)
		return
	}
	n.slots = make([]int32, 2*len(n.slots))
	for id := range int32(len(n.ends)) {
		name := n.bytes(id)
		slot, _ := n.find(maphash.Bytes(namesSeed, name), name)
		n.slots[slot] = id + 1
	}
}
