// Package manifest reads manifests of assets and writes batches.
//
// # In
//
// A manifest is one file, or a glob of files, of JSON Lines (.jsonl, .ndjson,
// .json, .manifest), CSV (.csv, .tsv) or Parquet (.parquet, .pq); a .json file
// may hold one array; gzip is seen by its first bytes. Or it is a glob of
// pictures or texts, whose paths become ids (Reader.Read).
//
// Winnow's own names are asset_id, uri, text, caption, version, media_type and
// metadata; everything else in a row is metadata, too. Without configuration the
// names of Labelbox (data rows and exports), Label Studio tasks, SageMaker
// Ground Truth, clip-retrieval, img2dataset and Hugging Face's metadata.jsonl
// are understood. Others are named by Fields.
//
// JSON and CSV are read by line readers of this package, in bounded memory: each
// row keeps the line on which it starts, and what is wrong with a row (too long,
// not UTF-8, not JSON, without id or content, an id that is taken, a place that
// is not allowed) rejects that row and no other. Types of metadata are learnt
// from all values; DuckDB makes native tables of them, and reads Parquet.
//
// The version of an asset is the manifest's own where it has one, else that of a
// listing of the folder that the asset is in, else the hash of its text.
//
// # Out
//
// Emit writes a batch for people, pipelines and labeling tools.
package manifest
