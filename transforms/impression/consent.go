package impression

import (
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/transforms/pixelurl"
)

// Field numbers of pixelbeam.v1.Consent; a test compares them with the message.
const (
	fieldGDPR      = 1
	fieldTCString  = 2
	fieldUSPrivacy = 3
	fieldGPPString = 4
	fieldCOPPA     = 5
	fieldGPC       = 6
)

// appendConsent appends the pixelbeam.v1.Consent of a request: nothing where the
// request says nothing of consent.
func appendConsent(dst []byte, p *pixelurl.Result) []byte {
	s := &p.Signals
	dst = appendFlag(dst, fieldGDPR, s[pixelurl.GDPR])
	if s[pixelurl.GDPRConsent] != nil {
		dst = appendInt(dst, fieldTCString, int64(protowire.EncodeBool(true)))
	}
	if isUSPrivacy(s[pixelurl.USPrivacy]) {
		dst = appendText(dst, fieldUSPrivacy, s[pixelurl.USPrivacy])
	}
	if s[pixelurl.GPP] != nil {
		dst = appendInt(dst, fieldGPPString, int64(protowire.EncodeBool(true)))
	}
	dst = appendFlag(dst, fieldCOPPA, s[pixelurl.COPPA])
	return appendFlag(dst, fieldGPC, s[pixelurl.GPC])
}

// appendFlag appends a bool that is sent as 0 or 1; anything else says nothing.
func appendFlag(dst []byte, field protowire.Number, v []byte) []byte {
	switch string(v) {
	case "0":
		return appendInt(dst, field, 0)
	case "1":
		return appendInt(dst, field, 1)
	}
	return dst
}

// isUSPrivacy tells whether s has the form of an IAB US Privacy String: version
// 1, then three of Y, N and -.
// https://github.com/InteractiveAdvertisingBureau/USPrivacy/blob/master/CCPA/US%20Privacy%20String.md
func isUSPrivacy(s []byte) bool {
	if len(s) != 4 || s[0] != '1' {
		return false
	}
	for _, c := range s[1:] {
		if c|0x20 != 'y' && c|0x20 != 'n' && c != '-' {
			return false
		}
	}
	return true
}
