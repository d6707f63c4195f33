// Package profileserver serves user profiles to ad servers by HTTP: one profile,
// many, and frequency caps of many users and campaigns in one call. What it serves
// is described in openapi.json, OpenAPI 3.1, which it serves as well; a test holds
// the two together.
//
// It is a read-only view of the profile table, without a cache: an answer is as
// fresh as the table. Every request is bounded: its body, the users and caps in it,
// the time it may take, how many run at once, and how many a second. Errors are
// problem details (RFC 9457, application/problem+json) with a code for programs.
package profileserver
