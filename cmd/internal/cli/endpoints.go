package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DataVariable is the environment variable that names the data folder of a local
// Pixelbeam, DefaultData the folder that is looked at when nothing names one.
const (
	DataVariable = "PIXELBEAM_DATA"
	DefaultData  = "data"
)

const endpointsFile = "endpoints.json"

// Endpoints says where a local Pixelbeam listens and what its resources are
// called. It lies as endpoints.json in the data folder while pixellocal runs. A
// field is empty where there is no such service.
type Endpoints struct {
	PubSub          string `json:"pubsub,omitempty"`           // host:port, gRPC
	Bigtable        string `json:"bigtable,omitempty"`         // host:port, gRPC
	BigQueryREST    string `json:"bigquery_rest,omitempty"`    // URL
	BigQueryStorage string `json:"bigquery_storage,omitempty"` // host:port, gRPC
	Storage         string `json:"storage,omitempty"`          // URL
	HTTP            string `json:"http,omitempty"`             // URL of the edge and its pages
	Project         string `json:"project,omitempty"`
	Dataset         string `json:"dataset,omitempty"`
	Instance        string `json:"instance,omitempty"` // Bigtable instance
	Topic           string `json:"topic,omitempty"`
	Subscription    string `json:"subscription,omitempty"`
}

// Write stores e in the data folder dir, which must exist. A reader sees the old
// file or the new one, never a part.
func (e Endpoints) Write(dir string) (err error) {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, endpointsFile+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, endpointsFile))
}

// ReadEndpoints reads what Write stored in dir. The error is fs.ErrNotExist if
// there is nothing.
func ReadEndpoints(dir string) (Endpoints, error) {
	name := filepath.Join(dir, endpointsFile)
	b, err := os.ReadFile(name)
	if err != nil {
		return Endpoints{}, err
	}
	var e Endpoints
	if err := json.Unmarshal(b, &e); err != nil {
		return Endpoints{}, WithRemedy(fmt.Errorf("%s: %w", name, err),
			"the file is not from pixellocal; remove it, and start pixellocal again")
	}
	return e, nil
}

// RemoveEndpoints removes what Write stored in dir, as pixellocal does when it
// stops; that there is nothing is no error.
func RemoveEndpoints(dir string) error {
	err := os.Remove(filepath.Join(dir, endpointsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// FindEndpoints returns the endpoints of the local Pixelbeam whose data folder is
// dir; where dir is empty, of the folder that DataVariable names; else of
// DefaultData. With them it returns the folder, for messages. Only in the last
// case is it no error that there are none: the folder returned is then empty.
func FindEndpoints(dir string) (Endpoints, string, error) {
	named := "--data"
	if dir == "" {
		dir, named = os.Getenv(DataVariable), DataVariable
	}
	if dir == "" {
		dir, named = DefaultData, ""
	}
	e, err := ReadEndpoints(dir)
	switch {
	case err == nil:
		return e, dir, nil
	case !errors.Is(err, fs.ErrNotExist):
		return Endpoints{}, "", err
	case named == "":
		return Endpoints{}, "", nil
	}
	return Endpoints{}, "", WithRemedy(
		fmt.Errorf("%s: no local Pixelbeam runs on data folder %q: it has no %s", named, dir, endpointsFile),
		fmt.Sprintf("start one with 'pixellocal --data %s', or name another folder with --data", dir))
}
