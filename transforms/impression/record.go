package impression

// NewRecord returns the record of a row of the table impressions with its id and
// event time, in microseconds since the Unix epoch. The rest is the caller's.
func NewRecord(insertID string, eventTime int64) Record {
	var r Record
	r.setID([]byte(insertID), eventTime, nil)
	return r
}
