package bigtabled

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"
)

// A record is, in this order: the length of kind and message in 4 bytes, little
// endian; their CRC-32C, likewise; kind, one byte; a protobuf message. Each says
// what is absolutely so after it, not what is so relative to before: replaying
// records over a state that already holds some of them gives the same.
const headerLen = 8

type recordKind byte

const (
	recordTable       recordKind = 1 // bigtable.admin.v2.Table: the definition
	recordRows        recordKind = 2 // bigtable.v2.MutateRowsRequest, with settled timestamps
	recordDropRows    recordKind = 3 // bigtable.admin.v2.DropRowRangeRequest
	recordDeleteTable recordKind = 4 // bigtable.admin.v2.DeleteTableRequest
)

// fileMagic starts every file; the digit is the version of the format.
const fileMagic = "pixelbeam bigtabled 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendRecord(dst []byte, kind recordKind, m proto.Message) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, headerLen)...)
	dst = append(dst, byte(kind))
	dst, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		return nil, err
	}
	body := dst[start+headerLen:]
	// A message cannot reach 4 GiB: protobuf stops at 2.
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(body, castagnoli))
	return dst, nil
}

// errTorn: a file ends within a record, or a record's checksum is wrong.
var errTorn = errors.New("torn record")

// readRecords calls f with each record of a file of size bytes; payload is valid
// until f returns. It returns how many bytes were good, and errTorn where that is
// not all.
func readRecords(r io.Reader, size int64, f func(kind recordKind, payload []byte) error) (good int64, err error) {
	in := bufio.NewReaderSize(r, 1<<20)
	var magic [len(fileMagic)]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, errTorn
		}
		return 0, err
	}
	if string(magic[:]) != fileMagic {
		return 0, fmt.Errorf("the file starts with %q, want %q", magic, fileMagic)
	}
	good = int64(len(magic))
	var body []byte
	for good < size {
		var header [headerLen]byte
		if size-good < headerLen+1 {
			return good, errTorn
		}
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return good, err
		}
		n := int64(binary.LittleEndian.Uint32(header[:]))
		if n < 1 || n > size-good-headerLen {
			return good, errTorn
		}
		if int64(cap(body)) < n {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(in, body); err != nil {
			return good, err
		}
		if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(header[4:]) {
			return good, errTorn
		}
		if err := f(recordKind(body[0]), body[1:]); err != nil {
			return good, fmt.Errorf("record at byte %d: %w", good, err)
		}
		good += headerLen + n
	}
	return good, nil
}
