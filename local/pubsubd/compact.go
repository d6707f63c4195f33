package pubsubd

// copyBatch is how many messages are copied to the end of the log in one write.
const copyBatch = 1000

// holding is an item and the subscription it is in.
type holding struct {
	sub *subscription
	it  *item
}

// copying is a message to be copied and those who hold it.
type copying struct {
	msg     *message
	holders []holding
}

// compact copies what is in use in the oldest segment to the end of the log, if
// the log is much larger than what is in use altogether, so that trim can delete
// that segment and those of acknowledged messages after it.
func (s *Server) compact() error {
	oldest := s.log.wasteful()
	if oldest == nil {
		return nil
	}
	work := s.inUse(oldest)
	for len(work) > 0 {
		n := min(len(work), copyBatch)
		if err := s.copyForward(oldest, work[:n]); err != nil {
			return err
		}
		work = work[n:]
	}
	return nil
}

// inUse returns the messages in use whose publish record is in seg. Messages that
// are being published right now are left for the next time.
func (s *Server) inUse(seg *segment) []*copying {
	var out []*copying
	byMessage := map[*message]*copying{}
	for _, sub := range s.allSubscriptions() {
		sub.mu.Lock()
		sub.each(func(it *item) {
			if it.segment != seg {
				return
			}
			c, ok := byMessage[it.msg]
			if !ok {
				c = &copying{msg: it.msg}
				byMessage[it.msg] = c
				out = append(out, c)
			}
			c.holders = append(c.holders, holding{sub, it})
		})
		sub.mu.Unlock()
	}
	return out
}

// copyForward writes messages anew and moves their items out of the old segment.
func (s *Server) copyForward(old *segment, work []*copying) error {
	var records []byte
	var items, bytes int64
	ends := make([]int, len(work)) // of the records
	for i, c := range work {
		encoded, err := c.msg.load()
		if err != nil {
			return err
		}
		var numbers []uint64
		for _, h := range c.holders {
			numbers = append(numbers, h.sub.number)
			items++
			bytes += c.msg.logBytes()
		}
		records = appendPublishRecord(records, c.msg, encoded, numbers)
		ends[i] = len(records)
	}
	seg, base, err := s.log.append(records, items, bytes)
	if err != nil {
		return err
	}
	for i, c := range work {
		if c.msg.encoded == nil {
			c.msg.at.Store(&place{seg, base + int64(ends[i]-c.msg.size)})
		}
	}
	acked := map[uint64][]uint64{}
	for _, c := range work {
		for _, h := range c.holders {
			h.sub.mu.Lock()
			if h.it.in != nil {
				old.release(h.it)
				h.it.segment = seg
			} else {
				// Acknowledged meanwhile, perhaps in a record before the copy:
				// said again, or a replay would bring the message back.
				seg.release(h.it)
				acked[h.sub.number] = append(acked[h.sub.number], c.msg.id)
			}
			h.sub.mu.Unlock()
		}
	}
	for number, ids := range acked {
		s.log.note(appendAckRecord(nil, number, ids))
	}
	return nil
}
