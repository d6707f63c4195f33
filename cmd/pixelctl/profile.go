package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"cloud.google.com/go/bigtable"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/cmd/internal/profileserver"
	"pixelbeam/profiles"
	"pixelbeam/schemas"
)

const emulatorVariable = "BIGTABLE_EMULATOR_HOST"

// maxMessage is the largest answer, in bytes, as in the Bigtable client.
const maxMessage = 1 << 28

type profileFlags struct {
	*place
	instance string
	table    string
	endpoint string
	since    time.Duration
	from, to string
	format   string
}

func profileCommand(p *place) *cobra.Command {
	group := &cobra.Command{
		Use:   "profile",
		Short: "Read user profiles",
	}
	group.AddCommand(profileGetCommand(p))
	return group
}

func profileGetCommand(p *place) *cobra.Command {
	f := &profileFlags{place: p}
	cmd := &cobra.Command{
		Use:   "get USER...",
		Short: "Print what is known of users",
		Long: `Print what is known of users: first and last seen, what their last event said, and
the events of a period by campaign and event type.

Events are counted by one-minute windows; a window belongs to the period in which
it starts. Counters older than the profile table keeps are left out.

If one of the users is unknown, the others are printed and the exit code is 1.`,
		Example: `  pixelctl profile get u-123
  pixelctl profile get --since=168h --format=json u-123 u-456
  pixelctl profile get --from=2026-11-01T00:00:00Z --to=2026-11-08T00:00:00Z u-123`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, users []string) error {
			period, err := f.period(cmd, time.Now())
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), users, period, cmd.OutOrStdout())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	f.bigtableFlags(flags)
	flags.DurationVar(&f.since, "since", 24*time.Hour, "count events of so long until now, such as 90m or 168h")
	flags.StringVar(&f.from, "from", "", "count events from this `time` on, RFC 3339")
	flags.StringVar(&f.to, "to", "", "count events before this `time`, RFC 3339 (default: now)")
	cmd.MarkFlagsMutuallyExclusive("since", "from")
	formatFlag(cmd, &f.format, "table", "json")
	return cmd
}

// bigtableFlags are the flags that name the profile table.
func (f *profileFlags) bigtableFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.instance, "instance", "", "Bigtable `instance` (default: the local Pixelbeam's)")
	flags.StringVar(&f.table, "table", schemas.Profiles().Table, "Bigtable `table`")
	flags.StringVar(&f.endpoint, "bigtable_endpoint", "",
		"`host:port` of the Bigtable service; one on this machine is asked without credentials (default: $"+emulatorVariable+", else the local Pixelbeam's, else the cloud)")
}

// period returns the period whose events are counted.
func (f *profileFlags) period(cmd *cobra.Command, now time.Time) (profiles.Period, error) {
	parse := func(name, value string) (time.Time, error) {
		t, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return t, cli.Usagef("--%s: %q is not a time such as 2026-11-23T10:00:00Z", name, value)
		}
		return t.UTC(), nil
	}
	var errs error
	p := profiles.Period{To: now.UTC()}
	if f.to != "" {
		p.To, errs = parse("to", f.to)
	}
	if f.from != "" {
		from, err := parse("from", f.from)
		p.From, errs = from, errors.Join(errs, err)
	} else {
		p.From = p.To.Add(-f.since)
	}
	if errs == nil && !p.From.Before(p.To) {
		errs = fmt.Errorf("the period is empty: it goes from %s to %s", timestamp(p.From), timestamp(p.To))
	}
	return p, cli.Usage(errs)
}

func (f *profileFlags) run(ctx context.Context, users []string, period profiles.Period, out io.Writer) error {
	client, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()

	found, err := profiles.NewReader(client, profiles.Options{Table: f.table}).GetMany(ctx, users, period)
	if err != nil {
		return f.explain(ctx, err)
	}
	views := []profileserver.Profile{}
	var unknown []string
	for i, user := range users {
		p := found[user]
		switch {
		case slices.Contains(users[:i], user):
		case p != nil:
			views = append(views, profileserver.View(p, period))
		default:
			unknown = append(unknown, user)
		}
	}
	write := writeProfiles
	if f.format == "json" {
		write = writeProfilesJSON
	}
	w := bufio.NewWriter(out)
	if err := errors.Join(write(w, views), w.Flush()); err != nil {
		return err
	}
	if len(unknown) == 0 {
		return nil
	}
	var errs []error
	for _, user := range unknown {
		errs = append(errs, fmt.Errorf("user %q has no profile in table %s", user, f.table))
	}
	return errors.Join(errs...)
}

func (f *profileFlags) connect(ctx context.Context) (*bigtable.Client, error) {
	local, dir, err := f.local()
	if err != nil {
		return nil, err
	}
	given := endpoint{f.endpoint, "--bigtable_endpoint"}
	if given.address == "" && f.data == "" {
		given = endpoint{os.Getenv(emulatorVariable), emulatorVariable}
	}
	e, err := choose(given, local.Bigtable, dir, "Bigtable")
	if err != nil {
		return nil, err
	}
	project, err := f.projectOf(local)
	if err != nil {
		return nil, err
	}
	instance := f.instance
	if instance == "" {
		instance = local.Instance
	}
	if instance == "" {
		return nil, cli.Usagef("no Bigtable instance is named: --instance names one")
	}
	opts, err := bigtableOptions(ctx, e)
	if err != nil {
		return nil, err
	}
	config := bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}
	client, err := bigtable.NewClientWithConfig(ctx, project, instance, config, opts...)
	if err != nil {
		return nil, cli.WithRemedy(err, credentialsRemedy)
	}
	return client, nil
}

// bigtableOptions returns the client options with which e is asked.
func bigtableOptions(ctx context.Context, e endpoint) ([]option.ClientOption, error) {
	// The client would prefer the variable to any endpoint given to it.
	if err := os.Unsetenv(emulatorVariable); err != nil {
		return nil, err
	}
	dial := profiles.DialOptions()
	var opts []option.ClientOption
	for _, o := range dial {
		opts = append(opts, option.WithGRPCDialOption(o))
	}
	if e.address == "" {
		return opts, nil
	}
	host, err := e.host()
	if err != nil {
		return nil, err
	}
	if err := e.reach(ctx, "Bigtable"); err != nil {
		return nil, err
	}
	if !e.open() {
		return append(opts, option.WithEndpoint(host)), nil
	}
	// A row may be larger than the 4 MiB that gRPC takes by default.
	conn, err := grpc.NewClient(host, append(dial, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))...)
	if err != nil {
		return nil, err
	}
	return []option.ClientOption{option.WithGRPCConn(conn)}, nil
}

// explain adds to an error from Bigtable what the user can do.
func (f *profileFlags) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := errors.New(s.Message())
	switch s.Code() {
	case codes.NotFound:
		return cli.WithRemedy(text, "--project, --instance and --table name the table")
	case codes.PermissionDenied:
		return cli.WithRemedy(text, "the account needs roles/bigtable.reader on the table")
	case codes.Unauthenticated:
		return cli.WithRemedy(text, credentialsRemedy)
	}
	return fmt.Errorf("reading Bigtable: %s: %s", s.Code(), s.Message())
}

// writeProfiles prints profiles for people.
func writeProfiles(w *bufio.Writer, views []profileserver.Profile) error {
	for i, p := range views {
		if i > 0 {
			w.WriteByte('\n')
		}
		line := func(name string, value *string) {
			fmt.Fprintf(w, "%-12s %s\n", name, printable(orNull(value)))
		}
		line("user", &p.UserID)
		line("first_seen", p.FirstSeen)
		line("last_seen", p.LastSeen)
		line("device_type", p.Latest.DeviceType)
		line("os", p.Latest.OS)
		line("browser", p.Latest.Browser)
		line("country", p.Latest.Country)
		line("page_url", p.Latest.PageURL)
		fmt.Fprintf(w, "\nevents from %s to %s\n", p.From, p.To)
		if t := p.Truncated; t != nil {
			fmt.Fprintf(w, "truncated: %d events of %d campaigns and event types did not fit into %d windows\n", t.Events, t.Counters, t.Windows)
		}
		t := table{w: w, count: true, columns: []column{
			{name: "campaign_id"}, {name: "event_type"}, {name: "count", right: true}, {name: "invalid", right: true}, {name: "last_event_time"},
		}}
		for _, c := range p.Counters {
			if err := t.row([]string{orNull(c.CampaignID), c.EventType, strconv.FormatInt(c.Count, 10), strconv.FormatInt(c.Invalid, 10), c.LastEventTime}); err != nil {
				return err
			}
		}
		if err := t.close(); err != nil {
			return err
		}
	}
	return nil
}

func orNull(s *string) string {
	if s == nil {
		return "NULL"
	}
	return *s
}

// writeProfilesJSON prints profiles as a JSON array.
func writeProfilesJSON(w *bufio.Writer, views []profileserver.Profile) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(views)
}
