package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"pixelbeam/pipeline/sink"
	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/profile"
	"pixelbeam/transforms/rollup"
)

var errColumns = errors.New("the table has other columns than this pixelctl knows")

// rowColumns are the columns of impressions that are counted; from the fifth on they
// are the texts of an impression.Record, in its order.
var rowColumns = []string{
	"event_time", "insert_id", "receive_time", "invalid_reasons", "event_type", "advertiser_id", "campaign_id", "creative_id",
	"placement_id", "site_id", "user_id", "page_url", "country", "browser", "os", "device_type",
}

// rowTexts is how many texts a record has.
const rowTexts = 12

func textsOf(r *impression.Record) [rowTexts]*[]byte {
	return [rowTexts]*[]byte{
		&r.EventType, &r.AdvertiserID, &r.CampaignID, &r.CreativeID, &r.PlacementID, &r.SiteID,
		&r.UserID, &r.PageURL, &r.Country, &r.Browser, &r.OS, &r.DeviceType,
	}
}

// A row of impressions is kept as: the length of the rest; the hash that names the
// entry, 16 bytes; a byte of flags; event and receive time in microseconds since the
// window's start, as varints; and the texts, each with its length.
const (
	idBytes     = 16
	flagInvalid = 1 << 0
	flagReceive = 1 << 1 // there is a receive time
)

// rowKeeper puts rows of impressions into a store.
type rowKeeper struct {
	to      *writer
	scratch []byte
	body    []byte
	prefix  [binary.MaxVarintLen64]byte
}

// keep takes a row of rowColumns and returns its window.
func (k *rowKeeper) keep(row []field) (window int64, err error) {
	if row[0].null || row[1].null {
		return 0, fmt.Errorf("a row without event_time or insert_id: %w", errColumns)
	}
	var r impression.Record
	r, k.scratch = impression.NewRecord(row[1].text, row[0].n, k.scratch)
	window = distinct.WindowStart(r.EventTime)
	b := binary.BigEndian.AppendUint64(k.body[:0], uint64(r.IDHigh))
	b = binary.BigEndian.AppendUint64(b, uint64(r.IDLow))
	flags := byte(0)
	if row[3].n > 0 { // invalid_reasons
		flags |= flagInvalid
	}
	if !row[2].null {
		flags |= flagReceive
	}
	b = append(b, flags)
	b = binary.AppendVarint(b, r.EventTime-window)
	b = binary.AppendVarint(b, row[2].n-window)
	for _, text := range row[4:] {
		b = binary.AppendUvarint(b, uint64(len(text.text)))
		b = append(b, text.text...)
	}
	k.body = b
	n := binary.PutUvarint(k.prefix[:], uint64(len(b)))
	return window, k.to.add(window, func(dst []byte) []byte {
		return append(append(dst, k.prefix[:n]...), b...)
	})
}

// entryID is the hash that names an entry.
type entryID struct{ high, low uint64 }

// idOf returns the name of the entry that a kept row is of.
func idOf(record []byte) (entryID, bool) {
	if len(record) < idBytes {
		return entryID{}, false
	}
	return entryID{binary.BigEndian.Uint64(record), binary.BigEndian.Uint64(record[8:])}, true
}

// partOf is rollup.Part of a name.
func partOf(id entryID, parts int) int64 {
	return rollup.Part(&impression.Record{IDHigh: int64(id.high)}, parts)
}

// recordOf decodes a kept row; its texts are borrowed. receive is 0 for a row without
// one, else the receive time.
func recordOf(kept []byte, window int64, r *impression.Record) (received bool, receive int64, err error) {
	id, ok := idOf(kept)
	if !ok || len(kept) < idBytes+1 {
		return false, 0, errRecord
	}
	flags, b := kept[idBytes], kept[idBytes+1:]
	*r = impression.Record{IDHigh: int64(id.high), IDLow: int64(id.low), Invalid: flags&flagInvalid != 0}
	at, n := binary.Varint(b)
	if n <= 0 {
		return false, 0, errRecord
	}
	r.EventTime = window + at
	b = b[n:]
	if receive, n = binary.Varint(b); n <= 0 {
		return false, 0, errRecord
	}
	b = b[n:]
	for _, to := range textsOf(r) {
		if *to, b, ok = cutRecord(b); !ok {
			return false, 0, errRecord
		}
	}
	return flags&flagReceive != 0, receive, nil
}

// comesBefore tells which of two copies of an entry counts, as impressions_unique has
// it: the one that was received first. Where that is equal and the copies are not, the
// view takes any; here it is always the same one.
func comesBefore(a, b []byte) (bool, error) {
	var x, y impression.Record
	xReceived, xTime, err1 := recordOf(a, 0, &x)
	yReceived, yTime, err2 := recordOf(b, 0, &y)
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	number := func(received bool) int {
		if received {
			return 1
		}
		return 0 // NULL comes first
	}
	order := cmp.Or(cmp.Compare(number(xReceived), number(yReceived)), cmp.Compare(xTime, yTime), bytes.Compare(a, b))
	return order < 0, nil
}

// countColumns are those of impression_counts; from the eighth on they are the
// dimensions.
var countColumns = []string{
	"window_start", "part", "pane", "gross", "invalid", "clicks", "sketch",
	"advertiser_id", "campaign_id", "creative_id", "placement_id", "site_id", "country", "device_type", "event_type",
}

// countName is a count's name within its window.
type countName struct {
	part int64
	key  string // of its group
}

// countNumbers of a count.
type countNumbers struct {
	pane, gross, invalid, clicks int64
	sketch                       xxh3.Uint128 // its hash; 0 for none
}

func hashOf(sketch []byte) xxh3.Uint128 {
	if len(sketch) == 0 {
		return xxh3.Uint128{}
	}
	return xxh3.Hash128(sketch)
}

// equal tells whether two counts of one name are the same but for their pane.
func (n countNumbers) equal(o countNumbers) bool {
	o.pane = n.pane
	return n == o
}

// Field numbers of pixelbeam.v1.ImpressionCount.
var (
	grossField   = countField("gross")
	invalidField = countField("invalid")
	clicksField  = countField("clicks")
	sketchField  = countField("sketch")
)

func countField(name protoreflect.Name) protowire.Number {
	return (*pixelbeamv1.ImpressionCount)(nil).ProtoReflect().Descriptor().Fields().ByName(name).Number()
}

// numbersOf reads the numbers of a pixelbeam.v1.ImpressionCount in wire format, but its
// pane.
func numbersOf(row []byte) (n countNumbers, err error) {
	for len(row) > 0 {
		field, wire, size := protowire.ConsumeTag(row)
		if size < 0 {
			return n, protowire.ParseError(size)
		}
		row = row[size:]
		value := protowire.ConsumeFieldValue(field, wire, row)
		if value < 0 {
			return n, protowire.ParseError(value)
		}
		var to *int64
		switch field {
		case grossField:
			to = &n.gross
		case invalidField:
			to = &n.invalid
		case clicksField:
			to = &n.clicks
		case sketchField:
			v, _ := protowire.ConsumeBytes(row)
			n.sketch = hashOf(v)
		}
		if to != nil {
			v, _ := protowire.ConsumeVarint(row)
			*to = int64(v)
		}
		row = row[value:]
	}
	return n, nil
}

// holdsOver tells whether readers take n and not o, as impression_counts_current has it.
func (n countNumbers) holdsOver(o countNumbers) bool {
	return cmp.Or(cmp.Compare(n.pane, o.pane), cmp.Compare(n.gross, o.gross), cmp.Compare(n.invalid, o.invalid)) > 0
}

// countKeeper puts rows of impression_counts into a store.
type countKeeper struct {
	to        *writer
	key, body []byte
	prefix    [binary.MaxVarintLen64]byte
}

// keep takes a row of countColumns and returns its window.
func (k *countKeeper) keep(row []field) (window int64, err error) {
	if row[0].null || row[1].null || row[2].null {
		return 0, fmt.Errorf("a count without window_start, part or pane: %w", errColumns)
	}
	window = row[0].n
	if gross, invalid := row[3].n, row[4].n; gross < invalid {
		return 0, fmt.Errorf("a count of window %s has invalid %d of gross %d", rfc3339(window), invalid, gross)
	}
	b := k.body[:0]
	for _, n := range row[1:6] {
		b = binary.AppendVarint(b, n.n) // NULL is 0
	}
	hash := hashOf(row[6].text).Bytes()
	b = append(b, hash[:]...)
	var d rollup.Dimensions
	for i := range d {
		d[i] = row[7+i].text
	}
	k.key = d.AppendKey(k.key[:0])
	b = append(b, k.key...)
	k.body = b
	n := binary.PutUvarint(k.prefix[:], uint64(len(b)))
	return window, k.to.add(window, func(dst []byte) []byte {
		return append(append(dst, k.prefix[:n]...), b...)
	})
}

// countOfRecord decodes a kept count; the key is borrowed.
func countOfRecord(b []byte) (part int64, numbers countNumbers, key []byte, err error) {
	for _, to := range []*int64{&part, &numbers.pane, &numbers.gross, &numbers.invalid, &numbers.clicks} {
		n := 0
		if *to, n = binary.Varint(b); n <= 0 {
			return 0, numbers, nil, errRecord
		}
		b = b[n:]
	}
	if len(b) < 16 {
		return 0, numbers, nil, errRecord
	}
	numbers.sketch = xxh3.Uint128{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
	return part, numbers, b[16:], nil
}

// currentCounts are the counts of a window that hold, of the parts that want.
func currentCounts(s *store, w *stored, want func(part int64) bool) (map[countName]countNumbers, error) {
	current := make(map[countName]countNumbers)
	if w == nil {
		return current, nil
	}
	err := s.eachRecord(w, func(_ int, record []byte) error {
		part, numbers, key, err := countOfRecord(record)
		if err != nil || !want(part) {
			return err
		}
		name := countName{part, string(key)}
		if old, ok := current[name]; !ok || numbers.holdsOver(old) {
			current[name] = numbers
		}
		return nil
	})
	return current, err
}

// restatement is what is counted again: the rows and the counts of one window.
type restatement struct {
	start        int64 // microseconds since the Unix epoch
	parts        int
	rows, counts *stored // nil: none
	// losers has a bit for each row that is a copy of an entry which another row
	// stands for. nil: there are none.
	losers []uint64
	copies int64 // bits set in losers
}

func (w *restatement) loses(i int) bool { return w.losers != nil && w.losers[i/64]>>(i%64)&1 == 1 }

func (w *restatement) lose(i int) {
	if w.losers == nil {
		w.losers = make([]uint64, w.rows.records/64+1)
	}
	w.losers[i/64] |= 1 << (i % 64)
	w.copies++
}

// What a row may take while its window is counted, in bytes: as BenchmarkWindowMemory
// measures it, and a third more.
const (
	countBytes   = 180
	profileBytes = 620
)

// passes says in how many passes n rows are counted within a memory.
func passes(n, each, memory int) int { return 1 + n*each/memory }

// windowWorker restates windows, one after another.
type windowWorker struct {
	rows, counts *store
	encoder      *rollup.Encoder
	memory       int                  // bytes for what is built of a window
	zero         bool                 // whether zeros are written of a window that has no rows
	to           *sink.Writer         // nil: nothing is written
	profiles     *sink.ProfileChanges // nil: there are none
	changed      int64                // counts that differed

	// What is built of a window keeps its memory for the next one.
	parts map[int64]*distinct.Builder
	users distinct.Builder
	set   []byte
	row   []byte
}

// part returns what is built of a part.
func (k *windowWorker) part(part int64) *distinct.Builder {
	b := k.parts[part]
	if b == nil {
		if k.parts == nil {
			k.parts = make(map[int64]*distinct.Builder)
		}
		b = new(distinct.Builder)
		k.parts[part] = b
	}
	return b
}

// restate writes what differs of a window. It returns how many distinct entries that
// has.
func (k *windowWorker) restate(ctx context.Context, w *restatement) (distinct int64, err error) {
	n := 0
	if w.rows != nil {
		n = w.rows.records
	} else if !k.zero {
		return 0, k.refuseToEmpty(w)
	}
	all := min(passes(n, countBytes, k.memory), w.parts)
	for pass := 0; pass < all; pass++ {
		err := k.restateCounts(ctx, w, pass, all)
		if errors.Is(err, errCopies) {
			pass, all = -1, w.parts
			continue
		}
		if err != nil {
			return 0, err
		}
	}
	if k.to != nil {
		if err := k.to.Flush(ctx); err != nil {
			return 0, err
		}
	}
	if k.profiles != nil && n > 0 {
		all := passes(n, profileBytes, k.memory)
		for pass := range all {
			if err := k.restateProfiles(ctx, w, pass, all); err != nil {
				return 0, err
			}
		}
		if err := k.profiles.Flush(ctx); err != nil {
			return 0, err
		}
	}
	return int64(n) - w.copies, nil
}

// errNoRows is that of a window which has counts and no rows.
var errNoRows = errors.New("the window has counts and no rows")

// refuseToEmpty returns errNoRows if the window counts something.
func (k *windowWorker) refuseToEmpty(w *restatement) error {
	written, err := currentCounts(k.counts, w.counts, func(int64) bool { return true })
	for _, numbers := range written {
		if err == nil && numbers.gross > 0 {
			err = errNoRows
		}
	}
	return err
}

// copyBytes is about what an entry takes that has copies, while its window is counted.
const copyBytes = 500

// errCopies is that of a pass in which too many entries have copies; nothing was done.
var errCopies = errors.New("too many copies for a pass")

// copyOf is the row of an entry that counts, of those seen so far.
type copyOf struct {
	row  int
	kept []byte // nil: none was seen yet
}

// restateCounts counts the parts of one pass. All copies of an entry are in one part,
// so that here it is decided which of them counts.
func (k *windowWorker) restateCounts(ctx context.Context, w *restatement, pass, all int) error {
	within := func(part int64) bool { return int(part%int64(all)) == pass }
	add := func(r *impression.Record) { rollup.Add(k.part(rollup.Part(r, w.parts)), r) }
	if w.rows != nil {
		copies, err := k.copies(w, within)
		if err != nil {
			return err
		}
		if pass == 0 && all < w.parts && len(copies) > k.memory/copyBytes {
			return errCopies
		}
		var r impression.Record
		err = k.rows.eachRecord(w.rows, func(i int, kept []byte) error {
			if i%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			id, ok := idOf(kept)
			if !ok {
				return errRecord
			}
			if !within(partOf(id, w.parts)) {
				return nil
			}
			if len(copies) > 0 {
				if best := copies[id]; best != nil {
					return w.choose(best, i, kept)
				}
			}
			if _, _, err := recordOf(kept, w.start, &r); err != nil {
				return err
			}
			add(&r)
			return nil
		})
		if err != nil {
			return err
		}
		for _, best := range copies {
			if _, _, err := recordOf(best.kept, w.start, &r); err != nil {
				return err
			}
			add(&r)
		}
	}
	written, err := currentCounts(k.counts, w.counts, within)
	if err != nil {
		return err
	}
	return k.put(ctx, w, written)
}

// copies returns the entries, of the parts of a pass, that have more than one row.
func (k *windowWorker) copies(w *restatement, within func(part int64) bool) (map[entryID]*copyOf, error) {
	seen := newIDSet(w.rows.records)
	var copies map[entryID]*copyOf
	err := k.rows.eachRecord(w.rows, func(_ int, kept []byte) error {
		id, ok := idOf(kept)
		if !ok {
			return errRecord
		}
		if within(partOf(id, w.parts)) && !seen.add(id) {
			if copies == nil {
				copies = make(map[entryID]*copyOf)
			}
			if copies[id] == nil {
				copies[id] = new(copyOf)
			}
		}
		return nil
	})
	return copies, err
}

// choose takes a row instead of that seen so far if it comes before.
func (w *restatement) choose(best *copyOf, i int, kept []byte) error {
	if best.kept == nil {
		*best = copyOf{i, bytes.Clone(kept)}
		return nil
	}
	before, err := comesBefore(kept, best.kept)
	if err != nil {
		return err
	}
	if !before {
		w.lose(i)
		return nil
	}
	w.lose(best.row)
	*best = copyOf{i, append(best.kept[:0], kept...)}
	return nil
}

// put writes the counts of the parts that differ from those written, and zeros for
// those that should not be. It empties parts and written.
func (k *windowWorker) put(ctx context.Context, w *restatement, written map[countName]countNumbers) error {
	put := func(r *distinct.Restatement, g *distinct.Group) error {
		name := countName{r.Shard, string(g.Key)}
		old, there := written[name]
		delete(written, name)
		r.Pane = 0
		if there {
			r.Pane = old.pane + 1
		}
		var err error
		if k.row, err = k.encoder.AppendRow(k.row[:0], r, g); err != nil {
			return err
		}
		if there {
			now, err := numbersOf(k.row)
			if err != nil {
				return err
			}
			if old.equal(now) {
				return nil
			}
		}
		k.changed++
		if k.to == nil {
			return nil
		}
		return k.to.Write(ctx, schemas.Row{Data: bytes.Clone(k.row), ReceiveTime: r.WindowEnd})
	}
	for _, part := range slices.Sorted(maps.Keys(k.parts)) {
		b := k.parts[part]
		if b.Empty() {
			continue
		}
		k.set = b.Append(k.set[:0])
		b.Reset()
		r, err := distinct.State(part, w.start, k.set)
		if err != nil {
			return err
		}
		for i := range r.Groups {
			if err := put(&r, &r.Groups[i]); err != nil {
				return err
			}
		}
	}
	// What is left was counted, and is in no row.
	for _, name := range slices.Collect(maps.Keys(written)) {
		r := &distinct.Restatement{Shard: name.part, WindowStart: w.start, WindowEnd: w.start + distinct.Window.Microseconds()}
		if err := put(r, &distinct.Group{Key: []byte(name.key)}); err != nil {
			return err
		}
	}
	return nil
}

// restateProfiles writes the updates of the users of a pass that differ from what the
// table holds.
func (k *windowWorker) restateProfiles(ctx context.Context, w *restatement, pass, all int) error {
	k.users.Reset()
	var r impression.Record
	err := k.rows.eachRecord(w.rows, func(i int, kept []byte) error {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if w.loses(i) {
			return nil
		}
		if _, _, err := recordOf(kept, w.start, &r); err != nil {
			return err
		}
		if len(r.UserID) > 0 && int(xxh3.Hash(r.UserID)%uint64(all)) == pass {
			profile.Add(&k.users, &r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	k.set = k.users.Append(k.set[:0])
	state, err := distinct.State(0, w.start, k.set)
	if err != nil {
		return err
	}
	return profile.Rows(&state, func(row schemas.Row) error { return k.profiles.Write(ctx, row) })
}

// idSet is a set of names of entries, which are hashes: open addressing, so that one
// takes 16 bytes and the room around it.
type idSet struct {
	slots []entryID // the zero one is free
	n     int
	zero  bool // whether the zero one is in the set
}

func newIDSet(n int) *idSet { return &idSet{slots: make([]entryID, slotsFor(min(n, 1<<16)))} }

// slotsFor is a power of two that leaves a third free.
func slotsFor(n int) int {
	slots := 64
	for slots*2/3 < n {
		slots *= 2
	}
	return slots
}

// add adds a name; false means that it was there.
func (s *idSet) add(id entryID) bool {
	if id == (entryID{}) {
		was := s.zero
		s.zero = true
		return !was
	}
	if s.n >= len(s.slots)*2/3 {
		old := s.slots
		s.slots, s.n = make([]entryID, 2*len(old)), 0
		for _, id := range old {
			if id != (entryID{}) {
				s.add(id)
			}
		}
	}
	mask := uint64(len(s.slots) - 1)
	// The high bits choose the part.
	for at := id.low & mask; ; at = (at + 1) & mask {
		switch s.slots[at] {
		case entryID{}:
			s.slots[at] = id
			s.n++
			return true
		case id:
			return false
		}
	}
}

// likelyParts says in how many parts the job counted the windows of a range: the
// fewest with which the counts of windows that are whole come out as they are. before
// is what was found of other windows, 0 if nothing.
func likelyParts(rows, counts *store, before int) (int, error) {
	const (
		enough = 200_000 // rows to look at
		more   = 512     // numbers of parts to try
	)
	type evidence struct {
		ids   []uint64
		parts map[int64]int64 // gross
	}
	var all []evidence
	highest, looked, large := int64(-1), 0, false
	for _, start := range counts.starts() {
		current, err := currentCounts(counts, counts.window(start), func(int64) bool { return true })
		if err != nil {
			return 0, err
		}
		e := evidence{parts: map[int64]int64{}}
		sum := int64(0)
		for name, numbers := range current {
			highest = max(highest, name.part)
			if numbers.gross > 0 {
				e.parts[name.part] += numbers.gross
				sum += numbers.gross
			}
		}
		w := rows.windows[start]
		if w == nil || sum == 0 {
			continue
		}
		if looked+w.records > enough {
			large = large || w.records > enough
			continue
		}
		looked += w.records
		seen := newIDSet(w.records)
		err = rows.eachRecord(w, func(_ int, kept []byte) error {
			id, ok := idOf(kept)
			if !ok {
				return errRecord
			}
			if seen.add(id) {
				e.ids = append(e.ids, id.high)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		if sum == int64(len(e.ids)) {
			all = append(all, e)
		}
	}
	explains := func(parts int) bool {
		for _, e := range all {
			got := make(map[int64]int64, len(e.parts))
			for _, high := range e.ids {
				got[partOf(entryID{high: high}, parts)]++
			}
			if !maps.Equal(got, e.parts) {
				return false
			}
		}
		return true
	}
	fewest := int(highest) + 1
	if len(all) > 0 {
		if before >= fewest && explains(before) {
			return before, nil
		}
		for parts := max(fewest, 1); parts <= fewest+more; parts++ {
			if explains(parts) {
				return parts, nil
			}
		}
	}
	switch {
	case large: // than which no part is empty
		return fewest, nil
	case before > 0:
		return before, nil
	}
	return max(defaultParts, fewest), nil
}
