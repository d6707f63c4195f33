package impression

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"google.golang.org/protobuf/encoding/protowire"

	"pixelbeam/schemas"
	"pixelbeam/transforms/logentry"
)

// parsed is what a batch became.
type parsed struct {
	rows     []schemas.Rows
	records  []Record
	rejected []schemas.Row
}

func parseBatch(t *testing.T, fn *parseFn, messages []logentry.Message) (out parsed) {
	t.Helper()
	if err := fn.Setup(); err != nil {
		t.Fatal(err)
	}
	fn.ProcessElement(logentry.Batch{Messages: messages},
		func(r schemas.Rows) { out.rows = append(out.rows, r) },
		func(r Records) { out.records = append(out.records, r.Records...) },
		func(r schemas.Row) { out.rejected = append(out.rejected, r) },
		func(_ beam.EventTime, _ int64, _ []byte) {})
	return out
}

// message is an impression whose row grows with the page.
func message(i int, page string) logentry.Message {
	return logentry.Message{
		Data: []byte(fmt.Sprintf(`{"insertId":"id-%d","timestamp":"2026-01-02T03:04:05Z","httpRequest":{"requestMethod":"GET",`+
			`"requestUrl":"https://h/pixel.gif?cid=c%d&uid=u%d&url=%s"}}`, i, i, i, page)),
		Origin: fmt.Sprint("m-", i), ReceiveTime: int64(i), Offset: -1,
	}
}

// Rows that travel together are framed, in order, whatever their size, and
// records keep what they borrow.
func TestParseFramesRows(t *testing.T) {
	fn := &parseFn{}
	var messages []logentry.Message
	for i := range 3000 {
		page := strings.Repeat("p", i%900)
		switch {
		case i%700 == 0:
			page = strings.Repeat("long", 5000+i) // a length of three bytes
		case i%7 == 3:
			messages = append(messages, logentry.Message{Data: []byte("{broken"), Origin: "broken"})
			continue
		}
		messages = append(messages, message(i, page))
	}
	got := parseBatch(t, fn, messages)
	again := parseBatch(t, fn, messages) // the first must not change
	if len(again.records) != len(got.records) {
		t.Errorf("%d records, then %d", len(got.records), len(again.records))
	}

	converter, err := NewConverter(Options{}, fn.converter.agents)
	if err != nil {
		t.Fatal(err)
	}
	var rows []schemas.Row
	for _, part := range got.rows {
		var wire []byte
		for _, row := range part.Rows {
			wire = protowire.AppendBytes(protowire.AppendTag(wire, 1, protowire.BytesType), row.Data)
		}
		if !bytes.Equal(wire, part.Wire) {
			t.Fatalf("%d rows from %s are not framed", len(part.Rows), part.Rows[0].Source)
		}
		rows = append(rows, part.Rows...)
	}
	n := 0
	for i := range messages {
		m := &messages[i]
		var rec Record
		want, verdict := converter.Convert(m, nil, &rec)
		if verdict.Kind != Impression {
			continue
		}
		row := rows[n]
		if !bytes.Equal(row.Data, want) || row.Source != m.Origin || row.ReceiveTime != m.ReceiveTime || !bytes.Equal(row.Origin, m.Data) {
			t.Fatalf("row %d is not that of %s", n, m.Origin)
		}
		if r := got.records[n]; !bytes.Equal(r.CampaignID, rec.CampaignID) || !bytes.Equal(r.UserID, rec.UserID) || !bytes.Equal(r.PageURL, rec.PageURL) || r.ID() != rec.ID() {
			t.Fatalf("record %d is %+v, want %+v", n, r, rec)
		}
		n++
	}
	if n != len(rows) || n != len(got.records) || n+len(got.rejected) != len(messages) || len(got.rejected) == 0 {
		t.Errorf("%d impressions, %d rows, %d records, %d rejected of %d", n, len(rows), len(got.records), len(got.rejected), len(messages))
	}
}

func TestParseOmitsRecords(t *testing.T) {
	got := parseBatch(t, &parseFn{Options: Options{OmitRecords: true}}, []logentry.Message{message(1, "p")})
	if len(got.records) != 0 || len(got.rows) != 1 {
		t.Errorf("%d records, %d rows; want 0, 1", len(got.records), len(got.rows))
	}
}
