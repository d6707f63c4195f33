package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"pixelbeam/cmd/internal/cli"
)

const testToken = "0123456789abcdef"

// serving is a serve-profiles that runs until stop.
type serving struct {
	url    string
	line   string // what it says when it is up
	stop   func() result
	client http.Client
}

func serveProfiles(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := root()
	read, write := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		defer write.Close()
		code <- cli.Run(ctx, cmd, append([]string{"serve-profiles", "--listen=127.0.0.1:0", "--timeout=1m"}, args...), write, &stderr)
	}()
	out := bufio.NewReader(read)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("exit code %d, stderr %q", <-code, stderr.String())
	}
	s := &serving{line: line, stop: func() result {
		cancel()
		rest, _ := io.ReadAll(out)
		return result{<-code, string(rest), stderr.String()}
	}}
	t.Cleanup(func() { cancel() })
	_, after, _ := strings.Cut(line, "://")
	address, _, _ := strings.Cut(after, " ")
	s.url = "http://" + address
	return s
}

func (s *serving) get(t *testing.T, path, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestServeProfiles(t *testing.T) {
	isolate(t)
	address := profileTable(t)
	bigtable := []string{"--project=p", "--instance=i", "--bigtable_endpoint=" + address}
	t.Run("local", func(t *testing.T) {
		s := serveProfiles(t, bigtable...)
		if !strings.Contains(s.line, "no tokens are asked for") {
			t.Errorf("said %q", s.line)
		}
		if status, body := s.get(t, "/v1/profiles/u1/frequency?campaign_id=c1&period=1h&limit=12", ""); status != 200 || !strings.Contains(body, `"count":12,"at_most":12,"invalid":2`) || !strings.Contains(body, `"allowed":false`) {
			t.Errorf("%d %s", status, body)
		}
		if got := s.stop(); got != (result{cli.ExitOK, "stopped: all requests were answered\n", ""}) {
			t.Errorf("stopped with %+v", got)
		}
	})
	t.Run("tokens of a file", func(t *testing.T) {
		if err := os.WriteFile("tokens", []byte(testToken+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := serveProfiles(t, append(bigtable, "--tokens_file=tokens")...)
		for token, want := range map[string]int{"": 401, "wrong": 401, testToken: 200} {
			if status, body := s.get(t, "/v1/profiles/u1", token); status != want {
				t.Errorf("token %q: %d %s", token, status, body)
			}
		}
		s.stop()
	})
	t.Run("tokens of the environment", func(t *testing.T) {
		t.Setenv(tokensVariable, "another-token-of-many-letters,"+testToken)
		s := serveProfiles(t, bigtable...)
		for token, want := range map[string]int{"": 401, testToken: 200} {
			if status, body := s.get(t, "/v1/profiles/u1", token); status != want {
				t.Errorf("token %q: %d %s", token, status, body)
			}
		}
		s.stop()
	})
}

// HTTPS, with the certificate of httptest, whose clients know it.
func TestServeProfilesHTTPS(t *testing.T) {
	isolate(t)
	known := httptest.NewTLSServer(nil)
	defer known.Close()
	pair := known.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := serveProfiles(t, "--project=p", "--instance=i", "--bigtable_endpoint="+profileTable(t), "--tls_cert=cert.pem", "--tls_key=key.pem")
	if !strings.HasPrefix(s.line, "profiles at https://") {
		t.Errorf("said %q", s.line)
	}
	s.url, s.client = strings.Replace(s.url, "http:", "https:", 1), *known.Client()
	if status, body := s.get(t, "/v1/profiles/u1/frequency?campaign_id=c1&period=1h", ""); status != 200 || !strings.Contains(body, `"count":12`) {
		t.Errorf("%d %s", status, body)
	}
	if res, err := new(http.Client).Get(s.url + "/healthz"); err == nil {
		res.Body.Close()
		t.Error("a client that does not know the certificate is content")
	}
	if got := s.stop(); got.code != cli.ExitOK || got.out != "stopped: all requests were answered\n" {
		t.Errorf("stopped with %+v", got)
	}
}

func TestServeProfilesErrors(t *testing.T) {
	isolate(t)
	address := profileTable(t)
	if err := os.WriteFile("short", []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"other machines without tokens", []string{"--listen=:0"}, cli.ExitUsage, "give --tokens_file or $PIXELBEAM_PROFILE_TOKENS, listen on 127.0.0.1, or say --insecure"},
		{"other machines, by an address", []string{"--listen=0.0.0.0:0"}, cli.ExitUsage, "--insecure"},
		{"no address", []string{"--listen=8085"}, cli.ExitUsage, "--listen=8085: want host:port"},
		{"no file of tokens", []string{"--tokens_file=none"}, cli.ExitFailure, "--tokens_file: stat none"},
		{"a short token", []string{"--tokens_file=short"}, cli.ExitFailure, "token 1 has 6 characters, want at least 16"},
		{"a certificate without key", []string{"--tls_cert=c.pem"}, cli.ExitUsage, "--tls_cert and --tls_key belong together"},
		{"no certificate", []string{"--tls_cert=none.pem", "--tls_key=none.key"}, cli.ExitFailure, "--tls_cert, --tls_key: stat none.pem: no such file"},
		{"not a certificate", []string{"--tls_cert=short", "--tls_key=short"}, cli.ExitFailure, "give a PEM file with the certificate first"},
		{"limits", []string{"--max_users=0", "--rate=-1", "--timeout=0s"}, cli.ExitUsage, "--max_users: give more than 0"},
		{"a port that is taken", []string{"--listen=" + taken.Addr().String()}, cli.ExitFailure, "name another port, or stop what listens there"},
		{"no such table", []string{"--table=none"}, cli.ExitFailure, "--project, --instance and --table name the table"},
		{"an argument", []string{"8085"}, cli.ExitUsage, "unknown command"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t.Context(), "", append([]string{"serve-profiles", "--project=p", "--instance=i", "--bigtable_endpoint=" + address}, test.args...)...)
			if got.code != test.code || !strings.Contains(got.errors, test.want) || strings.Contains(got.errors, "secret") {
				t.Errorf("%+v\nwant exit code %d and %q", got, test.code, test.want)
			}
		})
	}
}
