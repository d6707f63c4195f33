// Package profile turns impressions into what Bigtable keeps of each user:
// counters per campaign, event type and one-minute window with the time of the
// last event of each, what the user's last event said, and when the user was
// first seen.
//
// All of it is absolute and named by the data (by its window), so that writing an
// update again, or a restatement of it, converges on the same row. Users are
// hashed to shards; a shard's window is aggregated in memory and written as one
// batch, in which a user is one update of three cells, whether he made one event
// or 600,000. Campaigns are no keys: one that has all the traffic is spread like
// its users.
//
// What a window can add to a row is bounded (schemas.MaxWindowCounters and the
// others). A user with more campaigns in a minute than fit keeps the largest
// counters; the cell says how many counters and events were left out, and they are
// counted (profile_windows_truncated, profile_counters_truncated,
// profile_events_truncated), as are texts that were cut (profile_values_cut); a
// window that is restated is counted again. An impression without a user id has no
// profile and is counted (profile_no_user).
package profile
