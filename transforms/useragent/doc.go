// Package useragent turns User-Agent headers into browser, operating system
// and device by the rules of uap-core, applied exactly, and tells automatic
// clients and kinds of devices apart.
//
// # Rules
//
// Browser, operating system and device brand and model follow uap-core's
// regexes.yaml and its specification
// (https://github.com/ua-parser/uap-core/blob/master/docs/specification.md):
// three ordered lists of regular expressions, of each the first that matches
// decides. The embedded rules are named by [Version]; [New] takes others.
//
// A linear scan would try some 1,300 expressions on an agent. Here a scan for
// the literal strings that they require leaves a handful of candidates, in the
// order of the rules, and a backtracking matcher (package regexp where an
// agent is not ASCII or backtracking runs long) tries those. The result is the
// same; the tests compare it with uap-go's linear scan and with uap-core's own
// tests, and any list of agents with
//
//	go test ./transforms/useragent -run OracleOnFile -v -agents FILE
//
// # Device types
//
// The first that applies:
//
//  1. No agent at all: unknown.
//  2. The agent declares an automatic client: bot. It is found by the list of
//     crawler-user-agents (data/crawlers.tsv; patterns that also hit what
//     people use are narrowed in bot.go), by data/declared.tsv, or by
//     uap-core's device family Spider, the last except in agents that begin as
//     browsers do and name a system that uap-core knows. HTTP libraries and
//     command line tools count as bots if the agent is their bare default
//     ("okhttp/4.9.0"), since no browser is there to show an advertisement; an
//     app that puts its own name first does not, nor do the platforms' own
//     names "Dalvik" (Android) and "CFNetwork" (Apple), which apps send by
//     default. Gmail's image proxy fetches for a person and is none.
//  3. Words for a console, television, wearable (watches and headsets),
//     tablet or mobile phone, in this order: data/devicetypes.tsv, each with
//     its source.
//  4. Android in an agent that begins with "Mozilla/" and says neither
//     "Mobile" nor any word above: tablet, as Chrome and Firefox define it
//     (https://developer.chrome.com/docs/multidevice/user-agent). Any other
//     agent on Android or iOS: mobile.
//  5. A desktop system by uap-core's family: desktop. An iPad asks for desktop
//     sites by default and then cannot be told from a Macintosh.
//  6. A device brand by uap-core: mobile (feature phones say little else).
//  7. The words X11 or Macintosh: desktop.
//  8. Anything else: unknown.
//
// # Automatic clients
//
// Client.BotKind and Client.BotName tell them apart. Kinds are those of
// crawler-user-agents' tags, with what operators say of their own clients
// where it differs (bot.go). Of several that an agent names, the clients that a
// list knows decide before the tools that they are built with, and those
// before customary words.
//
// # Use in a pipeline
//
// A [Cache] keeps the clients of the agents seen lately; [SharedCache] is one
// for the whole process. Everything here is safe for concurrent use and free
// of I/O.
package useragent
