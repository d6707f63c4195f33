package sink

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// endpoint is where a gRPC service listens.
type endpoint struct {
	// Address is host:port; empty is the service's public endpoint.
	Address string
	// Plain means plaintext and no credentials.
	Plain bool
}

// parseEndpoint reads an endpoint option:
//
//	""                    the service's public endpoint
//	http://HOST:PORT      plaintext, no credentials
//	https://HOST:PORT     TLS and default credentials
//	HOST:PORT             as http on loopback, as https elsewhere
//
// So that credentials never travel in the clear by mistake, plaintext to another
// machine has to be asked for.
func parseEndpoint(s string) (endpoint, error) {
	if s == "" {
		return endpoint{}, nil
	}
	address, plain := s, false
	if rest, ok := strings.CutPrefix(s, "http://"); ok {
		address, plain = rest, true
	} else if rest, ok := strings.CutPrefix(s, "https://"); ok {
		address = rest
	} else {
		plain = loopback(s)
	}
	address = strings.TrimSuffix(address, "/")
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return endpoint{}, fmt.Errorf("endpoint %q: want HOST:PORT, with http:// before it for plaintext", s)
	}
	return endpoint{Address: address, Plain: plain}, nil
}

// CheckEndpoint returns an error unless the endpoint of a sink can be one: empty, or
// HOST:PORT, with http:// or https:// before it or not.
func CheckEndpoint(s string) error {
	_, err := parseEndpoint(s)
	return err
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
