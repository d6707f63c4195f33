package useragent

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed data/devicetypes.tsv
var deviceTypesTSV string

// loadDeviceTypes returns the rules that tell device types and the type of
// each.
func loadDeviceTypes() (rules []*rule, types []string, err error) {
	for line := range strings.Lines(deviceTypesTSV) {
		deviceType, expr, ok := tableLine(line)
		if !ok {
			continue
		}
		r, err := newRule(expr, "")
		if err != nil {
			return nil, nil, fmt.Errorf("useragent: device type %s: %w", expr, err)
		}
		rules, types = append(rules, r), append(types, deviceType)
	}
	return rules, types, nil
}

// deviceType tells the type of what is no automatic client. It needs the
// workspace of a scan of ua and what uap-core says.
func (p *Parser) deviceType(ua string, ascii bool, os, family, brand string, w *workspace) string {
	if n, _ := p.label(listDeviceTypes, ua, ascii, w); n >= 0 {
		return p.types[n]
	}
	switch {
	case family == "Generic Tablet":
		return DeviceTablet
	case os == "Android":
		// Chrome and Firefox leave "Mobile" out on tablets. Apps that do not
		// call themselves Mozilla have no such custom, and most run on phones.
		if strings.HasPrefix(ua, "Mozilla/") {
			return DeviceTablet
		}
		return DeviceMobile
	case os == "iOS", family == "Generic Smartphone", family == "Generic Feature Phone":
		return DeviceMobile
	case desktopSystems[os]:
		return DeviceDesktop
	case brand != "":
		// uap-core knows hundreds of feature phones by their bare names.
		return DeviceMobile
	case strings.Contains(ua, "X11") || strings.Contains(ua, "Macintosh"):
		return DeviceDesktop
	}
	return DeviceUnknown
}

// desktopSystems are uap-core's families of systems that people use on a desk
// or a lap.
var desktopSystems = map[string]bool{
	"Windows": true, "Mac OS X": true, "Mac OS": true, "Chrome OS": true,
	"Linux": true, "Linux Mint": true, "Ubuntu": true, "Kubuntu": true, "Lubuntu": true,
	"Debian": true, "Fedora": true, "Red Hat": true, "CentOS": true, "Gentoo": true,
	"SUSE": true, "openSUSE": true, "Arch Linux": true, "Slackware": true, "Mandriva": true,
	"Mageia": true, "PCLinuxOS": true, "Puppy": true, "BackTrack": true,
	"FreeBSD": true, "OpenBSD": true, "NetBSD": true, "BSD": true, "Solaris": true, "SerenityOS": true,
}
