// Package pipeline holds winnow's domain: the words that every other package
// shares, the errors that decide exit codes, and the small interfaces through
// which the stages reach the outside world.
//
// It imports the standard library and small pure-Go libraries only. Storage,
// models, databases and logging depend on it, never the other way round.
package pipeline
