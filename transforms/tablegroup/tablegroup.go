// Package tablegroup sorts advertisers into groups, each of which has a table of
// its own, by a file that the user writes:
//
//	# advertiser_id,group
//	acme,retail
//	"Smith, Sons",retail
//	4711,travel
//
// A line is an advertiser and its group, as CSV (RFC 4180; a value may not span
// lines). The advertiser is compared with the column advertiser_id byte for byte.
// Empty lines, lines that begin with #, and a first line advertiser_id,group mean
// nothing. What is in no group stays where it was.
package tablegroup

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a file.
const (
	// MaxBytes keeps the map small beside the 10 MB that a Dataflow job's
	// description may have, where it travels
	// (https://cloud.google.com/dataflow/quotas).
	MaxBytes = 1 << 20
	// MaxGroups bounds the tables: each worker keeps a connection to each, and a
	// project may have 10,000 (1,000 in some regions;
	// https://cloud.google.com/bigquery/quotas#write-api-limits).
	MaxGroups = 100
)

// Map holds the group of each advertiser that has one. It is safe for concurrent
// use as long as nobody changes it.
type Map map[string]string

// groupName is narrower than what BigQuery takes in a table's name, so that no
// query has to quote it and no two groups differ in case only.
var groupName = regexp.MustCompile(`^[a-z0-9][a-z0-9_]{0,62}$`)

const header = "advertiser_id,group"

var byteOrderMark = []byte("\xef\xbb\xbf")

// Parse reads a file. The error names every line that is wrong, and why, joined.
func Parse(file []byte) (Map, error) {
	if len(file) > MaxBytes {
		return nil, fmt.Errorf("it has %d bytes: at most %d are taken", len(file), MaxBytes)
	}
	m := Map{}
	lines := map[string]int{} // of advertisers
	var errs []error
	n := 0
	for line := range bytes.Lines(bytes.TrimPrefix(file, byteOrderMark)) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' || n == 1 && strings.EqualFold(text, header) {
			continue
		}
		advertiser, group, err := parseLine(text)
		if err == nil {
			if first := lines[advertiser]; first > 0 {
				err = fmt.Errorf("advertiser %q is on line %d already", advertiser, first)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		lines[advertiser], m[advertiser] = n, group
	}
	if names := m.Names(); len(names) > MaxGroups {
		errs = append(errs, fmt.Errorf("it has %d groups: at most %d can have a table", len(names), MaxGroups))
	}
	if len(m) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("it names no advertiser: give lines such as acme,retail"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return m, nil
}

func parseLine(text string) (advertiser, group string, err error) {
	if !utf8.ValidString(text) {
		return "", "", errors.New("it is not UTF-8")
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	fields, err := r.Read()
	var broken *csv.ParseError
	switch {
	case errors.As(err, &broken):
		return "", "", fmt.Errorf("%w: put a value with commas or quotes into quotes, and double the quotes in it", broken.Err)
	case err != nil:
		return "", "", err
	case len(fields) != 2:
		return "", "", fmt.Errorf("%d values: give an advertiser and its group, such as acme,retail", len(fields))
	}
	advertiser, group = fields[0], strings.TrimSpace(fields[1])
	switch {
	case advertiser == "":
		return "", "", errors.New("the advertiser is empty: rows without one stay in the table without a group")
	case strings.TrimSpace(advertiser) != advertiser:
		return "", "", fmt.Errorf("advertiser %q has white space at an end: take it away, for it would match no row that lacks it", advertiser)
	case !groupName.MatchString(group):
		return "", "", fmt.Errorf("group %q: give up to 63 of a-z, 0-9 and _, not _ first, for it becomes part of a table's name", group)
	}
	return advertiser, group, nil
}

// Names returns the groups, sorted.
func (m Map) Names() []string {
	names := slices.Sorted(maps.Values(m))
	return slices.Compact(names)
}

// Group returns the group of an advertiser, "" if it has none.
func (m Map) Group(advertiser []byte) string { return m[string(advertiser)] }
