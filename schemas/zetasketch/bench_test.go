package zetasketch

import (
	"fmt"
	"strconv"
	"testing"
)

func ids(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, "%08x-122b-41e1-b85c-%012x", i*2654435761, i)
	}
	return out
}

// BenchmarkAdd adds the users of a window and serializes them, by one Sketch that
// is used again; the rival is a set that is exact.
func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 10000, 100000} {
		users := ids(n)
		b.Run("sketch/"+strconv.Itoa(n), func(b *testing.B) {
			var s Sketch
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				s.Reset()
				for _, u := range users {
					s.AddBytes(u)
				}
				out, _ = s.AppendBinary(out[:0])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/value")
			b.ReportMetric(float64(len(out))/float64(n), "B/value")
		})
		b.Run("map/"+strconv.Itoa(n), func(b *testing.B) {
			set := map[string]struct{}{}
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				clear(set)
				for _, u := range users {
					if _, ok := set[string(u)]; !ok {
						set[string(u)] = struct{}{}
					}
				}
				size = 0
				for u := range set {
					size += len(u) + 1
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/value")
			b.ReportMetric(float64(size)/float64(n), "B/value")
		})
	}
}

// BenchmarkMerge merges 60 serialized sketches, as a query over an hour's windows
// does, and estimates; the rival merges sets.
func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{10, 1000, 30000} {
		const parts = 60
		users := ids(n * 2)
		var sketches [parts][]byte
		var sets [parts]map[string]struct{}
		for i := range parts {
			var s Sketch
			sets[i] = map[string]struct{}{}
			for j := range n {
				u := users[(i*n/parts+j)%len(users)]
				s.AddBytes(u)
				sets[i][string(u)] = struct{}{}
			}
			sketches[i], _ = s.MarshalBinary()
		}
		b.Run("sketch/"+strconv.Itoa(n), func(b *testing.B) {
			var sum, part Sketch
			b.ReportAllocs()
			for b.Loop() {
				sum.Reset()
				for _, data := range sketches {
					if err := part.UnmarshalBinary(data); err != nil {
						b.Fatal(err)
					}
					if err := sum.Merge(&part); err != nil {
						b.Fatal(err)
					}
				}
				sum.Estimate()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/parts, "ns/part")
		})
		b.Run("map/"+strconv.Itoa(n), func(b *testing.B) {
			sum := map[string]struct{}{}
			b.ReportAllocs()
			for b.Loop() {
				clear(sum)
				for _, set := range sets {
					for u := range set {
						sum[u] = struct{}{}
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/parts, "ns/part")
		})
	}
}

func BenchmarkFingerprint(b *testing.B) {
	for _, n := range []int{8, 16, 36, 64, 200} {
		value := make([]byte, n)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				Fingerprint(value)
			}
		})
	}
}
