package impression

import (
	"testing"

	"pixelbeam/transforms/logentry"
)

// typical are 64 impressions of the traffic generator (local/traffic, default
// options), 1.3 kB and 17 parameters each on average.
func typical(t testing.TB) (messages []logentry.Message, bytes int64) {
	for _, data := range readEntries(t, "testdata/typical.jsonl") {
		messages = append(messages, logentry.Message{Data: data})
		bytes += int64(len(data))
	}
	return messages, bytes / int64(len(messages))
}

// BenchmarkConvert makes rows of typical entries, whose agents are in the cache.
// internal/rivals compares it with libraries.
func BenchmarkConvert(b *testing.B) {
	messages, size := typical(b)
	c := converter(b, Options{})
	var rec Record
	var dst []byte
	for _, m := range messages {
		c.Convert(&m, nil, &rec)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		var v Verdict
		if dst, v = c.Convert(&messages[i%len(messages)], dst[:0], &rec); v.Kind != Impression {
			b.Fatal(v)
		}
		i++
	}
}

func TestConvertAllocates(t *testing.T) {
	messages, _ := typical(t)
	for _, data := range allEntries(t) {
		// What is rejected gets a text that says why, which is allocated.
		if _, reason := referenceConvert(data, ""); reason == "" || reason == logentry.ReasonNotAPixel || reason == logentry.ReasonMethod {
			messages = append(messages, logentry.Message{Data: data})
		}
	}
	c := converter(t, Options{})
	var rec Record
	dst := make([]byte, 0, 16<<10)
	convert := func() {
		for i := range messages {
			c.Convert(&messages[i], dst[:0], &rec)
		}
	}
	convert() // let buffers and the cache of agents grow
	if n := testing.AllocsPerRun(20, convert); n != 0 {
		t.Errorf("%v allocations for %d entries", n, len(messages))
	}
}
