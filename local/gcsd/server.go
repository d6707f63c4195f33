// Package gcsd serves the Cloud Storage JSON and XML APIs on a local port, for
// the unchanged Google client, and keeps objects as files in a folder. It is
// github.com/fsouza/fake-gcs-server with an address, a folder and an orderly end.
//
// Objects are in the file system when a write is acknowledged, so they survive a
// kill of the process, but they are not synced, so a power cut can lose them. It
// is not the service: there is no authentication, no versioning, no encryption,
// and consistency is that of one disk.
package gcsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// Server is a running stand-in.
type Server struct {
	addr string
	fake *fakestorage.Server
	http *http.Server
	done chan error
}

// Start serves the objects in dir, which is made if missing, at addr (host:port;
// port 0 chooses a free one).
func Start(addr, dir string) (*Server, error) {
	if dir == "" {
		return nil, errors.New("gcsd: dir is empty, want a folder")
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("gcsd: %w", err)
	}
	s := &Server{addr: lis.Addr().String(), done: make(chan error, 1)}
	// The address must be known first: upload sessions name it, and downloads go
	// to the "public host".
	s.fake, err = fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener: true, StorageRoot: dir, PublicHost: s.addr, ExternalURL: s.Endpoint(),
	})
	if err != nil {
		lis.Close()
		return nil, fmt.Errorf("gcsd: open %s: %w", dir, err)
	}
	s.http = &http.Server{Handler: s.fake.HTTPHandler(), ReadHeaderTimeout: time.Minute}
	go func() { s.done <- s.http.Serve(lis) }()
	return s, nil
}

// Addr returns host:port, for the variable STORAGE_EMULATOR_HOST, which the
// Google client and Beam's gs:// file system obey.
func (s *Server) Addr() string { return s.addr }

// Endpoint returns the URL of the server, without a slash at the end.
func (s *Server) Endpoint() string { return "http://" + s.addr }

// PutObject writes an object, whose bucket is made if missing. Names are as in
// gs://bucket/object.
func (s *Server) PutObject(bucket, object string, content []byte) error {
	err := s.fake.CreateObjectStreaming(fakestorage.StreamingObject{
		ObjectAttrs: fakestorage.ObjectAttrs{BucketName: bucket, Name: object},
		Content:     nopCloser{bytes.NewReader(content)},
	})
	if err != nil {
		return fmt.Errorf("gcsd: put gs://%s/%s: %w", bucket, object, err)
	}
	return nil
}

// nopCloser adds Close to a reader that can seek, which io.NopCloser hides.
type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// Close ends open requests and stops serving.
func (s *Server) Close() error {
	// Requests of local clients are short; what takes longer is cut off.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.http.Close()
	}
	s.fake.Stop()
	if err := <-s.done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("gcsd: serve: %w", err)
	}
	return nil
}
