package load

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"

	"pixelbeam/local/traffic"
)

// Every kind of entry is still what it was, with ids and times of its message.
func TestTemplates(t *testing.T) {
	opts := traffic.DefaultOptions()
	opts.DuplicateShare = 0
	templates := makeTemplates(opts, 5000)
	published := time.Date(2026, 11, 26, 12, 0, 0, 123456000, time.UTC)
	var w writer
	var b []byte
	for i := range templates {
		b = w.append(b, &templates[i], int64(i), published.UnixMicro())
	}
	var response pubsubpb.PullResponse
	if err := proto.Unmarshal(b, &response); err != nil {
		t.Fatal(err)
	}
	kinds, late := map[traffic.Kind]int{}, 0
	for i, rm := range response.GetReceivedMessages() {
		m := rm.GetMessage()
		if n, ok := ackNumber([]byte(rm.GetAckId())); !ok || n != int64(i) {
			t.Fatalf("message %d: ack id %q", i, rm.GetAckId())
		}
		if m.GetMessageId() != fmt.Sprintf("%013d", i) || !m.GetPublishTime().AsTime().Equal(published) {
			t.Fatalf("message %d: id %q, published %v", i, m.GetMessageId(), m.GetPublishTime().AsTime())
		}
		kind := templates[i].kind
		kinds[kind]++
		if kind == traffic.Rejected {
			continue
		}
		var entry struct {
			InsertID, ReceiveTimestamp string
			Timestamp                  string
		}
		if err := json.Unmarshal(m.GetData(), &entry); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		event := published.Add(-time.Duration(templates[i].late) * time.Microsecond)
		if templates[i].late > 0 {
			late++
		}
		want := event.Format(timeLayout)
		if entry.InsertID != idPrefix+m.GetMessageId() || entry.ReceiveTimestamp != published.Format(timeLayout) ||
			entry.Timestamp != want && entry.Timestamp != "" || m.GetAttributes()[timestampAttribute] != want {
			t.Fatalf("message %d: %+v, attributes %v, want time %s", i, entry, m.GetAttributes(), want)
		}
		if !strings.HasPrefix(string(m.GetData()), "{") {
			t.Fatalf("message %d: %s", i, m.GetData())
		}
	}
	if kinds[traffic.Impression] < 4500 || kinds[traffic.Rejected] == 0 || kinds[traffic.Ignored] == 0 || late < 50 {
		t.Errorf("kinds %v, %d late", kinds, late)
	}
}
