package sink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/dofn"
	"pixelbeam/transforms/tablegroup"
)

func init() {
	dofn.Register[packOnceFn](func(f func(schemas.Rows, func(beam.EventTime, string, []byte)) error, a []any) []any {
		return []any{f(a[0].(schemas.Rows), a[1].(func(beam.EventTime, string, []byte)))}
	})
	dofn.RegisterMethod(func(f func(func(beam.EventTime, string, []byte)), a []any) []any {
		f(a[0].(func(beam.EventTime, string, []byte)))
		return nil
	})
	dofn.Register[onceFn](func(f func(context.Context, state.Provider, timers.Provider, string, []byte, func(int64, []byte)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(state.Provider), a[2].(timers.Provider), a[3].(string), a[4].([]byte), a[5].(func(int64, []byte)))}
	})
	dofn.Register[appendOnceFn](func(f func(context.Context, state.Provider, timers.Provider, int64, []byte, func(string, []byte), func(schemas.Row)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(state.Provider), a[2].(timers.Provider), a[3].(int64), a[4].([]byte), a[5].(func(string, []byte)), a[6].(func(schemas.Row)))}
	})
	dofn.Register[showFn](func(f func(context.Context, string, []byte, func(int64)) error, a []any) []any {
		return []any{f(a[0].(context.Context), a[1].(string), a[2].([]byte), a[3].(func(int64)))}
	})
	register.Emitter3[beam.EventTime, string, []byte]()
	register.Emitter2[int64, []byte]()
	register.Emitter2[string, []byte]()
	register.Emitter1[schemas.Row]()
	register.Emitter1[int64]()
}

// OnceConfig says how rows are written exactly once.
type OnceConfig struct {
	BigQueryConfig
	// Shards is how many streams are written to at a time, 1 to 10,000; required.
	// One takes a few thousand rows a second.
	Shards int
	// AllowedLateness is how long after its minute, by watermark, a copy of an
	// entry is still recognised. 0 is no time.
	AllowedLateness time.Duration
	// Groups, if not empty, has the rows of each group in a table of its own; see
	// BigQueryGroups. Each group that is written to has as many streams as there
	// are shards.
	Groups tablegroup.Map
}

// Validate returns all that is wrong with the configuration, joined.
func (c OnceConfig) Validate() error {
	errs := []error{c.BigQueryConfig.Validate()}
	if c.Table != "" && c.Table != impressionsTable {
		errs = append(errs, fmt.Errorf("bigquery sink: rows of %s cannot be written exactly once: they have no insert_id and event_time", c.Table))
	}
	if c.Shards < 1 || c.Shards > 10_000 {
		errs = append(errs, fmt.Errorf("bigquery sink: Shards %d: want 1 to 10,000", c.Shards))
	}
	if c.AllowedLateness < 0 {
		errs = append(errs, errors.New("bigquery sink: AllowedLateness is negative"))
	}
	return errors.Join(errs...)
}

// BigQueryOnce writes a PCollection<schemas.Rows> of impressions so that the table
// itself, and not only a view of it, holds each entry once: copies of an entry
// (the same insert_id and event_time) that come within AllowedLateness are
// dropped and counted, and what bundles that fail have written is never seen. It
// returns the rows that the service refused, as BigQuery does.
//
// It costs two shuffles of all rows, with their log entries, in packs of a
// bundle and shard; rows are seen when their bundle is committed. The runner must
// commit a bundle's state and outputs together, as Dataflow does in its
// exactly-once mode, and Prism.
//
//	rows -> pack by shard and time -> once (drops copies) -> append at the
//	offset in the shard's state, to its BUFFERED stream -> show up to the mark
//
// BigQueryOnce panics if cfg does not pass Validate.
func BigQueryOnce(s beam.Scope, rows beam.PCollection, cfg OnceConfig) (refused beam.PCollection) {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	cfg.BigQueryConfig = cfg.BigQueryConfig.withDefaults()
	s = s.Scope("BigQueryOnce")
	packed := beam.ParDo(s, &packOnceFn{Shards: cfg.Shards}, rows)
	once := beam.ParDo(s, &onceFn{
		Table:      cfg.Table,
		KeptMicros: cfg.AllowedLateness.Microseconds(),
		Groups:     cfg.Groups,
		IDs:        state.MakeValueState[[]byte]("ids"),
		Forget:     timers.InEventTime("forget"),
	}, packed)
	marks, refused := beam.ParDo2(s, &appendOnceFn{
		Config: cfg.BigQueryConfig,
		At:     state.MakeValueState[[]byte]("at"),
		Idle:   timers.InEventTime("idle"),
	}, once)
	// The reshuffle keeps the flush out of the stage that appends: marks leave that
	// with the commit of its bundle.
	Terminate(s, beam.ParDo(s, &showFn{Config: cfg.BigQueryConfig}, beam.Reshuffle(s, marks)))
	return refused
}

// onceSlice is the span of event time whose ids are one state. Every bundle reads
// and writes the ids of the slices that it touches, nearly always the newest: in
// slices of a minute that was most of the state's bytes.
const onceSlice = 10 * time.Second

// sliceStart returns the start of an event time's slice, in microseconds.
func sliceStart(at int64) int64 {
	minute := distinct.WindowStart(at)
	return minute + (at-minute)/onceSlice.Microseconds()*onceSlice.Microseconds()
}

// packOnceFn packs the rows of a bundle by shard and slice of time.
type packOnceFn struct {
	Shards int

	packs map[packKey]*rowPack
	bytes int
}

type packKey struct{ shard, slice int64 }

type rowPack struct {
	rows     []packedRow
	earliest int64
}

// maxPackBytes bounds the rows and entries that a bundle holds.
const maxPackBytes = 32 << 20

func (fn *packOnceFn) ProcessElement(rows schemas.Rows, emit func(beam.EventTime, string, []byte)) error {
	for _, row := range rows.Rows {
		if err := fn.add(row, emit); err != nil {
			return err
		}
	}
	return nil
}

func (fn *packOnceFn) add(row schemas.Row, emit func(beam.EventTime, string, []byte)) error {
	id, at, err := identify(row.Data)
	if err != nil {
		return err
	}
	if fn.packs == nil {
		fn.packs = map[packKey]*rowPack{}
	}
	key := packKey{int64(binary.BigEndian.Uint64(id[:8]) % uint64(fn.Shards)), sliceStart(at)}
	p := fn.packs[key]
	if p == nil {
		p = &rowPack{earliest: at}
		fn.packs[key] = p
	}
	p.rows = append(p.rows, packedRow{id, row})
	p.earliest = min(p.earliest, at)
	if fn.bytes += len(row.Data) + len(row.Origin); fn.bytes >= maxPackBytes {
		fn.flush(emit)
	}
	return nil
}

func (fn *packOnceFn) FinishBundle(emit func(beam.EventTime, string, []byte)) {
	fn.flush(emit)
}

func (fn *packOnceFn) flush(emit func(beam.EventTime, string, []byte)) {
	for key, p := range fn.packs {
		emit(mtime.FromTime(time.UnixMicro(p.earliest)), onceKey(key), pack(p.rows))
	}
	clear(fn.packs)
	fn.bytes = 0
}

func onceKey(k packKey) string {
	return strconv.FormatInt(k.shard, 10) + "@" + strconv.FormatInt(k.slice, 10)
}

func parseOnceKey(s string) (k packKey, err error) {
	shard, slice, ok := strings.Cut(s, "@")
	if ok {
		if k.shard, err = strconv.ParseInt(shard, 10, 64); err == nil {
			k.slice, err = strconv.ParseInt(slice, 10, 64)
		}
	}
	if !ok || err != nil {
		return k, fmt.Errorf("sink: %q names no shard and time", s)
	}
	return k, nil
}

// onceFn lets the rows of an entry pass once. Its state is the ids of the entries
// of a shard's slice of time, in order.
type onceFn struct {
	Table      string
	KeptMicros int64
	Groups     tablegroup.Map `json:",omitempty"`
	IDs        state.Value[[]byte]
	Forget     timers.EventTime
}

func (fn *onceFn) ProcessElement(ctx context.Context, sp state.Provider, tp timers.Provider, key string, packed []byte, emit func(int64, []byte)) error {
	k, err := parseOnceKey(key)
	if err != nil {
		return err
	}
	rows, err := unpack(packed)
	if err != nil {
		return err
	}
	known, seen, err := fn.IDs.Read(sp)
	if err != nil {
		return err
	}
	fresh, known := firstCopies(known, rows)
	duplicateRows.Inc(ctx, int64(len(rows)-len(fresh)))
	if len(fresh) == 0 {
		return nil
	}
	if !seen {
		end := distinct.WindowStart(k.slice) + distinct.Window.Microseconds()
		fn.Forget.Set(tp, time.UnixMicro(end+fn.KeptMicros), timers.WithNoOutputTimestamp())
	}
	if err := fn.IDs.Write(sp, known); err != nil {
		return err
	}
	if len(fn.Groups) == 0 {
		if len(fresh) < len(rows) {
			packed = pack(fresh)
		}
		emit(k.shard, packed)
		return nil
	}
	for _, g := range byGroup(fn.Groups, fresh) {
		emit(streamKey(k.shard, g.group), packGroup(g.group, g.rows))
	}
	return nil
}

// OnTimer forgets a slice.
func (fn *onceFn) OnTimer(_ context.Context, _ beam.EventTime, sp state.Provider, _ timers.Provider, _ string, _ timers.Context, _ func(int64, []byte)) error {
	return fn.IDs.Clear(sp)
}

// groupRows is the rows of one group, or of none.
type groupRows struct {
	group string
	rows  []packedRow
}

// byGroup sorts rows by the group of their advertiser, which is stable.
func byGroup(groups tablegroup.Map, rows []packedRow) []groupRows {
	parts := map[string][]packedRow{}
	for _, r := range rows {
		group := groups.Group(advertiser(r.row.Data))
		parts[group] = append(parts[group], r)
	}
	var out []groupRows
	for _, group := range slices.Sorted(maps.Keys(parts)) {
		out = append(out, groupRows{group, parts[group]})
	}
	return out
}

// streamKey is the key of a shard's stream to the table of a group. Keys of groups
// are negative. Should two share one, append gives each its own streams.
func streamKey(shard int64, group string) int64 {
	if group == "" {
		return shard
	}
	return int64(xxh3.HashStringSeed(group, uint64(shard)) | 1<<63)
}

// packGroup encodes rows as pack does, behind their group if they are of one: a
// zero, which pack never begins with, and its length and name.
func packGroup(group string, rows []packedRow) []byte {
	packed := pack(rows)
	if group == "" {
		return packed
	}
	return append(protowire.AppendString([]byte{0}, group), packed...)
}

// unpackGroup decodes what packGroup encoded.
func unpackGroup(b []byte) (group string, rows []packedRow, err error) {
	if len(b) > 0 && b[0] == 0 {
		name, n := protowire.ConsumeString(b[1:])
		if n < 0 {
			return "", nil, errPacked
		}
		group, b = name, b[1+n:]
	}
	rows, err = unpack(b)
	return group, rows, err
}

// firstCopies returns the rows whose ids are not among known, each once, and the
// ids that are known then.
func firstCopies(known []byte, rows []packedRow) (fresh []packedRow, now []byte) {
	const size = len(entryID{})
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b packedRow) int { return bytes.Compare(a.id[:], b.id[:]) })
	now = make([]byte, 0, len(known)+len(rows)*size)
	for i, r := range rows {
		if i > 0 && r.id == rows[i-1].id {
			continue
		}
		n := sort.Search(len(known)/size, func(j int) bool { return bytes.Compare(known[j*size:(j+1)*size], r.id[:]) >= 0 })
		now, known = append(now, known[:n*size]...), known[n*size:]
		if len(known) > 0 && bytes.Equal(known[:size], r.id[:]) {
			continue
		}
		now = append(now, r.id[:]...)
		fresh = append(fresh, r)
	}
	return fresh, append(now, known...)
}

// idleAfter is how long, in event time, a shard's stream is kept open for more
// rows.
const idleAfter = 10 * time.Minute

// appendOnceFn appends the rows of a shard and group to their stream. Its state is the
// cursor, and the event time until which the stream is kept open.
type appendOnceFn struct {
	Config BigQueryConfig
	At     state.Value[[]byte]
	Idle   timers.EventTime

	table *bufferedTable
}

func (fn *appendOnceFn) Setup() (err error) {
	fn.table, err = acquireBuffered(fn.Config)
	return err
}

func (fn *appendOnceFn) Teardown() {
	fn.table.release()
	fn.table = nil
}

func (fn *appendOnceFn) ProcessElement(ctx context.Context, sp state.Provider, tp timers.Provider, shard int64, packed []byte, mark func(string, []byte), refused func(schemas.Row)) error {
	group, rows, err := unpackGroup(packed)
	if err != nil {
		return err
	}
	key := fn.Config.key(group)
	at, until, err := fn.read(sp)
	if err != nil {
		return err
	}
	var plain []schemas.Row
	latest := int64(0)
	for _, r := range rows {
		if size := rowBytes(r.row); size > maxRequestBytes {
			tableMetrics[fn.Config.Table].refused.Inc(ctx, 1)
			refused(refusal(r.row, ReasonRowTooLarge, StageBigQuery, fmt.Sprintf(
				"table %v: the row has %d bytes, the limit of a request is %d", key, size, maxRequestBytes)))
			continue
		}
		_, eventTime, err := identify(r.row.Data)
		if err != nil {
			return err
		}
		latest = max(latest, eventTime)
		plain = append(plain, r.row)
	}
	at, marks, err := fn.table.append(ctx, group, at, plain, func(row schemas.Row, e *storagepb.RowError) {
		tableMetrics[fn.Config.Table].refused.Inc(ctx, 1)
		refused(refusal(row, ReasonRowRefused, StageBigQuery, fmt.Sprintf("table %v: %s (%v)", key, e.GetMessage(), e.GetCode())))
	})
	if err != nil {
		return err
	}
	for _, m := range marks {
		mark(m.Stream, m.encode())
	}
	if latest += idleAfter.Microseconds(); latest > until {
		until = latest
		fn.Idle.Set(tp, time.UnixMicro(until), timers.WithNoOutputTimestamp())
	}
	return fn.At.Write(sp, encodeCursor(at, until))
}

// OnTimer finalizes the stream of a shard that had no rows for long, or that
// will have none.
func (fn *appendOnceFn) OnTimer(_ context.Context, _ beam.EventTime, sp state.Provider, _ timers.Provider, _ int64, _ timers.Context, emit func(string, []byte), _ func(schemas.Row)) error {
	at, _, err := fn.read(sp)
	if err != nil {
		return err
	}
	if at.Stream != "" {
		emit(at.Stream, mark{at.Stream, at.Offset, true}.encode())
	}
	return fn.At.Clear(sp)
}

func (fn *appendOnceFn) read(sp state.Provider) (at cursor, until int64, err error) {
	b, ok, err := fn.At.Read(sp)
	if err != nil || !ok {
		return cursor{}, 0, err
	}
	return decodeCursor(b)
}

func encodeCursor(at cursor, until int64) []byte {
	b := binary.AppendVarint(nil, until)
	b = binary.AppendVarint(b, at.Offset)
	return append(b, at.Stream...)
}

func decodeCursor(b []byte) (at cursor, until int64, err error) {
	until, n := binary.Varint(b)
	if n <= 0 {
		return cursor{}, 0, errPacked
	}
	offset, m := binary.Varint(b[n:])
	if m <= 0 {
		return cursor{}, 0, errPacked
	}
	return cursor{string(b[n+m:]), offset}, until, nil
}

// encode leaves the stream's name to the key that the mark travels under.
func (m mark) encode() []byte {
	b := binary.AppendVarint(nil, m.Offset)
	return protowire.AppendVarint(b, protowire.EncodeBool(m.Last))
}

func decodeMark(stream string, b []byte) (mark, error) {
	offset, n := binary.Varint(b)
	if n <= 0 {
		return mark{}, errPacked
	}
	last, k := protowire.ConsumeVarint(b[n:])
	if k < 0 {
		return mark{}, errPacked
	}
	return mark{stream, offset, protowire.DecodeBool(last)}, nil
}

// showFn shows the rows of a stream up to a mark.
type showFn struct {
	Config BigQueryConfig

	table *bufferedTable
}

func (fn *showFn) Setup() (err error) {
	fn.table, err = acquireBuffered(fn.Config)
	return err
}

func (fn *showFn) Teardown() {
	fn.table.release()
	fn.table = nil
}

func (fn *showFn) ProcessElement(ctx context.Context, stream string, encoded []byte, _ func(int64)) error {
	m, err := decodeMark(stream, encoded)
	if err != nil {
		return err
	}
	return fn.table.show(ctx, m)
}
