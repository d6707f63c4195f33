package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// BuildInfo says what a binary was built from. Fields are empty where the build
// recorded nothing, as in a build outside a version control checkout.
type BuildInfo struct {
	Version  string // module version, or "(devel)"
	Revision string // commit, in full
	Time     string // of the commit, RFC 3339
	Modified bool   // built with changes that are not in the commit
}

// Build returns what the running binary was built from.
var Build = sync.OnceValue(func() BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return BuildInfo{Version: "(unknown)"}
	}
	return buildInfo(info)
})

func buildInfo(info *debug.BuildInfo) BuildInfo {
	b := BuildInfo{Version: info.Main.Version}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String returns one line for --version.
func (b BuildInfo) String() string {
	s := b.Version
	if b.Revision != "" {
		s += " revision " + b.Revision
	}
	if b.Time != "" {
		s += " of " + b.Time
	}
	if b.Modified {
		s += " (modified)"
	}
	return fmt.Sprintf("%s %s %s/%s", s, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
