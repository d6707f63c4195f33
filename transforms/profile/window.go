package profile

import (
	"pixelbeam/schemas"
	"pixelbeam/transforms/distinct"
	"pixelbeam/transforms/impression"
)

// Add adds an impression, which has a user id, to the set of its window and shard.
func Add(set *distinct.Builder, r *impression.Record) {
	set.Add(appendKey(nil, r), r.ID(), r.EventTime, appendValue(nil, r))
}

// Rows calls emit with one pixelbeam.v1.ProfileUpdate for every user of a
// restatement, which holds all groups of each.
func Rows(r *distinct.Restatement, emit func(schemas.Row) error) error {
	var failed error
	err := new(encoder).updates(r, func(data []byte) {
		if failed == nil {
			failed = emit(schemas.Row{Data: data, ReceiveTime: r.WindowEnd})
		}
	})
	if err != nil {
		return err
	}
	return failed
}
