package sink

import (
	"encoding/binary"
	"fmt"

	"cloud.google.com/go/bigtable"

	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// Limits of Bigtable: https://cloud.google.com/bigtable/quotas#limits-data-size.
const (
	maxRowKey    = 4 << 10
	maxValue     = 10 << 20 // as recommended; the hard limit is 100 MB
	maxMutations = 100_000  // of a request
)

// cell is one SetCell.
type cell struct {
	family, column string
	version        bigtable.Timestamp // microseconds, whole milliseconds
	value          []byte
}

// profileCells returns the row key and the cells of an update; the error says
// why Bigtable could not take it.
//
// All versions come from the data, so writing an update again changes nothing.
// Counters and the latest event are versioned by the start of their window, which
// a restatement overwrites; the first event so that the earliest of a month is
// newest (schemas.FirstCell).
func profileCells(u *pixelbeamv1.ProfileUpdate) (key string, cells []cell, err error) {
	if u.GetUserId() == "" {
		return "", nil, fmt.Errorf("the update names no user")
	}
	key = schemas.ProfileKey(u.GetUserId())
	if len(key) > maxRowKey {
		return "", nil, fmt.Errorf("row key of %d bytes, the limit is %d", len(key), maxRowKey)
	}
	window, err := versionOf("window_start", u.WindowStart)
	if err != nil {
		return "", nil, err
	}
	for _, c := range []cell{
		{schemas.FamilyCounters, schemas.ColumnCounters, window, u.GetCounters()},
		{schemas.FamilyLatest, schemas.ColumnLatest, window, u.GetLatest()},
	} {
		if len(c.value) > maxValue {
			return "", nil, fmt.Errorf("value of %d bytes in %s:%s, the limit is %d", len(c.value), c.family, c.column, maxValue)
		}
		if len(c.value) > 0 {
			cells = append(cells, c)
		}
	}
	if u.FirstSeen != nil {
		if _, err := versionOf("first_seen", u.FirstSeen); err != nil {
			return "", nil, err
		}
		column, version := schemas.FirstCell(u.GetFirstSeen())
		cells = append(cells, cell{schemas.FamilyFirst, column, bigtable.Timestamp(version), number(u.GetFirstSeen())})
	}
	if len(cells) == 0 {
		return "", nil, fmt.Errorf("the update says nothing of the user")
	}
	return key, cells, nil
}

// versionOf turns a time in microseconds since the Unix epoch into a cell
// version. Bigtable has none before the epoch, and takes -1 for its own clock.
func versionOf(name string, micros *int64) (bigtable.Timestamp, error) {
	if micros == nil {
		return 0, fmt.Errorf("%s is not set", name)
	}
	if *micros < 0 || *micros > lastTimestamp {
		return 0, fmt.Errorf("%s is %d, want a time from 1970 to 9999 in microseconds", name, *micros)
	}
	return bigtable.Timestamp(*micros).TruncateToMilliseconds(), nil
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
