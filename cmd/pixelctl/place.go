package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"pixelbeam/cmd/internal/cli"
)

// place says which Pixelbeam is asked: the flags that all commands share.
type place struct {
	data    string
	project string
}

// local returns the endpoints and names of the local Pixelbeam and its data
// folder, which is empty if there is none or the cloud is meant.
func (p *place) local() (cli.Endpoints, string, error) {
	if p.project != "" && p.data == "" {
		return cli.Endpoints{}, "", nil
	}
	return cli.FindEndpoints(p.data)
}

// projectOf returns the project to ask.
func (p *place) projectOf(local cli.Endpoints) (string, error) {
	for _, project := range []string{p.project, local.Project, os.Getenv("GOOGLE_CLOUD_PROJECT")} {
		if project != "" {
			return project, nil
		}
	}
	return "", cli.WithRemedy(errors.New("no project is named, and no local Pixelbeam was found"),
		"name one with --project, or start 'pixellocal' and name its folder with --data")
}

// endpoint is where a service is asked, and who said so. The zero endpoint is the
// cloud service.
type endpoint struct {
	address string // host:port or URL, as given
	named   string // the flag, variable or data folder that it is from
}

// choose returns the endpoint to ask: the one that is given, else that of the
// local Pixelbeam in data folder dir, else the cloud service.
func choose(given endpoint, local, dir, service string) (endpoint, error) {
	if given.address != "" || dir == "" {
		return given, nil
	}
	if local == "" {
		return endpoint{}, cli.WithRemedy(fmt.Errorf("the local Pixelbeam of data folder %s offers no %s", dir, service),
			"name another folder with --data, or the cloud's project with --project")
	}
	return endpoint{local, "data folder " + dir}, nil
}

// host returns the host and port of e.
func (e endpoint) host() (string, error) {
	address := e.address
	if !strings.Contains(address, "://") {
		address = "//" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return "", cli.Usagef("%s: %q is not host:port or a URL", e.named, e.address)
	}
	switch {
	case u.Port() != "":
		return u.Host, nil
	case u.Scheme == "http":
		return net.JoinHostPort(u.Hostname(), "80"), nil
	}
	return net.JoinHostPort(u.Hostname(), "443"), nil
}

// open reports whether e is asked without credentials: it is on this machine, or
// its URL is not encrypted, which credentials must never be sent over.
func (e endpoint) open() bool {
	if strings.HasPrefix(e.address, "http://") {
		return true
	}
	hostport, err := e.host()
	if err != nil {
		return false
	}
	host, _, _ := net.SplitHostPort(hostport)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// reach fails if nothing listens at e. The client libraries repeat a refused
// connection until the context ends, so this asks first.
func (e endpoint) reach(ctx context.Context, service string) error {
	host, err := e.host()
	if err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err == nil {
		return conn.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return cli.WithRemedy(fmt.Errorf("%s does not answer at %s, which is from %s: %w", service, e.address, e.named, err),
		"is pixellocal running? Start it, or name another endpoint")
}

// credentialsRemedy is what to do when the cloud is asked without credentials.
const credentialsRemedy = "run 'gcloud auth application-default login', or name a local Pixelbeam with --data"
