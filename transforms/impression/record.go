package impression

// NewRecord returns the record of a row of the table impressions with its id and
// event time, in microseconds since the Unix epoch. The rest is the caller's. scratch
// may be nil; it is returned to serve the next call.
func NewRecord(insertID []byte, eventTime int64, scratch []byte) (Record, []byte) {
	var r Record
	scratch = r.setID(insertID, eventTime, scratch)
	return r, scratch
}
