//go:build !unix

package pubsubd

import (
	"os"
	"path/filepath"
)

// lockDir marks the folder; on this system it cannot keep other processes out.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o644)
}
