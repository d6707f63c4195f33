package sink

import "testing"

func TestParseEndpoint(t *testing.T) {
	tests := []struct {
		in   string
		want endpoint
		ok   bool
	}{
		{"", endpoint{}, true},
		{"127.0.0.1:9060", endpoint{"127.0.0.1:9060", true}, true},
		{"localhost:9060", endpoint{"localhost:9060", true}, true},
		{"[::1]:9060", endpoint{"[::1]:9060", true}, true},
		{"http://emulator:9060", endpoint{"emulator:9060", true}, true},
		{"http://emulator:9060/", endpoint{"emulator:9060", true}, true},
		{"emulator:9060", endpoint{"emulator:9060", false}, true},
		{"https://127.0.0.1:443", endpoint{"127.0.0.1:443", false}, true},
		{"bigquerystorage.europe-west1.rep.googleapis.com:443", endpoint{"bigquerystorage.europe-west1.rep.googleapis.com:443", false}, true},
		{"localhost", endpoint{}, false},
		{"http://localhost", endpoint{}, false},
		{"localhost:", endpoint{}, false},
	}
	for _, test := range tests {
		got, err := parseEndpoint(test.in)
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("parseEndpoint(%q) = %+v, %v; want %+v, ok %v", test.in, got, err, test.want, test.ok)
		}
	}
}
