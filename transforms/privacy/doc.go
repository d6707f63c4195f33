// Package privacy decides how much of a client's IP address is kept.
//
// By default an address loses what tells one household from its neighbours: IPv4
// keeps its first 24 bits and IPv6 its first 48, the rest is zero. These are the
// lengths of IP anonymization in Google Analytics
// (https://support.google.com/analytics/answer/2763052).
package privacy
