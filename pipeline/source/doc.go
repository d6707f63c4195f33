// Package source brings log entries into the job: from files, from Pub/Sub
// where the runner reads it natively (Dataflow), and from Pub/Sub everywhere
// else. [PubSub] returns PCollection<logentry.Batch>; the others return
// PCollection<logentry.Message>, of which [Batch] makes the same.
//
// # Delivery
//
// [Files] delivers every line of every matching file once per successful
// bundle, which makes once per job. It is bounded.
//
// [PubSubNative] hands delivery to the runner: Dataflow acknowledges a message
// once its bundle is committed. At least once.
//
// [PubSub] is at least once too: a message is acknowledged only after the
// runner has taken the outputs of its bundle, so that a crash between the two
// repeats messages and never loses one. Messages are leased while they wait:
// their deadlines are extended until they are acknowledged, or given back when
// the reader stops. On Flink ([FlinkConfig]) it is acknowledged only after a
// completed checkpoint has what the bundle sent on, and nothing is read before the
// first; a failure repeats what came after the last one.
//
// Duplicates carry the same insertId and timestamp as their originals and are
// removed downstream.
package source
