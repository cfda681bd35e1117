// Package shard reads and writes the Parquet files of embeddings and scores.
//
// A shard holds vectors: asset_id, version and content_hash as strings and
// vector as a list of FLOAT. Its bytes follow from its rows alone: no clock,
// no library version, a fixed row group size. There is no ARROW:schema entry
// that would make Arrow readers see a fixed-size list: Polars then refuses the
// shard as part of a Delta table, whose schema knows lists only. The dimension
// is the footer's winnow.dim.
//
// A score file holds asset_id, version and one FLOAT column a function.
//
// Readers take an io.ReaderAt, keep one block in memory, and turn whatever is
// wrong with a file into an error that wraps ErrCorrupt: they read files from
// a bucket that anybody may have written.
package shard

import (
	"errors"
	"fmt"
)

// ErrCorrupt says that a file is damaged or not of the kind that is read.
var ErrCorrupt = errors.New("damaged or foreign Parquet file")

// corruptf returns an error that wraps ErrCorrupt.
func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// guard runs fn and turns a panic into an error. parquet-go trusts the sizes
// and offsets that it reads, so a damaged file may make it index out of range.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = corruptf("%v", p)
		}
	}()
	return fn()
}
