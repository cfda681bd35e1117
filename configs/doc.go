// Package configs reads what users write: the config file and the function
// files beside it.
//
// A field is declared once, in the types of config.go: its tags give its name,
// its default, what it may hold and what it means. The JSON Schema for editors
// is made from these tags, and the strict decoder checks against the same
// schema, so the two cannot drift apart.
//
// Load reports everything that is wrong in all files at once, each with file,
// line, column and what to do, as a *pipeline.UsageError. It opens nothing but
// the config and its function files.
package configs
