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
	maxQualifier = 16 << 10
	maxValue     = 10 << 20 // as recommended; the hard limit is 100 MB
	maxMutations = 100_000  // of a row or a request
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
// Counters (family c) are versioned by the start of their window, the latest
// values (family l) by the user's last event, the first event (family f) so that
// the earliest is newest. Versions have milliseconds; of two updates with the
// last event in the same millisecond, which then are restatements of the same
// window, the one written later holds. Attributes that are not set are not
// written: the latest known value stays.
func profileCells(u *pixelbeamv1.ProfileUpdate) (key string, cells []cell, err error) {
	if u.GetUserId() == "" {
		return "", nil, fmt.Errorf("the update names no user")
	}
	key = schemas.ProfileKey(u.GetUserId())
	if len(key) > maxRowKey {
		return "", nil, fmt.Errorf("row key of %d bytes, the limit is %d", len(key), maxRowKey)
	}
	add := func(family, column string, version bigtable.Timestamp, value []byte) {
		if err != nil {
			return
		}
		switch {
		case len(column) > maxQualifier:
			err = fmt.Errorf("column name of %d bytes in family %s, the limit is %d", len(column), family, maxQualifier)
		case len(value) > maxValue:
			err = fmt.Errorf("value of %d bytes in %s:%s, the limit is %d", len(value), family, column, maxValue)
		}
		cells = append(cells, cell{family, column, version, value})
	}

	if len(u.GetCounters()) > 0 {
		window, err := versionOf("window_start", u.WindowStart)
		if err != nil {
			return "", nil, err
		}
		for _, c := range u.GetCounters() {
			add(schemas.FamilyCounters, schemas.CounterColumn(c.GetCampaignId(), c.GetEventType()), window, number(c.GetCount()))
		}
	}
	if u.FirstSeen != nil {
		first, err := versionOf("first_seen", u.FirstSeen)
		if err != nil {
			return "", nil, err
		}
		add(schemas.FamilyFirst, "first_seen", bigtable.Timestamp(schemas.FirstVersion(int64(first)/1000)*1000), number(u.GetFirstSeen()))
	}
	if u.LastSeen != nil {
		last, err := versionOf("last_seen", u.LastSeen)
		if err != nil {
			return "", nil, err
		}
		for _, attribute := range []struct {
			column string
			value  *string
		}{
			{"device_type", u.DeviceType}, {"os", u.Os}, {"browser", u.Browser},
			{"country", u.Country}, {"page_url", u.PageUrl},
		} {
			if attribute.value != nil {
				add(schemas.FamilyLatest, attribute.column, last, []byte(*attribute.value))
			}
		}
		add(schemas.FamilyLatest, "last_seen", last, number(u.GetLastSeen()))
	}
	switch {
	case err != nil:
		return "", nil, err
	case len(cells) == 0:
		return "", nil, fmt.Errorf("the update says nothing of the user")
	case len(cells) > maxMutations:
		return "", nil, fmt.Errorf("%d cells, the limit of a row is %d", len(cells), maxMutations)
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
