package main

import (
	"runtime"
	"testing"

	"pixelbeam/local/traffic"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/profile"
	"pixelbeam/transforms/rollup"
	"pixelbeam/transforms/useragent"
)

// BenchmarkWindowMemory says what a row of a window takes in memory while it is counted:
// for its counts (countBytes), for its profile (profileBytes), and kept in a store, in
// memory and in its file. Entries are those of generated traffic, without copies.
func BenchmarkWindowMemory(b *testing.B) {
	const n = 200_000
	o := traffic.DefaultOptions()
	o.DuplicateShare, o.LateShare, o.Users = 0, 0, 10*n
	c, err := impression.NewConverter(impression.Options{}, useragent.SharedCache())
	if err != nil {
		b.Fatal(err)
	}
	g := traffic.New(o)
	var records []impression.Record
	for len(records) < n {
		var e traffic.Entry
		g.Next(&e)
		m := logentry.Message{Data: e.Data, Timestamp: e.Timestamp}
		var r impression.Record
		if _, v := c.Convert(&m, nil, &r); v.Kind == impression.Impression {
			r.EventTime = 1_768_471_200_000_000 + int64(len(records))*300
			records = append(records, r)
		}
	}
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for b.Loop() {
		before := live()
		users := new(distinct.Builder)
		for i := range records {
			profile.Add(users, &records[i])
		}
		set := users.Append(nil)
		state, err := distinct.State(0, distinct.WindowStart(records[0].EventTime), set)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(live()-before)/n, "profile-B/row")
		runtime.KeepAlive(users)
		runtime.KeepAlive(set)
		runtime.KeepAlive(state)
		users, set, state = nil, nil, distinct.Restatement{}

		before = live()
		seen := newIDSet(n)
		parts := make([]*distinct.Builder, 16)
		for i := range parts {
			parts[i] = new(distinct.Builder)
		}
		for i := range records {
			r := &records[i]
			seen.add(entryID{uint64(r.IDHigh), uint64(r.IDLow)})
			rollup.Add(parts[rollup.Part(r, len(parts))], r)
		}
		b.ReportMetric(float64(live()-before)/n, "count-B/row")
		runtime.KeepAlive(seen)
		runtime.KeepAlive(parts)
		seen, parts = nil, nil

		for _, memory := range []int{1 << 30, 0} {
			before = live()
			s := newStore(memory)
			k := &rowKeeper{to: s.writer()}
			for i := range records {
				if _, err := k.keep(fieldsOf(&records[i], i)); err != nil {
					b.Fatal(err)
				}
			}
			if err := k.to.flush(); err != nil {
				b.Fatal(err)
			}
			if memory == 0 {
				b.ReportMetric(float64(s.spilled())/n, "file-B/row")
			} else {
				b.ReportMetric(float64(live()-before)/n, "kept-B/row")
			}
			s.close()
		}
	}
	b.ReportMetric(0, "ns/op")
}

// fieldsOf returns a record as a row of rowColumns.
func fieldsOf(r *impression.Record, i int) []field {
	row := []field{{n: r.EventTime}, {text: []byte{byte(i), byte(i >> 8), byte(i >> 16)}}, {n: r.EventTime}, {}}
	for _, text := range textsOf(r) {
		row = append(row, field{text: *text, null: len(*text) == 0})
	}
	return row
}
