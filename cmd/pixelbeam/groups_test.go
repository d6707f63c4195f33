package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/bigqueryd"
	"pixelbeam/local/pubsubd"
	"pixelbeam/local/traffic"
	"pixelbeam/schemas"
)

// groupsJob is a job that writes tables of groups, and what it needs.
type groupsJob struct {
	pubsub   *pubsubd.Server
	bigQuery *bigqueryd.Server
	file     string // of the tables
	traffic  *traffic.Generator
}

func startGroupsJob(t *testing.T, fault func(method string, n int) error) *groupsJob {
	t.Helper()
	j := &groupsJob{file: filepath.Join(t.TempDir(), "tables.duckdb"), traffic: traffic.New(traffic.DefaultOptions())}
	var err error
	if j.pubsub, err = pubsubd.Start("127.0.0.1:0", pubsubd.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.pubsub.Close() })
	if err := errors.Join(j.pubsub.CreateTopic(topic), j.pubsub.CreateSubscription(subscription, topic)); err != nil {
		t.Fatal(err)
	}
	j.startBigQuery(t, fault)
	if err := j.bigQuery.CreateDataset(t.Context(), "ads"); err != nil {
		t.Fatal(err)
	}
	for _, table := range append(schemas.Tables(), schemas.GroupSeed()) {
		if err := j.bigQuery.CreateTable(t.Context(), "ads", table); err != nil {
			t.Fatal(err)
		}
	}
	for _, view := range schemas.GroupedViews() {
		if err := j.bigQuery.CreateView(t.Context(), "ads", view); err != nil {
			t.Fatalf("%s: %v", view.Name, err)
		}
	}
	t.Cleanup(func() { j.bigQuery.Close() })
	return j
}

func (j *groupsJob) startBigQuery(t *testing.T, fault func(method string, n int) error) {
	t.Helper()
	var err error
	if j.bigQuery, err = bigqueryd.Start(bigqueryd.Options{Project: "p-test", Path: j.file, Fault: fault}); err != nil {
		t.Fatal(err)
	}
}

// run publishes n generated entries, every tenth twice, and has the job read them.
func (j *groupsJob) run(t *testing.T, n int, flags ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := range n {
		var e traffic.Entry
		j.traffic.Next(&e)
		m := pubsubd.Message{Data: e.Data}
		if e.Timestamp != "" {
			m.Attributes = map[string]string{"logging.googleapis.com/timestamp": e.Timestamp}
		}
		for range 1 + (9-i%10)/9 {
			if _, err := j.pubsub.Publish(topic, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	var stdout, stderr bytes.Buffer
	code := cli.Run(ctx, command(), append([]string{
		"--quiet", "--project=p-test", "--subscription=logs", "--pubsub_endpoint=" + j.pubsub.Addr(), "--until_idle", "--bigquery_dataset=ads",
		"--bigquery_endpoint=" + j.bigQuery.RESTEndpoint(), "--bigquery_storage_endpoint=" + j.bigQuery.GRPCEndpoint(), "--table_suffix_by=advertiser",
	}, flags...), &stdout, &stderr)
	if code != cli.ExitOK {
		t.Fatalf("exit %d\n%s\n%s", code, stdout.String(), stderr.String())
	}
}

// column returns the values of a query's column.
func (j *groupsJob) column(t *testing.T, sql string) (out []string) {
	t.Helper()
	rows, err := j.bigQuery.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	for _, row := range rows {
		for _, v := range row {
			out = append(out, fmt.Sprint(v))
		}
	}
	return out
}

// The generator's advertisers are numbers from 1000.
const groupsFile = `advertiser_id,group
1000,first
1001,second
1002,first
# The table of this one is never needed.
nobody,never
`

func groups(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "groups.csv")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return "--advertiser_groups=" + file
}

// Every row is in the table of its group, the views have each once, and the counts
// and the books agree, through faults of what makes tables, a restart of both, and
// another file of groups.
func TestGroupTables(t *testing.T) {
	for _, delivery := range []string{"at_least_once", "exactly_once"} {
		t.Run(delivery, func(t *testing.T) {
			unavailable := status.Error(codes.Unavailable, "the test says so")
			var made atomic.Int64 // calls that make tables
			note := func(method string) {
				if method == "tables.insert" {
					made.Add(1)
				}
			}
			j := startGroupsJob(t, func(method string, n int) error {
				note(method)
				// The first is of the job's look at its tables.
				if method == "tables.insert" && n < 2 || method == "tables.get" && n > 5 && n < 8 {
					return unavailable
				}
				return nil
			})
			n := 1500
			if testing.Short() {
				n = 400
			}
			flags := []string{groups(t, groupsFile), "--bigquery_delivery=" + delivery}
			j.run(t, n, flags...)
			if n := made.Load(); n < 4 {
				t.Errorf("tables were made %d times, want 2 and 2 faults: the test tests nothing", n)
			}
			tables := "SELECT table_name FROM ads.INFORMATION_SCHEMA.TABLES WHERE STARTS_WITH(table_name, 'impressions_for_') ORDER BY 1"
			if diff := cmp.Diff([]string{"impressions_for__none", "impressions_for_first", "impressions_for_second"}, j.column(t, tables)); diff != "" {
				t.Error(diff)
			}
			ours := "STARTS_WITH(table_name, 'impressions') AND table_type = 'BASE TABLE'"
			if n := j.column(t, "SELECT COUNT(DISTINCT ddl) FROM (SELECT table_name, STRING_AGG(CONCAT(column_name, ' ', data_type), ', ' ORDER BY ordinal_position) AS ddl FROM ads.INFORMATION_SCHEMA.COLUMNS WHERE table_name IN (SELECT table_name FROM ads.INFORMATION_SCHEMA.TABLES WHERE "+ours+") GROUP BY table_name)"); n[0] != "1" {
				t.Errorf("the tables have columns of %s kinds", n[0])
			}

			want := j.traffic.Totals().Impressions
			for what, sql := range map[string]string{
				"impressions_unique": "SELECT COUNT(*) FROM ads.impressions_unique",
				"counted gross":      "SELECT SUM(gross) FROM ads.impression_counts_current",
				"the ledger":         "SELECT SUM(impressions) - SUM(duplicates) FROM ads.ledger_current",
			} {
				if got := j.column(t, sql); got[0] != fmt.Sprint(want) {
					t.Errorf("%s: %v, want %d", what, got, want)
				}
			}
			copies := j.column(t, "SELECT COUNT(*) FROM "+schemas.AllImpressions("ads"))[0]
			if exact := copies == fmt.Sprint(want); exact != (delivery == "exactly_once") {
				t.Errorf("%s rows in the tables, %d entries", copies, want)
			}

			// The tables and the job come again, and 1001 moves.
			if err := j.bigQuery.Close(); err != nil {
				t.Fatal(err)
			}
			before := made.Load()
			j.startBigQuery(t, func(method string, _ int) error {
				note(method)
				return nil
			})
			moved := strings.ReplaceAll(groupsFile, "1001,second", "1001,first")
			j.run(t, n, groups(t, moved), "--bigquery_delivery="+delivery)
			if n := made.Load() - before; n != 0 {
				t.Errorf("%d tables were made again", n)
			}

			// Copies of the first run's entries may be among the second's.
			if got, want := j.column(t, "SELECT COUNT(*) FROM ads.impressions_unique"), j.traffic.Totals().Impressions; got[0] != fmt.Sprint(want) {
				t.Errorf("impressions_unique has %v entries, want %d", got, want)
			}
			// Where the rows of an advertiser lie.
			where := func(advertisers string) []string {
				return j.column(t, "SELECT DISTINCT suffix FROM (SELECT '' AS suffix, advertiser_id FROM ads.impressions UNION ALL SELECT _TABLE_SUFFIX, advertiser_id FROM `ads.impressions_for_*`) WHERE "+advertisers+" ORDER BY 1")
			}
			for advertisers, want := range map[string][]string{
				"advertiser_id IN ('1000', '1002')": {"first"},
				"advertiser_id = '1001'":            {"first", "second"},
				"advertiser_id IS NULL OR advertiser_id NOT IN ('1000', '1001', '1002', 'nobody')": {""},
			} {
				if got := where(advertisers); !slices.Equal(got, want) {
					t.Errorf("rows of %s lie in %q, want %q", advertisers, got, want)
				}
			}
		})
	}
}

// Without the right to make tables the job ends with an error that says so.
func TestGroupTablesWithoutRight(t *testing.T) {
	j := startGroupsJob(t, func(method string, _ int) error {
		if method == "tables.insert" {
			return status.Error(codes.PermissionDenied, "Permission bigquery.tables.create denied")
		}
		return nil
	})
	var e traffic.Entry
	for range 50 {
		j.traffic.Next(&e)
		if _, err := j.pubsub.Publish(topic, pubsubd.Message{Data: e.Data}); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), command(), []string{
		"--quiet", "--project=p-test", "--subscription=logs", "--pubsub_endpoint=" + j.pubsub.Addr(), "--until_idle", "--bigquery_dataset=ads",
		"--bigquery_endpoint=" + j.bigQuery.RESTEndpoint(), "--bigquery_storage_endpoint=" + j.bigQuery.GRPCEndpoint(),
		"--table_suffix_by=advertiser", groups(t, groupsFile),
	}, &stdout, &stderr)
	if code != cli.ExitFailure || !strings.Contains(stderr.String(), "needs bigquery.tables.create") || !strings.Contains(stderr.String(), "impressions_for_") {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
}

// The file may lie in Cloud Storage, where a template's launcher reads it.
func TestGroupsFromStorage(t *testing.T) {
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "groups.csv") {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("acme,Wrong Name\n"))
	}))
	defer storage.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", storage.URL)
	for file, want := range map[string]string{
		"gs://bucket/groups.csv":  `--advertiser_groups: line 1: group "Wrong Name"`,
		"gs://bucket/missing.csv": "gs://bucket/missing.csv",
	} {
		var stdout, stderr bytes.Buffer
		code := cli.Run(t.Context(), command(), []string{"--input=groups_test.go", "--bigquery_dataset=p.d", "--table_suffix_by=advertiser", "--advertiser_groups=" + file}, &stdout, &stderr)
		if code != cli.ExitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit %d, want %q in\n%s", file, code, want, stderr.String())
		}
	}
}
