package pubsubd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
)

// replay is what the segments of a log say, in order.
type replay struct {
	topics        map[string]*pubsubpb.Topic
	subscriptions map[uint64]*replayed
	lastID        uint64
	lastNumber    uint64

	waitingBytes    int64 // Options.WaitingBytes
	newSubscription func(number uint64, config *pubsubpb.Subscription) *subscription
}

// replayed is a subscription with its unacknowledged items by message id.
type replayed struct {
	*subscription
	items map[uint64]*item
}

// readLog replays the segments in dir and returns them, oldest first, and the
// number for the next. What a crash left unfinished at the very end is cut off
// with a warning; damage elsewhere is an error.
func (r *replay) readLog(dir string, logger *slog.Logger) (segments []*segment, next uint64, err error) {
	files, err := segmentNumbers(dir)
	if err != nil {
		return nil, 0, err
	}
	for i, n := range files {
		seg := &segment{path: filepath.Join(dir, segmentName(n))}
		b, err := os.ReadFile(seg.path)
		if err != nil {
			return nil, 0, err
		}
		good, err := r.readSegment(b, seg)
		if err != nil {
			if i < len(files)-1 {
				return nil, 0, fmt.Errorf("%s at byte %d: %w (move the file away to start without what it holds)", seg.path, good, err)
			}
			logger.Warn("pubsubd: the log ends in an unfinished or damaged record, which is cut off",
				"file", seg.path, "at", good, "bytes", int64(len(b))-good, "reason", err)
			if err := os.Truncate(seg.path, good); err != nil {
				return nil, 0, err
			}
			if good == 0 { // not even the file's head
				if err := os.Remove(seg.path); err != nil {
					return nil, 0, err
				}
				continue
			}
		}
		seg.size = good
		segments = append(segments, seg)
	}
	if len(files) > 0 {
		next = files[len(files)-1]
	}
	return segments, next + 1, nil
}

// segmentNumbers returns the numbers of the segments in dir, in order.
func segmentNumbers(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".log")
		n, err := strconv.ParseUint(digits, 10, 64)
		if ok && err == nil && e.Name() == segmentName(n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// readSegment applies the records of a segment's content up to the first that is
// not whole, and returns where that begins.
func (r *replay) readSegment(b []byte, seg *segment) (good int64, err error) {
	rest, ok := bytes.CutPrefix(b, []byte(segmentMagic))
	if !ok {
		if len(b) < len(segmentMagic) && strings.HasPrefix(segmentMagic, string(b)) {
			return 0, errTorn
		}
		return 0, fmt.Errorf("%w: not a segment of this version", errCorrupt)
	}
	for len(rest) > 0 {
		good = int64(len(b) - len(rest))
		payload, next, err := nextRecord(rest)
		if err == nil {
			err = r.apply(payload[0], payload[1:], seg, good+headerSize+int64(len(payload)))
		}
		if err != nil {
			return good, err
		}
		rest = next
	}
	return int64(len(b)), nil
}

// apply applies one record, which ends at an offset of its segment. Records of
// subscriptions that are gone say nothing.
func (r *replay) apply(kind byte, body []byte, seg *segment, end int64) error {
	switch kind {
	case recordTopic:
		t := &pubsubpb.Topic{}
		if err := proto.Unmarshal(body, t); err != nil {
			return errors.Join(errCorrupt, err)
		}
		r.topics[t.GetName()] = t
	case recordTopicGone:
		delete(r.topics, string(body))
	case recordSubscription:
		fields := numbers{b: body}
		number := fields.next()
		config := &pubsubpb.Subscription{}
		if err := errors.Join(fields.err(), proto.Unmarshal(fields.b, config)); err != nil {
			return errors.Join(errCorrupt, err)
		}
		r.lastNumber = max(r.lastNumber, number)
		if s, ok := r.subscriptions[number]; ok {
			s.config = config
			return nil
		}
		r.subscriptions[number] = &replayed{r.newSubscription(number, config), map[uint64]*item{}}
	case recordSubscriptionGone:
		fields := numbers{b: body}
		number := fields.next()
		if s, ok := r.subscriptions[number]; ok {
			s.close()
			delete(r.subscriptions, number)
		}
		return fields.err()
	case recordPublish:
		return r.publish(body, seg, end)
	case recordAck:
		number, ids, err := parseAck(body)
		if s, ok := r.subscriptions[number]; ok {
			for _, id := range ids {
				s.ack(id)
			}
		}
		return err
	default:
		return fmt.Errorf("%w: type %d", errCorrupt, kind)
	}
	return nil
}

// publish puts a message into its subscriptions, or notes its new place if it is
// there: then it was copied out of an older segment.
func (r *replay) publish(body []byte, seg *segment, end int64) error {
	msg, numbers, err := parsePublish(body)
	if err != nil {
		return err
	}
	r.lastID = max(r.lastID, msg.id)
	at := &place{seg, end - int64(msg.size)}
	borrowed := msg.encoded
	msg.encoded = nil
	msg.at.Store(at)
	for _, n := range numbers {
		s, ok := r.subscriptions[n]
		if !ok {
			continue
		}
		it, ok := s.items[msg.id]
		if ok {
			it.segment.release(it)
			it.msg.at.Store(at)
		} else {
			if msg.encoded == nil && s.ready.bytes < r.waitingBytes {
				msg.encoded = bytes.Clone(borrowed)
			}
			it = &item{msg: msg}
			s.items[msg.id] = it
			s.ready.push(it)
		}
		it.segment = seg
		seg.hold(1, it.msg.logBytes())
	}
	return nil
}

func (s *replayed) ack(id uint64) {
	if it, ok := s.items[id]; ok {
		delete(s.items, id)
		it.remove()
		it.segment.release(it)
	}
}

// configs returns the records that say what topics and subscriptions there are.
func (r *replay) configs() (map[string][]byte, error) {
	out := map[string][]byte{}
	for t := range maps.Values(r.topics) {
		b, err := proto.Marshal(t)
		if err != nil {
			return nil, err
		}
		out[topicKey(t.GetName())] = appendTopicRecord(nil, b)
	}
	for s := range maps.Values(r.subscriptions) {
		b, err := proto.Marshal(s.config)
		if err != nil {
			return nil, err
		}
		out[subscriptionKey(s.number)] = appendSubscriptionRecord(nil, s.number, b)
	}
	return out, nil
}

func topicKey(name string) string { return "topic " + name }

func subscriptionKey(number uint64) string { return "subscription " + strconv.FormatUint(number, 10) }

// openLog replays the log in opts.Dir and readies it for writing.
func openLog(opts Options, r *replay) (*wal, error) {
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	segments, next, err := r.readLog(opts.Dir, opts.Logger)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	configs, err := r.configs()
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	w, err := startWAL(opts.Dir, lock, opts, segments, next, configs)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	opts.Logger.Debug("pubsubd: log replayed", "segments", len(segments), "took", time.Since(start))
	return w, nil
}
