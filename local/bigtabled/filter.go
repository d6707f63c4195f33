package bigtabled

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"unsafe"

	"cloud.google.com/go/bigtable/apiv2/bigtablepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"rsc.io/binaryregexp"
)

// filteredCell is a cell on its way through a filter.
type filteredCell struct {
	familyID  uint32
	family    string
	qualifier []byte
	micros    int64
	value     []byte
	label     string
}

func sameColumn(a, b *filteredCell) bool {
	return a.familyID == b.familyID && bytes.Equal(a.qualifier, b.qualifier)
}

func compareCells(a, b *filteredCell) int {
	if a.familyID != b.familyID {
		return cmp.Compare(a.familyID, b.familyID)
	}
	if order := bytes.Compare(a.qualifier, b.qualifier); order != 0 {
		return order
	}
	return cmp.Compare(b.micros, a.micros)
}

func sortCells(cells []filteredCell) {
	for i := 1; i < len(cells); i++ {
		if compareCells(&cells[i-1], &cells[i]) > 0 {
			slices.SortStableFunc(cells, func(a, b filteredCell) int { return compareCells(&a, &b) })
			return
		}
	}
}

// step is a filter or a part of one. It returns the cells that it lets through, in
// order, and may overwrite those it is given.
type step func(r *rowRun, cells []filteredCell) []filteredCell

// rowRun is what a filter knows while it works on a row. It serves for one row after
// another.
type rowRun struct {
	key   []byte
	sunk  []filteredCell   // by the sink filter, straight to the output
	spare [][]filteredCell // memory for cells
	kept  [][]filteredCell // memory that is in use until the next row
}

// begin begins a row: what the filter returned for the one before is overwritten.
func (r *rowRun) begin(key []byte) {
	r.key, r.sunk = key, r.sunk[:0]
	r.spare, r.kept = append(r.spare, r.kept...), r.kept[:0]
}

// take returns an empty slice with room for n cells, until free, or until the next
// row.
func (r *rowRun) take(n int) []filteredCell {
	if last := len(r.spare) - 1; last >= 0 {
		cells := r.spare[last]
		r.spare = r.spare[:last]
		if cap(cells) >= n {
			return cells
		}
	}
	return make([]filteredCell, 0, n)
}

func (r *rowRun) free(cells []filteredCell) { r.spare = append(r.spare, cells[:0]) }

// keep is free when the next row begins.
func (r *rowRun) keep(cells []filteredCell) { r.kept = append(r.kept, cells[:0]) }

// reset forgets the row, and the cells, which may be in memory of the store.
func (r *rowRun) reset() {
	r.begin(nil)
	clear(r.sunk[:cap(r.sunk)])
	for _, cells := range r.spare {
		clear(cells[:cap(cells)])
	}
}

// size is about how many bytes the memory has.
func (r *rowRun) size() int {
	n := cap(r.sunk)
	for _, cells := range r.spare {
		n += cap(cells)
	}
	return n * int(unsafe.Sizeof(filteredCell{}))
}

// filter is a compiled RowFilter. Several goroutines may use it.
type filter struct{ step step }

// apply filters a row. It overwrites cells. What it returns is valid until r begins
// another row.
func (f filter) apply(r *rowRun, key []byte, cells []filteredCell) []filteredCell {
	r.begin(key)
	out := f.step(r, cells)
	if len(r.sunk) > 0 {
		out = slices.Concat(out, r.sunk)
		sortCells(out)
	}
	return out
}

// maxFilterDepth is how deeply filters may be nested, as in the service.
const maxFilterDepth = 20

// compileFilter compiles a filter; nil lets everything through. The rules are
// those of google/bigtable/v2/data.proto, message RowFilter.
func compileFilter(f *bigtablepb.RowFilter) (filter, error) {
	if f == nil {
		return filter{passAll}, nil
	}
	s, err := compileStep(f, 1, false)
	if err != nil {
		return filter{}, status.Errorf(codes.InvalidArgument, "filter: %v", err)
	}
	return filter{s}, nil
}

func passAll(_ *rowRun, cells []filteredCell) []filteredCell { return cells }

func blockAll(*rowRun, []filteredCell) []filteredCell { return nil }

var labelPattern = regexp.MustCompile(`^[a-z0-9-]{1,15}$`)

// compileStep compiles f, which stands at a depth below the top filter, perhaps
// within a condition.
func compileStep(f *bigtablepb.RowFilter, depth int, conditional bool) (step, error) {
	if depth > maxFilterDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxFilterDepth)
	}
	switch f := f.GetFilter().(type) {
	case *bigtablepb.RowFilter_PassAllFilter:
		return onlyTrue(f.PassAllFilter, "pass_all_filter", passAll)
	case *bigtablepb.RowFilter_BlockAllFilter:
		return onlyTrue(f.BlockAllFilter, "block_all_filter", blockAll)
	case *bigtablepb.RowFilter_Sink:
		if conditional {
			return nil, errors.New("sink within a condition")
		}
		return onlyTrue(f.Sink, "sink", func(r *rowRun, cells []filteredCell) []filteredCell {
			r.sunk = append(r.sunk, cells...)
			return nil
		})

	case *bigtablepb.RowFilter_Chain_:
		steps, err := compileSteps("chain", f.Chain.GetFilters(), depth, conditional)
		if err != nil {
			return nil, err
		}
		return func(r *rowRun, cells []filteredCell) []filteredCell {
			for _, s := range steps {
				cells = s(r, cells)
			}
			return cells
		}, nil
	case *bigtablepb.RowFilter_Interleave_:
		steps, err := compileSteps("interleave", f.Interleave.GetFilters(), depth, conditional)
		if err != nil {
			return nil, err
		}
		families := make([]string, len(steps))
		for i, f := range f.Interleave.GetFilters() {
			families[i] = onlyFamily(f)
		}
		return func(r *rowRun, cells []filteredCell) []filteredCell {
			out := r.take(len(cells))
			for i, s := range steps {
				from := ofFamily(cells, families[i])
				branch := append(r.take(len(from)), from...)
				out = append(out, s(r, branch)...)
				r.free(branch)
			}
			r.keep(out)
			sortCells(out)
			return out
		}, nil
	case *bigtablepb.RowFilter_Condition_:
		return compileCondition(f.Condition, depth)

	case *bigtablepb.RowFilter_RowKeyRegexFilter:
		match, err := compileRegexp("row_key_regex_filter", f.RowKeyRegexFilter)
		return whole(func(r *rowRun) bool { return match(r.key) }), err
	case *bigtablepb.RowFilter_RowSampleFilter:
		if !(f.RowSampleFilter > 0 && f.RowSampleFilter < 1) {
			return nil, fmt.Errorf("row_sample_filter is %v, want more than 0 and less than 1", f.RowSampleFilter)
		}
		return whole(func(*rowRun) bool { return rand.Float64() < f.RowSampleFilter }), nil
	case *bigtablepb.RowFilter_FamilyNameRegexFilter:
		match, err := compileRegexp("family_name_regex_filter", []byte(f.FamilyNameRegexFilter))
		return byColumn(func(c *filteredCell) bool { return match([]byte(c.family)) }), err
	case *bigtablepb.RowFilter_ColumnQualifierRegexFilter:
		match, err := compileRegexp("column_qualifier_regex_filter", f.ColumnQualifierRegexFilter)
		return byColumn(func(c *filteredCell) bool { return match(c.qualifier) }), err
	case *bigtablepb.RowFilter_ValueRegexFilter:
		match, err := compileRegexp("value_regex_filter", f.ValueRegexFilter)
		return byCell(func(c *filteredCell) bool { return match(c.value) }), err

	case *bigtablepb.RowFilter_ColumnRangeFilter:
		in := interval{}
		switch q := f.ColumnRangeFilter.GetStartQualifier().(type) {
		case *bigtablepb.ColumnRange_StartQualifierClosed:
			in.start = q.StartQualifierClosed
		case *bigtablepb.ColumnRange_StartQualifierOpen:
			in.start, in.startOpen = q.StartQualifierOpen, true
		}
		switch q := f.ColumnRangeFilter.GetEndQualifier().(type) {
		case *bigtablepb.ColumnRange_EndQualifierClosed:
			in.end, in.bounded = q.EndQualifierClosed, true
		case *bigtablepb.ColumnRange_EndQualifierOpen:
			in.end, in.bounded, in.endOpen = q.EndQualifierOpen, true, true
		}
		family := f.ColumnRangeFilter.GetFamilyName()
		return byColumn(func(c *filteredCell) bool { return c.family == family && in.has(c.qualifier) }), nil
	case *bigtablepb.RowFilter_ValueRangeFilter:
		in := interval{}
		switch v := f.ValueRangeFilter.GetStartValue().(type) {
		case *bigtablepb.ValueRange_StartValueClosed:
			in.start = v.StartValueClosed
		case *bigtablepb.ValueRange_StartValueOpen:
			in.start, in.startOpen = v.StartValueOpen, true
		}
		switch v := f.ValueRangeFilter.GetEndValue().(type) {
		case *bigtablepb.ValueRange_EndValueClosed:
			in.end, in.bounded = v.EndValueClosed, true
		case *bigtablepb.ValueRange_EndValueOpen:
			in.end, in.bounded, in.endOpen = v.EndValueOpen, true, true
		}
		return byCell(func(c *filteredCell) bool { return in.has(c.value) }), nil
	case *bigtablepb.RowFilter_ValueBitmaskFilter:
		mask := f.ValueBitmaskFilter.GetMask()
		return byCell(func(c *filteredCell) bool { return hasBits(c.value, mask) }), nil
	case *bigtablepb.RowFilter_TimestampRangeFilter:
		start, end := f.TimestampRangeFilter.GetStartTimestampMicros(), f.TimestampRangeFilter.GetEndTimestampMicros()
		return byCell(func(c *filteredCell) bool { return c.micros >= start && (end == 0 || c.micros < end) }), nil

	case *bigtablepb.RowFilter_CellsPerRowOffsetFilter:
		n := int(f.CellsPerRowOffsetFilter)
		if n < 0 {
			return nil, fmt.Errorf("cells_per_row_offset_filter is %d, want 0 or more", n)
		}
		return func(_ *rowRun, cells []filteredCell) []filteredCell { return cells[min(n, len(cells)):] }, nil
	case *bigtablepb.RowFilter_CellsPerRowLimitFilter:
		n := int(f.CellsPerRowLimitFilter)
		if n <= 0 {
			return nil, fmt.Errorf("cells_per_row_limit_filter is %d, want more than 0", n)
		}
		return func(_ *rowRun, cells []filteredCell) []filteredCell { return cells[:min(n, len(cells))] }, nil
	case *bigtablepb.RowFilter_CellsPerColumnLimitFilter:
		n := int(f.CellsPerColumnLimitFilter)
		if n <= 0 {
			return nil, fmt.Errorf("cells_per_column_limit_filter is %d, want more than 0", n)
		}
		return func(_ *rowRun, cells []filteredCell) []filteredCell { return newestPerColumn(cells, n) }, nil

	case *bigtablepb.RowFilter_StripValueTransformer:
		return onlyTrue(f.StripValueTransformer, "strip_value_transformer", func(_ *rowRun, cells []filteredCell) []filteredCell {
			for i := range cells {
				cells[i].value = nil
			}
			return cells
		})
	case *bigtablepb.RowFilter_ApplyLabelTransformer:
		if !labelPattern.MatchString(f.ApplyLabelTransformer) {
			return nil, fmt.Errorf("apply_label_transformer is %q, want %v", f.ApplyLabelTransformer, labelPattern)
		}
		return func(_ *rowRun, cells []filteredCell) []filteredCell {
			for i := range cells {
				cells[i].label = f.ApplyLabelTransformer
			}
			return cells
		}, nil
	case nil:
		return nil, errors.New("a filter is empty")
	default:
		return nil, fmt.Errorf("%T is not known", f)
	}
}

// onlyFamily returns the one family of which a filter lets cells through, if that
// can be told from how it begins; else "".
func onlyFamily(f *bigtablepb.RowFilter) string {
	switch f := f.GetFilter().(type) {
	case *bigtablepb.RowFilter_Chain_:
		return onlyFamily(f.Chain.GetFilters()[0])
	case *bigtablepb.RowFilter_FamilyNameRegexFilter:
		if isLiteral([]byte(f.FamilyNameRegexFilter)) {
			return f.FamilyNameRegexFilter
		}
	}
	return ""
}

// ofFamily returns the cells of a family, which are neighbours; of "" all.
func ofFamily(cells []filteredCell, family string) []filteredCell {
	if family == "" {
		return cells
	}
	first := 0
	for first < len(cells) && cells[first].family != family {
		first++
	}
	end := first
	for end < len(cells) && cells[end].family == family {
		end++
	}
	return cells[first:end]
}

func onlyTrue(value bool, name string, s step) (step, error) {
	if !value {
		return nil, fmt.Errorf("%s is false, want true", name)
	}
	return s, nil
}

func compileSteps(name string, filters []*bigtablepb.RowFilter, depth int, conditional bool) ([]step, error) {
	if len(filters) < 2 {
		return nil, fmt.Errorf("%s of %d filters, want 2 or more", name, len(filters))
	}
	steps := make([]step, len(filters))
	for i, f := range filters {
		var err error
		if steps[i], err = compileStep(f, depth+1, conditional); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

func compileCondition(c *bigtablepb.RowFilter_Condition, depth int) (step, error) {
	predicate, err := compileStep(c.GetPredicateFilter(), depth+1, true)
	if err != nil {
		return nil, err
	}
	then, otherwise := step(blockAll), step(blockAll)
	if c.TrueFilter != nil {
		if then, err = compileStep(c.TrueFilter, depth+1, true); err != nil {
			return nil, err
		}
	}
	if c.FalseFilter != nil {
		if otherwise, err = compileStep(c.FalseFilter, depth+1, true); err != nil {
			return nil, err
		}
	}
	return func(r *rowRun, cells []filteredCell) []filteredCell {
		if len(predicate(r, slices.Clone(cells))) > 0 {
			return then(r, cells)
		}
		return otherwise(r, cells)
	}, nil
}

// whole lets through all of a row or nothing.
func whole(keep func(*rowRun) bool) step {
	return func(r *rowRun, cells []filteredCell) []filteredCell {
		if len(cells) == 0 || !keep(r) {
			return nil
		}
		return cells
	}
}

func byCell(keep func(*filteredCell) bool) step {
	return func(_ *rowRun, cells []filteredCell) []filteredCell {
		n := 0
		for n < len(cells) && keep(&cells[n]) {
			n++ // It stays where it is: most do.
		}
		out := cells[:n]
		for i := n + 1; i < len(cells); i++ {
			if keep(&cells[i]) {
				out = append(out, cells[i])
			}
		}
		return out
	}
}

// byColumn is byCell where keep asks only for the column: once for each.
func byColumn(keep func(*filteredCell) bool) step {
	return func(_ *rowRun, cells []filteredCell) []filteredCell {
		out := cells[:0]
		for i := 0; i < len(cells); {
			end := i + 1
			for end < len(cells) && sameColumn(&cells[i], &cells[end]) {
				end++
			}
			switch {
			case !keep(&cells[i]):
			case len(out) == i:
				out = cells[:end]
			default:
				out = append(out, cells[i:end]...)
			}
			i = end
		}
		return out
	}
}

func newestPerColumn(cells []filteredCell, n int) []filteredCell {
	out, inColumn := cells[:0], 0
	for i := range cells {
		// The cell before may have been overwritten, but only by one of its column.
		if len(out) > 0 && sameColumn(&out[len(out)-1], &cells[i]) {
			inColumn++
		} else {
			inColumn = 1
		}
		switch {
		case inColumn > n:
		case len(out) == i:
			out = cells[:i+1]
		default:
			out = append(out, cells[i])
		}
	}
	return out
}

// interval is a range of byte strings; unless bounded it has no end.
type interval struct {
	start, end         []byte
	startOpen, endOpen bool
	bounded            bool
}

func (in interval) has(b []byte) bool {
	if order := bytes.Compare(b, in.start); order < 0 || order == 0 && in.startOpen {
		return false
	}
	if !in.bounded {
		return true
	}
	order := bytes.Compare(b, in.end)
	return order < 0 || order == 0 && !in.endOpen
}

func hasBits(value, mask []byte) bool {
	if len(value) != len(mask) {
		return false
	}
	for i, m := range mask {
		if value[i]&m != m {
			return false
		}
	}
	return true
}

// isLiteral tells whether a pattern matches itself and nothing else: most do.
func isLiteral(pattern []byte) bool {
	for _, b := range pattern {
		if b != '_' && b != '-' && b != ':' && b != '#' && (b < '0' || b > '9') && (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') {
			return false
		}
	}
	return true
}

// compileRegexp compiles a pattern of RE2 on bytes, which must match the whole
// subject. A byte above 127 in it stands for itself.
func compileRegexp(name string, pattern []byte) (func([]byte) bool, error) {
	if name == "row_key_regex_filter" && len(pattern) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	if isLiteral(pattern) {
		return func(b []byte) bool { return bytes.Equal(b, pattern) }, nil
	}
	var ascii []byte
	for _, b := range pattern {
		if b < 0x80 {
			ascii = append(ascii, b)
		} else {
			ascii = fmt.Appendf(ascii, `\x%02x`, b)
		}
	}
	re, err := binaryregexp.Compile(`^(?:` + string(ascii) + `)$`)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return re.Match, nil
}
