// Package traffic makes log entries as an external Application Load Balancer
// with a pixel backend writes them: realistic, reproducible, and counted, so
// that a test knows what a pipeline must say of them.
//
// A Generator makes entries one after another; Write stores them as JSON lines;
// Run publishes them at a rate in real time. The same options give the same
// bytes on every platform and in every run (Live excepted, which reads the
// clock): all random draws come from a PCG stream, and no result depends on a
// platform's math library.
//
// The content follows the documented LogEntry of the load balancer and the
// conventions of ad tags: parameters under their canonical and vendors' names,
// macros left unexpanded, consent strings, page addresses, popular and rare
// browsers, crawlers, mobile apps. Identifiers, consent strings and addresses
// are made up; they have the right form but stand for nobody.
package traffic
