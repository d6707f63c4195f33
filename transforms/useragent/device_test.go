package useragent

import (
	"strings"
	"testing"
)

func TestDeviceTypeOfOrdinaryAgents(t *testing.T) {
	p := Default()
	agents, types := ordinary(t)
	for i, ua := range agents {
		if got := p.Parse(ua); got.DeviceType != types[i] {
			t.Errorf("device type of %q is %s (bot %q), want %s", ua, got.DeviceType, got.BotName, types[i])
		}
	}
}

// Agents from the traffic of people, in two packages that tell their kinds of
// devices: none may be taken for a bot.
func TestDeviceTypeOfPeople(t *testing.T) {
	agents, types := people(t)
	for i, ua := range agents {
		// An iPad that asks for a desktop site inside an app: "Macintosh" and
		// "Mobile" together.
		if strings.Contains(ua, "Macintosh") && strings.Contains(ua, "Mobile/15E148") {
			continue
		}
		if got := Default().Parse(ua); got.DeviceType != types[i] {
			t.Errorf("device type of %q is %s (bot %q), want %s", ua, got.DeviceType, got.BotName, types[i])
		}
	}
}

func TestEmptyAgent(t *testing.T) {
	if got, want := Default().Parse(""), (Client{DeviceType: DeviceUnknown}); got != want {
		t.Errorf(`Parse("") = %+v, want %+v`, got, want)
	}
}
