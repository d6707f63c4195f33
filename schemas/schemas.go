// Package schemas holds the names and shapes that the pipeline, its
// infrastructure and its readers share: BigQuery tables and views, the Bigtable
// profile table, and the pixel parameter dictionary. Everything is data in files
// beside this one; Terraform reads the same files.
//
// The package imports no Beam and no cloud client.
package schemas

import (
	"embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"

	// Register the row messages, which tables name.
	_ "pixelbeam/schemas/pixelbeam/v1"
)

//go:embed bigquery/*.json bigquery/*.sql bigquery/grouped/*.sql bigtable/*.json parameters/*.json
var files embed.FS

// Row is one row on its way to a table.
type Row struct {
	// Data is the row in protobuf wire format, of the table's message.
	Data []byte
	// Origin is the log entry that the row was made from, as received; empty
	// where a row has no single origin. A refused row is rejected with it.
	Origin []byte
	// ReceiveTime is when the source accepted the entry, in microseconds since
	// the Unix epoch.
	ReceiveTime int64
	// Source says where the entry came from, as RejectedEntry.source.
	Source string
}

// Rows is rows of one table that travel together, so that what a runner does for
// each element it does once for many rows.
type Rows struct {
	// Wire holds every row behind a tag and its length, in the order of Rows: the
	// wire format of google.cloud.bigquery.storage.v1.ProtoRows, ready to be sent.
	Wire []byte
	// Rows are the rows. Their Data borrows from Wire.
	Rows []Row
}

// rowsTag is the tag of ProtoRows.serialized_rows, field 1 of wire type 2.
const rowsTag = 1<<3 | 2

// Append appends a row, whose Data is copied. Rows that were appended before keep
// their bytes.
func (r *Rows) Append(row Row) {
	r.Wire = binary.AppendUvarint(append(r.Wire, rowsTag), uint64(len(row.Data)))
	r.Wire = append(r.Wire, row.Data...)
	row.Data = r.Wire[len(r.Wire)-len(row.Data) : len(r.Wire) : len(r.Wire)]
	r.Rows = append(r.Rows, row)
}

// Column is one column of a BigQuery table, in the form of the BigQuery JSON
// schema format.
type Column struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"` // STRING, INT64, BOOL, BYTES, TIMESTAMP, DATE, NUMERIC, JSON or RECORD
	Mode        string   `json:"mode"` // NULLABLE, REQUIRED or REPEATED
	Description string   `json:"description"`
	Fields      []Column `json:"fields,omitempty"`
}

// Table is a BigQuery table.
type Table struct {
	Name        string `json:"-"`
	Description string `json:"description"`
	// Message is the full name of the protobuf message of its rows; "" if not the job
	// but a scheduled statement writes it.
	Message   string `json:"message"`
	Partition struct {
		Type  string `json:"type"`
		Field string `json:"field"`
	} `json:"partition"`
	Clustering []string `json:"clustering"`
	Columns    []Column `json:"-"`
}

// View is a BigQuery view. Query is GoogleSQL in which ${dataset} stands for the
// dataset, project included where one is given.
type View struct {
	Name  string
	Query string
}

// Scheduled is a statement that the warehouse runs by itself. Query is as in View.
type Scheduled struct {
	Name     string
	Query    string
	Schedule string // in UTC, as BigQuery's scheduled queries take it: every monday 03:00
}

// ProfileTable is the Bigtable table of user profiles.
type ProfileTable struct {
	Table    string            `json:"table"`
	Families map[string]Family `json:"families"`
}

// Family is a Bigtable column family; zero means no limit.
type Family struct {
	Description string `json:"description"`
	MaxAgeDays  int    `json:"max_age_days"`
	MaxVersions int    `json:"max_versions"`
}

var tables = sync.OnceValue(func() map[string]Table {
	var all map[string]Table
	mustRead("bigquery/tables.json", &all)
	for name, t := range all {
		t.Name = name
		mustRead("bigquery/"+name+".json", &t.Columns)
		all[name] = t
	}
	return all
})

// Tables returns all BigQuery tables, sorted by name.
func Tables() []Table {
	var out []Table
	for _, t := range tables() {
		out = append(out, t)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// LookupTable returns the table of a name and whether there is one.
func LookupTable(name string) (Table, bool) {
	t, ok := tables()[name]
	return t, ok
}

// What a file is, is told from its text, by the same rules as in
// infra/modules/warehouse.
var (
	sqlComment   = regexp.MustCompile(`--[^\n]*`)
	sqlVerb      = regexp.MustCompile(`[A-Za-z]+`)
	sqlParameter = regexp.MustCompile(`@[A-Za-z_]`)
	sqlReads     = regexp.MustCompile(`\$\{dataset\}\.([A-Za-z0-9_]+)`)
	sqlSchedule  = regexp.MustCompile(`(?m)^-- schedule:(.+)$`)
)

// Views returns all views, in an order in which they can be created: a view comes
// after those that it reads, else by name.
func Views() []View {
	var left []View
	isView := map[string]bool{}
	for _, v := range sqlFiles() {
		code := sqlComment.ReplaceAllString(v.Query, "")
		verb := strings.ToUpper(sqlVerb.FindString(code))
		if !sqlSchedule.MatchString(v.Query) && !sqlParameter.MatchString(code) && (verb == "SELECT" || verb == "WITH") {
			left = append(left, v)
			isView[v.Name] = true
		}
	}
	var out []View
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(v View) bool {
			return !slices.ContainsFunc(v.reads(), func(name string) bool { return isView[name] })
		})
		if i < 0 {
			panic(fmt.Sprintf("schemas: view %s and others read each other in a circle", left[0].Name))
		}
		out = append(out, left[i])
		delete(isView, left[i].Name) // it is there
		left = slices.Delete(left, i, i+1)
	}
	return out
}

// groupPrefix begins the names of tables that hold the impressions of a group of
// advertisers. No other table or view may begin so, because BigQuery refuses to
// read tables by a prefix that a view has too, as impressions_ is of
// impressions_unique.
const groupPrefix = "impressions_for_"

// GroupTable returns the name of the table that holds the impressions of a group.
// Its columns are those of the table impressions.
func GroupTable(group string) string { return groupPrefix + group }

// GroupSeed is a table without rows, of the columns of impressions, that has to be
// there for the views of GroupedViews: to read tables by a prefix is an error where
// there is none. No group has its name.
func GroupSeed() Table {
	t, _ := LookupTable("impressions")
	t.Name = GroupTable("_none")
	t.Description = "Always empty; it lets views read the tables of groups when there is none yet."
	return t
}

// AllImpressions returns a query, in parentheses, of the rows of impressions and of
// the tables of groups, for a dataset written as in View.In.
func AllImpressions(dataset string) string {
	b, err := files.ReadFile("bigquery/grouped/impressions.sql")
	if err != nil {
		panic(err)
	}
	query := strings.TrimSpace(sqlComment.ReplaceAllString(string(b), ""))
	return "(" + View{Query: query}.In(dataset) + ")"
}

// sqlImpressions is where a view reads the table impressions.
const sqlImpressions = "`${dataset}.impressions`"

// GroupedViews returns the views as Views does, for a dataset where the impressions
// of groups of advertisers lie in tables of their own: each view that reads the
// table impressions reads those tables too.
func GroupedViews() []View {
	views := Views()
	for i, v := range views {
		views[i].Query = strings.ReplaceAll(v.Query, sqlImpressions, AllImpressions("${dataset}"))
	}
	return views
}

// ScheduledStatements returns all scheduled statements, sorted by name.
func ScheduledStatements() []Scheduled {
	var out []Scheduled
	for _, f := range sqlFiles() {
		if m := sqlSchedule.FindStringSubmatch(f.Query); m != nil {
			out = append(out, Scheduled{Name: f.Name, Query: f.Query, Schedule: strings.TrimSpace(m[1])})
		}
	}
	return out
}

// sqlFiles returns all SQL files, sorted by name, whatever they are.
func sqlFiles() []View {
	entries, err := files.ReadDir("bigquery")
	if err != nil {
		panic(err)
	}
	var out []View
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".sql"); ok {
			query, err := files.ReadFile("bigquery/" + e.Name())
			if err != nil {
				panic(err)
			}
			out = append(out, View{Name: name, Query: string(query)})
		}
	}
	return out
}

// reads returns the names of the tables and views that a view reads.
func (v View) reads() []string {
	var names []string
	for _, m := range sqlReads.FindAllStringSubmatch(sqlComment.ReplaceAllString(v.Query, ""), -1) {
		names = append(names, m[1])
	}
	return names
}

// In returns the view's query for a dataset, written `dataset` or
// `project.dataset`.
func (v View) In(dataset string) string {
	return strings.ReplaceAll(v.Query, "${dataset}", dataset)
}

// In returns the statement for a dataset, as View.In does.
func (s Scheduled) In(dataset string) string {
	return strings.ReplaceAll(s.Query, "${dataset}", dataset)
}

// Profiles returns the Bigtable table of user profiles.
func Profiles() ProfileTable {
	var t ProfileTable
	mustRead("bigtable/profiles.json", &t)
	return t
}

// Dictionary returns the default pixel parameter dictionary, as JSON.
func Dictionary() []byte {
	b, err := files.ReadFile("parameters/dictionary.json")
	if err != nil {
		panic(err)
	}
	return b
}

// mustRead decodes an embedded file; that it can is tested, so a failure is a
// broken build.
func mustRead(name string, v any) {
	b, err := files.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		panic(fmt.Sprintf("schemas: embedded %s: %v", name, err))
	}
}
