// Package pubsubd is a small durable Pub/Sub server for one machine. The
// unchanged Google clients talk to it over plaintext gRPC when
// PUBSUB_EMULATOR_HOST holds its address.
//
// # What it serves
//
// Publisher: CreateTopic, GetTopic, ListTopics, DeleteTopic,
// ListTopicSubscriptions, Publish. Subscriber: CreateSubscription,
// GetSubscription, ListSubscriptions, UpdateSubscription, DeleteSubscription,
// Pull, StreamingPull, Acknowledge, ModifyAckDeadline. Every other method
// answers UNIMPLEMENTED, and so does a subscription or topic that asks for what
// this server does not do: push, filters, ordering, exactly-once, dead letters,
// retry policies, schemas, message transforms. Retention and expiry are accepted
// and not enforced: a message stays until it is acknowledged.
//
// # Delivery
//
// At least once, oldest first, in no guaranteed order; a redelivered message
// goes before those never delivered. A message is leased to whoever pulled it
// until the acknowledgement deadline. An acknowledgement or extension that comes
// after the deadline still counts while the message has not been handed out
// again; afterwards it is ignored, as is one for a lease that was given back by
// a deadline of 0. After a restart every unacknowledged message is redelivered
// and acknowledgement ids of before are ignored. Nothing is kept of a message
// once all its subscriptions have acknowledged it.
//
// A pull that is cancelled before its response has been handed to the network
// gives its messages back at once; one whose response is lost later holds them
// until the deadline, as in the real service.
//
// # Durability
//
// With a folder ([Options].Dir) a publish is answered once it has been written to
// a file there: it survives kill -9 of the process. A power cut or a crash of the
// operating system may lose the last seconds; [Options].Sync closes that gap at
// the price of an fsync a batch. Acknowledgements are written within about 50 ms,
// and when the server is closed: kill -9 can cause redelivery, never loss. One
// process at a time can use a folder.
//
// The log is cut into segments. A segment goes when it and all older ones hold
// nothing unacknowledged; where a few old messages would hold up many acknowledged
// ones, they are copied to the end. The disk space used is thus bounded by about
// twice the unacknowledged messages plus four segments. A backlog lies in the log
// and not in memory ([Options].WaitingBytes).
package pubsubd
