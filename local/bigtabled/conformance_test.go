package bigtabled

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"cloud.google.com/go/bigtable/bttest"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const conformanceTable = "projects/p/instances/i/tables/t"

// subject is a server under comparison, at the level of the protocol.
type subject struct {
	data  bigtablepb.BigtableClient
	admin adminpb.BigtableTableAdminClient
}

func dialSubject(t *testing.T, addr string) subject {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := subject{bigtablepb.NewBigtableClient(conn), adminpb.NewBigtableTableAdminClient(conn)}
	_, err = s.admin.CreateTable(t.Context(), &adminpb.CreateTableRequest{Parent: "projects/p/instances/i", TableId: "t", Table: &adminpb.Table{
		ColumnFamilies: map[string]*adminpb.ColumnFamily{"a": {}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	// One after another, so that both have them in the same order.
	for _, family := range []string{"b", "c"} {
		_, err := s.admin.ModifyColumnFamilies(t.Context(), &adminpb.ModifyColumnFamiliesRequest{Name: conformanceTable, Modifications: []*adminpb.ModifyColumnFamiliesRequest_Modification{
			{Id: family, Mod: &adminpb.ModifyColumnFamiliesRequest_Modification_Create{Create: &adminpb.ColumnFamily{}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// read returns an answer as lines of cells, whatever the chunks leave out. Cells
// that differ only in value or label, as interleaving makes them, come sorted.
func (s subject) read(ctx context.Context, req *bigtablepb.ReadRowsRequest) ([]string, error) {
	// bttest serves reversed scans to clients that say they understand them.
	ctx = metadata.AppendToOutgoingContext(ctx, "bigtable-features", "CAE=") // FeatureFlags{ReverseScans: true}
	req.TableName = conformanceTable
	stream, err := s.data.ReadRows(ctx, req)
	if err != nil {
		return nil, err
	}
	var out []string
	var key, family, qualifier, place string
	start := 0
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for _, c := range m.Chunks {
			if len(c.RowKey) > 0 {
				key = string(c.RowKey)
			}
			if c.FamilyName != nil {
				family = c.FamilyName.Value
			}
			if c.Qualifier != nil {
				qualifier = string(c.Qualifier.Value)
			}
			at := fmt.Sprintf("%q %s:%q@%d", key, family, qualifier, c.TimestampMicros)
			if at != place {
				start, place = len(out), at
			}
			out = append(out, fmt.Sprintf("%s=%q %q", at, c.Value, c.Labels))
			slices.Sort(out[start:])
		}
	}
}

// generator makes requests from few enough names and values that they meet.
type generator struct{ *rand.Rand }

func (g generator) key() []byte       { return fmt.Appendf(nil, "k%d", g.IntN(12)) }
func (g generator) family() string    { return string("abc"[g.IntN(3)]) }
func (g generator) qualifier() []byte { return []byte{"\x00xyz\xe9"[g.IntN(5)]} }
func (g generator) micros() int64     { return int64(g.IntN(6)) * 1000 }
func (g generator) value() []byte {
	return []byte(strings.Repeat(string(rune('0'+g.IntN(4))), g.IntN(3)))
}

func (g generator) mutations() []*bigtablepb.Mutation {
	out := make([]*bigtablepb.Mutation, 1+g.IntN(6))
	for i := range out {
		m := &bigtablepb.Mutation{}
		switch g.IntN(12) {
		case 0:
			m.Mutation = &bigtablepb.Mutation_DeleteFromRow_{}
		case 1:
			m.Mutation = &bigtablepb.Mutation_DeleteFromFamily_{DeleteFromFamily: &bigtablepb.Mutation_DeleteFromFamily{FamilyName: g.family()}}
		case 2, 3:
			del := &bigtablepb.Mutation_DeleteFromColumn{FamilyName: g.family(), ColumnQualifier: g.qualifier()}
			if g.IntN(3) > 0 {
				start := g.micros()
				del.TimeRange = &bigtablepb.TimestampRange{StartTimestampMicros: start}
				if g.IntN(3) > 0 {
					del.TimeRange.EndTimestampMicros = start + 1000 + g.micros()
				}
			}
			m.Mutation = &bigtablepb.Mutation_DeleteFromColumn_{DeleteFromColumn: del}
		default:
			m.Mutation = &bigtablepb.Mutation_SetCell_{SetCell: &bigtablepb.Mutation_SetCell{
				FamilyName: g.family(), ColumnQualifier: g.qualifier(), TimestampMicros: g.micros(), Value: g.value(),
			}}
		}
		out[i] = m
	}
	return out
}

// filter makes no filters that bttest gets wrong: its limits by row go through
// families in random order, so they only come after one family was chosen; and it
// strips labels with values.
func (g generator) filter(depth int) *bigtablepb.RowFilter {
	pick := g.IntN(16)
	if depth == 0 {
		pick = 3 + g.IntN(13)
	}
	f := &bigtablepb.RowFilter{}
	some := func() []*bigtablepb.RowFilter {
		out := make([]*bigtablepb.RowFilter, 2+g.IntN(2))
		for i := range out {
			out[i] = g.filter(depth - 1)
		}
		return out
	}
	family := func() *bigtablepb.RowFilter {
		return &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_FamilyNameRegexFilter{FamilyNameRegexFilter: g.family()}}
	}
	switch pick {
	case 0:
		f.Filter = &bigtablepb.RowFilter_Chain_{Chain: &bigtablepb.RowFilter_Chain{Filters: some()}}
	case 1:
		f.Filter = &bigtablepb.RowFilter_Interleave_{Interleave: &bigtablepb.RowFilter_Interleave{Filters: some()}}
	case 2:
		// The predicate asks for cells, as bttest takes some filters to match a row
		// of none.
		c := &bigtablepb.RowFilter_Condition{PredicateFilter: &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_Chain_{Chain: &bigtablepb.RowFilter_Chain{
			Filters: []*bigtablepb.RowFilter{g.filter(depth - 1), {Filter: &bigtablepb.RowFilter_TimestampRangeFilter{TimestampRangeFilter: &bigtablepb.TimestampRange{}}}},
		}}}}
		if g.IntN(4) > 0 {
			c.TrueFilter = g.filter(depth - 1)
		}
		if g.IntN(4) > 0 {
			c.FalseFilter = g.filter(depth - 1)
		}
		f.Filter = &bigtablepb.RowFilter_Condition_{Condition: c}
	case 3:
		f.Filter = &bigtablepb.RowFilter_RowKeyRegexFilter{RowKeyRegexFilter: []byte([]string{"k.", "k1.*", "[k][0-5]", "1"}[g.IntN(4)])}
	case 4:
		f.Filter = &bigtablepb.RowFilter_FamilyNameRegexFilter{FamilyNameRegexFilter: []string{"a", "a|c", "[^b]", ""}[g.IntN(4)]}
	case 5:
		f.Filter = &bigtablepb.RowFilter_ColumnQualifierRegexFilter{ColumnQualifierRegexFilter: [][]byte{[]byte("x"), []byte("[xy]"), []byte(`\C`), {0xe9}, []byte("."), []byte(`\x00|z`)}[g.IntN(6)]}
	case 6:
		f.Filter = &bigtablepb.RowFilter_ValueRegexFilter{ValueRegexFilter: []byte([]string{"0*", "[12]+", "", "3."}[g.IntN(4)])}
	case 7:
		r := &bigtablepb.ColumnRange{FamilyName: g.family()}
		switch g.IntN(3) {
		case 0:
			r.StartQualifier = &bigtablepb.ColumnRange_StartQualifierClosed{StartQualifierClosed: g.qualifier()}
		case 1:
			r.StartQualifier = &bigtablepb.ColumnRange_StartQualifierOpen{StartQualifierOpen: g.qualifier()}
		}
		switch g.IntN(3) {
		case 0:
			r.EndQualifier = &bigtablepb.ColumnRange_EndQualifierClosed{EndQualifierClosed: g.qualifier()}
		case 1:
			r.EndQualifier = &bigtablepb.ColumnRange_EndQualifierOpen{EndQualifierOpen: g.qualifier()}
		}
		f.Filter = &bigtablepb.RowFilter_ColumnRangeFilter{ColumnRangeFilter: r}
	case 8:
		r := &bigtablepb.ValueRange{}
		switch g.IntN(3) {
		case 0:
			r.StartValue = &bigtablepb.ValueRange_StartValueClosed{StartValueClosed: g.value()}
		case 1:
			r.StartValue = &bigtablepb.ValueRange_StartValueOpen{StartValueOpen: g.value()}
		}
		switch g.IntN(3) {
		case 0:
			r.EndValue = &bigtablepb.ValueRange_EndValueClosed{EndValueClosed: g.value()}
		case 1:
			r.EndValue = &bigtablepb.ValueRange_EndValueOpen{EndValueOpen: g.value()}
		}
		f.Filter = &bigtablepb.RowFilter_ValueRangeFilter{ValueRangeFilter: r}
	case 9:
		start := g.micros()
		r := &bigtablepb.TimestampRange{StartTimestampMicros: start}
		if g.IntN(2) == 0 {
			r.EndTimestampMicros = start + g.micros()
		}
		f.Filter = &bigtablepb.RowFilter_TimestampRangeFilter{TimestampRangeFilter: r}
	case 10:
		f.Filter = &bigtablepb.RowFilter_CellsPerColumnLimitFilter{CellsPerColumnLimitFilter: int32(1 + g.IntN(3))}
	case 11:
		limit := &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerRowLimitFilter{CellsPerRowLimitFilter: int32(1 + g.IntN(4))}}
		f.Filter = &bigtablepb.RowFilter_Chain_{Chain: &bigtablepb.RowFilter_Chain{Filters: []*bigtablepb.RowFilter{family(), limit}}}
	case 12:
		offset := &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerRowOffsetFilter{CellsPerRowOffsetFilter: int32(g.IntN(4))}}
		f.Filter = &bigtablepb.RowFilter_Chain_{Chain: &bigtablepb.RowFilter_Chain{Filters: []*bigtablepb.RowFilter{family(), offset}}}
	case 13:
		f.Filter = &bigtablepb.RowFilter_ApplyLabelTransformer{ApplyLabelTransformer: []string{"one", "two"}[g.IntN(2)]}
	case 14:
		f.Filter = &bigtablepb.RowFilter_BlockAllFilter{BlockAllFilter: true}
	default:
		f.Filter = &bigtablepb.RowFilter_PassAllFilter{PassAllFilter: true}
	}
	return f
}

func (g generator) rows() *bigtablepb.RowSet {
	set := &bigtablepb.RowSet{}
	for range g.IntN(3) {
		set.RowKeys = append(set.RowKeys, g.key())
	}
	for range g.IntN(3) {
		a, b := g.key(), g.key()
		if slices.Compare(a, b) > 0 {
			a, b = b, a
		}
		r := &bigtablepb.RowRange{}
		switch g.IntN(3) {
		case 0:
			r.StartKey = &bigtablepb.RowRange_StartKeyClosed{StartKeyClosed: a}
		case 1:
			r.StartKey = &bigtablepb.RowRange_StartKeyOpen{StartKeyOpen: a}
		}
		switch g.IntN(3) {
		case 0:
			r.EndKey = &bigtablepb.RowRange_EndKeyClosed{EndKeyClosed: b}
		case 1:
			r.EndKey = &bigtablepb.RowRange_EndKeyOpen{EndKeyOpen: b}
		}
		set.RowRanges = append(set.RowRanges, r)
	}
	return set
}

// TestLikeBttest sends the same random requests to this server and to the one of
// the Go client, in memory, and compares the answers. Our tables are written and
// compacted, and the server is restarted, at random.
func TestLikeBttest(t *testing.T) {
	reference, err := bttest.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer reference.Close()
	s := start(t, Options{})
	want, got := dialSubject(t, reference.Addr), dialSubject(t, s.Addr())
	g := generator{rand.New(rand.NewPCG(7, 8))}
	ctx := t.Context()
	same := func(what any, wantAnswer, gotAnswer any, wantErr, gotErr error) {
		t.Helper()
		if wantErr != nil || gotErr != nil {
			t.Fatalf("%v: bttest says %v, we %v", what, wantErr, gotErr)
		}
		if diff := cmp.Diff(wantAnswer, gotAnswer); diff != "" {
			t.Fatalf("%v (-bttest +ours):\n%s", what, diff)
		}
	}
	for range 4000 {
		switch n := g.IntN(1000); {
		case n < 300:
			req := &bigtablepb.MutateRowRequest{TableName: conformanceTable, RowKey: g.key(), Mutations: g.mutations()}
			_, wantErr := want.data.MutateRow(ctx, req)
			_, gotErr := got.data.MutateRow(ctx, req)
			same(req, nil, nil, wantErr, gotErr)
		case n < 400:
			// bttest calls a row without cells a match of some filters.
			req := &bigtablepb.CheckAndMutateRowRequest{TableName: conformanceTable, RowKey: g.key(), TrueMutations: g.mutations(), FalseMutations: g.mutations()}
			if g.IntN(4) > 0 {
				req.PredicateFilter = &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_Chain_{Chain: &bigtablepb.RowFilter_Chain{
					Filters: []*bigtablepb.RowFilter{g.filter(2), {Filter: &bigtablepb.RowFilter_TimestampRangeFilter{TimestampRangeFilter: &bigtablepb.TimestampRange{}}}},
				}}}
			}
			wantResp, wantErr := want.data.CheckAndMutateRow(ctx, req)
			gotResp, gotErr := got.data.CheckAndMutateRow(ctx, req)
			same(req, wantResp.GetPredicateMatched(), gotResp.GetPredicateMatched(), wantErr, gotErr)
		case n < 410:
			req := &adminpb.DropRowRangeRequest{Name: conformanceTable, Target: &adminpb.DropRowRangeRequest_RowKeyPrefix{RowKeyPrefix: g.key()}}
			_, wantErr := want.admin.DropRowRange(ctx, req)
			_, gotErr := got.admin.DropRowRange(ctx, req)
			same(req, nil, nil, wantErr, gotErr)
		case n < 430:
			if err := s.store.Flush(); err != nil {
				t.Fatal(err)
			}
		case n < 435:
			collect(t, s)
		case n < 438:
			s = restart(t, s)
			conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			got = subject{bigtablepb.NewBigtableClient(conn), adminpb.NewBigtableTableAdminClient(conn)}
		default:
			req := &bigtablepb.ReadRowsRequest{Rows: g.rows(), Reversed: g.IntN(3) == 0}
			if g.IntN(10) > 0 {
				req.Filter = g.filter(3)
			} else {
				req.RowsLimit = int64(g.IntN(4))
			}
			wantRows, wantErr := want.read(ctx, req)
			gotRows, gotErr := got.read(ctx, req)
			same(req, wantRows, gotRows, wantErr, gotErr)
		}
	}
}

// TestFilters has what bttest lacks or gets wrong, by the words of data.proto.
func TestFilters(t *testing.T) {
	s := dialSubject(t, start(t, Options{}).Addr())
	for i, family := range []string{"a", "a", "b", "c"} {
		_, err := s.data.MutateRow(t.Context(), &bigtablepb.MutateRowRequest{TableName: conformanceTable, RowKey: []byte("k"), Mutations: []*bigtablepb.Mutation{{
			Mutation: &bigtablepb.Mutation_SetCell_{SetCell: &bigtablepb.Mutation_SetCell{FamilyName: family, ColumnQualifier: []byte{byte('p' + i)}, Value: []byte{byte(1 + i)}}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	all := &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_PassAllFilter{PassAllFilter: true}}
	sink := &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_Sink{Sink: true}}
	label := &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_ApplyLabelTransformer{ApplyLabelTransformer: "foo"}}
	strip := &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_StripValueTransformer{StripValueTransformer: true}}
	noValue := &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_ValueRegexFilter{}}
	qualifier := func(q string) *bigtablepb.RowFilter {
		return &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_ColumnQualifierRegexFilter{ColumnQualifierRegexFilter: []byte(q)}}
	}
	chain := func(filters ...*bigtablepb.RowFilter) *bigtablepb.RowFilter {
		return &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_Chain_{Chain: &bigtablepb.RowFilter_Chain{Filters: filters}}}
	}
	interleave := func(filters ...*bigtablepb.RowFilter) *bigtablepb.RowFilter {
		return &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_Interleave_{Interleave: &bigtablepb.RowFilter_Interleave{Filters: filters}}}
	}
	condition := func(predicate, then *bigtablepb.RowFilter) *bigtablepb.RowFilter {
		return &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_Condition_{Condition: &bigtablepb.RowFilter_Condition{PredicateFilter: predicate, TrueFilter: then}}}
	}
	nested := all
	for range maxFilterDepth {
		nested = chain(all, nested)
	}
	tests := []struct {
		name   string
		filter *bigtablepb.RowFilter
		want   []string // qualifiers, with labels; nil if the filter is refused
	}{
		{"limit", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerRowLimitFilter{CellsPerRowLimitFilter: 3}}, []string{"p", "q", "r"}},
		{"offset", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerRowOffsetFilter{CellsPerRowOffsetFilter: 3}}, []string{"s"}},
		{"offset past the end", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerRowOffsetFilter{CellsPerRowOffsetFilter: 9}}, []string{}},
		{"limit of copies", chain(interleave(all, all), &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerRowLimitFilter{CellsPerRowLimitFilter: 3}}), []string{"p", "p", "q"}},
		{"bits", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_ValueBitmaskFilter{ValueBitmaskFilter: &bigtablepb.ValueBitmask{Mask: []byte{2}}}}, []string{"q", "r"}},
		{"bits of another length", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_ValueBitmaskFilter{ValueBitmaskFilter: &bigtablepb.ValueBitmask{Mask: []byte{0, 2}}}}, []string{}},
		{"sink", chain(interleave(all, chain(label, sink)), qualifier("q")), []string{"p foo", "q foo", "q", "r foo", "s foo"}},
		{"no value", noValue, []string{}},
		{"strip", chain(label, strip, noValue), []string{"p foo", "q foo", "r foo", "s foo"}},
		{"condition without cells", condition(chain(qualifier("none"), label), all), []string{}},
		{"sink in a condition", condition(all, sink), nil},
		{"false", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_PassAllFilter{}}, nil},
		{"empty", &bigtablepb.RowFilter{}, nil},
		{"chain of one", chain(all), nil},
		{"chain with a bad one", chain(all, &bigtablepb.RowFilter{}), nil},
		{"bad pattern", qualifier("("), nil},
		{"no row key pattern", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_RowKeyRegexFilter{}}, nil},
		{"sure sample", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_RowSampleFilter{RowSampleFilter: 1}}, nil},
		{"limit of none", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerRowLimitFilter{}}, nil},
		{"column limit of none", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerColumnLimitFilter{}}, nil},
		{"negative offset", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_CellsPerRowOffsetFilter{CellsPerRowOffsetFilter: -1}}, nil},
		{"label with capitals", &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_ApplyLabelTransformer{ApplyLabelTransformer: "Foo"}}, nil},
		{"too deep", nested, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lines, err := s.read(t.Context(), &bigtablepb.ReadRowsRequest{Filter: test.filter})
			if test.want == nil {
				if status.Code(err) != codes.InvalidArgument {
					t.Errorf("%v and %v, want %v", lines, err, codes.InvalidArgument)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, line := range lines {
				_, line, _ = strings.Cut(line, ":\"")
				out := line[:1]
				if strings.HasSuffix(line, `["foo"]`) {
					out += " foo"
				}
				got = append(got, out)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("cells (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSample draws about half of many rows.
func TestSample(t *testing.T) {
	s := dialSubject(t, start(t, Options{}).Addr())
	req := &bigtablepb.MutateRowsRequest{TableName: conformanceTable}
	const rows = 1000
	for i := range rows {
		req.Entries = append(req.Entries, &bigtablepb.MutateRowsRequest_Entry{RowKey: fmt.Appendf(nil, "k%04d", i), Mutations: []*bigtablepb.Mutation{cellAt("a", 0)}})
	}
	stream, err := s.data.MutateRows(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	got, err := s.read(t.Context(), &bigtablepb.ReadRowsRequest{Filter: &bigtablepb.RowFilter{Filter: &bigtablepb.RowFilter_RowSampleFilter{RowSampleFilter: 0.5}}})
	// Ten standard deviations, so that the test fails by chance never.
	if err != nil || len(got) < rows/2-160 || len(got) > rows/2+160 {
		t.Errorf("%d of %d rows, %v; want about half", len(got), rows, err)
	}
}

// TestSampleRowKeys: keys ascend, offsets do not fall, and the end is there.
func TestSampleRowKeys(t *testing.T) {
	server := start(t, Options{})
	s := dialSubject(t, server.Addr())
	for round := range 3 {
		for i := range 20 {
			_, err := s.data.MutateRow(t.Context(), &bigtablepb.MutateRowRequest{TableName: conformanceTable, RowKey: fmt.Appendf(nil, "%d-%02d", round, i), Mutations: []*bigtablepb.Mutation{cellAt("a", 0)}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := server.store.Flush(); err != nil {
			t.Fatal(err)
		}
		stream, err := s.data.SampleRowKeys(t.Context(), &bigtablepb.SampleRowKeysRequest{TableName: conformanceTable})
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		last := int64(0)
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.OffsetBytes < last || m.OffsetBytes == 0 {
				t.Errorf("offset %d of %q after %d", m.OffsetBytes, m.RowKey, last)
			}
			last = m.OffsetBytes
			keys = append(keys, string(m.RowKey))
		}
		if n := len(keys); n < 2 || keys[n-1] != "" || !slices.IsSorted(keys[:n-1]) || keys[n-2] != fmt.Sprintf("%d-19", round) {
			t.Errorf("sample %q, want keys in order, the last row's and the empty one at the end", keys)
		}
	}
}
