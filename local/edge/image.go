package edge

import (
	"crypto/md5"
	"encoding/hex"
	"path"
	"strings"
	"time"
)

// image is an object in the bucket.
type image struct {
	contentType string
	content     string
	etag        string // as Cloud Storage makes it: the quoted MD5
}

// modified is when the images were last changed: never since.
var modified = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var (
	// A GIF89a of 1x1 with a palette of two colours, of which the graphic control
	// extension makes the first transparent; the data is one pixel of that colour.
	gif = newImage("image/gif", "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff"+
		"!\xf9\x04\x01\x00\x00\x00\x00"+
		",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00"+
		";")
	// A PNG of 1x1 with 8-bit grey and alpha, both 0, in a stored deflate block.
	png = newImage("image/png", "\x89PNG\r\n\x1a\n"+
		"\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x04\x00\x00\x00\xb5\x1c\x0c\x02"+
		"\x00\x00\x00\x0eIDATx\x01\x01\x03\x00\xfc\xff\x00\x00\x00\x00\x03\x00\x01\xaa\x07\xe5\xfe"+
		"\x00\x00\x00\x00IEND\xaeB`\x82")
)

func newImage(contentType, content string) *image {
	sum := md5.Sum([]byte(content))
	return &image{contentType, content, `"` + hex.EncodeToString(sum[:]) + `"`}
}

// imageFor returns the image for a path: a PNG if its extension says so, else a
// GIF. A pixel's path need have no extension.
func imageFor(p string) *image {
	if strings.EqualFold(path.Ext(p), ".png") {
		return png
	}
	return gif
}
