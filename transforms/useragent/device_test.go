package useragent

import "testing"

func TestDeviceTypeOfOrdinaryAgents(t *testing.T) {
	p := Default()
	agents, types := ordinary(t)
	for i, ua := range agents {
		if got := p.Parse(ua).DeviceType; got != types[i] {
			t.Errorf("device type of %q is %s, want %s", ua, got, types[i])
		}
		if kind, ok := p.Bot(ua); ok {
			t.Errorf("%q is taken for a bot, kind %s", ua, kind)
		}
	}
}

func TestEmptyAgent(t *testing.T) {
	if got, want := Default().Parse(""), (Client{DeviceType: DeviceUnknown}); got != want {
		t.Errorf(`Parse("") = %+v, want %+v`, got, want)
	}
	if kind, ok := Default().Bot(""); kind != "" || ok {
		t.Errorf(`Bot("") = %q, %t`, kind, ok)
	}
}
