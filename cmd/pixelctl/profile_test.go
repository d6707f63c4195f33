package main

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"cloud.google.com/go/bigtable/bttest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/schemas"
	pixelbeamv1 "pixelbeam/schemas/pixelbeam/v1"
)

// window is the start of a window in the last day, and day the flags of a fixed
// period around it.
var (
	window = time.Now().UTC().Truncate(time.Minute).Add(-5 * time.Minute)
	day    = []string{"--from=" + window.Add(-time.Hour).Format(time.RFC3339), "--to=" + window.Add(time.Minute).Format(time.RFC3339)}
)

// profileTable starts a Bigtable with the profile of user u1 and returns its address.
func profileTable(t *testing.T) string {
	t.Helper()
	server, err := bttest.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	conn, err := grpc.NewClient(server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	admin, err := bigtable.NewAdminClient(t.Context(), "p", "i", option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	layout := schemas.Profiles()
	if err := admin.CreateTable(t.Context(), layout.Table); err != nil {
		t.Fatal(err)
	}
	for family := range layout.Families {
		if err := admin.CreateColumnFamily(t.Context(), layout.Table, family); err != nil {
			t.Fatal(err)
		}
	}
	client, err := bigtable.NewClientWithConfig(t.Context(), "p", "i",
		bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })

	m := bigtable.NewMutation()
	set := func(at time.Time, counters ...*pixelbeamv1.CampaignCounter) {
		value, err := proto.Marshal(&pixelbeamv1.WindowCounters{Counters: counters})
		if err != nil {
			t.Fatal(err)
		}
		m.Set(schemas.FamilyCounters, schemas.ColumnCounters, bigtable.Time(at), value)
	}
	set(window,
		&pixelbeamv1.CampaignCounter{CampaignId: proto.String("c1"), Count: proto.Int64(12), Invalid: proto.Int64(2), LastEventOffset: proto.Int64(7)},
		&pixelbeamv1.CampaignCounter{CampaignId: proto.String("c1"), EventType: proto.String("click")},
		&pixelbeamv1.CampaignCounter{Count: proto.Int64(3)})
	set(window.Add(-2*time.Hour), &pixelbeamv1.CampaignCounter{CampaignId: proto.String("c1"), Count: proto.Int64(100)})
	latest, err := proto.Marshal(&pixelbeamv1.LatestEvent{
		EventTime: proto.Int64(window.UnixMicro()), PageUrl: proto.String("https://a.example/?<\x1b[2J>"), Browser: proto.String("Firefox"),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Set(schemas.FamilyLatest, schemas.ColumnLatest, bigtable.Time(window), latest)
	column, version := schemas.FirstCell(window.UnixMicro())
	m.Set(schemas.FamilyFirst, column, bigtable.Timestamp(version), binary.BigEndian.AppendUint64(nil, uint64(window.UnixMicro())))
	if err := client.Open(layout.Table).Apply(t.Context(), schemas.ProfileKey("u1"), m); err != nil {
		t.Fatal(err)
	}
	return server.Addr
}

func TestProfileGet(t *testing.T) {
	address := profileTable(t)
	args := append([]string{"profile", "get", "--project=p", "--instance=i", "--bigtable_endpoint=" + address}, day...)
	at, from, to := timestamp(window), timestamp(window.Add(-time.Hour)), timestamp(window.Add(time.Minute))
	table := "user         u1\n" +
		"first_seen   " + at + "\n" +
		"last_seen    " + at + "\n" +
		"device_type  NULL\n" +
		"os           NULL\n" +
		"browser      Firefox\n" +
		"country      NULL\n" +
		`page_url     https://a.example/?<\x1b[2J>` + "\n" +
		"\nevents from " + from + " to " + to + "\n" +
		"campaign_id  event_type  count  invalid  last_event_time\n" +
		"-----------  ----------  -----  -------  ---------------------------\n" +
		"NULL         impression      3        0  " + at + "\n" +
		"c1           click           1        0  " + at + "\n" +
		"c1           impression     12        2  " + timestamp(window.Add(7*time.Microsecond)) + "\n" +
		"(3 rows)\n"
	object := `[
  {
    "user_id": "u1",
    "first_seen": "` + at + `",
    "last_seen": "` + at + `",
    "latest": {
      "device_type": null,
      "os": null,
      "browser": "Firefox",
      "country": null,
      "page_url": "https://a.example/?<\u001b[2J>"
    },
    "from": "` + from + `",
    "to": "` + to + `",
    "counters": [
      {
        "campaign_id": null,
        "event_type": "impression",
        "count": 3,
        "invalid": 0,
        "last_event_time": "` + at + `"
      },
      {
        "campaign_id": "c1",
        "event_type": "click",
        "count": 1,
        "invalid": 0,
        "last_event_time": "` + at + `"
      },
      {
        "campaign_id": "c1",
        "event_type": "impression",
        "count": 12,
        "invalid": 2,
        "last_event_time": "` + timestamp(window.Add(7*time.Microsecond)) + `"
      }
    ],
    "truncated": null
  }
]
`
	tests := []struct {
		name string
		args []string
		want result
	}{
		{"table", []string{"u1"}, result{cli.ExitOK, table, ""}},
		{"json", []string{"--format=json", "u1"}, result{cli.ExitOK, object, ""}},
		{"a user given twice", []string{"u1", "u1"}, result{cli.ExitOK, table, ""}},
		{"one unknown", []string{"u2", "u1"}, result{cli.ExitFailure, table, "pixelctl: user \"u2\" has no profile in table profiles\n"}},
		{"all unknown", []string{"--format=json", "u2", "u3"}, result{cli.ExitFailure, "[]\n",
			"pixelctl: user \"u2\" has no profile in table profiles\npixelctl: user \"u3\" has no profile in table profiles\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			isolate(t)
			if got := run(t.Context(), "", append(args, test.args...)...); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestProfileGetPeriod(t *testing.T) {
	isolate(t)
	address := profileTable(t)
	for flag, want := range map[string]string{
		"--since=1h":  "impression     12  ",
		"--since=24h": "impression    112  ",
		"--to=" + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339): "impression    100  ",
	} {
		got := run(t.Context(), "", "profile", "get", "--project=p", "--instance=i", "--bigtable_endpoint="+address, flag, "u1")
		if got.code != cli.ExitOK || !strings.Contains(got.out, want) {
			t.Errorf("%s: exit code %d, stderr %q, no %q in\n%s", flag, got.code, got.errors, want, got.out)
		}
	}
}

// The endpoint is the one of the flag, else of the data folder that is named,
// else of the emulator variable, else of the local Pixelbeam that is found.
func TestProfileGetEndpoint(t *testing.T) {
	address := profileTable(t)
	const nobody = "127.0.0.1:1"
	tests := []struct {
		name, emulator, found, named string
		args                         []string
	}{
		{name: "flag", emulator: nobody, found: nobody, args: []string{"--project=p", "--instance=i", "--bigtable_endpoint=" + address}},
		{name: "named data folder", emulator: nobody, found: nobody, named: address, args: []string{"--data=named"}},
		{name: "variable", emulator: address, args: []string{"--project=p", "--instance=i"}},
		{name: "variable before what is found", emulator: address, found: nobody},
		{name: "found", found: address},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			isolate(t)
			if test.emulator != "" {
				t.Setenv(emulatorVariable, test.emulator)
			}
			for dir, bigtable := range map[string]string{cli.DefaultData: test.found, "named": test.named} {
				if bigtable == "" {
					continue
				}
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := (cli.Endpoints{Bigtable: bigtable, Project: "p", Instance: "i"}).Write(dir); err != nil {
					t.Fatal(err)
				}
			}
			got := run(t.Context(), "", append([]string{"profile", "get", "u1"}, test.args...)...)
			if got.code != cli.ExitOK || !strings.Contains(got.out, "Firefox") {
				t.Errorf("exit code %d, stderr %q, stdout %q", got.code, got.errors, got.out)
			}
		})
	}
}

func TestProfileGetErrors(t *testing.T) {
	isolate(t)
	address := profileTable(t)
	got := run(t.Context(), "", "profile", "get", "--project=p", "--instance=i", "--table=none", "--bigtable_endpoint="+address, "u1")
	if got.code != cli.ExitFailure || got.out != "" || !strings.Contains(got.errors, "--project, --instance and --table name the table") {
		t.Errorf("no such table: %+v", got)
	}
}
