package pubsubd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
)

// killed copies the log of a running server, as it would be found after the
// process had been killed at this moment.
func killed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	numbers, err := segmentNumbers(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		b, err := os.ReadFile(filepath.Join(dir, segmentName(n)))
		if errors.Is(err, fs.ErrNotExist) { // trimmed meanwhile
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, segmentName(n)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func segmentsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

func TestRestart(t *testing.T) {
	for _, mode := range []string{"closed", "killed", "synced"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			opts := Options{Dir: dir, PullWait: time.Millisecond, Sync: mode == "synced"}
			if mode == "killed" {
				opts.WaitingBytes = 1 // messages are in the log only
			}
			s := start(t, opts)
			topics, subs := adminClients(t, s)
			const other = "projects/p/subscriptions/other"
			if err := s.CreateSubscription(other, testTopic); err != nil {
				t.Fatal(err)
			}
			_, err := topics.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/p/topics/gone"})
			if err != nil {
				t.Fatal(err)
			}
			if err := topics.DeleteTopic(t.Context(), &pubsubpb.DeleteTopicRequest{Topic: "projects/p/topics/gone"}); err != nil {
				t.Fatal(err)
			}
			ids := publish(t, s, "a", "b", "c", "d")
			got := pullOnce(t, subs, 3)
			ack(t, subs, got[0], got[2])
			if mode == "killed" {
				// Acknowledgements are written a moment later.
				waitFor(t, func() bool { return len(replayedTexts(t, killed(t, dir))) == 2 })
				opts.Dir = killed(t, dir)
			} else {
				closeServer(t, s)
			}

			s = start(t, opts)
			_, subs = adminClients(t, s)
			ack(t, subs, got[1]) // of before: says nothing here
			wantStats(t, s, Stats{Published: 2, Backlog: 2})
			again := pullOnce(t, subs, 10)
			wantTexts(t, again, "b d")
			if m := again[0].GetMessage(); m.GetMessageId() != ids[1] || m.GetAttributes()["length"] != "1" ||
				!m.GetPublishTime().AsTime().Equal(got[1].GetMessage().GetPublishTime().AsTime()) {
				t.Errorf("replayed %v, published %v", m, got[1].GetMessage())
			}
			if st, err := s.Stats(other); err != nil || st.Backlog != 4 {
				t.Errorf("the other subscription has %+v, %v", st, err)
			}
			if next := publish(t, s, "e"); next[0] <= ids[3] {
				t.Errorf("id %s after %s", next[0], ids[3])
			}
			if _, ok := s.topics["projects/p/topics/gone"]; ok {
				t.Error("a deleted topic is back")
			}
			ack(t, subs, again...)
			closeServer(t, s)

			s = start(t, opts)
			_, subs = adminClients(t, s)
			wantTexts(t, pullOnce(t, subs, 10), "e")
		})
	}
}

// replayedTexts returns the data of the unacknowledged messages of testSub in a
// log.
func replayedTexts(t *testing.T, dir string) []string {
	t.Helper()
	s, err := Start("127.0.0.1:0", Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closeServer(t, s)
	var out []string
	s.subscriptions[testSub].each(func(it *item) {
		m := &pubsubpb.PubsubMessage{}
		encoded, err := it.msg.load()
		if err == nil {
			err = proto.Unmarshal(encoded, m)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(m.GetData()))
	})
	return out
}

func TestDeletedSubscriptionStaysDeleted(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	_, subs := adminClients(t, s)
	publish(t, s, "a")
	if err := subs.DeleteSubscription(t.Context(), &pubsubpb.DeleteSubscriptionRequest{Subscription: testSub}); err != nil {
		t.Fatal(err)
	}
	closeServer(t, s)
	s = start(t, Options{Dir: dir}) // makes it anew
	wantStats(t, s, Stats{})
}

func TestNothingAnsweredIsLost(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, SegmentBytes: 16 << 10})
	var mu sync.Mutex
	answered := map[string]bool{}
	var running sync.WaitGroup
	for p := range 4 {
		running.Go(func() {
			for i := range 1000 {
				text := fmt.Sprintf("%d/%03d", p, i)
				if _, err := s.Publish(testTopic, Message{Data: []byte(text)}); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				answered[text] = true
				mu.Unlock()
			}
		})
	}
	for want := 500; want <= 4000; want += 500 {
		var before map[string]bool
		waitFor(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			before = maps.Clone(answered)
			return len(before) >= want || t.Failed()
		})
		// None is acknowledged, so that no segment goes while it is copied.
		for _, text := range replayedTexts(t, killed(t, dir)) {
			delete(before, text)
		}
		if len(before) > 0 {
			t.Fatalf("%d messages answered are lost", len(before))
		}
	}
	running.Wait()
}

func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	publish(t, s, "a")
	publish(t, s, "b")
	whole := killed(t, dir)
	files := segmentsIn(t, whole)
	last := files[len(files)-1]
	content, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	secondRecord := 0 // where the publish record of b begins
	for rest := content[len(segmentMagic):]; len(rest) > 0; {
		secondRecord = len(content) - len(rest)
		if _, rest, err = nextRecord(rest); err != nil {
			t.Fatal(err)
		}
	}
	flipped := slices.Clone(content)
	flipped[len(flipped)-1] ^= 1
	for _, test := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"whole", content, "ab"},
		{"last byte missing", content[:len(content)-1], "a"},
		{"half a header", content[:secondRecord+5], "a"},
		{"wrong checksum", flipped, "a"},
		{"zeros", append(slices.Clone(content[:secondRecord]), make([]byte, 1000)...), "a"},
		{"length beyond the end", append(slices.Clone(content[:secondRecord]), 0xff, 0xff, 0xff, 0, 1, 2, 3, 4, 5), "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(last, test.content, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, stale := range segmentsIn(t, whole) {
				if stale > last {
					os.Remove(stale)
				}
			}
			var log strings.Builder
			s, err := Start("127.0.0.1:0", Options{Dir: whole, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			s.subscriptions[testSub].each(func(it *item) {
				encoded, err := it.msg.load()
				if err != nil {
					t.Fatal(err)
				}
				got.Write(encoded[2:3])
			})
			if got.String() != test.want {
				t.Errorf("replayed %q, want %q", got.String(), test.want)
			}
			if warned := strings.Contains(log.String(), "cut off"); warned != (test.want == "a") {
				t.Errorf("log: %s", log.String())
			}
			// What comes after a cut is replayed too.
			publish(t, s, "c")
			closeServer(t, s)
			if n := len(replayedTexts(t, whole)); n != len(test.want)+1 {
				t.Errorf("%d messages after the next start, want %d", n, len(test.want)+1)
			}
		})
	}
}

func TestTornFirstBytes(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	publish(t, s, "a")
	closeServer(t, s)
	if err := os.WriteFile(filepath.Join(dir, segmentName(9)), []byte(segmentMagic[:3]), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := len(replayedTexts(t, dir)); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestDamageInTheMiddleIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	publish(t, s, "a")
	closeServer(t, s)
	closeServer(t, start(t, Options{Dir: dir})) // begins another segment
	first := segmentsIn(t, dir)[0]
	content, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(first, content, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Start("127.0.0.1:0", Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), first) {
		t.Errorf("error %v does not name %s", err, first)
	}
}

func TestFolderInUse(t *testing.T) {
	dir := t.TempDir()
	start(t, Options{Dir: dir})
	if _, err := Start("127.0.0.1:0", Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server on the folder: %v", err)
	}
}

func TestAcknowledgedSegmentsGo(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, SegmentBytes: 4 << 10})
	_, subs := adminClients(t, s)
	begun := s.log.nextFile
	for range 20 {
		publish(t, s, strings.Repeat("x", 3000))
		ack(t, subs, pullOnce(t, subs, 10)...)
	}
	if n := s.log.nextFile - begun; n < 5 {
		t.Fatalf("only %d segments were begun", n)
	}
	waitFor(t, func() bool { return len(segmentsIn(t, dir)) == 1 })
	// The topic and subscription were first written to a segment that is gone.
	closeServer(t, s)
	publish(t, start(t, Options{Dir: dir}), "a")
}

func TestOneOldMessageDoesNotHoldUpTheLog(t *testing.T) {
	t.Run("in memory", func(t *testing.T) { oneOldMessage(t, 0) })
	t.Run("in the log only", func(t *testing.T) { oneOldMessage(t, 1) })
}

func oneOldMessage(t *testing.T, waitingBytes int64) {
	dir := t.TempDir()
	now := newClock()
	s := start(t, Options{Dir: dir, SegmentBytes: 4 << 10, WaitingBytes: waitingBytes, Now: now.Now, PullWait: time.Millisecond})
	const other = "projects/p/subscriptions/other"
	if err := s.CreateSubscription(other, testTopic); err != nil {
		t.Fatal(err)
	}
	_, subs := adminClients(t, s)
	pullOther := func() []*pubsubpb.ReceivedMessage {
		resp, err := subs.Pull(t.Context(), &pubsubpb.PullRequest{Subscription: other, MaxMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetReceivedMessages()
	}
	ackOther := func(msgs []*pubsubpb.ReceivedMessage) {
		err := subs.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{Subscription: other, AckIds: ackIDs(msgs)})
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(t, s, "first")      // so that something waits
	ids := publish(t, s, "old") // both keep it
	ack(t, subs, pullOnce(t, subs, 2)[0])
	late := pullOther()
	for range 100 {
		publish(t, s, strings.Repeat("x", 3000))
		ack(t, subs, pullOnce(t, subs, 10)...)
		ackOther(pullOther())
	}
	waitFor(t, func() bool { return len(segmentsIn(t, dir)) <= keepSegments+2 })
	ackOther(late)
	// It is handed out from where it was copied to.
	now.advance(time.Hour)
	wantTexts(t, pullOnce(t, subs, 10), "old")
	closeServer(t, s)

	s = start(t, Options{Dir: dir, PullWait: time.Millisecond})
	_, subs = adminClients(t, s)
	got := pullOnce(t, subs, 10)
	wantTexts(t, got, "old")
	if got[0].GetMessage().GetMessageId() != ids[0] {
		t.Errorf("copied under id %s, was %s", got[0].GetMessage().GetMessageId(), ids[0])
	}
	if msgs := pullOther(); len(msgs) != 0 {
		t.Errorf("acknowledged after copying, yet back: %v", texts(msgs))
	}
}

func TestAckDuringCopyIsNotUndone(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, PullWait: time.Millisecond})
	_, subs := adminClients(t, s)
	publish(t, s, "a", "b")
	s.log.mu.Lock()
	old := s.log.segments[len(s.log.segments)-1]
	s.log.mu.Unlock()
	work := s.inUse(old)
	got := pullOnce(t, subs, 2)
	ack(t, subs, got[0]) // after the work was gathered, before it is done
	if err := s.copyForward(old, work); err != nil {
		t.Fatal(err)
	}
	ack(t, subs, got[1])
	if n := old.live.Load(); n != 0 {
		t.Errorf("%d items in use after all were acknowledged", n)
	}
	closeServer(t, s)
	if left := replayedTexts(t, dir); len(left) != 0 {
		t.Errorf("acknowledged messages are back: %q", left)
	}
}

func TestPublishFailsWhenTheLogDoes(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	publish(t, s, "a")
	s.log.mu.Lock()
	file := s.log.file
	s.log.mu.Unlock()
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Publish(testTopic, Message{Data: []byte("b")}); err == nil {
			t.Fatal("a publish that cannot be written is answered")
		}
	}
	wantStats(t, s, Stats{Published: 1, Backlog: 1})
	if err := s.Close(); err == nil {
		t.Error("Close is silent about a broken log")
	}
	s.closeErr = nil // told
	if n := len(replayedTexts(t, dir)); n != 1 {
		t.Errorf("%d messages after the next start, want 1", n)
	}
}

// TestUnreadableLog: a message that cannot be read is neither lost nor handed out
// empty.
func TestUnreadableLog(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, WaitingBytes: 1, PullWait: time.Millisecond})
	_, subs := adminClients(t, s)
	publish(t, s, "a")
	publish(t, s, "b") // only in the log, as a waits
	segments := segmentsIn(t, dir)
	last := segments[len(segments)-1]
	content, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(last, 10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if resp, err := subs.Pull(ctx, &pubsubpb.PullRequest{Subscription: testSub, MaxMessages: 10}); err == nil {
		t.Errorf("pulled %q from a log that cannot be read", texts(resp.GetReceivedMessages()))
	}
	if err := os.WriteFile(last, content, 0o644); err != nil {
		t.Fatal(err)
	}
	wantTexts(t, pullOnce(t, subs, 10), "a b")
}
