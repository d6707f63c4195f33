package bigtabled

import (
	"context"
	"fmt"
	"testing"

	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/grpc"

	"pixelbeam/schemas"
)

// BenchmarkReadRows reads a profile of 60 windows, written one by one, with a filter
// as that of package profiles, without the network.
func BenchmarkReadRows(b *testing.B) {
	s, err := Start("127.0.0.1:0", Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.EnsureTable(b.Context(), "p", "i", schemas.Profiles()); err != nil {
		b.Fatal(err)
	}
	const table, users, windows = "projects/p/instances/i/tables/profiles", 1000, 60
	for w := range windows {
		req := &bigtablepb.MutateRowsRequest{TableName: table}
		for u := range users {
			req.Entries = append(req.Entries, &bigtablepb.MutateRowsRequest_Entry{
				RowKey: []byte(schemas.ProfileKey(fmt.Sprint("user-", u))),
				Mutations: []*bigtablepb.Mutation{
					setCell(schemas.FamilyCounters, schemas.ColumnCounters, int64(w+1)*60_000_000, make([]byte, 64)),
					setCell(schemas.FamilyLatest, schemas.ColumnLatest, int64(w+1)*60_000_000, make([]byte, 100)),
				},
			})
		}
		if _, err := s.write(req); err != nil {
			b.Fatal(err)
		}
	}
	family := func(name string, versions int32) *bigtablepb.RowFilter {
		return &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_Chain_{Chain: &bigtablepb.RowFilter_Chain{Filters: []*bigtablepb.RowFilter{
			{Filter: &bigtablepb.RowFilter_FamilyNameRegexFilter{FamilyNameRegexFilter: name}},
			{Filter: &bigtablepb.RowFilter_TimestampRangeFilter{TimestampRangeFilter: &bigtablepb.TimestampRange{StartTimestampMicros: 1000}}},
			{Filter: &bigtablepb.RowFilter_CellsPerColumnLimitFilter{CellsPerColumnLimitFilter: versions}},
		}}}}
	}
	filter := &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_Interleave_{Interleave: &bigtablepb.RowFilter_Interleave{Filters: []*bigtablepb.RowFilter{
		family(schemas.FamilyFirst, 1), family(schemas.FamilyLatest, 1), family(schemas.FamilyCounters, 10_000),
	}}}}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		key := schemas.ProfileKey(fmt.Sprint("user-", i%users))
		stream := &discardStream{ctx: b.Context()}
		err := dataServer{s: s}.ReadRows(&bigtablepb.ReadRowsRequest{
			TableName: table, Rows: &bigtablepb.RowSet{RowKeys: [][]byte{[]byte(key)}}, Filter: filter,
		}, stream)
		if err != nil || stream.bytes < windows*64 {
			b.Fatal(stream.bytes, err)
		}
		i++
	}
}

func setCell(family, column string, micros int64, value []byte) *bigtablepb.Mutation {
	return &bigtablepb.Mutation{Mutation: &bigtablepb.Mutation_SetCell_{SetCell: &bigtablepb.Mutation_SetCell{
		FamilyName: family, ColumnQualifier: []byte(column), TimestampMicros: micros, Value: value,
	}}}
}

// discardStream encodes answers and drops them.
type discardStream struct {
	grpc.ServerStream
	ctx   context.Context
	bytes int
}

func (d *discardStream) Context() context.Context                  { return d.ctx }
func (d *discardStream) Send(m *bigtablepb.ReadRowsResponse) error { return d.SendMsg(m) }

func (d *discardStream) SendMsg(m any) error {
	data, err := newCodec().Marshal(m)
	d.bytes += data.Len()
	data.Free()
	return err
}
