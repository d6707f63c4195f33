package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/pflag"

	"pixelbeam/transforms/privacy"
)

// normalize makes --until_idle and --until-idle one flag: the name that was
// registered first.
func normalize(fs *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "-", "_"))
}

// validate returns every error of the command line that the job itself does not
// find, joined.
func (c *config) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.data == "" {
		wrong("--data is empty: give a folder")
	}
	if c.rate < 0 || c.rate > 1e6 {
		wrong("--traffic=%g is not between 0 and 1000000 entries per second", c.rate)
	}
	if c.count < 0 {
		wrong("--count=%d is negative", c.count)
	}
	if c.untilIdle && c.rate > 0 && c.duration == 0 {
		wrong("--until-idle never comes with --traffic: give --duration too, or --count for a number of entries")
	}
	if c.duration < 0 {
		wrong("--duration=%v is negative", c.duration)
	}
	if _, _, err := net.SplitHostPort(c.http); err != nil {
		wrong("--http=%s is not an address: give HOST:PORT, such as 127.0.0.1:8080", c.http)
	}
	return errors.Join(errs...)
}

// ipValue is the flag --ip.
type ipValue struct{ mode *privacy.IPMode }

func (v ipValue) String() string { return string(*v.mode) }
func (v ipValue) Type() string   { return "mode" }

func (v ipValue) Set(s string) error {
	mode, err := privacy.ParseIPMode(s)
	if err == nil {
		*v.mode = mode
	}
	return err
}
