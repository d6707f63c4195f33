package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/cmd/internal/profileserver"
	"pixelbeam/profiles"
)

// tokensVariable holds the tokens that serve-profiles accepts.
const tokensVariable = "PIXELBEAM_PROFILE_TOKENS"

type serveFlags struct {
	profileFlags
	listen     string
	tokensFile string
	insecure   bool
	cert, key  string
	maxWindows int
	maxCalls   int
	options    profileserver.Options
}

func serveProfilesCommand(p *place) *cobra.Command {
	f := &serveFlags{profileFlags: profileFlags{place: p}}
	cmd := &cobra.Command{
		Use:   "serve-profiles",
		Short: "Serve user profiles and frequency caps by HTTP, for ad servers",
		Long: `Serve user profiles and frequency caps by HTTP, for ad servers.

  GET  /v1/profiles/USER             a profile; ?period=24h is that of its counters
  POST /v1/profiles:batchGet         many profiles
  GET  /v1/profiles/USER/frequency   ?campaign_id=C&period=24h&limit=3
  POST /v1/frequency:check           which campaigns may be shown to which users
  GET  /openapi.json                 all of it, as OpenAPI 3.1
  GET  /healthz, /readyz, /metrics

Requests carry 'Authorization: Bearer TOKEN'. Tokens are in the file that
--tokens_file names, one a line, which is read again when it changes, or in
$` + tokensVariable + `. Without tokens it listens on loopback only, unless
--insecure says that something in front of it asks for them. --tls_cert and --tls_key
make it HTTPS; a renewed certificate is taken up within seconds.

The first Ctrl-C or SIGTERM lets requests end, for --drain; the second kills.`,
		Example: `  pixelctl serve-profiles
  curl -s 'http://127.0.0.1:8085/v1/profiles/u-123/frequency?campaign_id=spring&period=24h&limit=3'
  curl -s http://127.0.0.1:8085/v1/frequency:check -H 'Content-Type: application/json' \
    -d '{"users":["u-123"],"caps":[{"campaign_id":"spring","limit":3,"period":"24h"}]}'
  pixelctl serve-profiles --project=p --instance=i --listen=:8085 --tokens_file=/run/secrets/tokens`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.serve(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8085", "`host:port` to listen on; port 0 chooses a free one")
	flags.StringVar(&f.tokensFile, "tokens_file", "", "`file` of the tokens that are accepted, one a line (else $"+tokensVariable+")")
	flags.BoolVar(&f.insecure, "insecure", false, "listen on other than loopback addresses without tokens")
	flags.StringVar(&f.cert, "tls_cert", "", "PEM `file` of a certificate and its chain: serve HTTPS (default: HTTP, for use behind a load balancer); read again when it changes")
	flags.StringVar(&f.key, "tls_key", "", "PEM `file` of the certificate's key")
	cli.FlagGroup(cmd, "Where the profiles are", f.bigtableFlags)
	cli.FlagGroup(cmd, "Limits", func(flags *pflag.FlagSet) {
		o := &f.options
		flags.DurationVar(&o.Timeout, "timeout", time.Second, "longest time that reading for a request may take")
		flags.IntVar(&o.Rate, "rate", 0, "requests a second that are taken, 429 for more; 0: any")
		flags.IntVar(&o.MaxConcurrent, "max_concurrent", 128, "requests worked on at once, 503 for more")
		flags.IntVar(&f.maxCalls, "max_calls", profileserver.MaxCalls, "requests to Bigtable at once; what waits meanwhile goes together in the next")
		flags.IntVar(&o.MaxUsers, "max_users", 100, "users in a request")
		flags.IntVar(&o.MaxCaps, "max_caps", 100, "caps in a request")
		flags.Int64Var(&o.MaxBody, "max_body", 1<<20, "bytes in a request's body")
		flags.IntVar(&f.maxWindows, "max_windows", profiles.DefaultMaxWindows, "windows read of a user, each up to 1,280 bytes; caps refuse users who have more in their period")
		flags.DurationVar(&o.Drain, "drain", 10*time.Second, "how long requests may go on after Ctrl-C or SIGTERM")
	})
	return cmd
}

// validate returns all that is wrong with the flags, joined.
func (f *serveFlags) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	o := &f.options
	for _, limit := range []struct {
		flag  string
		value int64
	}{
		{"timeout", int64(o.Timeout)}, {"max_concurrent", int64(o.MaxConcurrent)}, {"max_calls", int64(f.maxCalls)}, {"max_users", int64(o.MaxUsers)},
		{"max_caps", int64(o.MaxCaps)}, {"max_body", o.MaxBody}, {"max_windows", int64(f.maxWindows)}, {"drain", int64(o.Drain)},
	} {
		if limit.value < 1 {
			wrong("--%s: give more than 0", limit.flag)
		}
	}
	if o.Rate < 0 {
		wrong("--rate=%d: give requests a second, or 0 for any number", o.Rate)
	}
	if (f.cert == "") != (f.key == "") {
		wrong("--tls_cert and --tls_key belong together: give both")
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		wrong("--listen=%s: want host:port, such as 127.0.0.1:8085 or :8085", f.listen)
	}
	return cli.Usage(errors.Join(errs...))
}

// tokens returns the tokens to accept; nil if none are named.
func (f *serveFlags) tokens() (*profileserver.Tokens, error) {
	text := os.Getenv(tokensVariable)
	switch {
	case f.tokensFile != "":
		t, err := profileserver.ReadTokens(f.tokensFile)
		return t, cli.WithRemedy(wrap("--tokens_file", err), "give a file with a token of at least 16 characters on each line; 'openssl rand -hex 32' makes one")
	case text != "":
		t, err := profileserver.ParseTokens(text)
		return t, cli.WithRemedy(wrap(tokensVariable, err), "give tokens of at least 16 characters, separated by commas; 'openssl rand -hex 32' makes one")
	}
	return nil, nil
}

func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

func (f *serveFlags) serve(ctx context.Context, stdout, stderr io.Writer) error {
	if err := f.validate(); err != nil {
		return err
	}
	tokens, err := f.tokens()
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(f.listen)
	loopback := profileserver.IsLoopback(host)
	if tokens == nil && !loopback && !f.insecure {
		return cli.Usagef("--listen=%s is reachable from other machines, and no tokens are named: give --tokens_file or $%s, listen on 127.0.0.1, or say --insecure", f.listen, tokensVariable)
	}
	var cert *profileserver.Certificate
	if f.cert != "" {
		if cert, err = profileserver.ReadCertificate(f.cert, f.key); err != nil {
			return cli.WithRemedy(fmt.Errorf("--tls_cert, --tls_key: %w", err), "give a PEM file with the certificate first and then its chain, and one with the key of that certificate")
		}
	}
	client, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	reader := profiles.NewReader(client, profiles.Options{Table: f.table, MaxWindows: f.maxWindows, MaxCalls: f.maxCalls})
	// Say now what every request would fail with.
	first, cancel := context.WithTimeout(ctx, 10*time.Second)
	_, err = reader.Get(first, "readyz", profiles.Period{})
	cancel()
	if err != nil && !errors.Is(err, profiles.ErrUnknown) {
		return f.explain(ctx, err)
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return cli.WithRemedy(fmt.Errorf("--listen=%s: %w", f.listen, err), "name another port, or stop what listens there")
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(profileserver.GCPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(profileserver.MemoryLimit)
	}
	o := f.options
	o.Reader, o.Tokens = reader, tokens
	o.LocalOnly = tokens == nil && loopback
	o.Log = slog.New(slog.NewTextHandler(stderr, nil))
	scheme := "http"
	if cert != nil {
		scheme = "https"
	}
	asked := "tokens are asked for"
	if tokens == nil {
		asked = "no tokens are asked for"
	}
	fmt.Fprintf(stdout, "profiles at %s://%s (%s), described in /openapi.json\n", scheme, l.Addr(), asked)
	if err := profileserver.New(o).Serve(ctx, l, cert); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "stopped: all requests were answered")
	return nil
}
