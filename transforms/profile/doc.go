// Package profile turns impressions into what Bigtable keeps of each user:
// counters per campaign, event type and one-minute window, the latest values of
// some attributes, and when the user was first and last seen.
//
// All of it is absolute and named by the data (a counter by its window, a latest
// value by its event time), so that writing an update again, or a late
// restatement of it, converges on the same row. Users are hashed to shards; a
// shard's window is aggregated in memory and written as one batch. An impression
// without a user id has no profile and is counted (profile_no_user).
package profile
