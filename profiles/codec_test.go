package profiles

import (
	"fmt"
	"testing"

	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"pixelbeam/schemas"
)

type chunk = bigtablepb.ReadRowsResponse_CellChunk

func commit(yes bool) *bigtablepb.ReadRowsResponse_CellChunk_CommitRow {
	return &bigtablepb.ReadRowsResponse_CellChunk_CommitRow{CommitRow: yes}
}

// answers to ReadRows; plain ones are decoded here, others by the library.
var answers = []struct {
	name  string
	plain bool
	m     *bigtablepb.ReadRowsResponse
}{
	{"nothing", true, &bigtablepb.ReadRowsResponse{}},
	{"two rows", true, &bigtablepb.ReadRowsResponse{Chunks: []*chunk{
		{RowKey: []byte("a"), FamilyName: wrapperspb.String("c"), Qualifier: wrapperspb.Bytes([]byte("window")), TimestampMicros: 6e7, Value: []byte("v")},
		{TimestampMicros: 1, Value: make([]byte, 300)},
		{FamilyName: wrapperspb.String(""), Qualifier: wrapperspb.Bytes(nil), RowStatus: commit(true)},
		{RowKey: []byte("b"), FamilyName: wrapperspb.String("f"), TimestampMicros: -1, RowStatus: commit(false)},
		{},
	}}},
	{"a label", false, &bigtablepb.ReadRowsResponse{Chunks: []*chunk{{Labels: []string{"l"}}}}},
	{"a part of a cell", false, &bigtablepb.ReadRowsResponse{Chunks: []*chunk{{Value: []byte("v"), ValueSize: 100}}}},
	{"a reset", false, &bigtablepb.ReadRowsResponse{Chunks: []*chunk{{RowStatus: &bigtablepb.ReadRowsResponse_CellChunk_ResetRow{ResetRow: true}}}}},
	{"last scanned", false, &bigtablepb.ReadRowsResponse{LastScannedRowKey: []byte("z")}},
	{"stats", false, &bigtablepb.ReadRowsResponse{RequestStats: &bigtablepb.RequestStats{}}},
}

func TestCodec(t *testing.T) {
	for _, test := range answers {
		t.Run(test.name, func(t *testing.T) {
			data := marshal(t, test.m)
			if _, plain := decodeChunks(data); plain != test.plain {
				t.Errorf("plain: %v, want %v", plain, test.plain)
			}
			// What was in the message before does not stay.
			got := &bigtablepb.ReadRowsResponse{Chunks: []*chunk{{Value: []byte("old")}}, LastScannedRowKey: []byte("old")}
			if err := (codec{encoding.GetCodecV2(grpcproto.Name)}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, got); err != nil {
				t.Fatal(err)
			}
			clear(data) // gRPC's memory serves again
			if !proto.Equal(got, test.m) {
				t.Errorf("got %v, want %v", got, test.m)
			}
		})
	}
}

// What is taken for plain is what the library makes of it, whatever the bytes.
func FuzzDecodeChunks(f *testing.F) {
	for _, a := range answers {
		f.Add(marshal(f, a.m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		chunks, ok := decodeChunks(b)
		if !ok {
			return
		}
		want := new(bigtablepb.ReadRowsResponse)
		if err := proto.Unmarshal(b, want); err != nil {
			t.Fatalf("the library says %v of what was decoded to %v", err, chunks)
		}
		if got := (&bigtablepb.ReadRowsResponse{Chunks: chunks}); !proto.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// BenchmarkCodec decodes a row of 60 windows, beside the library.
func BenchmarkCodec(b *testing.B) {
	m := &bigtablepb.ReadRowsResponse{}
	for i := range 60 {
		m.Chunks = append(m.Chunks, &chunk{TimestampMicros: minute(i).UnixMicro(), Value: marshal(b, counters(
			count(fmt.Sprint("campaign-", i), Impression, 1, 4e6), count("campaign-1", Impression, 2, 5e6), count("campaign-1", Click, 1, 6e6)))})
	}
	m.Chunks[0].RowKey = []byte(schemas.ProfileKey("user-1"))
	m.Chunks[0].FamilyName, m.Chunks[0].Qualifier = wrapperspb.String(schemas.FamilyCounters), wrapperspb.Bytes([]byte(schemas.ColumnCounters))
	m.Chunks[59].RowStatus = commit(true)
	data := mem.BufferSlice{mem.SliceBuffer(marshal(b, m))}
	library := encoding.GetCodecV2(grpcproto.Name)
	for _, c := range []struct {
		name  string
		codec encoding.CodecV2
	}{{"ours", codec{library}}, {"protobuf", library}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var got bigtablepb.ReadRowsResponse
				if err := c.codec.Unmarshal(data, &got); err != nil || len(got.Chunks) != 60 {
					b.Fatal(len(got.Chunks), err)
				}
			}
		})
	}
}
