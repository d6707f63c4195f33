package bigqueryd

import (
	"fmt"
	"strconv"
	"testing"

	"cloud.google.com/go/bigquery"
	"github.com/google/go-cmp/cmp"

	"pixelbeam/schemas/zetasketch"
)

// sketchOf is the sketch of the users from, ..., to-1.
func sketchOf(t *testing.T, from, to int) []byte {
	t.Helper()
	var s zetasketch.Sketch
	for i := from; i < to; i++ {
		s.Add("u" + strconv.Itoa(i))
	}
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSketches runs HLL_COUNT functions by BigQuery's client, and compares them
// with package zetasketch.
func TestSketches(t *testing.T) {
	s := start(t, Options{})
	c := restClient(t, s)
	for _, sql := range []string{
		"CREATE SCHEMA d",
		"CREATE TABLE d.users (id STRING, n INT64, raw BYTES, minute INT64)",
		`INSERT INTO d.users SELECT CONCAT('u', CAST(i AS STRING)), i, CAST(CONCAT('u', CAST(i AS STRING)) AS BYTES), DIV(i, 10000)
			FROM UNNEST(GENERATE_ARRAY(0, 59999)) AS i`,
		"INSERT INTO d.users (minute) VALUES (0), (99)",
		"CREATE TABLE d.counts AS SELECT minute, HLL_COUNT.INIT(id) AS sketch FROM d.users GROUP BY minute",
		"CREATE VIEW d.reach AS SELECT HLL_COUNT.MERGE(sketch) AS reach FROM d.counts",
	} {
		if _, err := s.Query(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var whole zetasketch.Sketch
	if err := whole.UnmarshalBinary(sketchOf(t, 0, 60000)); err != nil {
		t.Fatal(err)
	}
	reach := whole.Estimate()
	if reach < 59000 || reach > 61000 {
		t.Fatalf("reach %d of 60000", reach)
	}
	var numbers, low zetasketch.Sketch
	for _, p := range []struct {
		s *zetasketch.Sketch
		t zetasketch.ValueType
		p int
	}{{&numbers, zetasketch.Uint64, 15}, {&low, zetasketch.String, 10}} {
		made, err := zetasketch.New(p.t, p.p)
		if err != nil {
			t.Fatal(err)
		}
		*p.s = *made
	}
	for i := range 10000 {
		numbers.AddInt64(int64(i))
		low.Add("u" + strconv.Itoa(i))
	}
	bytesOf := func(s *zetasketch.Sketch) []byte {
		b, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	lowEstimate := low.Estimate()

	for _, tt := range []struct {
		sql  string
		want bigquery.Value
	}{
		{"SELECT sketch FROM d.counts WHERE minute = 0", sketchOf(t, 0, 10000)},
		{"SELECT sketch FROM d.counts WHERE minute = 5", sketchOf(t, 50000, 60000)},
		{"SELECT sketch FROM d.counts WHERE minute = 99", nil},
		{"SELECT HLL_COUNT.INIT(id, 10) FROM d.users WHERE minute = 0", bytesOf(&low)},
		{"SELECT HLL_COUNT.INIT(raw) FROM d.users WHERE minute = 0", sketchOf(t, 0, 10000)},
		{"SELECT HLL_COUNT.INIT(n) FROM d.users WHERE minute = 0", bytesOf(&numbers)},
		{"SELECT HLL_COUNT.INIT(id) FROM d.users WHERE FALSE", nil},
		{"SELECT HLL_COUNT.INIT(1)", bytesOf(func() *zetasketch.Sketch {
			s, _ := zetasketch.New(zetasketch.Uint64, 15)
			s.AddInt64(1)
			return s
		}())},
		{"SELECT HLL_COUNT.MERGE(sketch) FROM d.counts", reach},
		{"SELECT HLL_COUNT.MERGE(sketch) FROM d.counts WHERE minute = 99", int64(0)},
		{"SELECT HLL_COUNT.MERGE(sketch) FROM d.counts WHERE FALSE", int64(0)},
		{"SELECT HLL_COUNT.EXTRACT(HLL_COUNT.MERGE_PARTIAL(sketch)) FROM d.counts", reach},
		{"SELECT HLL_COUNT.MERGE_PARTIAL(sketch) FROM d.counts WHERE minute = 99", nil},
		{"SELECT HLL_COUNT.EXTRACT(CAST(NULL AS BYTES))", int64(0)},
		{"SELECT SUM(HLL_COUNT.EXTRACT(sketch)) FROM d.counts WHERE minute IN (1, 99)", func() int64 {
			var s zetasketch.Sketch
			if err := s.UnmarshalBinary(sketchOf(t, 10000, 20000)); err != nil {
				t.Fatal(err)
			}
			return s.Estimate()
		}()},
		{"SELECT HLL_COUNT.MERGE(s) FROM (SELECT HLL_COUNT.INIT(id, 10) AS s FROM d.users WHERE minute = 0 UNION ALL SELECT sketch FROM d.counts WHERE minute = 0)", lowEstimate},
		{"SELECT reach FROM d.reach", reach},
		{"SELECT HLL_COUNT.MERGE(sketch) - COUNT(DISTINCT minute) FROM d.counts HAVING HLL_COUNT.MERGE(sketch) > 0", reach - 7},
	} {
		rows := queryAll(t, c, tt.sql)
		if len(rows) != 1 || len(rows[0]) != 1 {
			t.Errorf("%s: %v", tt.sql, rows)
			continue
		}
		for _, got := range rows[0] {
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", tt.sql, diff)
			}
		}
	}

	for _, tt := range []struct{ sql, part string }{
		{"SELECT HLL_COUNT.EXTRACT(b'sketch')", "not a sketch"},
		{"SELECT HLL_COUNT.MERGE(raw) FROM d.users", "not a sketch"},
		{"SELECT HLL_COUNT.INIT(id, 9) FROM d.users", "precision 9 is not from 10 to 24"},
		{"SELECT HLL_COUNT.INIT(id, CAST(NULL AS INT64)) FROM d.users", "precision is NULL"},
		{"SELECT HLL_COUNT.INIT(n / 2) FROM d.users", "hll_count_init"},
		{"SELECT HLL_COUNT.INIT(n > 2) FROM d.users", "hll_count_init"},
		{"SELECT HLL_COUNT.MERGE(id) FROM d.users", "hll_count_merge"},
		{"SELECT HLL_COUNT.MERGE(s) FROM (SELECT HLL_COUNT.INIT(id) AS s FROM d.users UNION ALL SELECT HLL_COUNT.INIT(n) FROM d.users)", "cannot be merged"},
		{"SELECT HLL_COUNT.MERGE(DISTINCT sketch) FROM d.counts", "DISTINCT"},
		{"SELECT HLL_COUNT.SKETCH(sketch) FROM d.counts", "Function HLL_COUNT.SKETCH"},
	} {
		_, err := tryQuery(t, c, tt.sql)
		wantError(t, err, tt.part)
	}
}

// BenchmarkMergeSketches merges a day of minutes for 20 campaigns.
func BenchmarkMergeSketches(b *testing.B) {
	s := start(b, Options{})
	for _, sql := range []string{
		"CREATE SCHEMA d",
		"CREATE TABLE d.counts (campaign STRING, sketch BYTES)",
		`INSERT INTO d.counts SELECT CAST(MOD(i, 20) AS STRING), HLL_COUNT.INIT(CAST(MOD(j * i, 100000) AS STRING))
			FROM UNNEST(GENERATE_ARRAY(1, 28800)) AS i, UNNEST(GENERATE_ARRAY(1, 50)) AS j GROUP BY i`,
	} {
		if _, err := s.Query(b.Context(), sql); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
	}
	for b.Loop() {
		rows, err := s.Query(b.Context(), "SELECT campaign, HLL_COUNT.MERGE(sketch) AS reach FROM d.counts GROUP BY campaign")
		if err != nil || len(rows) != 20 {
			b.Fatal(len(rows), err)
		}
		if fmt.Sprint(rows[0]["reach"]) == "0" {
			b.Fatal(rows[0])
		}
	}
}
