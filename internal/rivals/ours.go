package main

import (
	"errors"

	"pixelbeam/transforms/impression"
	"pixelbeam/transforms/logentry"
	"pixelbeam/transforms/pixelurl"
	"pixelbeam/transforms/useragent"
)

// ours is Pixelbeam, by stage and whole.
type ours struct {
	converter *impression.Converter
	record    impression.Record
	decoder   logentry.Decoder
	entry     logentry.Entry
	parser    *pixelurl.Parser
	result    pixelurl.Result
	params    []byte
}

func newOurs(agents *useragent.Cache) (*ours, error) {
	c, err := impression.NewConverter(impression.Options{}, agents)
	return &ours{converter: c, parser: pixelurl.NewParser(pixelurl.DefaultDictionary())}, err
}

func (o *ours) json(data []byte) error { return o.decoder.Decode(data, &o.entry) }

func (o *ours) query() error {
	u, ok := pixelurl.Split(o.entry.URL)
	if !ok {
		return errors.New("no URL")
	}
	o.parser.Parse(u.Query, &o.result)
	o.params = o.result.AppendParams(o.params[:0])
	return nil
}

func (o *ours) whole(data, dst []byte) ([]byte, error) {
	row, v := o.converter.Convert(&logentry.Message{Data: data}, dst, &o.record)
	if v.Kind != impression.Impression {
		return nil, errors.New(string(v.Reason))
	}
	return row, nil
}
